//! What the RTP time stamps of everything that a participant sends are counted from.
//!
//! There is one for all connections of a participant: the same picture, or the same 20 ms of sound,
//! has the same time stamp on every link and through the relay. So whoever takes it in over two ways
//! can tell that it is the same. (RFC 3550 section 5.1 asks for a random start of each stream; here
//! the streams of one participant share it.) Sequence numbers are counted by each stream.

use std::time::Instant;

/// Samples of sound in one step of the microphone (20 ms at 48 kHz).
const STEP_SAMPLES: u32 = 960;

/// The start of a participant's time stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBase {
    started: Instant,
    base: u32,
}

impl TimeBase {
    /// Counts from `started`, beginning with `base`, which should be random.
    pub fn new(started: Instant, base: u32) -> Self {
        Self { started, base }
    }

    /// Returns the time stamp (90 kHz) of a picture; also of one that was captured before the start.
    pub fn picture(&self, captured: Instant) -> u32 {
        let since = ticks(self.started, captured, 90_000);
        self.base.wrapping_add(since)
    }

    /// Returns the time stamp (48 kHz) of the microphone's step number `step`.
    pub fn sound(&self, step: u64) -> u32 {
        let since = (step as u32).wrapping_mul(STEP_SAMPLES);
        self.base.wrapping_add(since)
    }

    /// Returns the time stamp (48 kHz) of the sound of this moment, by what was captured last.
    pub fn sound_now(&self, step: u64, captured: Instant, now: Instant) -> u32 {
        self.sound(step).wrapping_add(ticks(captured, now, 48_000))
    }
}

/// Returns the time between two instants in ticks of a clock, wrapping, negative where it is.
fn ticks(from: Instant, to: Instant, rate: u64) -> u32 {
    let between = |a: Instant, b: Instant| {
        let micros = b.duration_since(a).as_micros() as u64;
        (micros * rate / 1_000_000) as u32
    };
    if to >= from {
        between(from, to)
    } else {
        between(to, from).wrapping_neg()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[test]
    fn ticks_count_both_ways_and_wrap() {
        let start = clock::now();
        let later = start + Duration::from_millis(1_500);
        assert_eq!(ticks(start, later, 90_000), 135_000);
        assert_eq!(ticks(later, start, 90_000), 135_000_u32.wrapping_neg());
        let day = start + Duration::from_secs(86_400);
        assert_eq!(ticks(start, day, 90_000), (86_400_u64 * 90_000) as u32);
    }

    #[test]
    fn pictures_and_sound_count_from_one_base_and_wrap() {
        let start = clock::now();
        let base = TimeBase::new(start, u32::MAX);
        assert_eq!(base.picture(start + Duration::from_millis(10)), 899);
        assert_eq!(base.sound(0), u32::MAX);
        assert_eq!(base.sound(1), 959);
        // 2^32 steps of 960 samples come to the same place.
        assert_eq!(base.sound(1 << 32), base.sound(0));
        let later = start + Duration::from_millis(5);
        assert_eq!(base.sound_now(1, start, later), 959 + 240);
    }
}
