//! A room of the relay: facts in, packets' receivers and events out.
//!
//! Members are found by number once a packet, and by their seat after that.

mod allot;
mod review;
mod seat;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nonstop_rate::Bitrate;

use crate::{
    Forward, Member, PicturePacket, Publication, SoundPacket, Watch,
    allotment::Step,
    loudest::{Loudest, loudness},
    speakers::Speakers,
    window::Place,
};
use seat::{Seat, Watched};

/// What is shared out and wanted is reviewed so often, besides when something happens.
const REVIEW: Duration = Duration::from_millis(250);

/// What is set about a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The most members; who comes beyond is not let in.
    pub members: usize,
    /// Of how many the sound is passed on at a time, where more publish sound.
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
            first_estimate: Bitrate::from_kbps(800),
        }
    }
}

/// A room.
///
/// After each call that takes facts in, [`poll_event`](Self::poll_event) until there is none.
#[derive(Debug)]
pub struct Room {
    config: Config,
    seats: Vec<Option<Seat>>,
    /// Where each member sits, by number.
    index: Vec<(Member, usize)>,
    /// How many publish sound.
    sounding: usize,
    loudest: Loudest,
    speakers: Speakers,
    notices: VecDeque<Notice>,
    /// When the next review is due, and the first keyframe that may not be asked for yet.
    review_at: Option<Instant>,
    keyframe_at: Option<Instant>,
    /// The seats of those who lose packets, and have room for redundancy in what they hear.
    losers: Vec<usize>,
    scratch: Scratch,
}

/// Something to be told. Each waits at most once, so that they are bounded however seldom they are
/// polled; what it says is looked up when it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    Keyframe(usize, u8),
    Wanted(usize),
    Allotted(usize),
    Desired(usize),
    Speakers,
}

/// Buffers of the review.
#[derive(Debug, Default)]
struct Scratch {
    ranked: Vec<usize>,
    bids: Vec<crate::allotment::Bid>,
    fitting: Vec<Step>,
    easy: Vec<Step>,
    steps: Vec<Step>,
}

impl Room {
    /// Opens an empty room.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            seats: Vec::new(),
            index: Vec::new(),
            sounding: 0,
            loudest: Loudest::new(config.loudest),
            speakers: Speakers::default(),
            notices: VecDeque::new(),
            review_at: None,
            keyframe_at: None,
            losers: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Lets a member in, who takes in nothing before the first watch. Returns whether there was a place;
    /// facts about members who are not in the room change nothing. Whoever opens a new connection leaves
    /// and joins as another member: their streams are others, and all numbers begin anew.
    pub fn join(&mut self, member: Member, now: Instant) -> bool {
        let Err(at) = self
            .index
            .binary_search_by_key(&member, |(member, _)| *member)
        else {
            return true;
        };
        if self.index.len() >= self.config.members {
            return false;
        }
        let free = self.seats.iter().position(Option::is_none);
        let seat = free.unwrap_or(self.seats.len());
        if free.is_none() {
            self.seats.push(None);
        }
        self.seats[seat] = Some(Seat::new(member, self.config.first_estimate));
        self.index.insert(at, (member, seat));
        for other in self.seats.iter_mut().flatten() {
            for watched in &mut other.watched {
                if watched.of == member {
                    *watched = Watched::new(member, watched.size, Some(seat));
                }
            }
        }
        self.review_at.get_or_insert(now + REVIEW);
        true
    }

    /// Lets a member go.
    pub fn leave(&mut self, member: Member, now: Instant) {
        let Ok(at) = self
            .index
            .binary_search_by_key(&member, |(member, _)| *member)
        else {
            return;
        };
        let (_, left) = self.index.remove(at);
        if self.seats[left]
            .take()
            .is_some_and(|seat| seat.sound.published)
        {
            self.sounding -= 1;
        }
        self.notices.retain(|notice| notice.seat() != Some(left));
        self.losers.retain(|loser| *loser != left);
        self.loudest.remove(left);
        self.speakers.remove(left);
        let mut watchers = Vec::new();
        for (index, seat) in self.seats.iter_mut().enumerate() {
            let Some(seat) = seat else { continue };
            seat.pictures.remove(left);
            seat.sound.remove(left);
            for watched in seat
                .watched
                .iter_mut()
                .filter(|watched| watched.of == member)
            {
                watched.seat = None;
                watchers.push(index);
            }
        }
        for watcher in watchers {
            self.allot(watcher, now);
        }
        self.review_all(now);
        self.tell_speakers(now);
    }

    /// Replaces what a member offers.
    pub fn set_publication(
        &mut self,
        member: Member,
        publication: Option<Publication>,
        now: Instant,
    ) {
        let Some(index) = self.seat(member) else {
            return;
        };
        let Publication { sound, layers } = publication.unwrap_or_default();
        let Some(seat) = self.seats[index].as_mut() else {
            return;
        };
        if seat.pictures.published() && layers.is_empty() {
            seat.pictures.restart();
        }
        seat.pictures.publish(&layers);
        if seat.sound.published && !sound {
            seat.sound.restart();
            self.loudest.remove(index);
        }
        self.sounding += usize::from(sound);
        self.sounding -= usize::from(seat.sound.published);
        seat.sound.published = sound;
        if sound {
            for listener in 0..self.seats.len() {
                self.set_hearing(index, listener);
            }
        }
        let mut watchers = Vec::new();
        for (watcher, seat) in self.seats.iter_mut().enumerate() {
            let Some(seat) = seat else { continue };
            let watched = seat
                .watched
                .iter_mut()
                .filter(|watched| watched.of == member);
            for watched in watched {
                if layers.is_empty() {
                    *watched = Watched::new(member, watched.size, Some(index));
                }
                watchers.push(watcher);
            }
        }
        for watcher in watchers {
            self.allot(watcher, now);
        }
        self.review(index, now);
    }

    /// Replaces what a member takes in. Somebody who is named twice counts once, and so does nobody who
    /// watches themselves; who is not in the room yet is watched from when they join.
    pub fn set_watch(&mut self, member: Member, watch: Watch, now: Instant) {
        let Some(index) = self.seat(member) else {
            return;
        };
        let Some(seat) = self.seats[index].as_mut() else {
            return;
        };
        let before = std::mem::take(&mut seat.watched);
        let hears_alike = seat.deaf == watch.deaf && seat.deaf_to == watch.deaf_to;
        seat.loses = watch.loses;
        seat.deaf = watch.deaf;
        seat.deaf_to = watch.deaf_to;
        let mut watched: Vec<Watched> = Vec::with_capacity(watch.pictures.len().min(200));
        for (of, size) in watch.pictures {
            let twice = watched.iter().any(|other| other.of == of);
            if of == member || twice || watched.len() >= self.config.members {
                continue;
            }
            let mut new = Watched::new(of, size, self.seat(of));
            if let Some(old) = before.iter().find(|old| old.of == of) {
                new.step = old.step;
                new.most = old.most;
                new.rising = old.rising;
            }
            watched.push(new);
        }
        let gone = |old: &&Watched| !watched.iter().any(|new| new.of == old.of);
        let gone: Vec<_> = before
            .iter()
            .filter(gone)
            .filter_map(|old| old.seat)
            .collect();
        if let Some(seat) = self.seats[index].as_mut() {
            seat.watched = watched;
        }
        for publisher in &gone {
            if let Some(seat) = self.seats[*publisher].as_mut() {
                seat.pictures.leave(index, now);
            }
            self.review(*publisher, now);
        }
        if !hears_alike {
            for publisher in 0..self.seats.len() {
                self.set_hearing(publisher, index);
                self.review(publisher, now);
            }
        }
        self.allot(index, now);
    }

    /// Takes in what the way from the relay to a member is estimated to carry, everything included.
    pub fn handle_estimate(&mut self, member: Member, estimate: Bitrate, now: Instant) {
        let Some(index) = self.seat(member) else {
            return;
        };
        let Some(seat) = self.seats[index].as_mut() else {
            return;
        };
        seat.estimate = estimate;
        if estimate < seat.allotted {
            self.allot(index, now);
        }
    }

    /// Takes in a packet of a member's pictures, and appends to `out` who gets it. Nobody gets what was
    /// not published.
    pub fn handle_picture(
        &mut self,
        from: Member,
        layer: u8,
        packet: &PicturePacket,
        now: Instant,
        out: &mut Vec<Forward>,
    ) {
        let Some(index) = self.seat(from) else {
            return;
        };
        let Some(seat) = self.seats[index].as_mut() else {
            return;
        };
        let changed = seat.pictures.pass(layer, packet, now, out);
        if changed.missed {
            self.ask_keyframe(index, layer, now);
        }
        if changed.layers {
            self.review(index, now);
        }
    }

    /// Takes in a packet of a member's sound, and appends to `out` who gets it.
    pub fn handle_sound(
        &mut self,
        from: Member,
        packet: &SoundPacket,
        now: Instant,
        out: &mut Vec<Forward>,
    ) {
        let Some(index) = self.seat(from) else {
            return;
        };
        let crowded = self.sounding > self.config.loudest;
        let Some(seat) = self.seats[index].as_mut() else {
            return;
        };
        if !seat.sound.published {
            return;
        }
        let place = seat.sound.place(packet);
        let mut admitted = !crowded;
        match place {
            Place::Useless => return,
            Place::Late => {}
            Place::Next { .. } | Place::Apart => {
                let loud = loudness(packet.level, packet.voice);
                seat.loudness.hear(loud, now);
                seat.activity.hear(loud, now);
                let seats = &self.seats;
                let at = |index: usize| seats.get(index)?.as_ref();
                let activity = |index| at(index).map(|seat| &seat.activity);
                self.speakers.hear(index, now, activity);
                let loudness = |index| at(index).map(|seat| &seat.loudness);
                admitted |= self.loudest.admits(index, loud, now, loudness);
            }
        }
        if let Some(seat) = self.seats[index].as_mut() {
            seat.sound.pass(packet, place, admitted, now, out);
        }
        self.tell_speakers(now);
    }

    /// Takes in that a receiver cannot go on decoding somebody's pictures (PLI).
    pub fn handle_keyframe_request(&mut self, receiver: Member, of: Member, now: Instant) {
        let (Some(receiver), Some(publisher)) = (self.seat(receiver), self.seat(of)) else {
            return;
        };
        let Some(seat) = self.seats[publisher].as_mut() else {
            return;
        };
        let Some(stream) = seat.pictures.stream(receiver) else {
            return;
        };
        let layer = stream.awaited().or(stream.layer());
        if let Some(layer) = layer.filter(|_| stream.hear_request(now)) {
            self.ask_keyframe(publisher, layer, now);
        }
    }

    fn seat(&self, member: Member) -> Option<usize> {
        let found = self
            .index
            .binary_search_by_key(&member, |(member, _)| *member);
        Some(self.index[found.ok()?].1)
    }
}

impl Notice {
    fn seat(&self) -> Option<usize> {
        match self {
            Self::Keyframe(seat, _)
            | Self::Wanted(seat)
            | Self::Allotted(seat)
            | Self::Desired(seat) => Some(*seat),
            Self::Speakers => None,
        }
    }
}
