//! A room of the relay: facts in, packets' receivers and events out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use nonstop_rate::Bitrate;

use crate::{Event, Forward, MAX_LAYERS, Member, PicturePacket, Publication, SoundPacket, Watch};

/// What is set about a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The most members; who comes beyond is not let in.
    pub members: usize,
    /// Of how many the sound is passed on at a time.
    pub loudest: usize,
    /// The first sequence number of every stream to a receiver. Small, because the receiver's SRTP
    /// begins with a rollover counter of 0 (RFC 3711 section 3.3.1).
    pub first_sequence: u64,
    /// What a connection is taken to carry before its first estimate.
    pub first_estimate: Bitrate,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            members: 200,
            loudest: 6,
            first_sequence: 1,
            first_estimate: Bitrate::from_kbps(500),
        }
    }
}

/// A room.
#[derive(Debug)]
pub struct Room {
    config: Config,
    members: BTreeMap<Member, Seat>,
    events: VecDeque<Event>,
}

#[derive(Debug, Default)]
struct Seat {
    publication: Option<Publication>,
    watch: Watch,
    numbers: BTreeMap<(Member, bool), u64>,
    started: BTreeSet<Member>,
}

impl Room {
    /// Opens an empty room.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            members: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Lets a member in. Returns whether there was a place.
    pub fn join(&mut self, member: Member, _now: Instant) -> bool {
        if self.members.len() >= self.config.members {
            return false;
        }
        self.members.entry(member).or_default();
        true
    }

    /// Lets a member go.
    pub fn leave(&mut self, member: Member, now: Instant) {
        self.members.remove(&member);
        self.review(now);
    }

    /// Says that a member's connection was opened anew: the streams to it begin again at the first
    /// sequence number, and its own streams are new ones. What goes on to others is numbered on.
    pub fn reopen(&mut self, member: Member, _now: Instant) {
        if let Some(seat) = self.members.get_mut(&member) {
            seat.numbers.clear();
            seat.started.clear();
        }
    }

    /// Replaces what a member offers.
    pub fn set_publication(
        &mut self,
        member: Member,
        publication: Option<Publication>,
        now: Instant,
    ) {
        if let Some(seat) = self.members.get_mut(&member) {
            seat.publication = publication;
        }
        self.review(now);
    }

    /// Replaces what a member takes in.
    pub fn set_watch(&mut self, member: Member, watch: Watch, now: Instant) {
        if let Some(seat) = self.members.get_mut(&member) {
            seat.watch = watch;
        }
        self.review(now);
    }

    /// Takes in what the way from the relay to a member is estimated to carry, everything included.
    pub fn handle_estimate(&mut self, _member: Member, _estimate: Bitrate, _now: Instant) {}

    /// Takes in a packet of a member's pictures, and appends to `out` who gets it.
    pub fn handle_picture(
        &mut self,
        from: Member,
        layer: u8,
        packet: &PicturePacket,
        _now: Instant,
        out: &mut Vec<Forward>,
    ) {
        if layer != 0 {
            return;
        }
        let first = self.config.first_sequence;
        for (to, seat) in &mut self.members {
            if *to == from || !seat.watch.pictures.iter().any(|(of, _)| *of == from) {
                continue;
            }
            let restart = !seat.started.contains(&from);
            if restart && !packet.marking.is_some_and(|marking| marking.independent) {
                continue;
            }
            seat.started.insert(from);
            out.push(Forward {
                to: *to,
                sequence: next(&mut seat.numbers, (from, true), first),
                marker: packet.marker,
                restart,
            });
        }
    }

    /// Takes in a packet of a member's sound, and appends to `out` who gets it.
    pub fn handle_sound(
        &mut self,
        from: Member,
        packet: &SoundPacket,
        _now: Instant,
        out: &mut Vec<Forward>,
    ) {
        let first = self.config.first_sequence;
        for (to, seat) in &mut self.members {
            if *to == from || seat.watch.deaf || seat.watch.deaf_to.contains(&from) {
                continue;
            }
            let sequence = next(&mut seat.numbers, (from, false), first);
            out.push(Forward {
                to: *to,
                sequence,
                marker: packet.marker || sequence == first,
                restart: sequence == first,
            });
        }
    }

    /// Takes in that a receiver cannot go on decoding somebody's pictures (PLI).
    pub fn handle_keyframe_request(&mut self, _receiver: Member, of: Member, _now: Instant) {
        self.events
            .push_back(Event::RequestKeyframe { of, layer: 0 });
    }

    /// Returns the next thing to be done or told.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    fn review(&mut self, _now: Instant) {
        for (member, seat) in &self.members {
            if seat.publication.is_none() {
                continue;
            }
            let watched = |other: &Seat| {
                let mut pictures = other.watch.pictures.iter();
                pictures.any(|(of, _)| of == member)
            };
            let mut layers = [false; MAX_LAYERS];
            layers[0] = self.members.values().any(watched);
            self.events.push_back(Event::Wanted {
                of: *member,
                sound: self.members.len() > 1,
                layers,
            });
            if layers[0] {
                self.events.push_back(Event::RequestKeyframe {
                    of: *member,
                    layer: 0,
                });
            }
        }
    }
}

fn next(numbers: &mut BTreeMap<(Member, bool), u64>, stream: (Member, bool), first: u64) -> u64 {
    let number = numbers.entry(stream).or_insert(first);
    *number += 1;
    *number - 1
}
