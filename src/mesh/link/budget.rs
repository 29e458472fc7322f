//! How a link's estimate is shared between sound and pictures, and when pictures pause.
//!
//! ```text
//! estimate ─┬─ sound first: 32, 24 or 16 kb/s of Opus, as much again for each packet before it that
//!           │  one carries, and headers
//!           └─ the rest to pictures; below 80 kb/s in all for 1.5 s they pause,
//!              from 110 kb/s for 2 s they come back
//! ```
//! Pure: estimates and the time in, shares out.

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;

/// What sound may have, and the estimate from which on: speech is clear at each of them, and fuller
/// at the higher ones.
const SOUND: [(Bitrate, Bitrate); 3] = [
    (Bitrate::from_kbps(16), Bitrate::ZERO),
    (Bitrate::from_kbps(24), Bitrate::from_kbps(130)),
    (Bitrate::from_kbps(32), Bitrate::from_kbps(300)),
];
/// Where each packet carries two before it, sound is at most the second best: three times that is little
/// more than twice the best.
const MOST_THRICE: usize = 1;
/// Sound gets more only where the estimate is this much above the bound, and has been for a while.
const SOUND_HEADROOM: f64 = 1.2;
const SOUND_PAUSE: Duration = Duration::from_secs(3);
/// What 50 packets of sound a second cost beside their payload: RTP with extensions, UDP, IPv4 and
/// the authentication tag, 60 bytes each.
const SOUND_HEADERS: Bitrate = Bitrate::from_kbps(24);
/// The share of the rest that is not headers.
const PAYLOAD_SHARE: f64 = 0.93;
/// An encoder is never told less: it makes no pictures worth looking at from it.
const LEAST_VIDEO: Bitrate = Bitrate::from_kbps(30);

/// Below this, pictures pause: sound and repairs take most of it, and what is left shows nothing.
const PAUSE_BELOW: Bitrate = Bitrate::from_kbps(80);
/// How long it must be so: an estimate that has just fallen may rise at once.
const PAUSE_AFTER: Duration = Duration::from_millis(1_500);
/// From here on pictures come back.
const RESUME_ABOVE: Bitrate = Bitrate::from_kbps(110);
/// How long it must be so: pictures that come and go are worse than none.
const RESUME_AFTER: Duration = Duration::from_secs(2);

/// What a link's estimate is spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mesh) struct Share {
    /// The bitrate of Opus.
    pub(in crate::mesh) sound: Bitrate,
    /// What sound takes besides, because each packet carries earlier ones.
    pub(in crate::mesh) redundancy: Bitrate,
    /// The bitrate of H.264.
    pub(in crate::mesh) video: Bitrate,
    /// Whether pictures pause.
    pub(in crate::mesh) paused: bool,
}

/// Shares out one link's estimate.
#[derive(Debug)]
pub(in crate::mesh) struct Budget {
    sound: usize,
    sound_since: Option<Instant>,
    paused: bool,
    /// Since when the estimate speaks for the other state.
    turning_since: Option<Instant>,
}

impl Budget {
    /// Begins with everything.
    pub(in crate::mesh) fn new() -> Self {
        Self {
            sound: SOUND.len() - 1,
            sound_since: None,
            paused: false,
            turning_since: None,
        }
    }

    /// Nothing flows: what was held until now says nothing about later.
    pub(in crate::mesh) fn interrupt(&mut self) {
        self.turning_since = None;
        self.sound_since = None;
    }

    /// Shares the newest estimate, where each packet of sound carries so many before it (`depth`). Where
    /// no pictures are `wanted` all of it is there for sound, and a low one is no reason to pause.
    pub(in crate::mesh) fn share(
        &mut self,
        estimate: Bitrate,
        wanted: bool,
        depth: usize,
        now: Instant,
    ) -> Share {
        if wanted {
            self.pause_or_resume(estimate, now);
        } else {
            self.turning_since = None;
        }
        self.choose_sound(estimate, wanted, now);
        let (sound, redundancy) = protected(self.sound, depth);
        Share {
            sound,
            redundancy,
            video: Self::video(estimate, sound + redundancy),
            paused: self.paused,
        }
    }

    /// Returns what is left for pictures beside `sound`.
    pub(in crate::mesh) fn video(estimate: Bitrate, sound: Bitrate) -> Bitrate {
        let rest = estimate - sound - SOUND_HEADERS;
        rest.scale(PAYLOAD_SHARE).max(LEAST_VIDEO)
    }

    /// Returns the estimate from which on sound is at its best, where each packet carries so many before
    /// it (`depth`), and pictures have so much.
    pub(in crate::mesh) fn needed(video: Option<Bitrate>, depth: usize) -> Bitrate {
        let (sound, redundancy) = protected(SOUND.len() - 1, depth);
        let video = video.map_or(Bitrate::ZERO, |video| video.scale(1.0 / PAYLOAD_SHARE));
        sound + redundancy + SOUND_HEADERS + video
    }

    fn pause_or_resume(&mut self, estimate: Bitrate, now: Instant) {
        let (turning, after) = match self.paused {
            false => (estimate < PAUSE_BELOW, PAUSE_AFTER),
            true => (estimate >= RESUME_ABOVE, RESUME_AFTER),
        };
        if !turning {
            self.turning_since = None;
            return;
        }
        let since = *self.turning_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= after {
            self.paused = !self.paused;
            self.turning_since = None;
        }
    }

    /// Down at once, up one step at a time.
    fn choose_sound(&mut self, estimate: Bitrate, beside_pictures: bool, now: Instant) {
        let from = |(sound, from): &(Bitrate, Bitrate)| match beside_pictures {
            true => *from,
            false => *sound + SOUND_HEADERS,
        };
        let affordable = SOUND.iter().rposition(|step| estimate >= from(step));
        let affordable = affordable.unwrap_or(0);
        if affordable < self.sound {
            self.sound = affordable;
            self.sound_since = None;
            return;
        }
        let headroom = if beside_pictures { SOUND_HEADROOM } else { 1.0 };
        let next = SOUND.get(self.sound + 1);
        if next.is_none_or(|step| estimate < from(step).scale(headroom)) {
            self.sound_since = None;
            return;
        }
        let since = *self.sound_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= SOUND_PAUSE {
            self.sound += 1;
            self.sound_since = None;
        }
    }
}

/// Returns what sound has at a step, and what the earlier packets take that each carries.
fn protected(step: usize, depth: usize) -> (Bitrate, Bitrate) {
    let step = if depth > 1 {
        step.min(MOST_THRICE)
    } else {
        step
    };
    let (sound, _) = SOUND[step];
    (sound, sound.scale(depth as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// A budget in simulated time, in steps of 100 ms.
    struct Scene {
        budget: Budget,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                budget: Budget::new(),
                now: clock::now(),
            }
        }

        fn hold(&mut self, kbps: u64, steps: u32) -> Share {
            self.run(kbps, true, steps)
        }

        fn run(&mut self, kbps: u64, wanted: bool, steps: u32) -> Share {
            let estimate = Bitrate::from_kbps(kbps);
            let mut share = self.budget.share(estimate, wanted, 0, self.now);
            for _ in 0..steps {
                self.now += Duration::from_millis(100);
                share = self.budget.share(estimate, wanted, 0, self.now);
            }
            share
        }
    }

    #[test]
    fn a_link_of_200_kbps_carries_sound_and_pictures() {
        let share = Scene::new().hold(200, 100);
        assert!(!share.paused);
        assert_eq!(share.sound, Bitrate::from_kbps(24));
        assert!(share.video > Bitrate::from_kbps(130));
        assert!(share.video + share.sound + SOUND_HEADERS < Bitrate::from_kbps(200));
    }

    #[test]
    fn what_is_needed_is_what_suffices() {
        let most = Bitrate::from_kbps(1_200);
        let share = Scene::new().hold(Budget::needed(Some(most), 0).bps().div_ceil(1_000), 100);
        assert!(share.video >= most && share.video < most.scale(1.01));
        assert_eq!(share.sound, Bitrate::from_kbps(32));
        assert!(Budget::needed(None, 0) < Bitrate::from_kbps(80));
    }

    #[test]
    fn sound_that_carries_earlier_sound_takes_it_from_pictures() {
        let most = Bitrate::from_kbps(600);
        for (depth, kbps) in [(1, 32), (2, 24)] {
            let mut scene = Scene::new();
            let needed =
                Bitrate::from_kbps(Budget::needed(Some(most), depth).bps().div_ceil(1_000));
            let share = scene.budget.share(needed, true, depth, scene.now);
            let sound = Bitrate::from_kbps(kbps);
            assert_eq!(share.sound, sound);
            assert_eq!(share.redundancy, sound.scale(depth as f64));
            assert!(share.video >= most && share.video < most.scale(1.01));
            let without = scene.budget.share(needed, true, 0, scene.now);
            assert_eq!(without.redundancy, Bitrate::ZERO);
            assert_eq!(without.sound, Bitrate::from_kbps(32));
            assert!(without.video > share.video);
        }
    }

    #[test]
    fn below_80_kbps_pictures_pause_and_sound_takes_less() {
        let mut scene = Scene::new();
        assert!(!scene.hold(60, 14).paused);
        let share = scene.hold(60, 2);
        assert!(share.paused);
        assert_eq!(share.sound, Bitrate::from_kbps(16));
    }

    #[test]
    fn pictures_come_back_when_there_has_been_room_for_two_seconds() {
        let mut scene = Scene::new();
        scene.hold(60, 20);
        assert!(scene.hold(100, 100).paused);
        assert!(scene.hold(115, 19).paused);
        assert!(scene.hold(100, 1).paused);
        assert!(scene.hold(115, 19).paused);
        assert!(!scene.hold(115, 2).paused);
    }

    #[test]
    fn an_estimate_that_falls_only_for_a_moment_pauses_nothing() {
        let mut scene = Scene::new();
        for _ in 0..10 {
            assert!(!scene.hold(50, 12).paused);
            assert!(!scene.hold(90, 2).paused);
        }
    }

    #[test]
    fn an_interruption_is_no_low_estimate() {
        let mut scene = Scene::new();
        scene.hold(50, 14);
        scene.budget.interrupt();
        scene.now += Duration::from_secs(5);
        assert!(!scene.hold(50, 14).paused);
    }

    #[test]
    fn where_nobody_looks_little_is_enough() {
        let mut scene = Scene::new();
        let least = Budget::needed(None, 0).bps() / 1_000;
        let share = scene.run(least, false, 100);
        assert_eq!((share.sound, share.paused), (Bitrate::from_kbps(32), false));
        assert_eq!(scene.run(50, false, 0).sound, Bitrate::from_kbps(24));
        assert_eq!(scene.run(least, false, 40).sound, Bitrate::from_kbps(32));
    }

    #[test]
    fn sound_goes_down_at_once_and_up_in_steps() {
        let mut scene = Scene::new();
        assert_eq!(scene.hold(100, 0).sound, Bitrate::from_kbps(16));
        assert_eq!(scene.hold(2_000, 29).sound, Bitrate::from_kbps(16));
        assert_eq!(scene.hold(2_000, 1).sound, Bitrate::from_kbps(24));
        assert_eq!(scene.hold(2_000, 31).sound, Bitrate::from_kbps(32));
        assert_eq!(scene.hold(310, 100).sound, Bitrate::from_kbps(32));
    }
}
