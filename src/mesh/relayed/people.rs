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
        link::{LinkStats, protection::Lossy, talk::is_nothing},
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
    /// Whether what is wanted may be another than the server was told.
    changed: bool,
    /// When somebody has something to do by time passing; looked at again where packets came.
    due: Option<Instant>,
    /// What comes straight from the others.
    arriving: Option<Bitrate>,
    lossy: Lossy,
    /// Whether packets from the relay are lost, as the server is told.
    loses: bool,
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
            changed: true,
            due: None,
            arriving: None,
            lossy: Lossy::default(),
            loses: false,
            round_trip: None,
            wake,
        }
    }

    /// There is no connection any more, or another one: the server tells anew who publishes.
    pub(super) fn restart(&mut self) {
        self.published.clear();
        self.streams.clear();
        self.tell_again();
        self.begin_way();
        self.round_trip = None;
        for person in self.taken.values_mut() {
            person.restart(None);
        }
    }

    /// Nothing is known of how much is lost on the way from the relay.
    fn begin_way(&mut self) {
        self.lossy = Lossy::of_new_way();
        self.loses = true;
    }

    /// The server may not know what it was told.
    pub(super) fn tell_again(&mut self) {
        self.wishes.forget();
        self.changed = true;
    }

    /// Tells whether somebody is taken in.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Takes in whom to take in, in place of what was said before.
    pub(super) fn set_takes(&mut self, intake: Intake, now: Instant) {
        let Intake { takes, arriving } = intake;
        self.changed = true;
        self.due = Some(now);
        self.arriving = arriving;
        if self.taken.is_empty() && !takes.is_empty() {
            // While nothing came nothing was learned.
            self.begin_way();
        }
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
        self.changed = true;
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
        self.changed = true;
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
        mut packet: RtpIn,
        now: Instant,
    ) -> Option<RelayedEvent> {
        let (id, stream) = *self.streams.get(&packet.ssrc)?;
        let person = self.taken.get_mut(&id)?;
        let payload_type = packet.payload_type;
        let mut first = false;
        match stream {
            Stream::Sound if RelayPeer::is_sound(payload_type) => {
                first = person.handle_sound(packet);
            }
            Stream::Pictures if RelayPeer::is_pictures(payload_type) => {
                person.handle_picture(packet, &self.wake, now);
            }
            // The original number stands before the payload (RFC 4588 section 4).
            Stream::Repair(pictures) if RelayPeer::is_repair(payload_type) => {
                if packet.payload.len() > 2 {
                    packet.sequence = packet.payload.get_u16();
                    packet.ssrc = pictures;
                    person.handle_picture(packet, &self.wake, now);
                }
            }
            _ => return None,
        }
        let due = person.poll_timeout(now);
        self.due = [self.due, due].into_iter().flatten().min();
        first.then_some(RelayedEvent::Sound { id })
    }

    /// Takes in how somebody's clock and time stamps belong together.
    pub(super) fn handle_report(&mut self, ssrc: u32, ntp: u64, timestamp: u32, at: Instant) {
        if let Some((id, Stream::Pictures)) = self.streams.get(&ssrc)
            && let Some(person) = self.taken.get_mut(id)
        {
            person.handle_report(ntp, timestamp, at);
        }
    }

    /// Tells which share of the relay's packets was lost lately, if that is known.
    pub(super) fn set_loss(&mut self, loss: Option<f32>, now: Instant) {
        let loses = self.lossy.look(loss, now);
        if std::mem::replace(&mut self.loses, loses) != loses {
            tracing::debug!(loses, ?loss, "packets from the relay are lost, or no more");
            self.changed = true;
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
    pub(super) fn handle_decoders(&mut self, now: Instant) -> Vec<RelayedEvent> {
        self.due = Some(now);
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
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let asked = (self.taken.values_mut()).flat_map(|person| person.handle_timeout(now));
        let asked = asked.flatten().collect();
        self.taken.retain(|_, person| !person.is_over(now));
        let people = self.taken.values();
        self.due = people.filter_map(|person| person.poll_timeout(now)).min();
        asked
    }

    /// Returns what the server is to be told.
    pub(super) fn due(&mut self, now: Instant) -> Option<ClientMessage> {
        let again = self.wishes.poll_timeout().is_some_and(|at| at <= now);
        if !std::mem::take(&mut self.changed) && !again {
            return None;
        }
        let wanted = self.wanted();
        self.wishes.due(&wanted, now).map(ClientMessage::Watch)
    }

    /// Returns when something is due by time passing.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.due, self.wishes.poll_timeout()];
        due.into_iter().flatten().min()
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
            loses: self.loses,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nonstop_wire::Watch;

    use super::*;
    use crate::{
        clock,
        media::{
            AudioSink, AudioSource,
            audio::{Audio, AudioConfig, Processing},
            video::PictureSlot,
        },
        mesh::relayed::Take,
    };

    const SOUND: u8 = 111;
    const PICTURES: u8 = 102;
    const REPAIR: u8 = 103;

    fn published(id: u64) -> Published {
        let base = id as u32 * 10;
        Published {
            participant: ParticipantId::from_bits(id),
            sound: true,
            pictures: true,
            preferred: false,
            sound_ssrc: base,
            pictures_ssrc: base + 1,
            repair_ssrc: base + 2,
        }
    }

    struct Scene {
        people: People,
        audio: Audio,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                people: People::new(Arc::new(Notify::new())),
                audio: Audio::start(AudioConfig {
                    microphone: AudioSource::None,
                    speaker: AudioSink::None,
                    processing: Processing::default(),
                }),
                now: clock::now(),
            }
        }

        fn take(&mut self, ids: &[u64]) {
            let take = |id: &u64| Take {
                id: ParticipantId::from_bits(*id),
                size: Size::new(320, 180),
                sound: true,
                picture: PictureSlot::new(None),
                voice: Arc::new(self.audio.add_voice(None)),
            };
            let takes = ids.iter().map(take).collect();
            let arriving = None;
            self.people.set_takes(Intake { takes, arriving }, self.now);
        }

        fn push(&mut self, payload_type: u8, ssrc: u32, sequence: u16, payload: &'static [u8]) {
            let packet = RtpIn {
                payload_type,
                sequence,
                timestamp: 7,
                marker: false,
                ssrc,
                payload: Bytes::from_static(payload),
                arrived: self.now,
                newest_picture: None,
            };
            self.people.handle_packet(packet, self.now);
        }

        /// Returns how many packets of pictures and bytes of sound came of somebody.
        fn count(&self, id: u64) -> (u64, u64) {
            let person = self.people.taken.get(&ParticipantId::from_bits(id));
            let received = person.expect("they are taken in").count();
            (received.packets.received, received.audio_bytes)
        }

        fn watch(&mut self) -> Watch {
            self.now += Duration::from_secs(2);
            match self.people.due(self.now) {
                Some(ClientMessage::Watch(watch)) => watch,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_nobody_announced_or_wants_is_dropped() {
        let mut scene = Scene::new();
        scene.take(&[1]);
        scene.push(PICTURES, 11, 1, &[0x41, 1]);
        scene.people.handle_published(published(1));
        scene.people.handle_published(published(2));
        scene.push(PICTURES, 99, 1, &[0x41, 1]);
        scene.push(PICTURES, 10, 1, &[0x41, 1]);
        scene.push(SOUND, 11, 1, &[0x41, 1]);
        scene.push(PICTURES, 21, 1, &[0x41, 1]);
        assert_eq!(scene.count(1), (0, 0));
        scene.push(PICTURES, 11, 1, &[0x41, 1]);
        scene.push(SOUND, 10, 1, &[1, 2, 3]);
        assert_eq!(scene.count(1), (1, 3));
        let id = ParticipantId::from_bits(1);
        assert!(scene.people.handle_unpublished(id).is_some());
        scene.push(SOUND, 10, 2, &[1, 2, 3]);
        assert_eq!(scene.count(1), (1, 3));
    }

    #[test]
    fn what_is_sent_again_takes_its_place_and_padding_takes_none() {
        let mut scene = Scene::new();
        scene.take(&[1]);
        scene.people.handle_published(published(1));
        for number in [1, 3] {
            scene.push(PICTURES, 11, number, &[0x41, 1]);
        }
        for padding in [&[][..], &[0], &[0, 2]] {
            scene.push(REPAIR, 12, 5, padding);
        }
        assert_eq!(scene.count(1).0, 2);
        scene.now += Duration::from_millis(20);
        let asked = scene.people.handle_timeout(scene.now);
        assert_eq!(asked, [Ask::Again(11, vec![2])]);
        scene.push(REPAIR, 12, 6, &[0, 2, 0x41, 1]);
        assert_eq!(scene.count(1).0, 3);
        scene.now += Duration::from_millis(50);
        assert_eq!(scene.people.handle_timeout(scene.now), []);
    }

    #[test]
    fn the_server_is_told_whom_we_see_and_do_not_hear() {
        let mut scene = Scene::new();
        assert!(scene.watch().deaf);
        for id in 1..=3 {
            assert!(scene.people.handle_published(published(id)).is_some());
            assert!(scene.people.handle_published(published(id)).is_none());
        }
        scene.take(&[2]);
        let watch = scene.watch();
        assert!(!watch.deaf);
        assert_eq!(watch.deaf_to, [1, 3].map(ParticipantId::from_bits));
        let watched: Vec<_> = watch.pictures.iter().map(|it| it.participant).collect();
        assert_eq!(watched, [ParticipantId::from_bits(2)]);
        assert!(scene.people.due(scene.now).is_none());
        scene.take(&[]);
        assert!(scene.watch().deaf);
    }

    #[test]
    fn the_server_is_told_that_packets_are_lost_and_when_no_more_are() {
        let mut scene = Scene::new();
        scene.people.handle_published(published(1));
        scene.take(&[1]);
        assert!(scene.watch().loses, "nothing is known yet");
        let mut told = Vec::new();
        for second in 0..60 {
            let loss = if (20..40).contains(&second) {
                0.03
            } else {
                0.0
            };
            scene.now += Duration::from_secs(1);
            scene.people.set_loss(Some(loss), scene.now);
            if let Some(ClientMessage::Watch(watch)) = scene.people.due(scene.now) {
                told.push((second, watch.loses));
            }
        }
        let [(calm, false), (lossy, true), (again, false)] = told[..] else {
            panic!("{told:?}");
        };
        assert!((8..12).contains(&calm) && (20..24).contains(&lossy) && (50..60).contains(&again));
    }

    #[test]
    fn a_server_that_names_too_many_fills_no_memory() {
        let mut scene = Scene::new();
        for id in 0..10_000 {
            scene.people.handle_published(published(id));
        }
        assert_eq!(scene.people.published.len(), MAX_PARTICIPANTS);
        assert!(scene.people.streams.len() <= 3 * MAX_PARTICIPANTS);
    }

    #[test]
    fn who_is_taken_in_no_more_is_forgotten_after_a_while() {
        let mut scene = Scene::new();
        scene.people.handle_published(published(1));
        scene.take(&[1]);
        scene.push(PICTURES, 11, 1, &[0x41, 1]);
        scene.take(&[]);
        let mut looks = 0;
        while !scene.people.is_empty() {
            scene.people.handle_timeout(scene.now);
            looks += 1;
            assert!(looks < 10, "it comes to an end");
            let next = scene.people.due.unwrap_or(scene.now);
            scene.now = next.max(scene.now + Duration::from_millis(1));
        }
    }
}
