//! Who publishes through the relay, whom of them we take in, and whose stream is which.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Buf;
use nonstop_rate::Bitrate;
use nonstop_wire::{Allotted, ClientMessage, MAX_PARTICIPANTS, ParticipantId, Published};
use tokio::sync::Notify;

use super::{
    Intake, RelayedEvent,
    person::{Ask, Person},
    wishes::{Wanted, Wishes},
};
use crate::{
    media::Size,
    mesh::{
        link::{LinkStats, talk::is_nothing},
        peer::{RelayPeer, RtpIn},
    },
};

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Sound,
    Pictures,
    /// Pictures sent again (RFC 4588); holds the SSRC of the pictures.
    Repair(u32),
}

/// Everybody else in the call, as far as the relay is concerned.
pub(super) struct People {
    published: HashMap<ParticipantId, Published>,
    streams: HashMap<u32, (ParticipantId, Stream)>,
    taken: HashMap<ParticipantId, Person>,
    wishes: Wishes,
    /// What comes straight from the others.
    arriving: Option<Bitrate>,
    round_trip: Option<Duration>,
    /// Notified when a decoder has something to tell.
    wake: Arc<Notify>,
}

impl People {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self {
            published: HashMap::new(),
            streams: HashMap::new(),
            taken: HashMap::new(),
            wishes: Wishes::default(),
            arriving: None,
            round_trip: None,
            wake,
        }
    }

    /// There is no connection any more, or another one: the server tells anew who publishes.
    pub(super) fn restart(&mut self) {
        self.published.clear();
        self.streams.clear();
        self.wishes.forget();
        self.round_trip = None;
        for person in self.taken.values_mut() {
            person.restart(None);
        }
    }

    /// The server may not know what it was told.
    pub(super) fn tell_again(&mut self) {
        self.wishes.forget();
    }

    /// Tells whether somebody is taken in.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Takes in whom to take in, in place of what was said before.
    pub(super) fn set_takes(&mut self, intake: Intake) {
        let Intake { takes, arriving } = intake;
        self.arriving = arriving;
        for (id, person) in &mut self.taken {
            if !takes.iter().any(|take| take.id == *id) {
                person.leave();
            }
        }
        for take in takes.into_iter().take(MAX_PARTICIPANTS) {
            match self.taken.get_mut(&take.id) {
                Some(person) => person.set_take(take),
                None => {
                    let mut person = Person::new(take);
                    if let Some(round_trip) = self.round_trip {
                        person.set_round_trip(round_trip);
                    }
                    self.taken.insert(person.take.id, person);
                }
            }
        }
    }

    /// Takes in what somebody publishes; returns what is to be told.
    pub(super) fn handle_published(&mut self, new: Published) -> Option<RelayedEvent> {
        let id = new.participant;
        let old = self.published.get(&id);
        if old == Some(&new) || old.is_none() && self.published.len() >= MAX_PARTICIPANTS {
            return None;
        }
        let numbers = |it: &Published| (it.sound_ssrc, it.pictures_ssrc, it.repair_ssrc);
        if old.is_some_and(|old| numbers(old) != numbers(&new))
            && let Some(person) = self.taken.get_mut(&id)
        {
            person.restart(self.round_trip);
        }
        self.streams.retain(|_, (of, _)| *of != id);
        let streams = [
            (new.sound_ssrc, Stream::Sound),
            (new.pictures_ssrc, Stream::Pictures),
            (new.repair_ssrc, Stream::Repair(new.pictures_ssrc)),
        ];
        for (ssrc, stream) in streams {
            self.streams.insert(ssrc, (id, stream));
        }
        let event = RelayedEvent::Published {
            id,
            sound: new.sound,
            pictures: new.pictures,
            preferred: new.preferred,
        };
        self.published.insert(id, new);
        Some(event)
    }

    /// Somebody publishes nothing any more.
    pub(super) fn handle_unpublished(&mut self, id: ParticipantId) -> Option<RelayedEvent> {
        self.published.remove(&id)?;
        self.streams.retain(|_, (of, _)| *of != id);
        Some(RelayedEvent::Unpublished { id })
    }

    /// Takes in what is passed on of the pictures we watch; returns what is to be told.
    pub(super) fn handle_allotted(&mut self, pictures: &[Allotted]) -> Vec<RelayedEvent> {
        let mut news = Vec::new();
        for allotted in pictures {
            let id = allotted.participant;
            let paused = allotted.layer.is_none();
            let person = self.taken.get_mut(&id);
            let watched = person.filter(|person| !is_nothing(person.take.size));
            if let Some(person) = watched
                && std::mem::replace(&mut person.paused, paused) != paused
            {
                news.push(RelayedEvent::PicturesPaused { id, paused });
            }
        }
        news
    }

    /// Takes in a packet; what is of no stream that was announced is dropped.
    pub(super) fn handle_packet(
        &mut self,
        payload_type: u8,
        mut packet: RtpIn,
        now: Instant,
    ) -> Option<RelayedEvent> {
        let (id, stream) = *self.streams.get(&packet.ssrc)?;
        let person = self.taken.get_mut(&id)?;
        match stream {
            Stream::Sound if RelayPeer::is_sound(payload_type) => {
                let first = person.handle_sound(packet);
                return first.then_some(RelayedEvent::Sound { id });
            }
            Stream::Pictures if RelayPeer::is_pictures(payload_type) => {
                person.handle_picture(packet, &self.wake, now);
            }
            // The original number stands before the payload (RFC 4588 section 4). Without a payload
            // it is padding, which only the estimate of the relay needs.
            Stream::Repair(pictures) if RelayPeer::is_repair(payload_type) => {
                if packet.payload.len() > 2 {
                    packet.sequence = packet.payload.get_u16();
                    packet.ssrc = pictures;
                    person.handle_picture(packet, &self.wake, now);
                }
            }
            _ => {}
        }
        None
    }

    /// Takes in how somebody's clock and time stamps belong together.
    pub(super) fn handle_report(&mut self, ssrc: u32, ntp: u64, timestamp: u32, at: Instant) {
        if let Some((id, Stream::Pictures)) = self.streams.get(&ssrc)
            && let Some(person) = self.taken.get_mut(id)
        {
            person.handle_report(ntp, timestamp, at);
        }
    }

    /// Tells how long the way to the relay and back is.
    pub(super) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = Some(round_trip);
        for person in self.taken.values_mut() {
            person.set_round_trip(round_trip);
        }
    }

    /// Returns who was decoded for the first time since they are taken in.
    pub(super) fn handle_decoders(&mut self) -> Vec<RelayedEvent> {
        let people = self.taken.iter_mut();
        people
            .filter_map(|(id, person)| {
                let id = *id;
                person.shows().then_some(RelayedEvent::Picture { id })
            })
            .collect()
    }

    /// Does what is due; returns what is to be asked of the relay.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Ask> {
        let asked = (self.taken.values_mut()).flat_map(|person| person.handle_timeout(now));
        let asked = asked.flatten().collect();
        self.taken.retain(|_, person| !person.is_over(now));
        asked
    }

    /// Returns what the server is to be told.
    pub(super) fn due(&mut self, now: Instant) -> Option<ClientMessage> {
        let wanted = self.wanted();
        self.wishes.due(&wanted, now).map(ClientMessage::Watch)
    }

    /// Returns when something is due by time passing.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let people = self.taken.values();
        people
            .filter_map(|person| person.poll_timeout(now))
            .chain(self.wishes.poll_timeout())
            .min()
    }

    /// Returns everybody's figures; `connection` has those that they share.
    pub(super) fn figures(
        &mut self,
        now: Instant,
        time: Duration,
        connection: &LinkStats,
    ) -> Vec<RelayedEvent> {
        let people = self.taken.iter_mut();
        people
            .filter(|(_, person)| person.take.sound || !is_nothing(person.take.size))
            .map(|(id, person)| {
                let received = person.count();
                let stats = (person.counts).take(&person.take, received, now, time, connection);
                RelayedEvent::Stats {
                    id: *id,
                    stats: Box::new(stats),
                }
            })
            .collect()
    }

    fn wanted(&self) -> Wanted {
        let takes = |id: &ParticipantId| self.taken.get(id).map(|person| &person.take);
        let mut pictures = Vec::new();
        let mut deaf_to = Vec::new();
        for (id, published) in &self.published {
            let take = takes(id);
            let size = take.map_or(Size::new(0, 0), |take| take.size);
            if published.pictures && !is_nothing(size) {
                pictures.push((*id, size));
            }
            if published.sound && !take.is_some_and(|take| take.sound) {
                deaf_to.push(*id);
            }
        }
        pictures.sort_unstable_by_key(|(id, _)| *id);
        deaf_to.sort_unstable();
        let deaf = !self.taken.values().any(|person| person.take.sound);
        if deaf {
            deaf_to.clear();
        }
        Wanted {
            pictures,
            deaf_to,
            deaf,
            arriving: self.arriving,
        }
    }
}
