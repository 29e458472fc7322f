//! What this network lets through, as far as a call has found out, and what a link tries.

use nonstop_ice::{Progress, Way};

use super::Path;

/// What this network lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Whether anything comes back over UDP; nothing while that is open, or was not tried.
    pub udp: Option<bool>,
    /// The relays over UDP, TCP and TLS.
    pub relays: [RelayState; 3],
}

/// What became of the relays over one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum RelayState {
    /// The meeting server names none.
    #[default]
    NotOffered,
    /// None can be used.
    Failed,
    /// It is not tried, because a better one works.
    Idle,
    /// One is being asked.
    Trying,
    /// One can be used.
    Works,
}

impl Reach {
    /// The ways through relays, in the order of [`relays`](Self::relays).
    pub const RELAYS: [Path; 3] = [Path::TurnUdp, Path::TurnTcp, Path::TurnTls];

    /// Returns what became of the relays on one way.
    pub fn relay(&self, path: Path) -> RelayState {
        let place = Self::RELAYS.iter().position(|way| *way == path);
        place.map_or(RelayState::NotOffered, |place| self.relays[place])
    }
}

/// What a link tries, and what its network lets through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ways {
    /// The ways on which checks are under way, the best first; empty once a path is in use.
    pub checking: Vec<Path>,
    /// What this network lets through.
    pub reach: Reach,
}

impl Ways {
    /// Reads what an agent has come to.
    pub(super) fn of(progress: Progress, reach: Reach) -> Self {
        let ways = [Way::Direct, Way::RelayUdp, Way::RelayTcp, Way::RelayTls];
        let under_way = |way: &Way| progress.of(*way).in_progress > 0;
        Self {
            checking: ways.into_iter().filter(under_way).map(Path::from).collect(),
            reach,
        }
    }
}
