//! How long things took: counted in buckets that grow by an eighth of a power of two.

use std::time::Duration;

/// Buckets a power of two.
const STEPS: u32 = 8;
const BUCKETS: usize = 64 * STEPS as usize;

/// Durations, known to within 12 %.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            total: 0,
            longest: Duration::ZERO,
        }
    }
}

impl Histogram {
    /// Counts one.
    pub(crate) fn note(&mut self, took: Duration) {
        self.counts[bucket(took)] += 1;
        self.total += 1;
        self.longest = self.longest.max(took);
    }

    /// Adds what another counted.
    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// Returns how many were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Returns the longest.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// Returns a duration that `share` of all do not exceed; none if nothing was counted.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Some(upper(index).min(self.longest));
            }
        }
        Some(self.longest)
    }
}

fn bucket(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos())
        .unwrap_or(u64::MAX)
        .max(STEPS.into());
    let power = nanos.ilog2();
    let step = (nanos >> (power - STEPS.ilog2())) as usize - STEPS as usize;
    power as usize * STEPS as usize + step
}

/// The end of a bucket.
fn upper(index: usize) -> Duration {
    let (power, step) = (index / STEPS as usize, index % STEPS as usize);
    let nanos = (1u128 << power) * (step as u128 + 1 + u128::from(STEPS)) / u128::from(STEPS);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_an_eighth() {
        let mut histogram = Histogram::default();
        for millis in 1..=1000 {
            histogram.note(Duration::from_millis(millis));
        }
        for (share, true_millis) in [(0.5, 500.0), (0.99, 990.0)] {
            let read = histogram.quantile(share).unwrap().as_secs_f64() * 1000.0;
            assert!(
                (true_millis..true_millis * 1.13).contains(&read),
                "{share}: {read}"
            );
        }
        assert_eq!(histogram.longest(), Duration::from_secs(1));
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
