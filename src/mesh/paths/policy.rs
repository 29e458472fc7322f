//! Which paths there are, and which of them may be used.

use std::{fmt, str::FromStr};

use nonstop_ice::{Candidate, CandidateKind, RelayProtocol, Way};

/// How a link's packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// Straight from one computer to the other.
    Direct,
    /// Through a TURN server over UDP.
    TurnUdp,
    /// Through a TURN server over TCP.
    TurnTcp,
    /// Through a TURN server over TLS.
    TurnTls,
    /// Through the meeting server's relay.
    Relay,
}

impl Path {
    /// Returns the protocol of this computer's packets on it.
    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::TurnTcp | Self::TurnTls => "tcp",
            Self::Direct | Self::TurnUdp | Self::Relay => "udp",
        }
    }
}

impl From<Way> for Path {
    fn from(way: Way) -> Self {
        match way {
            Way::Direct => Self::Direct,
            Way::RelayUdp => Self::TurnUdp,
            Way::RelayTcp => Self::TurnTcp,
            Way::RelayTls => Self::TurnTls,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::TurnUdp => "turn-udp",
            Self::TurnTcp => "turn-tcp",
            Self::TurnTls => "turn-tls",
            Self::Relay => "relay",
        })
    }
}

/// Which paths a link may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathPolicy {
    /// Whatever works best.
    #[default]
    Auto,
    /// Only this one (for diagnosis).
    Only(Path),
}

impl FromStr for PathPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "direct" => Self::Only(Path::Direct),
            "turn-udp" => Self::Only(Path::TurnUdp),
            "turn-tcp" => Self::Only(Path::TurnTcp),
            "turn-tls" => Self::Only(Path::TurnTls),
            _ => return Err("expected auto, direct, turn-udp, turn-tcp or turn-tls".to_owned()),
        })
    }
}

/// What a participant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Policy {
    /// Which paths.
    pub(crate) path: PathPolicy,
    /// Whether the others must not see this computer's addresses: everything goes through a relay.
    pub(crate) hide_address: bool,
}

impl Policy {
    /// Tells whether relays over a protocol may be used on this side.
    pub(crate) fn may_relay(self, protocol: RelayProtocol) -> bool {
        match self.path {
            PathPolicy::Auto => true,
            PathPolicy::Only(Path::TurnUdp) => protocol == RelayProtocol::Udp,
            PathPolicy::Only(Path::TurnTcp) => protocol == RelayProtocol::Tcp,
            PathPolicy::Only(Path::TurnTls) => protocol == RelayProtocol::Tls,
            PathPolicy::Only(Path::Direct | Path::Relay) => false,
        }
    }

    /// Tells whether a candidate of this side may be used and told.
    pub(crate) fn may_use(self, own: &Candidate) -> bool {
        if own.kind == CandidateKind::Relayed {
            return self.may_relay(own.relay_protocol.unwrap_or(RelayProtocol::Udp));
        }
        let direct = matches!(self.path, PathPolicy::Auto | PathPolicy::Only(Path::Direct));
        direct && !self.hide_address
    }

    /// Tells whether a candidate of the other side may be tried.
    pub(crate) fn may_reach(self, theirs: &Candidate) -> bool {
        self.path != PathPolicy::Only(Path::Direct) || theirs.kind != CandidateKind::Relayed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(kind: CandidateKind, protocol: Option<RelayProtocol>) -> Candidate {
        let address = "192.0.2.1:5000".parse().expect("an address");
        Candidate::new(kind, address, protocol, 0)
    }

    #[test]
    fn who_hides_their_address_uses_and_tells_relayed_ones_only() {
        let policy = Policy {
            hide_address: true,
            ..Policy::default()
        };
        for kind in [CandidateKind::Host, CandidateKind::ServerReflexive] {
            assert!(!policy.may_use(&candidate(kind, None)));
            assert!(policy.may_reach(&candidate(kind, None)));
        }
        for protocol in [RelayProtocol::Udp, RelayProtocol::Tcp, RelayProtocol::Tls] {
            assert!(policy.may_use(&candidate(CandidateKind::Relayed, Some(protocol))));
        }
    }

    #[test]
    fn a_forced_path_is_the_only_one() {
        let only = |path| Policy {
            path: PathPolicy::Only(path),
            hide_address: false,
        };
        let host = candidate(CandidateKind::Host, None);
        let relayed = |protocol| candidate(CandidateKind::Relayed, Some(protocol));
        assert!(only(Path::Direct).may_use(&host));
        assert!(!only(Path::Direct).may_use(&relayed(RelayProtocol::Udp)));
        assert!(!only(Path::Direct).may_reach(&relayed(RelayProtocol::Udp)));
        assert!(!only(Path::TurnTcp).may_use(&host));
        assert!(!only(Path::TurnTcp).may_use(&relayed(RelayProtocol::Udp)));
        assert!(only(Path::TurnTcp).may_use(&relayed(RelayProtocol::Tcp)));
    }
}
