//! The camera behind one mailbox that outlives it: a link is given the mailbox once, and sees
//! whichever camera is open at the time.

use std::sync::Arc;

use crate::{
    latest::{Latest, Reader},
    media::{
        Size, VideoFrame, VideoSource,
        video::{Capture, CaptureState},
    },
};

/// How many pictures a second are asked for: the highest rung of the ladder.
const MAX_FPS: u32 = 30;

/// The place of a camera.
#[derive(Debug)]
pub(super) struct Camera {
    frames: Latest<VideoFrame>,
    max_size: Size,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    _capture: Capture,
    frames: Reader<VideoFrame>,
    state: Reader<CaptureState>,
}

impl Camera {
    /// Makes the place, with no camera open; none will deliver more than `max_size`.
    pub(super) fn new(max_size: Size) -> Self {
        Self {
            frames: Latest::new(),
            max_size,
            open: None,
        }
    }

    /// Returns a reader of the pictures of whichever camera is open.
    pub(super) fn frames(&self) -> Reader<VideoFrame> {
        self.frames.reader()
    }

    /// Opens a camera in place of the one that is open.
    pub(super) fn open(&mut self, source: VideoSource) {
        self.close();
        let capture = Capture::start(source, self.max_size, MAX_FPS);
        let frames = capture.frames();
        let (from, to) = (frames.clone(), self.frames.clone());
        frames.on_change(Arc::new(move || {
            if let Some(frame) = from.newest() {
                to.set(frame);
            }
        }));
        let state = capture.state();
        self.open = Some(Open {
            _capture: capture,
            frames,
            state,
        });
    }

    /// Releases the camera.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.frames.clear();
    }

    /// Returns how the camera is, if that is news.
    pub(super) fn news(&mut self) -> Option<CaptureState> {
        let state = self.open.as_mut()?.state.take_new()?;
        if matches!(state, CaptureState::Failed(_)) {
            self.frames.clear();
        }
        Some(state)
    }
}

impl Drop for Open {
    /// The mailbox holds the callback and the callback the mailbox: this parts them.
    fn drop(&mut self) {
        self.frames.on_change(Arc::new(|| ()));
    }
}
