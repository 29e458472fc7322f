//! The standing queue on the way, from one-way delays.
//!
//! The two clocks are not aligned, so only differences count: the smallest delay seen in
//! the last while is taken for an empty queue, and the smallest of the last moments above
//! that for the queue that stands. Minima ignore the short queue that every burst makes.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How far back an empty queue is remembered: long enough to have drained once, short enough
/// to follow a new path and drifting clocks.
const BASE_WINDOW: Duration = Duration::from_secs(15);
/// One slot of the base window.
const BASE_SLOT: Duration = Duration::from_millis(500);
/// The moments whose smallest delay is the standing queue. Longer than the pause between two
/// bursts of a 10 frames a second camera.
const STANDING_WINDOW: Duration = Duration::from_millis(250);

/// Turns departures and arrivals into the delay of the standing queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The first departure and arrival, the origin of both clocks.
    origin: Option<(Instant, Duration)>,
    /// Smallest offset of each slot, oldest first.
    base: VecDeque<(Instant, i64)>,
    recent: VecDeque<(Instant, i64)>,
}

impl Queue {
    /// Takes in one packet that arrived.
    pub(crate) fn push(&mut self, departure: Instant, arrival: Duration) {
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
    }

    /// Returns how long a packet waits in the queue that stands, as far as is known.
    pub(crate) fn standing(&self) -> Duration {
        let smallest =
            |window: &VecDeque<(Instant, i64)>| window.iter().map(|(_, offset)| *offset).min();
        match (smallest(&self.recent), smallest(&self.base)) {
            (Some(recent), Some(base)) => {
                Duration::from_micros(u64::try_from(recent - base).unwrap_or(0))
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
