//! From any sample rate to any other, a stream at a time.

use rubato::{
    Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction, audioadapter_buffers::direct::InterleavedSlice,
};

/// Speech needs no longer a filter; it costs 32 samples of delay.
const FILTER: usize = 64;
const OVERSAMPLING: usize = 128;

/// Changes the sample rate of one channel.
pub(super) struct Resampler {
    filter: Option<Async<f32>>,
    waiting: Vec<f32>,
    chunk: Vec<f32>,
    ready: Vec<f32>,
}

impl Resampler {
    /// Makes one between two rates in Hz.
    pub(super) fn new(from: u32, to: u32) -> Result<Self, rubato::ResamplerConstructionError> {
        let filter = if from == to {
            None
        } else {
            let parameters = SincInterpolationParameters {
                sinc_len: FILTER,
                f_cutoff: None,
                oversampling_factor: OVERSAMPLING,
                interpolation: SincInterpolationType::Linear,
                window: WindowFunction::BlackmanHarris2,
            };
            let ratio = f64::from(to) / f64::from(from);
            let ten_millis = (from / 100).max(1) as usize;
            Some(Async::new_sinc(
                ratio,
                1.0,
                &parameters,
                ten_millis,
                1,
                FixedAsync::Input,
            )?)
        };
        let longest = filter.as_ref().map_or(0, Async::output_frames_max);
        Ok(Self {
            filter,
            waiting: Vec::new(),
            chunk: vec![0.0; longest],
            ready: Vec::new(),
        })
    }

    /// Takes samples in.
    pub(super) fn push(&mut self, samples: &[f32]) {
        let Some(filter) = &mut self.filter else {
            self.ready.extend_from_slice(samples);
            return;
        };
        self.waiting.extend_from_slice(samples);
        let needed = filter.input_frames_next();
        while self.waiting.len() >= needed {
            let room = self.chunk.len();
            let from = InterleavedSlice::new(&self.waiting[..needed], 1, needed);
            let to = InterleavedSlice::new_mut(&mut self.chunk, 1, room);
            let (Ok(from), Ok(mut to)) = (from, to) else {
                return;
            };
            match filter.process_into_buffer(&from, &mut to, None) {
                Ok((_, written)) => self.ready.extend_from_slice(&self.chunk[..written]),
                Err(error) => tracing::error!(%error, "10 ms of sound cannot be resampled"),
            }
            self.waiting.drain(..needed);
        }
    }

    /// What has come out and was not taken yet.
    pub(super) fn ready(&mut self) -> &mut Vec<f32> {
        &mut self.ready
    }
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler")
            .field("ready", &self.ready.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_stays_a_second_and_keeps_its_pitch() {
        for (from, to) in [
            (8_000, 48_000),
            (44_100, 48_000),
            (48_000, 44_100),
            (96_000, 48_000),
        ] {
            let tone: Vec<f32> = (0..from)
                .map(|n| (n as f32 * 440.0 * std::f32::consts::TAU / from as f32).sin())
                .collect();
            let mut resampler = Resampler::new(from, to).expect("usual rates");
            resampler.push(&tone);
            let out = resampler.ready();
            assert!(
                out.len().abs_diff(to as usize) < to as usize / 50,
                "{}",
                out.len()
            );
            let settled = &out[to as usize / 10..];
            let rises = settled
                .windows(2)
                .filter(|p| p[0] < 0.0 && p[1] >= 0.0)
                .count();
            let hertz = rises as f32 * to as f32 / settled.len() as f32;
            assert!((hertz - 440.0).abs() < 3.0, "{from} to {to}: {hertz}");
            assert!(settled.iter().all(|s| s.abs() < 1.05));
        }
    }
}
