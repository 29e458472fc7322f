//! Where a relay is and what admits us there: the `turn:` and `turns:` addresses of RFC 7065.

use std::fmt;

pub(crate) use nonstop_ice::RelayProtocol;
use nonstop_wire::IceServer;

/// The port of TURN without TLS where the address names none (RFC 8656, section 18.1).
const PLAIN_PORT: u16 = 3478;
/// The port of TURN in TLS where the address names none.
const TLS_PORT: u16 = 5349;

/// One TURN server over one protocol.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RelayServer {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// What carries packets there.
    pub(crate) protocol: RelayProtocol,
    /// The user name.
    pub(crate) username: String,
    /// The password.
    pub(crate) credential: String,
}

impl fmt::Debug for RelayServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl RelayServer {
    /// Returns the relays that the server's addresses name, in their order; what is no TURN
    /// address, or one over a protocol that we do not speak, is left out.
    pub(crate) fn from_ice_server(server: &IceServer) -> Vec<Self> {
        let relay = |url: &String| {
            let (host, port, protocol) = parse(url)?;
            Some(Self {
                host,
                port,
                protocol,
                username: server.username.clone(),
                credential: server.credential.clone(),
            })
        };
        server.urls.iter().filter_map(relay).collect()
    }
}

/// Takes an address apart: `("turn" / "turns") ":" host [":" port] ["?transport=" transport]`
/// (RFC 7065, section 3.1).
fn parse(url: &str) -> Option<(String, u16, RelayProtocol)> {
    let (scheme, rest) = url.split_once(':')?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "turn" => false,
        "turns" => true,
        _ => return None,
    };
    let (place, transport) = match rest.split_once('?') {
        Some((place, query)) => {
            let (name, transport) = query.split_once('=')?;
            if !name.eq_ignore_ascii_case("transport") {
                return None;
            }
            (place, Some(transport.to_ascii_lowercase()))
        }
        None => (rest, None),
    };
    let protocol = match (tls, transport.as_deref()) {
        (false, None | Some("udp")) => RelayProtocol::Udp,
        (false, Some("tcp")) => RelayProtocol::Tcp,
        (true, None | Some("tcp")) => RelayProtocol::Tls,
        _ => return None,
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(literal) => {
            let (address, after) = literal.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':')?),
            };
            (address, port)
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None if tls => TLS_PORT,
        None => PLAIN_PORT,
    };
    let named = !host.is_empty() && !host.contains([' ', '/', '@', ']']);
    named.then(|| (host.to_owned(), port, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_as_rfc_7065_writes_them() {
        let cases = [
            ("turn:a.example", "a.example", 3478, RelayProtocol::Udp),
            ("turns:a.example", "a.example", 5349, RelayProtocol::Tls),
            ("TURN:a:80?transport=UDP", "a", 80, RelayProtocol::Udp),
            ("turn:a?transport=tcp", "a", 3478, RelayProtocol::Tcp),
            ("turns:a:443?transport=tcp", "a", 443, RelayProtocol::Tls),
            ("turn:192.0.2.1:9", "192.0.2.1", 9, RelayProtocol::Udp),
            (
                "turn:[2001:db8::1]",
                "2001:db8::1",
                3478,
                RelayProtocol::Udp,
            ),
            ("turns:[::1]:443", "::1", 443, RelayProtocol::Tls),
        ];
        for (url, host, port, protocol) in cases {
            let expected = Some((host.to_owned(), port, protocol));
            assert_eq!(parse(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_relay_that_we_speak_to_is_left_out() {
        let urls = [
            "stun:a.example",
            "turn:",
            "turn:a:0",
            "turn:a:65536",
            "turn:a:b",
            "turn:a?transport=sctp",
            "turns:a?transport=udp",
            "turn:a?protocol=tcp",
            "turn:[::1",
            "turn:[a.example]:1",
            "turn:[::1]x",
            "turn://a.example",
            "",
        ];
        for url in urls {
            assert_eq!(parse(url), None, "{url}");
        }
    }

    #[test]
    fn every_address_of_a_server_becomes_a_relay_and_keeps_its_secret() {
        let server = IceServer {
            urls: ["stun:a", "turn:a", "turns:a:443"].map(Into::into).into(),
            username: "1:x".to_owned(),
            credential: "hidden".to_owned(),
        };
        let relays = RelayServer::from_ice_server(&server);
        assert_eq!(relays.len(), 2);
        assert!(relays.iter().all(|relay| relay.credential == "hidden"));
        assert!(!format!("{relays:?}").contains("hidden"));
    }
}
