//! Pictures: capture, scale, encode, decode.
//!
//! ```text
//! SEND  Capture ═▶ Latest<VideoFrame> ═▶ Renditions: ladder ─ scale ═▶ encoder ═▶ EncodedVideo
//! RECV  AccessUnit ═▶ DecodeThread: decoder ─▶ PictureSlot (newer than shown?) ═▶ Latest<VideoFrame>
//! ```
//! Pictures are never queued raw: the newest wins. Encoded pictures are queued, for each refers
//! to the one before it.

mod camera;
mod capture;
pub mod convert;
mod decode_thread;
pub mod decoder;
pub mod encoder;
mod freeze;
mod gap;
pub mod ladder;
mod pace;
mod recorder;
mod renditions;
pub mod scale;
pub mod simulcast;
mod slot;
pub mod test_card;
pub mod y4m;

pub use camera::{CameraInfo, cameras};
pub use capture::{Capture, CaptureState};
pub use decode_thread::{AccessUnit, DecodeStats, DecodeThread};
pub use renditions::{EncodeControl, EncodeStats, Member, Renditions};
pub use slot::{PictureSlot, PictureStats};
