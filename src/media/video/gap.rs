//! How long a picture was looked at before the next one came: the longest of the last moments.
//!
//! Freezes are rare and say that something went wrong; this says by how much, also where nothing did.

use std::time::{Duration, Instant};

/// A wait counts for at least this long after its end, and at most for twice as long, so that whoever
/// asks once a second misses none.
const SPAN: Duration = Duration::from_secs(1);

/// The waits between the pictures of one participant.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Waits {
    /// When the newest picture came.
    newest: Option<Instant>,
    /// When the present span began.
    began: Option<Instant>,
    /// The longest wait that ended in the present span, and in the one before.
    longest: [Duration; 2],
}

impl Waits {
    /// Notes that a picture is shown.
    pub(super) fn picture(&mut self, now: Instant) {
        let wait = self
            .newest
            .replace(now)
            .map(|newest| now.saturating_duration_since(newest));
        let began = *self.began.get_or_insert(now);
        let age = now.saturating_duration_since(began);
        if age >= SPAN {
            self.began = Some(now);
            let [ended, _] = self.longest;
            let kept = if age < 2 * SPAN {
                ended
            } else {
                Duration::ZERO
            };
            self.longest = [Duration::ZERO, kept];
        }
        self.longest[0] = self.longest[0].max(wait.unwrap_or_default());
    }

    /// Returns the longest wait that goes on or ended a moment ago; none before the first picture.
    pub(super) fn longest(&self, now: Instant) -> Option<Duration> {
        let (newest, began) = (self.newest?, self.began?);
        let age = now.saturating_duration_since(began);
        let [present, before] = self.longest;
        let present = if age < 2 * SPAN {
            present
        } else {
            Duration::ZERO
        };
        let before = if age < SPAN { before } else { Duration::ZERO };
        let going_on = now.saturating_duration_since(newest);
        Some(going_on.max(present).max(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn whoever_asks_once_a_second_hears_of_every_wait() {
        let start = clock::now();
        let mut waits = Waits::default();
        assert_eq!(waits.longest(start), None);
        let (mut now, mut asked, mut heard) = (start, start, Vec::new());
        for step in [33; 35].into_iter().chain([240]).chain([33; 90]) {
            now += millis(step);
            if now >= asked + SPAN {
                asked += SPAN;
                heard.extend(waits.longest(asked));
            }
            waits.picture(now);
        }
        // The wait ends in the second second, and is told once or twice.
        assert_eq!(heard[..2], [millis(33), millis(240)]);
        assert_eq!(heard[3], millis(33));
    }

    #[test]
    fn a_wait_that_goes_on_is_as_long_as_it_is() {
        let start = clock::now();
        let mut waits = Waits::default();
        for n in 0..10 {
            waits.picture(start + n * millis(100));
        }
        let last = start + millis(900);
        assert_eq!(waits.longest(last + millis(40)), Some(millis(100)));
        assert_eq!(waits.longest(last + millis(5_000)), Some(millis(5_000)));
    }
}
