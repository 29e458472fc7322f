//! Simulcast: the same pictures in up to three sizes, for a relay that passes on to each viewer the
//! one that fits.
//!
//! ```text
//! camera, largest size ─▶ sizes: small, middle, large
//! a layer's target ─▶ Tempo: its size stays, its frame rate goes down and up
//! ```
//! A layer never steps down into the size of the one below it: that one is there already. Where a
//! target is too small for a layer's size at the least frame rate it should be switched off, which is
//! for its sender to decide. Pure.

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;

use super::ladder::{self, Choice};
use crate::media::Size;

/// The sizes of the layers for a 16:9 camera; others get as many pixels in their own shape.
const LAYERS: [Size; 3] = [
    Size::new(320, 180),
    Size::new(640, 360),
    Size::new(1280, 720),
];
/// A layer has at least this many times the pixels of the one below it, or it takes its place: what
/// is hardly larger is not worth being sent twice.
const WORTH: f64 = 1.5;

/// Frame rates, and the part of the size's floor (at 30 pictures a second) from which each holds: as
/// between the ladder's rungs of one size.
const TEMPOS: [(u32, f64); 4] = [(8, 0.0), (15, 0.3), (20, 0.53), (30, 1.0)];
/// How much more there must be to go up.
const HEADROOM: f64 = 1.25;
/// The least time between two changes to a higher rate.
const PAUSE: Duration = Duration::from_secs(1);
/// Part of a picture's time that may be spent on encoding it.
const MOST_LOAD: f64 = 0.6;
/// How long a frame rate stays out of reach after it proved too much for this computer.
const RELIEF: Duration = Duration::from_secs(30);

/// Returns the sizes of the layers for a camera whose pictures have size `source`, where at most
/// `max_size` is to be sent: one to three, the smallest first, in the camera's shape.
pub fn sizes(source: Size, max_size: Size) -> Vec<Size> {
    let mut sizes: Vec<Size> = Vec::new();
    for layer in LAYERS {
        let size = ladder::shape(source, layer.pixels(), max_size);
        let worth = |below: &Size| size.pixels() as f64 >= below.pixels() as f64 * WORTH;
        if !sizes.last().is_none_or(worth) {
            sizes.pop();
        }
        sizes.push(size);
    }
    sizes
}

/// The frame rate of one layer, whose size stays.
#[derive(Debug, Clone, Default)]
pub struct Tempo {
    /// Where it stands, and since when.
    standing: Option<(usize, Instant)>,
    /// The highest this computer manages, and until when that is believed.
    relief: Option<(usize, Instant)>,
}

impl Tempo {
    /// Chooses for pictures of size `source`, of which `max_size` is sent.
    pub fn choose(
        &mut self,
        target: Bitrate,
        source: Size,
        max_size: Size,
        now: Instant,
    ) -> Choice {
        let (size, most) = ladder::most(source, max_size);
        let floor = ladder::floor(source, max_size);
        self.relief = self.relief.filter(|(_, until)| now < *until);
        let top = self.relief.map_or(TEMPOS.len() - 1, |(tempo, _)| tempo);
        let reached = |target: Bitrate| {
            let holds = |(_, part): &(u32, f64)| target >= floor.scale(*part);
            TEMPOS.iter().rposition(holds).unwrap_or(0).min(top)
        };
        let tempo = match self.standing {
            None => reached(target),
            Some((tempo, since)) => {
                let higher = reached(target.scale(1.0 / HEADROOM));
                match now.saturating_duration_since(since) >= PAUSE {
                    true if higher > tempo => higher,
                    _ => tempo.min(reached(target)),
                }
            }
        };
        if self.standing.is_none_or(|(standing, _)| standing != tempo) {
            self.standing = Some((tempo, now));
        }
        Choice {
            size,
            fps: TEMPOS[tempo].0,
            bitrate: target.min(most),
        }
    }

    /// Learns how much of a picture's time its encoding takes (1.0: all of it), over the last second
    /// or so. Steps down where that is too much; returns whether it did.
    pub fn load(&mut self, load: f64, now: Instant) -> bool {
        match self.standing {
            Some((tempo, _)) if tempo > 0 && load > MOST_LOAD => {
                self.relief = Some((tempo - 1, now + RELIEF));
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const HD: Size = Size::new(1280, 720);

    fn named(source: (u32, u32), max_size: Size) -> Vec<String> {
        let sizes = sizes(Size::new(source.0, source.1), max_size);
        sizes.iter().map(Size::to_string).collect()
    }

    #[test]
    fn layers_have_the_cameras_shape_and_a_small_camera_has_fewer() {
        assert_eq!(named((1280, 720), HD), ["320x180", "640x360", "1280x720"]);
        assert_eq!(named((1920, 1080), HD), ["320x180", "640x360", "1280x720"]);
        assert_eq!(named((720, 1280), HD), ["184x328", "360x640", "720x1280"]);
        assert_eq!(named((960, 540), HD), ["320x180", "640x360", "960x540"]);
        assert_eq!(named((640, 360), HD), ["320x180", "640x360"]);
        // Hardly larger than the middle one: it takes its place.
        assert_eq!(named((640, 480), HD), ["280x210", "640x480"]);
        assert_eq!(named((320, 240), HD), ["320x240"]);
        assert_eq!(named((160, 120), HD), ["160x120"]);
    }

    #[test]
    fn nothing_larger_than_allowed_is_planned() {
        let middle = Size::new(640, 360);
        assert_eq!(named((1280, 720), middle), ["320x180", "640x360"]);
        assert_eq!(named((1280, 720), Size::new(320, 180)), ["320x180"]);
    }

    #[test]
    fn every_planned_size_is_what_its_layer_encodes() {
        for source in [
            (1920, 1080),
            (720, 1280),
            (640, 480),
            (352, 288),
            (320, 240),
        ] {
            let source = Size::new(source.0, source.1);
            for size in sizes(source, HD) {
                let mut tempo = Tempo::default();
                for kbps in [20, 200, 2_000] {
                    let target = Bitrate::from_kbps(kbps);
                    let choice = tempo.choose(target, source, size, clock::now());
                    assert_eq!(choice.size, size, "{source} at {target}");
                }
            }
        }
    }

    #[test]
    fn a_layer_keeps_its_size_and_comes_less_often() {
        let mut tempo = Tempo::default();
        let mut now = clock::now();
        let mut at = |kbps| {
            now += Duration::from_secs(2);
            let choice = tempo.choose(Bitrate::from_kbps(kbps), HD, HD, now);
            assert_eq!(choice.size, HD);
            choice.fps
        };
        assert_eq!(at(1_700), 30);
        assert_eq!([at(1_000), at(500), at(200)], [20, 15, 8]);
        assert_eq!([at(400), at(500), at(1_300), at(1_400)], [8, 15, 20, 30]);
    }

    #[test]
    fn it_does_not_flap_where_a_target_wavers() {
        let mut tempo = Tempo::default();
        let start = clock::now();
        let mut changes = 0;
        let mut before = None;
        for tick in 0..600 {
            let kbps = if tick / 30 % 2 == 0 { 1_050 } else { 1_250 };
            let now = start + Duration::from_millis(33) * tick;
            let fps = tempo.choose(Bitrate::from_kbps(kbps), HD, HD, now).fps;
            changes += u32::from(before.replace(fps).is_some_and(|before| before != fps));
        }
        assert_eq!(changes, 0);
    }

    #[test]
    fn a_slow_computer_makes_fewer_pictures_and_tries_again_later() {
        let mut tempo = Tempo::default();
        let start = clock::now();
        let target = Bitrate::from_kbps(2_000);
        assert_eq!(tempo.choose(target, HD, HD, start).fps, 30);
        assert!(!tempo.load(0.5, start));
        assert!(tempo.load(0.8, start));
        assert_eq!(tempo.choose(target, HD, HD, start).fps, 20);
        let later = start + RELIEF;
        assert_eq!(tempo.choose(target, HD, HD, later).fps, 30);
    }
}
