//! An encoder as the network sees it: pictures of uneven size that follow a target with a lag.

use std::time::Duration;

use nonstop_netem::Random;
use nonstop_rate::Bitrate;

/// Pictures a second.
const FRAME_RATE: f64 = 30.0;
/// From one picture to the next.
pub(crate) const FRAME_GAP: Duration = Duration::from_micros(33_333);
/// How much of a change of the target each picture follows: within a tenth after about ten.
const FOLLOW: f64 = 0.25;
/// The spread of picture sizes (deviation of their logarithm).
const SPREAD: f64 = 0.18;
/// A cut in the picture about every so often makes one twice as large.
const CUT_GAP: f64 = 15.0;
const CUT_FACTOR: f64 = 2.0;

/// Makes picture sizes.
#[derive(Debug)]
pub(crate) struct Encoder {
    random: Random,
    most: Bitrate,
    target: Bitrate,
    /// What the rate control has settled on, in bits a second.
    settled: f64,
    /// Bytes that pictures so far were smaller than they might have been.
    saved: f64,
}

impl Encoder {
    pub(crate) fn new(most: Bitrate, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            most,
            target: Bitrate::ZERO,
            settled: 0.0,
            saved: 0.0,
        }
    }

    pub(crate) fn set_target(&mut self, target: Bitrate) {
        if self.target == Bitrate::ZERO {
            self.settled = target.min(self.most).as_f64();
        }
        self.target = target.min(self.most);
    }

    pub(crate) fn target(&self) -> Bitrate {
        self.target
    }

    /// Returns the size of the next picture, in bytes.
    pub(crate) fn encode(&mut self, keyframe: bool) -> usize {
        self.settled += FOLLOW * (self.target.as_f64() - self.settled);
        let mean = self.settled / 8.0 / FRAME_RATE;
        let size = if keyframe {
            mean * (4.0 + 2.0 * self.random.uniform())
        } else {
            let noise = (SPREAD * self.random.normal() - SPREAD * SPREAD / 2.0).exp();
            let cut = self.random.chance(1.0 / (CUT_GAP * FRAME_RATE));
            let even = (1.0 + self.saved / (mean * 15.0)).clamp(0.7, 1.3);
            mean * noise * even * if cut { CUT_FACTOR } else { 1.0 }
        };
        self.saved = (self.saved + mean - size).clamp(-6.0 * mean, 3.0 * mean);
        (size as usize).max(60)
    }

    /// Learns that a picture was skipped: the next may be larger.
    pub(crate) fn skip(&mut self) {
        let mean = self.settled / 8.0 / FRAME_RATE;
        self.saved = (self.saved + mean).min(3.0 * mean);
    }
}
