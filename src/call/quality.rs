//! How good a connection is, from its figures, in three words that do not flicker.
//!
//! A connection gets worse in the view after two bad seconds, and better after five good ones.

use std::time::Duration;

use super::Quality;
use crate::{media::Size, mesh::LinkStats};

/// Seconds in a row before a worse quality is shown: one bad second goes unnoticed.
const SECONDS_TO_WORSEN: u32 = 2;
/// Seconds in a row before a better quality is shown.
const SECONDS_TO_IMPROVE: u32 = 5;

/// From here on repair leaves marks on the picture; from the second on, speech suffers too
/// (at 10 % loss, concealment is audible in spite of forward error correction).
const LOSS: [f32; 2] = [0.03, 0.10];
/// From here on people start to talk into each other's words (ITU-T G.114 names 150 ms one way);
/// from the second on conversation is a burden (400 ms one way).
const ROUND_TRIP: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(800)];
/// Below these rates a picture is no longer fluent, and no longer moving.
const FRAME_RATE: [f32; 2] = [12.0, 5.0];
/// A picture with less than this share of the pixels that it had at its best is visibly smaller.
const PIXELS: [f64; 2] = [0.3, 0.1];

/// Watches one connection.
#[derive(Debug, Default)]
pub(super) struct QualityMeter {
    shown: Quality,
    seconds_worse: u32,
    seconds_better: u32,
    freezes: u64,
    most_pixels: u64,
}

impl QualityMeter {
    /// Takes the figures of one more second; `camera` tells whether pictures are expected.
    pub(super) fn update(&mut self, stats: &LinkStats, camera: bool) -> Quality {
        let now = self.judge(stats, camera);
        if self.shown == Quality::Unknown {
            self.shown = now;
        }
        let (worse, better) = (rank(now) > rank(self.shown), rank(now) < rank(self.shown));
        self.seconds_worse = if worse { self.seconds_worse + 1 } else { 0 };
        self.seconds_better = if better { self.seconds_better + 1 } else { 0 };
        if self.seconds_worse >= SECONDS_TO_WORSEN || self.seconds_better >= SECONDS_TO_IMPROVE {
            self.shown = now;
            self.seconds_worse = 0;
            self.seconds_better = 0;
        }
        self.shown
    }

    fn judge(&mut self, stats: &LinkStats, camera: bool) -> Quality {
        let over = |value: Option<f32>, bounds: [f32; 2]| {
            let value = value.unwrap_or(0.0);
            bounds.iter().filter(|bound| value > **bound).count()
        };
        let mut marks = over(stats.loss_received, LOSS).max(over(stats.loss_sent, LOSS));
        let round_trip = stats.round_trip_time.unwrap_or_default();
        marks = marks.max(ROUND_TRIP.iter().filter(|b| round_trip > **b).count());
        if camera {
            marks = marks.max(self.picture_marks(stats));
        }
        match marks {
            0 => Quality::Good,
            1 => Quality::Fair,
            _ => Quality::Poor,
        }
    }

    fn picture_marks(&mut self, stats: &LinkStats) -> usize {
        let pixels = stats.received_size.map_or(0, Size::pixels);
        if pixels == 0 {
            return 0;
        }
        self.most_pixels = self.most_pixels.max(pixels);
        let share = pixels as f64 / self.most_pixels as f64;
        let small = PIXELS.iter().filter(|bound| share < **bound).count();
        let rate = stats.decoded_fps.unwrap_or(f32::INFINITY);
        let slow = FRAME_RATE.iter().filter(|bound| rate < **bound).count();
        let freezes = stats.freeze_count.unwrap_or(self.freezes);
        let froze = usize::from(freezes > self.freezes);
        self.freezes = freezes;
        small.max(slow).max(froze)
    }
}

fn rank(quality: Quality) -> u8 {
    match quality {
        Quality::Unknown | Quality::Good => 0,
        Quality::Fair => 1,
        Quality::Poor => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> LinkStats {
        LinkStats {
            round_trip_time: Some(Duration::from_millis(20)),
            loss_received: Some(0.0),
            received_size: Some(Size::new(1280, 720)),
            decoded_fps: Some(30.0),
            freeze_count: Some(0),
            ..LinkStats::default()
        }
    }

    fn run(meter: &mut QualityMeter, stats: &LinkStats, seconds: usize) -> Quality {
        let shown = (0..seconds).map(|_| meter.update(stats, true)).last();
        shown.expect("at least one second")
    }

    #[test]
    fn one_bad_second_is_not_shown_and_two_are() {
        let mut meter = QualityMeter::default();
        let lossy = LinkStats {
            loss_received: Some(0.05),
            ..fine()
        };
        assert_eq!(run(&mut meter, &fine(), 1), Quality::Good);
        assert_eq!(run(&mut meter, &lossy, 1), Quality::Good);
        assert_eq!(run(&mut meter, &fine(), 1), Quality::Good);
        assert_eq!(run(&mut meter, &lossy, 2), Quality::Fair);
    }

    #[test]
    fn it_takes_five_good_seconds_to_get_better() {
        let mut meter = QualityMeter::default();
        let broken = LinkStats {
            loss_sent: Some(0.2),
            ..fine()
        };
        assert_eq!(run(&mut meter, &broken, 2), Quality::Poor);
        assert_eq!(run(&mut meter, &fine(), 4), Quality::Poor);
        assert_eq!(run(&mut meter, &fine(), 1), Quality::Good);
    }

    #[test]
    fn a_picture_that_shrinks_or_slows_is_marked_and_a_camera_that_is_off_is_not() {
        let small = LinkStats {
            received_size: Some(Size::new(640, 360)),
            ..fine()
        };
        let slow = LinkStats {
            decoded_fps: Some(3.0),
            ..fine()
        };
        let mut meter = QualityMeter::default();
        run(&mut meter, &fine(), 1);
        assert_eq!(run(&mut meter, &small, 2), Quality::Fair);
        assert_eq!(run(&mut meter, &slow, 2), Quality::Poor);
        let mut meter = QualityMeter::default();
        assert_eq!(meter.update(&slow, false), Quality::Good);
    }

    #[test]
    fn a_freeze_counts_in_the_second_in_which_it_happens() {
        let mut meter = QualityMeter::default();
        run(&mut meter, &fine(), 1);
        let freezing = |count| LinkStats {
            freeze_count: Some(count),
            ..fine()
        };
        meter.update(&freezing(1), true);
        assert_eq!(meter.update(&freezing(2), true), Quality::Fair);
        assert_eq!(run(&mut meter, &freezing(2), 5), Quality::Good);
    }
}
