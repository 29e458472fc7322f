//! The order and the moment of departure of everything a link sends.
//!
//! ```text
//! audio ─────────────────────────────────────────▶ at once
//! retransmissions ─ budget ─▶ queue ─┬ beside the pace, where the link is not full ─▶ out
//! video ────────────────────▶ queue ─┴ pace, window ─▶ out
//! padding ── only while a probe wants more than waits ─▶ out
//! ```
//! Audio never waits. What waits is bounded in time: a picture that has waited for [`MOST_WAIT`], or
//! as long as the sender's patience lasts, is dropped with everything up to the next keyframe, which
//! the encoder must then be asked for ([`Pacer::needs_keyframe`]). The window keeps a network that has
//! become slower from being filled before its feedback can tell: packets leave only as others are known
//! to have arrived.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use crate::{Bitrate, DataSize, Plan, Probe, ProbeId};

/// The longest a packet waits here, where nothing else is said ([`Pacer::with_patience`]).
pub const MOST_WAIT: Duration = Duration::from_millis(250);
/// With more than this waiting, in time at the estimate, there is no room for another picture.
const MOST_WAITING: Duration = Duration::from_millis(100);
/// What may leave at once, in time at the pace, where nothing else is said: fewer wake-ups, and bursts
/// that no queue notices.
const BURST: Duration = Duration::from_millis(5);
/// A keyframe is sent this much faster at most, so that it leaves before [`MOST_WAIT`].
const HURRY: f64 = 2.0;
/// The share of the estimate for packets sent again, on a link that loses without being full, and
/// on one that is full: there they would keep it full.
const AGAIN_SHARE: f64 = 0.4;
const AGAIN_SHARE_CONGESTED: f64 = 0.2;
/// What of it may be saved up, in time, and at least.
const AGAIN_SAVED: Duration = Duration::from_secs(1);
const AGAIN_LEAST: f64 = 6_000.0;
/// Where the link is not full it leaves beside the pace, this much of it at once, in time: whoever asked sees a
/// picture stand still until it comes, and three copies that pictures had to wait for would make the next
/// loss last longer.
const AGAIN_AT_ONCE: Duration = Duration::from_millis(100);
/// A probe sends a padding packet this often: enough of them to tell a rate by, in a few of them.
const PADDING_INTERVAL: Duration = Duration::from_millis(2);
/// The smallest padding packet worth its headers.
const LEAST_PADDING: DataSize = DataSize::from_bytes(200);
/// The largest padding packet, as large as those of pictures.
pub const MOST_PADDING: DataSize = DataSize::from_bytes(1_200);
/// What may leave at once during a probe: timers are late by a millisecond or two.
const PROBE_BURST: Duration = Duration::from_millis(3);
/// A probe that cannot be finished within this time is given up.
const PROBE_PATIENCE: Duration = Duration::from_millis(200);

/// What a packet carries, which decides how it is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Sound.
    Audio,
    /// Something sent before, on request.
    Retransmission,
    /// A part of a picture.
    Video {
        /// Which of the connection's streams of pictures it is part of.
        stream: u16,
        /// Whether it is the first packet of its picture.
        first: bool,
        /// Whether its picture can be decoded without others.
        keyframe: bool,
    },
}

/// What leaves.
#[derive(Debug, PartialEq, Eq)]
pub enum Departure<T> {
    /// A packet that was pushed.
    Packet {
        /// The packet.
        packet: T,
        /// Its size.
        size: DataSize,
        /// What it carries.
        class: Class,
        /// The probe it is part of.
        probe: Option<ProbeId>,
    },
    /// A packet without content, to be made by the caller.
    Padding {
        /// Its size on the wire.
        size: DataSize,
        /// The probe it is part of.
        probe: ProbeId,
    },
}

#[derive(Debug)]
struct Waiting<T> {
    packet: T,
    size: DataSize,
    class: Class,
    since: Instant,
}

/// A probe under way.
#[derive(Debug)]
struct Running {
    probe: Probe,
    started: Option<Instant>,
    left: DataSize,
    packets_left: u32,
}

/// What packets sent again may still take, in bytes.
#[derive(Debug, Default)]
struct Allowance {
    left: f64,
    at: Option<Instant>,
}

impl Allowance {
    fn take(&mut self, now: Instant, size: DataSize, plan: &Plan) -> bool {
        let enough = self.has(now, size, plan);
        if enough {
            self.left -= size.bytes() as f64;
        }
        enough
    }

    fn has(&mut self, now: Instant, size: DataSize, plan: &Plan) -> bool {
        let share = match plan.congested {
            true => AGAIN_SHARE_CONGESTED,
            false => AGAIN_SHARE,
        };
        let rate = plan.estimate.as_f64() / 8.0 * share;
        let most = (rate * AGAIN_SAVED.as_secs_f64()).max(AGAIN_LEAST);
        let earned = self.at.map_or(most, |at| {
            now.saturating_duration_since(at).as_secs_f64() * rate
        });
        self.at = Some(now);
        self.left = (self.left + earned).min(most);
        self.left >= size.bytes() as f64
    }
}

/// Decides what leaves when. `T` is the packet.
#[derive(Debug)]
pub struct Pacer<T> {
    audio: VecDeque<Waiting<T>>,
    again: VecDeque<Waiting<T>>,
    video: VecDeque<Waiting<T>>,
    waiting: DataSize,
    /// When what has left is paid off at the pace.
    paid: Option<Instant>,
    /// When what was sent again beside the pace is paid off.
    again_paid: Option<Instant>,
    /// Whether what is sent again leaves beside the pace.
    beside: bool,
    allowance: Allowance,
    probe: Option<Running>,
    /// The window held back what is due: time alone changes nothing.
    held: bool,
    /// Streams of which pictures were dropped: only a keyframe is of use to the receiver.
    broken: BTreeSet<u16>,
    dropped: u64,
    patience: Duration,
    burst: Duration,
}

impl<T> Default for Pacer<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Pacer<T> {
    /// Makes an empty pacer.
    pub fn new() -> Self {
        Self {
            audio: VecDeque::new(),
            again: VecDeque::new(),
            video: VecDeque::new(),
            waiting: DataSize::ZERO,
            paid: None,
            again_paid: None,
            beside: false,
            allowance: Allowance::default(),
            probe: None,
            held: false,
            broken: BTreeSet::new(),
            dropped: 0,
            patience: MOST_WAIT,
            burst: BURST,
        }
    }

    /// Lets packets wait this long at most: longer than [`MOST_WAIT`] where what waits was not made for
    /// this connection alone, and asking for it again would cost others.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Lets as much leave at once as the pace allows in this time.
    pub fn with_burst(self, burst: Duration) -> Self {
        Self { burst, ..self }
    }

    /// Tells whether so much may be sent again now.
    pub fn affords(&mut self, now: Instant, size: DataSize, plan: &Plan) -> bool {
        self.allowance.has(now, size, plan)
    }

    /// Takes in a packet; returns false where it is not sent: the budget of retransmissions is
    /// spent, or the picture refers to one that was dropped.
    pub fn push(
        &mut self,
        now: Instant,
        packet: T,
        size: DataSize,
        class: Class,
        plan: &Plan,
    ) -> bool {
        let queue = match class {
            Class::Audio => &mut self.audio,
            Class::Retransmission => {
                if !self.allowance.take(now, size, plan) {
                    self.dropped += 1;
                    return false;
                }
                &mut self.again
            }
            Class::Video {
                stream,
                first,
                keyframe,
            } => {
                if first && keyframe {
                    if plan.congested {
                        self.supersede(stream);
                    }
                    self.broken.remove(&stream);
                }
                if self.broken.contains(&stream) {
                    self.dropped += 1;
                    return false;
                }
                &mut self.video
            }
        };
        self.waiting += size;
        queue.push_back(Waiting {
            packet,
            size,
            class,
            since: now,
        });
        true
    }

    /// A keyframe comes while too little leaves: what waits was made for a network that is no more,
    /// and the receiver needs none of it any longer. Unless it is a keyframe itself: one that is never
    /// finished for the next helps nobody.
    fn supersede(&mut self, stream: u16) {
        let of_it = |waiting: &&Waiting<T>| stream_of(waiting) == Some(stream);
        if self.video.iter().find(of_it).is_some_and(is_keyframe) {
            return;
        }
        while let Some(gone) = self.again.pop_front() {
            self.forget(Some(gone));
        }
        for waiting in std::mem::take(&mut self.video) {
            match of_it(&&waiting) {
                true => self.forget(Some(waiting)),
                false => self.video.push_back(waiting),
            }
        }
    }

    /// Begins a probe; one that is under way is given up.
    pub fn start_probe(&mut self, probe: Probe) {
        self.probe = Some(Running {
            probe,
            started: None,
            left: probe.size,
            packets_left: probe.packets,
        });
    }

    /// Returns what leaves next, if it leaves now. To be called until it returns nothing; the plan
    /// must count what has left in between.
    pub fn poll(&mut self, now: Instant, plan: &Plan) -> Option<Departure<T>> {
        self.expire(now);
        self.held = false;
        let probe = self.probe.as_ref().map(|running| running.probe);
        let probing = probe.map(|probe| probe.id);
        let pace = self.pace(now, plan);
        if let Some(next) = self.audio.pop_front() {
            return Some(self.depart(now, next, probing, pace));
        }
        self.beside = !plan.congested && probe.is_none();
        if (self.again_due().is_none_or(|due| due <= now))
            && let Some(next) = self.again.pop_front()
        {
            return Some(self.depart(now, next, probing, pace));
        }
        if self.paid.is_some_and(|paid| paid > now) {
            return None;
        }
        if self.may_leave(plan, probing.is_some()) {
            if let Some(next) = self.video.pop_front() {
                return Some(self.depart(now, next, probing, pace));
            }
        } else {
            self.held = true;
        }
        let probe = probe?;
        let size = (probe.rate * PADDING_INTERVAL).clamp(LEAST_PADDING, MOST_PADDING);
        self.charge(now, size, pace);
        Some(Departure::Padding {
            size,
            probe: probe.id,
        })
    }

    /// Returns when [`poll`](Self::poll) has something to do, besides after feedback.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let oldest = [&self.audio, &self.again, &self.video]
            .into_iter()
            .filter_map(|queue| queue.front())
            .map(|waiting| waiting.since)
            .min();
        if oldest.is_none() && self.probe.is_none() {
            return None;
        }
        // What the window holds back is let go by feedback, and given up in the end.
        let stale = oldest.map(|since| since + self.patience);
        // Probes are known by their rate: they leave packet by packet.
        let burst = match self.probe {
            Some(_) => Duration::ZERO,
            None => BURST.min(self.burst),
        };
        // What is sent again beside the pace does not wait for it.
        let paced = !self.held
            && (self.probe.is_some() || !self.video.is_empty() || !self.audio.is_empty());
        let paid = (self.paid.map(|paid| paid + burst)).filter(|_| paced);
        let again = self.again_due().filter(|_| !self.again.is_empty());
        [paid, stale, again].into_iter().flatten().min()
    }

    /// Returns when something may be sent again; at once, where there is nothing to wait for.
    fn again_due(&self) -> Option<Instant> {
        match self.beside {
            true => self.again_paid?.checked_sub(AGAIN_AT_ONCE),
            false => self.paid,
        }
    }

    /// Returns how much waits.
    pub fn waiting(&self) -> DataSize {
        self.waiting
    }

    /// Tells whether another picture would leave soon: otherwise it had better not be encoded.
    pub fn has_room(&self, plan: &Plan) -> bool {
        let held = !plan.congested && plan.in_flight + self.waiting >= plan.window;
        !held && self.waiting / plan.estimate < MOST_WAITING
    }

    /// Tells whether pictures of a stream were dropped and none can be sent before a keyframe.
    pub fn needs_keyframe(&self, stream: u16) -> bool {
        self.broken.contains(&stream)
    }

    /// Returns how many packets were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The window holds pictures back until the estimate knows better: under known congestion it
    /// leaves the queue time to drain by itself, and a probe is allowed what it needs.
    fn may_leave(&self, plan: &Plan, probing: bool) -> bool {
        probing || plan.congested || plan.in_flight < plan.window
    }

    fn pace(&self, now: Instant, plan: &Plan) -> Bitrate {
        if let Some(running) = &self.probe {
            return running.probe.rate;
        }
        let hurry = (self.video.front())
            .filter(|waiting| is_keyframe(waiting) && !plan.congested)
            .map(|oldest| {
                let left = (oldest.since + MOST_WAIT * 4 / 5).saturating_duration_since(now);
                let size = (self.video.iter())
                    .take_while(|waiting| is_keyframe(waiting))
                    .map(|waiting| waiting.size)
                    .sum::<DataSize>();
                (size / left.max(BURST)).min(plan.pace.scale(HURRY))
            });
        hurry.map_or(plan.pace, |hurry| hurry.max(plan.pace))
    }

    fn depart(
        &mut self,
        now: Instant,
        next: Waiting<T>,
        probe: Option<ProbeId>,
        pace: Bitrate,
    ) -> Departure<T> {
        self.waiting = self.waiting - next.size;
        match next.class {
            Class::Retransmission if self.beside => {
                let paid = self.again_paid.map_or(now, |paid| paid.max(now));
                self.again_paid = Some(paid + (next.size / pace).min(MOST_WAIT));
            }
            _ => self.charge(now, next.size, pace),
        }
        Departure::Packet {
            packet: next.packet,
            size: next.size,
            class: next.class,
            probe,
        }
    }

    fn charge(&mut self, now: Instant, size: DataSize, pace: Bitrate) {
        let saved = match &self.probe {
            Some(running) if running.started.is_none() => Duration::ZERO,
            Some(_) => PROBE_BURST,
            None => self.burst,
        };
        let earliest = now.checked_sub(saved).unwrap_or(now);
        let paid = self.paid.map_or(earliest, |paid| paid.max(earliest));
        self.paid = Some(paid + (size / pace).min(MOST_WAIT));
        if let Some(running) = &mut self.probe {
            let started = *running.started.get_or_insert(now);
            running.left = running.left - size;
            running.packets_left = running.packets_left.saturating_sub(1);
            let sent = running.left == DataSize::ZERO && running.packets_left == 0;
            if sent || now.saturating_duration_since(started) > PROBE_PATIENCE {
                self.probe = None;
            }
        }
    }

    /// Drops pictures that have waited too long, and what follows them in their stream up to a keyframe
    /// that has not.
    fn expire(&mut self, now: Instant) {
        let patience = self.patience;
        let stale = |waiting: &Waiting<T>| now.saturating_duration_since(waiting.since) >= patience;
        while self.again.front().is_some_and(stale) {
            let gone = self.again.pop_front();
            self.forget(gone);
        }
        if !self.video.front().is_some_and(stale) {
            return;
        }
        for waiting in std::mem::take(&mut self.video) {
            let stream = stream_of(&waiting).unwrap_or(0);
            if stale(&waiting) {
                self.broken.insert(stream);
            } else if begins_keyframe(&waiting) {
                self.broken.remove(&stream);
            }
            match self.broken.contains(&stream) {
                true => self.forget(Some(waiting)),
                false => self.video.push_back(waiting),
            }
        }
    }

    fn forget(&mut self, gone: Option<Waiting<T>>) {
        if let Some(gone) = gone {
            self.waiting = self.waiting - gone.size;
            self.dropped += 1;
        }
    }
}

fn is_keyframe<T>(waiting: &Waiting<T>) -> bool {
    matches!(waiting.class, Class::Video { keyframe: true, .. })
}

fn begins_keyframe<T>(waiting: &Waiting<T>) -> bool {
    match waiting.class {
        Class::Video {
            first, keyframe, ..
        } => first && keyframe,
        Class::Audio | Class::Retransmission => false,
    }
}

fn stream_of<T>(waiting: &Waiting<T>) -> Option<u16> {
    match waiting.class {
        Class::Video { stream, .. } => Some(stream),
        Class::Audio | Class::Retransmission => None,
    }
}
