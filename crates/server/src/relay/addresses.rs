//! By which addresses participants reach the relay.

use std::net::{IpAddr, SocketAddr};

use nonstop_wire::MAX_RELAY_ADDRESSES;

use crate::ExternalAddress;

/// What is known of the relay's sockets.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// Where they are bound.
    bound: Vec<SocketAddr>,
    /// The addresses by which this computer reaches the internet.
    outward: Vec<IpAddr>,
    external: Vec<ExternalAddress>,
}

impl Addresses {
    /// Takes note of where the sockets are.
    pub(crate) fn new(
        bound: Vec<SocketAddr>,
        outward: Vec<IpAddr>,
        external: Vec<ExternalAddress>,
    ) -> Self {
        Self {
            bound,
            outward,
            external,
        }
    }

    /// Returns where somebody finds the relay who reached the meeting server at `reached`: there
    /// first, since that way is known to work, then at the other addresses.
    pub(crate) fn addresses(&self, reached: IpAddr) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for bound in &self.bound {
            let ip = bound.ip();
            let any = [reached].into_iter().chain(self.outward.iter().copied());
            let own: Vec<_> = match ip.is_unspecified() {
                true => any.filter(|own| own.is_ipv4() == ip.is_ipv4()).collect(),
                false => vec![ip],
            };
            for own in own {
                let public = self
                    .external
                    .iter()
                    .filter(|external| match external.private {
                        Some(private) => private == own,
                        None => external.public.is_ipv4() == own.is_ipv4(),
                    });
                let known = public.map(|external| external.public).chain([own]);
                for ip in known {
                    let address = SocketAddr::new(ip, bound.port());
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
            }
        }
        addresses.truncate(MAX_RELAY_ADDRESSES);
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bound: &[&str], outward: &[&str], external: &[&str], reached: &str) -> Vec<String> {
        let addresses = Addresses::new(
            bound.iter().map(|text| text.parse().unwrap()).collect(),
            outward.iter().map(|text| text.parse().unwrap()).collect(),
            external.iter().map(|text| text.parse().unwrap()).collect(),
        );
        let told = addresses.addresses(reached.parse().unwrap());
        told.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_address_that_was_reached_comes_first() {
        let any = ["0.0.0.0:4434", "[::]:4434"];
        let outward = ["10.0.0.1", "2001:db8::1"];
        assert_eq!(
            told(&any, &outward, &[], "192.168.7.7"),
            ["192.168.7.7:4434", "10.0.0.1:4434", "[2001:db8::1]:4434"]
        );
        assert_eq!(
            told(&["127.0.0.1:9"], &outward, &[], "127.0.0.1"),
            ["127.0.0.1:9"]
        );
    }

    #[test]
    fn behind_one_to_one_nat_the_public_address_is_told_before_the_own() {
        let any = ["0.0.0.0:4434"];
        assert_eq!(
            told(&any, &["10.0.0.1"], &["198.51.100.1/10.0.0.1"], "10.0.0.1"),
            ["198.51.100.1:4434", "10.0.0.1:4434"]
        );
        assert_eq!(
            told(&any, &[], &["198.51.100.1"], "10.0.0.2"),
            ["198.51.100.1:4434", "10.0.0.2:4434"]
        );
    }
}
