//! Which of a source's pictures to take, so that they come at a wanted rate, evenly.
//!
//! Pure: it goes by the pictures' own time stamps, so that a picture that is handled late changes
//! nothing about the ones after it.

use std::time::{Duration, Instant};

/// How early a picture may come and still count as due, as part of the time between two: sources
/// deliver a little unevenly.
const SLACK: f64 = 0.25;
/// How much the newest interval weighs in the measured rate.
const WEIGHT: f64 = 0.1;
/// A longer pause says nothing about the rate: the source stood still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Takes pictures at a wanted rate.
#[derive(Debug, Default)]
pub(super) struct Pace {
    due: Option<Instant>,
    newest: Option<Instant>,
    /// Average time between the pictures that were taken, in seconds.
    interval: Option<f64>,
    rate: u32,
}

/// A picture that is to be taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Due {
    /// How often pictures are really taken: the wanted rate, or less where the source is slower.
    pub(super) fps: f32,
    /// How many pictures should have been taken between the one before and this one.
    pub(super) overdue: u64,
}

impl Pace {
    /// Starts with the next picture.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Decides on the picture captured at `captured`, where `fps` a second are wanted.
    /// Returns nothing if it comes too early.
    pub(super) fn take(&mut self, captured: Instant, fps: u32) -> Option<Due> {
        let wanted = Duration::from_secs(1) / fps.max(1);
        if self.rate != fps {
            self.rate = fps;
            self.interval = None;
            self.due = self.newest.map(|newest| newest + wanted);
        }
        let due = self.due.unwrap_or(captured);
        if captured + wanted.mul_f64(SLACK) < due {
            return None;
        }
        let late = captured.saturating_duration_since(due);
        let overdue = (late.as_secs_f64() / wanted.as_secs_f64()) as u64;
        // On time, the schedule goes on; late, it starts anew rather than catching up in a burst.
        self.due = Some(if late > wanted { captured } else { due } + wanted);
        if let Some(newest) = self.newest.replace(captured) {
            let passed = captured.saturating_duration_since(newest);
            if passed < STANDSTILL {
                let (passed, known) = (passed.as_secs_f64(), self.interval);
                let average = known.unwrap_or_else(|| passed.max(wanted.as_secs_f64()));
                self.interval = Some(average + WEIGHT * (passed - average));
            }
        }
        let measured = self
            .interval
            .map_or(fps as f32, |interval| (1.0 / interval.max(0.001)) as f32);
        Some(Due {
            fps: measured.clamp(1.0, fps.max(1) as f32),
            overdue,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// Offers `seconds` of pictures at `source` a second, `jitter` ms early and late in turns.
    fn taken(pace: &mut Pace, source: u32, wanted: u32, seconds: u32, jitter: u64) -> (u32, f32) {
        let start = clock::now() + Duration::from_secs(60);
        let (mut count, mut fps) = (0, 0.0);
        for index in 0..source * seconds {
            let moved = Duration::from_millis(if index % 2 == 0 { 0 } else { jitter });
            let captured = start + Duration::from_secs(1) * index / source + moved;
            if let Some(due) = pace.take(captured, wanted) {
                count += 1;
                fps = due.fps;
            }
        }
        (count, fps)
    }

    #[test]
    fn pictures_are_taken_at_the_wanted_rate_even_from_an_uneven_source() {
        for (source, wanted, expected) in [(30, 30, 300), (30, 20, 200), (30, 15, 150), (60, 8, 80)]
        {
            for jitter in [0, 8] {
                let (count, fps) = taken(&mut Pace::new(), source, wanted, 10, jitter);
                assert!(
                    count.abs_diff(expected) <= 2,
                    "{source} to {wanted}: {count}"
                );
                assert!((fps / wanted as f32 - 1.0).abs() < 0.1, "{fps}");
            }
        }
    }

    #[test]
    fn a_slower_source_is_noticed() {
        let (count, fps) = taken(&mut Pace::new(), 15, 30, 10, 0);
        assert_eq!(count, 150);
        assert!((fps - 15.0).abs() < 0.5, "{fps}");
    }

    #[test]
    fn after_a_gap_there_is_no_burst() {
        let start = clock::now();
        let mut pace = Pace::new();
        assert!(pace.take(start, 10).is_some());
        let late = start + Duration::from_millis(950);
        assert_eq!(pace.take(late, 10).map(|due| due.overdue), Some(8));
        assert_eq!(pace.take(late + Duration::from_millis(33), 10), None);
        assert_eq!(pace.take(late + Duration::from_millis(66), 10), None);
        assert!(pace.take(late + Duration::from_millis(100), 10).is_some());
    }
}
