//! How long sound must wait so that nearly all of it comes in time.
//!
//! Every packet is compared with the fastest packet of the last two seconds: how much longer
//! did it travel? A histogram of that, which slowly forgets, says how long the buffer must hold
//! sound so that 99 of 100 packets are there when they are due (as NetEq does, with a higher
//! quantile: a packet that comes too late is heard). Pure: time is an argument.

use std::{collections::VecDeque, time::Duration};

/// Shorter waits save nothing that a person could hear.
pub(super) const SHORTEST: Duration = Duration::from_millis(20);
/// Longer waits make a conversation impossible; later packets are lost.
pub(super) const LONGEST: Duration = Duration::from_millis(500);

/// Waited until enough packets have come to know better.
const INITIAL: Duration = Duration::from_millis(40);
const EVIDENCE: u32 = 25;
/// Of 100 packets, this many must be in time.
const QUANTILE: f32 = 0.99;
/// About 400 packets, 8 s, are remembered.
const FORGET: f32 = 0.9975;
/// A packet may be pushed just after the engine looked; engine steps are 10 ms.
const MARGIN_MICROS: i64 = 10_000;
/// From this loss on waits are long enough for the packet after the lost one, which brings it or can
/// repair it, until there is hardly any loss.
const LOSSY: f32 = 0.008;
const LOSSLESS: f32 = 0.004;
/// From this share of packets on that come in the one after them, two in a row are lost often enough to
/// wait for that too: the second comes in the one after it, and repairs the first.
const LOSSY_IN_A_ROW: f32 = 0.04;
const PACKET: Duration = Duration::from_millis(20);
/// About 250 packets, 5 s, are remembered.
const LOSS_FORGET: f32 = 0.004;
const BUCKET_MICROS: i64 = 5_000;
const BUCKETS: usize = 100;
/// Packets later than this tell of an outage; waiting for the next one would help nobody.
const OUTAGE_MICROS: i64 = 300_000;
/// How far back the fastest packet is looked for: short enough to follow a clock that runs
/// differently or a path that became longer.
const BASE_WINDOW_MICROS: i64 = 2_000_000;
const BASE_WINDOW_PACKETS: usize = 256;

/// Watches arrivals, and knows the wait they call for.
#[derive(Debug)]
pub(super) struct DelayEstimator {
    /// (arrival, transit), transit growing from front to back: the front is the fastest.
    fastest: VecDeque<(i64, i64)>,
    histogram: [f32; BUCKETS],
    seen: u32,
    /// Share of packets that were lost, or had a lost one before them, slowly forgotten.
    loss: f32,
    /// Share of packets that came in the one after them.
    recovered: f32,
    /// Whether so much is lost that waits are longer for it.
    lossy: bool,
}

impl DelayEstimator {
    pub(super) fn new() -> Self {
        Self {
            fastest: VecDeque::new(),
            histogram: [0.0; BUCKETS],
            seen: 0,
            loss: 0.0,
            recovered: 0.0,
            lossy: false,
        }
    }

    /// Takes note of sound of time `media_micros` that arrived at `arrived_micros`.
    pub(super) fn observe(&mut self, media_micros: i64, arrived_micros: i64) {
        let transit = arrived_micros - media_micros;
        while (self.fastest.front())
            .is_some_and(|&(arrived, _)| arrived_micros - arrived > BASE_WINDOW_MICROS)
        {
            self.fastest.pop_front();
        }
        while self.fastest.back().is_some_and(|&(_, t)| t >= transit) {
            self.fastest.pop_back();
        }
        self.fastest.push_back((arrived_micros, transit));
        if self.fastest.len() > BASE_WINDOW_PACKETS {
            self.fastest.pop_front();
        }

        let lateness = transit - self.base();
        if lateness > OUTAGE_MICROS {
            return;
        }
        let bucket = (lateness / BUCKET_MICROS).clamp(0, BUCKETS as i64 - 1) as usize;
        self.seen = self.seen.saturating_add(1);
        let keep = FORGET.min(1.0 - 1.0 / (self.seen as f32 + 1.0));
        for weight in &mut self.histogram {
            *weight *= keep;
        }
        self.histogram[bucket] += 1.0 - keep;
    }

    /// Takes note of a packet that is played: whether one was missing, it or the one before, and whether
    /// it came in the packet after it.
    pub(super) fn observe_loss(&mut self, lost: bool, recovered: bool) {
        let share = |of: &mut f32, it: bool| *of += LOSS_FORGET * (f32::from(u8::from(it)) - *of);
        share(&mut self.loss, lost);
        share(&mut self.recovered, recovered);
        self.lossy = self.loss > if self.lossy { LOSSLESS } else { LOSSY };
    }

    /// Forgets which packet was fastest: the sender's time line is a new one.
    pub(super) fn restart(&mut self) {
        self.fastest.clear();
    }

    fn base(&self) -> i64 {
        self.fastest.front().map_or(0, |&(_, transit)| transit)
    }

    /// Returns how long sound of `media_micros`, played at `played_micros`, waited longer than
    /// the fastest packet would have to.
    pub(super) fn wait_micros(&self, media_micros: i64, played_micros: i64) -> i64 {
        played_micros - media_micros - self.base()
    }

    /// Returns the wait that is called for.
    pub(super) fn target(&self) -> Duration {
        let total: f32 = self.histogram.iter().sum();
        let mut sum = 0.0;
        let mut micros = 0;
        if total > 0.0 {
            for (bucket, weight) in self.histogram.iter().enumerate() {
                sum += weight;
                if sum >= total * QUANTILE {
                    // Everything in the first bucket arrives evenly: nothing to wait for.
                    if bucket > 0 {
                        micros = (bucket as i64 + 1) * BUCKET_MICROS + MARGIN_MICROS;
                    }
                    break;
                }
            }
        }
        let least = if self.seen < EVIDENCE {
            INITIAL
        } else {
            SHORTEST
        };
        let spare = if self.recovered > LOSSY_IN_A_ROW {
            PACKET * 2
        } else if self.lossy {
            PACKET
        } else {
            Duration::ZERO
        };
        (Duration::from_micros(micros as u64).max(least) + spare).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(delay: &mut DelayEstimator, packets: std::ops::Range<i64>, late: fn(i64) -> i64) {
        for n in packets {
            delay.observe(n * 20_000, n * 20_000 + 50_000 + late(n));
        }
    }

    #[test]
    fn an_even_network_calls_for_the_shortest_wait() {
        let mut delay = DelayEstimator::new();
        observe(&mut delay, 0..100, |_| 0);
        assert_eq!(delay.target(), SHORTEST);
    }

    #[test]
    fn jitter_calls_for_a_wait_that_covers_it_and_is_forgotten() {
        let mut delay = DelayEstimator::new();
        observe(&mut delay, 0..500, |n| n * 7919 % 100 * 1_000);
        let target = delay.target();
        assert!(target >= Duration::from_millis(99), "{target:?}");
        assert!(target <= Duration::from_millis(125), "{target:?}");
        observe(&mut delay, 500..2500, |_| 0);
        assert_eq!(delay.target(), SHORTEST);
    }

    #[test]
    fn a_path_that_became_longer_is_the_new_measure_after_two_seconds() {
        let mut delay = DelayEstimator::new();
        observe(&mut delay, 0..500, |n| if n < 250 { 0 } else { 200_000 });
        assert_eq!(delay.wait_micros(0, 250_000), 0);
    }
}
