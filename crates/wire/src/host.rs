//! The HOST of a meeting link: a name or an address, with a port where it is not the usual one.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{LinkError, MAX_HOST_NAME};

/// A host in canonical form: lower case, IPv6 addresses in brackets in their shortest spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    kind: Kind,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// Tells whether this is the own computer or an address of a private network, where a server
    /// has no certificate and its traffic does not cross the internet.
    pub(crate) fn nearby(&self) -> bool {
        match &self.kind {
            Kind::Name(name) => name == "localhost",
            Kind::Address(IpAddr::V4(address)) => nearby_v4(*address),
            Kind::Address(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(address) => nearby_v4(address),
                None => nearby_v6(*address),
            },
        }
    }

    /// Leaves the port out where it is the scheme's own.
    pub(crate) fn without_port(mut self, usual: u16) -> Self {
        self.port = self.port.filter(|&port| port != usual);
        self
    }
}

impl FromStr for Host {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (kind, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(LinkError::BadHost)?;
                let address: Ipv6Addr = address.parse().map_err(|_| LinkError::BadHost)?;
                (Kind::Address(address.into()), port)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                (name_or_v4(&text[..end])?, &text[end..])
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(port_number(digits)?),
            None if port.is_empty() => None,
            None => return Err(LinkError::BadHost),
        };
        Ok(Self { kind, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Name(name) => f.write_str(name)?,
            Kind::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Kind::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

fn name_or_v4(text: &str) -> Result<Kind, LinkError> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Kind::Address(address.into()));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // A name that ends in a number is a damaged or oddly spelt address, such as 192.168.1:
    // programs disagree on which one it means.
    let ends_in_number = text.rsplit('.').next().is_some_and(|last| {
        last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X")
    });
    if text.len() > MAX_HOST_NAME || ends_in_number || !text.split('.').all(label) {
        return Err(LinkError::BadHost);
    }
    Ok(Kind::Name(text.to_ascii_lowercase()))
}

fn port_number(digits: &str) -> Result<u16, LinkError> {
    if !(1..=5).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(LinkError::BadHost);
    }
    match digits.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(LinkError::BadHost),
    }
}

/// 127/8, 10/8, 172.16/12, 192.168/16 (RFC 1918) and 169.254/16 (RFC 3927).
fn nearby_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local()
}

/// `::1`, fc00::/7 (RFC 4193) and fe80::/10 (RFC 4291).
fn nearby_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Result<String, LinkError> {
        text.parse::<Host>().map(|host| host.to_string())
    }

    #[test]
    fn hosts_have_one_spelling() {
        for (text, spelling) in [
            ("Meet.Example.ORG", "meet.example.org"),
            ("localhost:4433", "localhost:4433"),
            ("192.168.1.5:80", "192.168.1.5:80"),
            ("[FE80:0:0::1]:4433", "[fe80::1]:4433"),
            ("[::1]", "[::1]"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(spelling), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long_label = format!("{}.org", "a".repeat(64));
        let long = format!("{}org", "a.".repeat(126));
        for text in [
            "",
            ":443",
            "a..b",
            "a.",
            ".a",
            "-a.org",
            "a-.org",
            "a_b.org",
            "bücher.example",
            "user@host",
            "host:",
            "host:0",
            "host:65536",
            "host:+80",
            "host:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "[::1%eth0]",
            "1.2.3",
            "300.1.1.1",
            "0x7f.1",
            "127.0.0.0x1",
            "2130706433",
            "a b",
            "host\\x",
            &long_label,
            &long,
        ] {
            assert_eq!(canonical(text), Err(LinkError::BadHost), "{text}");
        }
    }

    #[test]
    fn private_networks_are_nearby_and_the_internet_is_not() {
        for near in [
            "localhost",
            "127.0.0.1",
            "127.255.0.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.5:4433",
            "169.254.1.1",
            "[::1]:80",
            "[fc00::1]",
            "[fdff::1]",
            "[fe80::1]",
            "[febf::1]",
            "[::ffff:192.168.1.5]",
        ] {
            assert!(near.parse::<Host>().unwrap().nearby(), "{near}");
        }
        for far in [
            "example.org",
            "localhost.example.org",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "0.0.0.0",
            "192.169.0.1",
            "[2001:db8::1]",
            "[fec0::1]",
            "[::ffff:8.8.8.8]",
            "100.64.0.1",
        ] {
            assert!(!far.parse::<Host>().unwrap().nearby(), "{far}");
        }
    }
}
