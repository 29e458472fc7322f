//! The sending side of a link, with the real controller and pacer.
//!
//! ```text
//! encoder, sound ─▶ Pacer ─▶ number ─▶ network ─▶ feedback ─▶ Controller ─▶ target ─▶ encoder
//! ```

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nonstop_netem::Random;
use nonstop_rate::{
    Bitrate, Class, Controller, DataSize, Departure, Limits, LinkReport, Pacer, PacketResult, Plan,
    ProbeId,
};

use super::{
    budget::{Budget, PAYLOAD_SHARE},
    encoder::{Encoder, FRAME_GAP},
    packet::{Body, FlowId, Fragment, Media, OVERHEAD, PAYLOAD, Packet},
};

const AUDIO_GAP: Duration = Duration::from_millis(20);
/// The most that sound takes, headers counted.
const SOUND: Bitrate = Bitrate::from_kbps(56);
/// How often the encoder is told the target.
const STEER_GAP: Duration = Duration::from_millis(50);
/// A picture is skipped while this much waits in the pacer.
/// A wake-up of a busy computer comes up to this much late.
const LATE: f64 = 0.002;
/// Where nothing but feedback helps, the pacer is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// Packets kept for sending again.
const KEPT: usize = 1_024;

/// What a flow sends.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) start: Duration,
    pub(crate) stop: Duration,
    /// The most that the encoder makes.
    pub(crate) most: Bitrate,
    pub(crate) limits: Limits,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            start: Duration::ZERO,
            stop: Duration::MAX,
            most: Bitrate::from_kbps(2_500),
            limits: Limits::default(),
        }
    }
}

/// Counts of a sender.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) bytes: u64,
    pub(crate) audio: u64,
    pub(crate) frames: u64,
    pub(crate) skipped: u64,
    pub(crate) keyframes: u64,
    pub(crate) again: u64,
    pub(crate) padding: u64,
    pub(crate) probes: u64,
}

#[derive(Debug)]
struct Left {
    departure: Instant,
    size: DataSize,
    probe: Option<ProbeId>,
}

/// One sender.
#[derive(Debug)]
pub(crate) struct Sender {
    flow: FlowId,
    origin: Instant,
    source: Source,
    pub(crate) controller: Controller,
    pacer: Pacer<Media>,
    encoder: Encoder,
    budget: Budget,
    sound: Bitrate,
    random: Random,
    /// The most that it has use for, and the most that it may send.
    wanted: Bitrate,
    share: Option<Bitrate>,
    next_frame: Duration,
    next_audio: Duration,
    next_steer: Duration,
    wake: Duration,
    wants_keyframe: bool,
    /// Packets since the oldest of which no feedback has spoken.
    history: VecDeque<Left>,
    oldest: u64,
    video_number: u64,
    frame: u64,
    kept: VecDeque<Fragment>,
    pub(crate) sent: Sent,
}

impl Sender {
    pub(crate) fn new(flow: FlowId, source: Source, origin: Instant, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let phase = Duration::from_secs_f64(random.uniform() * 0.02);
        let mut controller = Controller::new(source.limits);
        let wanted = (source.most.scale(1.0 / PAYLOAD_SHARE) + SOUND).scale(1.05);
        controller.set_wanted(wanted);
        Self {
            flow,
            origin,
            controller,
            pacer: Pacer::new(),
            encoder: Encoder::new(source.most, seed ^ 0x5eed),
            budget: Budget::new(),
            sound: Bitrate::from_kbps(32),
            random,
            wanted,
            share: None,
            next_frame: source.start + phase,
            next_audio: source.start,
            next_steer: source.start,
            wake: Duration::MAX,
            wants_keyframe: true,
            history: VecDeque::new(),
            oldest: 0,
            video_number: 0,
            frame: 0,
            kept: VecDeque::new(),
            sent: Sent::default(),
            source,
        }
    }

    /// Says what the uplink's arbiter wants to know.
    pub(crate) fn report(&self, weight: f64) -> LinkReport {
        LinkReport {
            estimate: self.controller.estimate(),
            acknowledged: self.controller.acknowledged().unwrap_or_default(),
            queue_delay: self.controller.queue_delay(),
            weight,
            wanted: self.wanted,
        }
    }

    /// Takes the most that the uplink's arbiter allows.
    pub(crate) fn set_share(&mut self, share: Option<Bitrate>) {
        self.share = share;
        let wanted = share.map_or(self.wanted, |share| share.min(self.wanted));
        self.controller.set_wanted(wanted);
    }

    pub(crate) fn flow(&self) -> FlowId {
        self.flow
    }

    pub(crate) fn target(&self) -> Bitrate {
        self.encoder.target()
    }

    pub(crate) fn running(&self, now: Duration) -> bool {
        (self.source.start..self.source.stop).contains(&now)
    }

    /// Returns how long what waits in the pacer will take at the estimate.
    pub(crate) fn waiting(&self) -> Duration {
        self.pacer.waiting() / self.controller.estimate()
    }

    pub(crate) fn next_event(&self) -> Duration {
        let controller = (self.controller.poll_timeout()).map_or(Duration::MAX, |at| {
            at.saturating_duration_since(self.origin)
        });
        let next = (self.next_frame.min(self.next_audio).min(self.next_steer))
            .min(self.wake)
            .min(controller.max(self.source.start));
        if next < self.source.stop {
            next
        } else {
            Duration::MAX
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration, out: &mut Vec<Packet>) {
        let at = self.origin + now;
        if self.controller.poll_timeout().is_some_and(|due| due <= at) {
            self.controller.handle_timeout(at);
        }
        if self.next_steer <= now {
            self.next_steer = now + STEER_GAP;
            self.steer(now);
        }
        if self.next_audio <= now {
            self.next_audio += AUDIO_GAP;
            let number = self.sent.audio;
            self.sent.audio += 1;
            let payload = (self.sound * AUDIO_GAP).bytes() as usize;
            self.push(now, Media::Audio { number }, Class::Audio, payload);
        }
        if self.next_frame <= now {
            self.next_frame += FRAME_GAP;
            self.picture(now);
        }
        self.flush(now, out);
    }

    /// Takes in what the receiver said.
    pub(crate) fn receive(&mut self, now: Duration, body: Body, out: &mut Vec<Packet>) {
        match body {
            Body::Feedback { first, arrivals } => self.feedback(now, first, &arrivals),
            Body::Nack(numbers) => {
                for number in numbers {
                    let Some(fragment) = (self.kept.iter()).find(|kept| kept.number == number)
                    else {
                        continue;
                    };
                    let fragment = *fragment;
                    let class = Class::Retransmission;
                    self.push(now, Media::Video(fragment), class, fragment.bytes);
                }
            }
            Body::KeyframeRequest => self.wants_keyframe = true,
            _ => {}
        }
        if self.running(now) {
            self.flush(now, out);
        }
    }

    fn steer(&mut self, now: Duration) {
        let estimate = self.controller.estimate();
        let allowed = self.share.map_or(estimate, |share| estimate.min(share));
        let paused = self.budget.paused;
        let (sound, video) = self.budget.share(allowed, now);
        self.sound = sound;
        self.encoder.set_target(video);
        self.wants_keyframe |= paused && !self.budget.paused;
    }

    fn picture(&mut self, now: Duration) {
        self.wants_keyframe |= self.pacer.needs_keyframe(0);
        if self.budget.paused {
            return;
        }
        if !self.pacer.has_room(&self.controller.plan()) {
            self.sent.skipped += 1;
            self.encoder.skip();
            return;
        }
        let keyframe = std::mem::take(&mut self.wants_keyframe);
        let size = self.encoder.encode(keyframe);
        self.sent.frames += 1;
        self.sent.keyframes += u64::from(keyframe);
        let first = self.video_number;
        let count = size.div_ceil(PAYLOAD);
        for index in 0..count {
            let fragment = Fragment {
                number: first + index as u64,
                frame: self.frame,
                first,
                count: count as u64,
                keyframe,
                bytes: size / count,
            };
            let class = Class::Video {
                stream: 0,
                first: index == 0,
                keyframe,
            };
            self.push(now, Media::Video(fragment), class, fragment.bytes);
        }
        self.video_number += count as u64;
        self.frame += 1;
    }

    fn push(&mut self, now: Duration, media: Media, class: Class, payload: usize) {
        let plan = self.controller.plan();
        let size = DataSize::from_bytes((payload + OVERHEAD) as u64);
        self.pacer
            .push(self.origin + now, media, size, class, &plan);
    }

    fn flush(&mut self, now: Duration, out: &mut Vec<Packet>) {
        let at = self.origin + now;
        if let Some(probe) = self.controller.poll_probe(at) {
            self.sent.probes += 1;
            self.pacer.start_probe(probe);
        }
        loop {
            let plan: Plan = self.controller.plan();
            let Some(departure) = self.pacer.poll(at, &plan) else {
                break;
            };
            let (media, size, probe) = match departure {
                Departure::Padding { size, probe } => {
                    self.sent.padding += size.bytes();
                    (Media::Padding, size, Some(probe))
                }
                Departure::Packet {
                    packet,
                    size,
                    class,
                    probe,
                } => {
                    self.keep(packet, class, size);
                    (packet, size, probe)
                }
            };
            out.push(self.depart(at, media, size, probe));
        }
        self.wake = match self.pacer.poll_timeout() {
            None => Duration::MAX,
            Some(due) => {
                let due = due.saturating_duration_since(self.origin);
                let due = if due <= now { now + ASK_AGAIN } else { due };
                due + Duration::from_secs_f64(self.random.uniform() * LATE)
            }
        };
    }

    fn keep(&mut self, media: Media, class: Class, size: DataSize) {
        match (media, class) {
            (Media::Video(_), Class::Retransmission) => self.sent.again += size.bytes(),
            (Media::Video(fragment), _) => {
                self.kept.push_back(fragment);
                if self.kept.len() > KEPT {
                    self.kept.pop_front();
                }
            }
            _ => {}
        }
    }

    fn depart(
        &mut self,
        at: Instant,
        media: Media,
        size: DataSize,
        probe: Option<ProbeId>,
    ) -> Packet {
        self.controller.handle_sent(at, size);
        self.sent.bytes += size.bytes();
        let number = self.oldest + self.history.len() as u64;
        self.history.push_back(Left {
            departure: at,
            size,
            probe,
        });
        Packet {
            flow: self.flow,
            forward: true,
            hop: 0,
            bytes: size.bytes() as usize,
            body: Body::Media { number, media },
        }
    }

    /// What no feedback speaks of, because it was lost, is forgotten unreported.
    fn feedback(&mut self, now: Duration, first: u64, arrivals: &[Option<Duration>]) {
        let mut results = Vec::with_capacity(arrivals.len());
        for (number, arrival) in (first..).zip(arrivals) {
            let Some(index) = number.checked_sub(self.oldest) else {
                continue;
            };
            if let Some(left) = self.history.get(index as usize) {
                results.push(PacketResult {
                    departure: left.departure,
                    arrival: *arrival,
                    size: left.size,
                    probe: left.probe,
                });
            }
        }
        let newest = first + arrivals.len() as u64;
        while self.oldest < newest && self.history.pop_front().is_some() {
            self.oldest += 1;
        }
        self.controller.handle_feedback(self.origin + now, &results);
    }
}
