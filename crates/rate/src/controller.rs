//! A plain delay and loss controller.
//!
//! It raises the estimate while the way is free and what is sent comes near it, and falls to
//! a part of what was acknowledged when a queue stands or much is lost.
//!
//! ```text
//! queue stands ──▶ 0.85 × acknowledged, then wait for the queue to drain
//! loss > 10 % ───▶ × (1 − loss / 2)
//! otherwise ─────▶ rise, at most to 1.5 × acknowledged: fast until the first fall, slow near the
//!                  capacity that the last fall showed, in between below it and long after it
//! ```
//!
//! The thresholds are those of Google congestion control (draft-ietf-rmcat-gcc-02) where it
//! has them; the standing queue takes the place of its arrival-time filter.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{Bitrate, DataSize, PacketResult, Plan, Probe, ProbeId, queue::Queue};

/// The bounds of an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Where it starts.
    pub start: Bitrate,
    /// What it never goes below.
    pub floor: Bitrate,
    /// What it never goes above.
    pub ceiling: Bitrate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            start: Bitrate::from_kbps(500),
            floor: Bitrate::from_kbps(50),
            ceiling: Bitrate::from_kbps(4_000),
        }
    }
}

/// A standing queue longer than this is congestion; scheduling noise on a busy computer is less.
const QUEUE_LIMIT: Duration = Duration::from_millis(60);
/// Loss above which the rate falls (as in Google congestion control).
const HIGH_LOSS: f64 = 0.10;
/// Loss above which the rate rises more slowly.
const LOW_LOSS: f64 = 0.02;
/// The share of the acknowledged rate that is left after congestion.
const DECREASE: f64 = 0.85;
/// Rise a second before the capacity was ever touched.
const FAST_RISE: f64 = 0.8;
/// Rise a second near the capacity (as in Google congestion control).
const SLOW_RISE: f64 = 0.08;
/// Rise a second where there is room: the last fall is long past, or went far below the capacity.
const ROOM_RISE: f64 = 0.25;
/// When the last fall is long past.
const LONG: Duration = Duration::from_secs(6);
/// What counts as near the capacity.
const NEAR: f64 = 0.8;
/// Over how long the acknowledged rate and the loss are measured.
const RATE_WINDOW: Duration = Duration::from_millis(600);
const LOSS_WINDOW: Duration = Duration::from_millis(1_500);
/// Two falls are at least this far apart: the first must have reached the receiver and come back.
const FALL_PAUSE: Duration = Duration::from_millis(400);
/// Without feedback for this long, while packets leave, the rate is halved.
const SILENCE: Duration = Duration::from_secs(1);
/// What the estimate may exceed 1.5 times the acknowledged rate by, so that a quiet sender can start.
const HEADROOM: Bitrate = Bitrate::from_kbps(100);

/// How the estimate fell last.
#[derive(Debug, Clone, Copy)]
struct Fall {
    at: Instant,
    /// The queue that stood then.
    standing: Duration,
    /// The rate that came through then: with a standing queue, the capacity.
    capacity: Option<Bitrate>,
}

/// Feedback in, estimate out. See the module for the algorithm.
#[derive(Debug)]
pub struct Controller {
    limits: Limits,
    estimate: Bitrate,
    wanted: Bitrate,
    queue: Queue,
    /// Arrived packets (receiver's clock) of the rate window.
    arrived: VecDeque<(Duration, DataSize)>,
    /// Fate of each packet of the loss window.
    fates: VecDeque<(Instant, bool)>,
    last_rise: Option<Instant>,
    last_fall: Option<Fall>,
    last_feedback: Option<Instant>,
}

impl Controller {
    /// Makes a controller that has seen nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            estimate: limits.start.clamp(limits.floor, limits.ceiling),
            wanted: limits.ceiling,
            queue: Queue::default(),
            arrived: VecDeque::new(),
            fates: VecDeque::new(),
            last_rise: None,
            last_fall: None,
            last_feedback: None,
        }
    }

    /// Learns what the application has use for at most, everything counted (headers, sound, what is
    /// sent again): nothing is probed beyond it.
    pub fn set_wanted(&mut self, wanted: Bitrate) {
        self.wanted = wanted;
    }

    /// Learns that a packet left.
    pub fn handle_sent(&mut self, _now: Instant, _size: DataSize, _probe: Option<ProbeId>) {}

    /// Returns the next probe to send, if it is time for one.
    pub fn poll_probe(&mut self, _now: Instant) -> Option<Probe> {
        None
    }

    /// Returns how packets may leave now.
    pub fn plan(&self) -> Plan {
        Plan {
            estimate: self.estimate,
            pace: self.estimate.scale(2.5).max(Bitrate::from_kbps(200)),
            window: DataSize::from_bytes(u64::MAX / 4),
            in_flight: DataSize::ZERO,
            congested: false,
        }
    }

    /// Returns the round trip of a packet and the feedback that speaks of it, lately.
    pub fn round_trip(&self) -> Option<Duration> {
        None
    }

    /// Takes in what became of packets, in the order they were sent.
    pub fn handle_feedback(&mut self, now: Instant, packets: &[PacketResult]) {
        if packets.is_empty() {
            return;
        }
        self.last_feedback = Some(now);
        for packet in packets {
            self.fates.push_back((now, packet.arrival.is_some()));
            if let Some(arrival) = packet.arrival {
                self.queue.push(packet.departure, arrival);
                self.arrived.push_back((arrival, packet.size));
            }
        }
        self.expire(now);
        self.update(now);
    }

    /// Lowers the estimate when feedback stopped coming although packets leave: `sending` tells
    /// whether any left since the last call or feedback.
    pub fn handle_timeout(&mut self, now: Instant, sending: bool) {
        if self.poll_timeout().is_some_and(|due| now >= due) {
            self.last_feedback = Some(now);
            if sending {
                self.set(self.estimate.scale(0.5));
            }
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.estimate > self.limits.floor)
            .then(|| self.last_feedback.map(|at| at + SILENCE))
            .flatten()
    }

    /// Returns what the network is believed to carry.
    pub fn estimate(&self) -> Bitrate {
        self.estimate
    }

    /// Returns how long a packet waits in the standing queue.
    pub fn queue_delay(&self) -> Duration {
        self.queue.standing()
    }

    /// Returns the share of packets lost lately, once enough were sent to tell.
    pub fn loss(&self) -> Option<f64> {
        let lost = self.fates.iter().filter(|(_, arrived)| !arrived).count();
        (self.fates.len() >= 10).then(|| lost as f64 / self.fates.len() as f64)
    }

    /// Returns the rate at which packets arrived lately.
    pub fn acknowledged(&self) -> Option<Bitrate> {
        let (first, last) = (self.arrived.front()?.0, self.arrived.back()?.0);
        let span = last.checked_sub(first)?;
        let size: DataSize = self.arrived.iter().skip(1).map(|(_, size)| *size).sum();
        (span >= RATE_WINDOW / 3).then(|| size / span)
    }

    /// Begins afresh: packets travel another way now, or again after a pause.
    pub fn path_changed(&mut self) {
        *self = Self::new(self.limits);
    }

    fn update(&mut self, now: Instant) {
        let standing = self.queue.standing();
        let loss = self.loss().unwrap_or(0.0);
        if standing <= QUEUE_LIMIT && loss <= HIGH_LOSS {
            let pace = self.pace(now);
            self.rise(now, if loss > LOW_LOSS { pace / 3.0 } else { pace });
            return;
        }
        self.last_rise = Some(now);
        if !self.may_fall(now, standing) {
            return;
        }
        if standing > QUEUE_LIMIT {
            if let Some(capacity) = self.acknowledged() {
                // A long queue must drain, not merely stop growing.
                let drain = DECREASE - (standing.as_secs_f64() / 2.0).min(0.35);
                self.fall(now, capacity.scale(drain), Some(capacity));
            }
        } else {
            self.fall(now, self.estimate.scale(1.0 - loss / 2.0), None);
        }
    }

    /// A fall needs time to show: the queue must have drained, unless it still grows.
    fn may_fall(&self, now: Instant, standing: Duration) -> bool {
        self.last_fall.is_none_or(|last| {
            let since = now.saturating_duration_since(last.at);
            let grows = standing > last.standing + QUEUE_LIMIT;
            since >= FALL_PAUSE && (grows || since >= last.standing * 3)
        })
    }

    fn pace(&self, now: Instant) -> f64 {
        let Some(last) = self.last_fall else {
            return FAST_RISE;
        };
        let near = last
            .capacity
            .is_none_or(|capacity| self.estimate >= capacity.scale(NEAR));
        let long = now.saturating_duration_since(last.at) >= LONG;
        if near && !long { SLOW_RISE } else { ROOM_RISE }
    }

    fn rise(&mut self, now: Instant, per_second: f64) {
        let since = self
            .last_rise
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.last_rise = Some(now);
        let Some(acknowledged) = self.acknowledged() else {
            return;
        };
        let raised = self
            .estimate
            .scale(1.0 + per_second * since.as_secs_f64().min(0.5));
        // What is not sent proves nothing.
        let proven = acknowledged.scale(1.5) + HEADROOM;
        self.set(raised.min(proven).max(self.estimate));
    }

    fn fall(&mut self, now: Instant, to: Bitrate, capacity: Option<Bitrate>) {
        self.last_fall = Some(Fall {
            at: now,
            standing: self.queue.standing(),
            capacity,
        });
        // What was lost before says nothing about the rate from now on.
        self.fates.clear();
        self.set(to.min(self.estimate));
    }

    fn set(&mut self, estimate: Bitrate) {
        self.estimate = estimate.clamp(self.limits.floor, self.limits.ceiling);
    }

    fn expire(&mut self, now: Instant) {
        while self
            .fates
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) > LOSS_WINDOW)
        {
            self.fates.pop_front();
        }
        let newest = self.arrived.back().map_or(Duration::ZERO, |(at, _)| *at);
        while self
            .arrived
            .front()
            .is_some_and(|(at, _)| newest.saturating_sub(*at) > RATE_WINDOW)
        {
            self.arrived.pop_front();
        }
    }
}
