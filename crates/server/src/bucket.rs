//! A token bucket: a burst at once, then a steady rate.

use std::time::{Duration, Instant};

use crate::config::Rate;

/// How much of a [`Rate`] is left.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    rate: Rate,
    /// Below zero after something larger than what was left.
    left: f64,
    updated: Instant,
}

impl Bucket {
    /// Makes a full bucket.
    pub(crate) const fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            left: rate.burst,
            updated: now,
        }
    }

    /// Takes `amount` and returns how long to wait before going on; zero within the rate.
    pub(crate) fn take(&mut self, amount: f64, now: Instant) -> Duration {
        self.fill(now);
        self.left -= amount;
        if self.left >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.left / self.rate.per_second).unwrap_or(Duration::MAX)
    }

    /// Takes `amount` if there is as much.
    pub(crate) fn try_take(&mut self, amount: f64, now: Instant) -> bool {
        self.fill(now);
        let enough = self.left >= amount;
        if enough {
            self.left -= amount;
        }
        enough
    }

    /// Tells whether nothing was taken for so long that the bucket is full again.
    pub(crate) fn full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= self.rate.burst
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.updated).as_secs_f64();
        self.left = (self.left + passed * self.rate.per_second).min(self.rate.burst);
        self.updated = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        burst: 3.0,
        per_second: 2.0,
    };

    #[test]
    fn a_burst_passes_and_the_rest_waits_its_turn() {
        let start = crate::clock::now();
        let mut bucket = Bucket::new(RATE, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(1.0, start), Duration::ZERO);
        }
        assert_eq!(bucket.take(1.0, start), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.take(1.0, later), Duration::from_millis(500));
        assert_eq!(
            bucket.take(1.0, later + Duration::from_secs(60)),
            Duration::ZERO
        );
    }

    #[test]
    fn an_empty_bucket_gives_nothing_until_it_fills() {
        let start = crate::clock::now();
        let mut bucket = Bucket::new(RATE, start);
        let taken = (0..10).filter(|_| bucket.try_take(1.0, start)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.full(start + Duration::from_secs(1)));
        assert!(bucket.try_take(1.0, start + Duration::from_secs(1)));
        assert!(bucket.full(start + Duration::from_secs(9)));
    }
}
