//! Per-link congestion control: feedback in, [`Bitrate`] out.
//!
//! No clock, no socket, no task: time is always an argument, so that everything
//! here runs in seeded simulated time.
//!
//! ```text
//! transport-wide feedback ─▶ Controller::handle_feedback(packets, now) ─▶ estimate: Bitrate
//! ```

mod arrivals;
mod controller;
mod feedback;
mod history;
mod pacer;
mod queue;
mod units;

pub use arrivals::{ArrivalReport, Arrivals};
pub use controller::{Controller, Limits};
pub use feedback::{PacketResult, Plan, Probe, ProbeId};
pub use history::History;
pub use pacer::{Class, Departure, MOST_PADDING, MOST_WAIT, Pacer};
pub use units::{Bitrate, DataSize};
