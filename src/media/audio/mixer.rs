//! Everybody's sound added up, and kept within what a speaker can play.

use super::STEP_SAMPLES;

/// Below this, sound passes untouched; above, it is bent so that it stays below 1.0.
const KNEE: f32 = 0.8;

/// Adds voices to 10 ms of sound.
#[derive(Debug)]
pub(super) struct Mixer {
    sum: [f32; STEP_SAMPLES],
}

impl Mixer {
    pub(super) fn new() -> Self {
        Self {
            sum: [0.0; STEP_SAMPLES],
        }
    }

    /// Adds one voice.
    pub(super) fn add(&mut self, samples: &[f32; STEP_SAMPLES]) {
        for (sum, sample) in self.sum.iter_mut().zip(samples) {
            *sum += sample;
        }
    }

    /// Returns the sum, limited, and starts the next 10 ms.
    pub(super) fn take(&mut self) -> [f32; STEP_SAMPLES] {
        let mut out = std::mem::replace(&mut self.sum, [0.0; STEP_SAMPLES]);
        for sample in &mut out {
            *sample = limit(*sample);
        }
        out
    }
}

fn limit(sample: f32) -> f32 {
    let size = sample.abs();
    if size <= KNEE {
        return sample;
    }
    let room = 1.0 - KNEE;
    (KNEE + room * ((size - KNEE) / room).tanh()).copysign(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_voice_passes_untouched() {
        let mut mixer = Mixer::new();
        mixer.add(&[0.5; STEP_SAMPLES]);
        assert_eq!(mixer.take(), [0.5; STEP_SAMPLES]);
        assert_eq!(mixer.take(), [0.0; STEP_SAMPLES]);
    }

    #[test]
    fn many_loud_voices_stay_within_full_scale() {
        let mut mixer = Mixer::new();
        for _ in 0..8 {
            mixer.add(&[-0.9; STEP_SAMPLES]);
        }
        assert!(mixer.take().iter().all(|s| (-1.0..-KNEE).contains(s)));
    }
}
