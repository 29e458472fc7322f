//! Which links share an encoder. Pure: wishes and the time in, groups out.
//!
//! ```text
//!            within 5 % for 2 s, at the same rung, and not parted lately
//!  apart ─────────────────────────────────────────────────────────────▶ together
//!        ◀─────────────────────────────────────────────────────────────
//!            more than 10 % apart for 5 s; at once: 25 %, another size, or left behind
//! ```
//! Parting costs those who leave a keyframe and an encoder, joining costs everybody in the group a keyframe.
//! So links that have grown far apart part at once, for their independence comes first: those a little apart
//! may be on their way to the same, for what befalls one soon befalls the others. They join slowly; who has
//! parted stays apart
//! for [`REST`], which bounds how often that can happen. Who needs a keyframe anyway, because it
//! has just come, joins at once where it agrees, unless somebody else has just done so: people who
//! come and go must not make keyframes for all.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nonstop_rate::Bitrate;

use crate::media::Size;

/// The most by which the highest target in a group exceeds the lowest: what a link loses by
/// sharing, for the encoder is told the lowest.
const APART: f64 = 1.10;
/// How long it may be more, and how much more.
const DISSENT: Duration = Duration::from_secs(5);
const FAR_APART: f64 = 1.25;
/// Likewise for those who want to join.
const TOGETHER: f64 = 1.05;
/// How long they must agree before they join.
const AGREEMENT: Duration = Duration::from_secs(2);
/// How long who has parted stays apart.
const REST: Duration = Duration::from_secs(10);

/// Those who come within this time of each other join one group at once.
const ARRIVAL: Duration = Duration::from_millis(500);
/// After that, a group takes nobody in for so long, but those who have agreed.
const CLOSED: Duration = Duration::from_secs(5);

/// What a link would have encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// What it may spend, as far as more would show.
    pub(super) target: Bitrate,
    /// The largest picture worth sending.
    pub(super) size: Size,
    /// Whether it is a layer of simulcast.
    pub(super) layer: bool,
}

impl Wish {
    /// Tells whether one encoder can serve both, if their targets agree.
    fn is_alike(&self, other: &Self) -> bool {
        (self.size, self.layer) == (other.size, other.layer)
    }
}

/// Tells members apart.
pub(super) type MemberId = u64;
/// Tells groups apart; a later one has a larger number.
pub(super) type GroupId = u64;

#[derive(Debug, Clone, Copy)]
struct Place {
    group: GroupId,
    wish: Wish,
    /// Until when it stays apart from other groups.
    rests: Option<Instant>,
}

/// Who is in which group.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    places: BTreeMap<MemberId, Place>,
    /// Pairs of groups that agree, and since when.
    agreeing: BTreeMap<(GroupId, GroupId), Instant>,
    /// Groups whose members are a little too far apart, and since when.
    dissenting: BTreeMap<GroupId, Instant>,
    /// When a group last began to take in newcomers.
    opened: BTreeMap<GroupId, Instant>,
    groups: GroupId,
}

impl Grouping {
    /// Makes one without members.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Returns the member's group.
    pub(super) fn group(&self, member: MemberId) -> Option<GroupId> {
        self.places.get(&member).map(|place| place.group)
    }

    /// Returns what the group's encoder may spend: what its poorest member may.
    pub(super) fn target(&self, group: GroupId) -> Bitrate {
        let targets = self.of(group).map(|(_, place)| place.wish.target);
        targets.min().unwrap_or(Bitrate::ZERO)
    }

    /// Groups whoever wishes for something now. `rung` returns the size at which a group stands.
    pub(super) fn plan(
        &mut self,
        wishes: &[(MemberId, Wish)],
        rung: impl Fn(GroupId) -> Option<Size>,
        now: Instant,
    ) {
        self.places
            .retain(|member, _| wishes.iter().any(|(id, _)| id == member));
        for (member, wish) in wishes {
            if let Some(place) = self.places.get_mut(member) {
                place.wish = *wish;
                place.rests = place.rests.filter(|until| now < *until);
            }
        }
        for group in self.groups() {
            if self.is_to_part(group, now) {
                self.part(group, now);
            }
        }
        for (member, wish) in wishes {
            if !self.places.contains_key(member) {
                self.admit(*member, *wish, now);
            }
        }
        let groups = self.groups();
        self.opened.retain(|group, _| groups.contains(group));
        (self.dissenting).retain(|group, _| groups.contains(group));
        self.join(rung, now);
    }

    /// Gives a member a group of its own: it held the others back.
    pub(super) fn leave(&mut self, member: MemberId, now: Instant) {
        let group = self.next_group();
        if let Some(place) = self.places.get_mut(&member) {
            place.group = group;
            place.rests = Some(now + REST);
        }
    }

    /// Tells whether members of a group have grown too far apart, or a little for too long.
    fn is_to_part(&mut self, group: GroupId, now: Instant) -> bool {
        let wishes = || self.of(group).map(|(_, place)| place.wish);
        if agree(wishes(), APART) {
            self.dissenting.remove(&group);
            return false;
        }
        let near = agree(wishes(), FAR_APART);
        let since = *self.dissenting.entry(group).or_insert(now);
        let parts = !near || now.saturating_duration_since(since) >= DISSENT;
        if parts {
            self.dissenting.remove(&group);
        }
        parts
    }

    /// Lets those leave who have grown apart from the most.
    fn part(&mut self, group: GroupId, now: Instant) {
        let mut stay = self.largest_part(group);
        let mut rest: Vec<MemberId> = self.of(group).map(|(member, _)| member).collect();
        let mut first = true;
        while !rest.is_empty() {
            rest.retain(|member| !stay.contains(member));
            if !first {
                let own = self.next_group();
                for member in &stay {
                    let place = self.places.get_mut(member).expect("it was found here");
                    place.group = own;
                    place.rests = Some(now + REST);
                }
            }
            first = false;
            stay = self.largest_of(&rest);
        }
    }

    fn largest_part(&self, group: GroupId) -> Vec<MemberId> {
        let all: Vec<MemberId> = self.of(group).map(|(member, _)| member).collect();
        self.largest_of(&all)
    }

    /// Returns the most members among `all` who can share; of equally many those with more to spend.
    fn largest_of(&self, all: &[MemberId]) -> Vec<MemberId> {
        let mut best: (usize, Bitrate, Vec<MemberId>) = (0, Bitrate::ZERO, Vec::new());
        for lowest in all {
            let base = self.places[lowest].wish;
            let with = |member: &&MemberId| {
                let wish = self.places[*member].wish;
                wish.is_alike(&base)
                    && wish.target >= base.target
                    && wish.target <= base.target.scale(APART)
            };
            let part: Vec<MemberId> = all.iter().filter(with).copied().collect();
            if (part.len(), base.target) > (best.0, best.1) || best.0 == 0 {
                best = (part.len(), base.target, part);
            }
        }
        best.2
    }

    /// Gives somebody new a place: with whoever agrees, or alone.
    fn admit(&mut self, member: MemberId, wish: Wish, now: Instant) {
        let found = self.groups().into_iter().find(|group| {
            let all = self.of(*group).map(|(_, place)| place.wish);
            let open = self.opened.get(group).is_none_or(|since| {
                let passed = now.saturating_duration_since(*since);
                passed < ARRIVAL || passed >= CLOSED
            });
            open && agree(all.chain([wish]), TOGETHER)
        });
        if let Some(group) = found {
            let since = self.opened.entry(group).or_insert(now);
            if now.saturating_duration_since(*since) >= CLOSED {
                *since = now;
            }
        }
        let group = found.unwrap_or_else(|| self.next_group());
        let rests = None;
        self.places.insert(member, Place { group, wish, rests });
    }

    /// Joins groups that have agreed for long enough.
    fn join(&mut self, rung: impl Fn(GroupId) -> Option<Size>, now: Instant) {
        let groups = self.groups();
        let mut agreeing = BTreeMap::new();
        for (at, one) in groups.iter().enumerate() {
            for two in &groups[at + 1..] {
                let all = || self.of(*one).chain(self.of(*two));
                if agree(all().map(|(_, place)| place.wish), TOGETHER) && rung(*one) == rung(*two) {
                    let pair = (*one, *two);
                    let since = self.agreeing.get(&pair).copied().unwrap_or(now);
                    let rested = all().all(|(_, place)| place.rests.is_none());
                    if rested && now.saturating_duration_since(since) >= AGREEMENT {
                        self.merge(*one, *two);
                        self.agreeing.clear();
                        return;
                    }
                    agreeing.insert(pair, since);
                }
            }
        }
        self.agreeing = agreeing;
    }

    /// Moves the smaller group into the larger; of two as large the newer moves.
    fn merge(&mut self, one: GroupId, two: GroupId) {
        let (from, to) = match self.of(two).count() > self.of(one).count() {
            true => (one, two),
            false => (two, one),
        };
        for place in self.places.values_mut().filter(|place| place.group == from) {
            place.group = to;
        }
    }

    fn of(&self, group: GroupId) -> impl Iterator<Item = (MemberId, &Place)> {
        let places = self.places.iter().map(|(member, place)| (*member, place));
        places.filter(move |(_, place)| place.group == group)
    }

    /// Returns the groups that have members, the oldest first.
    pub(super) fn groups(&self) -> Vec<GroupId> {
        let mut groups: Vec<_> = self.places.values().map(|place| place.group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    fn next_group(&mut self) -> GroupId {
        self.groups += 1;
        self.groups
    }
}

/// Tells whether one encoder can serve all of these, and the highest target exceeds the lowest by no more than
/// this factor.
fn agree(wishes: impl Iterator<Item = Wish>, factor: f64) -> bool {
    let mut bounds: Option<(Wish, Wish)> = None;
    for wish in wishes {
        let (low, high) = bounds.get_or_insert((wish, wish));
        if !wish.is_alike(low) {
            return false;
        }
        if wish.target < low.target {
            *low = wish;
        }
        if wish.target > high.target {
            *high = wish;
        }
    }
    bounds.is_none_or(|(low, high)| high.target <= low.target.scale(factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const HD: Size = Size::new(1280, 720);
    const SMALL: Size = Size::new(320, 180);

    /// Members with changing targets in simulated time.
    struct Scene {
        grouping: Grouping,
        wishes: Vec<(MemberId, Wish)>,
        now: Instant,
    }

    impl Scene {
        fn new(kbps: &[u64]) -> Self {
            let mut scene = Self {
                grouping: Grouping::new(),
                wishes: Vec::new(),
                now: clock::now(),
            };
            for (at, kbps) in kbps.iter().enumerate() {
                scene.wishes.push((at as u64, wish(*kbps, HD)));
            }
            scene.run(0.0);
            scene
        }

        fn set(&mut self, member: usize, kbps: u64) {
            self.wishes[member].1.target = Bitrate::from_kbps(kbps);
        }

        /// Lets time pass, at 30 pictures a second; returns the groups as lists of members.
        fn run(&mut self, seconds: f64) -> Vec<Vec<MemberId>> {
            for _ in 0..=(seconds * 30.0) as u32 {
                self.grouping.plan(&self.wishes, |_| Some(HD), self.now);
                self.now += Duration::from_secs(1) / 30;
            }
            self.groups()
        }

        fn groups(&self) -> Vec<Vec<MemberId>> {
            let members = |group| self.grouping.of(group).map(|(member, _)| member).collect();
            self.grouping.groups().into_iter().map(members).collect()
        }
    }

    fn wish(kbps: u64, size: Size) -> Wish {
        Wish {
            target: Bitrate::from_kbps(kbps),
            size,
            layer: false,
        }
    }

    #[test]
    fn equal_links_share_one_encoder_from_the_start_and_it_gets_the_lowest_target() {
        let scene = Scene::new(&[2_000, 1_980, 2_020, 2_000]);
        assert_eq!(scene.groups(), [[0, 1, 2, 3]]);
        let group = scene.grouping.group(0).unwrap();
        assert_eq!(scene.grouping.target(group), Bitrate::from_kbps(1_980));
    }

    #[test]
    fn squeezing_one_link_leaves_the_others_alone() {
        let mut scene = Scene::new(&[2_000; 4]);
        let before = scene.grouping.group(0);
        scene.set(2, 300);
        assert_eq!(scene.run(0.0), [vec![0, 1, 3], vec![2]]);
        assert_eq!(scene.grouping.group(0), before);
        assert_eq!(
            scene.grouping.target(before.unwrap()),
            Bitrate::from_kbps(2_000)
        );
    }

    #[test]
    fn who_is_a_little_apart_has_time_to_agree_again() {
        let mut scene = Scene::new(&[230, 230, 230]);
        // One after the other, as the loss of a way is noticed.
        for (member, groups) in [(1, 1), (0, 1), (2, 1)] {
            scene.set(member, 190);
            assert_eq!(scene.run(1.5).len(), groups);
            let group = scene.grouping.group(0).unwrap();
            assert_eq!(scene.grouping.target(group), Bitrate::from_kbps(190));
        }
        assert_eq!(scene.run(10.0), [[0, 1, 2]]);
        scene.set(1, 230);
        assert_eq!(scene.run(4.9), [[0, 1, 2]]);
        assert_eq!(scene.run(0.2), [vec![0, 2], vec![1]]);
    }

    #[test]
    fn the_one_that_rises_leaves_where_the_most_stay() {
        let mut scene = Scene::new(&[800, 800, 800]);
        scene.set(0, 1_500);
        assert_eq!(scene.run(0.0), [vec![1, 2], vec![0]]);
    }

    #[test]
    fn those_who_leave_together_share() {
        let mut scene = Scene::new(&[2_000; 5]);
        for member in [0, 4] {
            scene.set(member, 500);
        }
        assert_eq!(scene.run(0.0), [vec![1, 2, 3], vec![0, 4]]);
    }

    #[test]
    fn they_join_again_after_agreeing_and_not_sooner_than_they_have_rested() {
        let mut scene = Scene::new(&[2_000; 3]);
        scene.set(1, 1_000);
        assert_eq!(scene.run(1.0).len(), 2);
        scene.set(1, 2_000);
        assert_eq!(scene.run(8.0).len(), 2);
        assert_eq!(scene.run(2.0), [[0, 1, 2]]);
    }

    #[test]
    fn links_that_start_apart_join_after_two_seconds() {
        let mut scene = Scene::new(&[2_000, 1_000]);
        assert_eq!(scene.run(5.0).len(), 2);
        scene.set(1, 1_950);
        assert_eq!(scene.run(1.9).len(), 2);
        assert_eq!(scene.run(0.2), [[0, 1]]);
    }

    #[test]
    fn wavering_targets_change_groups_seldom() {
        let mut scene = Scene::new(&[1_000; 4]);
        let mut changes = 0;
        let mut before = scene.groups();
        for step in 0..600_u64 {
            // Each wavers by 15 % up and down, in its own time.
            for member in 0..4 {
                let phase = (step + 37 * member as u64) % 50;
                scene.set(member, 850 + 6 * phase);
            }
            let after = scene.run(0.1);
            changes += u32::from(after != before);
            before = after;
        }
        // 60 s: four may part, and each may join and part again after 12 s.
        assert!(changes <= 24, "{changes} changes");
    }

    #[test]
    fn between_five_and_ten_percent_nothing_changes() {
        let mut scene = Scene::new(&[1_000, 1_000, 1_070]);
        assert_eq!(scene.groups(), [vec![0, 1], vec![2]]);
        assert_eq!(scene.run(60.0).len(), 2);
        let mut scene = Scene::new(&[1_000, 1_000]);
        scene.set(1, 1_080);
        assert_eq!(scene.run(60.0), [[0, 1]]);
    }

    #[test]
    fn who_wants_another_size_has_its_own() {
        let mut scene = Scene::new(&[400, 400]);
        scene.wishes[1].1.size = SMALL;
        assert_eq!(scene.run(30.0).len(), 2);
    }

    #[test]
    fn groups_on_different_rungs_do_not_join() {
        let mut scene = Scene::new(&[2_000, 1_000]);
        scene.set(1, 2_000);
        for _ in 0..900 {
            let rung = |group| Some(if group == 1 { HD } else { SMALL });
            scene.grouping.plan(&scene.wishes, rung, scene.now);
            scene.now += Duration::from_secs(1) / 30;
        }
        assert_eq!(scene.groups().len(), 2);
    }

    #[test]
    fn who_is_left_behind_goes_its_own_way_for_a_while() {
        let mut scene = Scene::new(&[1_000; 3]);
        scene.grouping.leave(1, scene.now);
        assert_eq!(scene.run(9.0), [vec![0, 2], vec![1]]);
        assert_eq!(scene.run(2.0), [[0, 1, 2]]);
    }

    #[test]
    fn who_comes_and_goes_makes_no_keyframes_for_the_others() {
        let mut scene = Scene::new(&[1_000; 3]);
        let restless = scene.wishes.pop().unwrap();
        scene.run(10.0);
        let mut joined = 0;
        for _ in 0..30 {
            scene.wishes.push(restless);
            joined += u32::from(scene.run(1.0).len() == 1);
            scene.wishes.pop();
            scene.run(0.5);
        }
        // Each time costs the others a keyframe: 45 s.
        assert!((1..=9).contains(&joined), "{joined} times");
    }

    #[test]
    fn who_stops_wishing_is_gone_and_comes_back_as_new() {
        let mut scene = Scene::new(&[1_000; 2]);
        let two = scene.wishes.pop().unwrap();
        assert_eq!(scene.run(0.0), [[0]]);
        scene.wishes.push(two);
        assert_eq!(scene.run(0.0), [[0, 1]]);
    }
}
