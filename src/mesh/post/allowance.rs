//! How much a member may have us pass on: enough for the signals of a few links in trouble, too
//! little to harm the media of the links that carry it.

use std::time::{Duration, Instant};

/// What may come at once: the signals of ten restarts.
const BURST: f64 = 256.0 * 1024.0;
/// What may come for good, in bytes a second: under a third of the floor of a link's rate.
const RATE: f64 = 8.0 * 1024.0;
/// What an envelope counts at least, in bytes: small ones cost us as much work.
const LEAST: usize = 512;

/// The allowance of one member, a bucket of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    /// Makes one that is full.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            at: now,
        }
    }

    /// Takes what an envelope costs; returns false, and takes nothing, if there is not as much.
    pub(super) fn take(&mut self, sealed: &str, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.at);
        self.at = now;
        self.left = (self.left + RATE * passed.as_secs_f64()).min(BURST);
        let cost = sealed.len().max(LEAST) as f64;
        if self.left < cost {
            return false;
        }
        self.left -= cost;
        true
    }
}
