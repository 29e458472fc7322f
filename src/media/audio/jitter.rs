//! The jitter buffer: packets in as the network brings them, sound out in even steps.
//!
//! ```text
//! push(packet, arrived) ─▶ [ by sequence number ] ─▶ pull(now) ─▶ packet · repair · made up · silence
//!                             └ DelayEstimator: how long to wait
//! ```
//!
//! Pure: time is an argument. The playout position only moves past sound that was played, or
//! that is known to be lost because something after it came. While nothing at all is there,
//! sound is made up and the position stands still, so that a late packet is played late, and
//! not thrown away. What that silence was, a loss or a sender with nothing to say, shows
//! in the sequence number of the next packet; only then is it counted.
//!
//! At most [`CAPACITY`] packets are held.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::delay::DelayEstimator;
use crate::media::frame::SAMPLE_RATE;

/// One received packet, its duration known.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    /// Samples it holds at 48 kHz.
    pub(super) samples: u32,
    /// Whether it can repair the packet before it.
    pub(super) repairs: bool,
    pub(super) payload: Bytes,
    pub(super) arrived: Instant,
}

/// What to play next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pull {
    /// The next packet, whole.
    Packet(Bytes),
    /// A lost packet of so many samples, from the redundancy in its successor.
    Repair { successor: Bytes, samples: u32 },
    /// Something must be made up.
    Conceal { samples: u32 },
    /// Nothing was sent.
    Silence { samples: u32 },
}

/// What would bring the wait nearer to what is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Correction {
    None,
    /// Play a little faster; if urgent, even where it is heard.
    Shorten {
        urgent: bool,
    },
    /// Play a little slower.
    Lengthen,
}

/// What happened, counted from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct JitterStats {
    /// Packets played.
    pub(super) received: u64,
    /// Packets that never came, or too late.
    pub(super) lost: u64,
    /// Samples made up for lost and late packets.
    pub(super) concealed: u64,
    /// Samples played, made up or not.
    pub(super) played: u64,
}

/// 1.3 s of 20 ms packets: more than the longest wait, with room for a burst.
pub(super) const CAPACITY: usize = 64;
/// 10 ms: the smallest piece of sound that is made up.
const STEP: u32 = 480;
const FRAME: u32 = 960;
/// RFC 3550 A.1: jumps beyond these are a sender that started anew, if the next packet agrees.
const MAX_DROPOUT: i64 = 3000;
const MAX_MISORDER: i64 = 100;
/// A sender's time that goes back, or forward by more than this, starts a new time line.
const MAX_TIME_JUMP: i64 = 3600 * SAMPLE_RATE as i64;
/// Waits are looked at over so many packets before anything is corrected.
const WINDOW: usize = 10;
/// Excess that is put up with: one packet.
const EXCESS: i64 = 20_000;
const URGENT_EXCESS: i64 = 60_000;
/// Excess from which packets are skipped: shortening would take seconds.
const SKIP_EXCESS: i64 = 300_000;
const SHORTAGE: i64 = 5_000;

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing was played yet.
    Fresh,
    /// Waiting until the first packet has waited long enough.
    Waiting(Position),
    /// Sound runs.
    Playing(Position),
    /// Nothing to play: so many samples were made up without moving on.
    Starved(Position, u32),
}

/// Where playout is, in unwrapped numbers.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// The last packet that was played or given up.
    sequence: i64,
    /// The next sample to play.
    timestamp: i64,
    /// Samples made up in the present gap.
    made_up: u32,
}

/// Packets of one sender on their way to the decoder.
#[derive(Debug)]
pub(super) struct JitterBuffer {
    packets: BTreeMap<i64, (i64, Packet)>,
    delay: DelayEstimator,
    state: State,
    newest: Option<(i64, i64)>,
    suspect: Option<u16>,
    waits: VecDeque<i64>,
    origin: Option<Instant>,
    stats: JitterStats,
}

impl JitterBuffer {
    pub(super) fn new() -> Self {
        Self {
            packets: BTreeMap::new(),
            delay: DelayEstimator::new(),
            state: State::Fresh,
            newest: None,
            suspect: None,
            waits: VecDeque::with_capacity(WINDOW),
            origin: None,
            stats: JitterStats::default(),
        }
    }

    pub(super) fn stats(&self) -> JitterStats {
        self.stats
    }

    /// Returns how long sound waited lately.
    pub(super) fn wait(&self) -> Duration {
        let sum: i64 = self.waits.iter().sum();
        let mean = sum / self.waits.len().max(1) as i64;
        Duration::from_micros(mean.max(0) as u64)
    }

    /// Takes a packet in. Duplicates and packets whose time is over are dropped.
    pub(super) fn push(&mut self, packet: Packet) {
        let origin = *self.origin.get_or_insert(packet.arrived);
        let Some((sequence, timestamp)) = self.place(&packet) else {
            return;
        };
        if self.packets.contains_key(&sequence) {
            return;
        }
        self.delay
            .observe(micros(timestamp), since(origin, packet.arrived));
        let over = match self.state {
            State::Fresh => false,
            State::Waiting(at) | State::Playing(at) | State::Starved(at, _) => {
                sequence <= at.sequence
            }
        };
        if over {
            return;
        }
        self.packets.insert(sequence, (timestamp, packet));
        if self.packets.len() > CAPACITY {
            self.skip_first();
        }
    }

    /// Unwraps the packet's numbers; `None` if they make no sense (yet).
    fn place(&mut self, packet: &Packet) -> Option<(i64, i64)> {
        let Some((newest_sequence, newest_timestamp)) = self.newest else {
            let place = (i64::from(packet.sequence), i64::from(packet.timestamp));
            self.newest = Some(place);
            return Some(place);
        };
        let step = i64::from(packet.sequence.wrapping_sub(newest_sequence as u16) as i16);
        let advance = i64::from(packet.timestamp.wrapping_sub(newest_timestamp as u32) as i32);
        let backwards = (step > 0) != (advance > 0) && step != 0;
        if !(-MAX_MISORDER..MAX_DROPOUT).contains(&step) {
            let again = self.suspect == Some(packet.sequence);
            self.suspect = Some(packet.sequence.wrapping_add(1));
            if !again {
                return None;
            }
            return Some(self.start_anew(packet));
        }
        if backwards || advance.abs() > MAX_TIME_JUMP {
            return Some(self.start_anew(packet));
        }
        self.suspect = None;
        let place = (newest_sequence + step, newest_timestamp + advance);
        if step > 0 {
            self.newest = Some(place);
        }
        Some(place)
    }

    /// Begins a new time line with this packet: the old one is over.
    fn start_anew(&mut self, packet: &Packet) -> (i64, i64) {
        self.packets.clear();
        self.delay.restart();
        self.waits.clear();
        self.suspect = None;
        self.state = State::Fresh;
        let place = (i64::from(packet.sequence), i64::from(packet.timestamp));
        self.newest = Some(place);
        place
    }

    /// Gives the first packet up, and moves behind it.
    fn skip_first(&mut self) {
        let Some((sequence, (timestamp, packet))) = self.packets.pop_first() else {
            return;
        };
        if let State::Waiting(at) | State::Playing(at) | State::Starved(at, _) = &mut self.state {
            self.stats.lost += (sequence - at.sequence) as u64;
            at.sequence = sequence;
            at.timestamp = timestamp + i64::from(packet.samples);
            at.made_up = 0;
        }
    }

    /// Returns what to play at `now`; whoever pulls plays all of it before pulling again.
    pub(super) fn pull(&mut self, now: Instant) -> Pull {
        let now = self.origin.map_or(0, |origin| since(origin, now));
        self.skip_excess(now);
        let first = (self.packets.first_key_value())
            .map(|(&sequence, &(timestamp, _))| (sequence, timestamp));
        match (self.state, first) {
            (State::Fresh | State::Waiting(_), None) => Pull::Silence { samples: STEP },
            (State::Fresh, Some(first)) => {
                let before = Position {
                    sequence: first.0 - 1,
                    timestamp: first.1,
                    made_up: 0,
                };
                self.begin(State::Fresh, before, first, now)
            }
            (State::Waiting(at), Some(first)) => self.begin(State::Waiting(at), at, first, now),
            (State::Playing(at), None) => {
                self.state = State::Starved(at, STEP);
                Pull::Conceal { samples: STEP }
            }
            (State::Starved(at, made_up), None) => {
                self.state = State::Starved(at, made_up.saturating_add(STEP));
                Pull::Conceal { samples: STEP }
            }
            (State::Starved(at, made_up), Some(first)) => self.resume(at, made_up, first, now),
            (State::Playing(at), Some(first)) => self.go_on(at, first, now),
        }
    }

    /// Skips packets when far more has piled up than is called for.
    fn skip_excess(&mut self, now: i64) {
        let limit = self.delay.target().as_micros() as i64;
        let Some((&newest, _)) = self.packets.last_key_value() else {
            return;
        };
        let wait = |this: &Self| {
            let (_, (timestamp, _)) = this.packets.first_key_value()?;
            Some(this.delay.wait_micros(micros(*timestamp), now))
        };
        if wait(self).is_none_or(|wait| wait < limit + SKIP_EXCESS) {
            return;
        }
        while wait(self).is_some_and(|wait| wait > limit)
            && self
                .packets
                .first_key_value()
                .is_some_and(|(&s, _)| s < newest)
        {
            self.skip_first();
        }
        self.waits.clear();
    }

    /// Starts, or starts again after a silence, once the first packet has waited long enough.
    fn begin(&mut self, until_then: State, mut at: Position, first: (i64, i64), now: i64) -> Pull {
        let wait = self.delay.wait_micros(micros(first.1), now);
        if wait < self.delay.target().as_micros() as i64 {
            self.state = until_then;
            return Pull::Silence { samples: STEP };
        }
        at.timestamp = first.1;
        at.made_up = 0;
        self.play(at, first, now)
    }

    /// Something came after nothing did: finds out what the gap was.
    fn resume(&mut self, mut at: Position, made_up: u32, first: (i64, i64), now: i64) -> Pull {
        let missing = first.0 - at.sequence - 1;
        let gap = first.1 - at.timestamp;
        if missing <= 0 && gap <= 0 {
            // The next one, late.
            self.count_made_up(made_up);
            return self.play(at, first, now);
        }
        if missing <= 0 {
            // Nothing was sent meanwhile.
            return self.begin(State::Waiting(at), at, first, now);
        }
        let lost = (missing as u64 * u64::from(FRAME)).min(u64::from(made_up)) as u32;
        self.count_made_up(lost);
        at.timestamp += gap.clamp(0, i64::from(made_up));
        at.made_up = lost;
        if gap > i64::from(made_up) {
            return self.go_on(at, first, now);
        }
        self.play(at, first, now)
    }

    fn go_on(&mut self, mut at: Position, first: (i64, i64), now: i64) -> Pull {
        let missing = first.0 - at.sequence - 1;
        let gap = first.1 - at.timestamp;
        if gap <= 0 {
            return self.play(at, first, now);
        }
        if missing <= 0 {
            return self.begin(State::Waiting(at), at, first, now);
        }
        if u64::from(at.made_up) >= missing as u64 * u64::from(FRAME) {
            // More time passed than packets are missing: the rest was not sent.
            return self.begin(State::Waiting(at), at, first, now);
        }
        let samples = gap.min(i64::from(FRAME)) as u32;
        at.timestamp += i64::from(samples);
        at.made_up += samples;
        self.state = State::Playing(at);
        let successor = (self.packets.get(&first.0)).filter(|(_, packet)| packet.repairs);
        if let Some((_, packet)) = successor
            && gap == i64::from(packet.samples)
        {
            self.stats.played += u64::from(samples);
            return Pull::Repair {
                successor: packet.payload.clone(),
                samples,
            };
        }
        self.count_made_up(samples);
        Pull::Conceal { samples }
    }

    fn play(&mut self, at: Position, (sequence, timestamp): (i64, i64), now: i64) -> Pull {
        let Some((_, packet)) = self.packets.remove(&sequence) else {
            return Pull::Silence { samples: STEP };
        };
        self.stats.received += 1;
        let missing = (sequence - at.sequence - 1).max(0) as u64;
        self.stats.lost += missing;
        self.delay.observe_loss(missing > 0);
        self.stats.played += u64::from(packet.samples);
        self.state = State::Playing(Position {
            sequence,
            timestamp: timestamp + i64::from(packet.samples),
            made_up: 0,
        });
        if self.waits.len() == WINDOW {
            self.waits.pop_front();
        }
        self.waits
            .push_back(self.delay.wait_micros(micros(timestamp), now));
        Pull::Packet(packet.payload)
    }

    fn count_made_up(&mut self, samples: u32) {
        self.stats.concealed += u64::from(samples);
        self.stats.played += u64::from(samples);
    }

    /// Returns what would bring the wait nearer to its target; asked after each packet.
    pub(super) fn correction(&self) -> Correction {
        if self.waits.len() < WINDOW {
            return Correction::None;
        }
        let target = self.delay.target().as_micros() as i64;
        let least = self.waits.iter().copied().min().unwrap_or(target);
        let most = self.waits.iter().copied().max().unwrap_or(target);
        if least > target + EXCESS {
            Correction::Shorten {
                urgent: least > target + URGENT_EXCESS,
            }
        } else if most < target - SHORTAGE {
            Correction::Lengthen
        } else {
            Correction::None
        }
    }
}

/// Time of a sender's sample, in microseconds.
fn micros(timestamp: i64) -> i64 {
    timestamp * 1_000_000 / i64::from(SAMPLE_RATE)
}

/// Microseconds from `origin` to `instant`, negative if it was before.
fn since(origin: Instant, instant: Instant) -> i64 {
    match instant.checked_duration_since(origin) {
        Some(after) => after.as_micros() as i64,
        None => -(origin.duration_since(instant).as_micros() as i64),
    }
}

#[cfg(test)]
#[path = "jitter_tests.rs"]
mod tests;
