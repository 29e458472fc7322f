//! Watches a camera: tells what is wrong with it, tries again, ends when told to.
//!
//! ```text
//!          ┌──────────── trouble: told, wait 2 s ◀────────────┐
//! opening ─┴─▶ running ─ no picture for 3 s ─▶ silent ─ gone ─┘
//!                 ▲────────── a picture ─────────┘
//! ```
//! The device's thread may hang in the driver for ever. Then it is left behind; it releases the
//! device when it next returns, for nobody takes its picture any more.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    clock,
    media::{
        DeviceTrouble, VideoFrame,
        video::{capture::Outlet, pace::Pace, scale::Scaler},
    },
};

/// How soon the end of the owner is noticed, at the latest.
const ATTENTION: Duration = Duration::from_millis(50);
/// A camera takes up to two seconds to start, and none pauses that long.
const SILENCE: Duration = Duration::from_secs(3);
/// Between two attempts to open a camera.
const RETRY: Duration = Duration::from_secs(2);
/// A camera that was released a moment ago may still be busy: that long nothing is told, and it is
/// tried again more often.
const GRACE: Duration = Duration::from_secs(1);
const GRACE_RETRY: Duration = Duration::from_millis(100);

/// A camera's driver: what may block, fail and panic.
pub(super) trait Device {
    /// Returns the camera's name.
    fn name(&self) -> &str;

    /// Waits for the next picture. After an error the device is of no more use.
    fn picture(&mut self) -> Result<VideoFrame, DeviceTrouble>;
}

/// What the device's thread has to tell.
enum Report {
    Opened(String),
    Picture(VideoFrame),
    Trouble(DeviceTrouble),
}

/// Delivers pictures of what `open` opens until the outlet's owner is gone.
pub(super) fn watch<Open>(mut outlet: Outlet, open: Open)
where
    Open: Fn() -> Result<Box<dyn Device>, DeviceTrouble> + Send + Sync + 'static,
{
    let open = Arc::new(open);
    let start = clock::now();
    let mut was_there = false;
    loop {
        let (reports, inbox) = sync_channel(1);
        let opener = Arc::clone(&open);
        let thread = thread::Builder::new().name("camera device".into());
        let trouble = match thread.spawn(move || deliver(&*opener, &reports)) {
            Ok(_) => match follow(&mut outlet, &inbox, &mut was_there) {
                Some(trouble) => trouble,
                None => return,
            },
            Err(error) => DeviceTrouble::Other(error.to_string()),
        };
        let grace = clock::now() - start < GRACE && trouble == DeviceTrouble::Busy;
        let pause = if grace {
            GRACE_RETRY
        } else {
            // What was there and cannot be found any more is unplugged, not missing.
            outlet.failed(match trouble {
                DeviceTrouble::Missing if was_there => DeviceTrouble::Unplugged,
                trouble => trouble,
            });
            RETRY
        };
        if !outlet.wait(pause) {
            return;
        }
    }
}

/// The device's thread. The channel holds one report; when it is full the thread waits, for the
/// watcher takes it at once. When the watcher is gone, the thread ends and with it the device.
fn deliver(
    open: &dyn Fn() -> Result<Box<dyn Device>, DeviceTrouble>,
    reports: &SyncSender<Report>,
) {
    let mut device = match open() {
        Ok(device) => device,
        Err(trouble) => {
            // A watcher that is gone has no use for the reason.
            let _gone = reports.send(Report::Trouble(trouble));
            return;
        }
    };
    let mut report = Report::Opened(device.name().to_owned());
    while reports.send(report).is_ok() {
        report = match device.picture() {
            Ok(frame) => Report::Picture(frame),
            Err(trouble) => {
                // Released before the watcher hears of it: it may open the device again.
                drop(device);
                let _gone = reports.send(Report::Trouble(trouble));
                return;
            }
        };
    }
}

/// Hands pictures on until the device fails (with what), or the owner is gone (nothing).
fn follow(
    outlet: &mut Outlet,
    inbox: &Receiver<Report>,
    was_there: &mut bool,
) -> Option<DeviceTrouble> {
    let mut name = String::new();
    let mut scaler = Scaler::new();
    let mut pace = Pace::new();
    let mut heard: Instant = clock::now();
    loop {
        match inbox.recv_timeout(ATTENTION) {
            Ok(Report::Opened(opened)) => {
                name = opened;
                *was_there = true;
                heard = clock::now();
            }
            Ok(Report::Picture(frame)) => {
                heard = clock::now();
                if pace.take(frame.captured(), outlet.max_fps).is_some() {
                    let size = outlet.fitting(frame.size());
                    outlet.picture(&name, scaler.scale(&frame, size));
                }
            }
            Ok(Report::Trouble(trouble)) => return Some(trouble),
            Err(RecvTimeoutError::Disconnected) => {
                return Some(DeviceTrouble::Other("the camera's driver failed".into()));
            }
            Err(RecvTimeoutError::Timeout) => {
                if clock::now() - heard > SILENCE {
                    outlet.failed(DeviceTrouble::Silent);
                }
            }
        }
        if !outlet.wait(Duration::ZERO) {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::{
        latest::{Latest, Reader, Wait},
        media::{
            Size,
            video::{CaptureState, test_card::TestCard},
        },
    };

    const SIZE: Size = Size::new(64, 36);
    /// Long enough for the busiest computer.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A camera that follows a script: pictures, then an end.
    struct Actor {
        pictures: usize,
        end: End,
        alive: Arc<AtomicUsize>,
    }

    #[derive(Clone, Copy)]
    enum End {
        Unplugged,
        Hangs,
        Panics,
    }

    impl Device for Actor {
        fn name(&self) -> &str {
            "actor"
        }

        fn picture(&mut self) -> Result<VideoFrame, DeviceTrouble> {
            thread::sleep(Duration::from_millis(5));
            match (self.pictures, self.end) {
                (0, End::Unplugged) => Err(DeviceTrouble::Unplugged),
                (0, End::Panics) => panic!("as a driver may"),
                (0, End::Hangs) => loop {
                    thread::park();
                },
                (left, _) => {
                    self.pictures = left - 1;
                    let frame = TestCard::new(SIZE).draw(0, Duration::ZERO, clock::now());
                    Ok(frame)
                }
            }
        }
    }

    impl Drop for Actor {
        fn drop(&mut self) {
            self.alive.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A watched camera whose openings go as scripted, the last over and over.
    struct Stage {
        state: Reader<CaptureState>,
        frames: Reader<VideoFrame>,
        owner: SyncSender<()>,
        alive: Arc<AtomicUsize>,
    }

    impl Stage {
        fn new(script: Vec<Result<(usize, End), DeviceTrouble>>) -> Self {
            let (frames, state) = (Latest::new(), Latest::new());
            let (owner, ended) = sync_channel(1);
            let alive = Arc::new(AtomicUsize::new(0));
            let stage = Self {
                state: state.reader(),
                frames: frames.reader(),
                owner,
                alive: Arc::clone(&alive),
            };
            let outlet = Outlet::new(frames, state, SIZE, 60, ended);
            let script = Mutex::new(script);
            let open = move || {
                let mut script = script.lock().unwrap();
                let scene = if script.len() > 1 {
                    script.remove(0)
                } else {
                    script[0].clone()
                };
                let (pictures, end) = scene?;
                alive.fetch_add(1, Ordering::SeqCst);
                let alive = Arc::clone(&alive);
                let actor = Actor {
                    pictures,
                    end,
                    alive,
                };
                Ok(Box::new(actor) as Box<dyn Device>)
            };
            thread::spawn(move || watch(outlet, open));
            stage
        }

        fn expect(&mut self, wanted: &CaptureState) {
            match self.state.wait(PATIENCE) {
                Wait::New(state) => assert_eq!(state, *wanted),
                other => panic!("no state: {other:?}"),
            }
        }
    }

    fn running() -> CaptureState {
        let name = "actor".into();
        CaptureState::Running { name, size: SIZE }
    }

    fn failed(trouble: DeviceTrouble) -> CaptureState {
        CaptureState::Failed(trouble)
    }

    #[test]
    fn an_unplugged_camera_is_told_and_comes_back() {
        let mut stage = Stage::new(vec![
            Ok((3, End::Unplugged)),
            Err(DeviceTrouble::Missing),
            Ok((10_000, End::Hangs)),
        ]);
        stage.expect(&running());
        stage.expect(&failed(DeviceTrouble::Unplugged));
        assert!(stage.frames.newest().is_none());
        stage.expect(&running());
        assert_eq!(stage.alive.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_camera_that_hangs_is_silent_and_holds_nobody_up() {
        let mut stage = Stage::new(vec![Ok((3, End::Hangs))]);
        stage.expect(&running());
        stage.expect(&failed(DeviceTrouble::Silent));
        drop(stage.owner);
        assert_eq!(stage.state.wait(PATIENCE), Wait::Closed);
    }

    #[test]
    fn a_busy_camera_is_told_after_a_moment_and_taken_when_it_is_free() {
        let mut busy = vec![Err(DeviceTrouble::Busy); 3];
        busy.push(Ok((10_000, End::Hangs)));
        Stage::new(busy).expect(&running());
        let mut long = vec![Err(DeviceTrouble::Busy); 25];
        long.push(Ok((10_000, End::Hangs)));
        Stage::new(long).expect(&failed(DeviceTrouble::Busy));
    }

    #[test]
    fn a_driver_that_panics_is_a_trouble_like_others() {
        let mut stage = Stage::new(vec![Ok((1, End::Panics)), Ok((10_000, End::Hangs))]);
        stage.expect(&running());
        assert!(matches!(
            stage.state.wait(PATIENCE),
            Wait::New(CaptureState::Failed(DeviceTrouble::Other(_)))
        ));
        stage.expect(&running());
    }

    #[test]
    fn the_device_is_released_soon_after_its_owner_is_gone() {
        let mut stage = Stage::new(vec![Ok((1_000_000, End::Hangs))]);
        stage.expect(&running());
        drop(stage.owner);
        let start = clock::now();
        while stage.alive.load(Ordering::SeqCst) > 0 {
            assert!(clock::now() - start < PATIENCE, "the device is still held");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
