//! Nonstop: video calls that go straight from one computer to another.
//!
//! # The map
//!
//! Four floors; arrows point down only, and `tests/layers.rs` enforces it.
//!
//! ```text
//! ui     FLOOR 4  paints a View, sends Commands, nothing else
//! call   FLOOR 3  the call as its user knows it: one task folds commands and events into a View
//! mesh   FLOOR 2  the other participants: signalling, links, peer connections
//! media  FLOOR 1  devices and codecs
//! ```
//!
//! Beneath them the foundations, each a crate: `wire`, `seal`, `rate`, `server`. Beside them
//! [`clock`] (the only reader of the clock) and [`latest`] (the mailbox where the newest wins).
//!
//! Above the call, beside the window, stands the command line: [`headless`] joins without a window
//! and writes [`stats`], [`devices`] lists, [`demo`] holds a call of several processes, [`stop`]
//! hears when they are to end.
//!
//! # The journey of a frame
//!
//! ```text
//! SEND  camera ─ frame (stamped, I420, shared) ═▶ [per link] ladder(target) ─ scale ─ encoder
//!         ═▶ peer: packetise ─ number ─ pace ─ SRTP ─▶ network
//! RATE  network ─▶ transport-wide feedback ─ rate ─ Latest<EncodeControl> ═▶ the same link's encoder
//! RECV  network ─▶ peer ═▶ reorder ─ depacketise ─ decode ═▶ Latest<VideoFrame> ─ ui tile ─▶ screen
//! ```

pub mod call;
pub mod check;
pub mod clock;
pub mod config;
pub mod demo;
pub mod devices;
pub mod headless;
pub mod latest;
pub mod media;
pub mod mesh;
pub mod stats;
pub mod stop;
pub mod ui;
