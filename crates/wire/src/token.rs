//! Tokens that prove something to the server by being known.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::IdError;

/// An admission or resume token: 32 bytes, written as 43 characters of base64url.
///
/// It compares in constant time, and its `Debug` form does not show it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token([u8; 32]);

impl Token {
    /// Makes a token from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the token as text, to be shown to the server only.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Token {}

impl FromStr for Token {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != 43 {
            return Err(IdError::Token);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| IdError::Token)?;
        bytes.try_into().map(Self).map_err(|_| IdError::Token)
    }
}

impl TryFrom<String> for Token {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.reveal()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_43_characters_and_does_not_show_itself() {
        let token = Token::from_bytes([7; 32]);
        let text = token.reveal();
        assert_eq!(text.len(), 43);
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_eq!(format!("{token:?}"), "Token(…)");
        for bad in ["", &text[1..], &format!("{text}A"), &"=".repeat(43)] {
            assert_eq!(bad.parse::<Token>(), Err(IdError::Token), "{bad}");
        }
    }
}
