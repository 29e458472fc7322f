//! A real camera, where there is one; each test says so and passes where there is none.
//!
//! What only a person or a virtual machine can do is done by commands given in the environment:
//!
//! ```text
//! NONSTOP_UNPLUG   takes the camera away:  echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind
//! NONSTOP_REPLUG   gives it back:          echo vivid.0 > /sys/bus/platform/drivers/vivid/bind
//! NONSTOP_CAMERA   must be there: without one the tests fail (any value)
//! ```

use std::{
    env,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nonstop::{
    clock,
    latest::{Reader, Wait},
    media::{
        DeviceTrouble, Size, VideoFrame, VideoSource,
        video::{Capture, CaptureState, cameras},
    },
};

const WANTED: Size = Size::new(1280, 720);
/// Long enough for a slow camera on a busy computer.
const PATIENCE: Duration = Duration::from_secs(30);

/// There is one camera, so one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Returns the camera's name and the right to use it, or says that there is none.
fn camera() -> Option<(String, MutexGuard<'static, ()>)> {
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let found = cameras().into_iter().next();
    if found.is_none() {
        assert!(env::var_os("NONSTOP_CAMERA").is_none(), "no camera found");
        println!("skipped: there is no camera here");
    }
    Some((found?.name, turn))
}

fn start(name: &str) -> Capture {
    Capture::start(VideoSource::Device(name.to_owned()), WANTED, 30)
}

fn wait_for(state: &mut Reader<CaptureState>, wanted: impl Fn(&CaptureState) -> bool) -> Duration {
    let start: Instant = clock::now();
    loop {
        let state = match state.wait(PATIENCE) {
            Wait::New(state) => state,
            other => panic!("waited in vain: {other:?}"),
        };
        println!("{:>6} ms {state:?}", (clock::now() - start).as_millis());
        if wanted(&state) {
            return clock::now() - start;
        }
        assert!(clock::now() - start < PATIENCE);
    }
}

fn running(state: &CaptureState) -> bool {
    matches!(state, CaptureState::Running { .. })
}

#[test]
fn a_camera_delivers_pictures_of_what_it_sees() {
    let Some((name, _turn)) = camera() else {
        return;
    };
    let capture = start(&name);
    wait_for(&mut capture.state(), running);
    let mut frames = capture.frames();
    let mut taken = Vec::new();
    while taken.len() < 30 {
        match frames.wait(PATIENCE) {
            Wait::New(frame) => taken.push(frame),
            other => panic!("no picture: {other:?}"),
        }
    }
    let (first, last) = (&taken[0], &taken[29]);
    let time = last.captured() - first.captured();
    println!(
        "{name}: {} at {:.1} a second",
        first.size(),
        29.0 / time.as_secs_f64()
    );
    assert!(taken.iter().all(|frame| frame.size() == first.size()));
    assert!(first.size().width <= WANTED.width && first.size().height <= WANTED.height);
    assert!(taken.is_sorted_by_key(VideoFrame::captured));
    let darkest = first.y().iter().min();
    let brightest = first.y().iter().max();
    assert!(darkest < brightest, "the picture is blank");
}

#[test]
fn a_camera_in_use_is_busy_until_it_is_free() {
    let Some((name, _turn)) = camera() else {
        return;
    };
    let first = start(&name);
    wait_for(&mut first.state(), running);
    let second = start(&name);
    let mut state = second.state();
    wait_for(&mut state, |state| {
        *state == CaptureState::Failed(DeviceTrouble::Busy)
    });
    drop(first);
    wait_for(&mut state, running);
}

#[test]
fn a_camera_that_was_closed_can_be_opened_again_at_once() {
    let Some((name, _turn)) = camera() else {
        return;
    };
    for _ in 0..3 {
        let capture = start(&name);
        let mut state = capture.state();
        wait_for(&mut state, |state| {
            assert!(!matches!(state, CaptureState::Failed(_)), "{state:?}");
            running(state)
        });
    }
}

#[test]
fn a_camera_that_is_unplugged_is_told_and_comes_back() {
    let commands = env::var("NONSTOP_UNPLUG")
        .ok()
        .zip(env::var("NONSTOP_REPLUG").ok());
    let Some((unplug, replug)) = commands else {
        println!("skipped: NONSTOP_UNPLUG and NONSTOP_REPLUG are not set");
        return;
    };
    let Some((name, _turn)) = camera() else {
        return;
    };
    let capture = start(&name);
    let mut state = capture.state();
    wait_for(&mut state, running);
    shell(&unplug);
    let told = wait_for(&mut state, |state| {
        *state == CaptureState::Failed(DeviceTrouble::Unplugged)
    });
    println!("unplugging was told after {} ms", told.as_millis());
    assert!(capture.frames().newest().is_none());
    shell(&replug);
    wait_for(&mut state, running);
}

#[test]
fn a_camera_that_is_not_there_is_missing() {
    let capture = start("no camera has this name");
    wait_for(&mut capture.state(), |state| {
        *state == CaptureState::Failed(DeviceTrouble::Missing)
    });
}

fn shell(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status();
    assert!(status.is_ok_and(|status| status.success()), "{command}");
}
