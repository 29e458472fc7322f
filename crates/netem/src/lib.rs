//! A network link in simulated time: rate, queue, delay, jitter, reordering, loss, duplication,
//! cuts and schedules of them, from a seed. No clock, no socket, no thread.
//!
//! ```text
//! arrive ─▶ queue (drop-tail or CoDel) ─▶ bottleneck (rate) ─▶ loss ─▶ delay + jitter ─▶ poll
//! ```
//! One [`Link`] is one direction. Time is a [`Duration`](std::time::Duration) since any origin and
//! never goes backwards. Every packet leaves a [`Record`] where it met its fate: the ground truth
//! of a test, which needs no help from the endpoints.

mod codel;
mod delay;
mod link;
mod loss;
mod random;
mod record;
mod schedule;
mod settings;

pub use link::Link;
pub use random::Random;
pub use record::{Fate, Interval, Record, Tally};
pub use schedule::{Direction, Player, Schedule, ScheduleError, Step};
pub use settings::{Burst, Codel, Limit, Reorder, SettingError, Settings};
