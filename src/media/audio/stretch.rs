//! Makes a piece of sound a little shorter or longer without changing its pitch.
//!
//! Overlap-add: finds the distance after which the sound repeats itself best (a pitch period),
//! and cross-fades one such period away, or in.

/// Pitch periods of voices: 400 Hz down to 100 Hz.
const SHORTEST_PERIOD: usize = 120;
const LONGEST_PERIOD: usize = 480;
/// How much sound two places are compared over, and cross-faded over.
const OVERLAP: usize = 240;
/// The least sound that can be changed.
pub(super) const NEEDED: usize = LONGEST_PERIOD + OVERLAP;
/// How alike the two places must be where it can be heard.
const ALIKE: f32 = 0.85;
/// Mean square below which nothing is heard (−60 dB).
const SILENT: f32 = 1e-6;
/// Every fourth place and sample is compared: enough for a voice, a sixteenth of the work.
const COARSE: usize = 4;

/// Takes one period out. Returns whether it did: without `force`, only where nobody hears it.
pub(super) fn shorten(samples: &mut Vec<f32>, force: bool) -> bool {
    let Some(period) = period(samples, force) else {
        return false;
    };
    for n in 0..OVERLAP {
        samples[n + period] = fade(samples[n], samples[n + period], n);
    }
    samples.drain(..period);
    true
}

/// Puts one period in, likewise.
pub(super) fn lengthen(samples: &mut Vec<f32>, force: bool) -> bool {
    let Some(period) = period(samples, force) else {
        return false;
    };
    let faded = (0..OVERLAP).map(|n| fade(samples[n + period], samples[n], n));
    let inserted: Vec<f32> = samples[..period].iter().copied().chain(faded).collect();
    samples.splice(..OVERLAP, inserted);
    true
}

fn fade(from: f32, to: f32, n: usize) -> f32 {
    let share = n as f32 / OVERLAP as f32;
    from + share * (to - from)
}

fn period(samples: &[f32], force: bool) -> Option<usize> {
    if samples.len() < NEEDED {
        return None;
    }
    let power: f32 = samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32;
    if power < SILENT {
        return Some(LONGEST_PERIOD);
    }
    let coarse = (SHORTEST_PERIOD..=LONGEST_PERIOD).step_by(COARSE);
    let (guess, _) = best(samples, coarse, COARSE)?;
    let near =
        guess.saturating_sub(COARSE).max(SHORTEST_PERIOD)..=(guess + COARSE).min(LONGEST_PERIOD);
    let (period, alike) = best(samples, near, 1)?;
    (force || alike >= ALIKE).then_some(period)
}

/// Returns the most alike distance, and how alike it is (normalised cross-correlation).
fn best(
    samples: &[f32],
    distances: impl Iterator<Item = usize>,
    step: usize,
) -> Option<(usize, f32)> {
    let alike = |distance: usize| {
        let (mut product, mut here, mut there) = (0.0, 1e-9, 1e-9);
        for n in (0..OVERLAP).step_by(step) {
            let (a, b) = (samples[n], samples[n + distance]);
            product += a * b;
            here += a * a;
            there += b * b;
        }
        product / f32::sqrt(here * there)
    };
    distances
        .map(|distance| (distance, alike(distance)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|n| 0.5 * (n as f32 * hz * std::f32::consts::TAU / 48_000.0).sin())
            .collect()
    }

    fn steepest(samples: &[f32]) -> f32 {
        samples
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn a_tone_stays_a_tone() {
        let original = tone(200.0, 960);
        let mut shorter = original.clone();
        assert!(shorten(&mut shorter, false));
        assert_eq!(shorter.len(), 960 - 240);
        assert!(steepest(&shorter) < 1.05 * steepest(&original));
        let mut longer = original.clone();
        assert!(lengthen(&mut longer, false));
        assert_eq!(longer.len(), 960 + 240);
        assert!(steepest(&longer) < 1.05 * steepest(&original));
    }

    #[test]
    fn sound_that_does_not_repeat_is_left_alone_unless_forced() {
        let mut state = 1u32;
        let noise: Vec<f32> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .take(960)
        .collect();
        let mut same = noise.clone();
        assert!(!shorten(&mut same, false));
        assert_eq!(same, noise);
        assert!(shorten(&mut same, true));
    }
}
