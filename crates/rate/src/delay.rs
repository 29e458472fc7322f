//! Delay-based control: a queue of a packet or two, always.
//!
//! With the queue's delay known, the rate follows a law instead of falling and rising by turns:
//!
//! ```text
//! queue > aim    capacity × (1 − (queue − aim) / T)     what carries, less what drains the queue in T
//! queue ≤ aim    rises: quickly far below the capacity that is remembered, slowly near it
//! ```
//! The aim is a number of packets, so it is a longer delay at a lower rate: flows that share a queue
//! see the same delay, and the one with the smaller rate aims higher until they are equal (TCP
//! Vegas, Brakmo 1994; Copa, Arun and Balakrishnan 2018).

use std::time::{Duration, Instant};

use crate::{Bitrate, DataSize};

/// The packets that are aimed to wait in the network, its bounds in time.
const AIM: DataSize = DataSize::from_bytes(1_200);
const LEAST_AIM: Duration = Duration::from_millis(6);
pub(crate) const MOST_AIM: Duration = Duration::from_millis(30);
/// The round trip where none is known.
pub(crate) const UNKNOWN: Duration = Duration::from_millis(100);
/// The queue drains in this time, or in so many round trips where that is longer: what is changed
/// now shows a round trip later.
const DRAIN: Duration = Duration::from_millis(400);
const DRAIN_ROUND_TRIPS: u32 = 3;
/// The least share of the capacity that is left while a queue drains.
const LEAST_SHARE: f64 = 0.6;
/// Rise a second near the capacity, in bits, and beyond it or where it is not known: the same for
/// every flow, so that flows which share a link become equal (Chiu and Jain 1989).
const NEAR_RISE: f64 = 100e3;
const FREE_RISE: f64 = 200e3;
/// Rise a second below the capacity, as a share.
const BELOW_RISE: f64 = 1.0;
/// What counts as near the capacity.
const NEAR: (f64, f64) = (0.9, 1.08);
/// What the aim grows by in a second while the queue seems to stand, but is empty time and again:
/// that is the network's own unsteadiness. And what it falls by otherwise, and the most.
const UNSTEADY_UP: f64 = 0.015;
const UNSTEADY_DOWN: f64 = 0.003;
const UNSTEADY_MOST: f64 = 0.025;
/// A queue that was not empty for so long stands.
const STANDS: Duration = Duration::from_millis(250);
/// What is not sent proves nothing: the estimate exceeds what arrives by no more than this.
const PROVEN: f64 = 1.5;
const PROVEN_MORE: Bitrate = Bitrate::from_kbps(100);
/// Against others: how much more a second a packet a round trip makes is counted from this size,
/// and what is left after a loss (TCP Cubic's share, RFC 9438 section 4.6).
const SEGMENT: DataSize = DataSize::from_bytes(1_250);
const AFTER_LOSS: f64 = 0.8;

/// What the control sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sees {
    pub(crate) estimate: Bitrate,
    /// The queue that counts.
    pub(crate) queue: Duration,
    /// What arrives while the queue is not empty.
    pub(crate) busy: Option<Bitrate>,
    /// For how long the queue has not been empty.
    pub(crate) busy_for: Duration,
    /// Whether the queue grows fast: the link has just become slower.
    pub(crate) grows: bool,
    pub(crate) acknowledged: Option<Bitrate>,
    pub(crate) capacity: Option<Bitrate>,
    pub(crate) round_trip: Duration,
    /// The round trip with an empty queue.
    pub(crate) shortest: Duration,
}

impl Sees {
    /// Tells whether there is a queue, and not only delays that are unsteady.
    pub(crate) fn stands(&self) -> bool {
        self.grows || self.busy_for >= STANDS
    }
}

/// The law's memory.
#[derive(Debug, Default)]
pub(crate) struct Delay {
    last: Option<Instant>,
    falling: bool,
    /// What came through when the queue began to stand.
    fell_from: Option<Bitrate>,
    /// What is added to the aim, in seconds.
    unsteady: f64,
    last_loss: Option<Instant>,
}

/// Returns the queue that is aimed at for a rate.
pub(crate) fn aim(rate: Bitrate) -> Duration {
    (AIM / rate).clamp(LEAST_AIM, MOST_AIM)
}

impl Delay {
    /// Returns the estimate that follows from what is seen.
    pub(crate) fn update(&mut self, now: Instant, sees: &Sees) -> Bitrate {
        let passed = self.passed(now);
        let aim = aim(sees.estimate) + Duration::from_secs_f64(self.unsteady);
        self.judge(sees, sees.queue > aim, passed);
        if sees.queue > aim {
            // Without a sign that the queue really stands, what arrives says nothing about the link.
            let base = match sees.stands() {
                true => sees.busy.or(sees.acknowledged),
                false => Some(sees.estimate),
            };
            let Some(base) = base else {
                return sees.estimate;
            };
            if !self.falling {
                self.falling = true;
                self.fell_from = Some(base);
            }
            let time = DRAIN.max(sees.shortest * DRAIN_ROUND_TRIPS);
            let share = 1.0 - (sees.queue - aim).as_secs_f64() / time.as_secs_f64();
            let law = base.scale(share.max(LEAST_SHARE));
            // Towards the law from above at once, from below no faster than the rate rises anyway.
            let most = sees.estimate.scale(1.0 + BELOW_RISE * passed);
            return law.min(most);
        }
        self.falling = false;
        let part = sees
            .capacity
            .map(|capacity| sees.estimate.as_f64() / capacity.as_f64().max(1.0));
        let speed = match part {
            Some(part) if part < NEAR.0 => BELOW_RISE * sees.estimate.as_f64(),
            Some(part) if part < NEAR.1 => NEAR_RISE,
            _ => FREE_RISE,
        };
        let room = 1.0 - sees.queue.as_secs_f64() / aim.as_secs_f64();
        let more = Bitrate::from_bps((speed * room * passed) as u64);
        self.proven(sees, sees.estimate + more)
    }

    /// A queue that is empty time and again is not ours.
    fn judge(&mut self, sees: &Sees, seems: bool, passed: f64) {
        let change = match seems && sees.busy_for < STANDS {
            true => UNSTEADY_UP,
            false => -UNSTEADY_DOWN,
        };
        self.unsteady = (self.unsteady + change * passed).clamp(0.0, UNSTEADY_MOST);
    }

    /// Returns the estimate while others fill the queue: a packet more each round trip, less after
    /// losses (TCP's additive increase and multiplicative decrease, RFC 5681).
    pub(crate) fn against_others(&mut self, now: Instant, sees: &Sees, lost: bool) -> Bitrate {
        let passed = self.passed(now);
        self.falling = false;
        let round_trip = sees.round_trip.max(Duration::from_millis(20));
        if lost {
            let again = self
                .last_loss
                .is_some_and(|at| now.saturating_duration_since(at) < round_trip * 2);
            if !again {
                self.last_loss = Some(now);
                return sees.estimate.scale(AFTER_LOSS);
            }
            return sees.estimate;
        }
        let a_round_trip = SEGMENT / round_trip;
        let more = a_round_trip.as_f64() * passed / round_trip.as_secs_f64();
        let raised = sees.estimate + Bitrate::from_bps(more as u64);
        self.proven(sees, raised)
    }

    /// Others fill the queue from now on.
    pub(crate) fn compete(&mut self, now: Instant) {
        self.falling = false;
        self.last_loss = Some(now);
    }

    /// Tells whether the rate is being lowered because a queue stands.
    pub(crate) fn falling(&self) -> bool {
        self.falling
    }

    /// Tells whether clearly less is sent than came through when the queue began to stand.
    pub(crate) fn yielding(&self, sees: &Sees) -> bool {
        self.falling
            && self
                .fell_from
                .is_some_and(|from| sees.estimate < from.scale(0.9))
    }

    fn proven(&self, sees: &Sees, raised: Bitrate) -> Bitrate {
        let Some(acknowledged) = sees.acknowledged else {
            return sees.estimate;
        };
        let proven = acknowledged.scale(PROVEN) + PROVEN_MORE;
        raised.min(proven).max(sees.estimate)
    }

    fn passed(&mut self, now: Instant) -> f64 {
        let passed = self
            .last
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.last = Some(now);
        passed.as_secs_f64().min(0.2)
    }
}
