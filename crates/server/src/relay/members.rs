//! Who comes and goes, what they say, and what they are told.

use std::time::Instant;

use nonstop_relay::{Event, MAX_LAYERS, Member, Publication, Size, Watch};
use nonstop_wire::{
    Allotted, ParticipantId, Publish, Published, RelayOpen, RelayOpened, RoomName, ServerMessage,
    Wanted,
};
use str0m::IceCreds;
use tracing::{debug, warn};

use super::{
    client::{Client, Ssrcs},
    hub::{Card, Hall, Hub, MOST_PLACES, member, place},
    signalling::{Answer, Fact, Said},
};
use crate::slab::Key;

impl Hub {
    /// Takes in a fact; what comes of it waits for [`finish`](Self::finish).
    pub(super) fn handle_fact(&mut self, fact: Fact, now: Instant) {
        match fact {
            Fact::Said {
                room,
                participant,
                said: Said::Open { open, reached },
            } => {
                let connection = open.connection;
                let newest = self.card(&room, participant).map(|(_, card)| card.member);
                let newest = newest.and_then(|member| self.client(member)?.connection.into());
                if newest.is_some_and(|newest| newest >= connection) {
                    return;
                }
                let opened = self.open(&room, participant, &open, now);
                let message = match opened {
                    Some(opened) => ServerMessage::RelayOpened(RelayOpened {
                        addresses: self.addresses.addresses(reached),
                        ..opened
                    }),
                    None => ServerMessage::RelayClosed { connection },
                };
                let came = matches!(message, ServerMessage::RelayOpened(_));
                self.tell(room.clone(), vec![participant], message);
                if came {
                    self.tell_published(&room, participant);
                }
            }
            Fact::Said {
                room,
                participant,
                said,
            } => {
                if let Some((key, card)) = self.card(&room, participant) {
                    let member = card.member;
                    self.handle_said(key, member, participant, said, now);
                }
            }
            Fact::Gone { room, participant } => {
                if let Some((_, card)) = self.card(&room, participant) {
                    let member = card.member;
                    self.close(member, false, now);
                }
            }
            Fact::Back { room, participant } => self.remind(&room, participant),
        }
    }

    fn card(&mut self, room: &RoomName, participant: ParticipantId) -> Option<(Key, &mut Card)> {
        let key = *self.by_name.get(room)?;
        let card = self.halls.get_mut(key)?.members.get_mut(&participant)?;
        Some((key, card))
    }

    /// Opens a connection in place of an earlier one.
    fn open(
        &mut self,
        room: &RoomName,
        participant: ParticipantId,
        open: &RelayOpen,
        now: Instant,
    ) -> Option<RelayOpened> {
        if let Some((_, card)) = self.card(room, participant) {
            let earlier = card.member;
            self.close(earlier, false, now);
        }
        let full = self.crowd.total() >= self.config.connections;
        if full || self.clients.len() >= MOST_PLACES {
            warn!("the relay has its most connections");
            return None;
        }
        let credentials = credentials()?;
        let ssrcs = self.draw_ssrcs(open)?;
        let hall = self.enter(room);
        let joining = member(self.clients.next_key());
        let answer = RelayOpened {
            connection: open.connection,
            ufrag: credentials.ufrag.clone(),
            password: credentials.pass.clone(),
            fingerprint: String::new(),
            addresses: Vec::new(),
            padding_ssrc: ssrcs.padding,
        };
        let police = self.config.bytes_per_connection;
        let who = (joining, hall, participant);
        let client = Client::open(&self.ground, who, open, credentials, ssrcs, police, now);
        let here = self.halls.get_mut(hall)?;
        let Some(mut client) = client.filter(|_| here.room.join(joining, now)) else {
            debug!("a connection to the relay was not opened");
            self.leave_if_empty(hall);
            return None;
        };
        here.members.insert(
            participant,
            Card {
                member: joining,
                published: None,
                watch: nonstop_wire::Watch::default(),
                wanted: Wanted::default(),
                allotted: Vec::new(),
            },
        );
        let fingerprint = client.own_fingerprint();
        self.by_ufrag
            .insert(client.ufrag.clone(), self.clients.next_key().number);
        self.clients.insert(client);
        self.keep_tidy(now);
        self.touch(joining);
        self.watch_again(hall, participant, now);
        Some(RelayOpened {
            fingerprint,
            ..answer
        })
    }

    /// Draws SSRCs that are unlike each other and unlike those of the participant.
    fn draw_ssrcs(&mut self, open: &RelayOpen) -> Option<Ssrcs> {
        let mut drawn = Vec::new();
        while drawn.len() < 4 {
            let ssrc = getrandom::u32().ok()?;
            let known = ssrc == 0 || ssrc == open.sound || open.layers.contains(&ssrc);
            // Others' streams pass here under theirs, and nobody may meet the same one twice.
            let used = self.clients.iter_mut().any(|client| {
                let Ssrcs {
                    sound,
                    pictures,
                    repair,
                    padding,
                } = client.ssrcs;
                [sound, pictures, repair, padding, client.sound].contains(&ssrc)
                    || client.layers.contains(&ssrc)
            });
            if !known && !used && !drawn.contains(&ssrc) {
                drawn.push(ssrc);
            }
        }
        Some(Ssrcs {
            sound: drawn[0],
            pictures: drawn[1],
            repair: drawn[2],
            padding: drawn[3],
        })
    }

    fn handle_said(
        &mut self,
        key: Key,
        member: Member,
        participant: ParticipantId,
        said: Said,
        now: Instant,
    ) {
        let Some(hall) = self.halls.get_mut(key) else {
            return;
        };
        match said {
            Said::Open { .. } => {}
            Said::Close { connection } => {
                let current = self.client(member).map(|client| client.connection);
                if current == Some(connection) {
                    self.close(member, false, now);
                }
            }
            Said::Publish(publish) => self.publish(key, member, participant, &publish, now),
            Said::Unpublish => {
                hall.room.set_publication(member, None, now);
                let card = hall.members.get_mut(&participant);
                if card.is_some_and(|card| card.published.take().is_some()) {
                    self.tell_others(key, participant, ServerMessage::Unpublished { participant });
                }
                self.touch_hall(key);
            }
            Said::Watch(watch) => {
                let card = hall.members.get(&participant);
                let begins = card.is_some_and(|card| card.watch.pictures.is_empty());
                let arriving = watch
                    .arriving
                    .filter(|_| begins && !watch.pictures.is_empty());
                let client = self.client(member);
                let estimate = (client.zip(arriving)).map(|(client, bps)| client.begin_at(bps));
                let Some(hall) = self.halls.get_mut(key) else {
                    return;
                };
                if let Some(estimate) = estimate {
                    hall.room.handle_estimate(member, estimate, now);
                }
                let resolved = resolve(hall, &watch);
                hall.room.set_watch(member, resolved, now);
                if let Some(card) = hall.members.get_mut(&participant) {
                    card.watch = watch;
                }
                self.touch_hall(key);
            }
        }
    }

    fn publish(
        &mut self,
        key: Key,
        member: Member,
        participant: ParticipantId,
        publish: &Publish,
        now: Instant,
    ) {
        let Some(client) = self.client(member) else {
            return;
        };
        let (ssrcs, opened) = (client.ssrcs, client.layers.len());
        let Some(hall) = self.halls.get_mut(key) else {
            return;
        };
        let sizes = publish.layers.iter().take(opened.min(MAX_LAYERS));
        let layers: Vec<_> = sizes
            .map(|size| Size {
                width: size.width,
                height: size.height,
            })
            .collect();
        let published = Published {
            participant,
            sound: publish.sound,
            pictures: !layers.is_empty(),
            preferred: publish.preferred,
            sound_ssrc: ssrcs.sound,
            pictures_ssrc: ssrcs.pictures,
            repair_ssrc: ssrcs.repair,
        };
        let sound = publish.sound;
        let publication = Publication { sound, layers };
        hall.room.set_publication(member, Some(publication), now);
        if let Some(card) = hall.members.get_mut(&participant)
            && card.published.as_ref() != Some(&published)
        {
            card.published = Some(published.clone());
            self.tell_others(key, participant, ServerMessage::Published(published));
        }
        self.touch_hall(key);
    }

    /// Resolves anew what members watch who wait for somebody who just came.
    fn watch_again(&mut self, key: Key, newcomer: ParticipantId, now: Instant) {
        let Some(hall) = self.halls.get_mut(key) else {
            return;
        };
        let waits = |card: &&Card| {
            let watch = &card.watch;
            let mut pictures = watch.pictures.iter();
            pictures.any(|watched| watched.participant == newcomer)
                || watch.deaf_to.contains(&newcomer)
        };
        let waiting = hall.members.values().filter(waits);
        let watches: Vec<_> = waiting
            .map(|card| (card.member, resolve(hall, &card.watch)))
            .collect();
        for (member, watch) in watches {
            hall.room.set_watch(member, watch, now);
        }
        self.touch_hall(key);
    }

    /// Ends a connection, and whatever was said about it.
    pub(super) fn close(&mut self, member: Member, tell: bool, now: Instant) {
        let Some(client) = self.client(member) else {
            return;
        };
        let (key, participant, connection) = (client.hall, client.participant, client.connection);
        let Some(mut client) = self.clients.remove_at(place(member)) else {
            return;
        };
        client.say_goodbye(&mut self.outlet);
        self.outlet.flush();
        self.forget_places(&client);
        for other in self.clients.iter_mut() {
            if other.hall == key {
                other.forget(member);
            }
        }
        let Some(hall) = self.halls.get_mut(key) else {
            return;
        };
        hall.room.leave(member, now);
        hall.speakers.retain(|speaker| *speaker != member);
        let card = hall.members.remove(&participant);
        let name = hall.name.clone();
        if card.is_some_and(|card| card.published.is_some()) {
            self.tell_others(key, participant, ServerMessage::Unpublished { participant });
        }
        if tell {
            let message = ServerMessage::RelayClosed { connection };
            self.tell(name, vec![participant], message);
        }
        self.touch_hall(key);
        self.leave_if_empty(key);
    }

    fn leave_if_empty(&mut self, key: Key) {
        if let Some(hall) = self.halls.get_mut(key)
            && hall.members.is_empty()
            && let Some(hall) = self.halls.remove(key)
        {
            self.by_name.remove(&hall.name);
        }
    }

    /// Does what a room wants.
    pub(super) fn fulfil(&mut self, key: Key, event: Event, _now: Instant) {
        match event {
            Event::RequestKeyframe { of, layer } => {
                if let Some(client) = self.client(of) {
                    client.request_keyframe(layer);
                    self.touch(of);
                }
            }
            Event::Desired { to, bitrate } => {
                if let Some(client) = self.client(to) {
                    client.probe(bitrate);
                    self.touch(to);
                }
            }
            Event::Wanted {
                of,
                sound,
                layers,
                redundancy,
            } => {
                let Some(client) = self.client(of) else {
                    return;
                };
                let participant = client.participant;
                let layers = layers.into_iter().take(client.layers.len()).collect();
                let wanted = Wanted {
                    sound,
                    layers,
                    redundancy,
                };
                if let Some(hall) = self.halls.get_mut(key)
                    && let Some(card) = hall.members.get_mut(&participant)
                {
                    card.wanted = wanted.clone();
                    let name = hall.name.clone();
                    self.tell(name, vec![participant], ServerMessage::Wanted(wanted));
                }
            }
            Event::Allotted { to, pictures } => {
                let Some(participant) = self.participant(to) else {
                    return;
                };
                let pictures = pictures.into_iter().filter_map(|(of, layer)| {
                    let participant = self.participant(of)?;
                    Some(Allotted { participant, layer })
                });
                let pictures: Vec<_> = pictures.collect();
                if let Some(hall) = self.halls.get_mut(key)
                    && let Some(card) = hall.members.get_mut(&participant)
                {
                    card.allotted = pictures.clone();
                    let name = hall.name.clone();
                    let message = ServerMessage::Allotted { pictures };
                    self.tell(name, vec![participant], message);
                }
            }
            Event::Speakers(speakers) => {
                let Some(hall) = self.halls.get_mut(key) else {
                    return;
                };
                hall.speakers.clone_from(&speakers);
                let (name, to) = (hall.name.clone(), hall.members.keys().copied().collect());
                let message = self.speakers(&speakers);
                self.tell(name, to, message);
            }
        }
    }

    fn speakers(&mut self, speakers: &[Member]) -> ServerMessage {
        let participants = speakers
            .iter()
            .filter_map(|member| self.participant(*member));
        let participants = participants.take(nonstop_wire::MAX_SPEAKERS).collect();
        ServerMessage::Speakers { participants }
    }

    fn participant(&mut self, member: Member) -> Option<ParticipantId> {
        self.client(member).map(|client| client.participant)
    }

    /// Tells a participant who was away everything that is, in place of what was missed.
    fn remind(&mut self, room: &RoomName, participant: ParticipantId) {
        let Some((key, card)) = self.card(room, participant) else {
            return;
        };
        let wanted = card.wanted.clone();
        let pictures = card.allotted.clone();
        let speakers = self.halls.get_mut(key).map(|hall| hall.speakers.clone());
        let speakers = self.speakers(&speakers.unwrap_or_default());
        self.tell_published(room, participant);
        for message in [
            ServerMessage::Wanted(wanted),
            ServerMessage::Allotted { pictures },
            speakers,
        ] {
            self.tell(room.clone(), vec![participant], message);
        }
    }

    /// Tells a participant what the others publish.
    fn tell_published(&mut self, room: &RoomName, participant: ParticipantId) {
        let Some((key, _)) = self.card(room, participant) else {
            return;
        };
        let Some(hall) = self.halls.get_mut(key) else {
            return;
        };
        let others = hall
            .members
            .iter()
            .filter(|(other, _)| **other != participant);
        let published = others.filter_map(|(_, card)| card.published.clone());
        let published: Vec<_> = published.collect();
        for published in published {
            let message = ServerMessage::Published(published);
            self.tell(room.clone(), vec![participant], message);
        }
    }

    fn tell_others(&mut self, key: Key, participant: ParticipantId, message: ServerMessage) {
        let Some(hall) = self.halls.get_mut(key) else {
            return;
        };
        let others = hall.members.keys().copied();
        let others: Vec<_> = others.filter(|other| *other != participant).collect();
        let name = hall.name.clone();
        if !others.is_empty() {
            self.tell(name, others, message);
        }
    }

    fn tell(&mut self, room: RoomName, to: Vec<ParticipantId>, message: ServerMessage) {
        self.answers.push_back(Answer { room, to, message });
    }
}

/// Puts members in the place of participants, as far as they are there.
fn resolve(hall: &Hall, watch: &nonstop_wire::Watch) -> Watch {
    let member = |participant| Some(hall.members.get(participant)?.member);
    let pictures = watch.pictures.iter().filter_map(|watched| {
        let size = Size {
            width: watched.width,
            height: watched.height,
        };
        Some((member(&watched.participant)?, size))
    });
    Watch {
        pictures: pictures.collect(),
        deaf_to: watch.deaf_to.iter().filter_map(member).collect(),
        deaf: watch.deaf,
        loses: watch.loses,
    }
}

/// Draws the relay's half of ICE (RFC 8445 section 5.3: 24 and 128 random bits at least).
fn credentials() -> Option<IceCreds> {
    let (mut ufrag, mut password) = ([0; 8], [0; 16]);
    getrandom::fill(&mut ufrag).ok()?;
    getrandom::fill(&mut password).ok()?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(IceCreds {
        ufrag: hex(&ufrag),
        pass: hex(&password),
    })
}
