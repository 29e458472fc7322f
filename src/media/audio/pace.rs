//! Steps of 10 ms by the clock, where no device sets the pace.

use std::time::{Duration, Instant};

use super::STEP;

/// A hold-up up to this is made good step by step; a longer one (a computer that slept) is skipped.
const MADE_GOOD: Duration = Duration::from_millis(500);

/// Says when steps are due, without drifting from the clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    next: Instant,
}

impl Pace {
    /// The first step is due at `start`.
    pub(super) fn new(start: Instant) -> Self {
        Self { next: start }
    }

    /// Tells whether a step is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Returns when the next step was due, if that has passed, and counts it as done.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        if !self.is_due(now) {
            return None;
        }
        if now - self.next > MADE_GOOD {
            self.next = now;
        }
        let due = self.next;
        self.next += STEP;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn steps(pace: &mut Pace, now: Instant) -> usize {
        std::iter::from_fn(|| pace.due(now)).count()
    }

    #[test]
    fn a_short_hold_up_is_made_good_and_a_long_one_skipped() {
        let start = clock::now();
        let mut pace = Pace::new(start);
        assert_eq!(steps(&mut pace, start), 1);
        assert_eq!(steps(&mut pace, start + Duration::from_millis(9)), 0);
        assert_eq!(steps(&mut pace, start + Duration::from_millis(61)), 6);
        assert_eq!(steps(&mut pace, start + Duration::from_secs(100)), 1);
    }
}
