//! The only file that reads the clock.
//!
//! Everything else is given an [`Instant`] as an argument or asks here, so that
//! what can be pure stays pure and one process has one time base: the figures of
//! a call (`time_ms`, capture timestamps) all count from [`start`].

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

static START: OnceLock<Instant> = OnceLock::new();

/// Returns the instant this process first asked for the time.
pub fn start() -> Instant {
    *START.get_or_init(now)
}

/// Returns the current instant of the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns how long this process has been running, counted from [`start`].
pub fn since_start() -> Duration {
    let start = start();
    now().saturating_duration_since(start)
}

/// Returns the wall-clock time since the Unix epoch (for people and for other computers).
#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
