//! FLOOR 1: devices and codecs. Knows no network and no window: it is given a
//! [`Bitrate`](nonstop_rate::Bitrate) and returns bytes.

pub mod audio;
pub mod frame;
pub mod source;
pub mod video;

pub use frame::{AudioFrame, EncodedAudio, EncodedVideo, Marking, Size, VideoFrame, Way};
pub use source::{AudioSink, AudioSource, DeviceTrouble, VideoSource};
