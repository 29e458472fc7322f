//! The STUN and TURN servers that participants are told of, with credentials that expire.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use nonstop_wire::{IceServer, ParticipantId};
use sha1::Sha1;

/// Which servers help participants to find a path to each other.
#[derive(Clone, Default)]
pub struct IceConfig {
    /// The servers. TURN servers without a user name get one that expires, if there is a
    /// `turn_secret`.
    pub servers: Vec<IceServer>,
    /// The secret shared with the TURN servers (`static-auth-secret` of coturn).
    pub turn_secret: Option<String>,
}

/// How long a credential lasts: longer than a working day's meeting, since a relayed path that
/// is in use ends with it.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

impl IceConfig {
    /// Returns what `participant` is told at `unix_time`.
    ///
    /// Credentials are as in draft-uberti-behave-turn-rest-00: the user name is the time of
    /// expiry and the id, the credential the base64 of the user name's HMAC-SHA1.
    pub(crate) fn servers_for(
        &self,
        participant: ParticipantId,
        unix_time: Duration,
    ) -> Vec<IceServer> {
        let mut servers = self.servers.clone();
        let Some(secret) = &self.turn_secret else {
            return servers;
        };
        let username = format!("{}:{participant}", (unix_time + LIFETIME).as_secs());
        let credential = credential(secret, &username);
        for server in &mut servers {
            let turn = server.urls.iter().any(|url| url.starts_with("turn"));
            if turn && server.username.is_empty() {
                server.username.clone_from(&username);
                server.credential.clone_from(&credential);
            }
        }
        servers
    }
}

fn credential(secret: &str, username: &str) -> String {
    let code = Hmac::<Sha1>::new_from_slice(secret.as_bytes());
    let mut code = code.expect("HMAC takes a key of any length");
    code.update(username.as_bytes());
    STANDARD.encode(code.finalize().into_bytes())
}

impl fmt::Debug for IceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.servers.iter().flat_map(|server| &server.urls);
        f.debug_list().entries(urls).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turn_credentials_expire_and_are_bound_to_the_participant() {
        let server = |url: &str| IceServer {
            urls: vec![url.to_owned()],
            username: String::new(),
            credential: String::new(),
        };
        let config = IceConfig {
            servers: vec![server("stun:a"), server("turn:b"), server("turns:c")],
            turn_secret: Some("north".to_owned()),
        };
        let servers = config.servers_for(ParticipantId::from_bits(1), Duration::from_secs(1000));
        assert_eq!(servers[0], server("stun:a"));
        assert_eq!(servers[1].username, "44200:0000000000000001");
        // printf 44200:0000000000000001 | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(servers[1].credential, "C4TqfNaSlnqufkySE59qJ5OejLo=");
        assert_eq!(servers[2].credential, servers[1].credential);
        assert!(!format!("{config:?}").contains("north"));
    }
}
