//! An encoder on a thread of its own: newest picture in, access units out.
//!
//! ```text
//! newest picture ─ pace ─ room behind? ─ ladder ─ scale ─ encode ─▶ output
//!                   │          └ no: skipped before any work is done on it
//!                   └ not due yet: passed over
//! ```
//! A picture is skipped before encoding, never after: what was encoded must be sent, or the
//! pictures after it could not be decoded.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nonstop_rate::Bitrate;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{
    encoder::{EncodeError, Encoder},
    ladder::{Choice, Ladder},
    pace::Pace,
    scale::Scaler,
};
use crate::{
    clock,
    latest::{Latest, Reader, Wait},
    media::{EncodedVideo, Size, VideoFrame},
};

/// How soon the thread notices that it shall end, at the latest.
const ATTENTION: Duration = Duration::from_millis(100);
/// Keyframes are large: requests within this time are answered by one.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);
/// Pictures over which load and frame rate are averaged.
const WINDOW: u32 = 30;

/// What an encode thread is told. The newest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeControl {
    /// What the encoder may spend.
    pub target: Bitrate,
    /// The largest picture worth sending.
    pub max_size: Size,
    /// Counts requests for a keyframe: a larger number than before asks for one.
    pub keyframe_requests: u64,
    /// Whether to encode at all.
    pub active: bool,
}

/// What an encode thread has done so far; every figure counts from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EncodeStats {
    /// Size of the newest encoded picture.
    pub size: Option<Size>,
    /// Frame rate of the current rung.
    pub rung_fps: u32,
    /// Pictures encoded.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Pictures skipped because the queue behind the encoder was full.
    pub skipped_queue: u64,
    /// Pictures skipped because encoding took longer than the picture lasts.
    pub skipped_slow: u64,
    /// Bytes produced.
    pub bytes: u64,
    /// Time spent scaling and encoding, all pictures together.
    pub busy: Duration,
}

/// An encoder on a thread of its own: newest picture in, access units out.
/// The ladder inside turns the target into size and frame rate. Dropping it ends the thread.
#[derive(Debug)]
pub struct EncodeThread {
    stats: Latest<EncodeStats>,
    stop: Arc<AtomicBool>,
}

impl EncodeThread {
    /// Starts the thread. A full `output` means that the picture is skipped before encoding.
    ///
    /// # Errors
    /// Fails if the system gives no thread.
    pub fn start(
        name: &str,
        frames: Reader<VideoFrame>,
        control: Reader<EncodeControl>,
        output: mpsc::Sender<EncodedVideo>,
    ) -> io::Result<Self> {
        let stats = Latest::new();
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work {
            control,
            output,
            published: stats.clone(),
            stats: EncodeStats::default(),
            ladder: Ladder::new(),
            scaler: Scaler::new(),
            encoder: None,
            pace: Pace::new(),
            keyframe: KeyframeRequests::default(),
            load: Load::default(),
        };
        let stopped = Arc::clone(&stop);
        thread::Builder::new()
            .name(format!("encode {name}"))
            .spawn(move || work.run(frames, &stopped))?;
        Ok(Self { stats, stop })
    }

    /// Returns a reader of what it has done.
    pub fn stats(&self) -> Reader<EncodeStats> {
        self.stats.reader()
    }
}

impl Drop for EncodeThread {
    /// Lets the thread end by itself: it may be in the middle of a picture, and nobody waits for it.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Work {
    control: Reader<EncodeControl>,
    output: mpsc::Sender<EncodedVideo>,
    published: Latest<EncodeStats>,
    stats: EncodeStats,
    ladder: Ladder,
    scaler: Scaler,
    encoder: Option<Encoder>,
    pace: Pace,
    keyframe: KeyframeRequests,
    load: Load,
}

/// Why the thread ends.
struct NobodyListens;

impl Work {
    fn run(mut self, mut frames: Reader<VideoFrame>, stop: &AtomicBool) {
        let mut seen = frames.version();
        while !stop.load(Ordering::Relaxed) && !self.control.is_closed() {
            match frames.wait(ATTENTION) {
                Wait::New(frame) => {
                    let version = frames.version();
                    let missed = version.saturating_sub(seen + 1);
                    seen = version.max(seen);
                    if let Err(NobodyListens) = self.picture(&frame, missed) {
                        break;
                    }
                    self.published.set(self.stats);
                }
                Wait::TimedOut => {}
                Wait::Closed => break,
            }
        }
    }

    /// Handles one new picture, before which `missed` others came and went unseen.
    fn picture(&mut self, frame: &VideoFrame, missed: u64) -> Result<(), NobodyListens> {
        let Some(control) = self.control.newest().filter(|control| control.active) else {
            // Its successor starts with a keyframe, at whatever size is right by then.
            self.encoder = None;
            self.pace = Pace::new();
            return Ok(());
        };
        let now = clock::now();
        let choice = self
            .ladder
            .choose(control.target, frame.size(), control.max_size, now);
        let Some(due) = self.pace.take(frame.captured(), choice.fps) else {
            return Ok(());
        };
        self.stats.rung_fps = choice.fps;
        self.stats.skipped_slow += missed.min(due.overdue);
        let output = self.output.clone();
        let room = match output.try_reserve() {
            Ok(room) => room,
            Err(TrySendError::Full(())) => {
                self.stats.skipped_queue += 1;
                return Ok(());
            }
            Err(TrySendError::Closed(())) => return Err(NobodyListens),
        };
        let encoded = match self.encode(frame, control, choice, due.fps) {
            Ok(encoded) => encoded,
            Err(error) => {
                tracing::error!(%error, size = %choice.size, "a picture was not encoded");
                self.encoder = None;
                None
            }
        };
        let spent = clock::now().saturating_duration_since(now);
        self.stats.busy += spent;
        if let Some(load) = self.load.add(spent, due.fps)
            && self.ladder.load(load, clock::now())
        {
            tracing::info!(load, size = %choice.size, "encoding is too slow here: sending smaller pictures");
        }
        if let Some((data, keyframe)) = encoded {
            self.stats.size = Some(choice.size);
            self.stats.frames += 1;
            self.stats.keyframes += u64::from(keyframe);
            self.stats.bytes += data.len() as u64;
            room.send(EncodedVideo {
                data,
                keyframe,
                size: choice.size,
                captured: frame.captured(),
                encode_time: spent,
            });
        }
        Ok(())
    }

    fn encode(
        &mut self,
        frame: &VideoFrame,
        control: EncodeControl,
        choice: Choice,
        fps: f32,
    ) -> Result<Option<(bytes::Bytes, bool)>, EncodeError> {
        let now = clock::now();
        let encoder = match self
            .encoder
            .take_if(|encoder| encoder.size() == choice.size)
        {
            Some(encoder) => self.encoder.insert(encoder),
            None => {
                tracing::debug!(size = %choice.size, fps, target = %choice.bitrate, "new encoder");
                self.load = Load::default();
                self.encoder
                    .insert(Encoder::new(choice.size, fps, choice.bitrate)?)
            }
        };
        encoder.set_target(choice.bitrate)?;
        // Small wavering is left alone: each change makes openh264 plan anew.
        if (encoder.fps() / fps - 1.0).abs() > 0.1 {
            encoder.set_fps(fps)?;
        }
        if self.keyframe.due(control.keyframe_requests, now) {
            encoder.request_keyframe();
        }
        let small = self.scaler.scale(frame, choice.size);
        let Some(encoded) = encoder.encode(&small)? else {
            return Ok(None);
        };
        if encoded.keyframe {
            self.keyframe.served(control.keyframe_requests, now);
        }
        Ok(Some((encoded.data, encoded.keyframe)))
    }
}

/// Requests for keyframes: each is answered, several within a short time by one.
#[derive(Debug, Default)]
struct KeyframeRequests {
    answered: u64,
    newest: Option<Instant>,
}

impl KeyframeRequests {
    fn due(&self, requests: u64, now: Instant) -> bool {
        requests > self.answered
            && self
                .newest
                .is_none_or(|newest| now.duration_since(newest) >= KEYFRAME_INTERVAL)
    }

    fn served(&mut self, requests: u64, now: Instant) {
        self.answered = requests;
        self.newest = Some(now);
    }
}

/// How much of a picture's time encoding takes, averaged over [`WINDOW`] pictures.
#[derive(Debug, Default)]
struct Load {
    sum: f64,
    count: u32,
}

impl Load {
    /// Adds one picture; at the end of each window, returns the average.
    fn add(&mut self, spent: Duration, fps: f32) -> Option<f64> {
        self.sum += spent.as_secs_f64() * f64::from(fps);
        self.count += 1;
        (self.count >= WINDOW).then(|| {
            let load = self.sum / f64::from(self.count);
            *self = Self::default();
            load
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{
        VideoSource,
        video::{Capture, test_card},
    };

    const CONTROL: EncodeControl = EncodeControl {
        target: Bitrate::from_kbps(500),
        max_size: Size::new(1280, 720),
        keyframe_requests: 0,
        active: true,
    };
    /// Long enough for the busiest computer.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
        let start = clock::now();
        while !done() {
            assert!(clock::now() - start < PATIENCE, "waited in vain: {what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A test card, an encode thread, and what comes out of it.
    struct Stage {
        _capture: Capture,
        control: Latest<EncodeControl>,
        thread: EncodeThread,
        output: mpsc::Receiver<EncodedVideo>,
    }

    impl Stage {
        fn new(control: EncodeControl, room: usize) -> Self {
            let capture = Capture::start(VideoSource::TestCard, test_card::SIZE, 30);
            let control = Latest::with(control);
            let (sender, output) = mpsc::channel(room);
            let frames = capture.frames();
            let thread = EncodeThread::start("test", frames, control.reader(), sender).unwrap();
            Self {
                _capture: capture,
                control,
                thread,
                output,
            }
        }

        fn next(&mut self) -> EncodedVideo {
            self.output.blocking_recv().expect("the thread runs")
        }

        fn tell(&self, control: EncodeControl) {
            self.control.set(control);
        }

        fn stats(&self) -> EncodeStats {
            self.thread.stats().newest().unwrap_or_default()
        }
    }

    #[test]
    fn pictures_come_out_encoded_at_the_size_of_their_rung() {
        let mut stage = Stage::new(CONTROL, 8);
        let first = stage.next();
        assert!(first.keyframe);
        assert_eq!(first.size, Size::new(640, 360));
        let second = stage.next();
        assert!(!second.keyframe);
        assert!(second.captured > first.captured);
        wait_until("figures", || stage.stats().frames >= 2);
        let stats = stage.stats();
        assert_eq!((stats.size, stats.rung_fps), (Some(first.size), 30));
        assert!(stats.bytes >= (first.data.len() + second.data.len()) as u64);
        assert!(stats.busy > Duration::ZERO);
    }

    #[test]
    fn a_full_queue_skips_pictures_before_they_are_encoded() {
        let mut stage = Stage::new(CONTROL, 1);
        wait_until("skips", || stage.stats().skipped_queue >= 5);
        assert_eq!(stage.stats().frames, 1);
        assert!(stage.next().keyframe);
        // What follows refers to what was taken, for nothing was encoded in between.
        assert!(!stage.next().keyframe);
    }

    #[test]
    fn a_keyframe_request_is_answered_once_and_a_new_size_brings_its_own() {
        // The smallest size, from which a slow computer cannot step down.
        let control = EncodeControl {
            max_size: Size::new(320, 180),
            ..CONTROL
        };
        let mut stage = Stage::new(control, 8);
        assert!(stage.next().keyframe);
        let asked = EncodeControl {
            keyframe_requests: 3,
            ..control
        };
        stage.tell(asked);
        let keyframe = (0..60).map(|_| stage.next()).find(|unit| unit.keyframe);
        assert!(keyframe.is_some());
        assert!((0..15).all(|_| !stage.next().keyframe));
        let smaller = Size::new(160, 90);
        stage.tell(EncodeControl {
            max_size: smaller,
            ..asked
        });
        let changed = (0..60)
            .map(|_| stage.next())
            .find(|unit| unit.size == smaller);
        assert!(changed.is_some_and(|unit| unit.keyframe));
    }

    #[test]
    fn an_inactive_thread_encodes_nothing_and_starts_again_with_a_keyframe() {
        let mut stage = Stage::new(CONTROL, 60);
        stage.next();
        stage.tell(EncodeControl {
            active: false,
            ..CONTROL
        });
        // What was under way may still come.
        thread::sleep(Duration::from_millis(300));
        while stage.output.try_recv().is_ok() {}
        thread::sleep(Duration::from_millis(300));
        assert!(stage.output.try_recv().is_err());
        stage.tell(EncodeControl {
            active: true,
            ..CONTROL
        });
        assert!(stage.next().keyframe);
    }

    #[test]
    fn the_thread_ends_with_its_owner() {
        let mut owned = Stage::new(CONTROL, 8);
        owned.next();
        drop(owned.thread);
        wait_until("the owner's end", || {
            while owned.output.try_recv().is_ok() {}
            owned.output.is_closed()
        });
    }

    #[test]
    fn requests_close_to_each_other_are_answered_together_and_none_is_lost() {
        let start = clock::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut requests = KeyframeRequests::default();
        assert!(!requests.due(0, at(0)));
        requests.served(0, at(0));
        assert!(!requests.due(1, at(100)));
        assert!(!requests.due(2, at(200)));
        assert!(requests.due(2, at(300)));
        requests.served(2, at(300));
        assert!(!requests.due(2, at(900)));
        assert!(requests.due(3, at(900)));
    }
}
