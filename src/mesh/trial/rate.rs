//! How much goes through: a train of packets that rises, and the most that arrived of it. Pure.
//!
//! ```text
//! sent      ▁▂▃▅█ ──▶ the way ──▶ arrived ▁▂▃▄▄      the best 400 ms of it
//! ```
//!
//! What arrived within a time is carried by the way in that time, whatever waits or is lost on it:
//! the figure is a lower bound, and says "at least".

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nonstop_rate::{Bitrate, DataSize};

/// How long the train is.
pub(super) const TRAIN: Duration = Duration::from_secs(2);
/// How long what is still on its way at the end of the train is waited for.
pub(super) const TAIL: Duration = Duration::from_millis(400);
/// The rate at which it begins: what the poorest call needs.
const FIRST: Bitrate = Bitrate::from_kbps(150);
/// The rate at which it ends: two links of the best picture. All of the train is 0.4 MB.
const LAST: Bitrate = Bitrate::from_kbps(5_000);
/// Over how long arrivals are counted: long enough that a burst which a queue let go at once does
/// not pass for a rate.
const WINDOW: Duration = Duration::from_millis(400);

/// Returns how much of the train is to have left after that long.
pub(super) fn due(elapsed: Duration) -> DataSize {
    // The rate doubles in equal times, so that narrow ways are tried as long as wide ones. Its
    // integral from 0 to t is FIRST · (g^t − 1) / ln g.
    let share = (elapsed.as_secs_f64() / TRAIN.as_secs_f64()).min(1.0);
    let ratio = LAST.bps() as f64 / FIRST.bps() as f64;
    let seconds = TRAIN.as_secs_f64() * (ratio.powf(share) - 1.0) / ratio.ln();
    DataSize::from_bytes((FIRST.bps() as f64 * seconds / 8.0) as u64)
}

/// Counts what arrives.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    recent: VecDeque<(Instant, u64)>,
    in_window: u64,
    most: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Arrivals {
    /// Takes in a packet of that many bytes. Packets come in the order of their arrival.
    pub(super) fn handle(&mut self, at: Instant, bytes: usize) {
        self.first.get_or_insert(at);
        self.last = Some(at);
        self.recent.push_back((at, bytes as u64));
        self.in_window += bytes as u64;
        while let Some((oldest, bytes)) = self.recent.front().copied()
            && at.saturating_duration_since(oldest) >= WINDOW
        {
            self.in_window -= bytes;
            self.recent.pop_front();
        }
        // The oldest was under way before the window began.
        let oldest = self.recent.front().map_or(0, |(_, bytes)| *bytes);
        self.most = self.most.max(self.in_window - oldest);
    }

    /// Returns the highest rate that arrived over a whole window; nothing where too little came
    /// to tell.
    pub(super) fn best(&self) -> Option<Bitrate> {
        let span = self.last?.saturating_duration_since(self.first?);
        if span < WINDOW {
            return None;
        }
        let bits = self.most as f64 * 8.0;
        Some(Bitrate::from_bps((bits / WINDOW.as_secs_f64()) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const STEP: Duration = Duration::from_millis(1);
    const PACKET: usize = 1_000;

    /// Sends the train through a way that carries `kbps` and lets so many bytes wait; returns what
    /// is said about it.
    fn through(kbps: u64, most_waiting: f64) -> Option<Bitrate> {
        let start = clock::now();
        let (mut sent, mut waiting, mut room) = (0, 0.0_f64, 0.0_f64);
        let mut arrivals = Arrivals::default();
        let mut elapsed = Duration::ZERO;
        while elapsed < TRAIN + TAIL {
            while sent + PACKET as u64 <= due(elapsed).bytes() {
                sent += PACKET as u64;
                if waiting + PACKET as f64 <= most_waiting {
                    waiting += PACKET as f64;
                }
            }
            room = (room + kbps as f64 / 8.0).min(PACKET as f64);
            while waiting >= PACKET as f64 && room >= PACKET as f64 {
                waiting -= PACKET as f64;
                room -= PACKET as f64;
                arrivals.handle(start + elapsed, PACKET);
            }
            elapsed += STEP;
        }
        arrivals.best()
    }

    #[test]
    fn the_train_begins_slowly_rises_and_has_an_end() {
        let rate = |from: u64| {
            let bytes = |millis| due(Duration::from_millis(millis)).bytes();
            (bytes(from + 100) - bytes(from)) * 80 / 1_000
        };
        assert!((150..200).contains(&rate(0)), "{} kb/s", rate(0));
        assert!(
            (4_000..5_000).contains(&rate(1_900)),
            "{} kb/s",
            rate(1_900)
        );
        assert_eq!(due(TRAIN), due(TRAIN * 2));
        assert!(due(TRAIN).bytes() < 400_000);
    }

    #[test]
    fn a_narrow_way_is_found_and_never_said_to_be_wider() {
        for kbps in [200, 500, 1_000, 2_000] {
            for queue in [3_000.0, 30_000.0, 1e9] {
                let said = through(kbps, queue).expect("enough arrived").bps();
                let real = kbps * 1_000;
                assert!(said <= real, "{said} of {real}");
                assert!(said >= real * 8 / 10, "{said} of {real}");
            }
        }
    }

    #[test]
    fn a_wide_way_carries_at_least_what_the_train_reached() {
        let said = through(100_000, 1e9).expect("all arrived").bps();
        assert!((3_000_000..5_000_000).contains(&said), "{said}");
    }

    #[test]
    fn too_little_tells_nothing() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.best(), None);
        let now = clock::now();
        arrivals.handle(now, PACKET);
        arrivals.handle(now + STEP, PACKET);
        assert_eq!(arrivals.best(), None);
    }
}
