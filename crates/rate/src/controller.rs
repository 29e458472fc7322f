//! The pipeline: feedback in, estimate out. `lib.rs` draws it; each stage is a file.

use std::time::{Duration, Instant};

use crate::{
    Bitrate, DataSize, PacketResult, Plan, Probe,
    acknowledged::Acknowledged,
    application::Application,
    capacity::Capacity,
    competition::{Competition, Finding},
    delay::{self, Delay},
    grouping::Grouping,
    in_flight::InFlight,
    loss::Loss,
    probing::{Probing, Situation},
    queue::{EMPTY, Queue},
    trendline::{Trendline, Usage},
};

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

/// How much faster than the estimate packets leave: pictures differ in size, and wait for each
/// other no longer than they must. More would make a queue in the network of what waits here.
const PACE: f64 = 1.5;
/// The pace never goes below this, or one packet would take long.
const SLOWEST: Bitrate = Bitrate::from_kbps(100);
/// Without feedback for this long, while packets leave, the rate is halved.
const SILENCE: Duration = Duration::from_secs(1);
/// The share of what was sent before a silence with which it goes on afterwards.
const AFTER_SILENCE: f64 = 0.7;
/// The time over which the acknowledged rate is taken where the queue is empty.
const ACKNOWLEDGED: Duration = Duration::from_millis(500);
/// The newest packets waited so much longer than is aimed at: no burst of ours, the link has become
/// slower.
const JUMP: Duration = Duration::from_millis(30);
/// The weight of a new measurement of how unsteady delays are; feedback comes 40 times a second.
const NOISE_WEIGHT: f64 = 0.01;
/// The most that one probe adds at first once the capacity was found: what it shows is what passed
/// in a moment when others may have been silent. Doubled as long as the queue stays empty.
const STEP: Bitrate = Bitrate::from_kbps(300);
/// The share of the capacity that is sent for good.
const SUSTAINED: f64 = 0.9;
/// Loss that is more than random: no probes.
const MUCH_LOSS: f64 = 0.25;

/// Feedback in, estimate out. See the crate's page for the algorithm.
#[derive(Debug)]
pub struct Controller {
    limits: Limits,
    estimate: Bitrate,
    wanted: Bitrate,
    grouping: Grouping,
    trendline: Trendline,
    queue: Queue,
    acknowledged: Acknowledged,
    application: Application,
    capacity: Capacity,
    in_flight: InFlight,
    loss: Loss,
    delay: Delay,
    competition: Competition,
    probing: Probing,
    /// Whether the link was ever full, and what the next probe may add since.
    found: bool,
    step: Bitrate,
    last_feedback: Option<Instant>,
    last_sent: Option<Instant>,
    /// When silence is next acted upon, and what the estimate was before.
    silence: Option<Instant>,
    before_silence: Option<Bitrate>,
    /// Since when the standing queue has been empty.
    empty_since: Option<Instant>,
    /// How far the newest delay is from the standing one on average, in seconds.
    unsteady: f64,
}

impl Controller {
    /// Makes a controller that has seen nothing yet.
    pub fn new(limits: Limits) -> Self {
        let start = limits.start.clamp(limits.floor, limits.ceiling);
        Self {
            limits,
            estimate: start,
            wanted: limits.ceiling,
            grouping: Grouping::default(),
            trendline: Trendline::default(),
            queue: Queue::default(),
            acknowledged: Acknowledged::default(),
            application: Application::default(),
            capacity: Capacity::default(),
            in_flight: InFlight::default(),
            loss: Loss::default(),
            delay: Delay::default(),
            competition: Competition::default(),
            probing: Probing::new(start),
            found: false,
            step: STEP,
            last_feedback: None,
            last_sent: None,
            silence: None,
            before_silence: None,
            empty_since: None,
            unsteady: 0.0,
        }
    }

    /// Learns what the application has use for at most, everything counted (headers, sound, what is
    /// sent again): nothing is probed beyond it.
    pub fn set_wanted(&mut self, wanted: Bitrate) {
        self.wanted = wanted.clamp(self.limits.floor, self.limits.ceiling);
    }

    /// Learns that a packet left.
    pub fn handle_sent(&mut self, now: Instant, size: DataSize) {
        self.application.push(now, size);
        self.in_flight.push(now, size);
        self.last_sent = Some(now);
        self.silence.get_or_insert(now + SILENCE);
    }

    /// Takes in what became of packets, in the order they were sent.
    pub fn handle_feedback(&mut self, now: Instant, packets: &[PacketResult]) {
        let Some(newest) = packets.iter().map(|packet| packet.departure).max() else {
            return;
        };
        self.last_feedback = Some(now);
        let mut oldest = None;
        for packet in packets {
            self.loss
                .push(packet.departure, packet.size, packet.arrival.is_none());
            if let Some(arrival) = packet.arrival {
                let waited = self.queue.push(packet.departure, arrival);
                oldest.get_or_insert((packet.departure, waited));
                self.acknowledged.push(arrival, packet.size, waited);
                if let Some(variation) = self.grouping.push(packet.departure, arrival) {
                    self.trendline.push(variation);
                }
            }
        }
        if let Some(oldest) = oldest {
            self.in_flight.acknowledge(now, newest, oldest);
        }
        self.silence = self.in_flight.oldest().map(|_| now + SILENCE);
        match self.before_silence.take() {
            Some(before) => self.set(before.scale(AFTER_SILENCE).max(self.estimate)),
            None => self.update(now, packets),
        }
    }

    /// Lowers the estimate when feedback stopped coming although packets leave. Where none leaves any
    /// more there is nothing to be told of: if the last ones were lost, that is never known.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.silence.is_some_and(|due| now >= due) {
            if (self.last_sent).is_none_or(|at| now.saturating_duration_since(at) >= SILENCE) {
                self.silence = None;
                return;
            }
            self.before_silence.get_or_insert(self.estimate);
            self.silence = Some(now + SILENCE);
            self.set(self.estimate.scale(0.5));
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.silence
    }

    /// Returns the next probe to send, if it is time for one. To be called when packets begin to
    /// leave, and after each feedback.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        let limited = self.application.limited(now, self.estimate);
        let silent = self
            .silence
            .is_some_and(|due| due <= now + SILENCE / 2 && self.last_feedback.is_some());
        let situation = Situation {
            estimate: self.estimate,
            wanted: self.wanted,
            empty_for: self
                .empty_since
                .map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
            limited,
            troubled: silent
                || self.congested()
                || self.competition.others()
                || self.loss.bound().is_some()
                || self.loss().is_some_and(|loss| loss > MUCH_LOSS),
        };
        self.probing.poll(now, &situation)
    }

    /// Returns how packets may leave now.
    pub fn plan(&self) -> Plan {
        let queue = match self.competition.others() {
            true => self.queue.standing().max(self.queue.newest()) + delay::MOST_AIM,
            false => delay::aim(self.estimate),
        };
        Plan {
            estimate: self.estimate,
            pace: match self.delay.falling() {
                true => self.estimate,
                false => self.estimate.scale(PACE),
            }
            .max(SLOWEST),
            window: self.in_flight.window(self.estimate, queue),
            in_flight: self.in_flight.size(),
            congested: self.congested(),
        }
    }

    /// Returns what the network is believed to carry.
    pub fn estimate(&self) -> Bitrate {
        self.estimate
    }

    /// Returns what can be sent for good: while a queue drains the estimate is lower than that for a
    /// moment, which is no reason to change to another size of picture.
    pub fn sustained(&self) -> Bitrate {
        match self.capacity.get() {
            Some(capacity) if self.delay.falling() => self.estimate.max(capacity.scale(SUSTAINED)),
            _ => self.estimate,
        }
    }

    /// Returns how long a packet waits in the standing queue.
    pub fn queue_delay(&self) -> Duration {
        self.queue.standing()
    }

    /// Returns the share of packets lost lately, once enough were sent to tell.
    pub fn loss(&self) -> Option<f64> {
        self.loss.lately()
    }

    /// Returns the rate at which packets arrived lately.
    pub fn acknowledged(&self) -> Option<Bitrate> {
        self.acknowledged.rate(ACKNOWLEDGED)
    }

    /// Returns the time between a packet's departure and the feedback that speaks of it, lately.
    pub fn round_trip(&self) -> Option<Duration> {
        self.in_flight.round_trip()
    }

    /// Tells whether too much is sent: a queue stands, or packets are lost because they are too many.
    pub fn congested(&self) -> bool {
        self.delay.falling() || self.loss.bound().is_some_and(|bound| bound < self.estimate)
    }

    /// Tells whether the queue is filled by others, so that delay says nothing about our rate.
    pub fn competing(&self) -> bool {
        self.competition.others()
    }

    /// Begins afresh: packets travel another way now, or again after a pause.
    pub fn path_changed(&mut self) {
        let wanted = self.wanted;
        *self = Self::new(self.limits);
        self.wanted = wanted;
    }

    fn update(&mut self, now: Instant, packets: &[PacketResult]) {
        let standing = self.queue.standing();
        let over = self.trendline.usage() == Usage::Over;
        let carried = self.probing.handle_feedback(packets);
        let newest = self.queue.newest();
        let apart = newest.abs_diff(standing).as_secs_f64();
        self.unsteady += NOISE_WEIGHT * (apart - self.unsteady);
        let jump = JUMP.max(Duration::from_secs_f64(self.unsteady) * 4);
        let jumped = newest > delay::aim(self.estimate) + jump;
        let queue = match over || jumped {
            true => standing.max(newest),
            false => standing,
        };
        let sees = delay::Sees {
            estimate: self.estimate,
            queue,
            busy: self.acknowledged.busy(EMPTY, over || jumped),
            busy_for: self.acknowledged.busy_for(EMPTY),
            grows: over || jumped,
            acknowledged: self.acknowledged(),
            capacity: self.capacity.get(),
            round_trip: self.in_flight.round_trip().unwrap_or(delay::UNKNOWN),
            shortest: self.in_flight.shortest().unwrap_or(delay::UNKNOWN),
        };
        match sees.stands() {
            true => self.empty_since.insert(now),
            false => self.empty_since.get_or_insert(now),
        };
        let yielding = self.delay.yielding(&sees);
        match self.competition.update(now, standing, yielding) {
            Finding::Nothing => {}
            Finding::LongerPath => self.queue.rebase(),
            Finding::Others => {
                let share = self.capacity.get().unwrap_or(self.estimate).scale(0.3);
                self.set(self.estimate.max(share));
                self.delay.compete(now);
            }
            Finding::Alone => self.delay = Delay::default(),
        }
        let lost = packets.iter().any(|packet| packet.arrival.is_none());
        let estimate = match self.competition.others() {
            true => self.delay.against_others(now, &sees, lost),
            false => self.delay.update(now, &sees),
        };
        if self.delay.falling() && sees.stands() {
            self.probing.give_up();
            self.found = true;
            self.step = STEP;
            if let Some(busy) = sees.busy.filter(|_| sees.stands()) {
                self.capacity.measured(busy);
            }
        }
        self.loss
            .update(queue > delay::aim(self.estimate) * 2 || self.competition.others());
        self.set(estimate);
        if let Some(carried) = carried.filter(|_| !self.delay.falling()) {
            self.capacity.exceeded(carried);
            let most = match self.found {
                true => self.estimate + self.step,
                false => carried,
            };
            self.step = self.step + self.step;
            self.set(self.estimate.max(carried.min(most)));
        }
        if let Some(bound) = self.loss.bound() {
            self.set(self.estimate.min(bound));
        }
    }

    fn set(&mut self, estimate: Bitrate) {
        self.estimate = estimate.clamp(self.limits.floor, self.limits.ceiling);
    }
}
