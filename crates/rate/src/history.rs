//! What is on its way, joined with what the receiver says about it.
//!
//! ```text
//! departure ─▶ number ─▶ [ sent … sent ] ◀─ feedback: arrived at …, or not (yet)
//!                              └─▶ arrived, or lost for good: a PacketResult, once
//! ```
//! Three things that look alike are kept apart: a packet of which no feedback spoke (the feedback
//! may be lost: nothing is known), one that had not arrived when the feedback was made (it may be
//! late), and one that is lost: others left after it and arrived, and later feedback does not know
//! it either.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{DataSize, PacketResult, ProbeId};

/// How long a packet may be spoken of: longer than any way there and back.
const MEMORY: Duration = Duration::from_secs(3);
/// Most packets that are remembered: [`MEMORY`] at 20 Mb/s, and less than half of the 16-bit numbers,
/// so that a number names one packet.
const MOST_SENT: usize = 8_192;
/// How long after the feedback that first missed it a packet may still turn up: longer than any
/// reordering, and than a feedback message that had to wait for the next.
const LATE: Duration = Duration::from_millis(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// No feedback spoke of it.
    Unknown,
    /// It had not arrived, said feedback that came first at this moment.
    Missing(Instant),
    /// Reported: it arrived, or is lost.
    Told,
}

#[derive(Debug)]
struct Sent {
    departure: Instant,
    size: DataSize,
    probe: Option<ProbeId>,
    fate: Fate,
}

/// Numbers departing packets and tells their fates. See the module.
#[derive(Debug, Default)]
pub struct History {
    /// The number of the next packet.
    next: u16,
    /// Packets with consecutive numbers, the newest with the number before `next`.
    sent: VecDeque<Sent>,
}

impl History {
    /// Makes an empty history; numbers begin at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a departing packet and returns its transport-wide number.
    pub fn handle_sent(&mut self, now: Instant, size: DataSize, probe: Option<ProbeId>) -> u16 {
        while self.sent.len() >= MOST_SENT || self.sent.front().is_some_and(|sent| old(sent, now)) {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            departure: now,
            size,
            probe,
            fate: Fate::Unknown,
        });
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }

    /// Returns the number of the packet that departs next.
    pub fn next_number(&self) -> u16 {
        self.next
    }

    /// Takes in one feedback message, packet by packet: its number, and when it arrived on the
    /// receiver's clock, or that it had not. Returns the fates that were not told before, in the
    /// order of departure.
    pub fn handle_feedback(
        &mut self,
        now: Instant,
        statuses: impl IntoIterator<Item = (u16, Option<Duration>)>,
    ) -> Vec<PacketResult> {
        let mut arrivals = Vec::new();
        for (number, arrival) in statuses {
            let Some(index) = self.index(number) else {
                continue;
            };
            let fate = &mut self.sent[index].fate;
            match (*fate, arrival) {
                (Fate::Told, _) | (Fate::Missing(_), None) => {}
                (Fate::Unknown, None) => *fate = Fate::Missing(now),
                (Fate::Unknown | Fate::Missing(_), Some(arrival)) => {
                    *fate = Fate::Told;
                    arrivals.push((index, arrival));
                }
            }
        }
        arrivals.sort_unstable_by_key(|(index, _)| *index);
        let results = self.tell(now, &arrivals);
        while self
            .sent
            .front()
            .is_some_and(|sent| sent.fate == Fate::Told)
        {
            self.sent.pop_front();
        }
        results
    }

    /// Forgets what is on its way: it travels a way that is no longer used. Numbers go on.
    pub fn forget(&mut self) {
        self.sent.clear();
    }

    fn tell(&mut self, now: Instant, arrivals: &[(usize, Duration)]) -> Vec<PacketResult> {
        let mut results = Vec::with_capacity(arrivals.len());
        let mut arrivals = arrivals.iter().peekable();
        for (index, sent) in self.sent.iter_mut().enumerate() {
            let arrival = arrivals
                .next_if(|(arrived, _)| *arrived == index)
                .map(|(_, arrival)| *arrival);
            let lost = matches!(sent.fate, Fate::Missing(since)
                if now.saturating_duration_since(since) >= LATE);
            if lost {
                sent.fate = Fate::Told;
            }
            if lost || arrival.is_some() {
                results.push(PacketResult {
                    departure: sent.departure,
                    arrival,
                    size: sent.size,
                    probe: sent.probe,
                });
            }
        }
        results
    }

    fn index(&self, number: u16) -> Option<usize> {
        // How many left after it.
        let later = self.next.wrapping_sub(1).wrapping_sub(number);
        self.sent.len().checked_sub(1 + usize::from(later))
    }
}

fn old(sent: &Sent, now: Instant) -> bool {
    now.saturating_duration_since(sent.departure) > MEMORY
}
