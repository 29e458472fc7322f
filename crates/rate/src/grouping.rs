//! Arrival grouping: packets that left within one burst count as one
//! (draft-ietf-rmcat-gcc-02 section 5.2), so that pacing and frames do not look like a queue.

use std::time::{Duration, Instant};

/// Packets that left within this time are one group.
const BURST: Duration = Duration::from_millis(5);
/// A packet that arrived within this time of the one before, and was delayed less than it, waited
/// behind it somewhere on the way: it belongs to the same group.
const BUNCHED: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
struct Group {
    first_departure: Instant,
    last_departure: Instant,
    first_arrival: Duration,
    last_arrival: Duration,
}

/// How much further apart two groups arrived than they left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Variation {
    /// Arrival of the later group, on the receiver's clock.
    pub(crate) arrival: Duration,
    /// Time between the departures, in milliseconds.
    pub(crate) departure_millis: f64,
    /// Arrival spacing less departure spacing, in milliseconds: positive while a queue grows.
    pub(crate) delay_millis: f64,
}

/// Turns packets into [`Variation`]s.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
    before: Option<Group>,
    current: Option<Group>,
}

impl Grouping {
    /// Takes in a packet that arrived; returns how the group before it compares to its predecessor,
    /// once it is complete.
    pub(crate) fn push(&mut self, departure: Instant, arrival: Duration) -> Option<Variation> {
        let new = Group {
            first_departure: departure,
            last_departure: departure,
            first_arrival: arrival,
            last_arrival: arrival,
        };
        let Some(current) = &mut self.current else {
            self.current = Some(new);
            return None;
        };
        if departure < current.first_departure {
            return None;
        }
        if current.takes(departure, arrival) {
            current.last_departure = current.last_departure.max(departure);
            current.last_arrival = current.last_arrival.max(arrival);
            return None;
        }
        let complete = std::mem::replace(current, new);
        let before = self.before.replace(complete)?;
        let departures = complete
            .last_departure
            .saturating_duration_since(before.last_departure);
        let departure_millis = departures.as_secs_f64() * 1e3;
        let arrival_millis =
            (complete.last_arrival.as_secs_f64() - before.last_arrival.as_secs_f64()) * 1e3;
        Some(Variation {
            arrival: complete.last_arrival,
            departure_millis,
            delay_millis: arrival_millis - departure_millis,
        })
    }
}

impl Group {
    fn takes(&self, departure: Instant, arrival: Duration) -> bool {
        if departure.saturating_duration_since(self.first_departure) <= BURST {
            return true;
        }
        let sent = departure.saturating_duration_since(self.last_departure);
        let received = arrival.saturating_sub(self.last_arrival);
        received < sent
            && received <= BUNCHED
            && arrival.saturating_sub(self.first_arrival) < Duration::from_millis(100)
    }
}
