//! The delay line: propagation, jitter, reordering and duplication.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Duration,
};

use crate::{Random, Settings};

/// Packets under way, soonest first.
#[derive(Debug)]
pub(crate) struct Flight<T> {
    heap: BinaryHeap<Reverse<Flying<T>>>,
    count: u64,
    last_due: Duration,
}

#[derive(Debug)]
struct Flying<T> {
    due: Duration,
    /// Packets due at the same time keep their order.
    number: u64,
    bytes: usize,
    packet: T,
}

impl<T: Clone> Flight<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            count: 0,
            last_due: Duration::ZERO,
        }
    }

    /// Takes in a packet that left the bottleneck at `at`.
    pub(crate) fn push(
        &mut self,
        at: Duration,
        packet: T,
        bytes: usize,
        settings: &Settings,
        random: &mut Random,
    ) {
        let mut due = at + delay(settings, random);
        match settings.reorder {
            Some(reorder) if random.chance(reorder.share) => due += reorder.extra,
            // Jitter alone never reorders: a late packet delays those behind it.
            _ => {
                due = due.max(self.last_due);
                self.last_due = due;
            }
        }
        if random.chance(settings.duplicate) {
            self.insert(due, packet.clone(), bytes);
        }
        self.insert(due, packet, bytes);
    }

    /// Returns the next packet that is due, and its size in bytes.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<(T, usize)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(flying) = self.heap.pop()?;
        Some((flying.packet, flying.bytes))
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(flying)| flying.due)
    }

    /// Loses everything; returns how many packets that were.
    pub(crate) fn clear(&mut self) -> usize {
        let lost = self.heap.len();
        self.heap.clear();
        lost
    }

    fn insert(&mut self, due: Duration, packet: T, bytes: usize) {
        let number = self.count;
        self.count += 1;
        self.heap.push(Reverse(Flying {
            due,
            number,
            bytes,
            packet,
        }));
    }
}

fn delay(settings: &Settings, random: &mut Random) -> Duration {
    if settings.jitter.is_zero() {
        return settings.delay;
    }
    let deviation = match settings.normal {
        true => random.normal().clamp(-3.0, 3.0),
        false => 2.0 * random.uniform() - 1.0,
    };
    let change = settings.jitter.mul_f64(deviation.abs());
    match deviation < 0.0 {
        true => settings.delay.saturating_sub(change),
        false => settings.delay + change,
    }
}

impl<T> Ord for Flying<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl<T> PartialOrd for Flying<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Flying<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Flying<T> {}
