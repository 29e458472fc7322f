//! What is due when, for many things of which most move their deadline all the time.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// Deadlines of things that have numbers.
///
/// A thing stands in the heap with the earliest deadline that it had; when that is reached and the
/// thing is due only later, it is put in again. So a deadline that moves on costs nothing.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    heap: BinaryHeap<Reverse<(Instant, T)>>,
}

impl<T: Ord> Default for Agenda<T> {
    fn default() -> Self {
        let heap = BinaryHeap::new();
        Self { heap }
    }
}

impl<T: Copy + Ord> Agenda<T> {
    /// Has a thing looked at when `due`, unless that is so anyway: `listed` is the earliest time for
    /// which the thing stands here.
    pub(super) fn put(&mut self, thing: T, due: Instant, listed: &mut Option<Instant>) {
        if listed.is_none_or(|listed| due < listed) {
            *listed = Some(due);
            self.heap.push(Reverse((due, thing)));
        }
    }

    /// Returns when something is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out something that is to be looked at now, and the time for which it stood here. If it
    /// is listed for another time, it was put in again meanwhile.
    pub(super) fn take(&mut self, now: Instant) -> Option<(T, Instant)> {
        if self.next()? > now {
            return None;
        }
        let Reverse((at, thing)) = self.heap.pop()?;
        Some((thing, at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_that_moves_on_is_listed_once() {
        let now = crate::clock::now();
        let after = |millis| now + Duration::from_millis(millis);
        let mut agenda = Agenda::default();
        let mut listed = None;
        for millis in 10..1000 {
            agenda.put(1, after(millis), &mut listed);
        }
        assert_eq!(agenda.heap.len(), 1);
        agenda.put(1, after(5), &mut listed);
        assert_eq!(agenda.next(), Some(after(5)));
        assert_eq!(agenda.take(after(4)), None);
        assert_eq!(agenda.take(after(5)), Some((1, after(5))));
        assert_eq!(agenda.take(after(50)), Some((1, after(10))));
        assert_eq!(agenda.take(after(5000)), None);
    }
}
