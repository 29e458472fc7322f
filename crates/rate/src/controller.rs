//! A plain delay and loss controller.
//!
//! It raises the estimate while the way is free and what is sent comes near it, and falls to
//! a part of what was acknowledged when a queue stands or much is lost.
//!
//! ```text
//! queue stands ──▶ 0.85 × acknowledged, then wait for the queue to drain
//! loss > 10 % ───▶ × (1 − loss / 2)
//! otherwise ─────▶ × 1.5 a second until the first fall, × 1.08 after, at most 1.5 × acknowledged
//! ```
//!
//! The thresholds are those of Google congestion control (draft-ietf-rmcat-gcc-02) where it
//! has them; the standing queue takes the place of its arrival-time filter.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{Bitrate, DataSize, PacketResult, queue::Queue};

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
            start: Bitrate::from_kbps(600),
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
const FAST_RISE: f64 = 0.5;
/// Rise a second after that.
const SLOW_RISE: f64 = 0.08;
/// Over how long the acknowledged rate and the loss are measured.
const RATE_WINDOW: Duration = Duration::from_millis(600);
const LOSS_WINDOW: Duration = Duration::from_millis(1_500);
/// Two falls are at least this far apart: the first must have reached the receiver and come back.
const FALL_PAUSE: Duration = Duration::from_millis(400);
/// Without feedback for this long, while packets leave, the rate is halved.
const SILENCE: Duration = Duration::from_secs(1);
/// What the estimate may exceed 1.5 times the acknowledged rate by, so that a quiet sender can start.
const HEADROOM: Bitrate = Bitrate::from_kbps(100);

/// Feedback in, estimate out. See the module for the algorithm.
#[derive(Debug)]
pub struct Controller {
    limits: Limits,
    estimate: Bitrate,
    queue: Queue,
    /// Arrived packets (receiver's clock) of the rate window.
    arrived: VecDeque<(Duration, DataSize)>,
    /// Fate of each packet of the loss window.
    fates: VecDeque<(Instant, bool)>,
    touched_capacity: bool,
    last_rise: Option<Instant>,
    last_fall: Option<Instant>,
    last_feedback: Option<Instant>,
}

impl Controller {
    /// Makes a controller that has seen nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            estimate: limits.start.clamp(limits.floor, limits.ceiling),
            queue: Queue::default(),
            arrived: VecDeque::new(),
            fates: VecDeque::new(),
            touched_capacity: false,
            last_rise: None,
            last_fall: None,
            last_feedback: None,
        }
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

    /// Lowers the estimate when feedback stopped coming although packets leave.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| now >= due) {
            self.last_feedback = Some(now);
            self.set(self.estimate.scale(0.5));
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

    /// Forgets the delays: packets travel another way now. The estimate is kept to start from.
    pub fn path_changed(&mut self) {
        self.queue.reset();
        self.touched_capacity = false;
    }

    fn update(&mut self, now: Instant) {
        let may_fall = self
            .last_fall
            .is_none_or(|at| now.saturating_duration_since(at) >= FALL_PAUSE);
        let standing = self.queue.standing();
        let loss = self.loss().unwrap_or(0.0);
        if standing > QUEUE_LIMIT {
            if may_fall && let Some(acknowledged) = self.acknowledged() {
                // A long queue must drain, not merely stop growing.
                let drain = DECREASE - (standing.as_secs_f64() / 2.0).min(0.35);
                self.fall(now, acknowledged.scale(drain));
            }
        } else if loss > HIGH_LOSS {
            if may_fall {
                self.fall(now, self.estimate.scale(1.0 - loss / 2.0));
            }
        } else {
            self.rise(now, if loss > LOW_LOSS { SLOW_RISE / 2.0 } else { self.pace() });
            return;
        }
        self.last_rise = Some(now);
    }

    fn pace(&self) -> f64 {
        if self.touched_capacity { SLOW_RISE } else { FAST_RISE }
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

    fn fall(&mut self, now: Instant, to: Bitrate) {
        self.touched_capacity = true;
        self.last_fall = Some(now);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A link in simulated time: a rate, a queue, a delay, and a sender that follows the estimate.
    struct Simulation {
        controller: Controller,
        start: Instant,
        now: Duration,
        capacity: Bitrate,
        busy_until: Duration,
        /// Every n-th packet is lost; zero means none.
        lose_every: u64,
        sent: u64,
        send_at_most: Bitrate,
        worst_queue: Duration,
    }

    impl Simulation {
        fn new(capacity: Bitrate) -> Self {
            Self {
                controller: Controller::new(Limits::default()),
                start: Instant::now(),
                now: Duration::ZERO,
                capacity,
                busy_until: Duration::ZERO,
                lose_every: 0,
                sent: 0,
                send_at_most: Bitrate::from_kbps(100_000),
                worst_queue: Duration::ZERO,
            }
        }

        /// Frames every 40 ms, feedback every 100 ms, 20 ms of way, at most a second of queue.
        fn run(&mut self, time: Duration) -> Bitrate {
            let end = self.now + time;
            let mut waiting = Vec::new();
            let mut next_feedback = self.now + Duration::from_millis(100);
            self.worst_queue = Duration::ZERO;
            while self.now < end {
                let rate = self.controller.estimate().min(self.send_at_most);
                let mut frame = (rate * Duration::from_millis(40)).bytes();
                while frame > 0 {
                    let size = DataSize::from_bytes(frame.min(1200));
                    frame -= size.bytes();
                    waiting.push(self.send(size));
                }
                self.now += Duration::from_millis(40);
                if self.now >= next_feedback {
                    next_feedback += Duration::from_millis(100);
                    let (arrived, still): (Vec<_>, Vec<_>) = waiting
                        .drain(..)
                        .partition(|packet| packet.arrival.is_none_or(|at| at <= self.now));
                    waiting = still;
                    self.controller.handle_feedback(self.start + self.now, &arrived);
                }
            }
            self.controller.estimate()
        }

        fn send(&mut self, size: DataSize) -> PacketResult {
            self.sent += 1;
            let begin = self.busy_until.max(self.now);
            let queue = begin - self.now;
            self.worst_queue = self.worst_queue.max(queue);
            let lost = self.lose_every > 0 && self.sent.is_multiple_of(self.lose_every)
                || queue > Duration::from_secs(1);
            if !lost {
                self.busy_until = begin + size / self.capacity;
            }
            PacketResult {
                departure: self.start + self.now,
                arrival: (!lost).then(|| self.busy_until + Duration::from_millis(20)),
                size,
            }
        }
    }

    #[test]
    fn a_wide_link_is_filled_within_seconds() {
        let mut link = Simulation::new(Bitrate::from_kbps(3_000));
        let estimate = link.run(Duration::from_secs(8));
        assert!(estimate > Bitrate::from_kbps(2_000), "{estimate}");
        assert!(link.worst_queue < Duration::from_millis(600), "{:?}", link.worst_queue);
    }

    #[test]
    fn a_narrow_link_is_not_flooded_for_long() {
        let mut link = Simulation::new(Bitrate::from_kbps(200));
        link.run(Duration::from_secs(5));
        let estimate = link.run(Duration::from_secs(10));
        assert!(estimate < Bitrate::from_kbps(230), "{estimate}");
        assert!(estimate > Bitrate::from_kbps(110), "{estimate}");
        assert!(link.worst_queue < Duration::from_millis(300), "{:?}", link.worst_queue);
    }

    #[test]
    fn a_link_that_narrows_and_widens_is_followed() {
        let mut link = Simulation::new(Bitrate::from_kbps(3_000));
        link.run(Duration::from_secs(10));
        link.capacity = Bitrate::from_kbps(600);
        link.run(Duration::from_secs(4));
        let estimate = link.run(Duration::from_secs(4));
        assert!(estimate < Bitrate::from_kbps(660), "{estimate}");
        assert!(link.worst_queue < Duration::from_millis(300), "{:?}", link.worst_queue);
        link.capacity = Bitrate::from_kbps(3_000);
        let later = link.run(Duration::from_secs(10));
        assert!(later > estimate.scale(1.5), "{later}");
    }

    #[test]
    fn what_is_not_sent_does_not_raise_the_estimate() {
        let mut link = Simulation::new(Bitrate::from_kbps(3_000));
        link.send_at_most = Bitrate::from_kbps(100);
        let estimate = link.run(Duration::from_secs(20));
        assert!(estimate <= Bitrate::from_kbps(600), "{estimate}");
    }

    #[test]
    fn heavy_loss_lowers_and_light_loss_does_not() {
        let mut link = Simulation::new(Bitrate::from_kbps(10_000));
        link.lose_every = 50;
        let light = link.run(Duration::from_secs(5));
        assert!(light >= Bitrate::from_kbps(600), "{light}");
        link.lose_every = 4;
        let heavy = link.run(Duration::from_secs(5));
        assert!(heavy < light.scale(0.5), "{heavy}");
        assert!(heavy >= Limits::default().floor);
    }

    #[test]
    fn silence_halves_the_rate_each_second_down_to_the_floor() {
        let mut link = Simulation::new(Bitrate::from_kbps(3_000));
        let before = link.run(Duration::from_secs(5));
        let mut now = link.start + link.now;
        for _ in 0..2 {
            now += Duration::from_millis(1_100);
            link.controller.handle_timeout(now);
        }
        assert!(link.controller.estimate() <= before.scale(0.26));
        for _ in 0..20 {
            now += Duration::from_millis(1_100);
            link.controller.handle_timeout(now);
        }
        assert_eq!(link.controller.estimate(), Limits::default().floor);
        assert_eq!(link.controller.poll_timeout(), None);
    }
}
