//! What the numbers of packets tell: where each belongs, and whether a gap before it is a loss or
//! a sender with nothing to say.
//!
//! Time stamps are the same on both ways. Sequence numbers are counted by each way: between two
//! packets of one way they tell whether something was sent in between; between two ways they tell
//! nothing. A marked packet begins a talk spurt: nothing was sent before it on its way.

use std::collections::VecDeque;

use super::jitter::Packet;
use crate::media::{Way, frame::SAMPLE_RATE};

/// RFC 3550 A.1: jumps beyond these are a sender that started anew, if the next packet agrees.
const MAX_DROPOUT: i64 = 3000;
const MAX_MISORDER: i64 = 100;
/// A sender's time that goes back, or forward by more than this, starts a new time line.
const MAX_TIME_JUMP: i64 = 3600 * SAMPLE_RATE as i64;
/// Played packets that are remembered: more than one way can be behind the other.
const MEMORY: usize = 64;

/// Unwrapped sequence numbers further apart than this are of different connections with the sender.
const OTHER_LINE: i64 = 1 << 31;

/// Sequence numbers of one packet on the ways that brought it, unwrapped.
pub(super) type Sequences = [Option<i64>; 2];

/// Where a packet belongs, in unwrapped numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On the present time line.
    At { sequence: i64, timestamp: i64 },
    /// At the start of a new one: the old one is over.
    Anew { sequence: i64, timestamp: i64 },
    /// Its numbers make no sense (yet).
    Nowhere,
}

/// What lies between the sound that was played last and the next packet there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// So many packets were sent and never came; the rest, if any, is silence.
    Lost(i64),
    /// Nothing was sent.
    Silence,
    /// Nobody can tell: the packet came another way than those before it.
    Unknown,
}

/// The numbers of one way.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Numbers of the newest packet that came.
    newest: (i64, i64),
    /// Numbers of the newest packet that was played, or came when its time was over.
    passed: Option<(i64, i64)>,
    suspect: Option<u16>,
}

/// The numbers of both ways.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The newest time stamp.
    newest: Option<i64>,
    lines: [Option<Line>; 2],
    /// Time stamps of what was played, the newest last.
    played: VecDeque<i64>,
}

impl Line {
    /// Puts a packet so many numbers after the newest.
    fn put(&mut self, step: i64, timestamp: i64) -> Place {
        let sequence = self.newest.0 + step;
        if step > 0 {
            self.newest = (sequence, timestamp);
        }
        Place::At {
            sequence,
            timestamp,
        }
    }
}

impl Lines {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Finds the place of a packet.
    pub(super) fn place(&mut self, packet: &Packet) -> Place {
        if packet.recovered {
            return self.place_recovered(packet);
        }
        let Some(newest) = self.newest else {
            return self.start_anew(packet);
        };
        let advance = i64::from(packet.timestamp.wrapping_sub(newest as u32) as i32);
        let timestamp = newest + advance;
        let jumps = advance.abs() > MAX_TIME_JUMP;
        let Some(line) = &mut self.lines[packet.way as usize] else {
            return match jumps {
                true => self.start_anew(packet),
                false => self.begin(packet, timestamp),
            };
        };
        let step = i64::from(packet.sequence.wrapping_sub(line.newest.0 as u16) as i16);
        if !(-MAX_MISORDER..MAX_DROPOUT).contains(&step) {
            let again = line.suspect == Some(packet.sequence);
            line.suspect = Some(packet.sequence.wrapping_add(1));
            return match (jumps, again || packet.marker) {
                // Another connection with the same sender.
                (false, true) => self.begin(packet, timestamp),
                (true, _) if again => self.start_anew(packet),
                _ => Place::Nowhere,
            };
        }
        let backwards = step != 0 && (step > 0) != (timestamp > line.newest.1);
        if backwards || jumps {
            return self.start_anew(packet);
        }
        line.suspect = None;
        self.newest = Some(newest.max(timestamp));
        line.put(step, timestamp)
    }

    /// Finds the place of a packet that came in the one after it: on the line that there is, or nowhere.
    fn place_recovered(&mut self, packet: &Packet) -> Place {
        let Some((newest, line)) = self.newest.zip(self.lines[packet.way as usize].as_mut()) else {
            return Place::Nowhere;
        };
        let advance = i64::from(packet.timestamp.wrapping_sub(newest as u32) as i32);
        let timestamp = newest + advance;
        let step = i64::from(packet.sequence.wrapping_sub(line.newest.0 as u16) as i16);
        let strange = advance.abs() > MAX_TIME_JUMP
            || !(-MAX_MISORDER..MAX_DROPOUT).contains(&step)
            || step.signum() != (timestamp - line.newest.1).signum();
        if strange {
            return Place::Nowhere;
        }
        self.newest = Some(newest.max(timestamp));
        line.put(step, timestamp)
    }

    /// Begins a line on the present time line.
    fn begin(&mut self, packet: &Packet, timestamp: i64) -> Place {
        let lines = self.lines[packet.way as usize].map_or(0, |line| (line.newest.0 >> 32) + 1);
        let sequence = (lines << 32) + i64::from(packet.sequence);
        self.lines[packet.way as usize] = Some(Line {
            newest: (sequence, timestamp),
            passed: None,
            suspect: None,
        });
        self.newest = Some(
            self.newest
                .map_or(timestamp, |newest| newest.max(timestamp)),
        );
        Place::At {
            sequence,
            timestamp,
        }
    }

    fn start_anew(&mut self, packet: &Packet) -> Place {
        *self = Self::default();
        let (sequence, timestamp) = (i64::from(packet.sequence), i64::from(packet.timestamp));
        self.begin(packet, timestamp);
        Place::Anew {
            sequence,
            timestamp,
        }
    }

    /// A packet of this way came when its time was over.
    pub(super) fn pass(&mut self, way: Way, sequence: i64, timestamp: i64) {
        let Some(line) = &mut self.lines[way as usize] else {
            return;
        };
        if line.passed.is_none_or(|(passed, _)| sequence > passed) {
            line.passed = Some((sequence, timestamp));
        }
    }

    /// A packet was played, or given up.
    pub(super) fn play(&mut self, sequences: Sequences, timestamp: i64) {
        for way in Way::BOTH {
            if let Some(sequence) = sequences[way as usize] {
                self.pass(way, sequence, timestamp);
            }
        }
        if self.played.len() == MEMORY {
            self.played.pop_front();
        }
        self.played.push_back(timestamp);
    }

    /// Tells what lies before a packet that is next to be played. `marked` tells whether it begins a
    /// talk spurt on every way that is of importance now.
    pub(super) fn gap(&self, sequences: Sequences, marked: bool) -> Gap {
        let missing = |way: Way| {
            let (passed, since) = self.lines[way as usize]?.passed?;
            let sent = sequences[way as usize]? - passed - 1;
            if sent >= OTHER_LINE {
                return None;
            }
            // Some of these have come the other way.
            let played = self.played.iter().rev().take_while(|at| **at > since);
            Some((sent - played.count() as i64).max(0))
        };
        let known = Way::BOTH.into_iter().filter_map(missing).min();
        match known {
            Some(0) => Gap::Silence,
            Some(lost) => Gap::Lost(lost),
            None if marked => Gap::Silence,
            None => Gap::Unknown,
        }
    }
}
