//! What we ask a relay for: building the requests, and trying them again (RFC 8656, RFC 8489).

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use stun_types::{
    attribute::{Nonce, Realm, Username},
    message::{
        IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageClass,
        MessageType, MessageWrite, MessageWriteExt, MessageWriteVec, Method, TransactionId,
    },
};
use turn_types::{
    AddressFamily,
    attribute::{
        AdditionalAddressFamily, ChannelNumber, Lifetime, RequestedAddressFamily,
        RequestedTransport, XorPeerAddress,
    },
    message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH},
};

/// What waits for the first answer before a datagram is sent again; RFC 8489 (section 6.2.1) has
/// 500 ms, which a lost first packet would cost every call.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_millis(1600);
/// For how long an answer is waited for, all tries together.
pub(super) const PATIENCE: Duration = Duration::from_millis(9500);
/// The lifetime that we ask for; few relays grant more.
const LIFETIME: Duration = Duration::from_secs(600);
const ORDER: &str = "attributes fit, and are added before the integrity";

/// Which addresses we want at the relay. Those that it cannot give are left out one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Families {
    /// An IPv4 address, and an IPv6 address if there is one.
    Both,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// An allocation.
    Allocate(Families),
    /// The allocation's life, or its end.
    Refresh { end: bool },
    /// Packets from and to these computers, all of one address family.
    Permit(Vec<IpAddr>),
    /// A short name for a peer.
    Bind(u16, SocketAddr),
}

impl Subject {
    fn method(&self) -> Method {
        match self {
            Self::Allocate(_) => ALLOCATE,
            Self::Refresh { .. } => REFRESH,
            Self::Permit(_) => CREATE_PERMISSION,
            Self::Bind(..) => CHANNEL_BIND,
        }
    }
}

/// Who we are to the relay: the long-term credentials of RFC 8489, section 9.2.
#[derive(Clone)]
pub(super) struct Credentials {
    username: String,
    password: String,
    challenge: Option<Challenge>,
}

#[derive(Clone)]
struct Challenge {
    realm: String,
    nonce: String,
    key: IntegrityKey,
}

impl Credentials {
    pub(super) fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            challenge: None,
        }
    }

    /// Takes realm and nonce from a relay's refusal. Returns whether they are new to us.
    pub(super) fn challenge(&mut self, refusal: &Message<'_>) -> bool {
        let Ok(nonce) = refusal.attribute::<Nonce>() else {
            return false;
        };
        let nonce = nonce.nonce().to_owned();
        let realm = match (refusal.attribute::<Realm>(), &self.challenge) {
            (Ok(realm), _) => realm.realm().to_owned(),
            (Err(_), Some(known)) => known.realm.clone(),
            (Err(_), None) => return false,
        };
        if let Some(known) = &self.challenge
            && known.nonce == nonce
            && known.realm == realm
        {
            return false;
        }
        let (username, password) = (self.username.clone(), self.password.clone());
        let credentials = LongTermKeyCredentials::new(username, password, realm.clone());
        let key = credentials.make_key(IntegrityAlgorithm::Sha1);
        self.challenge = Some(Challenge { realm, nonce, key });
        true
    }

    /// Returns whether a message is signed with our password; true where we have shown none yet.
    pub(super) fn signed(&self, message: &Message<'_>) -> bool {
        let Some(challenge) = &self.challenge else {
            return true;
        };
        let checked = message.validate_integrity_with_key(&challenge.key);
        checked.is_ok()
    }

    fn sign(&self, message: &mut MessageWriteVec) {
        let Some(challenge) = &self.challenge else {
            return;
        };
        // What does not fit an attribute is sent without, and refused by the relay.
        if let (Ok(username), Ok(realm), Ok(nonce)) = (
            Username::new(&self.username),
            Realm::new(&challenge.realm),
            Nonce::new(&challenge.nonce),
        ) {
            message.add_attribute(&username).expect(ORDER);
            message.add_attribute(&realm).expect(ORDER);
            message.add_attribute(&nonce).expect(ORDER);
            message
                .add_message_integrity_with_key(&challenge.key, IntegrityAlgorithm::Sha1)
                .expect(ORDER);
        }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) subject: Subject,
    pub(super) transaction: TransactionId,
    pub(super) bytes: Vec<u8>,
    pub(super) first_sent: Instant,
    /// Whether it was sent again, so that its answer says nothing about the round trip.
    pub(super) repeated: bool,
    /// How often the relay wanted another nonce.
    pub(super) challenged: u8,
    /// When it is sent again or given up.
    pub(super) next: Instant,
    wait: Duration,
}

/// What is to be done about a request whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It is sent again.
    Again,
    /// It is given up.
    GivenUp,
}

impl Request {
    /// Makes a request to be sent at `now`. Datagrams are sent again after `wait` and longer.
    pub(super) fn new(
        subject: Subject,
        transaction: u128,
        credentials: &Credentials,
        wait: Option<Duration>,
        now: Instant,
    ) -> Self {
        let transaction = TransactionId::from(transaction);
        let bytes = encode(&subject, transaction, credentials);
        let wait = wait.unwrap_or(PATIENCE);
        Self {
            subject,
            transaction,
            bytes,
            first_sent: now,
            repeated: false,
            challenged: 0,
            next: now + wait,
            wait,
        }
    }

    /// Says what is to be done at [`Request::next`].
    pub(super) fn overdue(&mut self, now: Instant) -> Overdue {
        if now.saturating_duration_since(self.first_sent) >= PATIENCE {
            return Overdue::GivenUp;
        }
        self.repeated = true;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.next = (now + self.wait).min(self.first_sent + PATIENCE);
        Overdue::Again
    }
}

/// Returns how long a datagram's answer is waited for, from the round trip if there is one.
pub(super) fn first_wait(round_trip: Option<Duration>) -> Duration {
    let usual = round_trip.map_or(FIRST_WAIT, |time| time * 3 / 2 + Duration::from_millis(20));
    usual.clamp(FIRST_WAIT, LONGEST_WAIT)
}

fn encode(subject: &Subject, transaction: TransactionId, credentials: &Credentials) -> Vec<u8> {
    let kind = MessageType::from_class_method(MessageClass::Request, subject.method());
    let mut message = Message::builder(kind, transaction, MessageWriteVec::with_capacity(256));
    match subject {
        Subject::Allocate(families) => {
            let transport = RequestedTransport::new(RequestedTransport::UDP);
            message.add_attribute(&transport).expect(ORDER);
            let lifetime = Lifetime::new(LIFETIME.as_secs() as u32);
            message.add_attribute(&lifetime).expect(ORDER);
            match families {
                Families::Both => {
                    let also = AdditionalAddressFamily::new(AddressFamily::IPV6);
                    message.add_attribute(&also).expect(ORDER);
                }
                Families::V4 => {}
                Families::V6 => {
                    let only = RequestedAddressFamily::new(AddressFamily::IPV6);
                    message.add_attribute(&only).expect(ORDER);
                }
            }
        }
        Subject::Refresh { end } => {
            let lifetime = if *end { Duration::ZERO } else { LIFETIME };
            let lifetime = Lifetime::new(lifetime.as_secs() as u32);
            message.add_attribute(&lifetime).expect(ORDER);
        }
        Subject::Permit(peers) => {
            for peer in peers {
                let peer = XorPeerAddress::new(SocketAddr::new(*peer, 0), transaction);
                message.add_attribute(&peer).expect(ORDER);
            }
        }
        Subject::Bind(number, peer) => {
            let number = ChannelNumber::new(*number);
            message.add_attribute(&number).expect(ORDER);
            let peer = XorPeerAddress::new(*peer, transaction);
            message.add_attribute(&peer).expect(ORDER);
        }
    }
    credentials.sign(&mut message);
    message.finish()
}
