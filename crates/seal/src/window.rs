//! Which counters have been seen: a sliding window, as in RFC 4303, section 3.4.3.

/// How far a message may arrive behind the newest one. The server delivers in order; a wide
/// window costs nothing and forgives a participant that seals on several threads.
pub(crate) const WIDTH: u64 = 1024;

/// The counters seen so far, of which the newest [`WIDTH`] are told apart.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    newest: u64,
    /// Bit `counter % WIDTH` tells whether that counter was seen.
    seen: [u64; (WIDTH / 64) as usize],
}

impl Window {
    /// Makes a window in which nothing was seen; counters start at 1.
    pub(crate) const fn new() -> Self {
        Self {
            newest: 0,
            seen: [0; (WIDTH / 64) as usize],
        }
    }

    /// Tells whether `counter` was not seen before and is recent enough to know that.
    pub(crate) const fn fresh(&self, counter: u64) -> bool {
        if counter == 0 || self.newest.saturating_sub(counter) >= WIDTH {
            return false;
        }
        counter > self.newest || self.seen[word(counter)] & bit(counter) == 0
    }

    /// Notes that `counter` was seen; call it only for what [`fresh`](Self::fresh) allows and
    /// the key confirms.
    pub(crate) fn note(&mut self, counter: u64) {
        if counter > self.newest {
            let steps = (counter - self.newest).min(WIDTH);
            for passed in counter - steps + 1..=counter {
                self.seen[word(passed)] &= !bit(passed);
            }
            self.newest = counter;
        }
        self.seen[word(counter)] |= bit(counter);
    }
}

const fn word(counter: u64) -> usize {
    (counter % WIDTH / 64) as usize
}

const fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_fresh_once_and_within_the_window() {
        let mut window = Window::new();
        assert!(!window.fresh(0));
        for counter in [1, 3, 2, 1000, 1024, 1025, 4] {
            assert!(window.fresh(counter), "{counter}");
            window.note(counter);
            assert!(!window.fresh(counter), "{counter}");
        }
        assert!(window.fresh(5));
        window.note(5000);
        assert!(!window.fresh(5000 - WIDTH));
        assert!(window.fresh(5000 - WIDTH + 1));
    }

    #[test]
    fn a_window_agrees_with_a_set_of_everything_seen() {
        let mut window = Window::new();
        let mut seen = std::collections::HashSet::new();
        let (mut state, mut newest) = (7_u64, 0_u64);
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let counter = (newest + 200).saturating_sub((state >> 33) % 1500);
            let expected = counter > 0 && counter + WIDTH > newest && !seen.contains(&counter);
            assert_eq!(window.fresh(counter), expected, "{counter} after {newest}");
            if expected {
                window.note(counter);
                seen.insert(counter);
                newest = newest.max(counter);
            }
        }
    }

    #[test]
    fn the_largest_counter_is_no_trap() {
        let mut window = Window::new();
        window.note(u64::MAX);
        assert!(!window.fresh(u64::MAX));
        assert!(!window.fresh(u64::MAX - WIDTH));
        assert!(window.fresh(u64::MAX - 1));
    }
}
