//! Probing: short bursts at a higher rate, to learn quickly what the network carries.
//!
//! ```text
//! start ─────────▶ 3 × start, then twice what came through, until it is enough or too much
//! queue empty ───▶ 1.6 ×, every 1 to 2 s: was the capacity raised, or have we backed off too far?
//! application ───▶ 2 ×, every 5 s while less is sent than could be
//! ```
//! A burst of 15 ms at 1.6 times the capacity makes a queue of 9 ms: cheap enough to ask often.

use std::time::{Duration, Instant};

use crate::{Bitrate, DataSize, PacketResult, Probe, ProbeId};

/// How long a probe lasts at its rate (libwebrtc), and its fewest packets (libwebrtc).
const LENGTH: Duration = Duration::from_millis(15);
const FEWEST: u32 = 5;
/// The smallest probe: packets large enough to outweigh their headers.
const LEAST: DataSize = DataSize::from_bytes(1_500);
/// The first probe, in terms of where the estimate starts (libwebrtc).
const FIRST: f64 = 3.0;
/// The next probe after one that came through.
const AGAIN: f64 = 2.0;
/// A probe that asks whether there is more.
const MORE: f64 = 1.6;
/// What must come through of a probe for the next to follow at once.
const THROUGH: f64 = 0.7;
/// How long the queue must have been empty before asking for more.
pub(crate) const EMPTY_FOR: Duration = Duration::from_millis(500);
/// Pauses between probes that ask for more: doubled by failure.
const LEAST_PAUSE: Duration = Duration::from_millis(1_000);
const MOST_PAUSE: Duration = Duration::from_millis(2_000);
/// The pause between probes while less is sent than could be (libwebrtc's application-limited
/// probing).
const LIMITED_PAUSE: Duration = Duration::from_secs(5);
/// A probe of which nothing more is heard for so long is judged by what is known.
const PATIENCE: Duration = Duration::from_millis(800);
/// Less than this share of the rate at which it left means that the network was full.
const FULL: f64 = 0.9;
/// What is taken of a rate that filled the network: the burst came on top of what is sent anyway.
const BACK_OFF: f64 = 0.95;

/// What decides about probes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    pub(crate) estimate: Bitrate,
    /// What the application has use for.
    pub(crate) wanted: Bitrate,
    /// For how long the queue has been empty.
    pub(crate) empty_for: Duration,
    /// Whether less is sent than the estimate allows.
    pub(crate) limited: bool,
    /// Whether there is any reason against sending more.
    pub(crate) troubled: bool,
}

#[derive(Debug)]
struct Cluster {
    probe: Probe,
    since: Instant,
    /// Departure, arrival and size of what arrived, and the bytes that were reported at all.
    arrived: Vec<(Instant, Duration, DataSize)>,
    reported: DataSize,
}

/// Decides when to probe, and judges what came of it.
#[derive(Debug)]
pub(crate) struct Probing {
    next: u32,
    first: Option<Bitrate>,
    follow: Option<Bitrate>,
    cluster: Option<Cluster>,
    last: Option<Instant>,
    pause: Duration,
}

impl Probing {
    /// Begins with a probe above the rate at which the estimate starts.
    pub(crate) fn new(start: Bitrate) -> Self {
        Self {
            next: 0,
            first: Some(start.scale(FIRST)),
            follow: None,
            cluster: None,
            last: None,
            pause: LEAST_PAUSE,
        }
    }

    /// Returns the next probe, if it is time for one.
    pub(crate) fn poll(&mut self, now: Instant, situation: &Situation) -> Option<Probe> {
        if (self.cluster.as_ref())
            .is_some_and(|cluster| now.saturating_duration_since(cluster.since) > PATIENCE)
        {
            self.cluster = None;
        }
        if self.cluster.is_some() || situation.troubled {
            return None;
        }
        // Beyond what is wanted, a little: or what is wanted would be the most that is ever known.
        let most = situation.wanted.scale(1.05);
        if situation.estimate.scale(1.02) >= situation.wanted {
            self.follow = None;
            return None;
        }
        let rate = match (self.first.take(), self.follow.take()) {
            (Some(first), _) => first,
            (None, Some(follow)) => follow,
            (None, None) => self.regular(now, situation)?,
        };
        let rate = rate.min(most).max(situation.estimate.scale(1.1));
        let size = (rate * LENGTH).max(LEAST);
        let probe = Probe {
            id: ProbeId(self.next),
            rate,
            size,
            packets: FEWEST,
        };
        self.next = self.next.wrapping_add(1);
        self.last = Some(now);
        self.cluster = Some(Cluster {
            probe,
            since: now,
            arrived: Vec::new(),
            reported: DataSize::ZERO,
        });
        Some(probe)
    }

    /// Takes in what became of packets; returns the rate that a probe has shown the network to
    /// carry, once it is known.
    pub(crate) fn handle_feedback(&mut self, packets: &[PacketResult]) -> Option<Bitrate> {
        let cluster = self.cluster.as_mut()?;
        let own = |packet: &&PacketResult| packet.probe == Some(cluster.probe.id);
        for packet in packets.iter().filter(own) {
            cluster.reported += packet.size;
            if let Some(arrival) = packet.arrival {
                cluster
                    .arrived
                    .push((packet.departure, arrival, packet.size));
            }
        }
        // What left after it arrived: of the probe itself nothing more will.
        let last = cluster.arrived.iter().map(|(departure, _, _)| *departure);
        let passed = last.max().is_some_and(|last| {
            packets
                .iter()
                .any(|packet| packet.probe.is_none() && packet.departure > last)
        });
        if cluster.reported < cluster.probe.size && !passed {
            return None;
        }
        let cluster = self.cluster.take()?;
        let carried = cluster.carried();
        match carried {
            Some(carried) if carried >= cluster.probe.rate.scale(THROUGH) => {
                self.pause = LEAST_PAUSE;
                self.follow = Some(carried.scale(AGAIN));
            }
            _ => self.pause = (self.pause * 2).min(MOST_PAUSE),
        }
        carried
    }

    /// The network showed that it is full: no reason to go on from an earlier success.
    pub(crate) fn give_up(&mut self) {
        self.follow = None;
        self.first = None;
    }

    fn regular(&self, now: Instant, situation: &Situation) -> Option<Bitrate> {
        let since = self
            .last
            .map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        if situation.limited {
            return (since >= LIMITED_PAUSE).then(|| situation.estimate.scale(AGAIN));
        }
        (since >= self.pause && situation.empty_for >= EMPTY_FOR)
            .then(|| situation.estimate.scale(MORE))
    }
}

impl Cluster {
    /// The rate that came through, or nothing where too little did to tell.
    fn carried(&self) -> Option<Bitrate> {
        let size: DataSize = self.arrived.iter().map(|(_, _, size)| *size).sum();
        if self.arrived.len() < FEWEST as usize - 1 || size.bytes() * 2 < self.probe.size.bytes() {
            return None;
        }
        let first = self
            .arrived
            .iter()
            .min_by_key(|(departure, _, _)| *departure)?;
        let last = self
            .arrived
            .iter()
            .max_by_key(|(departure, _, _)| *departure)?;
        let left = last.0.saturating_duration_since(first.0);
        let earliest = self.arrived.iter().map(|(_, arrival, _)| *arrival).min()?;
        let latest = self.arrived.iter().map(|(_, arrival, _)| *arrival).max()?;
        // The last packet left at the end of the time, the first arrived at its beginning.
        let sent = (size - last.2) / left.max(Duration::from_millis(1));
        let received = (size - first.2) / (latest - earliest).max(Duration::from_millis(1));
        if received < sent.scale(FULL) {
            return Some(received.scale(BACK_OFF));
        }
        Some(sent.min(received).min(self.probe.rate.scale(1.2)))
    }
}
