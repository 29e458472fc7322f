//! The door: text and bytes become messages here, or are refused with a reason.
//!
//! Inside, nothing is validated a second time: a message that came through `decode` keeps
//! every limit of [`limits`](crate::limits).

use serde::{Serialize, de::DeserializeOwned};

use crate::{ErrorCode, MAX_EXPLANATION};

/// Why a text is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not JSON, or a field is missing or of the wrong kind.
    #[error("not a message of this protocol: {0}")]
    Malformed(String),
    /// The message or a field of it is over its limit.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// A `join` of a protocol version that is not spoken here.
    #[error("protocol version {0} is not spoken here")]
    Version(u32),
}

impl DecodeError {
    /// Returns the code with which a server refuses such a message.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::Malformed,
            Self::TooLong(_) => ErrorCode::TooLong,
            Self::Version(_) => ErrorCode::Version,
        }
    }
}

/// Reads a message of at most `limit` bytes; the depth of nesting is limited by `serde_json`.
pub(crate) fn json<M: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<M, DecodeError> {
    within("the message", bytes.len(), limit)?;
    serde_json::from_slice(bytes).map_err(|error| {
        let mut words = error.to_string();
        words.truncate(words.floor_char_boundary(MAX_EXPLANATION / 2));
        DecodeError::Malformed(words)
    })
}

/// Refuses `length` if it is over `limit`, naming what is too long.
pub(crate) const fn within(
    what: &'static str,
    length: usize,
    limit: usize,
) -> Result<(), DecodeError> {
    if length > limit {
        return Err(DecodeError::TooLong(what));
    }
    Ok(())
}

/// Writes a message as JSON.
pub(crate) fn text<M: Serialize>(message: &M) -> String {
    serde_json::to_string(message).expect("messages have text keys only and no fallible field")
}
