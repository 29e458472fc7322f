//! The quality ladder: how large and how often pictures are sent for a given bitrate.
//!
//! Pure: target, sizes and time in, [`Choice`] out. It goes down at once, because a target that
//! is too small for its size makes the encoder drop pictures; it goes up with headroom and after a
//! pause, because every change of size costs a keyframe, but then straight to the rung that fits: a
//! target far above what a size can use was not reached by sending that size. Pictures are never
//! enlarged, and keep the shape of their source: a rung says how many pixels, not which sides.
//!
//! ```text
//! target ─┬─ below this rung's floor ───────────────▶ the highest rung whose floor it reaches
//!         └─ 1.25 × a higher floor, and 5 s still ──▶ the highest rung with that headroom
//! ```
//! A link finds out within its first seconds what it carries. So there is one jump to a larger size
//! that need not wait: as soon as the target is enough for the largest, or stops rising.

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;

use crate::media::Size;

/// One step of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rung {
    /// The size for a 16:9 source; other shapes get as many pixels.
    size: Size,
    fps: u32,
    /// Below this the rung is left.
    floor: Bitrate,
    /// More than this is not visible any more and stays unspent.
    ceiling: Bitrate,
}

const fn rung(width: u32, height: u32, fps: u32, floor_kbps: u64, ceiling_kbps: u64) -> Rung {
    Rung {
        size: Size::new(width, height),
        fps,
        floor: Bitrate::from_kbps(floor_kbps),
        ceiling: Bitrate::from_kbps(ceiling_kbps),
    }
}

/// From the smallest to the largest. The floors are where the encoder, at low complexity and with
/// natural content, still holds its rate without dropping more than a few pictures.
const RUNGS: [Rung; 8] = [
    rung(320, 180, 8, 0, 400),
    rung(320, 180, 15, 50, 400),
    rung(320, 180, 20, 90, 400),
    rung(320, 180, 30, 170, 400),
    rung(480, 270, 30, 210, 700),
    rung(640, 360, 30, 280, 1_200),
    rung(960, 540, 30, 650, 2_200),
    rung(1280, 720, 30, 1_100, 4_000),
];

/// How much more than a rung's floor there must be to go up to it.
const HEADROOM: f64 = 1.25;
/// The least time between a change of size and the next change to a larger one.
const SIZE_PAUSE: Duration = Duration::from_secs(5);
/// Likewise for the frame rate, whose change costs no keyframe.
const RATE_PAUSE: Duration = Duration::from_secs(1);
/// How long after the first choice the jump that need not wait may come.
const OPENING: Duration = Duration::from_secs(4);
/// A target that has not risen by [`RISE`] for so long does not rise any more.
const SETTLED: Duration = Duration::from_millis(300);
/// What counts as rising.
const RISE: f64 = 1.1;
/// Part of a picture's time that may be spent on encoding it before the computer counts as
/// overloaded.
const MOST_LOAD: f64 = 0.6;
/// How long a size stays out of reach after it proved too much for this computer.
const RELIEF: Duration = Duration::from_secs(30);

/// What to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Size of the encoded picture: even sides, at most the source's, of the source's shape.
    pub size: Size,
    /// Pictures a second, at most.
    pub fps: u32,
    /// What the encoder may spend: the target, up to what is visible at this size.
    pub bitrate: Bitrate,
}

/// The ladder's memory: on which rung it stands, and since when.
#[derive(Debug, Clone, Default)]
pub struct Ladder {
    standing: Option<Standing>,
    /// The highest rung this computer manages, and until when that is believed.
    relief: Option<(usize, Instant)>,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    rung: usize,
    size_since: Instant,
    rate_since: Instant,
    /// Until when one jump need not wait.
    jump_until: Option<Instant>,
    /// The target when it last rose, and when that was.
    risen: (Bitrate, Instant),
}

impl Ladder {
    /// Stands on no rung yet: the first choice goes straight to the rung that fits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses for pictures of size `source`, of which at most `max_size` is worth sending.
    pub fn choose(
        &mut self,
        target: Bitrate,
        source: Size,
        max_size: Size,
        now: Instant,
    ) -> Choice {
        if self.relief.is_some_and(|(_, until)| now >= until) {
            self.relief = None;
        }
        let top = match self.relief {
            Some((rung, _)) => rung.min(top_rung(source, max_size)),
            None => top_rung(source, max_size),
        };
        let reached = highest(target).min(top);
        let standing = match self.standing {
            None => Standing {
                rung: reached,
                size_since: now,
                rate_since: now,
                jump_until: Some(now + OPENING),
                risen: (target, now),
            },
            Some(standing) => standing.moved(target, reached, top, now),
        };
        self.standing = Some(standing);
        let rung = RUNGS[standing.rung];
        Choice {
            size: shape(source, rung.size.pixels(), max_size),
            fps: rung.fps,
            bitrate: target.min(rung.ceiling),
        }
    }

    /// Learns how much of a picture's time its encoding takes (1.0: all of it), over the last
    /// second or so. Steps down a size where that is too much; returns whether it did.
    pub fn load(&mut self, load: f64, now: Instant) -> bool {
        let Some(standing) = self.standing else {
            return false;
        };
        let size = RUNGS[standing.rung].size;
        let lower = RUNGS.iter().rposition(|rung| rung.size < size);
        match lower {
            Some(lower) if load > MOST_LOAD => {
                self.relief = Some((lower, now + RELIEF));
                true
            }
            _ => false,
        }
    }
}

impl Standing {
    fn moved(mut self, target: Bitrate, reached: usize, top: usize, now: Instant) -> Self {
        let before = RUNGS[self.rung];
        if target > self.risen.0.scale(RISE) || target < self.risen.0 {
            self.risen = (target, now);
        }
        if reached < self.rung {
            self.rung = reached;
        } else {
            let goal = highest(target.scale(1.0 / HEADROOM)).min(top);
            let same_size = |rung: &Rung| rung.size == before.size;
            let faster = RUNGS[..=goal].iter().rposition(same_size);
            if RUNGS[goal].size > before.size && self.may_grow(goal == top, now) {
                self.rung = goal;
            } else if let Some(faster) = faster.filter(|faster| *faster > self.rung)
                && now.duration_since(self.rate_since) >= RATE_PAUSE
            {
                self.rung = faster;
            }
        }
        let after = RUNGS[self.rung];
        if after.size != before.size {
            self.size_since = now;
            self.jump_until = None;
        }
        if after != before {
            self.rate_since = now;
        }
        self
    }

    fn may_grow(&self, to_the_top: bool, now: Instant) -> bool {
        let settled = now.duration_since(self.risen.1) >= SETTLED;
        let jumps = self.jump_until.is_some_and(|until| now <= until);
        now.duration_since(self.size_since) >= SIZE_PAUSE || jumps && (to_the_top || settled)
    }
}

/// Returns the largest picture that is ever made of `source` where at most `max_size` is worth
/// sending, and the most that can be spent on it.
pub fn most(source: Size, max_size: Size) -> (Size, Bitrate) {
    let rung = RUNGS[top_rung(source, max_size)];
    let size = shape(source, rung.size.pixels(), max_size);
    (size, rung.ceiling)
}

/// Returns from which bitrate on the largest picture, as in [`most`], holds 30 pictures a second.
pub fn floor(source: Size, max_size: Size) -> Bitrate {
    let rung = RUNGS[top_rung(source, max_size)];
    let pixels = shape(source, rung.size.pixels(), max_size).pixels();
    let part = pixels as f64 / rung.size.pixels() as f64;
    rung.floor.scale(part.min(1.0))
}

/// Returns the smallest size of a rung that fills a picture shown at `shown`, whichever way it
/// stands; of a rung that is short by a tenth nobody sees it.
pub fn at_least(shown: Size) -> Size {
    const SHORT: f64 = 1.1;
    let sides = |size: Size| (size.width.max(size.height), size.width.min(size.height));
    let (long, short) = sides(shown);
    let fills = |rung: &&Rung| {
        let (width, height) = sides(rung.size);
        f64::from(width) * SHORT >= f64::from(long) && f64::from(height) * SHORT >= f64::from(short)
    };
    let rung = RUNGS.iter().find(fills);
    rung.unwrap_or(&RUNGS[RUNGS.len() - 1]).size
}

/// Returns the highest rung whose floor is reached.
fn highest(target: Bitrate) -> usize {
    let reached = RUNGS.iter().rposition(|rung| target >= rung.floor);
    reached.unwrap_or(0)
}

/// Returns the rung above which pictures would not become larger any more.
fn top_rung(source: Size, max_size: Size) -> usize {
    let most = shape(source, u64::MAX, max_size).pixels();
    let size = RUNGS
        .iter()
        .find(|rung| rung.size.pixels() >= most)
        .map_or(RUNGS[RUNGS.len() - 1].size, |rung| rung.size);
    RUNGS
        .iter()
        .rposition(|rung| rung.size == size)
        .unwrap_or(0)
}

/// Returns the largest size of `source`'s shape with about `pixels` pixels at most, that fits into
/// `max_size` and into the source. Both sides are even and at least 16, the least the encoder takes.
pub fn shape(source: Size, pixels: u64, max_size: Size) -> Size {
    let (width, height) = (f64::from(source.width), f64::from(source.height));
    // A picture that stands upright may be as high as one that lies may be wide.
    let (most_width, most_height) =
        if (source.height > source.width) == (max_size.height > max_size.width) {
            (max_size.width, max_size.height)
        } else {
            (max_size.height, max_size.width)
        };
    let factor = (pixels as f64 / (width * height))
        .sqrt()
        .min(f64::from(most_width) / width)
        .min(f64::from(most_height) / height);
    if factor >= 1.0 {
        return Size::new(even(width), even(height));
    }
    // A width of whole half macroblocks spares the encoder padding.
    let wide = ((width * factor / 8.0).round() * 8.0).max(16.0);
    let exact = wide.min(f64::from(even(width)));
    Size::new(even(exact), even(exact * height / width))
}

/// Returns the nearest even number, at least 16.
fn even(side: f64) -> u32 {
    (((side / 2.0).round() * 2.0) as u32).max(16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const HD: Size = Size::new(1280, 720);

    /// A ladder in simulated time.
    struct Scene {
        ladder: Ladder,
        source: Size,
        max_size: Size,
        now: Instant,
    }

    impl Scene {
        fn with(source: Size, max_size: Size) -> Self {
            Self {
                ladder: Ladder::new(),
                source,
                max_size,
                now: clock::now(),
            }
        }

        fn at(&mut self, kbps: u64) -> Choice {
            let target = Bitrate::from_kbps(kbps);
            self.ladder
                .choose(target, self.source, self.max_size, self.now)
        }

        fn hold(&mut self, kbps: u64, time: Duration) -> Choice {
            let end = self.now + time;
            while self.now < end {
                self.now += Duration::from_millis(33);
                self.at(kbps);
            }
            self.at(kbps)
        }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_choice_goes_straight_to_the_rung_that_fits() {
        let first = |kbps| {
            let choice = Scene::with(HD, HD).at(kbps);
            (choice.size.to_string(), choice.fps)
        };
        assert_eq!(first(30), ("320x180".into(), 8));
        assert_eq!(first(60), ("320x180".into(), 15));
        assert_eq!(first(150), ("320x180".into(), 20));
        assert_eq!(first(300), ("640x360".into(), 30));
        assert_eq!(first(1_000), ("960x540".into(), 30));
        assert_eq!(first(2_000), ("1280x720".into(), 30));
    }

    #[test]
    fn it_goes_down_at_once_and_after_five_seconds_up_to_what_fits() {
        let mut scene = Scene::with(HD, HD);
        assert_eq!(scene.hold(2_000, secs(6)).size, HD);
        assert_eq!(scene.at(300).size, Size::new(640, 360));
        assert_eq!(scene.hold(2_000, secs(4)).size, Size::new(640, 360));
        assert_eq!(scene.hold(2_000, secs(2)).size, HD);
    }

    #[test]
    fn a_link_that_finds_its_rate_at_once_gets_the_largest_size_at_once() {
        let mut scene = Scene::with(HD, HD);
        let size = scene.at(500).size;
        assert_eq!(size, Size::new(640, 360));
        let ms = Duration::from_millis;
        assert_eq!(scene.hold(900, ms(200)).size, size);
        assert_eq!(scene.hold(1_300, ms(200)).size, size);
        assert_eq!(scene.at(2_000).size, HD);
        // The next one waits.
        assert_eq!(scene.at(700).size, Size::new(960, 540));
        assert_eq!(scene.hold(2_000, secs(4)).size, Size::new(960, 540));
        assert_eq!(scene.hold(2_000, secs(2)).size, HD);
    }

    #[test]
    fn the_early_jump_waits_until_the_target_rises_no_more() {
        let mut scene = Scene::with(HD, HD);
        scene.at(300);
        let mut size = Size::new(640, 360);
        for kbps in [400, 500, 600, 700, 800, 900] {
            size = scene.hold(kbps, Duration::from_millis(200)).size;
        }
        assert_eq!(size, Size::new(640, 360));
        assert_eq!(scene.hold(900, secs(1)).size, Size::new(960, 540));
    }

    #[test]
    fn a_shown_size_is_filled_by_the_next_rung() {
        for ((width, height), expected) in [
            ((320, 180), (320, 180)),
            ((1, 1), (320, 180)),
            ((345, 190), (320, 180)),
            ((400, 225), (480, 270)),
            ((180, 320), (320, 180)),
            ((640, 480), (960, 540)),
            ((3840, 2160), (1280, 720)),
        ] {
            let expected = Size::new(expected.0, expected.1);
            assert_eq!(at_least(Size::new(width, height)), expected);
        }
    }

    #[test]
    fn the_most_is_what_the_source_and_the_viewer_allow() {
        let most = |source, max_size| {
            let (size, rate) = most(source, max_size);
            (size.to_string(), rate.bps() / 1_000)
        };
        assert_eq!(most(HD, HD), ("1280x720".into(), 4_000));
        assert_eq!(most(HD, Size::new(640, 360)), ("640x360".into(), 1_200));
        assert_eq!(most(Size::new(352, 288), HD), ("352x288".into(), 700));
    }

    #[test]
    fn it_stays_where_a_target_wavers_around_a_floor() {
        let mut scene = Scene::with(HD, HD);
        scene.at(660);
        let size = scene.at(640).size;
        assert_eq!(size, Size::new(640, 360));
        for _ in 0..20 {
            assert_eq!(scene.hold(700, secs(1)).size, size);
            assert_eq!(scene.hold(600, secs(1)).size, size);
        }
    }

    #[test]
    fn a_link_of_200_kbps_gets_small_pictures_that_move() {
        let mut scene = Scene::with(HD, HD);
        let choice = scene.hold(150, secs(20));
        assert_eq!((choice.size, choice.fps), (Size::new(320, 180), 20));
    }

    #[test]
    fn nothing_is_enlarged_and_the_largest_wanted_size_is_kept() {
        let mut small = Scene::with(Size::new(352, 288), HD);
        assert_eq!(small.hold(3_000, secs(60)).size, Size::new(352, 288));
        let mut wanted = Scene::with(HD, Size::new(640, 360));
        let choice = wanted.hold(3_000, secs(60));
        assert_eq!((choice.size, choice.fps), (Size::new(640, 360), 30));
        assert_eq!(choice.bitrate, Bitrate::from_kbps(1_200));
    }

    #[test]
    fn a_wanted_size_that_shrinks_is_obeyed_at_once() {
        let mut scene = Scene::with(HD, HD);
        assert_eq!(scene.at(3_000).size, HD);
        scene.max_size = Size::new(320, 180);
        let choice = scene.at(3_000);
        assert_eq!((choice.size, choice.fps), (Size::new(320, 180), 30));
        assert_eq!(choice.bitrate, Bitrate::from_kbps(400));
    }

    #[test]
    fn other_shapes_keep_their_proportions_on_even_sides() {
        let four_by_three = Size::new(640, 480);
        let size = shape(four_by_three, 640 * 360, HD);
        assert_eq!(size, Size::new(552, 414));
        let upright = shape(Size::new(720, 1280), 640 * 360, HD);
        assert_eq!(upright, Size::new(360, 640));
        let odd = shape(Size::new(638, 358), u64::MAX, Size::new(640, 360));
        assert_eq!(odd, Size::new(638, 358));
        for (width, height) in [
            (1920, 1080),
            (1024, 576),
            (800, 600),
            (642, 482),
            (1280, 960),
        ] {
            for rung in RUNGS {
                let size = shape(Size::new(width, height), rung.size.pixels(), HD);
                assert!(
                    size.width.is_multiple_of(2) && size.height.is_multiple_of(2),
                    "{size}"
                );
                let bent = f64::from(size.width * height) / f64::from(size.height * width);
                assert!((bent - 1.0).abs() < 0.01, "{width}x{height} became {size}");
                assert!(size.pixels() <= rung.size.pixels() * 103 / 100, "{size}");
            }
        }
    }

    #[test]
    fn a_computer_that_is_too_slow_gets_smaller_pictures_for_a_while() {
        let mut scene = Scene::with(HD, HD);
        assert_eq!(scene.at(3_000).size, HD);
        assert!(!scene.ladder.load(0.4, scene.now));
        assert!(scene.ladder.load(0.9, scene.now));
        assert_eq!(scene.hold(3_000, secs(20)).size, Size::new(960, 540));
        assert_eq!(scene.hold(3_000, secs(20)).size, HD);
    }
}
