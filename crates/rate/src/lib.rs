//! Per-link congestion control: feedback in, [`Bitrate`] out.
//!
//! No clock, no socket, no task: time is always an argument, so that everything
//! here runs in seeded simulated time.
//!
//! ```text
//! transport-wide feedback ─▶ Controller::handle_feedback(packets, now) ─▶ estimate: Bitrate
//! ```

mod controller;
mod queue;
mod units;

pub use controller::{Controller, Limits};
pub use units::{Bitrate, DataSize};

use std::time::{Duration, Instant};

/// What became of one sent packet, as the receiver reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketResult {
    /// When it left, on our clock.
    pub departure: Instant,
    /// When it arrived, on the receiver's clock (any origin); `None` if it was lost.
    pub arrival: Option<Duration>,
    /// Its size on the wire.
    pub size: DataSize,
}
