//! What the link carried when it was full, and how sure that is (libwebrtc's link capacity
//! estimator): near it the rate rises carefully, far below it quickly.

use crate::Bitrate;

/// The weight of a new measurement.
const WEIGHT: f64 = 0.1;
/// A measurement this far from what is remembered means another link: the memory starts afresh.
const OTHER_LINK: f64 = 0.25;

/// Remembers the capacity.
#[derive(Debug, Default)]
pub(crate) struct Capacity {
    mean: Option<f64>,
}

impl Capacity {
    /// The link was full and carried `rate`.
    pub(crate) fn measured(&mut self, rate: Bitrate) {
        let rate = rate.as_f64();
        self.mean = Some(match self.mean {
            Some(mean) if (rate / mean - 1.0).abs() < OTHER_LINK => mean + WEIGHT * (rate - mean),
            _ => rate,
        });
    }

    /// More than what is remembered came through.
    pub(crate) fn exceeded(&mut self, rate: Bitrate) {
        if self.mean.is_some_and(|mean| rate.as_f64() > mean) {
            self.mean = None;
        }
    }

    /// Returns what the link carried when it was full.
    pub(crate) fn get(&self) -> Option<Bitrate> {
        self.mean.map(|mean| Bitrate::from_bps(mean as u64))
    }
}
