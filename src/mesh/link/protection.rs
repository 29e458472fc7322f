//! When sound carries earlier sound (RFC 2198): where packets are lost, and there is room for it.
//!
//! ```text
//! a way that is new, or loss from 1 % ─▶ on ─▶ below 0.5 % for 10 s ─▶ off
//! from 200 kb/s on with the packet before, from 300 kb/s on with the two before
//! (with one on any way that carries it, where more than 5 % is lost)
//! ```
//! Pure: time is an argument.

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;

/// From this loss on, in the mean of the last seconds, redundancy is worth what it costs.
const LOSSY: f32 = 0.01;
/// Below this for a while it is not: what is left is repaired by what Opus carries.
const LOSSLESS: f32 = 0.005;
const CALM: Duration = Duration::from_secs(10);
/// The time over which loss is averaged: a single lost packet is no loss rate.
const MEAN: Duration = Duration::from_secs(4);

/// How many packets before it one carries at most.
pub(in crate::mesh) const DEEPEST: usize = 2;
/// What each block takes is afforded from here on, and once it is, down to the second. With pictures
/// beside it; words come before them:
const ROOM: [[Bitrate; 2]; DEEPEST] = [
    [Bitrate::from_kbps(200), Bitrate::from_kbps(170)],
    [Bitrate::from_kbps(300), Bitrate::from_kbps(250)],
];
/// Without pictures: what as many voices and headers take, at the best and at the second best.
const ROOM_ALONE: [[Bitrate; 2]; DEEPEST] = [
    [Bitrate::from_kbps(88), Bitrate::from_kbps(72)],
    [Bitrate::from_kbps(120), Bitrate::from_kbps(96)],
];
/// Where so much is lost, words are, and pictures come after them.
const WORDS_LOST: f32 = 0.05;
/// What the least of sound, its copy and their headers take, and a little for reports.
const LEAST: Bitrate = Bitrate::from_kbps(64);

/// Tells whether packets are lost.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Lossy {
    mean: f32,
    looked: Option<Instant>,
    lossy: bool,
    calm_since: Option<Instant>,
}

impl Lossy {
    /// Takes a way for lossy of which nothing is known yet: until something is, words would be lost.
    pub(in crate::mesh) fn of_new_way() -> Self {
        Self {
            lossy: true,
            ..Self::default()
        }
    }

    /// Takes in the share of packets lost lately, 0.0 to 1.0, if it is known. Returns whether packets
    /// are lost.
    pub(in crate::mesh) fn look(&mut self, loss: Option<f32>, now: Instant) -> bool {
        let since = self.looked.replace(now).unwrap_or(now);
        if let Some(loss) = loss {
            let time = now.saturating_duration_since(since);
            let share = (time.as_secs_f32() / MEAN.as_secs_f32()).min(1.0);
            self.mean += (loss - self.mean) * share;
        }
        if self.mean >= LOSSY {
            self.lossy = true;
        }
        // A way that waits to be used is not calm: nothing is known of it.
        if self.mean >= LOSSLESS || loss.is_none() {
            self.calm_since = None;
        } else if self.lossy {
            let since = *self.calm_since.get_or_insert(now);
            self.lossy = now.saturating_duration_since(since) < CALM;
        }
        self.lossy
    }

    /// Returns the share of packets lost, in the mean of the last seconds.
    pub(in crate::mesh) fn mean(&self) -> f32 {
        self.mean
    }
}

/// Decides on redundancy for one connection.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Protection {
    lossy: Lossy,
    useful: bool,
    depth: usize,
}

impl Protection {
    /// Begins with a way of which nothing is known yet.
    pub(in crate::mesh) fn of_new_way() -> Self {
        Self {
            lossy: Lossy::of_new_way(),
            ..Self::default()
        }
    }

    /// Takes in the share of packets lost lately, whether redundancy is `asked` for because others lose
    /// packets further on, whether `pictures` are sent, and what may be sent in all. Returns how many
    /// packets before it one of sound carries.
    pub(in crate::mesh) fn look(
        &mut self,
        loss: Option<f32>,
        asked: bool,
        pictures: bool,
        target: Bitrate,
        now: Instant,
    ) -> usize {
        let lossy = self.lossy.look(loss, now);
        let room = if pictures { ROOM } else { ROOM_ALONE };
        let needed = lossy && self.lossy.mean() > WORDS_LOST && target >= LEAST;
        self.useful = lossy || asked;
        let afforded = (1..).zip(room).filter(|(depth, [first, later])| {
            let least = if self.depth >= *depth { later } else { first };
            target >= *least
        });
        let afforded = afforded.count() * usize::from(self.useful);
        self.depth = afforded.max(usize::from(needed));
        self.depth
    }

    /// Returns how many packets before it one of sound would carry if everything were affordable.
    pub(in crate::mesh) fn useful(&self) -> usize {
        DEEPEST * usize::from(self.useful)
    }

    /// Returns how many packets before it one of sound carries.
    pub(in crate::mesh) fn depth(&self) -> usize {
        self.depth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// A connection in simulated time, in steps of 100 ms.
    struct Scene {
        protection: Protection,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                protection: Protection::default(),
                now: clock::now(),
            }
        }

        /// Returns after how many milliseconds redundancy was first `on`, or off, if it was.
        fn hold(&mut self, percent: f32, kbps: u64, seconds: u32, on: bool) -> Option<u32> {
            let mut first = None;
            for step in 0..seconds * 10 {
                self.now += Duration::from_millis(100);
                let target = Bitrate::from_kbps(kbps);
                let loss = Some(percent / 100.0);
                let depth = (self.protection).look(loss, false, true, target, self.now);
                if (depth > 0) == on {
                    first.get_or_insert(step * 100);
                }
            }
            first
        }
    }

    #[test]
    fn loss_turns_it_on_within_seconds_and_calm_off_after_a_while() {
        let mut scene = Scene::new();
        assert_eq!(scene.hold(0.7, 1_000, 60, true), None);
        let on = scene.hold(2.0, 1_000, 60, true);
        assert!(on.is_some_and(|millis| millis < 4_000), "{on:?}");
        assert_eq!(scene.hold(0.7, 1_000, 60, false), None);
        let off = scene.hold(0.0, 1_000, 60, false);
        assert!(
            off.is_some_and(|it| (10_000..20_000).contains(&it)),
            "{off:?}"
        );
    }

    #[test]
    fn it_is_on_from_the_beginning_until_the_way_has_been_calm() {
        let mut scene = Scene::new();
        scene.protection = Protection::of_new_way();
        assert_eq!(scene.hold(0.0, 1_000, 1, true), Some(0));
        let off = scene.hold(0.0, 1_000, 60, false);
        assert!(
            off.is_some_and(|it| (8_000..12_000).contains(&it)),
            "{off:?}"
        );
    }

    #[test]
    fn a_way_that_waited_unused_is_still_new() {
        let mut protection = Protection::of_new_way();
        let (mut now, target) = (clock::now(), Bitrate::from_kbps(1_000));
        for _ in 0..600 {
            now += Duration::from_millis(100);
            assert_eq!(protection.look(None, false, false, target, now), DEEPEST);
        }
        assert_eq!(
            protection.look(Some(0.0), false, true, target, now),
            DEEPEST
        );
    }

    #[test]
    fn much_loss_turns_it_on_at_once() {
        let on = Scene::new().hold(10.0, 1_000, 10, true);
        assert!(on.is_some_and(|millis| millis <= 600), "{on:?}");
    }

    #[test]
    fn a_lost_packet_now_and_then_is_nothing() {
        let mut scene = Scene::new();
        for _ in 0..20 {
            // One of 75 packets, for as long as it is remembered; every six seconds.
            assert_eq!(scene.hold(1.3, 1_000, 1, true), None);
            assert_eq!(scene.hold(0.0, 1_000, 5, true), None);
        }
    }

    #[test]
    fn a_narrow_link_has_none_unless_words_are_lost() {
        let mut scene = Scene::new();
        assert_eq!(scene.hold(3.0, 190, 60, true), None);
        assert!(scene.hold(3.0, 210, 1, true).is_some());
        assert_eq!(scene.hold(3.0, 180, 60, false), None);
        assert!(scene.hold(3.0, 160, 1, false).is_some());
        assert!(scene.hold(8.0, 100, 60, true).is_some());
        assert!(scene.hold(8.0, 60, 1, false).is_some());
    }

    #[test]
    fn where_there_is_more_room_more_is_carried() {
        let mut scene = Scene::new();
        for (kbps, depth) in [(290, 1), (310, 2), (260, 2), (240, 1), (290, 1), (1_000, 2)] {
            scene.hold(3.0, kbps, 2, true);
            assert_eq!(scene.protection.depth(), depth, "{kbps}");
        }
        scene.hold(0.0, 1_000, 60, false);
        assert_eq!(scene.protection.depth(), 0);
    }

    #[test]
    fn what_is_not_known_changes_nothing() {
        let mut scene = Scene::new();
        scene.hold(5.0, 1_000, 20, true);
        for _ in 0..600 {
            scene.now += Duration::from_millis(100);
            let target = Bitrate::from_kbps(1_000);
            let depth = (scene.protection).look(None, false, true, target, scene.now);
            assert_eq!(depth, DEEPEST);
        }
    }

    #[test]
    fn without_pictures_there_is_room_for_it_much_earlier() {
        let (mut protection, now) = (Protection::default(), clock::now());
        for (kbps, pictures, depth) in [
            (90, true, 0),
            (90, false, 1),
            (75, false, 1),
            (130, false, 2),
        ] {
            let target = Bitrate::from_kbps(kbps);
            assert_eq!(protection.look(None, true, pictures, target, now), depth);
            assert_eq!(protection.useful(), DEEPEST);
        }
    }

    #[test]
    fn what_is_asked_for_is_given_where_there_is_room() {
        let mut protection = Protection::default();
        let now = clock::now();
        for (asked, kbps, given) in [(true, 400, 2), (true, 160, 0), (false, 400, 0)] {
            let target = Bitrate::from_kbps(kbps);
            assert_eq!(protection.look(Some(0.0), asked, true, target, now), given);
        }
    }
}
