//! A TCP flow: Reno (RFC 5681) or Cubic (RFC 9438), with selective acknowledgements.
//!
//! Losses are seen as gaps of three packets (RFC 6675) or by a timeout (RFC 6298). The slow start
//! of Cubic ends at the first loss or when the round trip has risen (HyStart).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nonstop_netem::Random;

use super::packet::{Body, FlowId, Packet};

const SEGMENT_BYTES: usize = 1_500;
const SEGMENT_PAYLOAD: f64 = 1_448.0;
const ACK_BYTES: usize = 64;
/// Constants of Cubic (RFC 9438 section 4).
const CUBIC_C: f64 = 0.4;
const CUBIC_BETA: f64 = 0.7;
const INITIAL_WINDOW: f64 = 10.0;
/// The shortest timeout (Linux).
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);

/// Which control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Law {
    Reno,
    Cubic,
}

/// What the flow has to send.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// As much as goes, from the first time to the second.
    Long(Duration, Duration),
    /// Files of 100 kB to 1 MB, with pauses of 10 s in the mean (RFC 8867 section 5.7).
    Short,
}

#[derive(Debug)]
pub(crate) struct Tcp {
    flow: FlowId,
    law: Law,
    work: Work,
    random: Random,
    /// Segments of the file that are not sent yet; `None` between two files.
    left: Option<u64>,
    next_file: Duration,
    window: f64,
    threshold: f64,
    most_before: f64,
    epoch: Option<Duration>,
    next: u64,
    in_flight: BTreeMap<u64, Duration>,
    again: BTreeSet<u64>,
    /// Until this is acknowledged, another loss is the same event.
    recovery: u64,
    shortest: Option<Duration>,
    smoothed: Duration,
    variation: Duration,
    timeout: Option<Duration>,
    backoff: u32,
    expected: u64,
    came: BTreeSet<u64>,
    pub(crate) delivered: u64,
}

impl Tcp {
    pub(crate) fn new(flow: FlowId, law: Law, work: Work, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let next_file = match work {
            Work::Long(start, _) => start,
            Work::Short => pause(&mut random),
        };
        Self {
            flow,
            law,
            work,
            random,
            left: None,
            next_file,
            window: INITIAL_WINDOW,
            threshold: f64::INFINITY,
            most_before: 0.0,
            epoch: None,
            next: 0,
            in_flight: BTreeMap::new(),
            again: BTreeSet::new(),
            recovery: 0,
            shortest: None,
            smoothed: Duration::from_millis(200),
            variation: Duration::from_millis(100),
            timeout: None,
            backoff: 0,
            expected: 0,
            came: BTreeSet::new(),
            delivered: 0,
        }
    }

    pub(crate) fn next_event(&self) -> Duration {
        let timeout = self.timeout.unwrap_or(Duration::MAX);
        match self.left {
            None => self.next_file.min(timeout),
            Some(_) => timeout,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration, out: &mut Vec<Packet>) {
        if self.left.is_none() && self.next_file <= now {
            self.begin();
        }
        if self.timeout.is_some_and(|at| at <= now) {
            self.threshold = (self.window * self.beta()).max(2.0);
            self.most_before = self.window;
            self.window = 1.0;
            self.epoch = None;
            self.again.extend(self.in_flight.keys());
            self.in_flight.clear();
            self.recovery = self.next;
            self.backoff = (self.backoff + 1).min(6);
        }
        self.send(now, out);
    }

    /// Takes in an acknowledgement at the sender, or a segment at the receiver.
    pub(crate) fn receive(&mut self, now: Duration, packet: Packet, out: &mut Vec<Packet>) {
        match packet.body {
            Body::Segment { number, sent } => self.segment(number, sent, out),
            Body::Ack { next, one, sent } => {
                self.acknowledged(now, next, one, sent);
                self.send(now, out);
            }
            _ => {}
        }
    }

    fn segment(&mut self, number: u64, sent: Duration, out: &mut Vec<Packet>) {
        if number >= self.expected && self.came.insert(number) {
            self.delivered += SEGMENT_BYTES as u64;
        }
        while self.came.remove(&self.expected) {
            self.expected += 1;
        }
        out.push(Packet {
            flow: self.flow,
            forward: false,
            hop: 0,
            bytes: ACK_BYTES,
            body: Body::Ack {
                next: self.expected,
                one: number,
                sent,
            },
        });
    }

    fn acknowledged(&mut self, now: Duration, next: u64, one: u64, sent: Duration) {
        let before = self.in_flight.len();
        self.in_flight = self.in_flight.split_off(&next);
        self.again = self.again.split_off(&next);
        self.in_flight.remove(&one);
        self.again.remove(&one);
        let new = before - self.in_flight.len();
        self.measure(now.saturating_sub(sent));
        self.backoff = 0;
        // A packet is lost when three sent after it have come.
        let lost: Vec<u64> = (self.in_flight.iter())
            .take_while(|(number, _)| **number + 3 <= one)
            .filter(|(_, at)| **at < sent)
            .map(|(number, _)| *number)
            .collect();
        for number in &lost {
            self.in_flight.remove(number);
            self.again.insert(*number);
        }
        if lost.iter().any(|number| *number >= self.recovery) {
            self.recovery = self.next;
            // Fast convergence (RFC 9438 section 4.7).
            self.most_before = match self.window < self.most_before {
                true => self.window * (1.0 + CUBIC_BETA) / 2.0,
                false => self.window,
            };
            self.window = (self.window * self.beta()).max(2.0);
            self.threshold = self.window;
            self.epoch = None;
        } else if one >= self.recovery {
            self.grow(now, new as f64);
        }
        self.timeout = (!self.in_flight.is_empty()).then(|| now + self.patience());
        self.finish(now);
    }

    fn grow(&mut self, now: Duration, new: f64) {
        if self.window < self.threshold {
            self.window += new;
            let base = self.shortest.unwrap_or_default();
            let rise = (base / 8).clamp(Duration::from_millis(4), Duration::from_millis(16));
            if self.law == Law::Cubic && self.window >= 16.0 && self.smoothed > base + rise {
                self.threshold = self.window;
            }
            return;
        }
        if self.law == Law::Reno {
            self.window += new / self.window;
            return;
        }
        let epoch = *self.epoch.get_or_insert(now);
        self.most_before = self.most_before.max(1.0);
        let round_trip = self.smoothed.as_secs_f64();
        let elapsed = (now - epoch).as_secs_f64();
        let start = self.threshold.min(self.most_before);
        let turn = ((self.most_before - start) / CUBIC_C).cbrt();
        let cubic = |time: f64| CUBIC_C * (time - turn).powi(3) + self.most_before;
        // As fast as Reno at least (RFC 9438 section 4.3).
        let friendly = 3.0 * (1.0 - CUBIC_BETA) / (1.0 + CUBIC_BETA) * elapsed / round_trip + start;
        let target = cubic(elapsed + round_trip).clamp(self.window, 1.5 * self.window);
        self.window += new * (target - self.window) / self.window;
        self.window = self.window.max(friendly);
    }

    fn send(&mut self, now: Duration, out: &mut Vec<Packet>) {
        while (self.in_flight.len() as f64) < self.window {
            let number = match self.again.pop_first() {
                Some(number) => number,
                None => {
                    let Some(left) = self.left.filter(|left| *left > 0 && self.open(now)) else {
                        break;
                    };
                    self.left = Some(left - 1);
                    self.next += 1;
                    self.next - 1
                }
            };
            self.in_flight.insert(number, now);
            out.push(Packet {
                flow: self.flow,
                forward: true,
                hop: 0,
                bytes: SEGMENT_BYTES,
                body: Body::Segment { number, sent: now },
            });
        }
        let stale = self.timeout.is_none_or(|at| at <= now);
        if stale {
            self.timeout = (!self.in_flight.is_empty()).then(|| now + self.patience());
        }
    }

    fn open(&self, now: Duration) -> bool {
        match self.work {
            Work::Long(_, stop) => now < stop,
            Work::Short => true,
        }
    }

    fn begin(&mut self) {
        self.left = Some(match self.work {
            Work::Long(..) => u64::MAX,
            Work::Short => {
                let bytes = 100e3 + 900e3 * self.random.uniform();
                (bytes / SEGMENT_PAYLOAD) as u64
            }
        });
        // Each file is a connection of its own.
        self.window = INITIAL_WINDOW;
        self.threshold = f64::INFINITY;
        self.most_before = 0.0;
        self.epoch = None;
    }

    fn finish(&mut self, now: Duration) {
        if self.left == Some(0) && self.in_flight.is_empty() && self.again.is_empty() {
            self.left = None;
            self.next_file = now + pause(&mut self.random);
        }
    }

    fn beta(&self) -> f64 {
        match self.law {
            Law::Reno => 0.5,
            Law::Cubic => CUBIC_BETA,
        }
    }

    fn measure(&mut self, round_trip: Duration) {
        if self.shortest.is_none() {
            self.smoothed = round_trip;
            self.variation = round_trip / 2;
        }
        self.shortest = Some(
            self.shortest
                .map_or(round_trip, |least| least.min(round_trip)),
        );
        let error = self.smoothed.abs_diff(round_trip);
        self.variation = (self.variation * 3 + error) / 4;
        self.smoothed = (self.smoothed * 7 + round_trip) / 8;
    }

    fn patience(&self) -> Duration {
        let patience = (self.smoothed + self.variation * 4).max(LEAST_TIMEOUT);
        patience * 2u32.pow(self.backoff)
    }
}

fn pause(random: &mut Random) -> Duration {
    Duration::from_secs_f64(-10.0 * (1.0 - random.uniform()).ln())
}
