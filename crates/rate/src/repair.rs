//! Packets that are asked for again (RFC 4585 section 6.2.1): when, and how many copies answer.
//!
//! ```text
//! noted ─▶ asked · asked · asked ─ a round trip and a bit ─▶ asked · asked · asked ─ …
//!                    └─▶ copy copy copy
//! ```
//! A request may be lost, and what answers it. Another round trip is a picture that stands still, and
//! losses are few: so both are said three times over. A sender answers a row of requests once.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use crate::Plan;

/// How often one packet is asked for in a row, and how far apart that is where the round trip is not
/// shorter: losses come in bursts.
const ROW: u32 = 3;
const APART: Duration = Duration::from_millis(10);
/// What a round trip is taken for where it is not known.
const USUAL: Duration = Duration::from_millis(80);
/// Most rows for one packet.
const ROWS: u32 = 4;
/// How long a packet may be merely out of order before it is asked for, where packets were out of order
/// lately; elsewhere it is asked for at once.
const REORDERING: Duration = Duration::from_millis(8);
const LATELY: Duration = Duration::from_secs(30);
/// What comes sooner than in this share of a round trip after it was missed, nothing can have answered.
const UNANSWERED: f64 = 0.4;
/// Where so many are missing, no more are said to be: whoever says so might say anything.
const MOST_EXPECTED: usize = 256;
/// How many packets are asked for at once at most.
const MOST_ASKED: usize = 64;

/// How many copies answer a row of requests; and how many where so much is lost that what is sent again
/// takes the room of pictures.
const COPIES: usize = 3;
const FEWER_COPIES: usize = 2;
const MUCH_LOST: f64 = 0.05;

/// Returns how many copies of a packet answer a row of requests, by the share of packets lost lately. A way that
/// is full loses what is sent too much; one copy is enough then.
pub fn copies(loss: Option<f64>, plan: &Plan) -> usize {
    match loss {
        _ if plan.congested => 1,
        Some(loss) if loss > MUCH_LOST => FEWER_COPIES,
        _ => COPIES,
    }
}

/// Returns the number nearest to `newest` that ends in these 16 bits.
pub fn nearest(newest: u64, sequence: u16) -> u64 {
    let ahead = sequence.wrapping_sub(newest as u16) as i16;
    newest.wrapping_add_signed(i64::from(ahead))
}

/// Returns how long after a request was answered another one for the same packet is taken for one of the same
/// row: halfway between the end of a row and the begin of the next, since both may drift on the way.
pub fn same_row(round_trip: Option<Duration>) -> Duration {
    let round_trip = round_trip.unwrap_or(USUAL);
    ((ROW - 1) * apart(round_trip) + pause(round_trip)) / 2
}

/// Returns how far apart the requests of a row are.
fn apart(round_trip: Duration) -> Duration {
    APART.min(round_trip / ROW)
}

/// Returns how long after a row's begin the next one begins.
fn pause(round_trip: Duration) -> Duration {
    round_trip + round_trip / 8 + Duration::from_millis(15)
}

/// A packet that has not come.
#[derive(Debug, Clone, Copy)]
struct Missing {
    since: Instant,
    asked: u32,
    ask_at: Instant,
}

/// What is missing of a stream whose packets are numbered without wrapping.
#[derive(Debug, Default)]
pub struct Requests {
    /// The number after the highest seen; none was seen before that.
    end: Option<u64>,
    missing: BTreeMap<u64, Missing>,
    asked_for: u64,
    /// The last round trip that was told.
    round_trip: Duration,
    /// When a packet was last out of order.
    reordered: Option<Instant>,
}

impl Requests {
    /// Takes note of a packet that came: what lies between it and the highest before is missing.
    pub fn note(&mut self, number: u64, now: Instant) {
        for missed in self.end.unwrap_or(number)..number {
            self.miss(missed, now);
        }
        self.end = self.end.max(Some(number + 1));
        let Some(missing) = self.missing.remove(&number) else {
            return;
        };
        let late = now.saturating_duration_since(missing.since);
        if late < self.round_trip.mul_f64(UNANSWERED) {
            self.reordered = Some(now);
        }
    }

    /// Learns that this number was sent: it is missing, and what lies between it and the highest seen.
    /// Before anything was seen, or where much is missing already, nothing is.
    pub fn expect(&mut self, number: u64, now: Instant) {
        let Some(end) = self.end else { return };
        let room = MOST_EXPECTED.saturating_sub(self.missing.len()) as u64;
        for missed in end..number.saturating_add(1).min(end + room) {
            self.miss(missed, now);
            self.end = Some(missed + 1);
        }
    }

    fn miss(&mut self, number: u64, now: Instant) {
        let lately = |at: Instant| now.saturating_duration_since(at) < LATELY;
        let patience = match self.reordered.is_some_and(lately) {
            true => REORDERING,
            false => Duration::ZERO,
        };
        let missing = Missing {
            since: now,
            asked: 0,
            ask_at: now + patience,
        };
        self.missing.insert(number, missing);
    }

    /// Begins anew: nothing before this number is of interest.
    pub fn restart(&mut self, number: u64) {
        self.missing.clear();
        self.end = Some(number);
    }

    /// Gives up what is missing before this number.
    pub fn give_up_before(&mut self, number: u64) {
        if (self.missing.first_key_value()).is_some_and(|(first, _)| *first < number) {
            self.missing = self.missing.split_off(&number);
        }
    }

    /// Returns the number nearest to the highest seen that ends in these 16 bits; `None` before anything was
    /// seen.
    pub fn nearest(&self, sequence: u16) -> Option<u64> {
        Some(nearest(self.end?.checked_sub(1)?, sequence))
    }

    /// Returns the number after the highest seen.
    pub fn end(&self) -> Option<u64> {
        self.end
    }

    /// Returns since when a packet is missing; `None` if it is not.
    pub fn missing_since(&self, number: u64) -> Option<Instant> {
        self.missing.get(&number).map(|missing| missing.since)
    }

    /// Returns since when the first that is missing is.
    pub fn first_since(&self) -> Option<Instant> {
        (self.missing.first_key_value()).map(|(_, missing)| missing.since)
    }

    /// Returns how many are missing of these.
    pub fn count(&self, numbers: Range<u64>) -> usize {
        self.missing.range(numbers).count()
    }

    /// Returns how many packets had to be asked for.
    pub fn asked_for(&self) -> u64 {
        self.asked_for
    }

    /// Returns the numbers to ask for now, where a request and its answer take a `round_trip`.
    pub fn ask(&mut self, round_trip: Duration, now: Instant) -> Vec<u64> {
        self.round_trip = round_trip;
        let (pause, apart) = (pause(round_trip), apart(round_trip));
        let mut asked = Vec::new();
        for (number, missing) in &mut self.missing {
            if missing.asked < ROW * ROWS && missing.ask_at <= now && asked.len() < MOST_ASKED {
                self.asked_for += u64::from(missing.asked == 0);
                missing.asked += 1;
                missing.ask_at = now
                    + match missing.asked % ROW {
                        0 => pause - (ROW - 1) * apart,
                        _ => apart,
                    };
                asked.push(*number);
            }
        }
        asked
    }

    /// Returns when [`ask`](Self::ask) has something next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let missing = self.missing.values();
        missing
            .filter(|missing| missing.asked < ROW * ROWS)
            .map(|missing| missing.ask_at)
            .min()
    }
}
