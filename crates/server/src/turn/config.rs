//! How the TURN server is set up.

use std::{fmt, net::IpAddr, net::SocketAddr, ops::RangeInclusive, str::FromStr};

use crate::Rate;

/// What the TURN server is told at its start.
#[derive(Clone, PartialEq)]
pub struct TurnConfig {
    /// More addresses to listen on, with UDP, TCP and TLS, beside those of the meeting server.
    pub listen: Vec<SocketAddr>,
    /// The secret from which credentials are made; a random one if there is none.
    pub secret: Option<String>,
    /// Under which host, and port, the server is announced; otherwise under those by which a
    /// participant reached the meeting server.
    pub host: Option<PublicHost>,
    /// Where relay sockets are opened, at most one address a family; otherwise on the address
    /// that the client reached.
    pub relay_addresses: Vec<IpAddr>,
    /// The addresses by which relay sockets are reached from outside, behind one-to-one NAT.
    pub external: Vec<ExternalAddress>,
    /// The ports of relay sockets.
    pub ports: RangeInclusive<u16>,
    /// Whether peers in private networks may be reached.
    pub private_peers: bool,
    /// Networks in which peers may be reached although they would be refused. An address that
    /// is listed by itself may be reached even if it is the server's own.
    pub peers: Vec<Network>,
    /// Ports of the server's own addresses that may be reached.
    pub own_ports: Vec<u16>,
    /// How much it takes on.
    pub limits: TurnLimits,
}

/// How much the TURN server takes on.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnLimits {
    /// Most allocations.
    pub allocations: usize,
    /// Most allocations of a participant: UDP, TCP and TLS with two address families are six,
    /// and a client that changes networks has the old ones for a while.
    pub allocations_per_participant: usize,
    /// Most allocations from one address (from one /64 network with IPv6).
    pub allocations_per_address: usize,
    /// Most permissions of an allocation.
    pub permissions: usize,
    /// Most channels of an allocation.
    pub channels: usize,
    /// Bytes that a participant may send, and as many that it may receive. What is beyond is
    /// dropped.
    pub bytes_per_participant: Rate,
}

impl Default for TurnConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            secret: None,
            host: None,
            relay_addresses: Vec::new(),
            external: Vec::new(),
            // The dynamic ports of RFC 6335, as RFC 8656 section 7.2 recommends.
            ports: 49152..=65535,
            private_peers: false,
            peers: Vec::new(),
            own_ports: Vec::new(),
            limits: TurnLimits::default(),
        }
    }
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            allocations: 10_000,
            allocations_per_participant: 8,
            allocations_per_address: 1024,
            permissions: 256,
            channels: 256,
            bytes_per_participant: TurnLimits::rate_of_bits(20_000_000),
        }
    }
}

impl TurnLimits {
    /// Returns a rate in bytes, with half a second at once: a keyframe must not be cut in two.
    pub fn rate_of_bits(per_second: u64) -> Rate {
        let per_second = per_second as f64 / 8.0;
        Rate {
            burst: (per_second / 2.0).max(65_536.0),
            per_second,
        }
    }
}

impl fmt::Debug for TurnConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Everything but the secret.
        f.debug_struct("TurnConfig")
            .field("listen", &self.listen)
            .field("external", &self.external)
            .field("ports", &self.ports)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Why a setting of the TURN server is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not {1}")]
pub struct UnfitSetting(String, &'static str);

/// The host by which clients reach the TURN server, and the port if it is another one than that
/// of the meeting server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicHost {
    /// A name or an address; an IPv6 address in brackets.
    pub name: String,
    /// The port.
    pub port: Option<u16>,
}

impl FromStr for PublicHost {
    type Err = UnfitSetting;

    /// Reads `name`, `name:port`, `1.2.3.4:port`, `[2001:db8::1]:port`.
    fn from_str(text: &str) -> Result<Self, UnfitSetting> {
        let unfit = || UnfitSetting(text.to_owned(), "a host with or without a port");
        let end = match text.strip_prefix('[') {
            Some(_) => text.find(']').ok_or_else(unfit)? + 1,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (name, port) = text.split_at(end);
        let fit = match name.strip_prefix('[') {
            Some(address) => address
                .trim_end_matches(']')
                .parse()
                .is_ok_and(|address| matches!(address, IpAddr::V6(_))),
            None => {
                let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                (1..=253).contains(&name.len()) && name.bytes().all(fit)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err(unfit()),
            Some(port) => Some(
                port.parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(unfit)?,
            ),
        };
        if !fit {
            return Err(unfit());
        }
        Ok(Self {
            name: name.to_owned(),
            port,
        })
    }
}

/// An address of one-to-one NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalAddress {
    /// By which the server is reached from outside.
    pub public: IpAddr,
    /// Which address of the server that is; `None` means every one of the same family.
    pub private: Option<IpAddr>,
}

impl FromStr for ExternalAddress {
    type Err = UnfitSetting;

    /// Reads `PUBLIC` or `PUBLIC/PRIVATE`.
    fn from_str(text: &str) -> Result<Self, UnfitSetting> {
        let unfit = || UnfitSetting(text.to_owned(), "PUBLIC or PUBLIC/PRIVATE");
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| unfit());
        let (public, private) = match text.split_once('/') {
            None => (address(text)?, None),
            Some((public, private)) => (address(public)?, Some(address(private)?)),
        };
        if private.is_some_and(|private| private.is_ipv4() != public.is_ipv4()) {
            return Err(unfit());
        }
        Ok(Self { public, private })
    }
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Makes the network of the first `prefix` bits of an address.
    pub(crate) const fn new(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix }
    }

    /// Tells whether an address is in it.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let apart = own.to_bits() ^ other.to_bits();
                apart.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let apart = own.to_bits() ^ other.to_bits();
                apart.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Tells whether it is one address only.
    pub(crate) fn single(&self) -> bool {
        self.prefix == bits(self.address)
    }
}

impl FromStr for Network {
    type Err = UnfitSetting;

    /// Reads `10.0.0.0/8` or one address.
    fn from_str(text: &str) -> Result<Self, UnfitSetting> {
        let unfit = || UnfitSetting(text.to_owned(), "a network, such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().map_err(|_| unfit())?;
        let prefix = match prefix {
            None => bits(address),
            Some(prefix) => prefix.parse().map_err(|_| unfit())?,
        };
        if prefix > bits(address) {
            return Err(unfit());
        }
        Ok(Self { address, prefix })
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_a_port_or_none() {
        let host = |text: &str| text.parse().map(|PublicHost { name, port }| (name, port));
        assert_eq!(host("a.example"), Ok(("a.example".to_owned(), None)));
        assert_eq!(host("a:443"), Ok(("a".to_owned(), Some(443))));
        assert_eq!(
            host("[2001:db8::1]"),
            Ok(("[2001:db8::1]".to_owned(), None))
        );
        assert_eq!(host("[::1]:5"), Ok(("[::1]".to_owned(), Some(5))));
        for unfit in [
            "",
            "a b",
            "a:",
            "a:0",
            "a:99999",
            "::1",
            "[a]",
            "[::1",
            "[1.2.3.4]",
            "a/b",
            "a?b",
            "[::1]5",
        ] {
            assert!(host(unfit).is_err(), "{unfit}");
        }
    }

    #[test]
    fn networks_contain_what_shares_their_prefix() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("127.0.0.1", "127.0.0.1"));
        assert!(!contains("127.0.0.1", "127.0.0.2"));
        assert!(contains("0.0.0.0/0", "8.8.8.8"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("fd00::/8", "fdff::1"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
        assert!("10.0.0/8".parse::<Network>().is_err());
        assert!("::1".parse::<Network>().unwrap().single());
    }

    #[test]
    fn external_addresses_are_of_one_family() {
        let external = |text: &str| text.parse::<ExternalAddress>();
        assert_eq!(external("198.51.100.1").unwrap().private, None);
        let mapped = external("198.51.100.1/10.0.0.1").unwrap();
        assert_eq!(mapped.private, Some("10.0.0.1".parse().unwrap()));
        assert!(external("198.51.100.1/::1").is_err());
        assert!(external("somewhere").is_err());
    }
}
