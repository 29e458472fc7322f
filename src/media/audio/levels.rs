//! How loud sound is: for meters, and for the level that packets carry (RFC 6464).

/// Quietest sound a meter shows.
const METER_FLOOR_DB: f32 = -60.0;
/// A meter rises at once and falls by this share each 10 ms: to a tenth in 0.4 s.
const FALL: f32 = 0.055;
/// What RFC 6464 calls silence.
const SILENCE_DBOV: u8 = 127;

/// Returns the root mean square of samples.
pub(super) fn rms(samples: &[f32]) -> f32 {
    let sum: f32 = samples.iter().map(|s| s * s).sum();
    (sum / samples.len().max(1) as f32).sqrt()
}

fn decibels(rms: f32) -> f32 {
    20.0 * rms.max(1e-9).log10()
}

/// Returns the level in −dBov (RFC 6464): 0 is full scale, 127 silence.
pub(super) fn minus_dbov(samples: &[f32]) -> u8 {
    let level = -decibels(rms(samples));
    level.clamp(0.0, f32::from(SILENCE_DBOV)).round() as u8
}

/// A meter from 0.0 (−60 dB and below) to 1.0 (full scale), even in decibels.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    shown: f32,
}

impl Meter {
    /// Takes 10 ms of sound in.
    pub(super) fn hear(&mut self, samples: &[f32]) {
        let heard = (1.0 - decibels(rms(samples)) / METER_FLOOR_DB).clamp(0.0, 1.0);
        self.shown = if heard > self.shown {
            heard
        } else {
            self.shown + FALL * (heard - self.shown)
        };
    }

    /// Returns what it shows.
    pub(super) fn level(self) -> f32 {
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_the_standard() {
        assert_eq!(minus_dbov(&[0.0; 480]), 127);
        assert_eq!(minus_dbov(&[1.0; 480]), 0);
        assert_eq!(minus_dbov(&[0.1; 480]), 20);
    }

    #[test]
    fn a_meter_rises_at_once_and_falls_slowly() {
        let mut meter = Meter::default();
        meter.hear(&[0.1; 480]);
        assert!((meter.level() - 2.0 / 3.0).abs() < 0.01);
        meter.hear(&[0.0; 480]);
        assert!(meter.level() > 0.6);
        for _ in 0..100 {
            meter.hear(&[0.0; 480]);
        }
        assert!(meter.level() < 0.01);
    }
}
