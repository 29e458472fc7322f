//! The jitter buffer: packets in as the network brings them, sound out in even steps.
//!
//! ```text
//! push(packet, arrived) ─▶ [ by time stamp ] ─▶ pull(now) ─▶ packet · repair · made up · silence
//!                            ├ Lines: what came, what is missing
//!                            └ Delays: how long to wait
//! ```
//!
//! Pure: time is an argument. The playout position only moves past sound that was played, or
//! that is known to be lost because something after it came. While nothing at all is there,
//! sound is made up and the position stands still, so that a late packet is played late, and
//! not thrown away. What that silence was, a loss or a sender with nothing to say, shows
//! in the sequence number of the next packet; only then is it counted.
//!
//! A packet that was lost may come in the one after it (RFC 2198): it is played as if it had come itself,
//! and tells nothing of how long packets take.
//!
//! Packets may come on two ways at once. The first copy counts, and while both ways bring sound it
//! waits for the slower of them, so that either can end without anything missing.
//!
//! At most [`CAPACITY`] packets are held.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    delays::Delays,
    lines::{Gap, Lines, Place, Sequences},
};
use crate::media::{Way, frame::SAMPLE_RATE};

/// One received packet, its duration known.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) way: Way,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    /// Whether nothing was sent before it on its way.
    pub(super) marker: bool,
    /// Whether it did not come itself, but in the packet after it.
    pub(super) recovered: bool,
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
    /// Play a little slower; likewise.
    Lengthen {
        urgent: bool,
    },
}

/// What happened, counted from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct JitterStats {
    /// Packets played.
    pub(super) received: u64,
    /// Of these, those that came in the packet after them only.
    pub(super) recovered: u64,
    /// Packets that never came, or too late.
    pub(super) lost: u64,
    /// Samples made up for lost and late packets.
    pub(super) concealed: u64,
    /// Samples played, made up or not.
    pub(super) played: u64,
    /// Packets in a row that came before it was their time, on each way.
    pub(super) in_time: [u32; 2],
}

/// 1.3 s of 20 ms packets: more than the longest wait, with room for a burst.
pub(super) const CAPACITY: usize = 64;
/// 10 ms: the smallest piece of sound that is made up.
const STEP: u32 = 480;
const FRAME: u32 = 960;
/// Waits are looked at over so many packets before anything is corrected.
const WINDOW: usize = 10;
/// Excess that is put up with: one packet.
const EXCESS: i64 = 20_000;
const URGENT_EXCESS: i64 = 60_000;
/// Excess from which packets are skipped: shortening would take seconds.
/// It is more than another way may be faster, so that nothing is skipped where ways change.
const SKIP_EXCESS: i64 = 400_000;
const SHORTAGE: i64 = 5_000;
const URGENT_SHORTAGE: i64 = 60_000;

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

/// Where playout is, in unwrapped time stamps.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// The end of the last packet that was played or given up.
    heard: i64,
    /// The next sample to play.
    timestamp: i64,
    /// Samples made up in the present gap.
    made_up: u32,
}

impl Position {
    fn at(timestamp: i64) -> Self {
        Self {
            heard: timestamp,
            timestamp,
            made_up: 0,
        }
    }
}

/// A packet that waits, and what its copies told.
#[derive(Debug)]
struct Entry {
    packet: Packet,
    sequences: Sequences,
    /// Whether it begins a talk spurt on the ways on which it came.
    marked: bool,
}

/// Packets of one sender on their way to the decoder.
#[derive(Debug)]
pub(super) struct JitterBuffer {
    packets: BTreeMap<i64, Entry>,
    lines: Lines,
    delays: Delays,
    state: State,
    /// Whether the sender had said nothing before the last packet that was played: it is pausing.
    pausing: bool,
    /// How long sound travelled lately, from its capture until it was played, in microseconds; from
    /// an unknown origin.
    transits: VecDeque<i64>,
    origin: Option<Instant>,
    stats: JitterStats,
}

impl JitterBuffer {
    pub(super) fn new() -> Self {
        Self {
            packets: BTreeMap::new(),
            lines: Lines::new(),
            delays: Delays::new(),
            state: State::Fresh,
            pausing: false,
            transits: VecDeque::with_capacity(WINDOW),
            origin: None,
            stats: JitterStats::default(),
        }
    }

    pub(super) fn stats(&self) -> JitterStats {
        self.stats
    }

    /// Returns how long sound waited lately.
    pub(super) fn wait(&self) -> Duration {
        let sum: i64 = self.waits().sum();
        let mean = sum / self.transits.len().max(1) as i64;
        Duration::from_micros(mean.max(0) as u64)
    }

    fn waits(&self) -> impl Iterator<Item = i64> {
        let transits = self.transits.iter();
        transits.map(|transit| self.delays.wait(0, *transit))
    }

    /// Takes a packet in. Copies and packets whose time is over are dropped, but what they tell is not.
    pub(super) fn push(&mut self, packet: Packet) {
        let origin = *self.origin.get_or_insert(packet.arrived);
        let (sequence, timestamp) = match self.lines.place(&packet) {
            Place::Nowhere => return,
            Place::At {
                sequence,
                timestamp,
            } => (sequence, timestamp),
            Place::Anew {
                sequence,
                timestamp,
            } => {
                self.packets.clear();
                self.delays.restart();
                self.transits.clear();
                self.state = State::Fresh;
                (sequence, timestamp)
            }
        };
        let way = packet.way;
        if packet.recovered {
            self.recover(packet, sequence, timestamp);
            return;
        }
        let copy = self.packets.get_mut(&timestamp);
        let known = |copy: &Entry| copy.sequences[way as usize].is_some() && !copy.packet.recovered;
        if copy.as_deref().is_some_and(known) {
            return;
        }
        (self.delays).observe(way, micros(timestamp), since(origin, packet.arrived));
        if let Some(copy) = copy {
            copy.sequences[way as usize] = Some(sequence);
            copy.marked = packet.marker && (copy.marked || copy.packet.recovered);
            copy.packet.recovered = false;
            self.note_in_time(way, true);
            return;
        }
        let over = self.position().is_some_and(|at| timestamp < at.heard);
        self.note_in_time(way, !over);
        if over {
            self.lines.pass(way, sequence, timestamp);
            return;
        }
        let mut sequences = Sequences::default();
        sequences[way as usize] = Some(sequence);
        self.insert(timestamp, sequences, packet);
    }

    /// Takes in a packet that came in the one after it, unless it is there or its time is over.
    fn recover(&mut self, packet: Packet, sequence: i64, timestamp: i64) {
        let way = packet.way as usize;
        if let Some(copy) = self.packets.get_mut(&timestamp) {
            copy.sequences[way].get_or_insert(sequence);
            return;
        }
        if self.position().is_some_and(|at| timestamp < at.heard) {
            return;
        }
        let mut sequences = Sequences::default();
        sequences[way] = Some(sequence);
        self.insert(timestamp, sequences, packet);
    }

    fn insert(&mut self, timestamp: i64, sequences: Sequences, packet: Packet) {
        let entry = Entry {
            marked: packet.marker,
            sequences,
            packet,
        };
        self.packets.insert(timestamp, entry);
        if self.packets.len() > CAPACITY {
            self.skip_first();
        }
    }

    fn note_in_time(&mut self, way: Way, in_time: bool) {
        let count = &mut self.stats.in_time[way as usize];
        *count = if in_time { count.saturating_add(1) } else { 0 };
    }

    fn position(&self) -> Option<Position> {
        match self.state {
            State::Fresh => None,
            State::Waiting(at) | State::Playing(at) | State::Starved(at, _) => Some(at),
        }
    }

    /// Gives the first packet up, and moves behind it.
    fn skip_first(&mut self) {
        let Some((timestamp, entry)) = self.packets.pop_first() else {
            return;
        };
        let missing = self.missing(&entry);
        self.lines.play(entry.sequences, timestamp);
        if let State::Waiting(at) | State::Playing(at) | State::Starved(at, _) = &mut self.state {
            self.stats.lost += missing + 1;
            *at = Position::at(timestamp + i64::from(entry.packet.samples));
        }
    }

    /// Returns how many packets before this one are lost.
    fn missing(&self, entry: &Entry) -> u64 {
        match self.lines.gap(entry.sequences, false) {
            Gap::Lost(packets) => packets as u64,
            Gap::Silence | Gap::Unknown => 0,
        }
    }

    /// Tells what lies before the first packet.
    fn gap(&self) -> Gap {
        let Some((_, entry)) = self.packets.first_key_value() else {
            return Gap::Unknown;
        };
        // A way on which it has not come may yet bring something before it.
        let awaited =
            |way: &Way| entry.sequences[*way as usize].is_none() && self.delays.active(*way);
        let marked = entry.marked && !Way::BOTH.iter().any(awaited);
        match self.lines.gap(entry.sequences, marked) {
            Gap::Unknown if self.pausing => Gap::Silence,
            gap => gap,
        }
    }

    /// Returns what to play at `now`; whoever pulls plays all of it before pulling again.
    pub(super) fn pull(&mut self, now: Instant) -> Pull {
        let now = self.origin.map_or(0, |origin| since(origin, now));
        self.skip_excess(now);
        let first = self.packets.first_key_value().map(|(first, _)| *first);
        match (self.state, first) {
            (State::Fresh | State::Waiting(_), None) => Pull::Silence { samples: STEP },
            (State::Fresh, Some(first)) => self.begin(State::Fresh, first, now),
            (State::Waiting(at), Some(first)) => self.begin(State::Waiting(at), first, now),
            (State::Playing(at), None) => self.starve(at, 0),
            (State::Starved(at, made_up), None) => self.starve(at, made_up),
            (State::Starved(at, made_up), Some(first)) => self.resume(at, made_up, first, now),
            (State::Playing(at), Some(first)) => self.go_on(at, first, now),
        }
    }

    /// There is nothing to play.
    fn starve(&mut self, at: Position, made_up: u32) -> Pull {
        self.state = State::Starved(at, made_up.saturating_add(STEP));
        Pull::Conceal { samples: STEP }
    }

    /// Skips packets when far more has piled up than is called for.
    fn skip_excess(&mut self, now: i64) {
        let limit = self.delays.target().as_micros() as i64;
        let wait = |this: &Self| {
            let (timestamp, _) = this.packets.first_key_value()?;
            Some(this.delays.wait(micros(*timestamp), now))
        };
        if wait(self).is_none_or(|wait| wait < limit + SKIP_EXCESS) {
            return;
        }
        while wait(self).is_some_and(|wait| wait > limit) && self.packets.len() > 1 {
            self.skip_first();
        }
        self.transits.clear();
    }

    /// Tells whether sound of this time has waited long enough.
    fn is_due(&self, timestamp: i64, now: i64) -> bool {
        self.delays.wait(micros(timestamp), now) >= self.delays.target().as_micros() as i64
    }

    /// Starts, or starts again after a silence, once the first packet has waited long enough.
    fn begin(&mut self, until_then: State, first: i64, now: i64) -> Pull {
        if !self.is_due(first, now) {
            self.state = until_then;
            return Pull::Silence { samples: STEP };
        }
        self.play(first, now)
    }

    /// Something came after nothing did: finds out what the gap was.
    fn resume(&mut self, mut at: Position, made_up: u32, first: i64, now: i64) -> Pull {
        let gap = first - at.timestamp;
        if gap <= 0 {
            // The next one, late.
            self.count_made_up(made_up);
            return self.play(first, now);
        }
        match self.gap() {
            Gap::Silence => self.begin(State::Waiting(at), first, now),
            Gap::Unknown if gap > i64::from(made_up) && !self.is_due(first, now) => {
                self.starve(at, made_up)
            }
            Gap::Unknown => {
                self.count_made_up(gap.min(i64::from(made_up)) as u32);
                self.play(first, now)
            }
            Gap::Lost(missing) => {
                let lost = (missing as u64 * u64::from(FRAME)).min(u64::from(made_up)) as u32;
                self.count_made_up(lost);
                at.timestamp += gap.clamp(0, i64::from(made_up));
                at.made_up = lost;
                if gap > i64::from(made_up) {
                    return self.go_on(at, first, now);
                }
                self.play(first, now)
            }
        }
    }

    fn go_on(&mut self, mut at: Position, first: i64, now: i64) -> Pull {
        let gap = first - at.timestamp;
        if gap <= 0 {
            return self.play(first, now);
        }
        let missing = match self.gap() {
            Gap::Silence => return self.begin(State::Waiting(at), first, now),
            Gap::Unknown if self.is_due(first, now) => return self.play(first, now),
            // The way of those before it is late.
            Gap::Unknown => return self.starve(at, 0),
            Gap::Lost(missing) => missing as u64,
        };
        if u64::from(at.made_up) >= missing * u64::from(FRAME) {
            // More time passed than packets are missing: the rest was not sent.
            return self.begin(State::Waiting(at), first, now);
        }
        let samples = gap.min(i64::from(FRAME)) as u32;
        at.timestamp += i64::from(samples);
        at.made_up += samples;
        self.state = State::Playing(at);
        let successor = self.packets.get(&first).map(|entry| &entry.packet);
        if let Some(packet) = successor.filter(|packet| packet.repairs)
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

    fn play(&mut self, timestamp: i64, now: i64) -> Pull {
        let Some(entry) = self.packets.remove(&timestamp) else {
            return Pull::Silence { samples: STEP };
        };
        let recovered = entry.packet.recovered;
        self.stats.received += 1;
        self.stats.recovered += u64::from(recovered);
        let missing = self.missing(&entry);
        let silent = self.position().is_none_or(|at| at.heard < timestamp);
        self.pausing = silent && missing == 0;
        self.stats.lost += missing;
        (self.delays).observe_loss(entry.packet.way, missing > 0 || recovered, recovered);
        self.lines.play(entry.sequences, timestamp);
        let samples = entry.packet.samples;
        self.stats.played += u64::from(samples);
        self.state = State::Playing(Position::at(timestamp + i64::from(samples)));
        if self.transits.len() == WINDOW {
            self.transits.pop_front();
        }
        self.transits.push_back(now - micros(timestamp));
        Pull::Packet(entry.packet.payload)
    }

    fn count_made_up(&mut self, samples: u32) {
        self.stats.concealed += u64::from(samples);
        self.stats.played += u64::from(samples);
    }

    /// Returns what would bring the wait nearer to its target; asked after each packet.
    pub(super) fn correction(&self) -> Correction {
        if self.transits.len() < WINDOW {
            return Correction::None;
        }
        let target = self.delays.target().as_micros() as i64;
        let least = self.waits().min().unwrap_or(target);
        let most = self.waits().max().unwrap_or(target);
        if least > target + EXCESS {
            Correction::Shorten {
                urgent: least > target + URGENT_EXCESS,
            }
        } else if most < target - SHORTAGE {
            Correction::Lengthen {
                urgent: most < target - URGENT_SHORTAGE,
            }
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
