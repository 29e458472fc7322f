//! How long to wait before connecting again.
//!
//! Doubles from half a second to three, each wait shortened by up to half at random, so that the
//! participants of a server that restarts do not all come at once. Whoever is in a call is back
//! within 5 s of the server, whenever that is: three of waiting, and two for joining.

use std::time::Duration;

/// The longest first wait.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait. Even 200 participants make only about 90 attempts a second with it.
const MOST: Duration = Duration::from_secs(3);

/// The waits between attempts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    longest: Duration,
}

impl Backoff {
    /// Starts with the shortest wait.
    pub(super) fn new() -> Self {
        Self { longest: FIRST }
    }

    /// Returns the next wait; `random` is any number, all values of which are equally likely.
    pub(super) fn next(&mut self, random: u32) -> Duration {
        let longest = self.longest;
        self.longest = (longest * 2).min(MOST);
        let half = longest / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_three_seconds_and_are_spread() {
        let mut backoff = Backoff::new();
        let longest: Vec<_> = (0..7).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(longest, [500, 1_000, 2_000, 3_000, 3_000, 3_000, 3_000]);
        assert_eq!(backoff.next(0), Duration::from_millis(1_500));
    }
}
