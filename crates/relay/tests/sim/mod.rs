//! A call in seeded simulated time: publishers with three layers of two temporal layers each over lossy
//! ways to the relay; receivers who watch, and check what they get.

#![allow(dead_code, reason = "each test uses a part")]

mod check;
mod publisher;

pub(crate) use check::Received;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::{Duration, Instant},
};

use nonstop_rate::Bitrate;
use nonstop_relay::{
    Config, Event, Forward, Member, PicturePacket, Publication, Room, Size, SoundPacket, Watch,
};
use publisher::Publisher;

pub(crate) const SMALL: Size = size(320, 180);
pub(crate) const MIDDLE: Size = size(640, 360);
pub(crate) const LARGE: Size = size(1280, 720);
pub(crate) const LAYERS: [Size; 3] = [SMALL, MIDDLE, LARGE];

pub(crate) const fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What happens to packets on the way to the relay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// One way.
    pub(crate) delay: Duration,
    /// Up to so much more, by chance: packets overtake each other.
    pub(crate) jitter: Duration,
    /// Probability.
    pub(crate) loss: f64,
    /// Whether what was lost is sent again until it arrives.
    pub(crate) repaired: bool,
}

pub(crate) const CLEAN: Way = Way {
    delay: Duration::from_millis(20),
    jitter: Duration::ZERO,
    loss: 0.0,
    repaired: true,
};

pub(crate) const ROUGH: Way = Way {
    delay: Duration::from_millis(20),
    jitter: Duration::from_millis(6),
    loss: 0.03,
    repaired: true,
};

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Something that arrives at the relay or at a publisher.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Arrival {
    Picture(Member, u8, PicturePacket),
    Sound(Member, SoundPacket),
    Keyframe(Member, u8),
    Wanted(Member, bool, [bool; 3], bool),
}

pub(crate) struct Sim {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) room: Room,
    pub(crate) chance: Chance,
    pub(crate) way: Way,
    pub(crate) publishers: BTreeMap<Member, Publisher>,
    pub(crate) received: BTreeMap<(Member, Member), Received>,
    pub(crate) sounds: Vec<(Duration, Member, Forward)>,
    pub(crate) told: Vec<(Duration, Event)>,
    arriving: BinaryHeap<Reverse<(Instant, u64)>>,
    contents: BTreeMap<u64, Arrival>,
    count: u64,
    frame_at: Instant,
}

impl Sim {
    #[expect(
        clippy::disallowed_methods,
        reason = "a simulation begins at some time"
    )]
    pub(crate) fn new(seed: u64, way: Way) -> Self {
        let start = Instant::now();
        Self {
            now: start,
            start,
            room: Room::new(Config::default()),
            chance: Chance(seed),
            way,
            publishers: BTreeMap::new(),
            received: BTreeMap::new(),
            sounds: Vec::new(),
            told: Vec::new(),
            arriving: BinaryHeap::new(),
            contents: BTreeMap::new(),
            count: 0,
            frame_at: start,
        }
    }

    /// Lets in somebody who publishes sound and these layers, whose connection carries this much.
    pub(crate) fn join(
        &mut self,
        number: u32,
        layers: &[Size],
        sound: bool,
        estimate: u64,
    ) -> Member {
        let member = Member(number);
        assert!(self.room.join(member, self.now), "there is a place");
        self.room
            .handle_estimate(member, Bitrate::from_kbps(estimate), self.now);
        self.publishers
            .insert(member, Publisher::new(layers, sound));
        let publication = Publication {
            sound,
            layers: layers.to_vec(),
        };
        self.room
            .set_publication(member, Some(publication), self.now);
        self.settle();
        member
    }

    pub(crate) fn publish(&mut self, member: Member, publication: Publication) {
        self.room
            .set_publication(member, Some(publication), self.now);
        self.settle();
    }

    pub(crate) fn watch(&mut self, member: Member, pictures: &[(Member, Size)]) {
        let watch = Watch {
            pictures: pictures.to_vec(),
            ..Watch::default()
        };
        self.room.set_watch(member, watch, self.now);
        self.settle();
    }

    pub(crate) fn estimate(&mut self, member: Member, kbps: u64) {
        self.room
            .handle_estimate(member, Bitrate::from_kbps(kbps), self.now);
        self.settle();
    }

    /// A receiver asks for a keyframe.
    pub(crate) fn request(&mut self, receiver: Member, of: Member) {
        self.room.handle_keyframe_request(receiver, of, self.now);
        self.settle();
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.arriving.peek().map(|Reverse((at, _))| *at);
            let times = [arrival, self.room.poll_timeout(), Some(self.frame_at)];
            let next = times.into_iter().flatten().min().expect("frames go on");
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if self.frame_at <= self.now {
                self.frame();
            } else if arrival.is_some_and(|at| at <= self.now) {
                self.arrive();
            } else {
                self.room.handle_timeout(self.now);
                let again = self.room.poll_timeout();
                assert!(again.is_none_or(|at| at > self.now), "time goes on");
            }
            self.settle();
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// What a receiver got of somebody's pictures.
    pub(crate) fn of(&self, receiver: Member, publisher: Member) -> &Received {
        static NOTHING: Received = Received::nothing();
        self.received
            .get(&(receiver, publisher))
            .unwrap_or(&NOTHING)
    }

    /// Nobody sends anything, until what is on its way has arrived; or everybody goes on.
    pub(crate) fn pause(&mut self, pause: bool) {
        for publisher in self.publishers.values_mut() {
            publisher.sends = !pause;
        }
        if pause {
            self.run(ms(1000));
        }
    }

    /// Checks all that was received, once what is on its way has arrived.
    pub(crate) fn check(&mut self) {
        self.pause(true);
        for ((receiver, publisher), received) in &self.received {
            let sent = &self.publishers[publisher];
            received.check(
                sent,
                self.way.repaired,
                &format!("{publisher:?} to {receiver:?}"),
            );
        }
    }

    /// The times at which somebody was asked for a keyframe of a layer.
    pub(crate) fn asked(&self, of: Member, layer: u8) -> Vec<Duration> {
        let request = Event::RequestKeyframe { of, layer };
        let told = self.told.iter().filter(|(_, event)| *event == request);
        told.map(|(at, _)| *at).collect()
    }

    /// What somebody was last told of the layers that they are given.
    pub(crate) fn allotted(&self, to: Member) -> Vec<(Member, Option<u8>)> {
        let mut told = self.told.iter().rev();
        let pictures = told.find_map(|(_, event)| match event {
            Event::Allotted {
                to: member,
                pictures,
            } if *member == to => Some(pictures.clone()),
            _ => None,
        });
        pictures.unwrap_or_default()
    }

    /// Every publisher takes 33 ms of pictures, and 40 ms of sound.
    fn frame(&mut self) {
        self.frame_at += ms(33);
        let members: Vec<Member> = self.publishers.keys().copied().collect();
        for member in members {
            let publisher = self.publishers.get_mut(&member).expect("a key of the map");
            let (pictures, sound) = publisher.frame(&mut self.chance);
            for (layer, packet) in pictures {
                self.send(Arrival::Picture(member, layer, packet));
            }
            for packet in sound {
                self.send(Arrival::Sound(member, packet));
            }
        }
    }

    fn send(&mut self, arrival: Arrival) {
        let mut delay = self.way.delay + self.way.jitter.mul_f64(self.chance.unit());
        while self.chance.unit() < self.way.loss {
            if !self.way.repaired {
                return;
            }
            delay += ms(50);
        }
        self.arrive_after(delay, arrival);
    }

    fn arrive_after(&mut self, delay: Duration, arrival: Arrival) {
        self.count += 1;
        self.arriving.push(Reverse((self.now + delay, self.count)));
        self.contents.insert(self.count, arrival);
    }

    fn arrive(&mut self) {
        let Some(Reverse((_, number))) = self.arriving.pop() else {
            return;
        };
        let mut out = Vec::new();
        match self.contents.remove(&number).expect("what was sent") {
            Arrival::Picture(from, layer, packet) => {
                self.room
                    .handle_picture(from, layer, &packet, self.now, &mut out);
                for forward in out {
                    let received = self.received.entry((forward.to, from)).or_default();
                    received.take(self.now - self.start, layer, &packet, &forward);
                }
            }
            Arrival::Sound(from, packet) => {
                self.room.handle_sound(from, &packet, self.now, &mut out);
                let at = self.now - self.start;
                self.sounds
                    .extend(out.into_iter().map(|forward| (at, from, forward)));
            }
            Arrival::Keyframe(of, layer) => {
                if let Some(publisher) = self.publishers.get_mut(&of) {
                    publisher.keyframe(layer);
                }
            }
            Arrival::Wanted(of, sound, layers, redundancy) => {
                if let Some(publisher) = self.publishers.get_mut(&of) {
                    publisher.want(sound, layers, redundancy);
                }
            }
        }
    }

    fn settle(&mut self) {
        while let Some(event) = self.room.poll_event() {
            let back = self.way.delay;
            match &event {
                Event::RequestKeyframe { of, layer } => {
                    self.arrive_after(back, Arrival::Keyframe(*of, *layer));
                }
                Event::Wanted {
                    of,
                    sound,
                    layers,
                    redundancy,
                } => {
                    let wanted = Arrival::Wanted(*of, *sound, *layers, *redundancy);
                    self.arrive_after(back, wanted);
                }
                _ => {}
            }
            self.told.push((self.elapsed(), event));
        }
    }
}
