//! Where the pictures of one participant are shown, whichever way they come.
//!
//! ```text
//! decode thread of the link  ─┐
//!                             ├▶ gate: newer than what is shown? ─▶ recording ─▶ Latest<VideoFrame>
//! decode thread of the relay ─┘
//! ```
//! A participant's pictures have the same RTP time stamps on every way. So a picture is shown only if
//! its time stamp is newer than that of the last one: what two ways bring is shown once and in order.
//! What is counted and recorded here is what a person sees.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{freeze::Freezes, gap::Waits, recorder::Recorder};
use crate::{
    latest::{Latest, Reader},
    media::{Size, VideoFrame, Way},
};

/// Ticks of a picture's time stamp in a second.
const RATE: u32 = 90_000;
/// A time stamp older than what is shown by more than this is no late picture: the sender began anew.
const ANEW: i32 = -10 * RATE as i32;

/// What was shown of a participant so far; every figure counts from the start, over all ways.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PictureStats {
    /// Size of the newest picture.
    pub size: Option<Size>,
    /// Pictures shown.
    pub frames: u64,
    /// Pictures decoded that were no newer than what another way had brought.
    pub doubles: u64,
    /// How often the picture stood still for longer than is natural (as `freezeCount` in webrtc-stats).
    pub freezes: u64,
    /// How long, all freezes together.
    pub freeze_time: Duration,
    /// From capture at the sender to here, for the newest picture.
    pub delay: Option<Duration>,
    /// Time stamp of the picture that is shown.
    pub shown: Option<u32>,
    /// Time stamp of the newest picture decoded of each way.
    pub decoded: [Option<u32>; 2],
    waits: Waits,
}

impl PictureStats {
    /// Returns the longest time without a new picture that ended in the last second or goes on. One
    /// that ended is told for up to two seconds.
    pub fn longest_gap(&self, now: Instant) -> Option<Duration> {
        self.waits.longest(now)
    }

    /// Returns how much older the newest picture that came this way is than the one that is shown:
    /// zero if it is that one. Nothing came this way where there is none.
    pub fn behind(&self, way: Way) -> Option<Duration> {
        let (shown, decoded) = (self.shown?, self.decoded[way as usize]?);
        let ticks = ahead(shown, decoded).max(0) as u64;
        Some(Duration::from_micros(ticks * 1_000_000 / u64::from(RATE)))
    }
}

/// The place of one participant's pictures. Clones are the same place.
#[derive(Debug, Clone)]
pub struct PictureSlot {
    output: Latest<VideoFrame>,
    stats: Latest<PictureStats>,
    gate: Arc<Mutex<Gate>>,
}

impl PictureSlot {
    /// Makes the place. With `record`, every picture shown is also written to that y4m file, which is
    /// made with the first, scaled to the size of the first, because a y4m file has one size.
    pub fn new(record: Option<PathBuf>) -> Self {
        Self {
            output: Latest::new(),
            stats: Latest::new(),
            gate: Arc::new(Mutex::new(Gate {
                stats: PictureStats::default(),
                freezes: Freezes::new(),
                recording: record.map_or(Recording::Off, Recording::Due),
            })),
        }
    }

    /// Returns a reader of what is shown.
    pub fn reader(&self) -> Reader<VideoFrame> {
        self.output.reader()
    }

    /// Returns a reader of what was counted.
    pub fn stats(&self) -> Reader<PictureStats> {
        self.stats.reader()
    }

    /// Shows a picture, if it is newer than what is shown; returns whether it is. `timestamp` is that
    /// of RTP (90 kHz), `captured` the time of its capture on this computer's clock, where known.
    pub(super) fn show(
        &self,
        way: Way,
        picture: VideoFrame,
        timestamp: u32,
        captured: Option<Instant>,
        now: Instant,
    ) -> bool {
        // Held until the picture is shown: two ways must not overtake each other here.
        let mut gate = self.lock();
        let newer = gate.admit(way, timestamp);
        if newer {
            gate.note(&picture, captured, now);
            self.output.set(picture);
        }
        self.stats.set(gate.stats);
        newer
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What decides and counts.
#[derive(Debug)]
struct Gate {
    stats: PictureStats,
    freezes: Freezes,
    recording: Recording,
}

#[derive(Debug)]
enum Recording {
    Off,
    /// The file is made when there is something for it.
    Due(PathBuf),
    On(Recorder),
}

impl Gate {
    fn admit(&mut self, way: Way, timestamp: u32) -> bool {
        let stats = &mut self.stats;
        let step = stats.shown.map(|shown| ahead(timestamp, shown));
        if step.is_some_and(|step| step < ANEW) {
            // What either way brought before has another time line.
            stats.decoded = [None; 2];
        }
        let newest = &mut stats.decoded[way as usize];
        if newest.is_none_or(|newest| ahead(timestamp, newest) > 0) {
            *newest = Some(timestamp);
        }
        let newer = step.is_none_or(|step| !(ANEW..=0).contains(&step));
        match newer {
            true => stats.shown = Some(timestamp),
            false => stats.doubles += 1,
        }
        newer
    }

    fn note(&mut self, picture: &VideoFrame, captured: Option<Instant>, now: Instant) {
        self.freezes.picture(now);
        self.stats.waits.picture(now);
        self.stats.frames += 1;
        self.stats.size = Some(picture.size());
        self.stats.freezes = self.freezes.count();
        self.stats.freeze_time = self.freezes.time();
        self.stats.delay = captured.map(|captured| now.saturating_duration_since(captured));
        if let Err(error) = self.recording.write(picture) {
            tracing::error!(%error, "recording pictures ends here");
            self.recording = Recording::Off;
        }
    }
}

impl Recording {
    fn write(&mut self, picture: &VideoFrame) -> std::io::Result<()> {
        if let Self::Due(path) = self {
            *self = Self::On(Recorder::create(std::mem::take(path))?);
        }
        match self {
            Self::On(recorder) => recorder.write(picture),
            Self::Off | Self::Due(_) => Ok(()),
        }
    }
}

/// Returns by how many ticks one time stamp is newer than another.
fn ahead(one: u32, other: u32) -> i32 {
    one.wrapping_sub(other) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock,
        media::video::{
            test_card::{self, TestCard},
            y4m::Y4mReader,
        },
    };

    const SIZE: Size = Size::new(320, 180);
    /// Ticks between two pictures, 30 a second.
    const STEP: u32 = 3_000;

    /// Pictures over two ways in simulated time.
    struct Scene {
        slot: PictureSlot,
        pictures: Reader<VideoFrame>,
        start: Instant,
    }

    impl Scene {
        fn new(record: Option<PathBuf>) -> Self {
            let slot = PictureSlot::new(record);
            Self {
                pictures: slot.reader(),
                slot,
                start: clock::now(),
            }
        }

        /// Brings picture number `n` at its time and `late` after it; returns what is new on screen.
        fn bring(&mut self, way: Way, n: u32, base: u32, late: Duration) -> Option<u32> {
            let time = Duration::from_secs(1) * n / 30;
            let picture = TestCard::new(SIZE).draw(n, time, self.start);
            let timestamp = base.wrapping_add(n * STEP);
            let now = self.start + time + late;
            self.slot.show(way, picture, timestamp, None, now);
            let shown = self.pictures.take_new()?;
            test_card::read_counter(&shown)
        }

        fn stats(&self) -> PictureStats {
            self.slot.stats().newest().unwrap_or_default()
        }
    }

    #[test]
    fn what_two_ways_bring_is_shown_once_and_in_order() {
        // The time stamps wrap on the way.
        let base = 0_u32.wrapping_sub(20 * STEP);
        let mut scene = Scene::new(None);
        let mut shown = Vec::new();
        // (when, order of arrival, way, number): the relayed way is 70 ms longer.
        let mut arrivals: Vec<(u32, Way, u32)> = Vec::new();
        arrivals.extend((0..40).map(|n| (n * 33, Way::Direct, n)));
        arrivals.extend((20..80).map(|n| (n * 33 + 70, Way::Relayed, n)));
        arrivals.sort_unstable_by_key(|(at, way, n)| (*at, *way as u8, *n));
        for (_, way, n) in arrivals {
            let late = Duration::from_millis(if way == Way::Direct { 0 } else { 70 });
            shown.extend(scene.bring(way, n, base, late));
        }
        assert_eq!(shown, (0..80).collect::<Vec<_>>());
        let stats = scene.stats();
        assert_eq!((stats.frames, stats.doubles), (80, 20));
        assert_eq!((stats.freezes, stats.freeze_time), (0, Duration::ZERO));
    }

    #[test]
    fn how_new_each_way_is_can_be_told() {
        let mut scene = Scene::new(None);
        let no_delay = Duration::ZERO;
        assert_eq!(scene.stats().behind(Way::Direct), None);
        for n in 0..30 {
            scene.bring(Way::Direct, n, 7, no_delay);
        }
        assert_eq!(scene.stats().behind(Way::Direct), Some(no_delay));
        assert_eq!(scene.stats().behind(Way::Relayed), None);
        // A keyframe from a while ago comes first.
        scene.bring(Way::Relayed, 14, 7, no_delay);
        let half = Duration::from_millis(500);
        assert_eq!(scene.stats().behind(Way::Relayed), Some(half));
        scene.bring(Way::Relayed, 29, 7, no_delay);
        assert_eq!(scene.stats().behind(Way::Relayed), Some(no_delay));
        for n in 30..60 {
            scene.bring(Way::Relayed, n, 7, no_delay);
        }
        let second = Duration::from_secs(1);
        assert_eq!(scene.stats().behind(Way::Direct), Some(second));
    }

    #[test]
    fn what_is_late_is_not_shown_and_a_sender_that_began_anew_is() {
        let mut scene = Scene::new(None);
        let base = 1_000_000_000;
        let no_delay = Duration::ZERO;
        assert_eq!(scene.bring(Way::Direct, 301, base, no_delay), Some(301));
        // Nearly ten seconds late.
        assert_eq!(scene.bring(Way::Relayed, 2, base, no_delay), None);
        assert_eq!(scene.bring(Way::Direct, 0, base, no_delay), Some(0));
        assert_eq!(scene.stats().behind(Way::Relayed), None);
        assert_eq!(scene.bring(Way::Direct, 1, base, no_delay), Some(1));
        // A random new start is as often ahead as behind.
        let ahead = base.wrapping_add(1 << 30);
        assert_eq!(scene.bring(Way::Direct, 2, ahead, no_delay), Some(2));
    }

    #[test]
    fn a_pause_on_both_ways_is_a_freeze_and_on_one_is_none() {
        let mut scene = Scene::new(None);
        let no_delay = Duration::ZERO;
        for n in 0..60 {
            // The direct way stands still for a second, the relayed one goes on.
            if !(20..50).contains(&n) {
                scene.bring(Way::Direct, n, 7, no_delay);
            }
            scene.bring(Way::Relayed, n, 7, Duration::from_millis(5));
        }
        assert_eq!(scene.stats().freezes, 0);
        scene.bring(Way::Relayed, 90, 7, no_delay);
        assert_eq!(scene.stats().freezes, 1);
    }

    #[test]
    fn one_recording_holds_what_was_shown_over_both_ways_at_the_size_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ann.y4m");
        let mut scene = Scene::new(Some(path.clone()));
        assert!(!path.exists());
        for n in 0..12 {
            let late = Duration::from_millis(5);
            if n < 8 {
                scene.bring(Way::Direct, n, 7, Duration::ZERO);
            }
            if n >= 4 {
                scene.bring(Way::Relayed, n, 7, late);
            }
        }
        // The relayed one becomes larger.
        let larger = TestCard::new(Size::new(640, 360)).draw(12, Duration::ZERO, scene.start);
        let timestamp = 7 + 12 * STEP;
        (scene.slot).show(Way::Relayed, larger, timestamp, None, scene.start);
        drop(scene);
        let mut file = Y4mReader::open(&path).unwrap();
        assert_eq!(file.size(), SIZE);
        let mut counters = Vec::new();
        for _ in 0..13 {
            let picture = file.next_frame(clock::now()).unwrap();
            counters.extend(test_card::read_counter(&picture));
        }
        assert_eq!(counters, (0..13).collect::<Vec<_>>());
        // It loops: there is nothing after these.
        let picture = file.next_frame(clock::now()).unwrap();
        assert_eq!(test_card::read_counter(&picture), Some(0));
    }
}
