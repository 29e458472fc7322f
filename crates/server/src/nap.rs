//! A nap of the thread before it waits, while much is relayed.
//!
//! To fall asleep and be woken costs the system about as much as to pass a packet on. A thread that
//! rests for a moment finds several packets at once, wherever they came, and can send some of them
//! together. The price is a delay of less than the nap, which no call can feel.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::clock;

/// From how many datagrams a second on: below, most naps would find nothing more.
const BUSY_PER_SECOND: f64 = 2000.0;
/// Over which time the rate is taken.
const WINDOW: Duration = Duration::from_millis(50);

/// Decides about naps.
#[derive(Debug)]
pub(crate) struct Naps {
    length: Duration,
    handled: AtomicUsize,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    handled: usize,
    busy: bool,
}

impl Naps {
    /// Begins awake; rests for `length` each time.
    pub(crate) fn new(length: Duration, now: Instant) -> Self {
        Self {
            length,
            handled: AtomicUsize::new(0),
            window: Mutex::new(Window {
                since: now,
                handled: 0,
                busy: false,
            }),
        }
    }

    /// Counts what was read or sent at once.
    pub(crate) fn count(&self, datagrams: usize) {
        self.handled.fetch_add(datagrams, Ordering::Relaxed);
    }

    /// Rests if that is worth it. Only where the system can rest for so short a time.
    pub(crate) fn rest(&self) {
        if cfg!(unix) && self.due(clock::now()) {
            thread::sleep(self.length);
        }
    }

    fn due(&self, now: Instant) -> bool {
        let handled = self.handled.swap(0, Ordering::Relaxed);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.handled += handled;
        let passed = now.saturating_duration_since(window.since);
        if passed >= WINDOW {
            window.busy = window.handled as f64 >= BUSY_PER_SECOND * passed.as_secs_f64();
            window.handled = 0;
            window.since = now;
        }
        window.busy && handled > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_while_much_is_relayed_and_only_then() {
        let start = clock::now();
        let naps = Naps::new(Duration::from_micros(500), start);
        let at = |millis| start + Duration::from_millis(millis);
        let rested = |from: u64, each: usize| {
            let rested = (from..from + 200).filter(|millis| {
                naps.count(each);
                naps.due(at(*millis))
            });
            rested.count()
        };
        assert_eq!(rested(0, 1), 0, "a thousand a second");
        assert!(rested(200, 5) >= 140, "five thousand a second");
        assert!(rested(400, 1) <= 60, "a thousand again");
        assert_eq!(rested(600, 0), 0);
    }
}
