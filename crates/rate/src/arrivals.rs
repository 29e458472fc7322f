//! When packets arrived, and when the sender is told.
//!
//! ```text
//! packet ─▶ [ 7 at 3 ms · 9 at 5 ms · … ] ─┬─ 20 to 100 ms, within 5 % of what is received ─▶ report
//!                                          └─ each packet is in two reports: one may be lost
//! ```
//! Feedback is what rate control sees by: the sooner it comes, the sooner a queue is noticed. It
//! costs, too, so that what it may cost is earned by what arrives.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::DataSize;

/// The shortest time between two reports: a picture at 50 frames a second.
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest, while packets arrive (as in libwebrtc, 50 to 250 ms; ours must notice a queue).
const LONGEST: Duration = Duration::from_millis(100);
/// Packets that come together are reported together.
const TOGETHER: Duration = Duration::from_millis(5);
/// The share of what is received that reports may take.
const SHARE: f64 = 0.05;
/// What of it may be saved up, in bytes, and is there at the start, when probes must be answered
/// soon: 20 reports.
const SAVED: f64 = 1_600.0;
/// What a report takes on the wire besides two bytes a packet: IPv4 20, UDP 8, RTCP 20, SRTCP 14.
const REPORT: f64 = 62.0;
/// Most packets in one report: with two bytes each for arrival and status it fits into one packet.
const MOST_REPORTED: usize = 400;
/// Most packets that are remembered; what is older than the newest by more is forgotten.
const MOST_SEEN: usize = 2_000;
/// How long a packet is worth being told of again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long arrivals are remembered: a report can tell times that are up to 8 s apart.
const MEMORY: Duration = Duration::from_secs(4);

/// Of fewer packets no loss is told: one lost would be 2 %.
const FEWEST: usize = 50;

/// What arrived, for the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivalReport {
    /// The transport-wide number of the first packet.
    pub first: u16,
    /// When it and those after it arrived, since any origin; `None` if one has not. The last arrived.
    pub arrivals: Vec<Option<Duration>>,
}

/// Records arrivals and makes reports. See the module.
#[derive(Debug, Default)]
pub struct Arrivals {
    origin: Option<Instant>,
    /// The number of the first in `seen`, counted without wrapping.
    first: u64,
    seen: VecDeque<Option<Duration>>,
    /// Where the next report begins, and where new packets begin in it.
    begin: u64,
    unreported: u64,
    /// When the first packet came that no report has spoken of.
    waiting_since: Option<Instant>,
    reported_at: Option<Instant>,
    /// What reports may cost now, in bytes.
    allowance: f64,
}

impl Arrivals {
    /// Makes a record of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the number of a packet that arrived, and its size.
    pub fn handle_packet(&mut self, now: Instant, number: u16, size: DataSize) {
        if self.origin.is_none() {
            // Counting begins high enough that nothing comes before zero.
            self.origin = Some(now);
            self.restart((1 << 32) + u64::from(number));
            self.allowance = SAVED;
        }
        self.allowance = (self.allowance + size.bytes() as f64 * SHARE).min(SAVED);
        let newest = self.end().saturating_sub(1);
        let ahead = i64::from(number.wrapping_sub(newest as u16) as i16);
        let number = newest.saturating_add_signed(ahead);
        if number > self.end() + MOST_SEEN as u64 {
            self.restart(number);
        }
        if number < self.first {
            // So late that its loss is known.
            return;
        }
        while self.end() <= number {
            self.seen.push_back(None);
        }
        self.forget_old(now);
        let origin = self.origin.unwrap_or(now);
        let index = number.checked_sub(self.first);
        let Some(seen) = index.and_then(|index| self.seen.get_mut(index as usize)) else {
            return;
        };
        if seen.is_none() {
            *seen = Some(now.saturating_duration_since(origin));
            self.begin = self.begin.min(number);
            self.waiting_since.get_or_insert(now);
        }
    }

    /// Returns the share of packets that did not arrive in the last seconds, 0.0 to 1.0, once enough came
    /// to tell.
    pub fn loss(&self) -> Option<f64> {
        let missing = self.seen.iter().filter(|seen| seen.is_none()).count();
        (self.seen.len() >= FEWEST).then(|| missing as f64 / self.seen.len() as f64)
    }

    /// Returns when a report is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting_since = self.waiting_since?;
        let packets = self
            .end()
            .saturating_sub(self.begin)
            .min(MOST_REPORTED as u64);
        let affordable = self.allowance >= REPORT + 2.0 * packets as f64;
        let pause = if affordable { SHORTEST } else { LONGEST };
        let earliest = self.reported_at.map(|at| at + pause);
        let together = waiting_since + TOGETHER;
        Some(earliest.map_or(together, |earliest| earliest.max(together)))
    }

    /// Returns the report that is due, if one is.
    pub fn poll(&mut self, now: Instant) -> Option<ArrivalReport> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return None;
        }
        self.skip_old(now);
        let mut begin = (self.begin - self.first) as usize;
        let gap = self.seen.iter().skip(begin).position(Option::is_some)?;
        if gap >= MOST_REPORTED {
            begin += gap;
            self.begin += gap as u64;
        }
        let mut arrivals: Vec<_> = (self.seen.iter().skip(begin))
            .take(MOST_REPORTED)
            .copied()
            .collect();
        while arrivals.last().is_some_and(Option::is_none) {
            arrivals.pop();
        }
        let first = self.begin as u16;
        let end = self.begin + arrivals.len() as u64;
        // The next report speaks again of what is new in this one.
        self.begin = self.unreported.clamp(self.begin, end);
        self.unreported = end;
        self.reported_at = Some(now);
        self.allowance = (self.allowance - REPORT - 2.0 * arrivals.len() as f64).max(0.0);
        // What did not fit is in the next.
        self.waiting_since = (end < self.end()).then_some(now);
        (!arrivals.is_empty()).then_some(ArrivalReport { first, arrivals })
    }

    fn end(&self) -> u64 {
        self.first + self.seen.len() as u64
    }

    fn restart(&mut self, number: u64) {
        self.seen.clear();
        self.first = number;
        self.begin = number;
        self.unreported = number;
    }

    fn forget_old(&mut self, now: Instant) {
        let origin = self.origin.unwrap_or(now);
        let since = now.saturating_duration_since(origin);
        while let Some(index) = self.seen.iter().position(Option::is_some) {
            let old = self.seen[index].is_some_and(|at| since.saturating_sub(at) > MEMORY);
            let drop = match old {
                true => index + 1,
                false => self.seen.len().saturating_sub(MOST_SEEN),
            };
            if drop == 0 {
                break;
            }
            self.seen.drain(..drop);
            self.first += drop as u64;
        }
    }

    /// What was told of before is told again only while it is recent.
    fn skip_old(&mut self, now: Instant) {
        let origin = self.origin.unwrap_or(now);
        let since = now.saturating_duration_since(origin);
        self.begin = self.begin.max(self.first);
        self.unreported = self.unreported.max(self.begin);
        while self.begin < self.unreported {
            let begin = (self.begin - self.first) as usize;
            let Some(gap) = self.seen.iter().skip(begin).position(Option::is_some) else {
                break;
            };
            let old = self.seen[begin + gap].is_some_and(|at| since.saturating_sub(at) > AGAIN);
            if !old {
                break;
            }
            self.begin += gap as u64 + 1;
        }
    }
}
