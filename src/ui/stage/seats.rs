//! Who sits where: an order in which nobody moves because somebody else comes or goes. Pure.
//!
//! Newcomers sit down at the end. Into the seat of somebody who leaves moves whoever sat at the
//! very end: that one moves, and nobody else. Besides that people move only in pairs, where two
//! change seats.

use std::{
    cmp::Reverse,
    collections::HashSet,
    ops::Range,
    time::{Duration, Instant},
};

/// Somebody is brought onto the page only after having spoken for that long: a cough, or a word in
/// between, moves nobody.
const SPEAKS: Duration = Duration::from_secs(2);
/// Who spoke this lately is not moved off the page.
const LATELY: Duration = Duration::from_secs(5);
/// Who spoke this lately is not moved off the page for somebody whose camera is on.
const ACTIVE: Duration = Duration::from_secs(30);
/// The least time between two changes that nobody asked for.
const CALM: Duration = Duration::from_millis(2_500);

/// What is to be known of somebody to seat them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guest {
    /// Who.
    pub(super) id: u64,
    /// Whether they are speaking.
    pub(super) speaking: bool,
    /// When they last began or ceased to speak, where they did.
    pub(super) spoke_at: Option<Instant>,
    /// Whether their camera is on.
    pub(super) camera: bool,
}

impl Guest {
    /// Tells whether they have been speaking for that long.
    pub(super) fn speaks_for(&self, time: Duration, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        self.speaking && self.spoke_at.is_some_and(|at| since(at) >= time)
    }

    /// Tells whether they spoke within that time.
    pub(super) fn spoke_within(&self, time: Duration, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        self.speaking || self.spoke_at.is_some_and(|at| since(at) < time)
    }
}

/// The seats.
#[derive(Debug, Default)]
pub(super) struct Seats {
    order: Vec<u64>,
    changed: Option<Instant>,
}

impl Seats {
    /// Seats exactly those who are there; newcomers sit down in the order given.
    pub(super) fn follow(&mut self, present: impl Iterator<Item = u64> + Clone) {
        let there: HashSet<u64> = present.clone().collect();
        let mut seat = self.order.len();
        while seat > 0 {
            seat -= 1;
            if !there.contains(&self.order[seat]) {
                self.order.swap_remove(seat);
            }
        }
        let seated: HashSet<u64> = self.order.iter().copied().collect();
        self.order.extend(present.filter(|id| !seated.contains(id)));
    }

    /// Returns everybody but `large`, in the order of their seats.
    pub(super) fn line(&self, large: Option<u64>) -> Vec<u64> {
        let seated = self.order.iter().copied();
        seated.filter(|id| Some(*id) != large).collect()
    }

    /// Lets two change seats.
    pub(super) fn exchange(&mut self, one: u64, other: u64) {
        let seat = |id| self.order.iter().position(|seated| *seated == id);
        if let (Some(one), Some(other)) = (seat(one), seat(other)) {
            self.order.swap(one, other);
        }
    }

    /// Lets whoever has something to show or to say change seats with the least active of those on
    /// the page, which is `page` of `line`. Returns whether somebody moved.
    pub(super) fn attend(
        &mut self,
        line: &[u64],
        page: Range<usize>,
        guest: impl Fn(u64) -> Option<Guest>,
        now: Instant,
    ) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        if page.len() == line.len() || self.changed.is_some_and(|at| since(at) < CALM) {
            return false;
        }
        let guests = |ids: &[u64]| ids.iter().filter_map(|id| guest(*id)).collect::<Vec<_>>();
        let on_page = guests(&line[page.clone()]);
        let mut hidden = guests(&line[..page.start]);
        hidden.extend(guests(&line[page.end..]));
        let speaks = |one: &&Guest| one.speaks_for(SPEAKS, now);
        let speaker = hidden.iter().filter(speaks).min_by_key(|one| one.spoke_at);
        let moved = match speaker {
            Some(speaker) => match least_active(&on_page, now) {
                Some(idle) => {
                    self.exchange(speaker.id, idle);
                    true
                }
                None => false,
            },
            // Only the first page gathers pictures: further ones are for looking somebody up.
            None if page.start == 0 => {
                let idle = |one: &&Guest| !one.camera && !one.spoke_within(ACTIVE, now);
                let dark: Vec<u64> = on_page.iter().filter(idle).map(|one| one.id).collect();
                let lit = hidden.iter().filter(|one| one.camera);
                let lit: Vec<u64> = lit.map(|one| one.id).collect();
                for (lit, dark) in lit.iter().zip(&dark) {
                    self.exchange(*lit, *dark);
                }
                !lit.is_empty() && !dark.is_empty()
            }
            None => false,
        };
        if moved {
            self.changed = Some(now);
        }
        moved
    }
}

/// Returns who on a page has been silent longest; nobody where everybody spoke lately.
pub(super) fn least_active(on_page: &[Guest], now: Instant) -> Option<u64> {
    let silent = on_page
        .iter()
        .enumerate()
        .filter(|(_, one)| !one.spoke_within(LATELY, now));
    let least = silent.min_by_key(|(seat, one)| (one.spoke_at, one.camera, Reverse(*seat)));
    least.map(|(_, one)| one.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    /// A small reproducible source of chance (xorshift).
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }
    }

    fn seats(count: u64) -> Seats {
        let mut seats = Seats::default();
        seats.follow(0..count);
        seats
    }

    fn quiet(id: u64) -> Guest {
        Guest {
            id,
            speaking: false,
            spoke_at: None,
            camera: true,
        }
    }

    /// Attends to a first page of nine among fifty, of whom `special` are not just quiet.
    fn attend(seats: &mut Seats, special: &[Guest], now: Instant) -> Vec<u64> {
        let guest = |id| {
            let found = special.iter().find(|guest| guest.id == id);
            Some(found.copied().unwrap_or_else(|| quiet(id)))
        };
        let line = seats.line(None);
        seats.attend(&line, 0..9, guest, now);
        seats.line(None)[..9].to_vec()
    }

    #[test]
    fn whoever_comes_moves_nobody_and_whoever_goes_moves_one() {
        for seed in 1..=50 {
            let mut chance = Chance(seed);
            let (mut present, mut seats) = (Vec::new(), Seats::default());
            for newcomer in 0..400_u64 {
                let before = seats.line(None);
                if chance.below(100) < 45 && !present.is_empty() {
                    present.remove(chance.below(present.len() as u64) as usize);
                } else {
                    present.push(newcomer);
                }
                seats.follow(present.iter().copied());
                let after = seats.line(None);
                let mut sorted = after.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, present, "exactly those who are there");
                let stayed = before
                    .iter()
                    .enumerate()
                    .filter(|(_, id)| present.contains(id));
                let moved = stayed.filter(|(seat, id)| after.get(*seat) != Some(*id));
                assert!(moved.count() <= 1);
            }
        }
    }

    #[test]
    fn somebody_who_speaks_for_two_seconds_takes_the_seat_of_the_least_active() {
        let now = clock::now() + 60 * SECOND;
        let mut seats = seats(50);
        let speaker = |for_millis| Guest {
            speaking: true,
            spoke_at: now.checked_sub(Duration::from_millis(for_millis)),
            ..quiet(30)
        };
        let mut others: Vec<Guest> = (0..9).map(quiet).collect();
        for guest in &mut others {
            guest.spoke_at = now.checked_sub((guest.id as u32 + 10) * SECOND);
        }
        others.push(speaker(1_900));
        assert_eq!(
            attend(&mut seats, &others, now),
            [0, 1, 2, 3, 4, 5, 6, 7, 8]
        );
        others.pop();
        others.push(speaker(2_100));
        assert_eq!(
            attend(&mut seats, &others, now),
            [0, 1, 2, 3, 4, 5, 6, 7, 30]
        );
        assert_eq!(seats.line(None)[30], 8, "they changed seats");
    }

    #[test]
    fn nobody_leaves_the_page_who_spoke_lately() {
        let now = clock::now() + 60 * SECOND;
        let mut seats = seats(50);
        let mut guests: Vec<Guest> = (0..9).map(quiet).collect();
        for guest in &mut guests {
            guest.spoke_at = now.checked_sub(4 * SECOND);
        }
        let speaking = true;
        let spoke_at = now.checked_sub(3 * SECOND);
        guests.push(Guest {
            speaking,
            spoke_at,
            ..quiet(30)
        });
        assert_eq!(
            attend(&mut seats, &guests, now),
            [0, 1, 2, 3, 4, 5, 6, 7, 8]
        );
    }

    #[test]
    fn a_lively_discussion_moves_at_most_one_in_two_and_a_half_seconds() {
        let start = clock::now() + 60 * SECOND;
        let mut chance = Chance(7);
        let mut seats = seats(50);
        let mut guests: Vec<Guest> = (0..50).map(quiet).collect();
        let (mut moves, mut last) = (0, None::<Instant>);
        for step in 0..3_000_u32 {
            let now = start + step * Duration::from_millis(50);
            if chance.below(10) == 0 {
                let guest = &mut guests[chance.below(50) as usize];
                guest.speaking = !guest.speaking;
                guest.spoke_at = Some(now);
            }
            let before = seats.line(None);
            attend(&mut seats, &guests, now);
            let after = seats.line(None);
            let moved: Vec<usize> = (0..50)
                .filter(|seat| before[*seat] != after[*seat])
                .collect();
            if moved.is_empty() {
                continue;
            }
            assert_eq!(moved.len(), 2);
            assert!(
                !guests[before[moved[0]] as usize].speaking,
                "was interrupted"
            );
            assert!(last.is_none_or(|at| now - at >= CALM));
            (moves, last) = (moves + 1, Some(now));
        }
        assert!(moves > 10, "{moves}");
    }

    #[test]
    fn the_first_page_gathers_those_whose_camera_is_on() {
        let now = clock::now();
        let mut seats = seats(200);
        let dark: Vec<Guest> = (0..200)
            .map(|id| Guest {
                camera: id % 20 == 15,
                ..quiet(id)
            })
            .collect();
        let page = attend(&mut seats, &dark, now);
        assert_eq!(page, [15, 35, 55, 75, 95, 115, 135, 155, 175]);
        assert_eq!(attend(&mut seats, &dark, now + 5 * SECOND), page, "once");
    }

    #[test]
    fn where_everybody_is_on_one_page_nobody_moves() {
        let now = clock::now() + 60 * SECOND;
        let mut seats = seats(9);
        let guests = [Guest {
            camera: false,
            ..quiet(0)
        }];
        assert_eq!(
            attend(&mut seats, &guests, now),
            [0, 1, 2, 3, 4, 5, 6, 7, 8]
        );
    }
}
