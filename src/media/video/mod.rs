//! Pictures: capture, scale, encode, decode.

use std::{io, sync::Arc, time::Duration};

use nonstop_rate::Bitrate;
use tokio::sync::mpsc;

use crate::{
    latest::{Latest, Reader},
    media::{DeviceTrouble, EncodedVideo, Size, VideoFrame, VideoSource},
};

/// A camera as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraInfo {
    /// The name by which it is chosen.
    pub name: String,
}

/// Lists the cameras. May take a while: not for the window's thread.
pub fn cameras() -> Vec<CameraInfo> {
    Vec::new()
}

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
}

impl Capture {
    /// Opens `source` and delivers its pictures, at most of `max_size`, into a mailbox.
    /// Returns at once; how opening goes shows in [`state`](Self::state).
    pub fn start(_source: VideoSource, _max_size: Size, _max_fps: u32) -> Self {
        Self {
            frames: Latest::new(),
            state: Latest::with(CaptureState::Opening),
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
}

impl EncodeThread {
    /// Starts the thread. A full `output` means that the picture is skipped before encoding.
    ///
    /// # Errors
    /// Fails if the system gives no thread.
    pub fn start(
        _name: &str,
        _frames: Reader<VideoFrame>,
        _control: Reader<EncodeControl>,
        _output: mpsc::Sender<EncodedVideo>,
    ) -> io::Result<Self> {
        Ok(Self {
            stats: Latest::new(),
        })
    }

    /// Returns a reader of what it has done.
    pub fn stats(&self) -> Reader<EncodeStats> {
        self.stats.reader()
    }
}

/// A received access unit, complete, in decoding order.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// NAL units in Annex B form.
    pub data: bytes::Bytes,
    /// Whether it is, or contains, an IDR picture.
    pub keyframe: bool,
    /// Whether everything it refers to was received: false right after a gap that was given up on.
    /// The decoder shows nothing from such a unit until the next keyframe.
    pub continuous: bool,
    /// RTP time stamp (90 kHz).
    pub timestamp: u32,
    /// Estimated capture time on this computer's clock, where the sender's reports allow it.
    pub captured: Option<std::time::Instant>,
}

/// What a decode thread has done so far; every figure counts from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DecodeStats {
    /// Size of the newest decoded picture.
    pub size: Option<Size>,
    /// Pictures decoded and shown.
    pub frames: u64,
    /// Units that could not be decoded or shown.
    pub failed: u64,
    /// How often the picture stood still for longer than is natural (as `freezeCount` in webrtc-stats).
    pub freezes: u64,
    /// How long, all freezes together.
    pub freeze_time: Duration,
    /// From capture at the sender to here, for the newest picture.
    pub delay: Option<Duration>,
    /// Time spent decoding, all pictures together.
    pub busy: Duration,
}

/// A decoder on a thread of its own. Dropping it ends the thread.
#[derive(Debug)]
pub struct DecodeThread {
    stats: Latest<DecodeStats>,
}

impl DecodeThread {
    /// Starts the thread. `need_keyframe` is called, on that thread, when only a keyframe helps.
    /// With `record`, every decoded picture is also written to that y4m file.
    ///
    /// # Errors
    /// Fails if the system gives no thread or the file cannot be made.
    pub fn start(
        _name: &str,
        _input: mpsc::Receiver<AccessUnit>,
        _output: Latest<VideoFrame>,
        _need_keyframe: Arc<dyn Fn() + Send + Sync>,
        _record: Option<std::path::PathBuf>,
    ) -> io::Result<Self> {
        Ok(Self {
            stats: Latest::new(),
        })
    }

    /// Returns a reader of what it has done.
    pub fn stats(&self) -> Reader<DecodeStats> {
        self.stats.reader()
    }
}
