//! Which packets of a stream came in: what is new, what is late, and what came twice.

/// How far behind the newest packet a late one is still taken, in packets.
const REACH: u64 = 512;

/// How far ahead of the newest packet another one may be. What is further is no loss but another stream
/// (1 s of 4 Mb/s in packets of 1,200 bytes is 420).
const JUMP: u64 = 512;

/// After so many packets in a row that were too far behind, the stream was begun anew.
const STRAY: u8 = 32;

/// The extended sequence numbers of a stream that came in.
#[derive(Debug, Default)]
pub(crate) struct Window {
    newest: Option<u64>,
    received: [u64; (REACH / 64) as usize],
    stray: u8,
}

/// Where a packet stands among those that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The newest, after so many that have not come (yet).
    Next { missing: u64 },
    /// Between others.
    Late,
    /// The first, or so far from the others that it has nothing to do with them.
    Apart,
    /// A duplicate, or too old.
    Useless,
}

impl Window {
    pub(crate) fn place(&mut self, sequence: u64) -> Place {
        let Some(newest) = self.newest else {
            return self.begin(sequence);
        };
        if sequence > newest {
            let ahead = sequence - newest;
            if ahead > JUMP {
                return self.begin(sequence);
            }
            for between in newest + 1..sequence {
                self.set(between, false);
            }
            self.set(sequence, true);
            self.newest = Some(sequence);
            self.stray = 0;
            return Place::Next { missing: ahead - 1 };
        }
        if newest - sequence >= REACH {
            self.stray += 1;
            if self.stray >= STRAY {
                return self.begin(sequence);
            }
            return Place::Useless;
        }
        if self.has(sequence) {
            return Place::Useless;
        }
        self.set(sequence, true);
        Place::Late
    }

    /// Returns the number after the newest.
    pub(crate) fn next(&self) -> u64 {
        self.newest.map_or(0, |newest| newest.saturating_add(1))
    }

    fn begin(&mut self, sequence: u64) -> Place {
        // What is behind the first packet of a stream was before it was listened to.
        self.received = [u64::MAX; (REACH / 64) as usize];
        self.newest = Some(sequence);
        self.stray = 0;
        Place::Apart
    }

    fn has(&self, sequence: u64) -> bool {
        let (word, bit) = position(sequence);
        self.received[word] & bit != 0
    }

    fn set(&mut self, sequence: u64, received: bool) {
        let (word, bit) = position(sequence);
        match received {
            true => self.received[word] |= bit,
            false => self.received[word] &= !bit,
        }
    }
}

fn position(sequence: u64) -> (usize, u64) {
    let place = sequence % REACH;
    ((place / 64) as usize, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_counts_once() {
        let mut window = Window::default();
        assert_eq!(window.place(1000), Place::Apart);
        assert_eq!(window.place(1001), Place::Next { missing: 0 });
        assert_eq!(window.place(1004), Place::Next { missing: 2 });
        assert_eq!(window.place(1002), Place::Late);
        assert_eq!(window.place(1002), Place::Useless);
        assert_eq!(window.place(1004), Place::Useless);
        assert_eq!(
            window.place(999),
            Place::Useless,
            "before the first of those listened to"
        );
        assert_eq!(window.next(), 1005);
    }

    #[test]
    fn a_jump_begins_a_stream_and_a_stray_packet_does_not() {
        let mut window = Window::default();
        window.place(100_000);
        assert_eq!(window.place(100_513), Place::Apart);
        assert_eq!(window.place(5), Place::Useless);
        assert_eq!(window.place(100_514), Place::Next { missing: 0 });
        for stray in 0..31 {
            assert_eq!(window.place(stray), Place::Useless);
        }
        assert_eq!(window.place(31), Place::Apart);
        assert_eq!(window.place(32), Place::Next { missing: 0 });
    }

    #[test]
    fn the_largest_numbers_do_no_harm() {
        let mut window = Window::default();
        window.place(u64::MAX);
        assert_eq!(window.place(u64::MAX), Place::Useless);
        assert_eq!(window.next(), u64::MAX);
        assert_eq!(window.place(u64::MAX - 1), Place::Useless);
    }
}
