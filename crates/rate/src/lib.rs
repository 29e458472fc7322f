//! Per-link congestion control: feedback in, [`Bitrate`] out; the order in which packets leave, and what
//! of them is asked for again.
//!
//! No clock, no socket, no task: time is always an argument, so that everything here runs in
//! seeded simulated time.
//!
//! ```text
//! feedback ─▶ grouping ─▶ trendline ──── grows? ─────┐
//!    │  └───▶ queue ────── how long? ────────────────┼─▶ delay ─────┐
//!    ├──────▶ acknowledged ── what comes through? ───┤    ▲         │
//!    │            └─▶ capacity ─ what did it carry? ─┘ competition  ├─▶ estimate
//!    ├──────▶ loss ────── too much, or anyway? ─────────────────────┤      │
//!    └──────▶ probing ─── what would it carry? ─────────────────────┘      │
//! departures ─▶ application ─ is less sent than could be? ─▶ probing       ▼
//!       └─────▶ in_flight ─── what is on its way? ──────────────────────▶ plan ─▶ pacer
//! ```
//! `docs/rate.md` tells how each stage works, and where its constants come from.

mod acknowledged;
mod application;
mod arbiter;
mod arrivals;
mod capacity;
mod competition;
mod controller;
mod delay;
mod feedback;
mod grouping;
mod history;
mod in_flight;
mod loss;
mod pacer;
mod probing;
mod queue;
mod reference;
mod repair;
mod trendline;
mod units;

pub use arbiter::{Arbiter, LinkId, LinkReport};
pub use arrivals::{ArrivalReport, Arrivals};
pub use controller::{Controller, Limits};
pub use feedback::{PacketResult, Plan, Probe, ProbeId};
pub use history::History;
pub use pacer::{Class, Departure, MOST_PADDING, MOST_WAIT, Pacer};
pub use reference::ReferenceTime;
pub use repair::{Requests, copies, nearest, same_row};
pub use units::{Bitrate, DataSize};
