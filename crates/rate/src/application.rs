//! Is less sent than could be? Then the network is not tested, and what is known of it ages.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{Bitrate, DataSize};

/// The time over which what is sent is measured: several pictures, a pause between words.
const WINDOW: Duration = Duration::from_millis(500);
/// Below this share of the estimate, the application is the limit (encoders miss their targets).
const LIMITED: f64 = 0.75;

/// Measures what is sent.
#[derive(Debug, Default)]
pub(crate) struct Application {
    sent: VecDeque<(Instant, DataSize)>,
    size: DataSize,
    began: Option<Instant>,
}

impl Application {
    /// A packet left.
    pub(crate) fn push(&mut self, now: Instant, size: DataSize) {
        self.began.get_or_insert(now);
        self.sent.push_back((now, size));
        self.size += size;
        self.expire(now);
    }

    /// Returns the rate at which packets left lately.
    pub(crate) fn rate(&mut self, now: Instant) -> Bitrate {
        self.expire(now);
        self.size / WINDOW
    }

    /// Tells whether clearly less than the estimate was sent lately.
    pub(crate) fn limited(&mut self, now: Instant, estimate: Bitrate) -> bool {
        let known = (self.began).is_some_and(|at| now.saturating_duration_since(at) >= WINDOW);
        known && self.rate(now) < estimate.scale(LIMITED)
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, size)) = self.sent.front().copied() {
            if now.saturating_duration_since(at) <= WINDOW {
                break;
            }
            self.sent.pop_front();
            self.size = self.size - size;
        }
    }
}
