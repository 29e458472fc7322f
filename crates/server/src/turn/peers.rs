//! Which peers may be reached through the relay: the internet, not the server's neighbours.
//!
//! A relay that reaches everything is a door into the network that it stands in: to services that
//! listen on loopback, to the metadata service of a cloud, to the office's printers. RFC 8656
//! section 21 leaves the rules to the operator; these are the strict ones of coturn, and those of
//! IPv6 that hide an IPv4 address are judged by it as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::config::Network;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Network {
    Network::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix)
}

const fn v6(first: u16, second: u16, prefix: u8) -> Network {
    let address = Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0);
    Network::new(IpAddr::V6(address), prefix)
}

/// Never a peer (RFC 6890).
const UNFIT: [Network; 8] = [
    v4(0, 0, 0, 0, 8),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    // Multicast, reserved, broadcast.
    v4(224, 0, 0, 0, 3),
    // Unspecified, loopback, and IPv4 addresses in forms that nobody uses.
    v6(0, 0, 32),
    v6(0xfe80, 0, 9),
    v6(0xff00, 0, 8),
    // Teredo: where it leads is not to be told from the address.
    v6(0x2001, 0, 32),
];

/// A peer only where the operator wants it.
const PRIVATE: [Network; 8] = [
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    // Assigned by IANA for protocols, and for measuring in networks of one's own.
    v4(192, 0, 0, 0, 24),
    v4(198, 18, 0, 0, 15),
    v6(0xfc00, 0, 7),
    // Local-use NAT64 (RFC 8215).
    Network::new(
        IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0)),
        48,
    ),
];

/// What the operator says about peers.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerPolicy {
    pub(crate) private: bool,
    pub(crate) allowed: Vec<Network>,
}

impl PeerPolicy {
    /// Tells whether an address may be reached at all.
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        let within = |networks: &[Network], address| {
            networks.iter().any(|network| network.contains(address))
        };
        let permits = |address| {
            within(&self.allowed, address)
                || !within(&UNFIT, address) && (self.private || !within(&PRIVATE, address))
        };
        permits(address) && hidden(address).is_none_or(permits)
    }

    /// Tells whether an address is listed by itself, so that even the server's own is meant.
    pub(crate) fn singles_out(&self, address: IpAddr) -> bool {
        let singled = |network: &Network| network.single() && network.contains(address);
        self.allowed.iter().any(singled)
    }
}

/// Returns the IPv4 address to which packets for an IPv6 address may be taken.
fn hidden(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let low = |shift: u32| Some(Ipv4Addr::from_bits((address.to_bits() >> shift) as u32).into());
    match address.segments() {
        // IPv4-mapped.
        [0, 0, 0, 0, 0, 0xffff, ..] => low(0),
        // NAT64 (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => low(0),
        // 6to4 (RFC 3056).
        [0x2002, ..] => low(80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_internet_may_be_reached_and_the_neighbourhood_may_not() {
        let policy = PeerPolicy::default();
        for address in [
            "8.8.8.8",
            "203.0.113.1",
            "2001:db8::1",
            "2600::1",
            "64:ff9b::808:808",
        ] {
            assert!(policy.permits(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.1.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
        ] {
            assert!(!policy.permits(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn the_operator_may_open_private_networks_but_not_loopback_with_them() {
        let policy = PeerPolicy {
            private: true,
            ..PeerPolicy::default()
        };
        assert!(policy.permits("192.168.1.1".parse().unwrap()));
        assert!(policy.permits("fd00::1".parse().unwrap()));
        assert!(!policy.permits("127.0.0.1".parse().unwrap()));
        assert!(!policy.permits("169.254.169.254".parse().unwrap()));
        assert!(!policy.permits("fe80::1".parse().unwrap()));
    }

    #[test]
    fn the_operator_may_open_single_networks() {
        let policy = PeerPolicy {
            allowed: vec!["10.7.0.0/16".parse().unwrap(), "127.0.0.1".parse().unwrap()],
            ..PeerPolicy::default()
        };
        assert!(policy.permits("10.7.1.1".parse().unwrap()));
        assert!(!policy.permits("10.8.0.1".parse().unwrap()));
        assert!(policy.permits("127.0.0.1".parse().unwrap()));
        assert!(!policy.permits("127.0.0.2".parse().unwrap()));
        assert!(policy.singles_out("127.0.0.1".parse().unwrap()));
        assert!(!policy.singles_out("10.7.0.0".parse().unwrap()));
    }
}
