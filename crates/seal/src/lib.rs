//! What only participants can read: keys from the link secret, and sealed envelopes.
//!
//! Pure: randomness is an argument where it is needed.

use nonstop_wire::{LinkSecret, ParticipantId, PeerMessage, RoomName};

/// The keys of a meeting, derived from its link secret and its room's name.
#[derive(Clone)]
pub struct MeetingKeys {}

impl MeetingKeys {
    /// Derives the keys (HKDF-SHA256, RFC 5869, salted with the room's name).
    pub fn derive(_secret: &LinkSecret, _room: &RoomName) -> Self {
        Self {}
    }

    /// Returns the admission token, base64url, which is shown to the server.
    pub fn admission(&self) -> String {
        String::new()
    }
}

/// The sealed conversation of two participants.
pub struct SealedChannel {}

/// Why an envelope was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not an envelope.
    #[error("not a sealed message")]
    Malformed,
    /// Not sealed by a participant of this room, for us, from this sender.
    #[error("not sealed by this participant for us")]
    Forged,
    /// Seen before, or too old to tell.
    #[error("a sealed message was replayed")]
    Replayed,
}

impl SealedChannel {
    /// Makes the conversation between `me` and `peer`.
    pub fn new(_keys: &MeetingKeys, _me: ParticipantId, _peer: ParticipantId) -> Self {
        Self {}
    }

    /// Seals a message to the peer; `nonce` must be random. Returns base64url.
    pub fn seal(&mut self, _message: &PeerMessage, _nonce: [u8; 24]) -> String {
        String::new()
    }

    /// Opens an envelope that is said to come from the peer.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn open(&mut self, _sealed: &str) -> Result<PeerMessage, OpenError> {
        Err(OpenError::Malformed)
    }
}
