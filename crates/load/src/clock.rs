//! The only file of this crate that reads the clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Returns the current instant of the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the time since the Unix epoch: the clock by which the kernel says when a packet arrived,
/// and which all processes of a machine share.
#[expect(clippy::disallowed_methods, reason = "this is the clock file")]
pub(crate) fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
