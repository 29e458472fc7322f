//! What is tried to reach somebody, and what is in the way, in a person's terms. Pure.

use super::Side;
use crate::mesh::{Path, Reach, RelayState, Ways};

/// What is tried to reach somebody, and what is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempt {
    /// What is tried now.
    pub trying: Option<Trying>,
    /// What is in the way, where that is known.
    pub obstacle: Option<Obstacle>,
    /// Whose network blocks UDP, where packets go through a stream for that.
    pub udp_blocked: Side,
}

/// A way that is being tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trying {
    /// Straight from one computer to the other.
    Direct,
    /// Through a relay.
    Relay,
    /// Through a relay over TLS.
    RelayTls,
}

/// Why there is no way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// No direct way was found, and the server offers no relay.
    NoRelay,
    /// This network blocks UDP, and the server offers no relay.
    UdpBlockedNoRelay,
    /// This network blocks UDP and streams to the relay, and the server offers none over TLS.
    OnlyTheWeb,
    /// No direct way was found, and no relay can be reached.
    RelayNotReached,
}

impl Attempt {
    /// Reads what the link knows; `path` is how packets travel, if they do.
    pub(super) fn read(ways: &Ways, path: Option<Path>) -> Self {
        let checked = ways.checking.iter().filter_map(|path| trying(*path));
        let made = Reach::RELAYS.iter().filter_map(|path| {
            (ways.reach.relay(*path) == RelayState::Trying).then(|| trying(*path))?
        });
        Self {
            // The better ways have a head start: the poorest is the newest that is tried.
            trying: checked.chain(made).max(),
            obstacle: obstacle(&ways.reach),
            udp_blocked: udp_blocked(&ways.reach, path),
        }
    }
}

fn trying(path: Path) -> Option<Trying> {
    match path {
        Path::Direct => Some(Trying::Direct),
        Path::TurnUdp | Path::TurnTcp => Some(Trying::Relay),
        Path::TurnTls => Some(Trying::RelayTls),
        Path::Relay => None,
    }
}

fn obstacle(reach: &Reach) -> Option<Obstacle> {
    let relays = Reach::RELAYS.map(|path| reach.relay(path));
    if relays.contains(&RelayState::Works) || relays.contains(&RelayState::Trying) {
        return None;
    }
    let offered = relays.iter().any(|relay| *relay != RelayState::NotOffered);
    let tls = reach.relay(Path::TurnTls) != RelayState::NotOffered;
    Some(match (offered, reach.udp) {
        (false, Some(false)) => Obstacle::UdpBlockedNoRelay,
        (false, _) => Obstacle::NoRelay,
        (true, Some(false)) if !tls => Obstacle::OnlyTheWeb,
        (true, _) => Obstacle::RelayNotReached,
    })
}

/// Tells at which end UDP is blocked. That our own relay works over UDP proves that it is theirs:
/// then we ask for no other.
fn udp_blocked(reach: &Reach, path: Option<Path>) -> Side {
    match path {
        Some(Path::TurnTcp | Path::TurnTls) => match reach.udp {
            Some(false) => Side::Ours,
            Some(true) if reach.relay(Path::TurnUdp) == RelayState::Works => Side::Theirs,
            _ => Side::Unknown,
        },
        _ => Side::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use RelayState::{Failed, NotOffered, Works};

    fn reach(udp: Option<bool>, relays: [RelayState; 3]) -> Ways {
        Ways {
            checking: Vec::new(),
            reach: Reach { udp, relays },
        }
    }

    fn read(ways: &Ways) -> Attempt {
        Attempt::read(ways, None)
    }

    #[test]
    fn the_newest_way_that_is_tried_is_named() {
        let checking = |paths: &[Path]| Ways {
            checking: paths.to_vec(),
            ..Ways::default()
        };
        assert_eq!(read(&Ways::default()).trying, None);
        let cases = [
            (&[Path::Direct][..], Trying::Direct),
            (&[Path::Direct, Path::TurnUdp], Trying::Relay),
            (&[Path::TurnTcp, Path::Direct], Trying::Relay),
            (&[Path::Direct, Path::TurnTls], Trying::RelayTls),
        ];
        for (paths, expected) in cases {
            assert_eq!(read(&checking(paths)).trying, Some(expected), "{paths:?}");
        }
        let made = reach(None, [Failed, Failed, RelayState::Trying]);
        assert_eq!(read(&made).trying, Some(Trying::RelayTls));
    }

    #[test]
    fn what_is_in_the_way_is_named_once_nothing_else_is_tried() {
        let cases = [
            (None, [NotOffered; 3], Some(Obstacle::NoRelay)),
            (Some(true), [NotOffered; 3], Some(Obstacle::NoRelay)),
            (
                Some(false),
                [NotOffered; 3],
                Some(Obstacle::UdpBlockedNoRelay),
            ),
            (
                Some(false),
                [Failed, Failed, NotOffered],
                Some(Obstacle::OnlyTheWeb),
            ),
            (Some(false), [Failed; 3], Some(Obstacle::RelayNotReached)),
            (
                Some(true),
                [Failed, NotOffered, NotOffered],
                Some(Obstacle::RelayNotReached),
            ),
            (Some(false), [Failed, RelayState::Trying, NotOffered], None),
            (Some(false), [Failed, Works, NotOffered], None),
        ];
        for (udp, relays, expected) in cases {
            let found = read(&reach(udp, relays)).obstacle;
            assert_eq!(found, expected, "{udp:?} {relays:?}");
        }
    }

    #[test]
    fn whose_network_blocks_udp_is_said_where_it_is_known() {
        let blocked = |udp, relays, path| Attempt::read(&reach(udp, relays), path).udp_blocked;
        let (tcp, tls) = (Some(Path::TurnTcp), Some(Path::TurnTls));
        let ours = [Failed, Works, NotOffered];
        assert_eq!(blocked(Some(false), ours, tcp), Side::Ours);
        assert_eq!(blocked(None, ours, tcp), Side::Unknown);
        assert_eq!(
            blocked(Some(true), ours, tcp),
            Side::Unknown,
            "only the relay is dead"
        );
        let theirs = [Works, NotOffered, NotOffered];
        assert_eq!(blocked(Some(true), theirs, tls), Side::Theirs);
        assert_eq!(
            blocked(Some(true), theirs, Some(Path::Direct)),
            Side::Unknown
        );
        assert_eq!(blocked(Some(false), ours, None), Side::Unknown);
    }
}
