//! The receiving side of a link: feedback, loss repair, and what a person sees and hears.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::packet::{Body, FlowId, Fragment, Media, Packet};

/// Arrival times travel in quarters of a millisecond (transport-wide feedback).
const TICK: u128 = 250;
/// Feedback: IP, UDP, RTCP header, base and tag; then status and delta of each packet.
const FEEDBACK_BYTES: usize = 28 + 20 + 14;
const FEEDBACK_BYTES_EACH: f64 = 1.3;
/// A request: the same without deltas.
const REQUEST_BYTES: usize = 28 + 16 + 14;
/// A missing packet is asked for this often, this far apart at least.
const TRIES: u32 = 4;
const RETRY: Duration = Duration::from_millis(60);
/// Packets may come this much out of order before they count as missing.
const PATIENCE: Duration = Duration::from_millis(10);
/// Keyframes are asked for at most this often.
const KEYFRAME_GAP: Duration = Duration::from_millis(300);
/// Intervals that the average of the freeze rule counts.
const FREEZE_FRAMES: usize = 30;

/// How a receiver behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    pub(crate) feedback_gap: Duration,
    /// The round trip that it believes in, for asking again.
    pub(crate) round_trip: Duration,
    /// Its clock against the sender's.
    pub(crate) clock_offset: Duration,
    /// How much faster it runs.
    pub(crate) clock_drift: f64,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            feedback_gap: Duration::from_millis(25),
            round_trip: Duration::from_millis(100),
            clock_offset: Duration::from_secs(7_000),
            clock_drift: 30e-6,
        }
    }
}

/// What the receiver's user got.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    pub(crate) bytes: u64,
    pub(crate) audio: u64,
    pub(crate) frames: Vec<Duration>,
    pub(crate) freezes: u32,
    pub(crate) frozen: Duration,
    pub(crate) keyframe_requests: u64,
}

#[derive(Debug)]
struct Missing {
    since: Duration,
    asked: u32,
    last: Duration,
}

#[derive(Debug)]
struct Partial {
    first: u64,
    count: u64,
    came: Vec<u64>,
    keyframe: bool,
}

/// One receiver.
#[derive(Debug)]
pub(crate) struct Receiver {
    flow: FlowId,
    habits: Habits,
    next_feedback: Duration,
    next_repair: Duration,
    /// Numbers from here on were not reported.
    reported: u64,
    arrivals: BTreeMap<u64, Duration>,
    newest_video: Option<u64>,
    missing: BTreeMap<u64, Missing>,
    frames: BTreeMap<u64, Partial>,
    next_frame: u64,
    /// A picture was given up: those that refer to it are of no use.
    broken: bool,
    last_request: Option<Duration>,
    gaps: VecDeque<Duration>,
    pub(crate) received: Received,
}

impl Receiver {
    pub(crate) fn new(flow: FlowId, habits: Habits) -> Self {
        Self {
            flow,
            habits,
            next_feedback: Duration::MAX,
            next_repair: Duration::MAX,
            reported: 0,
            arrivals: BTreeMap::new(),
            newest_video: None,
            missing: BTreeMap::new(),
            frames: BTreeMap::new(),
            next_frame: 0,
            broken: false,
            last_request: None,
            gaps: VecDeque::new(),
            received: Received::default(),
        }
    }

    pub(crate) fn next_event(&self) -> Duration {
        self.next_feedback.min(self.next_repair)
    }

    pub(crate) fn receive(&mut self, now: Duration, packet: Packet) {
        let Body::Media { number, media } = packet.body else {
            return;
        };
        self.received.bytes += packet.bytes as u64;
        let clock = self.clock(now);
        self.arrivals.entry(number).or_insert(clock);
        if self.next_feedback == Duration::MAX {
            self.next_feedback = now + self.habits.feedback_gap;
        }
        match media {
            Media::Audio { .. } => self.received.audio += 1,
            Media::Video(fragment) => self.video(now, fragment),
            Media::Padding => {}
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration, out: &mut Vec<Packet>) {
        if self.next_feedback <= now {
            self.next_feedback += self.habits.feedback_gap;
            self.feedback(out);
        }
        if self.next_repair <= now {
            self.repair(now, out);
        }
    }

    /// Counts a freeze that lasts until the end, as W3C does when the next picture comes.
    pub(crate) fn finish(&mut self, end: Duration) {
        if let Some(last) = self.received.frames.last() {
            self.judge(end - *last);
        }
    }

    fn clock(&self, now: Duration) -> Duration {
        let clock = self.habits.clock_offset + now.mul_f64(1.0 + self.habits.clock_drift);
        Duration::from_micros((clock.as_micros() / TICK * TICK) as u64)
    }

    fn feedback(&mut self, out: &mut Vec<Packet>) {
        let (Some((first, _)), Some((last, _))) = (
            self.arrivals.first_key_value(),
            self.arrivals.last_key_value(),
        ) else {
            return;
        };
        // A packet that comes after it was reported lost is reported once more.
        let (first, last) = (self.reported.min(*first), *last);
        let arrivals: Vec<_> = (first..=last)
            .map(|number| self.arrivals.get(&number).copied())
            .collect();
        self.reported = self.reported.max(last + 1);
        self.arrivals.clear();
        let bytes = FEEDBACK_BYTES + (arrivals.len() as f64 * FEEDBACK_BYTES_EACH) as usize;
        out.push(self.packet(bytes, Body::Feedback { first, arrivals }));
    }

    fn video(&mut self, now: Duration, fragment: Fragment) {
        let from = self.newest_video.map_or(0, |newest| newest + 1);
        for number in from..fragment.number {
            let missing = Missing {
                since: now,
                asked: 0,
                last: now,
            };
            self.missing.insert(number, missing);
        }
        self.newest_video = self.newest_video.max(Some(fragment.number));
        self.missing.remove(&fragment.number);
        if !self.missing.is_empty() {
            self.next_repair = self.next_repair.min(now + PATIENCE);
        }
        if fragment.frame < self.next_frame {
            return;
        }
        let frame = self.frames.entry(fragment.frame).or_insert(Partial {
            first: fragment.first,
            count: fragment.count,
            came: Vec::new(),
            keyframe: fragment.keyframe,
        });
        if !frame.came.contains(&fragment.number) {
            frame.came.push(fragment.number);
        }
        self.decode(now);
    }

    /// Decodes what is complete and refers to nothing that is missing.
    fn decode(&mut self, now: Duration) {
        let whole = |frame: &Partial| frame.came.len() as u64 == frame.count;
        let newest_key = (self.frames.iter().rev())
            .find(|(_, frame)| frame.keyframe && whole(frame))
            .map(|(id, frame)| (*id, frame.first));
        if let Some((id, first)) = newest_key
            && (id > self.next_frame || self.broken)
        {
            self.next_frame = id;
            self.broken = false;
            self.frames = self.frames.split_off(&id);
            self.missing = self.missing.split_off(&first);
        }
        while !self.broken && self.frames.get(&self.next_frame).is_some_and(whole) {
            self.frames.remove(&self.next_frame);
            self.next_frame += 1;
            if let Some(last) = self.received.frames.last() {
                self.judge(now - *last);
            }
            self.received.frames.push(now);
        }
    }

    /// The freeze rule of webrtc-stats: longer than three times the average, and than the average
    /// and 150 ms.
    fn judge(&mut self, gap: Duration) {
        if self.gaps.len() >= 5 {
            let average = self.gaps.iter().sum::<Duration>() / self.gaps.len() as u32;
            if gap > (average * 3).max(average + Duration::from_millis(150)) {
                self.received.freezes += 1;
                self.received.frozen += gap;
            }
        }
        self.gaps.push_back(gap);
        if self.gaps.len() > FREEZE_FRAMES {
            self.gaps.pop_front();
        }
    }

    fn repair(&mut self, now: Duration, out: &mut Vec<Packet>) {
        let retry = RETRY.max(self.habits.round_trip.mul_f64(1.2));
        let mut wanted = Vec::new();
        let mut given_up = false;
        for (number, missing) in &mut self.missing {
            let due = match missing.asked {
                0 => missing.since + PATIENCE,
                _ => missing.last + retry,
            };
            if due > now {
                continue;
            }
            if missing.asked == TRIES {
                given_up = true;
                break;
            }
            missing.asked += 1;
            missing.last = now;
            wanted.push(*number);
        }
        if given_up {
            self.broken = true;
            self.missing.clear();
        }
        if !wanted.is_empty() && !given_up {
            let bytes = REQUEST_BYTES + 4 * wanted.len().div_ceil(4);
            out.push(self.packet(bytes, Body::Nack(wanted)));
        }
        let may_ask = (self.last_request).is_none_or(|last| now >= last + KEYFRAME_GAP);
        if self.broken && may_ask {
            self.last_request = Some(now);
            self.received.keyframe_requests += 1;
            out.push(self.packet(REQUEST_BYTES, Body::KeyframeRequest));
        }
        self.next_repair = match self.broken || !self.missing.is_empty() {
            true => now + PATIENCE,
            false => Duration::MAX,
        };
    }

    fn packet(&self, bytes: usize, body: Body) -> Packet {
        Packet {
            flow: self.flow,
            forward: false,
            hop: 0,
            bytes,
            body,
        }
    }
}
