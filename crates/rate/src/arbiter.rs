//! The arbiter of an uplink: the links of one participant share it.
//!
//! ```text
//! each link ─ what it carries, its queue, what it is worth ─▶ together? ─ capacity ─▶ its share
//! ```
//! Links are independent until their queues are seen to rise and fall together: then it is one queue,
//! in front of all of them. While that queue stands, what is acknowledged of all links is what the
//! uplink carries. Of it, sound is reserved for each link first; the rest goes by weight, and what a
//! link cannot use to the others. So one control holds the sum, as in coupled congestion control
//! (RFC 8699), while each link's own control still guards its own way. A link that is alone with its
//! trouble costs the others nothing.

mod together;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use crate::Bitrate;
use together::Together;

/// What each link keeps for sound: 16 kb/s of Opus and its headers.
const SOUND: Bitrate = Bitrate::from_kbps(40);
/// How often queues are compared: several times within the rise of a queue.
const SLOT: Duration = Duration::from_millis(100);
/// A link that says nothing for this long does not count.
const STALE: Duration = Duration::from_millis(500);
/// The uplink is full while the queue of all stands at this.
const FULL: Duration = Duration::from_millis(15);
/// For so long the uplink must be full before its capacity is measured anew.
const STANDS: Duration = Duration::from_millis(500);
/// The share of the uplink that is given out: the rest drains what bursts leave behind.
const GIVEN: f64 = 0.97;
/// The capacity is the most that came through within so many slots: more cannot come, less does
/// while senders are busy falling.
const MEASURED: usize = 15;
/// Without a full uplink for this long, more is tried: a little, and later more.
const QUIET: Duration = Duration::from_secs(2);
const LONG_QUIET: Duration = Duration::from_secs(8);
/// What more is tried, a second.
const GROWTH: f64 = 0.04;
const LONG_GROWTH: f64 = 0.15;
/// What is left of it when the uplink becomes full: it was tried too much.
const BACK: f64 = 0.96;
/// Links that begin together may all stand before the same uplink: for so long they share this much.
const BEGINNING: Duration = Duration::from_secs(1);
const BEGINNERS: Bitrate = Bitrate::from_kbps(1_000);
/// A link that is about to begin for longer than this has other troubles.
const EXPECTED: Duration = Duration::from_secs(5);
/// Nobody was held back for this long: there is room for all, and the links are let go.
const ROOM: Duration = Duration::from_secs(5);
/// A link may grow by this much before the others' need counts as much.
const HEADROOM: f64 = 1.5;

/// Names a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What a link says about itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkReport {
    /// What its own control believes its way carries.
    pub estimate: Bitrate,
    /// What arrives of it.
    pub acknowledged: Bitrate,
    /// How long a packet waits on its way.
    pub queue_delay: Duration,
    /// What its pictures are worth, against those of others: the pixels that are looked at.
    pub weight: f64,
    /// The most that it has use for, everything counted.
    pub wanted: Bitrate,
}

/// Divides the uplink. See the module for how.
#[derive(Debug, Default)]
pub struct Arbiter {
    links: BTreeMap<LinkId, Link>,
    /// Links that have not begun, and since when they are about to.
    expected: BTreeMap<LinkId, Instant>,
    together: Together,
    uplink: Option<Uplink>,
    /// Those that share it.
    members: BTreeSet<LinkId>,
    /// What came through of those that share it, a slot each, oldest first.
    carried: VecDeque<f64>,
    next_slot: Option<Instant>,
}

#[derive(Debug)]
struct Link {
    report: LinkReport,
    began: Instant,
    at: Instant,
    share: Option<Bitrate>,
}

/// What is known of the shared uplink.
#[derive(Debug)]
struct Uplink {
    capacity: f64,
    /// When it was last full.
    full: Instant,
    /// Since when it is full without a pause.
    filled: Option<Instant>,
    /// Since when it holds nobody back.
    roomy: Option<Instant>,
}

impl Arbiter {
    /// Makes an arbiter of no links.
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns that a link is about to begin: those that begin together share what is not known yet.
    pub fn expect(&mut self, now: Instant, link: LinkId) {
        self.expected.insert(link, now);
    }

    /// Takes in what a link says, and returns the most that it may send, everything counted; nothing
    /// while it shares no full uplink.
    pub fn report(&mut self, now: Instant, link: LinkId, report: LinkReport) -> Option<Bitrate> {
        let new = !self.links.contains_key(&link);
        self.expected.remove(&link);
        let known = self.links.entry(link).or_insert(Link {
            report,
            began: now,
            at: now,
            share: None,
        });
        known.report = report;
        known.at = now;
        if self.next_slot.is_none_or(|due| due <= now) {
            self.next_slot = Some(now + SLOT);
            self.compare(now);
            self.divide(now);
        } else if new {
            self.divide(now);
        }
        self.links.get(&link)?.share
    }

    /// Forgets a link that has ended.
    pub fn remove(&mut self, link: LinkId) {
        self.links.remove(&link);
        self.expected.remove(&link);
        self.together.remove(link);
    }

    /// Returns what the uplink carries, while links share it.
    pub fn capacity(&self) -> Option<Bitrate> {
        let uplink = self.uplink.as_ref()?;
        Some(Bitrate::from_bps(uplink.capacity as u64))
    }

    /// Learns from what all links said, once a slot.
    fn compare(&mut self, now: Instant) {
        let fresh = self.fresh(now);
        let delays = fresh.iter().map(|(id, report)| (*id, report.queue_delay));
        self.together.push(delays);
        let group = self.group(now);
        self.measure(now, &group);
    }

    fn divide(&mut self, now: Instant) {
        let group = self.group(now);
        let shares = self.shares(now, &group);
        let begins = |link: &Link| now.saturating_duration_since(link.began) < BEGINNING;
        (self.expected).retain(|_, since| now.saturating_duration_since(*since) < EXPECTED);
        let beginners = self.links.values().filter(|link| begins(link)).count();
        let beginners = beginners + self.expected.len();
        let first = (beginners > 1).then(|| BEGINNERS.scale(1.0 / beginners as f64));
        for (id, link) in &mut self.links {
            let known = shares.get(id).copied();
            link.share = known.or(first.filter(|_| begins(link)));
        }
    }

    fn fresh(&self, now: Instant) -> Vec<(LinkId, LinkReport)> {
        (self.links.iter())
            .filter(|(_, link)| now.saturating_duration_since(link.at) < STALE)
            .map(|(id, link)| (*id, link.report))
            .collect()
    }

    /// Those that share the uplink.
    fn group(&self, now: Instant) -> Vec<(LinkId, LinkReport)> {
        let mut group = self.fresh(now);
        group.retain(|(id, _)| self.together.contains(*id));
        group
    }

    /// Follows the capacity of the uplink that these links share.
    fn measure(&mut self, now: Instant, group: &[(LinkId, LinkReport)]) {
        self.regroup(group);
        if group.len() < 2 {
            self.uplink = None;
            self.carried.clear();
            return;
        }
        let carried: Bitrate = group.iter().map(|(_, report)| report.acknowledged).sum();
        self.carried.push_back(carried.as_f64());
        if self.carried.len() > MEASURED {
            self.carried.pop_front();
        }
        let most = self.carried.iter().copied().fold(0.0, f64::max);
        let mut delays: Vec<_> = group.iter().map(|(_, report)| report.queue_delay).collect();
        delays.sort_unstable();
        let full = delays[(delays.len() - 1) / 2] >= FULL;
        match &mut self.uplink {
            None if full && most > 0.0 => {
                self.uplink = Some(Uplink {
                    capacity: most,
                    full: now,
                    filled: Some(now),
                    roomy: None,
                });
            }
            None => {}
            Some(uplink) if full => {
                if uplink.filled.is_none() {
                    uplink.capacity *= BACK;
                }
                uplink.full = now;
                // A burst passes; what comes through while it does is not all that could.
                let since = *uplink.filled.get_or_insert(now);
                if now.saturating_duration_since(since) >= STANDS {
                    uplink.capacity = most;
                }
            }
            Some(uplink) => {
                uplink.filled = None;
                let quiet = now.saturating_duration_since(uplink.full);
                let growth = match quiet {
                    quiet if quiet >= LONG_QUIET => LONG_GROWTH,
                    quiet if quiet >= QUIET => GROWTH,
                    _ => 0.0,
                };
                uplink.capacity *= 1.0 + growth * SLOT.as_secs_f64();
            }
        }
    }

    /// What comes through one that turns out to share the uplink counts from now on; of one that
    /// turns out not to, no more. What one leaves behind that has ended is there for the others.
    fn regroup(&mut self, group: &[(LinkId, LinkReport)]) {
        let members: BTreeSet<LinkId> = group.iter().map(|(id, _)| *id).collect();
        if members == self.members {
            return;
        }
        let acknowledged = |id: &LinkId| {
            let link = self.links.get(id);
            link.map_or(0.0, |link| link.report.acknowledged.as_f64())
        };
        let came: f64 = members.difference(&self.members).map(acknowledged).sum();
        let went: f64 = self.members.difference(&members).map(acknowledged).sum();
        if let Some(uplink) = &mut self.uplink {
            uplink.capacity = (uplink.capacity + came - went).max(SOUND.as_f64());
        }
        self.carried.clear();
        self.members = members;
    }

    fn shares(
        &mut self,
        now: Instant,
        group: &[(LinkId, LinkReport)],
    ) -> BTreeMap<LinkId, Bitrate> {
        let Some(uplink) = &mut self.uplink else {
            return BTreeMap::new();
        };
        if group.is_empty() {
            return BTreeMap::new();
        }
        let shares = fill(uplink.capacity * GIVEN, group);
        let held_back = (group.iter()).any(|(id, report)| shares[id] < report.wanted.as_f64());
        match held_back {
            true => uplink.roomy = None,
            false => {
                let since = *uplink.roomy.get_or_insert(now);
                if now.saturating_duration_since(since) >= ROOM {
                    self.uplink = None;
                    self.together = Together::default();
                    return BTreeMap::new();
                }
            }
        }
        (shares.into_iter())
            .map(|(id, share)| (id, Bitrate::from_bps(share as u64)))
            .collect()
    }
}

/// Fills links with sound first, then by weight; what one has no use for goes to the others.
fn fill(total: f64, group: &[(LinkId, LinkReport)]) -> BTreeMap<LinkId, f64> {
    let sound = SOUND.as_f64().min(total / group.len() as f64);
    let mut left = (total - sound * group.len() as f64).max(0.0);
    let mut shares: BTreeMap<LinkId, f64> = group.iter().map(|(id, _)| (*id, sound)).collect();
    let mut open: Vec<(LinkId, f64, f64)> = (group.iter())
        .map(|(id, report)| (*id, weight(report), usable(report)))
        .collect();
    while left > 1.0 && !open.is_empty() {
        let weights: f64 = open.iter().map(|(_, weight, _)| weight).sum();
        let mut given = 0.0;
        let before = open.len();
        open.retain(|(id, weight, usable)| {
            let share = shares.entry(*id).or_default();
            let part = left * weight / weights;
            let room = (usable - *share).max(0.0);
            *share += part.min(room);
            given += part.min(room);
            part < room
        });
        left -= given;
        if open.len() == before {
            return shares;
        }
    }
    // Nobody has use for the rest as things stand: it is room to grow for all.
    let rest = left / group.len() as f64;
    shares.values_mut().for_each(|share| *share += rest);
    shares
}

/// A weight that can be divided by.
fn weight(report: &LinkReport) -> f64 {
    match report.weight.is_finite() {
        true => report.weight.clamp(1e-3, 1e12),
        false => 1.0,
    }
}

/// What a link could take next: its own way may be the narrower one.
fn usable(report: &LinkReport) -> f64 {
    let grown = (report.estimate.as_f64() * HEADROOM).max(2.0 * SOUND.as_f64());
    grown.min(report.wanted.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(estimate: u64, weight: f64) -> LinkReport {
        LinkReport {
            estimate: Bitrate::from_kbps(estimate),
            acknowledged: Bitrate::from_kbps(estimate),
            queue_delay: Duration::ZERO,
            weight,
            wanted: Bitrate::from_kbps(2_700),
        }
    }

    fn kbps(shares: &BTreeMap<LinkId, f64>) -> Vec<u64> {
        shares.values().map(|share| (share / 1e3) as u64).collect()
    }

    #[test]
    fn sound_comes_first_and_the_rest_goes_by_weight() {
        let group = [(LinkId(1), report(500, 3.0)), (LinkId(2), report(500, 1.0))];
        assert_eq!(kbps(&fill(480e3, &group)), [340, 140]);
        assert_eq!(kbps(&fill(80e3, &group)), [40, 40]);
        assert_eq!(kbps(&fill(60e3, &group)), [30, 30]);
    }

    #[test]
    fn what_one_cannot_use_goes_to_the_others() {
        let group = [(LinkId(1), report(100, 1.0)), (LinkId(2), report(900, 1.0))];
        assert_eq!(kbps(&fill(1_000e3, &group)), [150, 850]);
    }

    #[test]
    fn any_weight_gives_finite_shares_within_the_whole() {
        for odd in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
            let group = [(LinkId(1), report(500, odd)), (LinkId(2), report(500, 1.0))];
            let shares = fill(500e3, &group);
            let sum: f64 = shares.values().sum();
            assert!((sum - 500e3).abs() < 2.0, "{odd}: {shares:?}");
            assert!(shares.values().all(|share| *share >= 39e3), "{odd}");
        }
    }
}
