//! The sealed conversation of two participants.
//!
//! An envelope, before base64url: `version 1 | counter 8 | nonce 24 | ciphertext and tag`.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use nonstop_wire::{MAX_SEALED, ParticipantId, PeerMessage, RoomName};
use zeroize::Zeroizing;

use crate::{MeetingKeys, window::Window};

/// The version of the envelope's layout.
const VERSION: u8 = 1;
/// Length of the part before the ciphertext: version, counter and nonce.
const HEADER: usize = 1 + 8 + 24;

/// Why an envelope was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not an envelope, or what was in it is not a message.
    #[error("not a sealed message")]
    Malformed,
    /// Not sealed by a participant of this room, for us, from this sender.
    #[error("not sealed by this participant for us")]
    Forged,
    /// Seen before, or too old to tell.
    #[error("a sealed message was replayed")]
    Replayed,
}

/// The sealed conversation between ourselves and one other participant, both ways.
///
/// Both draw a new id whenever they start, so what was sealed in an earlier conversation does
/// not open in a later one.
pub struct SealedChannel {
    room: RoomName,
    key: Zeroizing<[u8; 32]>,
    me: ParticipantId,
    peer: ParticipantId,
    sent: u64,
    received: Window,
}

impl SealedChannel {
    /// Makes the conversation between `me` and `peer`.
    pub fn new(keys: &MeetingKeys, me: ParticipantId, peer: ParticipantId) -> Self {
        Self {
            room: keys.room().clone(),
            key: keys.sealing().clone(),
            me,
            peer,
            sent: 0,
            received: Window::new(),
        }
    }

    /// Seals a message to the peer; `nonce` must be random. Returns base64url.
    pub fn seal(&mut self, message: &PeerMessage, nonce: [u8; 24]) -> String {
        self.sent += 1;
        let sealed = self.cipher().encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: message.encode().as_bytes(),
                aad: &self.associated(self.me, self.peer, self.sent),
            },
        );
        let sealed = sealed.expect("a message is far shorter than the cipher's 256 GiB");
        let header = [&[VERSION], &self.sent.to_be_bytes()[..], &nonce].concat();
        URL_SAFE_NO_PAD.encode([header, sealed].concat())
    }

    /// Opens an envelope that is said to come from the peer. One that is forged or replayed
    /// changes nothing.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn open(&mut self, sealed: &str) -> Result<PeerMessage, OpenError> {
        if sealed.len() > MAX_SEALED {
            return Err(OpenError::Malformed);
        }
        let envelope = URL_SAFE_NO_PAD.decode(sealed);
        let envelope = envelope.map_err(|_| OpenError::Malformed)?;
        let (header, ciphertext) = envelope
            .split_first_chunk::<HEADER>()
            .ok_or(OpenError::Malformed)?;
        let [version, fields @ ..] = header;
        if *version != VERSION {
            return Err(OpenError::Malformed);
        }
        let (counter, nonce) = fields
            .split_first_chunk::<8>()
            .ok_or(OpenError::Malformed)?;
        let counter = u64::from_be_bytes(*counter);

        let opened = self.cipher().decrypt(
            &XNonce::try_from(nonce).map_err(|_| OpenError::Malformed)?,
            Payload {
                msg: ciphertext,
                aad: &self.associated(self.peer, self.me, counter),
            },
        );
        let opened = opened.map_err(|_| OpenError::Forged)?;
        if !self.received.fresh(counter) {
            return Err(OpenError::Replayed);
        }
        self.received.note(counter);
        PeerMessage::decode(&opened).map_err(|_| OpenError::Malformed)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.key).into())
    }

    /// What an envelope is bound to besides its content:
    /// `version 1 | length of room 1 | room | sender 8 | receiver 8 | counter 8`.
    fn associated(&self, sender: ParticipantId, receiver: ParticipantId, counter: u64) -> Vec<u8> {
        let room = self.room.as_str().as_bytes();
        let length = u8::try_from(room.len()).expect("a room name has at most 64 characters");
        [
            &[VERSION, length],
            room,
            &sender.bits().to_be_bytes(),
            &receiver.bits().to_be_bytes(),
            &counter.to_be_bytes(),
        ]
        .concat()
    }
}

impl fmt::Debug for SealedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedChannel")
            .field("me", &self.me)
            .field("peer", &self.peer)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}
