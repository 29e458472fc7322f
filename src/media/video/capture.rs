//! A running source of pictures: a camera, a file, or the test card, on a thread of its own.
//!
//! ```text
//! device, file or card ─ thread ═▶ Latest<VideoFrame> ─▶ preview, every link
//!                          └─────▶ Latest<CaptureState>
//! ```

use std::{
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::{
    camera, ladder,
    pace::Pace,
    scale::Scaler,
    test_card::{self, TestCard},
    y4m::{Rate, Y4mError, Y4mReader},
};
use crate::{
    clock,
    latest::{Latest, Reader},
    media::{DeviceTrouble, Size, VideoFrame, VideoSource},
};

/// What became of a source of pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureState {
    /// Being opened.
    Opening,
    /// Pictures come.
    Running {
        /// What delivers them.
        name: String,
        /// Their size.
        size: Size,
    },
    /// No pictures, and why. The source goes on trying where that can help.
    Failed(DeviceTrouble),
}

/// A running source of pictures, on a thread of its own. Dropping it releases the device.
#[derive(Debug)]
pub struct Capture {
    frames: Latest<VideoFrame>,
    state: Latest<CaptureState>,
    /// Dropped with the rest, which is what ends the thread. Nothing is ever sent through it.
    _alive: Option<SyncSender<()>>,
}

impl Capture {
    /// Opens `source` and delivers its pictures, at most of `max_size`, into a mailbox.
    /// Returns at once; how opening goes shows in [`state`](Self::state), which holds nothing
    /// for [`VideoSource::None`].
    pub fn start(source: VideoSource, max_size: Size, max_fps: u32) -> Self {
        let (frames, state) = (Latest::new(), Latest::new());
        let (alive, ended) = sync_channel(1);
        let outlet = Outlet::new(frames.clone(), state.clone(), max_size, max_fps, ended);
        let alive = match source {
            VideoSource::None => None,
            source => {
                state.set(CaptureState::Opening);
                let thread = thread::Builder::new().name("camera".into());
                let spawned = thread.spawn(move || match source {
                    VideoSource::None => {}
                    VideoSource::TestCard => play_card(outlet),
                    VideoSource::File(path) => play_file(outlet, &path),
                    VideoSource::Default => camera::run(outlet, None),
                    VideoSource::Device(name) => camera::run(outlet, Some(&name)),
                });
                match spawned {
                    Ok(_) => Some(alive),
                    Err(error) => {
                        let trouble = DeviceTrouble::Other(error.to_string());
                        state.set(CaptureState::Failed(trouble));
                        None
                    }
                }
            }
        };
        Self {
            frames,
            state,
            _alive: alive,
        }
    }

    /// Returns a reader of the pictures.
    pub fn frames(&self) -> Reader<VideoFrame> {
        self.frames.reader()
    }

    /// Returns a reader of the state.
    pub fn state(&self) -> Reader<CaptureState> {
        self.state.reader()
    }
}

/// The thread's side of a [`Capture`].
pub(super) struct Outlet {
    frames: Latest<VideoFrame>,
    state: Latest<CaptureState>,
    /// The state as it was last told.
    shown: Option<CaptureState>,
    pub(super) max_size: Size,
    pub(super) max_fps: u32,
    ended: Receiver<()>,
}

impl Outlet {
    /// Makes the thread's side; it is told to end by the other end of `ended` being dropped.
    pub(super) fn new(
        frames: Latest<VideoFrame>,
        state: Latest<CaptureState>,
        max_size: Size,
        max_fps: u32,
        ended: Receiver<()>,
    ) -> Self {
        Self {
            frames,
            state,
            shown: None,
            max_size,
            max_fps: max_fps.max(1),
            ended,
        }
    }

    /// Hands out a picture of the source `name`.
    pub(super) fn picture(&mut self, name: &str, frame: VideoFrame) {
        let size = frame.size();
        let same = matches!(&self.shown, Some(CaptureState::Running { name: shown, size: shown_size })
            if shown == name && *shown_size == size);
        self.frames.set(frame);
        if !same {
            let name = name.to_owned();
            self.tell(CaptureState::Running { name, size });
        }
    }

    /// Tells that no pictures come, and takes the last one out of sight.
    pub(super) fn failed(&mut self, trouble: DeviceTrouble) {
        self.frames.clear();
        self.tell(CaptureState::Failed(trouble));
    }

    fn tell(&mut self, state: CaptureState) {
        if self.shown.as_ref() != Some(&state) {
            tracing::info!(?state, "camera");
            self.shown = Some(state.clone());
            self.state.set(state);
        }
    }

    /// Waits for `time`. Returns false, at once, when the [`Capture`] is gone.
    pub(super) fn wait(&self, time: Duration) -> bool {
        self.ended.recv_timeout(time) != Err(RecvTimeoutError::Disconnected)
    }

    /// Returns `size`, or what of it fits into the largest wanted size.
    pub(super) fn fitting(&self, size: Size) -> Size {
        ladder::shape(size, u64::MAX, self.max_size)
    }
}

/// Tells when pictures are due, on an absolute schedule: delays do not add up.
struct Schedule {
    start: Instant,
    rate: Rate,
    index: u64,
}

impl Schedule {
    fn new(rate: Rate) -> Self {
        Self {
            start: clock::now(),
            rate,
            index: 0,
        }
    }

    /// Returns when the next picture is due. After a delay of more than a picture, those that
    /// were missed are left out.
    fn next(&mut self, now: Instant) -> Instant {
        self.index += 1;
        while self.start + self.rate.due(self.index + 1) < now {
            self.index += 1;
        }
        self.start + self.rate.due(self.index)
    }
}

fn play_card(mut outlet: Outlet) {
    let size = outlet.fitting(test_card::SIZE);
    let mut card = TestCard::new(size);
    let mut schedule = Schedule::new(Rate::of(test_card::FPS.min(outlet.max_fps)));
    let mut due = schedule.start;
    for counter in 0.. {
        if !outlet.wait(due.saturating_duration_since(clock::now())) {
            return;
        }
        let frame = card.draw(counter, clock::unix_time(), due);
        outlet.picture("Test card", frame);
        due = schedule.next(clock::now());
    }
}

fn play_file(mut outlet: Outlet, path: &Path) {
    if let Err(error) = play_file_until_error(&mut outlet, path) {
        let trouble = match error {
            Y4mError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                DeviceTrouble::Missing
            }
            error => DeviceTrouble::BadFile(error.to_string()),
        };
        outlet.failed(trouble);
    }
}

fn play_file_until_error(outlet: &mut Outlet, path: &Path) -> Result<(), Y4mError> {
    let mut file = Y4mReader::open(path)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let size = outlet.fitting(file.size());
    let mut scaler = Scaler::new();
    let mut pace = Pace::new();
    let mut schedule = Schedule::new(file.rate());
    let mut due = schedule.start;
    loop {
        let frame = file.next_frame(due)?;
        if pace.take(due, outlet.max_fps).is_some() {
            let frame = scaler.scale(&frame, size);
            if !outlet.wait(due.saturating_duration_since(clock::now())) {
                return Ok(());
            }
            outlet.picture(&name, frame);
        }
        due = schedule.next(clock::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        latest::Wait,
        media::video::{test_card::read_counter, y4m::Y4mWriter},
    };

    /// Long enough for the busiest computer.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn next(frames: &mut Reader<VideoFrame>) -> VideoFrame {
        match frames.wait(PATIENCE) {
            Wait::New(frame) => frame,
            other => panic!("no picture: {other:?}"),
        }
    }

    fn end_state(capture: &Capture) -> CaptureState {
        let mut state = capture.state();
        loop {
            match state.wait(PATIENCE) {
                Wait::New(CaptureState::Opening) => {}
                Wait::New(state) => return state,
                other => panic!("no state: {other:?}"),
            }
        }
    }

    #[test]
    fn the_test_card_counts_on_at_the_size_that_is_wanted() {
        let capture = Capture::start(VideoSource::TestCard, Size::new(640, 480), 30);
        let mut frames = capture.frames();
        let mut before = next(&mut frames);
        for _ in 0..10 {
            let frame = next(&mut frames);
            assert_eq!(frame.size(), Size::new(640, 360));
            assert!(read_counter(&frame) > read_counter(&before));
            assert!(frame.captured() > before.captured());
            before = frame;
        }
        let state = CaptureState::Running {
            name: "Test card".into(),
            size: Size::new(640, 360),
        };
        assert_eq!(end_state(&capture), state);
    }

    #[test]
    fn a_source_ends_with_its_owner() {
        let capture = Capture::start(VideoSource::TestCard, test_card::SIZE, 1);
        let mut frames = capture.frames();
        next(&mut frames);
        drop(capture);
        let start = clock::now();
        while !frames.is_closed() {
            assert!(clock::now() - start < PATIENCE);
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_file_loops_at_its_own_rate_and_is_made_smaller_where_that_is_wanted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let rate = Rate::of(50);
        let mut writer = Y4mWriter::new(file.reopen().unwrap(), test_card::SIZE, rate).unwrap();
        let mut card = TestCard::new(test_card::SIZE);
        for counter in 0..3 {
            let frame = card.draw(counter, Duration::ZERO, clock::now());
            writer.write(&frame).unwrap();
        }
        drop(writer);
        let source = VideoSource::File(file.path().into());
        let capture = Capture::start(source, Size::new(320, 180), 60);
        let mut frames = capture.frames();
        let shown: Vec<_> = (0..12).map(|_| next(&mut frames)).collect();
        assert!(
            shown
                .iter()
                .all(|frame| frame.size() == Size::new(320, 180))
        );
        assert!(shown.iter().all(|frame| read_counter(frame) < Some(3)));
        let again = shown
            .windows(2)
            .filter(|pair| read_counter(&pair[1]) < read_counter(&pair[0]));
        assert!(again.count() >= 2);
        let time = shown[11].captured() - shown[0].captured();
        assert!(time >= rate.due(11), "{time:?}");
    }

    #[test]
    fn a_source_that_cannot_be_says_why() {
        let at = |source| end_state(&Capture::start(source, test_card::SIZE, 30));
        let missing = at(VideoSource::File("/nowhere/at-all.y4m".into()));
        assert_eq!(missing, CaptureState::Failed(DeviceTrouble::Missing));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("noise.y4m");
        std::fs::write(&path, "noise").unwrap();
        let bad = at(VideoSource::File(path));
        assert!(matches!(
            bad,
            CaptureState::Failed(DeviceTrouble::BadFile(_))
        ));
    }

    #[test]
    fn no_source_has_no_state() {
        let capture = Capture::start(VideoSource::None, test_card::SIZE, 30);
        assert_eq!(capture.state().newest(), None);
    }
}
