//! A one-item mailbox where the newest value wins: frames, targets, views.
//!
//! A writer never waits and never queues: it replaces what nobody has taken yet.
//! Any number of [`Reader`]s look at the same box, each with its own idea of what
//! it has already seen, so a slow reader skips values and holds nobody up.
//!
//! ```text
//! Latest::set ──▶ [ newest value, version ] ──▶ Reader (seen: 7)
//!                                          └──▶ Reader (seen: 9)
//! ```

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Called after each new value, on the writer's thread: it must be short and must not block.
pub type Notify = Arc<dyn Fn() + Send + Sync>;

struct Slot<T> {
    value: Option<T>,
    version: u64,
    writers: usize,
    notify: Option<Notify>,
}

struct Shared<T> {
    slot: Mutex<Slot<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end of the mailbox. When the last clone is dropped, readers see it closed.
pub struct Latest<T> {
    shared: Arc<Shared<T>>,
}

/// A reading end of the mailbox.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// What [`Reader::wait`] came back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait<T> {
    /// A value this reader had not seen.
    New(T),
    /// Nothing new within the time given.
    TimedOut,
    /// Nothing new, and no writer is left to bring anything.
    Closed,
}

impl<T> Latest<T> {
    /// Creates an empty mailbox.
    pub fn new() -> Self {
        let slot = Slot {
            value: None,
            version: 0,
            writers: 1,
            notify: None,
        };
        Self {
            shared: Arc::new(Shared {
                slot: Mutex::new(slot),
                changed: Condvar::new(),
            }),
        }
    }

    /// Creates a mailbox that holds `value`, new to every reader.
    pub fn with(value: T) -> Self {
        let latest = Self::new();
        latest.set(value);
        latest
    }

    /// Puts `value` in, in place of whatever was there.
    pub fn set(&self, value: T) {
        let notify = {
            let mut slot = self.shared.lock();
            slot.value = Some(value);
            slot.version += 1;
            slot.notify.clone()
        };
        self.shared.changed.notify_all();
        if let Some(notify) = notify {
            notify();
        }
    }

    /// Empties the mailbox: readers that ask find nothing until the next [`set`](Self::set).
    pub fn clear(&self) {
        self.shared.lock().value = None;
    }

    /// Changes the value in place (from nothing, if the mailbox is empty).
    pub fn modify(&self, change: impl FnOnce(&mut T))
    where
        T: Default,
    {
        let notify = {
            let mut slot = self.shared.lock();
            change(slot.value.get_or_insert_default());
            slot.version += 1;
            slot.notify.clone()
        };
        self.shared.changed.notify_all();
        if let Some(notify) = notify {
            notify();
        }
    }

    /// Sets what is called after each new value, in place of what was called before.
    pub fn on_change(&self, notify: Notify) {
        self.shared.lock().notify = Some(notify);
    }

    /// Returns a reader to whom the current value, if any, is new.
    pub fn reader(&self) -> Reader<T> {
        Reader {
            shared: Arc::clone(&self.shared),
            seen: 0,
        }
    }
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Latest<T> {
    fn clone(&self) -> Self {
        self.shared.lock().writers += 1;
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Latest<T> {
    fn drop(&mut self) {
        self.shared.lock().writers -= 1;
        self.shared.changed.notify_all();
    }
}

impl<T: Clone> Reader<T> {
    /// Returns the newest value, seen or not, without marking it seen.
    pub fn newest(&self) -> Option<T> {
        self.shared.lock().value.clone()
    }

    /// Returns the newest value if this reader has not seen it, and marks it seen.
    pub fn take_new(&mut self) -> Option<T> {
        let slot = self.shared.lock();
        if slot.version == self.seen {
            return None;
        }
        self.seen = slot.version;
        slot.value.clone()
    }

    /// Blocks this thread until there is a value it has not seen, at most for `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Wait<T> {
        let slot = self.shared.lock();
        let seen = self.seen;
        let (slot, _) = self
            .shared
            .changed
            .wait_timeout_while(slot, timeout, |slot| {
                slot.version == seen && slot.writers > 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        if slot.version != seen {
            self.seen = slot.version;
            if let Some(value) = slot.value.clone() {
                return Wait::New(value);
            }
        }
        if slot.writers == 0 {
            Wait::Closed
        } else {
            Wait::TimedOut
        }
    }
}

impl<T> Reader<T> {
    /// Returns how many values have been put in so far.
    pub fn version(&self) -> u64 {
        self.shared.lock().version
    }

    /// Tells whether every writer is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().writers == 0
    }

    /// Sets what is called after each new value, in place of what was called before.
    pub fn on_change(&self, notify: Notify) {
        self.shared.lock().notify = Some(notify);
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            seen: self.seen,
        }
    }
}

impl<T> fmt::Debug for Latest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latest").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_wins_and_is_seen_once() {
        let latest = Latest::new();
        let mut reader = latest.reader();
        assert_eq!(reader.take_new(), None);
        latest.set(1);
        latest.set(2);
        assert_eq!(reader.take_new(), Some(2));
        assert_eq!(reader.take_new(), None);
        assert_eq!(reader.newest(), Some(2));
    }

    #[test]
    fn readers_do_not_take_from_each_other() {
        let latest = Latest::with("a");
        let (mut one, mut two) = (latest.reader(), latest.reader());
        assert_eq!(one.take_new(), Some("a"));
        assert_eq!(two.take_new(), Some("a"));
    }

    #[test]
    fn waiting_ends_with_a_value_a_timeout_or_the_last_writer() {
        let latest = Latest::new();
        let mut reader = latest.reader();
        assert_eq!(reader.wait(Duration::from_millis(1)), Wait::TimedOut);
        let writer = latest.clone();
        let thread = std::thread::spawn(move || writer.set(5));
        assert_eq!(reader.wait(Duration::from_secs(10)), Wait::New(5));
        thread.join().expect("the writer does not panic");
        drop(latest);
        assert_eq!(reader.wait(Duration::from_secs(10)), Wait::Closed);
    }
}
