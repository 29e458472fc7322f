//! A client that says exactly what a test wants, and hears exactly what comes.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use stun_types::{
    attribute::{
        AttributeStaticType, AttributeWrite, ErrorCode, MessageIntegrity, Nonce, Realm, Username,
    },
    message::{
        IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageWrite,
        MessageWriteExt, MessageWriteVec, Method,
    },
};
use turn_types::{
    attribute::{ChannelNumber, Lifetime, RequestedTransport, XorPeerAddress, XorRelayedAddress},
    message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION},
};

use crate::{
    program::SECRET,
    wire::{PATIENCE, Wire},
};

/// A user name and its password.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Login {
    /// As the server gives it to a participant, good for some seconds from now (or until then).
    pub(crate) fn of(participant: &str, seconds: i64) -> Self {
        let expiry = unix_time() as i64 + seconds;
        Self::named(&format!("{expiry}:{participant}"))
    }

    pub(crate) fn named(username: &str) -> Self {
        let mut code = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
        code.update(username.as_bytes());
        Self {
            username: username.to_owned(),
            password: STANDARD.encode(code.finalize().into_bytes()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no clock file")]
pub(crate) fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    /// 0 for success, else the code.
    pub(crate) fn code(&self) -> u16 {
        let message = self.message();
        match message.class() {
            MessageClass::Success => 0,
            MessageClass::Error => message.attribute::<ErrorCode>().unwrap().code(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn message(&self) -> Message<'_> {
        Message::from_bytes(&self.0).unwrap()
    }

    pub(crate) fn relayed(&self) -> Vec<SocketAddr> {
        let message = self.message();
        let nth = |n| message.nth_attribute::<XorRelayedAddress>(n).ok();
        let relayed = (0..4).map_while(nth);
        relayed
            .map(|address| address.addr(message.transaction_id()))
            .collect()
    }
}

#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) wire: Wire,
    pub(crate) login: Login,
    pub(crate) nonce: String,
    pub(crate) realm: String,
    /// What came of a stream beyond what was asked for.
    waiting: Vec<u8>,
}

impl Raw {
    /// Asks for a nonce.
    pub(crate) fn greet(wire: Wire, login: Login) -> Self {
        let mut raw = Self {
            wire,
            login,
            nonce: String::new(),
            realm: String::new(),
            waiting: Vec::new(),
        };
        raw.renew();
        raw
    }

    /// Takes the nonce of an answer that refuses whoever proves nothing.
    pub(crate) fn renew(&mut self) {
        let request = Message::builder_request(ALLOCATE, MessageWriteVec::new()).finish();
        let answer = self.exchange(&request);
        assert_eq!(answer.code(), 401);
        self.nonce = answer
            .message()
            .attribute::<Nonce>()
            .unwrap()
            .nonce()
            .to_owned();
        self.realm = answer
            .message()
            .attribute::<Realm>()
            .unwrap()
            .realm()
            .to_owned();
    }

    /// Sends a request with its proof, and returns the answer, whose proof is checked.
    pub(crate) fn request(&mut self, method: Method, attributes: &[&dyn AttributeWrite]) -> Answer {
        let request = self.signed(method, attributes);
        let answer = self.exchange(&request);
        if answer.message().has_attribute(MessageIntegrity::TYPE) {
            let key = self.credentials().make_key(IntegrityAlgorithm::Sha1);
            answer.message().validate_integrity_with_key(&key).unwrap();
        } else {
            assert!(
                matches!(answer.code(), 400 | 401 | 438),
                "{}",
                answer.message()
            );
        }
        answer
    }

    pub(crate) fn signed(&self, method: Method, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let mut request = Message::builder_request(method, MessageWriteVec::new());
        for attribute in attributes {
            request.add_attribute(*attribute).unwrap();
        }
        let username = Username::new(&self.login.username).unwrap();
        request.add_attribute(&username).unwrap();
        request
            .add_attribute(&Realm::new(&self.realm).unwrap())
            .unwrap();
        request
            .add_attribute(&Nonce::new(&self.nonce).unwrap())
            .unwrap();
        let credentials = self.credentials().into();
        request
            .add_message_integrity(&credentials, IntegrityAlgorithm::Sha1)
            .unwrap();
        request.finish()
    }

    fn credentials(&self) -> LongTermKeyCredentials {
        let Login { username, password } = self.login.clone();
        LongTermKeyCredentials::new(username, password, self.realm.clone())
    }

    pub(crate) fn allocate(&mut self) -> Answer {
        self.request(ALLOCATE, &[&RequestedTransport::new(17)])
    }

    pub(crate) fn allocate_for(&mut self, seconds: u32) -> Answer {
        self.request(
            ALLOCATE,
            &[&RequestedTransport::new(17), &Lifetime::new(seconds)],
        )
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) -> Answer {
        self.request(CREATE_PERMISSION, &[&XorPeerAddress::new(peer, 0.into())])
    }

    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr) -> Answer {
        let peer = XorPeerAddress::new(peer, 0.into());
        self.request(CHANNEL_BIND, &[&ChannelNumber::new(number), &peer])
    }

    /// Sends `ChannelData`.
    pub(crate) fn say(&mut self, number: u16, payload: &[u8]) {
        let mut frame = [
            &number.to_be_bytes()[..],
            &(payload.len() as u16).to_be_bytes(),
        ]
        .concat();
        frame.extend_from_slice(payload);
        if self.wire.streams() {
            frame.resize(frame.len().next_multiple_of(4), 0);
        }
        self.wire.send(&frame).unwrap();
    }

    /// Sends a request and returns the answer to it; data that comes between is passed over.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Answer {
        self.wire.send(request).unwrap();
        loop {
            let frame = self.next(PATIENCE).expect("an answer comes");
            if frame[0] <= 1 && frame[8..20] == request[8..20] {
                return Answer(frame);
            }
        }
    }

    /// Returns the next frame; `None` if none comes in time.
    pub(crate) fn next(&mut self, limit: Duration) -> Option<Vec<u8>> {
        loop {
            if let [first, _, high, low, ..] = *self.waiting {
                let length = usize::from(u16::from_be_bytes([high, low]));
                let (frame, whole) = match first < 4 {
                    true => (20 + length, 20 + length),
                    false => (4 + length, (4 + length).next_multiple_of(4)),
                };
                if self.waiting.len() >= whole || !self.wire.streams() {
                    let rest = self.waiting.split_off(whole.min(self.waiting.len()));
                    let mut found = std::mem::replace(&mut self.waiting, rest);
                    found.truncate(frame);
                    return Some(found);
                }
            }
            let bytes = self.wire.receive(limit).expect("the connection stays")?;
            assert!(
                !bytes.is_empty() || !self.wire.streams(),
                "the server closed the connection"
            );
            self.waiting.extend_from_slice(&bytes);
        }
    }
}
