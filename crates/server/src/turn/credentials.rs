//! Time-limited credentials: who may relay, and until when.
//!
//! As in draft-uberti-behave-turn-rest-00 and coturn's `use-auth-secret`: the user name is the
//! time of expiry, then perhaps a colon and an id; the password is the base64 of the user name's
//! HMAC-SHA1. The server keeps none of them.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use stun_types::message::LongTermKeyCredentials;

/// Returns the password of a user name.
pub(crate) fn password(secret: &str, username: &str) -> String {
    let code = Hmac::<Sha1>::new_from_slice(secret.as_bytes());
    let mut code = code.expect("HMAC takes a key of any length");
    code.update(username.as_bytes());
    STANDARD.encode(code.finalize().into_bytes())
}

/// A user name that says what such a name has to say; nothing is proven yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim<'a> {
    pub(crate) username: &'a str,
    /// When it expires, since the Unix epoch.
    pub(crate) expiry: Duration,
    /// Whose quota counts.
    pub(crate) participant: &'a str,
}

impl<'a> Claim<'a> {
    /// Reads `EXPIRY` or `EXPIRY:PARTICIPANT`.
    pub(crate) fn read(username: &'a str) -> Option<Self> {
        let (expiry, participant) = match username.split_once(':') {
            Some((expiry, participant)) if !participant.is_empty() => (expiry, participant),
            Some(_) => return None,
            None => (username, username),
        };
        // A sign is no digit, though it can be parsed.
        if !expiry.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            username,
            expiry: Duration::from_secs(expiry.parse().ok()?),
            participant,
        })
    }

    /// Returns what messages of its owner are signed with.
    pub(crate) fn credentials(&self, secret: &str, realm: &str) -> LongTermKeyCredentials {
        let password = password(secret, self.username);
        LongTermKeyCredentials::new(self.username.to_owned(), password, realm.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_a_time_and_perhaps_a_participant() {
        let claim = Claim::read("1800000000:0123456789abcdef").unwrap();
        assert_eq!(claim.expiry, Duration::from_secs(1_800_000_000));
        assert_eq!(claim.participant, "0123456789abcdef");
        let bare = Claim::read("1800000000").unwrap();
        assert_eq!(bare.participant, "1800000000");
        for unfit in [
            "",
            ":",
            "1:",
            ":a",
            "+1:a",
            "-1",
            "a",
            "1e9",
            "99999999999999999999",
        ] {
            assert_eq!(Claim::read(unfit), None, "{unfit}");
        }
    }

    #[test]
    fn the_password_is_that_of_coturn() {
        // printf 44200:0000000000000001 | openssl dgst -sha1 -hmac north -binary | base64
        let password = password("north", "44200:0000000000000001");
        assert_eq!(password, "C4TqfNaSlnqufkySE59qJ5OejLo=");
    }
}
