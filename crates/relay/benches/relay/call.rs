//! Calls of many, as far as the relay sees them.

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;
use nonstop_relay::{
    Config, Event, Forward, FrameMarking, Member, PicturePacket, Publication, Room, Size,
    SoundPacket, Watch,
};

/// What is called.
pub(crate) struct Call {
    pub(crate) what: &'static str,
    pub(crate) members: u32,
    cameras: u32,
    /// How many others each watches, and which size.
    tiles: u32,
    tile: Size,
    /// What each receiver's connection carries.
    estimate: Bitrate,
    pub(crate) bound: f64,
}

const fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

const LAYERS: [Size; 3] = [size(320, 180), size(640, 360), size(1280, 720)];

/// Packets of a picture of each layer: 150, 500 and 1,500 kb/s.
const PACKETS: [u64; 3] = [1, 2, 6];

pub(crate) const CALLS: &[Call] = &[
    Call {
        what: "decisions: 50 participants, 50 cameras, 9 tiles",
        members: 50,
        cameras: 50,
        tiles: 9,
        tile: size(640, 360),
        estimate: Bitrate::from_kbps(8_000),
        bound: 5_000_000.0,
    },
    Call {
        what: "decisions: 50 participants, 50 cameras, 9 tiles, half the bandwidth",
        members: 50,
        cameras: 50,
        tiles: 9,
        tile: size(640, 360),
        estimate: Bitrate::from_kbps(3_000),
        bound: 5_000_000.0,
    },
    Call {
        what: "decisions: 200 participants, 10 cameras",
        members: 200,
        cameras: 10,
        tiles: 10,
        tile: size(640, 360),
        estimate: Bitrate::from_kbps(8_000),
        bound: 5_000_000.0,
    },
    Call {
        what: "decisions: 200 participants, 200 cameras, 49 tiles",
        members: 200,
        cameras: 200,
        tiles: 49,
        tile: size(320, 180),
        estimate: Bitrate::from_kbps(9_000),
        bound: 5_000_000.0,
    },
];

/// A call that goes on.
pub(crate) struct Calling {
    room: Room,
    now: Instant,
    senders: Vec<Sender>,
    frames: u64,
    out: Vec<Forward>,
}

struct Sender {
    member: Member,
    wanted: [bool; 3],
    keyframes: [bool; 3],
    pictures: [u64; 3],
    sequences: [u64; 3],
    sound: u64,
    level: u8,
}

impl Call {
    #[expect(clippy::disallowed_methods, reason = "a call begins at some time")]
    pub(crate) fn begin(&self) -> Calling {
        let now = Instant::now();
        let mut room = Room::new(Config::default());
        let mut senders = Vec::new();
        for number in 0..self.members {
            let member = Member(number);
            room.join(member, now);
            room.handle_estimate(member, self.estimate, now);
            let camera = number < self.cameras;
            let publication = Publication {
                sound: true,
                layers: if camera { LAYERS.to_vec() } else { Vec::new() },
            };
            room.set_publication(member, Some(publication), now);
            senders.push(Sender {
                member,
                wanted: [false; 3],
                keyframes: [false; 3],
                pictures: [0; 3],
                sequences: [1000; 3],
                sound: 1000,
                // Eight speak, one louder than the other; most are silent.
                level: if number < 8 { 30 + number as u8 } else { 127 },
            });
        }
        for number in 0..self.members {
            let others = (1..=self.tiles).map(|step| (number + step) % self.cameras);
            let others = others.filter(|other| *other != number);
            let watch = Watch {
                pictures: others.map(|other| (Member(other), self.tile)).collect(),
                ..Watch::default()
            };
            room.set_watch(Member(number), watch, now);
        }
        Calling {
            room,
            now,
            senders,
            frames: 0,
            out: Vec::new(),
        }
    }
}

impl Calling {
    /// Goes on for a while; returns how many packets were passed on.
    pub(crate) fn run(&mut self, time: Duration) -> u64 {
        let end = self.now + time;
        let mut passed = 0;
        while self.now < end {
            passed += self.frame();
            self.now += Duration::from_millis(20);
        }
        passed
    }

    /// 20 ms of everybody's sound, and in two of three a picture.
    fn frame(&mut self) -> u64 {
        let mut passed = 0;
        self.frames += 1;
        let pictures = !self.frames.is_multiple_of(3);
        for sender in &mut self.senders {
            sender.sound += 1;
            let sound = SoundPacket {
                sequence: sender.sound,
                timestamp: self.frames as u32 * 960,
                marker: false,
                size: 100,
                level: Some(sender.level),
                voice: sender.level < 100,
            };
            self.room
                .handle_sound(sender.member, &sound, self.now, &mut self.out);
            for layer in 0..3 {
                if pictures && sender.wanted[layer] {
                    let timestamp = self.frames as u32 * 1800;
                    for packet in sender.picture(layer, timestamp) {
                        let (now, out) = (self.now, &mut self.out);
                        let layer = layer as u8;
                        self.room
                            .handle_picture(sender.member, layer, &packet, now, out);
                    }
                }
            }
            passed += self.out.len() as u64;
            self.out.clear();
            while self.room.poll_timeout().is_some_and(|at| at <= self.now) {
                self.room.handle_timeout(self.now);
            }
        }
        while let Some(event) = self.room.poll_event() {
            match event {
                Event::RequestKeyframe { of, layer } => {
                    self.senders[of.0 as usize].keyframes[usize::from(layer)] = true;
                }
                Event::Wanted { of, layers, .. } => {
                    let sender = &mut self.senders[of.0 as usize];
                    for (layer, wanted) in layers.into_iter().enumerate() {
                        sender.keyframes[layer] |= wanted && !sender.wanted[layer];
                    }
                    sender.wanted = layers;
                }
                _ => {}
            }
        }
        passed
    }
}

impl Sender {
    fn picture(
        &mut self,
        layer: usize,
        timestamp: u32,
    ) -> impl Iterator<Item = PicturePacket> + use<> {
        let independent = std::mem::take(&mut self.keyframes[layer]);
        let picture = &mut self.pictures[layer];
        *picture = match independent {
            true => (*picture + 2) & !1,
            false => *picture + 1,
        };
        let upper = *picture % 2 == 1;
        let marking = FrameMarking {
            independent,
            discardable: upper,
            base_sync: upper,
            temporal: u8::from(upper),
            tl0_picture: (*picture / 2) as u8,
            ..FrameMarking::default()
        };
        let packets = PACKETS[layer] * if independent { 4 } else { 1 };
        let first = self.sequences[layer];
        self.sequences[layer] += packets;
        (0..packets).map(move |index| PicturePacket {
            sequence: first + index,
            timestamp,
            marker: index + 1 == packets,
            size: 1050,
            marking: Some(FrameMarking {
                start: index == 0,
                end: index + 1 == packets,
                ..marking
            }),
        })
    }
}
