//! Who is shown large where nobody is pinned: the one who speaks, without haste. Pure.
//!
//! Somebody else is shown only after having spoken for a while, once the one before has fallen
//! silent; whoever agrees with a "yes" in between changes nothing. Where two go on talking at
//! once, the other's turn comes after a longer while.

use std::time::{Duration, Instant};

use super::seats::Guest;

/// Somebody is shown large after having spoken for that long.
const SPEAKS: Duration = Duration::from_secs(2);
/// Whoever is shown large must have been silent for that long to be replaced: longer than taking
/// breath.
const SILENT: Duration = Duration::from_secs(1);
/// Whoever is shown large stays at least that long.
const STAYS: Duration = Duration::from_secs(3);
/// Somebody who goes on talking beside the one who is shown is shown after that long.
const INSISTS: Duration = Duration::from_secs(6);

/// The one who speaks.
#[derive(Debug, Default)]
pub(super) struct Speaker {
    current: Option<(u64, Option<Instant>)>,
}

impl Speaker {
    /// Returns whom to show large among `guests`; nobody where nobody has spoken yet.
    pub(super) fn update(&mut self, guests: &[Guest], now: Instant) -> Option<u64> {
        let here = |id: u64| guests.iter().find(|guest| guest.id == id);
        let current = (self.current).and_then(|(id, since)| Some((here(id)?, since)));
        let Some((shown, since)) = current else {
            // The first is whoever has been speaking longest, else whoever spoke last; the next
            // one need not wait for them.
            let speaking = guests.iter().filter(|guest| guest.speaking);
            let last = || guests.iter().filter(|guest| guest.spoke_at.is_some());
            let first = speaking.min_by_key(|guest| guest.spoke_at);
            let first = first.or_else(|| last().max_by_key(|guest| guest.spoke_at));
            self.current = first.map(|guest| (guest.id, guest.speaking.then_some(now)));
            return first.map(|guest| guest.id);
        };
        let settled = since.is_none_or(|at| now.saturating_duration_since(at) >= STAYS);
        let patience = match shown.spoke_within(SILENT, now) {
            true => INSISTS,
            false => SPEAKS,
        };
        let insisted = since.is_none_or(|at| now.saturating_duration_since(at) >= INSISTS);
        let others = guests.iter().filter(|guest| guest.id != shown.id);
        let next = others
            .filter(|guest| guest.speaks_for(patience, now))
            .min_by_key(|guest| guest.spoke_at);
        match next {
            Some(next) if settled && (patience == SPEAKS || insisted) => {
                self.current = Some((next.id, Some(now)));
                Some(next.id)
            }
            _ => Some(shown.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MS: Duration = Duration::from_millis(1);

    /// People at a table, and a clock that the story moves.
    struct Table {
        speaker: Speaker,
        guests: Vec<Guest>,
        now: Instant,
        shown: Vec<Option<u64>>,
    }

    impl Table {
        fn of(count: u64) -> Self {
            let guest = |id| Guest {
                id,
                speaking: false,
                spoke_at: None,
                camera: true,
            };
            Self {
                speaker: Speaker::default(),
                guests: (0..count).map(guest).collect(),
                now: clock::now() + Duration::from_secs(60),
                shown: Vec::new(),
            }
        }

        /// Lets exactly these speak for that long. Returns who is shown then.
        fn speak(&mut self, who: &[u64], millis: u32) -> Option<u64> {
            for guest in &mut self.guests {
                let speaking = who.contains(&guest.id);
                if guest.speaking != speaking {
                    guest.speaking = speaking;
                    guest.spoke_at = Some(self.now);
                }
            }
            for _ in 0..millis / 50 {
                self.now += 50 * MS;
                let shown = self.speaker.update(&self.guests, self.now);
                self.shown.push(shown);
            }
            self.shown.last().copied().flatten()
        }
    }

    #[test]
    fn the_first_who_speaks_is_shown_at_once() {
        let mut table = Table::of(4);
        assert_eq!(table.speak(&[], 1_000), None);
        assert_eq!(table.speak(&[2], 100), Some(2));
    }

    #[test]
    fn somebody_who_takes_the_floor_is_shown_within_two_to_three_seconds() {
        let mut table = Table::of(4);
        table.speak(&[1], 10_000);
        assert_eq!(table.speak(&[3], 1_900), Some(1));
        assert_eq!(table.speak(&[3], 200), Some(3));
    }

    #[test]
    fn a_word_in_between_changes_nothing() {
        let mut table = Table::of(4);
        table.speak(&[1], 5_000);
        for _ in 0..20 {
            table.speak(&[1, 2], 700);
            table.speak(&[1], 2_000);
            table.speak(&[], 900);
            table.speak(&[3], 1_200);
            assert_eq!(table.speak(&[1], 3_000), Some(1));
        }
        assert!(table.shown.iter().all(|shown| *shown == Some(1)));
    }

    #[test]
    fn whoever_goes_on_talking_at_the_same_time_gets_a_turn() {
        let mut table = Table::of(4);
        table.speak(&[1], 10_000);
        assert_eq!(table.speak(&[1, 2], 5_900), Some(1));
        assert_eq!(table.speak(&[1, 2], 200), Some(2));
        assert_eq!(table.speak(&[1, 2], 5_000), Some(2), "not back at once");
    }

    #[test]
    fn silence_leaves_whoever_spoke_last() {
        let mut table = Table::of(4);
        table.speak(&[1], 5_000);
        assert_eq!(table.speak(&[], 60_000), Some(1));
    }

    #[test]
    fn somebody_who_comes_late_sees_who_spoke_last_and_then_who_speaks() {
        let mut table = Table::of(4);
        table.guests[1].spoke_at = Some(table.now);
        table.guests[3].spoke_at = Some(table.now + MS);
        assert_eq!(table.speak(&[], 1_000), Some(3));
        assert_eq!(table.speak(&[0], 2_050), Some(0));
    }

    #[test]
    fn when_the_one_who_speaks_leaves_the_next_is_shown() {
        let mut table = Table::of(4);
        table.speak(&[1], 5_000);
        table.speak(&[1, 2], 500);
        table.guests.remove(1);
        assert_eq!(table.speak(&[2], 50), Some(2));
    }

    #[test]
    fn two_changes_are_at_least_three_seconds_apart_whatever_happens() {
        let mut table = Table::of(12);
        let mut chance = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..4_000 {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let who: Vec<u64> = (0..12).filter(|id| chance >> (4 * id) & 7 == 0).collect();
            table.speak(&who, 100 + (chance >> 50) as u32 % 4_000);
        }
        let changes: Vec<usize> = (1..table.shown.len())
            .filter(|at| table.shown[at - 1].is_some() && table.shown[at - 1] != table.shown[*at])
            .collect();
        assert!(changes.len() > 100);
        assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= 60));
    }
}
