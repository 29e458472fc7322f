//! Counts how often a picture stood still for longer than is natural.
//!
//! The rule is that of `freezeCount` in the W3C's "Identifiers for WebRTC's Statistics API": with
//! `average` the mean time between the last 30 pictures, a freeze is an interval of at least
//! max(3 × average, average + 150 ms).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Intervals in the average.
const WINDOW: usize = 30;
/// An interval this much above the average is a freeze, unless three averages are longer.
const MARGIN: Duration = Duration::from_millis(150);

/// A counter of freezes.
#[derive(Debug, Default)]
pub(super) struct Freezes {
    newest: Option<Instant>,
    intervals: VecDeque<Duration>,
    count: u64,
    time: Duration,
}

impl Freezes {
    /// Counts from the first picture on.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Notes that a picture was shown.
    pub(super) fn picture(&mut self, now: Instant) {
        let Some(before) = self.newest.replace(now) else {
            return;
        };
        let interval = now.saturating_duration_since(before);
        if !self.intervals.is_empty() {
            let sum: Duration = self.intervals.iter().sum();
            let average = sum / self.intervals.len() as u32;
            if interval >= (3 * average).max(average + MARGIN) {
                self.count += 1;
                self.time += interval;
            }
        }
        if self.intervals.len() == WINDOW {
            self.intervals.pop_front();
        }
        self.intervals.push_back(interval);
    }

    /// Returns how many freezes there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Returns how long they were, all together.
    pub(super) fn time(&self) -> Duration {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_stop_is_a_freeze_and_a_slow_rate_is_none() {
        let mut freezes = Freezes::new();
        let mut now = clock::now();
        for millis in [33; 40].into_iter().chain([150, 33, 33, 600, 33]) {
            now += Duration::from_millis(millis);
            freezes.picture(now);
        }
        assert_eq!(freezes.count(), 1);
        assert_eq!(freezes.time(), Duration::from_millis(600));
        let mut slow = Freezes::new();
        for _ in 0..20 {
            now += Duration::from_millis(400);
            slow.picture(now);
        }
        assert_eq!(slow.count(), 0);
    }
}
