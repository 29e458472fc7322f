//! How many connections the threads of a relay have.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// One thread's view of all.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    counts: Arc<[AtomicUsize]>,
    own: usize,
}

impl Crowd {
    /// Returns one for each of so many threads.
    pub(super) fn of(threads: usize) -> impl Iterator<Item = Self> {
        let counts: Arc<[AtomicUsize]> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
        (0..threads).map(move |own| Self {
            counts: Arc::clone(&counts),
            own,
        })
    }

    /// Says how many connections this thread has.
    pub(super) fn set(&self, connections: usize) {
        if let Some(count) = self.counts.get(self.own) {
            count.store(connections, Ordering::Relaxed);
        }
    }

    /// Returns how many there are on all threads.
    pub(super) fn total(&self) -> usize {
        let counts = self.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_its_own_and_sees_all() {
        let crowds: Vec<_> = Crowd::of(3).collect();
        for (connections, crowd) in (5..).zip(&crowds) {
            crowd.set(connections);
        }
        crowds[1].set(1);
        assert!(crowds.iter().all(|crowd| crowd.total() == 5 + 1 + 7));
    }
}
