//! How long sound must wait where it may come on two ways at once.
//!
//! Each way has its own delay. While sound comes on both, it waits as long as the slower one needs:
//! then either can end, and nothing is missing. A way that has been silent for [`SILENT`] while the
//! other was not counts no more.

use std::time::Duration;

use super::delay::DelayEstimator;
use crate::media::Way;

/// A way that brought nothing for so long is over: a pause in speech has a packet every 400 ms.
const SILENT: i64 = 1_000_000;

/// The delays of both ways. Times are microseconds.
#[derive(Debug)]
pub(super) struct Delays {
    ways: [DelayEstimator; 2],
    /// When each brought something last.
    heard: [Option<i64>; 2],
}

impl Delays {
    pub(super) fn new() -> Self {
        Self {
            ways: [DelayEstimator::new(), DelayEstimator::new()],
            heard: [None; 2],
        }
    }

    /// Takes note of sound of time `media` that arrived on a way.
    pub(super) fn observe(&mut self, way: Way, media: i64, arrived: i64) {
        let heard = &mut self.heard[way as usize];
        *heard = Some(heard.map_or(arrived, |heard| heard.max(arrived)));
        self.ways[way as usize].observe(media, arrived);
    }

    /// Takes note of a packet that is played: whether one was missing, it or the one before, and whether
    /// it came in the packet after it.
    pub(super) fn observe_loss(&mut self, way: Way, lost: bool, recovered: bool) {
        self.ways[way as usize].observe_loss(lost, recovered);
    }

    /// The sender's time line is a new one.
    pub(super) fn restart(&mut self) {
        self.heard = [None; 2];
        for way in &mut self.ways {
            way.restart();
        }
    }

    /// Tells whether sound comes this way at present.
    pub(super) fn active(&self, way: Way) -> bool {
        let newest = self.heard.iter().flatten().max();
        match (self.heard[way as usize], newest) {
            (Some(heard), Some(newest)) => newest - heard < SILENT,
            _ => false,
        }
    }

    /// Returns how long sound of time `media`, played at `played`, waited longer than the fastest
    /// packet of the way that needs the longest.
    pub(super) fn wait(&self, media: i64, played: i64) -> i64 {
        self.slowest().wait_micros(media, played)
    }

    /// Returns the wait that is called for.
    pub(super) fn target(&self) -> Duration {
        self.slowest().target()
    }

    /// Returns the way on which sound is there last.
    fn slowest(&self) -> &DelayEstimator {
        let need = |way: Way| {
            let delay = &self.ways[way as usize];
            delay.target().as_micros() as i64 - delay.wait_micros(0, 0)
        };
        let [one, other] = [Way::Direct, Way::Relayed];
        let way = match (self.active(one), self.active(other)) {
            (true, true) if need(other) > need(one) => other,
            (false, true) => other,
            _ => one,
        };
        &self.ways[way as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_way_decides_until_it_is_silent() {
        let mut delays = Delays::new();
        let mut feed = |way, packets: std::ops::Range<i64>, transit: i64| {
            for n in packets {
                delays.observe(way, n * 20_000, n * 20_000 + transit);
            }
            delays.wait(0, 300_000)
        };
        assert_eq!(feed(Way::Direct, 0..50, 30_000), 270_000);
        assert_eq!(feed(Way::Relayed, 40..50, 200_000), 100_000);
        assert_eq!(feed(Way::Direct, 50..100, 30_000), 100_000);
        assert_eq!(feed(Way::Direct, 100..120, 30_000), 270_000);
        assert!(delays.active(Way::Direct) && !delays.active(Way::Relayed));
    }
}
