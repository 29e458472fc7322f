//! The clock of transport-wide feedback.

use std::time::Duration;

/// The step of a reference time.
const STEP: Duration = Duration::from_millis(64);
/// It has 24 bits: it wraps after twelve days.
const WRAP: i64 = 1 << 24;

/// Unwraps the reference times of one connection's transport-wide feedback
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).
#[derive(Debug, Default)]
pub struct ReferenceTime {
    /// The newest, counted without wrapping from where it can go back.
    newest: Option<i64>,
}

impl ReferenceTime {
    /// Returns the time that a reference time of 24 bits means, on the other side's clock, from any
    /// origin; it never goes before that.
    pub fn unwrap(&mut self, reference: u32) -> Duration {
        let reference = i64::from(reference) % WRAP;
        let unwrapped = match self.newest {
            // Begins high enough that nothing comes before zero.
            None => WRAP + reference,
            Some(newest) => {
                let ahead = (reference - newest).rem_euclid(WRAP);
                let back = if ahead >= WRAP / 2 { WRAP } else { 0 };
                (newest + ahead - back).max(0)
            }
        };
        self.newest = Some(unwrapped);
        Duration::from_micros(unwrapped as u64 * STEP.as_micros() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_other_side_may_wrap_and_go_back() {
        let mut clock = ReferenceTime::default();
        let begin = clock.unwrap(WRAP as u32 - 10);
        for (reference, steps) in [(WRAP as u32 - 1, 9), (3, 13), (WRAP as u32 - 2, 8), (8, 18)] {
            assert_eq!(clock.unwrap(reference) - begin, STEP * steps);
        }
    }

    #[test]
    fn nothing_comes_before_zero() {
        let mut clock = ReferenceTime::default();
        clock.unwrap(0);
        for _ in 0..4 {
            clock.unwrap(WRAP as u32 / 2);
            clock.unwrap(0);
        }
    }
}
