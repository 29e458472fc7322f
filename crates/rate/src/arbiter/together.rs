//! Do the queues of links rise and fall together? Then they are one.
//!
//! Each link's queue delay is sampled at the same moments. Two links belong together when their
//! samples correlate and rise by as much: a common cause elsewhere would not move them alike (RFC
//! 8382 groups flows by the statistics of their delays; here all delays are known at one place, and
//! can be compared directly). One comparison may err, so several must agree.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::LinkId;

/// Samples that are compared: three seconds, which hold at least one rise or fall of a queue; at
/// first a second must do.
const WINDOW: usize = 30;
const LEAST: usize = 8;
/// How many samples pass between two comparisons.
const STRIDE: usize = 5;
/// Delays that vary by less than this (standard deviation, in milliseconds) tell nothing.
const STILL: f64 = 5.0;
/// The least correlation of two links that share a queue, and the most of two that do not; in
/// between nothing is learned.
const ALIKE: f64 = 0.8;
const UNLIKE: f64 = 0.3;
/// Delays that vary by this much together are certain at once: a queue that fills from nothing.
const LARGE: f64 = 30.0;
/// One varies at most this many times as much as the other.
const AS_MUCH: f64 = 2.0;
/// So many comparisons must agree more than disagree, and so many are remembered.
const CERTAIN: i32 = 3;
const REMEMBERED: i32 = 6;

/// Compares the queues of links.
#[derive(Debug, Default)]
pub(super) struct Together {
    links: BTreeMap<LinkId, Member>,
    slots: usize,
}

#[derive(Debug, Default)]
struct Member {
    /// Milliseconds, oldest first; not a number where the link said nothing.
    delays: VecDeque<f64>,
    score: i32,
    shared: bool,
}

impl Together {
    /// Takes in the queue delay of each link at one moment.
    pub(super) fn push(&mut self, delays: impl Iterator<Item = (LinkId, Duration)>) {
        let mut seen = BTreeSet::new();
        for (id, delay) in delays {
            seen.insert(id);
            let member = self.links.entry(id).or_default();
            member.delays.push_back(delay.as_secs_f64() * 1e3);
            if member.delays.len() > WINDOW {
                member.delays.pop_front();
            }
        }
        // Samples of different moments cannot be compared.
        for (id, member) in &mut self.links {
            if !seen.contains(id) {
                member.delays.clear();
            }
        }
        self.slots += 1;
        if self.slots.is_multiple_of(STRIDE) {
            self.compare();
        }
    }

    /// Forgets a link.
    pub(super) fn remove(&mut self, id: LinkId) {
        self.links.remove(&id);
    }

    /// Tells whether the link shares its queue with others.
    pub(super) fn contains(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|member| member.shared)
    }

    fn compare(&mut self) {
        let series: Vec<(LinkId, Vec<f64>)> = (self.links.iter())
            .filter(|(_, member)| member.delays.len() >= LEAST)
            .map(|(id, member)| (*id, member.delays.iter().copied().collect::<Vec<_>>()))
            .filter(|(_, delays)| deviation(delays) >= STILL)
            .collect();
        // A queue that stands still says nothing about whose it is.
        for (id, delays) in &series {
            let others = series.iter().filter(|(other, _)| other != id);
            let likeness = others
                .map(|(_, other)| likeness(delays, other))
                .fold(-1.0, f64::max);
            if let Some(member) = self.links.get_mut(id) {
                let change = match likeness {
                    ALIKE.. if deviation(delays) >= LARGE => CERTAIN,
                    ALIKE.. => 1,
                    UNLIKE..ALIKE => 0,
                    _ => -1,
                };
                member.score = (member.score + change).clamp(0, REMEMBERED);
                member.shared = match member.shared {
                    true => member.score > 0,
                    false => member.score >= CERTAIN,
                };
            }
        }
    }
}

/// Correlates the newest samples of both, as many as there are. Links report one after the other,
/// so that one may be a sample behind.
fn likeness(a: &[f64], b: &[f64]) -> f64 {
    let many = a.len().min(b.len());
    let (a, b) = (&a[a.len() - many..], &b[b.len() - many..]);
    let behind = correlation(&a[1..], &b[..many - 1]);
    let ahead = correlation(&a[..many - 1], &b[1..]);
    correlation(a, b).max(behind).max(ahead)
}

/// Links that do not move by as much are unlike.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (more, less) = (deviation(a), deviation(b));
    if more.min(less) <= 0.0 || more.max(less) > AS_MUCH * more.min(less) {
        return -1.0;
    }
    let products = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b));
    let covariance = products.sum::<f64>() / a.len() as f64;
    covariance / (more * less)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / values.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue that fills and drains with a period of so many samples.
    fn queue(slot: usize, period: usize, height: f64) -> Duration {
        let phase = (slot % period) as f64 / period as f64;
        Duration::from_secs_f64(height / 1e3 * phase)
    }

    fn run(slots: usize, of: impl Fn(u64, usize) -> Duration) -> Vec<bool> {
        let mut together = Together::default();
        for slot in 0..slots {
            together.push((0..3).map(|id| (LinkId(id), of(id, slot))));
        }
        (0..3).map(|id| together.contains(LinkId(id))).collect()
    }

    #[test]
    fn one_queue_is_recognised() {
        let shared = run(60, |_, slot| queue(slot, 17, 60.0));
        assert_eq!(shared, [true; 3]);
    }

    #[test]
    fn queues_of_their_own_are_not() {
        let own = run(600, |id, slot| queue(slot, 11 + 6 * id as usize, 60.0));
        assert_eq!(own, [false; 3]);
    }

    #[test]
    fn a_link_with_a_queue_of_its_own_stays_out() {
        let shared = run(600, |id, slot| match id {
            2 => queue(slot, 29, 200.0),
            _ => queue(slot, 17, 60.0),
        });
        assert_eq!(shared, [true, true, false]);
    }

    #[test]
    fn empty_queues_change_nothing() {
        let shared = run(600, |_, slot| match slot {
            0..60 => queue(slot, 17, 60.0),
            _ => Duration::ZERO,
        });
        assert_eq!(shared, [true; 3], "the shares keep it empty");
    }
}
