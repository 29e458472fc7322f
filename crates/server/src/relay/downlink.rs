//! The way down to one participant: when what is passed on leaves, and how much the way carries.
//!
//! ```text
//! forwards ─▶ Pacer ─ release ─▶ numbered, encrypted ─▶ network
//!               ▲ plan, probes          ▼
//!               └──────── Controller ◀─ History ◀─ handle_feedback
//! ```
//! The rate control is that of the links between participants: str0m has one of its own, which is not
//! used. What is sent again leaves at once and is counted here.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_rate::{
    Bitrate, Class, Controller, DataSize, Departure, History, Limits, Pacer, Plan, ProbeId,
    ReferenceTime, copies,
};
use str0m::rtp::rtcp::Twcc;
use tracing::trace;

/// What a connection is taken to carry before anything is known of it: what the others of a mesh of
/// five begin with together. A narrower one is found out within two round trips, and what waits for it
/// meanwhile is pictures, for sound never waits.
pub(super) const FIRST_ESTIMATE: Bitrate = Bitrate::from_kbps(800);
/// How much is believed of what a participant says to receive on other ways, and its bounds.
/// It is the least that the way carries, for senders seldom fill it; and the same has to come this way
/// while it goes on there, with somebody new and redundancy in sound.
const BELIEVED: f64 = 1.75;
const LEAST_BELIEVED: Bitrate = Bitrate::from_kbps(800);
const MOST_BELIEVED: Bitrate = Bitrate::from_kbps(8_000);
/// Between what estimates are: a voice, and 49 large tiles.
const FLOOR: Bitrate = Bitrate::from_kbps(50);
const CEILING: Bitrate = Bitrate::from_kbps(20_000);
/// How long a picture waits at most. A keyframe that is dropped must be asked for again, which costs
/// everybody who watches.
const PATIENCE: Duration = Duration::from_millis(600);
/// What each packet takes on the wire besides its payload: IPv4 20, UDP 8, RTP 12, extensions 16,
/// SRTP 10.
const OVERHEAD: usize = 66;
/// Headers of IPv4 and UDP.
const PLACE_OVERHEAD: usize = 28;
/// How much faster than the estimate packets leave while nothing shows that the way is full
/// (libwebrtc's pacing factor): pictures of several people come at once, and nobody's is to wait.
const PACE: f64 = 2.5;
/// What may leave at once, in time at that pace (libwebrtc allows 40 ms).
const BURST: Duration = Duration::from_millis(20);
/// How often it is asked whether it is time for a probe, at most.
const PROBING: Duration = Duration::from_millis(20);
/// An estimate is told at once if it differs by this share, and else after a while.
const NOTABLE: f64 = 0.03;
const UNTOLD: Duration = Duration::from_millis(250);

/// A packet that waits to be passed on: what differs from the packet that came, and of that what goes
/// on.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) ssrc: u32,
    /// The sequence number, rollovers included.
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    /// When its media was taken.
    pub(super) taken: Instant,
    /// The audio level's value (RFC 6464 section 3), and the frame marking's.
    pub(super) level: Option<u8>,
    pub(super) marking: Option<u32>,
    pub(super) payload: Arc<[u8]>,
}

/// What leaves.
#[derive(Debug)]
pub(super) enum Leaving {
    /// Something that was passed on.
    Held(Held),
    /// Bytes that mean nothing, to learn whether the way carries them; packets of them are counted
    /// from 1 on.
    Padding { count: u64, bytes: usize },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Downlink {
    controller: Controller,
    pacer: Pacer<Held>,
    history: History,
    reference: ReferenceTime,
    /// The origin of the other side's clock.
    origin: Instant,
    wanted: Bitrate,
    /// Where packets go.
    target: Option<SocketAddr>,
    /// When it is next asked for a probe.
    probing: Instant,
    /// How many packets that mean nothing left.
    padded: u64,
    told: Option<(Bitrate, Instant)>,
}

impl Downlink {
    /// Begins with [`FIRST_ESTIMATE`].
    pub(super) fn new(now: Instant) -> Self {
        Self {
            controller: controller(FIRST_ESTIMATE, Bitrate::ZERO),
            pacer: Pacer::new().with_patience(PATIENCE).with_burst(BURST),
            history: History::new(),
            reference: ReferenceTime::default(),
            origin: now,
            wanted: Bitrate::ZERO,
            target: None,
            probing: now,
            padded: 0,
            told: None,
        }
    }

    /// Begins anew with what arrives at the participant on other ways, in bits a second, and more, or
    /// with what the way carried before; returns what it is believed to carry. Who says too much harms
    /// nobody else.
    pub(super) fn begin_at(&mut self, arriving: u64) -> Bitrate {
        let first = Bitrate::from_bps(arriving).scale(BELIEVED);
        let first = first.max(self.controller.estimate());
        let first = first.clamp(LEAST_BELIEVED, MOST_BELIEVED);
        self.restart(first);
        first
    }

    /// Says where packets go. The way to another place begins anew.
    pub(super) fn set_target(&mut self, to: SocketAddr) {
        if self.target.replace(to).is_some_and(|before| before != to) {
            self.restart(FIRST_ESTIMATE);
            self.history.forget();
        }
    }

    fn restart(&mut self, first: Bitrate) {
        self.controller = controller(first, self.wanted);
        self.told = None;
    }

    /// Learns what the participant has a use for: nothing is probed beyond it.
    pub(super) fn set_wanted(&mut self, wanted: Bitrate) {
        self.wanted = wanted;
        self.controller.set_wanted(wanted);
    }

    /// Takes in a packet. It is dropped where the picture refers to one that was.
    pub(super) fn push(&mut self, now: Instant, held: Held, class: Class) {
        let size = DataSize::from_bytes((held.payload.len() + OVERHEAD) as u64);
        let plan = self.plan();
        self.pacer.push(now, held, size, class, &plan);
    }

    /// Begins a probe if it is time for one; to be asked before [`release`](Self::release).
    pub(super) fn probe(&mut self, now: Instant) {
        if now < self.probing {
            return;
        }
        self.probing = now + PROBING;
        if let Some(probe) = self.controller.poll_probe(now) {
            trace!(rate = %probe.rate, size = %probe.size, "a probe of the way to a participant");
            self.pacer.start_probe(probe);
        }
    }

    /// Hands over everything that leaves now, one after the other, each with its transport-wide number.
    /// `leave` returns the length of the datagram, or `None` if it does not leave after all.
    pub(super) fn release(
        &mut self,
        now: Instant,
        mut leave: impl FnMut(Leaving, u16) -> Option<usize>,
    ) {
        let mut plan = self.plan();
        while let Some(departure) = self.pacer.poll(now, &plan) {
            let (leaving, probe) = match departure {
                Departure::Packet { packet, probe, .. } => (Leaving::Held(packet), probe),
                Departure::Padding { size, probe } => {
                    let bytes = (size.bytes() as usize).saturating_sub(OVERHEAD).max(1);
                    self.padded += 1;
                    let count = self.padded;
                    (Leaving::Padding { count, bytes }, Some(probe))
                }
            };
            if let Some(bytes) = leave(leaving, self.history.next_number()) {
                plan.in_flight += self.count(now, bytes, probe);
            }
        }
    }

    /// Returns how packets may leave.
    fn plan(&self) -> Plan {
        let mut plan = self.controller.plan();
        if !plan.congested {
            plan.pace = plan.pace.max(plan.estimate.scale(PACE));
        }
        plan
    }

    /// Returns the transport-wide number of the packet that leaves next.
    pub(super) fn next_number(&self) -> u16 {
        self.history.next_number()
    }

    /// Returns how many copies of a packet answer a row of requests.
    pub(super) fn copies(&self) -> usize {
        copies(self.controller.loss(), &self.controller.plan())
    }

    /// Returns how long it takes until the participant speaks of a packet, if anything is known of that.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.controller.round_trip()
    }

    /// Learns that a datagram leaves besides, with that number.
    pub(super) fn handle_departure(&mut self, now: Instant, bytes: usize) {
        self.count(now, bytes, None);
    }

    fn count(&mut self, now: Instant, bytes: usize, probe: Option<ProbeId>) -> DataSize {
        let size = DataSize::from_bytes((bytes + PLACE_OVERHEAD) as u64);
        self.history.handle_sent(now, size, probe);
        self.controller.handle_sent(now, size);
        size
    }

    /// Takes in what arrived at the participant.
    pub(super) fn handle_feedback(&mut self, now: Instant, feedback: Twcc) {
        // str0m adds the reference time itself, wrapped.
        let reference = Duration::from_millis(u64::from(feedback.reference_time) * 64);
        let unwrapped = self.reference.unwrap(feedback.reference_time);
        let begin = self.origin + reference;
        let statuses = feedback.into_iter(self.origin, NUMBERS.into());
        let statuses: Vec<_> = statuses
            .map(|(number, _, arrival)| {
                let arrival = arrival.map(|arrival| match arrival.checked_duration_since(begin) {
                    Some(after) => unwrapped + after,
                    None => unwrapped.saturating_sub(begin - arrival),
                });
                (*number as u16, arrival)
            })
            .collect();
        let results = self.history.handle_feedback(now, statuses);
        self.controller.handle_feedback(now, &results);
    }

    /// Does what is due besides what leaves.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.controller.poll_timeout().is_some_and(|due| due <= now) {
            self.controller.handle_timeout(now);
        }
    }

    /// Returns when this is to be looked at next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [self.pacer.poll_timeout(), self.controller.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// Returns what the way carries for good, if there is something new to tell of it.
    pub(super) fn estimate(&mut self, now: Instant) -> Option<Bitrate> {
        let estimate = self.controller.sustained();
        let new = self.told.is_none_or(|(told, at)| {
            let apart = (estimate.as_f64() - told.as_f64()).abs();
            apart > NOTABLE * told.as_f64()
                || estimate != told && now.saturating_duration_since(at) >= UNTOLD
        });
        new.then(|| {
            self.told = Some((estimate, now));
            estimate
        })
    }

    /// Tells whether pictures of a stream were dropped, so that only a keyframe is of use.
    pub(super) fn needs_keyframe(&self, stream: u16) -> bool {
        self.pacer.needs_keyframe(stream)
    }

    /// Returns how many packets were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.pacer.dropped()
    }
}

/// Where the 16 bits of a transport-wide number are counted from: any multiple of their range, high
/// enough that nothing comes before zero.
const NUMBERS: u64 = 1 << 32;

/// Makes a controller that begins at `start`, for a participant who has a use for `wanted`.
fn controller(start: Bitrate, wanted: Bitrate) -> Controller {
    let mut controller = Controller::new(Limits {
        start,
        floor: FLOOR,
        ceiling: CEILING,
    });
    controller.set_wanted(wanted);
    controller
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn held(ssrc: u32, bytes: usize) -> Held {
        Held {
            ssrc,
            sequence: 1,
            timestamp: 0,
            marker: false,
            taken: clock::now(),
            level: None,
            marking: None,
            payload: vec![0; bytes].into(),
        }
    }

    const PICTURE: Class = Class::Video {
        stream: 300,
        first: true,
        keyframe: false,
    };

    fn left(downlink: &mut Downlink, now: Instant) -> Vec<u32> {
        let mut left = Vec::new();
        downlink.release(now, |leaving, _| {
            left.push(match leaving {
                Leaving::Held(held) => held.ssrc,
                Leaving::Padding { .. } => 0,
            });
            Some(1_000)
        });
        left
    }

    #[test]
    fn sound_leaves_at_once_and_pictures_as_the_way_carries_them() {
        let start = clock::now();
        let mut downlink = Downlink::new(start);
        for _ in 0..100 {
            downlink.push(start, held(2, 1_000), PICTURE);
        }
        let at_once = left(&mut downlink, start).len();
        assert!((1..20).contains(&at_once), "{at_once} left at once");
        downlink.push(start, held(1, 100), Class::Audio);
        assert_eq!(left(&mut downlink, start), [1]);
        // What waits for too long is dropped, and everything up to the next keyframe.
        let late = start + PATIENCE;
        assert!(left(&mut downlink, late).is_empty());
        assert!(downlink.needs_keyframe(300) && !downlink.needs_keyframe(1));
        let dropped = downlink.dropped();
        downlink.push(late, held(2, 1_000), PICTURE);
        assert_eq!(
            (dropped, downlink.dropped()),
            (100 - at_once as u64, dropped + 1)
        );
    }

    #[test]
    fn a_probe_is_filled_with_what_means_nothing_and_only_if_more_is_wanted() {
        let start = clock::now();
        for (wanted, probed) in [(None, false), (Some(0), false), (Some(5_000), true)] {
            let mut downlink = Downlink::new(start);
            if let Some(kbps) = wanted {
                downlink.set_wanted(Bitrate::from_kbps(kbps));
            }
            downlink.push(start, held(2, 1_000), PICTURE);
            downlink.probe(start);
            let left = (0..30).flat_map(|step| {
                let now = start + Duration::from_millis(step);
                left(&mut downlink, now)
            });
            assert_eq!(left.filter(|ssrc| *ssrc == 0).count() > 0, probed);
        }
    }

    #[test]
    fn what_is_told_again_is_news() {
        let start = clock::now();
        let mut downlink = Downlink::new(start);
        assert_eq!(downlink.estimate(start), Some(FIRST_ESTIMATE));
        assert_eq!(downlink.estimate(start), None);
        assert_eq!(downlink.begin_at(0), LEAST_BELIEVED);
        assert_eq!(downlink.begin_at(2_000_000), Bitrate::from_kbps(3_500));
        assert_eq!(downlink.begin_at(0), Bitrate::from_kbps(3_500), "known");
        assert_eq!(downlink.estimate(start), Some(Bitrate::from_kbps(3_500)));
        // Packets leave, and nothing is heard of them; of the last ones alone that means nothing.
        let mut now = start;
        for (goes_on, falls) in [(false, false), (true, true)] {
            for _ in 0..100 {
                now += Duration::from_millis(20);
                if goes_on || now == start + Duration::from_millis(20) {
                    downlink.push(now, held(1, 100), Class::Audio);
                    left(&mut downlink, now);
                }
                downlink.handle_timeout(now);
            }
            let estimate = downlink.estimate(now);
            assert_eq!(
                estimate.is_some_and(|it| it < Bitrate::from_kbps(2_000)),
                falls
            );
        }
        assert_eq!(downlink.begin_at(100_000_000), MOST_BELIEVED);
    }
}
