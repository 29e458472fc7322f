//! A tone, for tests and demonstrations: 440 Hz for everybody, a quarter of full scale, endless.

use std::f32::consts::TAU;

use super::STEP_SAMPLES;
use crate::media::frame::SAMPLE_RATE;

/// Concert pitch.
pub(super) const HERTZ: u32 = 440;
/// Loud enough to hear, with room for the voices it is mixed with.
pub(super) const AMPLITUDE: f32 = 0.25;

/// Makes the tone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tone {
    /// Counts one second, after which the tone repeats exactly.
    sample: u32,
}

impl Tone {
    /// Returns the next 10 ms.
    pub(super) fn next_step(&mut self) -> [f32; STEP_SAMPLES] {
        std::array::from_fn(|_| {
            let turns = (self.sample * HERTZ % SAMPLE_RATE) as f32 / SAMPLE_RATE as f32;
            self.sample = (self.sample + 1) % SAMPLE_RATE;
            AMPLITUDE * (turns * TAU).sin()
        })
    }
}
