//! From the link secret to what each side may know.

use std::fmt;

use hkdf::Hkdf;
use nonstop_wire::{LinkSecret, RoomName, Token};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bound into the admission token, so that it says nothing of the sealing key.
const ADMISSION_INFO: &[u8] = b"nonstop 1 admission";
/// Bound into the sealing key.
const SEALING_INFO: &[u8] = b"nonstop 1 sealing";

/// The keys of a meeting, derived from its link secret and its room's name.
#[derive(Clone)]
pub struct MeetingKeys {
    room: RoomName,
    admission: Token,
    sealing: Zeroizing<[u8; 32]>,
}

impl MeetingKeys {
    /// Derives the keys (HKDF-SHA256, RFC 5869, salted with the room's name).
    pub fn derive(secret: &LinkSecret, room: &RoomName) -> Self {
        let derivation = Hkdf::<Sha256>::new(Some(room.as_str().as_bytes()), secret.as_bytes());
        let expand = |info, key: &mut [u8; 32]| {
            let expanded = derivation.expand(info, key);
            expanded.expect("32 bytes are less than 255 times the hash's length");
        };
        let mut admission = [0; 32];
        expand(ADMISSION_INFO, &mut admission);
        let mut sealing = Zeroizing::new([0; 32]);
        expand(SEALING_INFO, &mut sealing);
        Self {
            room: room.clone(),
            admission: Token::from_bytes(admission),
            sealing,
        }
    }

    /// Returns the admission token, which is shown to the server.
    pub fn admission(&self) -> Token {
        self.admission.clone()
    }

    pub(crate) fn room(&self) -> &RoomName {
        &self.room
    }

    pub(crate) fn sealing(&self) -> &Zeroizing<[u8; 32]> {
        &self.sealing
    }
}

impl fmt::Debug for MeetingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeetingKeys(…)")
    }
}
