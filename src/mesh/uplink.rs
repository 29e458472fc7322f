//! The uplink that all links of this participant share.
//!
//! ```text
//! each link's session ─ figures ─▶ Uplink (rate::Arbiter) ─ its share ─▶ the same link's flow
//! ```
//! Links stay independent: they meet here only to compare their queues, every
//! [`Seat::report`], and are held back only while their uplink is what limits them all.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use nonstop_rate::{Arbiter, Bitrate, LinkId, LinkReport};

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
}

impl Uplink {
    /// Takes a place for a connection that is about to begin.
    pub(super) fn join(self: &Arc<Self>, now: Instant) -> Seat {
        let mut table = self.lock();
        table.seats += 1;
        let link = LinkId(table.seats);
        table.arbiter.expect(now, link);
        drop(table);
        Seat {
            uplink: Arc::clone(self),
            link,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; it is free again when the connection ends.
pub(super) struct Seat {
    uplink: Arc<Uplink>,
    link: LinkId,
}

impl Seat {
    /// Says how the connection is doing, and returns the most that it may send; nothing while it
    /// shares no full uplink.
    pub(super) fn report(&self, now: Instant, report: LinkReport) -> Option<Bitrate> {
        self.uplink.lock().arbiter.report(now, self.link, report)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.uplink.lock().arbiter.remove(self.link);
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
