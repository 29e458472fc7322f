//! What is due by time, and what is told.

use std::time::Instant;

use super::{
    Notice, REVIEW, Room,
    seat::{Seat, Wanted},
};
use nonstop_rate::Bitrate;

use crate::{Event, MAX_LAYERS};

/// Of what a connection carries, voices get so much at most.
const SOUND_SHARE: f64 = 0.75;

/// Whoever is heard gives way only to somebody who is louder by so much, in dB.
const STAYS: f32 = 3.0;

impl Room {
    /// Returns the next thing to be done or told.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            let notice = self.notices.pop_front()?;
            if let Some(event) = self.event(notice) {
                return Some(event);
            }
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = [self.review_at, self.keyframe_at, self.speakers.due()];
        times.into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tell_speakers(now);
        if self.keyframe_at.is_some_and(|at| at <= now) {
            self.ask_due_keyframes(now);
        }
        if self.review_at.is_none_or(|at| now < at) {
            return;
        }
        for seat in self.seats.iter_mut().flatten() {
            seat.sound.measure(now);
            seat.pictures.tidy(now);
        }
        self.fit_sound(now);
        self.find_losers(now);
        for receiver in 0..self.seats.len() {
            let seat = self.seats[receiver].as_ref();
            let probed = |seat: &Seat| seat.desired > Bitrate::ZERO;
            if seat.is_some_and(|seat| !seat.watched.is_empty() || probed(seat)) {
                self.allot(receiver, now);
            }
        }
        self.review_all(now);
        self.review_at = (!self.index.is_empty()).then_some(now + REVIEW);
    }

    /// Finds out what of everybody's publication is wanted.
    pub(super) fn review_all(&mut self, now: Instant) {
        for publisher in 0..self.seats.len() {
            self.review(publisher, now);
        }
    }

    /// Finds out what of a publication is wanted, and whose keyframes are waited for.
    pub(super) fn review(&mut self, publisher: usize, now: Instant) {
        let Some(seat) = self.seats.get_mut(publisher).and_then(Option::as_mut) else {
            return;
        };
        let heard = seat.sound.heard();
        seat.heard.update(heard, now);
        let used = seat.pictures.used(now);
        let awaited = seat.pictures.awaited();
        let mut layers = [false; MAX_LAYERS];
        for (index, layer) in seat.pictures.layers().iter_mut().enumerate() {
            layer.review(used[index], now);
            layers[index] = layer.demand.wanted();
        }
        let helped = seat.sound.hearers().any(|it| self.losers.contains(&it));
        seat.redundancy.update(helped, now);
        let sound = seat.sound.published && seat.heard.wanted();
        let wanted = Wanted {
            sound,
            layers,
            redundancy: sound && seat.redundancy.wanted(),
        };
        if wanted != seat.wanted {
            seat.wanted = wanted;
            self.notice(Notice::Wanted(publisher));
        }
        for layer in (0..MAX_LAYERS).filter(|layer| awaited[*layer]) {
            self.ask_keyframe(publisher, layer as u8, now);
        }
    }

    /// Asks a publisher for a keyframe, now or as soon as it may be asked.
    pub(super) fn ask_keyframe(&mut self, publisher: usize, layer: u8, now: Instant) {
        let Some(seat) = self.seats[publisher].as_mut() else {
            return;
        };
        let Some(asked) = seat.pictures.layers().get_mut(usize::from(layer)) else {
            return;
        };
        if asked.asking.ask(now) {
            self.notice(Notice::Keyframe(publisher, layer));
        } else if let Some(due) = asked.asking.due() {
            self.keyframe_at = Some(self.keyframe_at.map_or(due, |at| at.min(due)));
        }
    }

    /// Tells who speaks, if that changed and may be told now.
    pub(super) fn tell_speakers(&mut self, now: Instant) {
        if self.speakers.tells(now) {
            self.notice(Notice::Speakers);
        }
    }

    /// Finds out whether a receiver hears a publisher.
    pub(super) fn set_hearing(&mut self, publisher: usize, receiver: usize) {
        let first = self.config.first_sequence;
        let Some(seat) = self.seats[receiver].as_ref() else {
            return;
        };
        let to = seat.member;
        let Some(of) = self.seats[publisher].as_ref().map(|seat| seat.member) else {
            return;
        };
        let hears = publisher != receiver && !seat.deaf && !seat.deaf_to.contains(&of);
        if let Some(seat) = self.seats[publisher]
            .as_mut()
            .filter(|seat| seat.sound.published)
        {
            seat.sound.listen(to, receiver, hears, first);
        }
    }

    /// Withholds the quietest voices from receivers whose connections are too narrow for all of them.
    fn fit_sound(&mut self, now: Instant) {
        let voices = self.seats.iter().flatten();
        let all: Bitrate = voices.filter_map(|seat| seat.sound.rate()).sum();
        for receiver in 0..self.seats.len() {
            let Some(seat) = self.seats[receiver].as_mut() else {
                continue;
            };
            let budget = seat.estimate.scale(SOUND_SHARE);
            // Where all fit, and nothing is withheld, there is nothing to be done.
            let narrow = all > budget;
            if std::mem::replace(&mut seat.narrow, narrow) || narrow {
                self.fit_sound_of(receiver, budget, now);
            }
        }
    }

    /// Finds out which receivers lose packets, and have room for redundancy in what they hear.
    fn find_losers(&mut self, now: Instant) {
        let voices = self.seats.iter().flatten();
        let all: Bitrate = voices.filter_map(|seat| seat.sound.rate()).sum();
        self.losers.clear();
        for (receiver, seat) in self.seats.iter_mut().enumerate() {
            let Some(seat) = seat else { continue };
            let budget = seat.estimate.scale(SOUND_SHARE);
            seat.aid.look(seat.loses, all, budget, seat.narrow, now);
            if seat.aid.helps() {
                self.losers.push(receiver);
            }
        }
    }

    fn fit_sound_of(&mut self, receiver: usize, budget: Bitrate, now: Instant) {
        let mut voices: Vec<(usize, f32, Bitrate)> = Vec::new();
        for (publisher, seat) in self.seats.iter().enumerate() {
            let Some(seat) = seat else { continue };
            if let Some(rate) = seat.sound.rate_wanted(receiver) {
                let heard = !seat.sound.is_muffled(receiver);
                let level = seat.loudness.level(now) + if heard { STAYS } else { 0.0 };
                voices.push((publisher, level, rate));
            }
        }
        voices.sort_by(|one, other| other.1.total_cmp(&one.1));
        let mut taken = Bitrate::ZERO;
        for (place, (publisher, _, rate)) in voices.into_iter().enumerate() {
            taken += rate;
            if let Some(seat) = self.seats[publisher].as_mut() {
                seat.sound.muffle(receiver, place > 0 && taken > budget);
            }
        }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notices.push_back(notice);
        }
    }

    fn ask_due_keyframes(&mut self, now: Instant) {
        self.keyframe_at = None;
        for publisher in 0..self.seats.len() {
            for layer in 0..MAX_LAYERS {
                let Some(seat) = self.seats[publisher].as_mut() else {
                    continue;
                };
                let due = seat
                    .pictures
                    .layers()
                    .get(layer)
                    .and_then(|layer| layer.asking.due());
                if due.is_some() {
                    self.ask_keyframe(publisher, layer as u8, now);
                }
            }
        }
    }

    fn event(&mut self, notice: Notice) -> Option<Event> {
        if notice == Notice::Speakers {
            let seats = self.speakers.list();
            let members = seats.filter_map(|seat| Some(self.seats[seat].as_ref()?.member));
            return Some(Event::Speakers(members.collect()));
        }
        let seat = self.seats.get(notice.seat()?)?.as_ref()?;
        Some(match notice {
            Notice::Keyframe(_, layer) => Event::RequestKeyframe {
                of: seat.member,
                layer,
            },
            Notice::Wanted(_) => Event::Wanted {
                of: seat.member,
                sound: seat.wanted.sound,
                layers: seat.wanted.layers,
                redundancy: seat.wanted.redundancy,
            },
            Notice::Allotted(_) => Event::Allotted {
                to: seat.member,
                pictures: seat.layers.clone(),
            },
            Notice::Desired(_) => Event::Desired {
                to: seat.member,
                bitrate: seat.desired,
            },
            Notice::Speakers => return None,
        })
    }
}
