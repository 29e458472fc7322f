//! The meeting link: `https://HOST/ROOM#SECRET`, also `nonstop://HOST/ROOM#SECRET`.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::RoomName;

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
    #[error("This link has no valid room name between the address and #.")]
    BadRoom,
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
        let scheme = if protected { "https" } else { "http" };
        let secret_text = URL_SAFE_NO_PAD.encode(secret.as_bytes());
        format!("{scheme}://{host}/{room}#{secret_text}").parse()
    }

    /// Returns the host, with its port where the link has one.
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

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(LinkError::NotALink)?;
        let _ = scheme;
        let (address, secret) = rest.split_once('#').ok_or(LinkError::NoSecret)?;
        let (host, room) = address.split_once('/').ok_or(LinkError::BadRoom)?;
        let bytes: Vec<u8> = URL_SAFE_NO_PAD
            .decode(secret)
            .map_err(|_| LinkError::BadSecret)?;
        let bytes = bytes.try_into().map_err(|_| LinkError::BadSecret)?;
        Ok(Self {
            host: host.to_owned(),
            protected: scheme == "https",
            room: room.parse().map_err(|_| LinkError::BadRoom)?,
            secret: LinkSecret(bytes),
        })
    }
}
