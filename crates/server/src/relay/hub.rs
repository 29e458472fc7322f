//! What the thread owns: every connection and every room, and how packets find theirs.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use nonstop_relay::{Forward, Member, Room};
use nonstop_wire::{ParticipantId, RoomName};
use tracing::{debug, trace};

use super::{
    addresses::Addresses,
    agenda::Agenda,
    client::{Client, Ground, Happened},
    config::RelayConfig,
    crowd::Crowd,
    outlet::{Exit, Outlet},
    signalling::Answer,
    stun,
};
use crate::slab::{Key, Slab};

/// How many of the bits of a member's number say where its connection is; the others tell it from
/// those that were there before.
const PLACE_BITS: u32 = 16;
/// How often streams that say nothing are looked for.
const TIDY: Duration = Duration::from_secs(2);

/// The relay's part of a room.
pub(super) struct Hall {
    pub(super) name: RoomName,
    pub(super) room: Room,
    /// Those with a connection, and what they said.
    pub(super) members: HashMap<ParticipantId, Card>,
    /// Who spoke last, as far as it was told.
    pub(super) speakers: Vec<Member>,
    /// The time for which this stands in the agenda.
    listed: Option<Instant>,
    /// Whether it waits for its turn.
    touched: bool,
}

/// What is known of a member.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) member: Member,
    /// What it offers, as the others are told.
    pub(super) published: Option<nonstop_wire::Published>,
    /// What it watches, as it said: of participants who may come only later.
    pub(super) watch: nonstop_wire::Watch,
    /// What it was told last, to be told again after it was away.
    pub(super) wanted: nonstop_wire::Wanted,
    pub(super) allotted: Vec<nonstop_wire::Allotted>,
}

/// What may be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Client(u32),
    Hall(Key),
    Tidying,
}

/// Counts what is dropped.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// Beyond what a connection may send.
    pub(super) excess: u64,
    /// From places that are nobody's.
    pub(super) foreign: u64,
}

/// All of it.
pub(super) struct Hub {
    pub(super) config: RelayConfig,
    /// Where participants reach it.
    pub(super) addresses: Addresses,
    /// How many connections there are, on other threads as well.
    pub(super) crowd: Crowd,
    pub(super) ground: Ground,
    pub(super) clients: Slab<Client>,
    pub(super) halls: Slab<Hall>,
    pub(super) by_name: HashMap<RoomName, Key>,
    /// Whose packets come from where.
    by_source: HashMap<SocketAddr, u32>,
    pub(super) by_ufrag: HashMap<String, u32>,
    agenda: Agenda<Due>,
    tidying: Option<Instant>,
    dirty: Vec<u32>,
    touched: Vec<Key>,
    pub(super) forwards: Vec<Forward>,
    pub(super) outlet: Outlet,
    /// What participants are to be told.
    pub(super) answers: VecDeque<Answer>,
    dropped: Dropped,
}

impl Hub {
    /// Has no rooms yet.
    pub(super) fn new(
        config: RelayConfig,
        addresses: Addresses,
        crowd: Crowd,
        ground: Ground,
        outlet: Outlet,
    ) -> Self {
        Self {
            config,
            addresses,
            crowd,
            ground,
            clients: Slab::default(),
            halls: Slab::default(),
            by_name: HashMap::new(),
            by_source: HashMap::new(),
            by_ufrag: HashMap::new(),
            agenda: Agenda::default(),
            tidying: None,
            dirty: Vec::new(),
            touched: Vec::new(),
            forwards: Vec::new(),
            outlet,
            answers: VecDeque::new(),
            dropped: Dropped::default(),
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.agenda.next()
    }

    /// Takes in a datagram; what comes of it waits for [`finish`](Self::finish).
    pub(super) fn handle_datagram(
        &mut self,
        source: SocketAddr,
        exit: Exit,
        datagram: &[u8],
        now: Instant,
    ) {
        // RFC 7983 section 7: STUN, DTLS, and RTP with RTCP.
        match datagram.first() {
            Some(0..=3) => self.handle_stun(source, exit, datagram, now),
            Some(20..=63 | 128..=191) => {
                let Some(number) = self.by_source.get(&source).copied() else {
                    self.dropped.foreign += 1;
                    return;
                };
                let Some(client) = self.clients.at(number) else {
                    return;
                };
                // Before anything is decrypted, which costs more than to drop it.
                if !client.police.try_take(datagram.len() as f64, now) {
                    self.dropped.excess += 1;
                    return;
                }
                client.receive(source, datagram, now);
                // Reports and feedback (RFC 5761 section 4) are most of what receivers send.
                if matches!(datagram, [128..=191, 192..=223, ..]) {
                    client.postpone(now);
                    let due = client.due();
                    self.agenda
                        .put(Due::Client(number), due, &mut client.listed);
                } else {
                    self.attend(number, now);
                }
            }
            _ => self.dropped.foreign += 1,
        }
    }

    /// A STUN message finds its connection by the name in it, wherever it comes from.
    fn handle_stun(&mut self, source: SocketAddr, exit: Exit, datagram: &[u8], now: Instant) {
        let number = stun::receiver(datagram).and_then(|ufrag| self.by_ufrag.get(ufrag));
        let Some(number) = number.copied() else {
            self.dropped.foreign += 1;
            return;
        };
        let Some(client) = self.clients.at(number) else {
            return;
        };
        if !client.police.try_take(datagram.len() as f64, now) {
            self.dropped.excess += 1;
            return;
        }
        if !client.receive_stun(source, exit, datagram, now) {
            self.dropped.foreign += 1;
            return;
        }
        if let Some(place) = client.forget_place() {
            self.by_source.remove(&place);
        }
        // Whoever shows to be there last is there: addresses are given to others in time.
        self.by_source.insert(source, number);
        self.attend(number, now);
    }

    /// Has a connection looked at soon: something was put into it.
    pub(super) fn touch(&mut self, member: Member) {
        let number = place(member);
        if let Some(client) = self.clients.at(number)
            && client.member == member
            && !client.dirty
        {
            client.dirty = true;
            self.dirty.push(number);
        }
    }

    /// Has a room looked at soon: it was told something.
    pub(super) fn touch_hall(&mut self, key: Key) {
        if let Some(hall) = self.halls.get_mut(key)
            && !hall.touched
        {
            hall.touched = true;
            self.touched.push(key);
        }
    }

    /// Returns the connection of a member.
    pub(super) fn client(&mut self, member: Member) -> Option<&mut Client> {
        let client = self.clients.at(place(member));
        client.filter(|client| client.member == member)
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, at)) = self.agenda.take(now) {
            match due {
                Due::Client(number) => {
                    let Some(client) = self.clients.at(number) else {
                        continue;
                    };
                    if client.listed != Some(at) {
                        continue;
                    }
                    client.listed = None;
                    if client.due() <= now {
                        client.tick(now, &mut self.outlet);
                        self.attend(number, now);
                    } else {
                        let due = client.due();
                        self.agenda
                            .put(Due::Client(number), due, &mut client.listed);
                    }
                }
                Due::Hall(key) => {
                    let Some(hall) = self.halls.get_mut(key) else {
                        continue;
                    };
                    if hall.listed != Some(at) {
                        continue;
                    }
                    hall.listed = None;
                    if hall.room.poll_timeout().is_some_and(|due| due <= now) {
                        hall.room.handle_timeout(now);
                    }
                    self.touch_hall(key);
                }
                Due::Tidying => self.tidy(now),
            }
        }
    }

    /// Has everything done that follows from what was taken in, and sends what came of it.
    pub(super) fn finish(&mut self, now: Instant) {
        loop {
            if let Some(key) = self.touched.pop() {
                self.review(key, now);
            } else if let Some(number) = self.dirty.pop() {
                if let Some(client) = self.clients.at(number) {
                    client.dirty = false;
                    client.tick(now, &mut self.outlet);
                    self.attend(number, now);
                }
            } else {
                break;
            }
        }
        self.outlet.flush();
    }

    /// Has a connection send what it wants to, and handles what happened to it.
    pub(super) fn attend(&mut self, number: u32, now: Instant) {
        while let Some(client) = self.clients.at(number) {
            if let Some(happened) = client.poll(now, &mut self.outlet) {
                self.handle_happened(number, happened, now);
                continue;
            }
            if let Some(why) = client.over {
                debug!(why, "a connection to the relay ends");
                let member = client.member;
                self.close(member, true, now);
            } else {
                let due = client.due();
                self.agenda
                    .put(Due::Client(number), due, &mut client.listed);
                self.learn(number, now);
            }
            return;
        }
    }

    /// Tells a room what is new of the way down to one of its members.
    fn learn(&mut self, number: u32, now: Instant) {
        let Some(client) = self.clients.at(number) else {
            return;
        };
        let (member, key) = (client.member, client.hall);
        let (estimate, broken) = (client.estimate(), client.broken_off());
        if estimate.is_none() && broken.is_empty() {
            return;
        }
        let Some(hall) = self.halls.get_mut(key) else {
            return;
        };
        if let Some(estimate) = estimate {
            trace!(
                ?member,
                bps = estimate.bps(),
                "what the way to a participant carries"
            );
            hall.room.handle_estimate(member, estimate, now);
        }
        for of in broken {
            trace!(?member, "pictures waited too long for a participant");
            hall.room.handle_keyframe_request(member, of, now);
        }
        self.touch_hall(key);
    }

    fn handle_happened(&mut self, number: u32, happened: Happened, now: Instant) {
        let Some(client) = self.clients.at(number) else {
            return;
        };
        let (member, key) = (client.member, client.hall);
        match happened {
            Happened::Packet(packet) => self.pass_on(number, &packet, now),
            Happened::KeyframeWanted(of) => {
                if let Some(hall) = self.halls.get_mut(key) {
                    hall.room.handle_keyframe_request(member, of, now);
                    self.touch_hall(key);
                }
            }
        }
    }

    /// Has a room's wishes fulfilled.
    fn review(&mut self, key: Key, now: Instant) {
        while let Some(hall) = self.halls.get_mut(key) {
            let Some(event) = hall.room.poll_event() else {
                hall.touched = false;
                if let Some(due) = hall.room.poll_timeout() {
                    self.agenda.put(Due::Hall(key), due, &mut hall.listed);
                }
                return;
            };
            self.fulfil(key, event, now);
        }
    }

    /// Forgets streams that say nothing.
    fn tidy(&mut self, now: Instant) {
        self.tidying = None;
        self.keep_tidy(now);
        if self.dropped.excess + self.dropped.foreign > 0 {
            let Dropped { excess, foreign } = std::mem::take(&mut self.dropped);
            debug!(excess, foreign, "the relay dropped packets");
        }
        for client in self.clients.iter_mut() {
            client.tidy(now);
        }
    }

    /// Has it tidied up while there is somebody.
    pub(super) fn keep_tidy(&mut self, now: Instant) {
        if self.clients.len() > 0 {
            self.agenda.put(Due::Tidying, now + TIDY, &mut self.tidying);
        }
    }

    /// Forgets where a connection came from.
    pub(super) fn forget_places(&mut self, client: &Client) {
        let number = place(client.member);
        for (source, _) in &client.places {
            if self.by_source.get(source) == Some(&number) {
                self.by_source.remove(source);
            }
        }
        self.by_ufrag.remove(&client.ufrag);
    }

    /// Returns the room of that name, new if need be.
    pub(super) fn enter(&mut self, name: &RoomName) -> Key {
        if let Some(key) = self.by_name.get(name) {
            return *key;
        }
        let key = self.halls.insert(Hall {
            name: name.clone(),
            room: Room::new(nonstop_relay::Config::default()),
            members: HashMap::new(),
            speakers: Vec::new(),
            listed: None,
            touched: false,
        });
        debug!("a room is relayed");
        self.by_name.insert(name.clone(), key);
        key
    }
}

/// Returns the number under which a room knows the connection that will be at `key`.
pub(super) fn member(key: Key) -> Member {
    Member(key.generation << PLACE_BITS | key.number)
}

/// Returns the most connections that have numbers.
pub(super) const MOST_PLACES: usize = 1 << PLACE_BITS;

/// Returns where the connection of a member is.
pub(super) fn place(member: Member) -> u32 {
    member.0 & ((1 << PLACE_BITS) - 1)
}
