//! What a layer's temporal layers take, and how many pictures come, in a sliding window.

use std::time::{Duration, Instant};

use nonstop_rate::{Bitrate, DataSize};

/// The window: 2 s. Shorter, and a keyframe looks like a layer that became larger.
const BUCKETS: usize = 8;
const BUCKET: Duration = Duration::from_millis(250);

/// Before so much was measured there is no rate.
const ENOUGH: Duration = Duration::from_secs(1);

/// Counts bytes of the base and of the upper temporal layers, and pictures.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    buckets: [Bucket; BUCKETS],
    /// Where the newest bucket stands, and when it and the measuring began.
    newest: usize,
    began: Option<Instant>,
    since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    base: u32,
    upper: u32,
    pictures: u16,
}

/// What a layer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rates {
    /// The base temporal layer alone.
    pub(crate) base: Bitrate,
    /// All of them.
    pub(crate) all: Bitrate,
}

impl Meter {
    pub(crate) fn count(&mut self, upper: bool, size: usize, picture: bool, now: Instant) {
        self.turn(now);
        self.since.get_or_insert(now);
        let bucket = &mut self.buckets[self.newest];
        let bytes = if upper {
            &mut bucket.upper
        } else {
            &mut bucket.base
        };
        *bytes = bytes.saturating_add(u32::try_from(size).unwrap_or(u32::MAX));
        bucket.pictures = bucket.pictures.saturating_add(u16::from(picture));
    }

    /// Returns the rates over the window, once something came for long enough.
    pub(crate) fn rates(&mut self, now: Instant) -> Option<Rates> {
        self.turn(now);
        let elapsed = now.saturating_duration_since(self.since?);
        if elapsed < ENOUGH {
            return None;
        }
        let newest = now.saturating_duration_since(self.began?);
        let elapsed = elapsed.min(BUCKET * (BUCKETS as u32 - 1) + newest);
        let sum = |part: fn(&Bucket) -> u32| {
            let bytes = self.buckets.iter().map(|bucket| u64::from(part(bucket)));
            DataSize::from_bytes(bytes.sum())
        };
        let base = sum(|bucket| bucket.base) / elapsed;
        let upper = sum(|bucket| bucket.upper) / elapsed;
        Some(Rates {
            base,
            all: base + upper,
        })
    }

    /// Returns how many pictures came in the last second, as far as whole buckets tell.
    pub(crate) fn pictures(&mut self, now: Instant) -> u32 {
        self.turn(now);
        let back = (0..4).map(|back| (self.newest + BUCKETS - back) % BUCKETS);
        back.map(|index| u32::from(self.buckets[index].pictures))
            .sum()
    }

    /// Begins new buckets up to `now`; after a window of nothing everything begins anew.
    fn turn(&mut self, now: Instant) {
        let Some(began) = self.began else {
            self.began = Some(now);
            return;
        };
        let elapsed = now.saturating_duration_since(began);
        if elapsed < BUCKET {
            return;
        }
        let steps = (elapsed.as_millis() / BUCKET.as_millis()) as usize;
        if steps >= BUCKETS {
            *self = Self {
                began: Some(now),
                ..Self::default()
            };
            return;
        }
        for _ in 0..steps {
            self.newest = (self.newest + 1) % BUCKETS;
            self.buckets[self.newest] = Bucket::default();
        }
        self.began = Some(began + BUCKET * steps as u32);
        if self
            .buckets
            .iter()
            .all(|bucket| bucket.base + bucket.upper == 0)
        {
            self.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_two_seconds() {
        let start = crate::testing::start();
        let mut meter = Meter::default();
        let mut now = start;
        for picture in 0..150 {
            now = start + Duration::from_millis(picture * 33);
            let size = if picture < 60 { 500 } else { 1000 };
            meter.count(picture % 2 == 1, size, true, now);
            if picture == 20 {
                assert_eq!(meter.rates(now), None, "not enough yet");
            }
        }
        let rates = meter.rates(now).expect("it flows");
        let all = rates.all.bps() / 1000;
        let base = rates.base.bps() / 1000;
        assert!((225..260).contains(&all), "{all} of 242 kb/s");
        assert!((112..130).contains(&base), "{base} of 121 kb/s");
        assert!((24..=31).contains(&meter.pictures(now)));
        assert_eq!(meter.rates(now + Duration::from_secs(3)), None);
        assert_eq!(meter.pictures(now + Duration::from_secs(3)), 0);
    }
}
