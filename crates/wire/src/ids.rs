//! Names of rooms and participants.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::MAX_ROOM_NAME;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A room name is empty, too long, or has a character outside `a-z 0-9 -`,
    /// or is reserved.
    #[error(
        "a room name has 1 to 64 letters a to z, digits and hyphens, and is no path of the server"
    )]
    RoomName,
    /// A participant id is not 16 hexadecimal digits.
    #[error("a participant id has 16 hexadecimal digits, letters in lower case")]
    ParticipantId,
    /// A token is not 32 bytes of base64url.
    #[error("a token has 43 characters of base64url")]
    Token,
}

/// Paths of the server that a room's page must not cover.
const RESERVED: [&str; 2] = ["healthz", "signalling"];

/// The name of a room: 1 to 64 characters of `a-z 0-9 -`, and not `healthz` or
/// `signalling`, which are paths of the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(String);

impl RoomName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let length = (1..=MAX_ROOM_NAME).contains(&text.len());
        if length && text.bytes().all(allowed) && !RESERVED.contains(&text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::RoomName)
        }
    }
}

impl TryFrom<String> for RoomName {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<RoomName> for String {
    fn from(room: RoomName) -> Self {
        room.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A participant in a room: 64 random bits that the participant draws for itself
/// before it joins, so that a server cannot hand an old id, and old messages to it,
/// to somebody new. Written as 16 hexadecimal digits; ordered, which settles glare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParticipantId(u64);

impl ParticipantId {
    /// Makes an id from its 64 bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the 64 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl FromStr for ParticipantId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(hexadecimal) {
            return Err(IdError::ParticipantId);
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| IdError::ParticipantId)
    }
}

impl TryFrom<String> for ParticipantId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ParticipantId> for String {
    fn from(id: ParticipantId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_name_is_short_and_plain() {
        for good in ["a", "stand-up-7", &"x".repeat(64)] {
            assert_eq!(good.parse::<RoomName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            "A",
            "a b",
            "a/b",
            "ä",
            "a.b",
            &long,
            "healthz",
            "signalling",
        ] {
            assert_eq!(bad.parse::<RoomName>(), Err(IdError::RoomName), "{bad}");
        }
    }

    #[test]
    fn a_participant_id_has_one_spelling() {
        let id = ParticipantId::from_bits(0xab);
        assert_eq!(id.to_string(), "00000000000000ab");
        assert_eq!("00000000000000ab".parse(), Ok(id));
        for bad in [
            "",
            "ab",
            "00000000000000AB",
            "+0000000000000ab",
            "00000000000000abc",
        ] {
            assert_eq!(
                bad.parse::<ParticipantId>(),
                Err(IdError::ParticipantId),
                "{bad}"
            );
        }
    }
}
