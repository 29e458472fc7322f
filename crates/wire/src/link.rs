//! The meeting link: `https://HOST/ROOM#SECRET`, also `nonstop://HOST/ROOM#SECRET`.
//!
//! `https` means TLS. `http` does not, and is accepted for the own computer and private
//! addresses only. `nonstop` means TLS, except where HOST is the own computer or a private
//! address: there a server has no certificate as a rule, and TLS is asked for by
//! `nonstop://HOST/ROOM?tls#SECRET`.
//!
//! A link that was parsed is valid and has one spelling; none shows its secret by accident.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{MAX_LINK, RoomName, host::Host};

/// Why a text is not a meeting link, said so that a person can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It does not look like a meeting link at all.
    #[error("This is not a meeting link.")]
    NotALink,
    /// The part after `#` is missing.
    #[error("This link is not complete: the part after # is missing. Ask for the link again.")]
    NoSecret,
    /// The part after `#` is there, but is not 128 bits of base64url.
    #[error("This link is damaged: the part after # is not complete. Ask for the link again.")]
    BadSecret,
    /// The room's name is missing or has characters that a room name cannot have.
    #[error(
        "This link has no valid room name between the server and the #. Ask for the link again."
    )]
    BadRoom,
    /// The server's name or address is not one.
    #[error("The address of the meeting server in this link is not valid. Ask for the link again.")]
    BadHost,
    /// `http` to an address that is neither loopback nor private.
    #[error("This link is not protected: http is accepted on your own network only.")]
    NotProtected,
}

/// The secret of a meeting: 128 random bits that never leave the participants.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct LinkSecret([u8; 16]);

impl LinkSecret {
    /// Draws a new secret from the system's random source.
    ///
    /// # Errors
    /// Fails if the system has no random source.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Makes a secret from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, from which keys are derived.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(…)")
    }
}

/// Where a meeting is and the secret that opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeetingLink {
    /// In canonical form, so that the same meeting has one link.
    host: String,
    protected: bool,
    room: RoomName,
    secret: LinkSecret,
}

impl MeetingLink {
    /// Makes the link of a room on `host` (a name or address, with a port where it is not the
    /// scheme's own); `protected` tells whether that server speaks TLS.
    ///
    /// # Errors
    /// Refuses a host that cannot stand in a link, and an unprotected host that is public.
    pub fn new(
        host: &str,
        protected: bool,
        room: RoomName,
        secret: LinkSecret,
    ) -> Result<Self, LinkError> {
        Self::with(host.parse()?, protected, room, secret)
    }

    fn with(
        host: Host,
        protected: bool,
        room: RoomName,
        secret: LinkSecret,
    ) -> Result<Self, LinkError> {
        if !protected && !host.nearby() {
            return Err(LinkError::NotProtected);
        }
        let usual_port = if protected { 443 } else { 80 };
        Ok(Self {
            host: host.without_port(usual_port).to_string(),
            protected,
            room,
            secret,
        })
    }

    /// Returns the host, with its port where it is not the scheme's own.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Tells whether the server is reached over TLS.
    pub fn protected(&self) -> bool {
        self.protected
    }

    /// Returns the room's name.
    pub fn room(&self) -> &RoomName {
        &self.room
    }

    /// Returns the secret.
    pub fn secret(&self) -> &LinkSecret {
        &self.secret
    }

    /// Returns the address of the signalling WebSocket, which does not contain the secret.
    pub fn signalling_url(&self) -> String {
        let scheme = if self.protected { "wss" } else { "ws" };
        format!("{scheme}://{}/signalling", self.host)
    }

    /// Returns the whole link, secret included, to be handed to a person. Never log it.
    pub fn reveal(&self) -> String {
        let scheme = if self.protected { "https" } else { "http" };
        let secret = URL_SAFE_NO_PAD.encode(self.secret.as_bytes());
        format!("{scheme}://{}/{}#{secret}", self.host, self.room)
    }
}

impl FromStr for MeetingLink {
    type Err = LinkError;

    /// Parses a link as people paste it: white space, quotes, brackets and the full stop of a
    /// sentence around it do not matter, nor do the case of scheme and host, a slash after
    /// the room, or a query that some other program added.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim_matches(surrounding);
        if text.len() > MAX_LINK {
            return Err(LinkError::NotALink);
        }
        let (scheme, rest) = text.split_once("://").ok_or(LinkError::NotALink)?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "https" | "http" | "nonstop") {
            return Err(LinkError::NotALink);
        }

        let (address, secret) = match rest.split_once('#') {
            Some((address, secret)) => (address, Some(secret)),
            None => (rest, None),
        };
        let (address, query) = address.split_once('?').unwrap_or((address, ""));
        let (host, room) = address.split_once('/').unwrap_or((address, ""));
        let host: Host = host.parse()?;
        let room = room.strip_suffix('/').unwrap_or(room);
        let room = room.parse().map_err(|_| LinkError::BadRoom)?;

        let protected = match scheme.as_str() {
            "https" => true,
            "http" => false,
            _ => !host.nearby() || query.split('&').any(|part| part == "tls"),
        };
        let secret = secret.filter(|secret| !secret.is_empty());
        let secret = parse_secret(secret.ok_or(LinkError::NoSecret)?)?;
        Self::with(host, protected, room, secret)
    }
}

/// What may stand around a link in a message or a mail, and is neither in a secret nor in a scheme.
fn surrounding(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2018}'..='\u{201d}' | '\u{feff}' | '«' | '»')
        || "<>()[]{}\"'`.,;!*".contains(c)
}

fn parse_secret(text: &str) -> Result<LinkSecret, LinkError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| LinkError::BadSecret)?;
    let bytes = bytes.as_slice().try_into();
    Ok(LinkSecret(bytes.map_err(|_| LinkError::BadSecret)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODw";

    fn parse(text: &str) -> Result<MeetingLink, LinkError> {
        text.replace("SECRET", SECRET).parse()
    }

    #[test]
    fn a_link_tells_where_the_meeting_is() {
        let link = parse("https://acme.meet.example.org/stand-up#SECRET").unwrap();
        assert_eq!(link.host(), "acme.meet.example.org");
        assert_eq!(link.room().as_str(), "stand-up");
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(link.secret().as_bytes().as_slice(), bytes);
        assert_eq!(
            link.signalling_url(),
            "wss://acme.meet.example.org/signalling"
        );
        assert_eq!(parse(&link.reveal()), Ok(link.clone()));
        assert!(!format!("{link:?}").contains(SECRET));
    }

    #[test]
    fn links_have_one_spelling() {
        for (text, spelling) in [
            (
                "HTTPS://Example.ORG:443/r#SECRET",
                "https://example.org/r#SECRET",
            ),
            (
                "https://example.org:8443/r/#SECRET",
                "https://example.org:8443/r#SECRET",
            ),
            (
                "http://127.0.0.1:4433/r#SECRET",
                "http://127.0.0.1:4433/r#SECRET",
            ),
            ("http://localhost:80/r#SECRET", "http://localhost/r#SECRET"),
            (
                "https://example.org/r?utm_source=mail#SECRET",
                "https://example.org/r#SECRET",
            ),
            (
                "nonstop://example.org/r#SECRET",
                "https://example.org/r#SECRET",
            ),
            (
                "nonstop://192.168.1.5:4433/r#SECRET",
                "http://192.168.1.5:4433/r#SECRET",
            ),
            (
                "nonstop://192.168.1.5:8443/r?tls#SECRET",
                "https://192.168.1.5:8443/r#SECRET",
            ),
            (
                "nonstop://[fe80::1]:4433/r#SECRET",
                "http://[fe80::1]:4433/r#SECRET",
            ),
            (
                "nonstop://[2001:db8::1]/r#SECRET",
                "https://[2001:db8::1]/r#SECRET",
            ),
        ] {
            let spelling = spelling.replace("SECRET", SECRET);
            assert_eq!(
                parse(text).map(|link| link.reveal()),
                Ok(spelling),
                "{text}"
            );
        }
    }

    #[test]
    fn what_surrounds_a_pasted_link_does_not_matter() {
        let plain = parse("https://example.org/r#SECRET");
        for text in [
            "  https://example.org/r#SECRET\r\n",
            "<https://example.org/r#SECRET>",
            "\"https://example.org/r#SECRET\".",
            "(https://example.org/r#SECRET),",
            "\u{feff}https://example.org/r#SECRET\u{200b}",
        ] {
            assert_eq!(parse(text), plain, "{text:?}");
        }
    }

    #[test]
    fn a_damaged_link_says_what_is_wrong_with_it() {
        let long = format!("https://example.org/r?{}#SECRET", "x".repeat(600));
        for (text, error) in [
            ("", LinkError::NotALink),
            ("hello", LinkError::NotALink),
            ("ftp://example.org/r#SECRET", LinkError::NotALink),
            (long.as_str(), LinkError::NotALink),
            ("see https://example.org/r#SECRET", LinkError::NotALink),
            ("https:///r#SECRET", LinkError::BadHost),
            ("https://user@example.org/r#SECRET", LinkError::BadHost),
            ("https://example.org", LinkError::BadRoom),
            ("https://example.org/#SECRET", LinkError::BadRoom),
            ("https://example.org/a/b#SECRET", LinkError::BadRoom),
            ("https://example.org/Room#SECRET", LinkError::BadRoom),
            ("https://example.org/r", LinkError::NoSecret),
            ("https://example.org/r#", LinkError::NoSecret),
            ("https://example.org/r#SECRETA", LinkError::BadSecret),
            ("https://example.org/r#AAECAw", LinkError::BadSecret),
            (
                "https://example.org/r#AAECAwQFBgcICQoLDA0OD_",
                LinkError::BadSecret,
            ),
            (
                "https://example.org/r#SECRET and more",
                LinkError::BadSecret,
            ),
            ("http://example.org/r#SECRET", LinkError::NotProtected),
            ("http://8.8.8.8/r#SECRET", LinkError::NotProtected),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_new_link_is_as_strict_as_a_pasted_one() {
        let room: RoomName = "r".parse().unwrap();
        let new = |host, protected| {
            MeetingLink::new(
                host,
                protected,
                room.clone(),
                LinkSecret::from_bytes([1; 16]),
            )
        };
        assert_eq!(
            new("127.0.0.1:4433", false).unwrap().host(),
            "127.0.0.1:4433"
        );
        assert_eq!(new("example.org", false), Err(LinkError::NotProtected));
        assert_eq!(new("example.org/x", true), Err(LinkError::BadHost));
        assert_eq!(new("example.org#", true), Err(LinkError::BadHost));
    }
}
