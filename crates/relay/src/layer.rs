//! One layer of somebody's pictures, as it comes in: pictures are told apart by the frame marking, the
//! rate is measured, and keyframes are asked for.

use std::time::{Duration, Instant};

use crate::{
    FrameMarking, PicturePacket, Size,
    meter::{Meter, Rates},
    window::{Place, Window},
};
use nonstop_rate::Bitrate;

/// A sender is asked for a keyframe of a layer at most so often.
pub(crate) const KEYFRAME_GAP: Duration = Duration::from_millis(500);

/// How long a layer that nobody uses any more is still wanted: a receiver that swings between two layers
/// must not make the sender's encoder swing.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// A layer of pictures.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) size: Size,
    window: Window,
    newest: Newest,
    meter: Meter,
    measured: Option<Rates>,
    pub(crate) demand: Demand,
    pub(crate) asking: Asking,
}

/// The picture that the newest packet belongs to.
#[derive(Debug, Clone, Copy, Default)]
struct Newest {
    timestamp: u32,
    ended: bool,
    marking: FrameMarking,
}

/// What is known of a packet that came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) kind: Kind,
    pub(crate) marking: FrameMarking,
    /// Whether it is the last of its picture.
    pub(crate) ends: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Next(Next),
    Late,
}

/// The newest packet of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// How many before it have not come (yet).
    pub(crate) missing: u64,
    /// Whether it is the first of its picture that came.
    pub(crate) begins: bool,
    /// Whether the last packet of the picture before it came.
    pub(crate) previous_ended: bool,
    /// Whether all that is missing surely belongs to pictures above the base temporal layer.
    pub(crate) only_upper: bool,
    /// Whether nothing connects it with what came before.
    pub(crate) apart: bool,
}

/// Whether anybody uses a layer, or somebody's sound.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Demand {
    wanted_since: Option<Instant>,
    unused_since: Option<Instant>,
}

/// When keyframes of a layer were asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asking {
    asked: Option<Instant>,
    due: bool,
}

impl Layer {
    pub(crate) fn new(size: Size) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    /// Takes in a packet; nothing if it is a duplicate or too old.
    pub(crate) fn take(&mut self, packet: &PicturePacket, now: Instant) -> Option<Arrival> {
        let place = self.window.place(packet.sequence);
        if place == Place::Useless {
            return None;
        }
        let marking = self.marking(packet, place);
        let ends = marking.end || packet.marker;
        let kind = match place {
            Place::Late => Kind::Late,
            Place::Next { missing } => self.follow(packet, &marking, missing, ends),
            Place::Apart | Place::Useless => {
                self.newest = Newest::of(packet, marking, ends);
                Kind::Next(Next {
                    missing: 0,
                    begins: true,
                    previous_ended: true,
                    only_upper: false,
                    apart: true,
                })
            }
        };
        let begins = matches!(kind, Kind::Next(next) if next.begins);
        if begins && marking.independent {
            self.asking.due = false;
        }
        self.meter
            .count(marking.temporal > 0, packet.size, begins, now);
        Some(Arrival {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            kind,
            marking,
            ends,
        })
    }

    /// Takes note of whether anybody uses the layer.
    pub(crate) fn review(&mut self, used: bool, now: Instant) {
        if self.demand.update(used, now) {
            // A layer that is wanted anew begins with a keyframe, and what came before tells nothing.
            self.asking.asked_otherwise(now);
            self.meter = Meter::default();
        }
    }

    /// Forgets what came in: what comes next is another stream.
    pub(crate) fn restart(&mut self) {
        self.window = Window::default();
    }

    /// Returns what the layer takes: as measured, or as it was when it was last wanted, or by its size.
    pub(crate) fn rates(&mut self, now: Instant) -> Rates {
        let measured = self.meter.rates(now);
        if let Some(rates) = measured.filter(|_| self.demand.wanted()) {
            self.measured = Some(rates);
        }
        self.measured.unwrap_or_else(|| expected(self.size))
    }

    /// Returns how many pictures came in the last second.
    pub(crate) fn pictures(&mut self, now: Instant) -> u32 {
        self.meter.pictures(now)
    }

    fn follow(
        &mut self,
        packet: &PicturePacket,
        marking: &FrameMarking,
        missing: u64,
        ends: bool,
    ) -> Kind {
        let before = self.newest;
        let begins = packet.timestamp != before.timestamp || (marking.start && before.ended);
        let chained = match marking.temporal {
            _ if !begins => true,
            0 => marking.tl0_picture == before.marking.tl0_picture.wrapping_add(1),
            _ => marking.tl0_picture == before.marking.tl0_picture,
        };
        let tail_is_upper = before.ended || before.marking.temporal > 0;
        let head_is_upper = marking.start || marking.temporal > 0;
        self.newest = Newest::of(packet, *marking, ends);
        Kind::Next(Next {
            missing,
            begins,
            previous_ended: before.ended,
            only_upper: packet.marking.is_some() && chained && tail_is_upper && head_is_upper,
            apart: false,
        })
    }

    /// A packet without marking belongs to the picture of its timestamp, if that is the newest; else to
    /// one that is taken for a picture of the base temporal layer.
    fn marking(&self, packet: &PicturePacket, place: Place) -> FrameMarking {
        if let Some(marking) = packet.marking {
            return marking;
        }
        let known = place != Place::Apart && packet.timestamp == self.newest.timestamp;
        match known {
            true => FrameMarking {
                start: false,
                end: false,
                ..self.newest.marking
            },
            false => FrameMarking {
                start: place == Place::Next { missing: 0 } && self.newest.ended,
                ..FrameMarking::default()
            },
        }
    }
}

impl Newest {
    fn of(packet: &PicturePacket, marking: FrameMarking, ended: bool) -> Self {
        Self {
            timestamp: packet.timestamp,
            ended,
            marking,
        }
    }
}

impl Demand {
    /// Takes note of whether it is used now. Returns whether it is wanted anew.
    pub(crate) fn update(&mut self, used: bool, now: Instant) -> bool {
        if used {
            self.unused_since = None;
            let anew = self.wanted_since.is_none();
            self.wanted_since.get_or_insert(now);
            return anew;
        }
        if self.wanted_since.is_some() {
            let since = *self.unused_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= LINGER {
                *self = Self::default();
            }
        }
        false
    }

    pub(crate) fn wanted(&self) -> bool {
        self.wanted_since.is_some()
    }

    /// Whether it has been wanted for so long.
    pub(crate) fn wanted_for(&self, time: Duration, now: Instant) -> bool {
        let long = |since| now.saturating_duration_since(since) >= time;
        self.wanted_since.is_some_and(long)
    }
}

impl Asking {
    /// Asks for a keyframe. Returns whether to ask the sender now; otherwise it is asked when it may be,
    /// unless a keyframe comes before.
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
        let early = |asked: Instant| now < asked + KEYFRAME_GAP;
        self.due = self.asked.is_some_and(early);
        if !self.due {
            self.asked = Some(now);
        }
        !self.due
    }

    /// Takes note that the sender was asked in another way.
    pub(crate) fn asked_otherwise(&mut self, now: Instant) {
        self.asked = Some(now);
        self.due = false;
    }

    /// Returns when the sender is to be asked.
    pub(crate) fn due(&self) -> Option<Instant> {
        let asked = self.asked.filter(|_| self.due)?;
        Some(asked + KEYFRAME_GAP)
    }
}

/// What a layer is expected to take before it ever flowed: 150 kb/s at 320x180, 470 at 640x360, 1,500 at
/// 1280x720. Larger pictures take fewer bits a pixel.
fn expected(size: Size) -> Rates {
    let all = Bitrate::from_bps((16.8 * (size.area() as f64).powf(0.83)) as u64);
    Rates {
        base: all.scale(0.6),
        all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_rates_grow_slower_than_pixels() {
        let kbps = |width, height| expected(Size { width, height }).all.bps() / 1000;
        assert_eq!(kbps(320, 180), 150);
        assert_eq!(kbps(640, 360), 474);
        assert_eq!(kbps(1280, 720), 1499);
    }
}
