//! A whole call in simulated time: rooms and posts as they are, sealed for real; links and the
//! server are models that carry, lose and delay.

use std::collections::BTreeMap;

use nonstop_wire::{DepartureReason, DescriptionKind, Welcome};

use super::{tests::post, *};
use crate::{
    clock,
    mesh::{
        Me, Path, Suspicion,
        link::{LinkError, LinkEvent},
        room::{Effect, LinkNumber, Room},
    },
};

const ANN: ParticipantId = ParticipantId::from_bits(0xa);
const BOB: ParticipantId = ParticipantId::from_bits(0xb);
const EVE: ParticipantId = ParticipantId::from_bits(0xe);
/// How long an envelope takes through the server, and beside the media.
const THROUGH_SERVER: Duration = Duration::from_millis(40);
const BESIDE: Duration = Duration::from_millis(20);
/// How often a link repeats an offer that is not answered.
const OFFER_AGAIN: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Here,
    /// Takes everything and passes nothing on.
    Mute,
    Gone,
}

struct Person {
    room: Room,
    post: Post,
    links: BTreeMap<ParticipantId, Link>,
    suspicions: Vec<Suspicion>,
    left: Vec<ParticipantId>,
    /// What it passed on for others.
    passed: usize,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    number: LinkNumber,
    session: u64,
    stands: bool,
    offer_at: Option<Instant>,
}

/// An envelope on its way to `at`, beside the media of the link to `link` if not by the server.
struct Flight {
    due: Instant,
    at: ParticipantId,
    link: Option<ParticipantId>,
    parcel: Parcel,
}

struct World {
    now: Instant,
    server: Server,
    people: BTreeMap<ParticipantId, Person>,
    flights: Vec<Flight>,
    /// Draws sessions and nonces.
    drawn: u64,
}

impl World {
    /// Everybody in one call, in which all links stand.
    fn call(ids: &[ParticipantId]) -> Self {
        let now = clock::now();
        let mut world = Self {
            now,
            server: Server::Here,
            people: BTreeMap::new(),
            flights: Vec::new(),
            drawn: 0,
        };
        for &id in ids {
            let me = Me {
                name: id.to_string(),
                microphone: true,
                camera: true,
            };
            let mut room = Room::new(id, me);
            let others = world.people.keys().copied().collect();
            room.handle_welcome(&welcome(others), now);
            for person in world.people.values_mut() {
                person.room.handle_joined(id, now);
            }
            let person = Person {
                room,
                post: post(id),
                links: BTreeMap::new(),
                suspicions: Vec::new(),
                left: Vec::new(),
                passed: 0,
            };
            world.people.insert(id, person);
            world.run(Duration::from_secs(1));
        }
        world.run(Duration::from_secs(15));
        for (&one, person) in &world.people {
            let stand = person.links.values().filter(|link| link.stands).count();
            assert_eq!(stand, ids.len() - 1, "{one}");
            assert_eq!((&person.suspicions[..], person.passed), (&[][..], 0));
        }
        world
    }

    fn person(&mut self, id: ParticipantId) -> &mut Person {
        self.people.get_mut(&id).expect("takes part")
    }

    fn lose_server(&mut self) {
        self.server = Server::Gone;
        let now = self.now;
        for person in self.people.values_mut() {
            person.room.handle_disconnected(now);
        }
    }

    /// The server is back and knows nobody; all return, one after the other.
    fn restart_server(&mut self) {
        self.server = Server::Here;
        let ids: Vec<_> = self.people.keys().copied().collect();
        for (place, &id) in ids.iter().enumerate() {
            let now = self.now;
            let here = ids[..place].to_vec();
            self.person(id).room.handle_welcome(&welcome(here), now);
            for &other in &ids[..place] {
                self.person(other).room.handle_joined(id, now);
            }
            self.run(Duration::from_millis(700));
        }
    }

    /// The path between two is gone.
    fn interrupt(&mut self, one: ParticipantId, other: ParticipantId) {
        self.tell_both(one, other, || LinkEvent::Interrupted);
    }

    /// The connection between two is beyond repair.
    fn fail(&mut self, one: ParticipantId, other: ParticipantId) {
        self.tell_both(one, other, || LinkEvent::Failed(LinkError::NoPath));
    }

    fn tell_both(
        &mut self,
        one: ParticipantId,
        other: ParticipantId,
        event: impl Fn() -> LinkEvent,
    ) {
        for (me, peer) in [(one, other), (other, one)] {
            if let Some(link) = self.person(me).links.get_mut(&peer) {
                link.stands = false;
            }
            self.tell(me, peer, event());
        }
    }

    fn stands(&self, one: ParticipantId, other: ParticipantId) -> bool {
        let side = |me, peer| {
            let person: &Person = &self.people[me];
            person.links.get(peer).is_some_and(|link| link.stands)
        };
        side(&one, &other) && side(&other, &one)
    }

    /// Runs until the link between two stands; returns how long that took.
    fn until_stands(&mut self, one: ParticipantId, other: ParticipantId) -> Duration {
        let start = self.now;
        while !self.stands(one, other) {
            assert!(self.now < start + Duration::from_secs(60), "never");
            self.run(Duration::from_millis(50));
        }
        self.now - start
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            self.do_effects();
            let wakes = self.people.values().flat_map(|person| {
                let offers = person.links.values().map(|link| link.offer_at);
                let own = [person.room.poll_timeout(), person.post.poll_timeout()];
                offers.chain(own).flatten()
            });
            let flights = self.flights.iter().map(|flight| flight.due);
            match wakes.chain(flights).min() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => {
                    self.now = end;
                    return;
                }
            }
            self.handle_time();
        }
        panic!("somebody asks to be woken without end");
    }

    fn handle_time(&mut self) {
        let now = self.now;
        let due = self.flights.extract_if(.., |flight| flight.due <= now);
        for flight in due.collect::<Vec<_>>() {
            self.arrive(flight);
        }
        let ids: Vec<_> = self.people.keys().copied().collect();
        for id in ids {
            let Person { room, post, .. } = self.person(id);
            let late = post.handle_timeout(now, |to| room.ways(to));
            room.handle_timeout(now);
            self.dispatch(id, late);
            let links = self.people[&id].links.clone();
            for (peer, link) in links {
                if link.offer_at.is_some_and(|at| at <= now) {
                    self.offer(id, peer);
                }
            }
        }
    }

    fn do_effects(&mut self) {
        let ids: Vec<_> = self.people.keys().copied().collect();
        for id in ids {
            while let Some(effect) = self.person(id).room.poll_effect() {
                self.do_effect(id, effect);
            }
        }
    }

    fn do_effect(&mut self, me: ParticipantId, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Send { to, message } => {
                let mut nonce = [0; 24];
                nonce[..8].copy_from_slice(&self.draw().to_be_bytes());
                let Person { room, post, .. } = self.person(me);
                let parcels = post.send(to, &message, nonce, &room.ways(to), now);
                self.dispatch(me, parcels);
            }
            Effect::StartLink {
                id,
                number,
                initiator,
            } => {
                let session = self.draw();
                let link = Link {
                    number,
                    session,
                    stands: false,
                    offer_at: initiator.then_some(now),
                };
                self.person(me).links.insert(id, link);
            }
            Effect::StopLink { id } => {
                self.person(me).links.remove(&id);
            }
            Effect::Signal { id, message } => self.signal(me, id, message),
            Effect::Suspect(suspicion) => self.person(me).suspicions.push(suspicion),
            Effect::MemberLeft { id, .. } => self.person(me).left.push(id),
            _ => {}
        }
    }

    fn offer(&mut self, me: ParticipantId, peer: ParticipantId) {
        let now = self.now;
        if let Some(link) = self.person(me).links.get_mut(&peer) {
            link.offer_at = Some(now + OFFER_AGAIN);
            let session = link.session;
            self.describe(me, peer, DescriptionKind::Offer, session);
        }
    }

    /// The model of a link takes in what the other side's said.
    fn signal(&mut self, me: ParticipantId, peer: ParticipantId, message: PeerMessage) {
        let PeerMessage::Description { kind, .. } = message else {
            return;
        };
        let Some(link) = self.person(me).links.get_mut(&peer) else {
            return;
        };
        match kind {
            // Offers cross: the smaller id gives way.
            DescriptionKind::Offer if link.offer_at.is_some() && me > peer => {}
            DescriptionKind::Offer => {
                link.offer_at = None;
                let session = link.session;
                self.describe(me, peer, DescriptionKind::Answer, session);
            }
            DescriptionKind::Answer if link.offer_at.take().is_some() => {
                for (me, peer) in [(me, peer), (peer, me)] {
                    if let Some(link) = self.person(me).links.get_mut(&peer) {
                        link.stands = true;
                    }
                    self.tell(me, peer, LinkEvent::Connected(Path::Direct));
                    self.tell(me, peer, LinkEvent::BesideOpened);
                }
            }
            DescriptionKind::Answer => {}
        }
    }

    fn describe(
        &mut self,
        me: ParticipantId,
        peer: ParticipantId,
        kind: DescriptionKind,
        session: u64,
    ) {
        // As long as usual ones with their candidates.
        let padding = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(150);
        let sdp = format!("v=0\r\no=- {session} 1 IN IP4 0.0.0.0\r\n{padding}");
        let message = PeerMessage::Description { kind, sdp };
        self.tell(me, peer, LinkEvent::Signal(message));
    }

    fn tell(&mut self, me: ParticipantId, peer: ParticipantId, event: LinkEvent) {
        let now = self.now;
        let person = self.person(me);
        if let Some(number) = person.links.get(&peer).map(|link| link.number) {
            if let LinkEvent::Connected(_) = event {
                person.post.handle_connected(peer);
            }
            person.room.handle_link(peer, number, event, now);
        }
    }

    fn dispatch(&mut self, me: ParticipantId, parcels: Vec<Parcel>) {
        for parcel in parcels {
            let (at, link, time) = match parcel.way {
                Way::Server if self.server == Server::Here => (parcel.to, None, THROUGH_SERVER),
                Way::Beside(id) if self.stands(me, id) => (id, Some(me), BESIDE),
                _ => continue,
            };
            let due = self.now + time;
            self.flights.push(Flight {
                due,
                at,
                link,
                parcel,
            });
        }
    }

    fn arrive(&mut self, flight: Flight) {
        let now = self.now;
        let Flight {
            at, link, parcel, ..
        } = flight;
        let Parcel {
            to, from, sealed, ..
        } = parcel;
        let person = self.person(at);
        let Some(link) = link else {
            match person.post.open(from, &sealed, Way::Server, now) {
                Opened::Message(message) => person.room.handle_message(from, message, now),
                Opened::Replayed => person.room.handle_replayed(from),
                Opened::Forged => person.room.handle_forged(from),
                Opened::Nothing => {}
            }
            return;
        };
        if to == at {
            let opened = person.post.open(from, &sealed, Way::Beside(link), now);
            if let Opened::Message(message) = opened {
                person.room.handle_message_beside(from, message, now);
            }
        } else {
            let ways = person.room.ways(to);
            let parcel = person.post.pass_on(link, (to, from), sealed, &ways, now);
            person.passed += usize::from(parcel.is_some());
            self.dispatch(at, parcel.into_iter().collect());
        }
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    fn assert_at_peace(&self) {
        for (id, person) in &self.people {
            assert_eq!(person.suspicions, [], "{id}");
            assert_eq!(person.left, [], "{id}");
        }
    }
}

fn welcome(participants: Vec<ParticipantId>) -> Welcome {
    Welcome {
        version: 1,
        resume: nonstop_wire::Token::from_bytes([0; 32]),
        resumed: false,
        participants,
        ice_servers: Vec::new(),
        mesh_limit: 5,
        topology: nonstop_wire::Topology::Mesh,
        relay: false,
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn without_a_server_a_failed_link_is_set_up_anew_through_a_third() {
    let mut world = World::call(&[ANN, BOB, EVE]);
    world.lose_server();
    world.fail(ANN, BOB);
    let took = world.until_stands(ANN, BOB);
    // A second is the pause before a link is set up anew.
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    world.run(secs(60));
    assert!((2..20).contains(&world.people[&EVE].passed));
    assert_eq!(world.people[&ANN].passed, 0);
    world.assert_at_peace();
}

#[test]
fn with_a_server_that_passes_nothing_on_signals_find_another_way_after_two_seconds() {
    let mut world = World::call(&[ANN, BOB, EVE]);
    world.server = Server::Mute;
    world.fail(ANN, BOB);
    let took = world.until_stands(ANN, BOB);
    assert!(took >= secs(1) + PATIENCE, "{took:?}");
    assert!(took < secs(1) + PATIENCE * 3, "{took:?}");
    world.assert_at_peace();
}

#[test]
fn a_server_that_comes_back_empty_is_suspected_of_nothing_and_parts_nobody() {
    let mut world = World::call(&[ANN, BOB, EVE]);
    world.lose_server();
    world.run(secs(20));
    world.fail(ANN, BOB);
    world.run(Duration::from_millis(900));
    world.restart_server();
    world.until_stands(ANN, BOB);
    world.fail(BOB, EVE);
    world.until_stands(BOB, EVE);
    world.run(secs(120));
    world.assert_at_peace();
}

#[test]
fn without_a_server_two_who_hear_each_other_through_a_third_do_not_lose_each_other() {
    let mut world = World::call(&[ANN, BOB, EVE]);
    world.lose_server();
    world.interrupt(ANN, BOB);
    world.run(secs(120));
    world.assert_at_peace();

    // Alone, they do, after 15 s.
    let mut world = World::call(&[ANN, BOB]);
    world.lose_server();
    world.interrupt(ANN, BOB);
    world.run(secs(14));
    world.assert_at_peace();
    world.run(secs(2));
    assert_eq!(world.people[&ANN].left, [BOB]);
    assert_eq!(world.people[&BOB].left, [ANN]);
}

#[test]
fn a_goodbye_is_heard_without_a_server() {
    let mut world = World::call(&[ANN, BOB, EVE]);
    world.lose_server();
    world.person(ANN).room.handle_leave();
    world.run(secs(1));
    assert_eq!(world.people[&BOB].left, [ANN]);
    assert_eq!(world.people[&EVE].left, [ANN]);
}

#[test]
fn the_word_of_the_server_alone_ends_nothing() {
    let mut world = World::call(&[ANN, BOB, EVE]);
    let now = world.now;
    for reason in [DepartureReason::Lost, DepartureReason::Left] {
        world.person(ANN).room.handle_left(BOB, reason, now);
        world.run(secs(60));
        assert!(world.stands(ANN, BOB));
        assert_eq!(world.people[&ANN].left, []);
    }
}
