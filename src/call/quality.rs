//! How good a connection is, from its figures, in three words that do not flicker, and why it is
//! not better.
//!
//! A connection gets worse in the view after two bad seconds, and better after five good ones.

use std::time::Duration;

use nonstop_rate::Bitrate;

use super::{Cause, Quality};
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
/// A queue this long is more than a burst: something fills the connection. It adds to one
/// direction what [`ROUND_TRIP`] allows for both.
const QUEUE: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(400)];
/// Below these rates a picture is no longer fluent, and no longer moving.
const FRAME_RATE: [f32; 2] = [12.0, 5.0];
/// A picture with less than this share of the pixels that it could have is visibly smaller.
const PIXELS: [f64; 2] = [0.3, 0.1];
/// Where no more than this is left for our picture, it is smaller than 640x360, or barely moves.
const TARGET: [Bitrate; 2] = [Bitrate::from_kbps(280), Bitrate::from_kbps(120)];
/// With this much left for it our picture is 960x540 and no smaller than anybody would notice, so
/// where it is smaller it is because it is shown smaller.
const AMPLE: Bitrate = Bitrate::from_kbps(650);
/// A picture this large is none that had to be made small, whatever else it could be.
const LARGE_ENOUGH: Size = Size::new(640, 360);
/// What a link spends beside pictures: sound, repair and headers.
const BESIDE: Bitrate = Bitrate::from_kbps(60);

/// What a connection is judged by, beside its figures.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Circumstances {
    /// Whether pictures from them are expected.
    pub(super) camera: bool,
    /// How large they are shown here, where that is known.
    pub(super) viewed: Option<Size>,
    /// Whether our pictures to them are paused because the connection is too slow.
    pub(super) paused_up: bool,
    /// Whether theirs to us are.
    pub(super) paused_down: bool,
}

/// In which directions the network makes a connection a bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Suffering {
    /// From us to them.
    pub(super) up: bool,
    /// From them to us.
    pub(super) down: bool,
}

/// How a connection is, and why it is not better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Judgement {
    pub(super) quality: Quality,
    pub(super) cause: Option<Cause>,
}

/// Watches one connection.
#[derive(Debug, Default)]
pub(super) struct QualityMeter {
    shown: Judgement,
    suffering: Suffering,
    seconds_worse: u32,
    seconds_better: u32,
    freezes: u64,
    most_received: u64,
    most_sent: u64,
}

impl QualityMeter {
    /// Takes the figures of one more second. Returns what to show.
    pub(super) fn update(&mut self, stats: &LinkStats, around: Circumstances) -> Judgement {
        let now = self.judge(stats, around);
        if self.shown.quality == Quality::Unknown {
            self.shown = now;
        }
        let (new, old) = (rank(now.quality), rank(self.shown.quality));
        let (worse, better) = (new > old, new < old);
        self.seconds_worse = if worse { self.seconds_worse + 1 } else { 0 };
        self.seconds_better = if better { self.seconds_better + 1 } else { 0 };
        if self.seconds_worse >= SECONDS_TO_WORSEN
            || self.seconds_better >= SECONDS_TO_IMPROVE
            || new == old
        {
            self.shown = now;
            self.seconds_worse = 0;
            self.seconds_better = 0;
        }
        self.shown
    }

    /// Tells in which directions the network made the last second a bad one.
    pub(super) fn suffering(&self) -> Suffering {
        self.suffering
    }

    fn judge(&mut self, stats: &LinkStats, around: Circumstances) -> Judgement {
        let (lost_up, lost_down) = (over(stats.loss_sent, LOSS), over(stats.loss_received, LOSS));
        let (mut download, mut stutter) = (0, 0);
        if around.camera {
            download = self.received_marks(stats, around.viewed);
            stutter = self.stutter_marks(stats);
        }
        let paused = if around.paused_up || around.paused_down {
            2
        } else {
            0
        };
        let sent = self.sent_marks(stats);
        let queue = over(stats.queue_delay, QUEUE);
        // A round trip goes both ways, and does not tell on which it takes long.
        let delay = over(stats.round_trip_time, ROUND_TRIP);
        self.suffering = Suffering {
            up: around.paused_up || sent.max(lost_up).max(queue).max(delay) > 0,
            down: around.paused_down || download.max(lost_down).max(delay) > 0,
        };
        // What explains most comes first: a full queue also loses and delays.
        let marks = [
            (Cause::Paused, paused),
            (Cause::Upload, sent),
            (Cause::Download, download),
            (Cause::Loss, lost_up.max(lost_down)),
            (Cause::Queue, queue),
            (Cause::Delay, delay),
            (Cause::Stutter, stutter),
        ];
        let most = marks.iter().map(|(_, marks)| *marks).max().unwrap_or(0);
        let cause = marks.iter().find(|(_, marks)| *marks == most);
        Judgement {
            quality: match most {
                0 => Quality::Good,
                1 => Quality::Fair,
                _ => Quality::Poor,
            },
            cause: cause.filter(|_| most > 0).map(|(cause, _)| *cause),
        }
    }

    /// Judges what we send: a picture is small for want of room only where it takes all there is.
    fn sent_marks(&mut self, stats: &LinkStats) -> usize {
        let size = stats.sent_size.map_or(0, Size::pixels);
        self.most_sent = self.most_sent.max(size);
        let (Some(target), Some(estimate)) = (stats.target, stats.estimate) else {
            return 0;
        };
        let sends = stats.video_sent.is_some_and(|rate| rate.bps() > 0);
        let room = estimate.saturating_sub(BESIDE);
        if !sends || target >= AMPLE || target.scale(1.4) < room {
            return 0;
        }
        let narrow = TARGET.iter().filter(|bound| target < **bound).count();
        narrow.max(small(size, self.most_sent))
    }

    /// Judges the size of their picture, against its best and against how large it is shown: a
    /// picture that is shown small comes small.
    fn received_marks(&mut self, stats: &LinkStats, viewed: Option<Size>) -> usize {
        let size = stats.received_size.map_or(0, Size::pixels);
        self.most_received = self.most_received.max(size);
        let best = self.most_received.max(LARGE_ENOUGH.pixels());
        small(size, best.min(viewed.map_or(best, Size::pixels)))
    }

    fn stutter_marks(&mut self, stats: &LinkStats) -> usize {
        if stats.received_size.is_none() {
            return 0;
        }
        let rate = stats.decoded_fps.unwrap_or(f32::INFINITY);
        let slow = FRAME_RATE.iter().filter(|bound| rate < **bound).count();
        let freezes = stats.freeze_count.unwrap_or(self.freezes);
        let froze = usize::from(freezes > self.freezes);
        self.freezes = freezes;
        slow.max(froze)
    }
}

/// Returns how many of two bounds a figure is over; an unknown one is over none.
fn over<T: PartialOrd>(figure: Option<T>, bounds: [T; 2]) -> usize {
    figure.map_or(0, |figure| {
        bounds.iter().filter(|bound| figure > **bound).count()
    })
}

/// Returns how much smaller a picture is than it could be; none at all is not small.
fn small(pixels: u64, best: u64) -> usize {
    if pixels == 0 || best == 0 {
        return 0;
    }
    let share = pixels as f64 / best as f64;
    PIXELS.iter().filter(|bound| share < **bound).count()
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

    const CAMERA: Circumstances = Circumstances {
        camera: true,
        viewed: None,
        paused_up: false,
        paused_down: false,
    };

    fn run(meter: &mut QualityMeter, stats: &LinkStats, seconds: usize) -> Quality {
        let shown = (0..seconds).map(|_| meter.update(stats, CAMERA)).last();
        shown.expect("at least one second").quality
    }

    /// Returns the cause that shows after a while.
    fn cause(stats: &LinkStats, around: Circumstances) -> Option<Cause> {
        let mut meter = QualityMeter::default();
        run(&mut meter, &fine(), 1);
        let shown = (0..3).map(|_| meter.update(stats, around)).last();
        shown.expect("three seconds").cause
    }

    fn sending(target_kbps: u64, estimate_kbps: u64) -> LinkStats {
        LinkStats {
            target: Some(Bitrate::from_kbps(target_kbps)),
            estimate: Some(Bitrate::from_kbps(estimate_kbps)),
            video_sent: Some(Bitrate::from_kbps(target_kbps)),
            sent_size: Some(Size::new(320, 180)),
            ..fine()
        }
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
        let off = Circumstances::default();
        assert_eq!(meter.update(&slow, off).quality, Quality::Good);
    }

    #[test]
    fn a_freeze_counts_in_the_second_in_which_it_happens() {
        let mut meter = QualityMeter::default();
        run(&mut meter, &fine(), 1);
        let freezing = |count| LinkStats {
            freeze_count: Some(count),
            ..fine()
        };
        meter.update(&freezing(1), CAMERA);
        assert_eq!(run(&mut meter, &freezing(2), 1), Quality::Fair);
        assert_eq!(run(&mut meter, &freezing(2), 5), Quality::Good);
    }

    #[test]
    fn each_trouble_is_named_by_what_causes_it() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let lossy = LinkStats {
            loss_received: Some(0.05),
            ..fine()
        };
        assert_eq!(cause(&lossy, CAMERA), Some(Cause::Loss));
        let far = LinkStats {
            round_trip_time: ms(500),
            ..fine()
        };
        assert_eq!(cause(&far, CAMERA), Some(Cause::Delay));
        let full = LinkStats {
            queue_delay: ms(200),
            round_trip_time: ms(320),
            loss_sent: Some(0.02),
            ..fine()
        };
        assert_eq!(cause(&full, CAMERA), Some(Cause::Queue));
        let slow = LinkStats {
            decoded_fps: Some(8.0),
            ..fine()
        };
        assert_eq!(cause(&slow, CAMERA), Some(Cause::Stutter));
        let (ours, theirs) = (
            Circumstances {
                paused_up: true,
                ..CAMERA
            },
            Circumstances {
                paused_down: true,
                ..CAMERA
            },
        );
        assert_eq!(cause(&fine(), ours), Some(Cause::Paused));
        assert_eq!(cause(&fine(), theirs), Some(Cause::Paused));
        assert_eq!(cause(&fine(), CAMERA), None);
    }

    #[test]
    fn our_picture_is_marked_where_the_room_is_small_and_not_where_it_is_shown_small() {
        assert_eq!(cause(&sending(200, 300), CAMERA), Some(Cause::Upload));
        assert_eq!(cause(&sending(200, 2_500), CAMERA), None);
        assert_eq!(cause(&sending(2_000, 2_300), CAMERA), None, "shown small");
        let mut meter = QualityMeter::default();
        assert_eq!(run(&mut meter, &sending(90, 150), 2), Quality::Poor);
        let off = LinkStats {
            video_sent: Some(Bitrate::from_bps(0)),
            ..sending(90, 150)
        };
        assert_eq!(cause(&off, CAMERA), None, "nothing is sent");
    }

    #[test]
    fn their_picture_is_marked_where_it_is_smaller_than_it_is_shown() {
        let tiny = LinkStats {
            received_size: Some(Size::new(320, 180)),
            ..fine()
        };
        let shown = |width, height| Circumstances {
            viewed: Some(Size::new(width, height)),
            ..CAMERA
        };
        assert_eq!(cause(&tiny, shown(1280, 720)), Some(Cause::Download));
        assert_eq!(cause(&tiny, shown(320, 180)), None);
        let mut meter = QualityMeter::default();
        let from_the_start = run(&mut meter, &tiny, 1);
        assert_eq!(from_the_start, Quality::Fair, "however it began");
    }

    #[test]
    fn the_network_suffers_in_a_direction_and_a_slow_camera_does_not_count() {
        let mut meter = QualityMeter::default();
        let mut suffering = |stats: &LinkStats| {
            meter.update(stats, CAMERA);
            let Suffering { up, down } = meter.suffering();
            (up, down)
        };
        assert_eq!(suffering(&fine()), (false, false));
        assert_eq!(suffering(&sending(200, 300)), (true, false));
        let lossy = LinkStats {
            loss_received: Some(0.05),
            ..fine()
        };
        assert_eq!(suffering(&lossy), (false, true));
        let small = LinkStats {
            received_size: Some(Size::new(320, 180)),
            ..fine()
        };
        assert_eq!(suffering(&small), (false, true));
        let far = LinkStats {
            round_trip_time: Some(Duration::from_millis(500)),
            ..fine()
        };
        assert_eq!(suffering(&far), (true, true));
        let slow = LinkStats {
            decoded_fps: Some(3.0),
            ..fine()
        };
        assert_eq!(suffering(&slow), (false, false));
    }
}
