//! The uplink that all links of this participant share.
//!
//! ```text
//! each link's session ─ figures ─▶ Uplink (rate::Arbiter) ─ its share ─▶ the same link's flow
//! ```
//! Links stay independent: they meet here only to compare their queues, every
//! [`Seat::report`], and are held back only while their uplink is what limits them all.

mod starvation;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nonstop_rate::{Arbiter, Bitrate, LinkId, LinkReport};
use starvation::Starvation;

/// What was said longer ago does not count.
const STALE: Duration = Duration::from_secs(1);

/// One for all links of a participant.
#[derive(Debug, Default)]
pub struct Uplink {
    table: Mutex<Table>,
}

/// Locked for the microseconds of one report.
#[derive(Debug, Default)]
struct Table {
    arbiter: Arbiter,
    seats: u64,
    /// What each link of the mesh may send, and when that was decided; those without a bound are left out.
    shares: BTreeMap<LinkId, (Bitrate, Instant)>,
    /// What the connection to the relay is believed to carry.
    relay: Option<(Bitrate, Instant)>,
    starvation: Starvation,
}

impl Uplink {
    /// Takes a place for a link that is about to begin.
    pub(super) fn join(self: &Arc<Self>, now: Instant) -> Seat {
        self.seat(now, false)
    }

    /// Takes the place of the connection to the relay.
    pub(super) fn join_relay(self: &Arc<Self>, now: Instant) -> Seat {
        self.seat(now, true)
    }

    fn seat(self: &Arc<Self>, now: Instant, relay: bool) -> Seat {
        let mut table = self.lock();
        table.seats += 1;
        let link = LinkId(table.seats);
        table.arbiter.expect(now, link);
        drop(table);
        Seat {
            uplink: Arc::clone(self),
            link,
            relay,
        }
    }

    /// Tells whether the uplink cannot feed so many links of a mesh, and one publication through the
    /// relay serves everybody better; to be asked a few times a second.
    pub(super) fn starving(&self, now: Instant, links: usize) -> bool {
        let mut table = self.lock();
        let fresh = |at: Instant| now.saturating_duration_since(at) < STALE;
        let shares = table.shares.values().filter(|(_, at)| fresh(*at));
        let shares: Vec<_> = shares.map(|(share, _)| *share).collect();
        let relay = table
            .relay
            .filter(|(_, at)| fresh(*at))
            .map(|(rate, _)| rate);
        table.starvation.update(now, links, &shares, relay)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; it is free again when the connection ends.
pub(super) struct Seat {
    uplink: Arc<Uplink>,
    link: LinkId,
    relay: bool,
}

impl Seat {
    /// Says how the connection is doing, and returns the most that it may send; nothing while it
    /// shares no full uplink.
    pub(super) fn report(&self, now: Instant, report: LinkReport) -> Option<Bitrate> {
        let mut table = self.uplink.lock();
        let share = table.arbiter.report(now, self.link, report);
        match share {
            _ if self.relay => table.relay = Some((report.estimate, now)),
            Some(share) => _ = table.shares.insert(self.link, (share, now)),
            None => _ = table.shares.remove(&self.link),
        }
        share
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.uplink.lock();
        table.arbiter.remove(self.link);
        table.shares.remove(&self.link);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nonstop_rate::Bitrate;

    use super::*;
    use crate::clock;

    fn report(queue: u64) -> LinkReport {
        LinkReport {
            estimate: Bitrate::from_kbps(500),
            acknowledged: Bitrate::from_kbps(300),
            queue_delay: Duration::from_millis(queue),
            weight: 1.0,
            wanted: Bitrate::from_kbps(2_000),
        }
    }

    #[test]
    fn links_with_one_queue_share_and_one_that_stays_alone_is_free() {
        let uplink = Arc::new(Uplink::default());
        let start = clock::now();
        let seats = [uplink.join(start), uplink.join(start)];
        let mut shares = [None; 2];
        for tick in 0..60u64 {
            let now = start + Duration::from_millis(100) * tick as u32;
            for (seat, share) in seats.iter().zip(&mut shares) {
                *share = seat.report(now, report(tick % 12 * 10));
            }
        }
        // 600 kb/s come through; each gets a half of what is given of it.
        let share = shares[0].expect("the queue rises and falls for both");
        assert_eq!(shares[1], Some(share));
        assert!(share > Bitrate::from_kbps(230), "{share}");
        assert!(share < Bitrate::from_kbps(320), "{share}");

        let [first, second] = seats;
        drop(second);
        let now = start + Duration::from_secs(6);
        for tick in 0..30u64 {
            let now = now + Duration::from_millis(100) * tick as u32;
            let share = first.report(now, report(tick % 12 * 10));
            assert!(tick == 0 || share.is_none(), "{share:?}");
        }
    }
}
