//! Loss that comes from sending too much, told from loss that the network has anyway.
//!
//! Every while is an observation: at which rate packets left, and how many were lost. Two
//! explanations compete for the observations of the last seconds, by likelihood (the idea of
//! libwebrtc's second loss-based estimator):
//!
//! ```text
//! random      every packet is lost with probability p
//! bound       p, and beyond a capacity C whatever is too much: p + (1 − p) (rate − C) / rate
//! ```
//! Random loss is no reason to send less. Only when the bound explains the observations much better
//! is it one. Where a queue shows the congestion first, observations are not made at all.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{Bitrate, DataSize};

/// One observation is at least this long and has at least so many packets.
const OBSERVATION: Duration = Duration::from_millis(250);
const FEWEST: u32 = 15;
/// Observations kept, and what each weighs in comparison with the next (libwebrtc).
const MOST: usize = 20;
const FADE: f64 = 0.9;
/// How much better the bound must explain what was seen, in natural logarithms: 1 in 150.
const EVIDENCE: f64 = 5.0;
/// The most that passes for random.
const MOST_RANDOM: f64 = 0.2;
/// Below this much loss there is nothing to explain.
const NOTICEABLE: f64 = 0.02;
/// The packets over which the share that is told to people is taken.
const LATELY: Duration = Duration::from_millis(1_500);

#[derive(Debug, Clone, Copy)]
struct Observation {
    rate: f64,
    packets: f64,
    lost: f64,
}

#[derive(Debug, Clone, Copy)]
struct Growing {
    since: Instant,
    until: Instant,
    size: DataSize,
    packets: u32,
    lost: u32,
}

/// Explains losses.
#[derive(Debug, Default)]
pub(crate) struct Loss {
    observations: VecDeque<Observation>,
    growing: Option<Growing>,
    /// Fate of each packet lately, and how many of them were lost.
    fates: VecDeque<(Instant, bool)>,
    lost: usize,
    bound: Option<Bitrate>,
}

impl Loss {
    /// Takes in the fate of a packet.
    pub(crate) fn push(&mut self, departure: Instant, size: DataSize, lost: bool) {
        self.fates.push_back((departure, lost));
        self.lost += usize::from(lost);
        while let Some((at, lost)) = self.fates.front().copied()
            && departure.saturating_duration_since(at) > LATELY
        {
            self.fates.pop_front();
            self.lost -= usize::from(lost);
        }
        let growing = self.growing.get_or_insert(Growing {
            since: departure,
            until: departure,
            size: DataSize::ZERO,
            packets: 0,
            lost: 0,
        });
        growing.until = growing.until.max(departure);
        growing.size += size;
        growing.packets += 1;
        growing.lost += u32::from(lost);
    }

    /// Draws conclusions from what was pushed. `queued` tells that a queue shows congestion by
    /// itself: then losses say nothing new.
    pub(crate) fn update(&mut self, queued: bool) {
        let Some(growing) = self.growing else {
            return;
        };
        if queued {
            self.growing = None;
            return;
        }
        let time = growing.until.saturating_duration_since(growing.since);
        if time < OBSERVATION || growing.packets < FEWEST {
            return;
        }
        self.growing = None;
        self.observations.push_back(Observation {
            rate: (growing.size / time).as_f64(),
            packets: f64::from(growing.packets),
            lost: f64::from(growing.lost),
        });
        if self.observations.len() > MOST {
            self.observations.pop_front();
        }
        self.bound = self.explain();
    }

    /// Returns the rate beyond which packets are lost because they are too many.
    pub(crate) fn bound(&self) -> Option<Bitrate> {
        self.bound
    }

    /// Returns the share of packets lost lately, once enough were sent to tell.
    pub(crate) fn lately(&self) -> Option<f64> {
        let packets = self.fates.len();
        (packets >= 10).then(|| self.lost as f64 / packets as f64)
    }

    fn explain(&self) -> Option<Bitrate> {
        let sum = |of: fn(&Observation) -> f64| self.observations.iter().map(of).sum::<f64>();
        if sum(|seen| seen.lost) < NOTICEABLE * sum(|seen| seen.packets) {
            return None;
        }
        let random = self.best(f64::INFINITY);
        let candidates = self.observations.iter().flat_map(|seen| {
            let through = seen.rate * (1.0 - seen.lost / seen.packets);
            [through * 0.95, through, through * 1.05]
        });
        let (bound, likelihood) = candidates
            .map(|capacity| (capacity, self.best(capacity)))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        (likelihood > random + EVIDENCE).then(|| Bitrate::from_bps(bound as u64))
    }

    /// The likelihood of a capacity, with the random loss that suits it best.
    fn best(&self, capacity: f64) -> f64 {
        const STEPS: u32 = 20;
        (0..=STEPS)
            .map(|step| {
                // Finer where losses are rare.
                let random = MOST_RANDOM * (f64::from(step) / f64::from(STEPS)).powi(2);
                self.likelihood(capacity, random)
            })
            .fold(f64::NEG_INFINITY, f64::max)
    }

    fn likelihood(&self, capacity: f64, random: f64) -> f64 {
        let newest_first = self.observations.iter().rev();
        let weighted = newest_first.scan(1.0, |weight, seen| {
            let now = *weight;
            *weight *= FADE;
            Some((now, seen))
        });
        weighted
            .map(|(weight, seen)| {
                let too_much = ((seen.rate - capacity) / seen.rate).max(0.0);
                let loss = (random + (1.0 - random) * too_much).clamp(1e-3, 0.999);
                weight * (seen.lost * loss.ln() + (seen.packets - seen.lost) * (1.0 - loss).ln())
            })
            .sum()
    }
}
