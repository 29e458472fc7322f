//! A pair of candidates that works, as those who send over it see it.

use std::{fmt, net::SocketAddr, time::Duration};

use crate::{Candidate, CandidateKind, RelayProtocol};

/// Where packets leave and arrive on this side: a socket of one interface, or an allocation on a
/// relay. The driver gives the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base(pub u32);

/// How packets travel: the poorest part of the way. The order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Straight from one computer to the other.
    Direct,
    /// Through a relay that both reach over UDP.
    RelayUdp,
    /// Through a relay that one side reaches over TCP.
    RelayTcp,
    /// Through a relay that one side reaches over TLS.
    RelayTls,
}

impl Way {
    /// Returns the way that one candidate stands for. A peer-reflexive one is a relay's if the
    /// check that showed it said so.
    pub fn of(candidate: &Candidate) -> Self {
        use CandidateKind::{PeerReflexive, Relayed};
        match (candidate.kind, candidate.relay_protocol) {
            (Relayed | PeerReflexive, Some(RelayProtocol::Tls)) => Self::RelayTls,
            (Relayed | PeerReflexive, Some(RelayProtocol::Tcp)) => Self::RelayTcp,
            (Relayed, _) | (PeerReflexive, Some(RelayProtocol::Udp)) => Self::RelayUdp,
            _ => Self::Direct,
        }
    }

    /// Returns the way of a pair: the poorer of its two ends.
    pub fn of_pair(local: &Candidate, remote: &Candidate) -> Self {
        Self::of(local).max(Self::of(remote))
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::RelayUdp => "turn-udp",
            Self::RelayTcp => "turn-tcp",
            Self::RelayTls => "turn-tls",
        })
    }
}

/// A path that was checked and found to work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where packets leave.
    pub base: Base,
    /// Where they go.
    pub remote: SocketAddr,
    /// How they travel.
    pub way: Way,
    /// What the last check took.
    pub round_trip: Option<Duration>,
}
