//! Where the microphone's sound comes from: a device, a file, a tone, or nowhere.

use std::time::{Duration, Instant};

use super::{STEP, STEP_SAMPLES, microphone::Microphone, pace::Pace, tone::Tone, wav::WavFile};
use crate::media::{AudioSource, DeviceTrouble};

/// 10 ms of sound.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) samples: [f32; STEP_SAMPLES],
    /// When the first sample was heard.
    pub(super) captured: Instant,
    /// For sound from a real room: how old the first sample is.
    pub(super) age: Option<Duration>,
}

/// A source of steps.
#[derive(Debug)]
pub(super) enum Input {
    /// No sound.
    None,
    /// A tone by the clock.
    Tone(Tone, Pace),
    /// A file by the clock, from the moment it has been read.
    File(WavFile, Option<Pace>),
    /// A device, which sets the pace.
    Microphone(Box<Microphone>),
}

impl Input {
    /// Starts the source.
    pub(super) fn open(source: &AudioSource, now: Instant) -> Self {
        let microphone = |name| Self::Microphone(Box::new(Microphone::open(name, now)));
        match source {
            AudioSource::None => Self::None,
            AudioSource::Tone => Self::Tone(Tone::default(), Pace::new(now)),
            AudioSource::File(path) => Self::File(WavFile::open(path), None),
            AudioSource::Default => microphone(None),
            AudioSource::Device(name) => microphone(Some(name.clone())),
        }
    }

    /// Returns the next 10 ms, if they are there.
    pub(super) fn next_step(&mut self, now: Instant) -> Option<Heard> {
        match self {
            Self::None => None,
            Self::Tone(tone, pace) => pace.due(now).map(|due| made(tone.next_step(), due)),
            Self::File(file, pace) => {
                if pace.is_none_or(|pace| pace.is_due(now))
                    && let Some(samples) = file.next_step()
                {
                    let due = pace.get_or_insert(Pace::new(now)).due(now)?;
                    return Some(made(samples, due));
                }
                None
            }
            Self::Microphone(microphone) => microphone.next_step(now),
        }
    }

    /// Returns what is wrong.
    pub(super) fn trouble(&self) -> Option<DeviceTrouble> {
        match self {
            Self::None | Self::Tone(..) => None,
            Self::File(file, _) => file.trouble(),
            Self::Microphone(microphone) => microphone.trouble(),
        }
    }
}

fn made(samples: [f32; STEP_SAMPLES], due: Instant) -> Heard {
    Heard {
        samples,
        captured: due.checked_sub(STEP).unwrap_or(due),
        age: None,
    }
}
