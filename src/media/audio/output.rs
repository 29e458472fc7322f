//! Where sound goes: a speaker, or nowhere in good time.
//!
//! A speaker that works sets the pace. Without one, the clock does, so that everything else,
//! recordings and figures included, goes on as if somebody listened.

use std::time::{Duration, Instant};

use super::{STEP_SAMPLES, pace::Pace, speaker::Speaker};
use crate::media::{AudioSink, DeviceTrouble};

/// A taker of steps.
#[derive(Debug)]
pub(super) struct Output {
    speaker: Option<Speaker>,
    /// Set while the clock sets the pace.
    pace: Option<Pace>,
}

impl Output {
    /// Starts the sink.
    pub(super) fn open(sink: &AudioSink, now: Instant) -> Self {
        let speaker = match sink {
            AudioSink::None => None,
            AudioSink::Default => Some(Speaker::open(None, now)),
            AudioSink::Device(name) => Some(Speaker::open(Some(name.clone()), now)),
        };
        Self {
            speaker,
            pace: None,
        }
    }

    /// Returns the time of the next 10 ms, if they are due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        match self.speaker.as_mut().and_then(|speaker| speaker.wants(now)) {
            Some(wants) => {
                self.pace = None;
                wants.then_some(now)
            }
            None => self.pace.get_or_insert(Pace::new(now)).due(now),
        }
    }

    /// Plays 10 ms; returns how long until they are heard, if they are.
    pub(super) fn play(&mut self, samples: &[f32; STEP_SAMPLES], now: Instant) -> Option<Duration> {
        self.speaker.as_mut()?.play(samples, now)
    }

    /// Returns what is wrong.
    pub(super) fn trouble(&self) -> Option<DeviceTrouble> {
        self.speaker.as_ref().and_then(Speaker::trouble)
    }
}
