//! When tests begin.

use std::time::Instant;

/// Returns some time.
#[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
pub(crate) fn start() -> Instant {
    Instant::now()
}
