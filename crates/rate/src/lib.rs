//! Per-link congestion control: feedback in, [`Bitrate`] out.
//!
//! No clock, no socket, no task: time is always an argument, so that everything
//! here runs in seeded simulated time.
//!
//! ```text
//! transport-wide feedback ─▶ Controller::handle_feedback(packets, now) ─▶ estimate: Bitrate
//! ```

mod units;

pub use units::{Bitrate, DataSize};
