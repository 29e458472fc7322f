//! Candidates: addresses at which one side may be reached, and the lines they are told in.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// What kind of address a candidate is (RFC 8445 section 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CandidateKind {
    /// An address of the computer itself.
    Host,
    /// What a router in between made of an address, as the other side saw it.
    PeerReflexive,
    /// What a router in between made of an address, as a STUN server saw it.
    ServerReflexive,
    /// An address on a relay (TURN, RFC 8656).
    Relayed,
}

/// How a relay is reached by the side that allocated the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelayProtocol {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// One candidate. Only UDP ones: what comes over TCP comes from a relay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Which candidates are alike (RFC 8445 section 5.1.1.3): at most 32 characters.
    pub foundation: String,
    /// How much it is preferred (RFC 8445 section 5.1.2).
    pub priority: u32,
    /// The address.
    pub address: SocketAddr,
    /// Its kind.
    pub kind: CandidateKind,
    /// For reflexive and relayed ones, the address it stands for, where that may be told.
    pub related: Option<SocketAddr>,
    /// How the relay is reached, where it was said (`relay-protocol`, an extension attribute of
    /// ours that others ignore, RFC 8839 section 5.1).
    pub relay_protocol: Option<RelayProtocol>,
    /// The user name fragment it belongs to, where the line says so.
    pub ufrag: Option<String>,
}

/// Why a line is no candidate that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CandidateError {
    /// It is not written as RFC 8839 section 5.1 wants it.
    #[error("not a candidate line")]
    Malformed,
    /// It is not over UDP, or not of the first component.
    #[error("not a candidate for UDP")]
    Transport,
    /// It has a name in place of an address.
    #[error("a name in place of an address")]
    Name,
}

impl Candidate {
    /// Makes a candidate. `preference`, 0 to 65535, orders those of one kind (RFC 8445 section
    /// 5.1.2.1); a relay over UDP comes before one over TCP, and TCP before TLS, whatever it is.
    pub fn new(
        kind: CandidateKind,
        address: SocketAddr,
        relay_protocol: Option<RelayProtocol>,
        preference: u16,
    ) -> Self {
        let type_preference: u32 = match (kind, relay_protocol) {
            (CandidateKind::Host, _) => 126,
            (CandidateKind::PeerReflexive, _) => 110,
            (CandidateKind::ServerReflexive, _) => 100,
            (CandidateKind::Relayed, Some(RelayProtocol::Tls)) => 0,
            (CandidateKind::Relayed, Some(RelayProtocol::Tcp)) => 1,
            (CandidateKind::Relayed, Some(RelayProtocol::Udp) | None) => 2,
        };
        // Component 1: 256 less 1.
        let priority = (type_preference << 24) | (u32::from(preference) << 8) | 255;
        let protocol = relay_protocol.map_or("", name_of_protocol);
        Self {
            foundation: foundation(kind, address.ip(), protocol),
            priority,
            address,
            kind,
            related: None,
            relay_protocol: relay_protocol.filter(|_| kind == CandidateKind::Relayed),
            ufrag: None,
        }
    }
}

/// Alike are candidates of one kind at one address (the base's, which is near enough) over one
/// protocol: FNV-1a over them.
fn foundation(kind: CandidateKind, ip: IpAddr, protocol: &str) -> String {
    let text = format!("{kind:?} {ip} {protocol}");
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.to_string()
}

fn name_of_protocol(protocol: RelayProtocol) -> &'static str {
    match protocol {
        RelayProtocol::Udp => "udp",
        RelayProtocol::Tcp => "tcp",
        RelayProtocol::Tls => "tls",
    }
}

fn name_of_kind(kind: CandidateKind) -> &'static str {
    match kind {
        CandidateKind::Host => "host",
        CandidateKind::PeerReflexive => "prflx",
        CandidateKind::ServerReflexive => "srflx",
        CandidateKind::Relayed => "relay",
    }
}

impl fmt::Display for RelayProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of_protocol(*self))
    }
}

/// Writes the line as in RFC 8839 section 5.1, beginning with `candidate:`.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "candidate:{} 1 udp {} {} {} typ {}",
            self.foundation,
            self.priority,
            self.address.ip(),
            self.address.port(),
            name_of_kind(self.kind)
        )?;
        if let Some(related) = self.related {
            write!(f, " raddr {} rport {}", related.ip(), related.port())?;
        }
        if let Some(protocol) = self.relay_protocol {
            write!(f, " relay-protocol {protocol}")?;
        }
        if let Some(ufrag) = &self.ufrag {
            write!(f, " ufrag {ufrag}")?;
        }
        Ok(())
    }
}

/// Reads a line, with or without `a=` before it. Unknown extensions are ignored.
impl FromStr for Candidate {
    type Err = CandidateError;

    fn from_str(line: &str) -> Result<Self, CandidateError> {
        let line = line.trim();
        let line = line.strip_prefix("a=").unwrap_or(line);
        let line = line
            .strip_prefix("candidate:")
            .ok_or(CandidateError::Malformed)?;
        let mut words = line.split_ascii_whitespace();
        let mut next = || words.next().ok_or(CandidateError::Malformed);
        let (foundation, component, transport) = (next()?, next()?, next()?);
        let priority = next()?.parse().map_err(|_| CandidateError::Malformed)?;
        let (address, port) = (next()?, next()?);
        if foundation.len() > 32 || next()? != "typ" {
            return Err(CandidateError::Malformed);
        }
        if component != "1" || !transport.eq_ignore_ascii_case("udp") {
            return Err(CandidateError::Transport);
        }
        let kind = match next()? {
            "host" => CandidateKind::Host,
            "srflx" => CandidateKind::ServerReflexive,
            "prflx" => CandidateKind::PeerReflexive,
            "relay" => CandidateKind::Relayed,
            _ => return Err(CandidateError::Malformed),
        };
        let ip: IpAddr = address.parse().map_err(|_| CandidateError::Name)?;
        let port: u16 = port.parse().map_err(|_| CandidateError::Malformed)?;
        let mut candidate = Self {
            foundation: foundation.to_owned(),
            priority,
            address: SocketAddr::new(ip, port),
            kind,
            related: None,
            relay_protocol: None,
            ufrag: None,
        };
        let (mut related_ip, mut related_port) = (None, None);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match name {
                "raddr" => related_ip = value.parse::<IpAddr>().ok(),
                "rport" => related_port = value.parse::<u16>().ok(),
                "relay-protocol" if kind == CandidateKind::Relayed => {
                    candidate.relay_protocol = match value {
                        "udp" => Some(RelayProtocol::Udp),
                        "tcp" => Some(RelayProtocol::Tcp),
                        "tls" => Some(RelayProtocol::Tls),
                        _ => None,
                    };
                }
                "ufrag" => candidate.ufrag = Some(value.to_owned()),
                _ => {}
            }
        }
        candidate.related = related_ip
            .zip(related_port)
            .map(|(ip, port)| SocketAddr::new(ip, port));
        Ok(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let mut candidate = Candidate::new(
            CandidateKind::Relayed,
            "[2001:db8::1]:50000".parse().unwrap(),
            Some(RelayProtocol::Tls),
            7,
        );
        candidate.related = Some("192.0.2.1:9".parse().unwrap());
        candidate.ufrag = Some("abcd".to_owned());
        assert_eq!(candidate.to_string().parse(), Ok(candidate));
    }

    #[test]
    fn lines_of_others_are_read_and_what_cannot_be_used_is_refused() {
        let chromium = "a=candidate:1 1 UDP 2113937151 192.0.2.7 5000 typ host generation 0 ufrag x9 network-cost 999";
        let candidate: Candidate = chromium.parse().unwrap();
        assert_eq!(candidate.address, "192.0.2.7:5000".parse().unwrap());
        assert_eq!(candidate.ufrag.as_deref(), Some("x9"));
        for (line, error) in [
            (
                "candidate:1 1 tcp 9 192.0.2.7 9 typ host tcptype active",
                CandidateError::Transport,
            ),
            (
                "candidate:1 2 udp 9 192.0.2.7 9 typ host",
                CandidateError::Transport,
            ),
            (
                "candidate:1 1 udp 9 x.local 9 typ host",
                CandidateError::Name,
            ),
            (
                "candidate:1 1 udp 9 192.0.2.7 99999 typ host",
                CandidateError::Malformed,
            ),
            ("candidate:1 1 udp", CandidateError::Malformed),
            ("", CandidateError::Malformed),
        ] {
            assert_eq!(line.parse::<Candidate>(), Err(error), "{line}");
        }
    }

    #[test]
    fn direct_comes_before_relays_and_udp_before_tcp_before_tls() {
        let address = "192.0.2.1:1".parse().unwrap();
        let priority = |kind, protocol, preference| {
            Candidate::new(kind, address, protocol, preference).priority
        };
        let order = [
            priority(CandidateKind::Host, None, 0),
            priority(CandidateKind::ServerReflexive, None, u16::MAX),
            priority(CandidateKind::Relayed, Some(RelayProtocol::Udp), 0),
            priority(CandidateKind::Relayed, Some(RelayProtocol::Tcp), u16::MAX),
            priority(CandidateKind::Relayed, Some(RelayProtocol::Tls), u16::MAX),
        ];
        assert!(order.is_sorted_by(|a, b| a > b), "{order:?}");
    }
}
