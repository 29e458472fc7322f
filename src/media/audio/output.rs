//! Where sound goes: a speaker, or nowhere in good time.

use std::time::Instant;

use super::{STEP_SAMPLES, pace::Pace};
use crate::media::{AudioSink, DeviceTrouble};

/// A taker of steps.
#[derive(Debug)]
pub(super) struct Output {
    pace: Pace,
}

impl Output {
    /// Starts the sink.
    pub(super) fn open(_sink: &AudioSink, now: Instant) -> Self {
        Self {
            pace: Pace::new(now),
        }
    }

    /// Returns when the next 10 ms are played, if they are due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        self.pace.due(now)
    }

    /// Plays 10 ms.
    pub(super) fn play(&mut self, _samples: &[f32; STEP_SAMPLES]) {}

    /// Returns what is wrong.
    pub(super) fn trouble(&self) -> Option<DeviceTrouble> {
        None
    }
}
