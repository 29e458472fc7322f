//! Where the microphone's sound comes from: a device, a file, a tone, or nowhere.

use std::time::Instant;

use super::{STEP, STEP_SAMPLES, pace::Pace, tone::Tone};
use crate::media::{AudioSource, DeviceTrouble};

/// 10 ms of sound, and when its first sample was heard.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) samples: [f32; STEP_SAMPLES],
    pub(super) captured: Instant,
}

/// A source of steps.
#[derive(Debug)]
pub(super) enum Input {
    /// No sound.
    None(Option<DeviceTrouble>),
    /// A tone by the clock.
    Tone(Tone, Pace),
}

impl Input {
    /// Starts the source.
    pub(super) fn open(source: &AudioSource, now: Instant) -> Self {
        match source {
            AudioSource::None => Self::None(None),
            AudioSource::Tone => Self::Tone(Tone::default(), Pace::new(now)),
            _ => Self::None(Some(DeviceTrouble::Missing)),
        }
    }

    /// Returns the next 10 ms, if they are there.
    pub(super) fn next_step(&mut self, now: Instant) -> Option<Heard> {
        match self {
            Self::None(_) => None,
            Self::Tone(tone, pace) => {
                let due = pace.due(now)?;
                Some(Heard {
                    samples: tone.next_step(),
                    captured: due.checked_sub(STEP).unwrap_or(due),
                })
            }
        }
    }

    /// Returns what is wrong.
    pub(super) fn trouble(&self) -> Option<DeviceTrouble> {
        match self {
            Self::None(trouble) => trouble.clone(),
            Self::Tone(..) => None,
        }
    }
}
