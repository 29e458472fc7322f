//! The STUN and TURN servers that participants are told of, with credentials that expire.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nonstop_wire::{IceServer, ParticipantId};

use crate::{
    TurnConfig,
    turn::{PublicHost, password},
};

/// Which servers help participants to find a path to each other.
#[derive(Clone, Default)]
pub struct IceConfig {
    /// The servers. TURN servers without a user name get one that expires, if there is a
    /// `turn_secret`.
    pub servers: Vec<IceServer>,
    /// The secret shared with the TURN servers (`static-auth-secret` of coturn).
    pub turn_secret: Option<String>,
}

/// Most ports that are announced: three addresses each, of the 16 that a server may have.
const MOST_PORTS: usize = 5;
/// How long a credential lasts: longer than a working day's meeting, since a relayed path that
/// is in use ends with it.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

impl IceConfig {
    /// Returns what `participant` is told at `unix_time`.
    pub(crate) fn servers_for(
        &self,
        participant: ParticipantId,
        unix_time: Duration,
    ) -> Vec<IceServer> {
        let mut servers = self.servers.clone();
        let Some(secret) = &self.turn_secret else {
            return servers;
        };
        let (username, credential) = credential(secret, participant, unix_time);
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

/// How a participant reached the server.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    /// By the name that its request gave.
    pub(crate) host: Option<PublicHost>,
    /// At this address of the server.
    pub(crate) address: SocketAddr,
}

/// What participants are told of the server's own TURN server.
#[derive(Clone)]
pub(crate) struct Announcement {
    secret: String,
    /// The host that is configured.
    host: Option<PublicHost>,
    /// Ports beside that of the meeting server.
    ports: Vec<u16>,
    /// Whether it has a certificate.
    tls: bool,
}

impl Announcement {
    /// Announces a server that is set up so and has these ports beside the meeting server's.
    pub(crate) fn new(config: &TurnConfig, secret: String, ports: Vec<u16>, tls: bool) -> Self {
        Self {
            secret,
            host: config.host.clone(),
            ports,
            tls,
        }
    }

    /// Returns what `participant` is told at `unix_time`.
    ///
    /// The host and the port are those by which it reached the meeting server, as far as nothing
    /// else is configured: by them it certainly gets through.
    pub(crate) fn servers_for(
        &self,
        participant: ParticipantId,
        unix_time: Duration,
        reached: &Reached,
    ) -> Vec<IceServer> {
        let named = reached.host.as_ref();
        let name = self.host.as_ref().or(named).map(|host| host.name.clone());
        let name = name.unwrap_or_else(|| match reached.address.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        });
        let ports = match self.host.as_ref().and_then(|host| host.port) {
            Some(port) => vec![port],
            None => {
                let usual = if self.tls {
                    443
                } else {
                    reached.address.port()
                };
                let main = named.map_or(reached.address.port(), |host| host.port.unwrap_or(usual));
                let more = self.ports.iter().copied().filter(|port| *port != main);
                std::iter::once(main).chain(more).take(MOST_PORTS).collect()
            }
        };

        let stun = ports.iter().map(|port| format!("stun:{name}:{port}"));
        let schemes: &[_] = match self.tls {
            true => &[("turn", "udp"), ("turn", "tcp"), ("turns", "tcp")],
            false => &[("turn", "udp"), ("turn", "tcp")],
        };
        let turn = schemes.iter().flat_map(|(scheme, transport)| {
            let url = |port: &u16| format!("{scheme}:{name}:{port}?transport={transport}");
            ports.iter().map(url).collect::<Vec<_>>()
        });
        let (username, credential) = credential(&self.secret, participant, unix_time);
        vec![
            IceServer {
                urls: stun.collect(),
                username: String::new(),
                credential: String::new(),
            },
            IceServer {
                urls: turn.collect(),
                username,
                credential,
            },
        ]
    }
}

impl fmt::Debug for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcement")
            .field("host", &self.host)
            .field("ports", &self.ports)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Returns a user name and its password, as in draft-uberti-behave-turn-rest-00: the time of
/// expiry and the id, and the base64 of the user name's HMAC-SHA1.
fn credential(secret: &str, participant: ParticipantId, unix_time: Duration) -> (String, String) {
    let username = format!("{}:{participant}", (unix_time + LIFETIME).as_secs());
    let password = password(secret, &username);
    (username, password)
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

    #[test]
    fn the_server_is_announced_by_the_name_under_which_it_was_reached() {
        let announcement = |host: Option<&str>, ports: &[u16], tls| {
            let config = TurnConfig {
                host: host.map(|host| host.parse().unwrap()),
                ..TurnConfig::default()
            };
            Announcement::new(&config, "north".to_owned(), ports.to_vec(), tls)
        };
        let urls = |announcement: Announcement, host: Option<&str>| {
            let reached = Reached {
                host: host.map(|host| host.parse().unwrap()),
                address: "[::1]:4433".parse().unwrap(),
            };
            let id = ParticipantId::from_bits(1);
            let servers = announcement.servers_for(id, Duration::from_secs(1000), &reached);
            assert_eq!(servers[0].username, "");
            assert_eq!(servers[1].username, "44200:0000000000000001");
            assert_eq!(servers[1].credential, "C4TqfNaSlnqufkySE59qJ5OejLo=");
            assert!(servers.iter().all(|server| server.urls.len() <= 16));
            servers
                .into_iter()
                .flat_map(|server| server.urls)
                .collect::<Vec<_>>()
        };
        let at = |host: &str| {
            [
                format!("stun:{host}"),
                format!("turn:{host}?transport=udp"),
                format!("turn:{host}?transport=tcp"),
                format!("turns:{host}?transport=tcp"),
            ]
        };
        let plain = announcement(None, &[], false);
        assert_eq!(
            urls(plain.clone(), Some("a.example:8080")),
            at("a.example:8080")[..3]
        );
        assert_eq!(
            urls(plain.clone(), Some("a.example")),
            at("a.example:4433")[..3]
        );
        assert_eq!(urls(plain, None), at("[::1]:4433")[..3]);
        let tls = announcement(None, &[], true);
        assert_eq!(urls(tls.clone(), Some("a.example")), at("a.example:443"));
        assert_eq!(urls(tls, Some("[2001:db8::1]:9")), at("[2001:db8::1]:9"));
        let elsewhere = announcement(Some("turn.example:3478"), &[5], true);
        assert_eq!(urls(elsewhere, Some("a.example")), at("turn.example:3478"));
        let more = urls(announcement(None, &[3478, 443], true), Some("a.example"));
        assert_eq!(more[..2], ["stun:a.example:443", "stun:a.example:3478"]);
        assert_eq!(more.len(), 8);
    }
}
