//! The queue on the way, from one-way delays.
//!
//! The two clocks are not aligned, so only differences count: the smallest delay seen in the last
//! while is taken for an empty queue. The smallest of the last moments above that is the queue that
//! *stands*: minima ignore the short queue that every picture makes, and the noise of schedulers.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How far back an empty queue is remembered: long enough that pictures of uneven size left it empty
/// once, short enough to follow a new path and drifting clocks (100 ppm are 3 ms).
const BASE_WINDOW: Duration = Duration::from_secs(30);
/// One slot of the base window.
const BASE_SLOT: Duration = Duration::from_millis(500);
/// The moments whose smallest delay is the standing queue: three pictures, five packets of sound.
const STANDING_WINDOW: Duration = Duration::from_millis(100);
/// The moments whose smallest delay is the newest queue.
const NEWEST_WINDOW: Duration = Duration::from_millis(12);
/// Up to this, a queue counts as empty: timers and clocks are no better.
pub(crate) const EMPTY: Duration = Duration::from_millis(4);

/// Turns departures and arrivals into the delay of the queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The first departure and arrival, the origin of both clocks.
    origin: Option<(Instant, Duration)>,
    /// Smallest offset of each slot, oldest first.
    base: VecDeque<(Instant, i64)>,
    recent: VecDeque<(Instant, i64)>,
}

impl Queue {
    /// Takes in one packet that arrived; returns how long it waited.
    pub(crate) fn push(&mut self, departure: Instant, arrival: Duration) -> Duration {
        let (first_departure, first_arrival) = *self.origin.get_or_insert((departure, arrival));
        let sent = signed_micros(departure, first_departure);
        let received = arrival.as_micros() as i64 - first_arrival.as_micros() as i64;
        let offset = received - sent;
        match self.base.back_mut() {
            Some((started, smallest))
                if departure.saturating_duration_since(*started) < BASE_SLOT =>
            {
                *smallest = offset.min(*smallest);
            }
            _ => self.base.push_back((departure, offset)),
        }
        self.recent.push_back((departure, offset));
        expire(&mut self.base, departure, BASE_WINDOW);
        expire(&mut self.recent, departure, STANDING_WINDOW);
        self.above_base(Some(offset))
    }

    /// Returns how long a packet waits in the queue that stands.
    pub(crate) fn standing(&self) -> Duration {
        self.above_base(self.recent.iter().map(|(_, offset)| *offset).min())
    }

    /// Returns how long the packets that left last waited, as it is now.
    pub(crate) fn newest(&self) -> Duration {
        let Some((last, _)) = self.recent.back() else {
            return Duration::ZERO;
        };
        let newest = (self.recent.iter().rev())
            .take_while(|(at, _)| last.saturating_duration_since(*at) <= NEWEST_WINDOW);
        self.above_base(newest.map(|(_, offset)| *offset).min())
    }

    /// What stands now is no queue but a longer path: counts from here.
    pub(crate) fn rebase(&mut self) {
        self.base.clear();
        self.base
            .extend(self.recent.iter().min_by_key(|(_, offset)| *offset));
    }

    fn above_base(&self, offset: Option<i64>) -> Duration {
        let base = self.base.iter().map(|(_, offset)| *offset).min();
        match (offset, base) {
            (Some(offset), Some(base)) => {
                Duration::from_micros(u64::try_from(offset - base).unwrap_or(0))
            }
            _ => Duration::ZERO,
        }
    }
}

fn signed_micros(later: Instant, earlier: Instant) -> i64 {
    match later.checked_duration_since(earlier) {
        Some(ahead) => ahead.as_micros() as i64,
        None => -(earlier.duration_since(later).as_micros() as i64),
    }
}

fn expire(window: &mut VecDeque<(Instant, i64)>, now: Instant, length: Duration) {
    while window.len() > 1
        && window
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) > length)
    {
        window.pop_front();
    }
}
