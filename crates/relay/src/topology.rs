//! When a call outgrows a mesh, and when it fits into one again.

use std::time::{Duration, Instant};

/// How long a call must fit into a mesh before it becomes one again: a door that swings does not make
/// the call swing.
const CALM: Duration = Duration::from_secs(30);

/// How the media of a call travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Topology {
    /// Straight from everybody to everybody.
    #[default]
    Mesh,
    /// Through the relay.
    Relay,
}

/// Decides the topology of a room by how many take part in it.
#[derive(Debug)]
pub struct TopologyWatch {
    limit: usize,
    topology: Topology,
    fits_since: Option<Instant>,
}

impl TopologyWatch {
    /// Begins as a mesh of at most `limit` participants.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            topology: Topology::Mesh,
            fits_since: None,
        }
    }

    /// Takes note of how many take part, and of whether there is a relay. Returns the topology if it
    /// changed: to the relay at once, and where there is no relay never.
    pub fn handle_participants(
        &mut self,
        participants: usize,
        relay: bool,
        now: Instant,
    ) -> Option<Topology> {
        if participants > self.limit {
            self.fits_since = None;
            return relay.then(|| self.change(Topology::Relay)).flatten();
        }
        if self.topology == Topology::Relay {
            self.fits_since.get_or_insert(now);
        }
        self.handle_timeout(now)
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.fits_since.map(|since| since + CALM)
    }

    /// Returns the topology if it changes now.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Topology> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return None;
        }
        self.fits_since = None;
        self.change(Topology::Mesh)
    }

    /// Returns the topology.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    fn change(&mut self, topology: Topology) -> Option<Topology> {
        (self.topology != topology).then(|| {
            self.topology = topology;
            topology
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn start() -> Instant {
        crate::testing::start()
    }

    #[test]
    fn a_call_is_relayed_at_once_and_a_mesh_after_30_seconds() {
        let now = start();
        let mut watch = TopologyWatch::new(5);
        assert_eq!(watch.handle_participants(5, true, now), None);
        assert_eq!(
            watch.handle_participants(6, true, now),
            Some(Topology::Relay)
        );
        assert_eq!(watch.handle_participants(5, true, now + seconds(1)), None);
        assert_eq!(watch.poll_timeout(), Some(now + seconds(31)));
        assert_eq!(watch.handle_timeout(now + seconds(30)), None);
        assert_eq!(
            watch.handle_timeout(now + seconds(31)),
            Some(Topology::Mesh)
        );
        assert_eq!(watch.poll_timeout(), None);
    }

    #[test]
    fn a_door_that_swings_does_not_make_the_call_swing() {
        let now = start();
        let mut watch = TopologyWatch::new(5);
        watch.handle_participants(6, true, now);
        for swing in 0..20 {
            let at = now + seconds(20 * swing);
            assert_eq!(watch.handle_participants(5, true, at), None);
            let back = watch.handle_participants(6, true, at + seconds(19));
            assert_eq!(back, None, "30 s without interruption");
        }
        assert_eq!(watch.topology(), Topology::Relay);
    }

    #[test]
    fn nothing_changes_where_there_is_no_relay() {
        let now = start();
        let mut watch = TopologyWatch::new(5);
        assert_eq!(watch.handle_participants(50, false, now), None);
        assert_eq!(
            watch.handle_participants(50, true, now),
            Some(Topology::Relay)
        );
        assert_eq!(
            watch.handle_participants(51, false, now + seconds(60)),
            None
        );
        assert_eq!(watch.topology(), Topology::Relay);
    }
}
