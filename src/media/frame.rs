//! Pictures and sound on their way through the house.
//!
//! A raw picture is immutable and shared: every link, the preview and the recorder look at
//! the same memory. Every frame carries the instant it was captured, on this computer's clock.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

/// Samples a second of all sound inside the application.
pub const SAMPLE_RATE: u32 = 48_000;
/// How much sound one packet carries.
pub const AUDIO_FRAME: Duration = Duration::from_millis(20);
/// Samples in one [`AudioFrame`] (one channel).
pub const AUDIO_FRAME_SAMPLES: usize = 960;

/// One of the two ways on which a participant's pictures and sound may come, at times on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// On the link with the participant.
    Direct,
    /// Through the meeting server's relay.
    Relayed,
}

impl Way {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Direct, Self::Relayed];
}

/// Width and height of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Size {
    /// Makes a size.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Returns how many pixels that is.
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// One raw picture, I420 (BT.601, limited range): three planes, tightly packed, both sides even.
/// Cloning shares the memory.
#[derive(Clone)]
pub struct VideoFrame {
    size: Size,
    planes: Arc<[u8]>,
    captured: Instant,
}

impl VideoFrame {
    /// Makes a frame from Y, U and V planes, one after another in `planes`:
    /// `width * height` bytes, then twice a quarter of that.
    ///
    /// # Panics
    /// If a side is odd or zero, or the length does not fit the size: both are the caller's own making.
    pub fn new(size: Size, planes: impl Into<Arc<[u8]>>, captured: Instant) -> Self {
        let planes = planes.into();
        assert!(
            size.width > 0
                && size.height > 0
                && size.width.is_multiple_of(2)
                && size.height.is_multiple_of(2)
        );
        assert_eq!(planes.len(), Self::bytes_for(size));
        Self {
            size,
            planes,
            captured,
        }
    }

    /// Returns how many bytes the three planes of a picture of this size take.
    pub const fn bytes_for(size: Size) -> usize {
        size.pixels() as usize / 2 * 3
    }

    /// Returns width and height.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Returns when it was captured; for a received picture, as its sender's reports let us estimate,
    /// or else when it was decoded.
    pub fn captured(&self) -> Instant {
        self.captured
    }

    /// Returns the luma plane, `width` bytes a row.
    pub fn y(&self) -> &[u8] {
        &self.planes[..self.size.pixels() as usize]
    }

    /// Returns the first chroma plane, `width / 2` bytes a row.
    pub fn u(&self) -> &[u8] {
        let y = self.size.pixels() as usize;
        &self.planes[y..y + y / 4]
    }

    /// Returns the second chroma plane, `width / 2` bytes a row.
    pub fn v(&self) -> &[u8] {
        let y = self.size.pixels() as usize;
        &self.planes[y + y / 4..]
    }

    /// Returns the three planes, one after another.
    pub fn planes(&self) -> &[u8] {
        &self.planes
    }
}

impl fmt::Debug for VideoFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VideoFrame({})", self.size)
    }
}

/// 20 ms of sound: [`AUDIO_FRAME_SAMPLES`] samples of one channel at 48 kHz, in −1.0 to 1.0.
#[derive(Clone)]
pub struct AudioFrame {
    /// The samples.
    pub samples: Box<[f32; AUDIO_FRAME_SAMPLES]>,
    /// When the first sample was captured.
    pub captured: Instant,
}

/// One encoded picture: an H.264 access unit in Annex B form.
#[derive(Debug, Clone)]
pub struct EncodedVideo {
    /// NAL units, each behind a start code. A keyframe carries its parameter sets.
    pub data: Bytes,
    /// Whether a decoder can start here.
    pub keyframe: bool,
    /// Its place among the temporal layers.
    pub marking: Marking,
    /// Size of the picture.
    pub size: Size,
    /// When the picture was captured.
    pub captured: Instant,
    /// How long encoding (and scaling) took.
    pub encode_time: Duration,
    /// The number of the encoder, unlike that of any other in this process.
    pub encoder: u64,
}

/// The place of an encoded picture among the temporal layers, in the words of RFC 9626 section 3.2.
/// Which base picture it follows is for the sender to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marking {
    /// The temporal layer (TID): 0 is the base.
    pub temporal: u8,
    /// Whether no other picture refers to it (D).
    pub discardable: bool,
    /// Whether it refers to pictures of the base only (B), where it is not of the base itself.
    pub base_sync: bool,
}

/// 20 ms of encoded sound.
#[derive(Debug, Clone)]
pub struct EncodedAudio {
    /// The Opus packet.
    pub data: Bytes,
    /// When its first sample was captured.
    pub captured: Instant,
    /// Counts 20 ms steps since the microphone opened, so that gaps (silence not sent) show.
    pub step: u64,
    /// Loudness in −dBov (RFC 6464): 0 is the loudest, 127 silence.
    pub level: u8,
    /// Whether it is thought to hold a voice.
    pub voice: bool,
}
