//! Who is in which room: what a connection says goes in, what others are told comes out.
//!
//! ```text
//!              ┌──────── join with its resume token ────────┐
//!              ▼                                            │
//! join ─▶ Here(connection) ── connection broke ──▶ Away(until) ── time is up ──▶ gone (lost)
//!              └─────────────── leave ──────────────────────────────────────────▶ gone (left)
//! ```
//!
//! Pure: time and random tokens are arguments. A room exists exactly while somebody has a seat
//! in it; of its admission token it keeps the hash. A server that was restarted knows nobody, and
//! takes its rooms back from those who return: with their ids, and with the tokens that they have.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use nonstop_relay::TopologyWatch;
use nonstop_wire::{
    DepartureReason, ErrorCode, IceServer, PROTOCOL_VERSION, ParticipantId, RoomName,
    ServerMessage, Token, Topology, Welcome,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Config;

#[cfg(test)]
mod tests;

/// One connection; never used again after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// A wish to join, as `join` of the protocol has it.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    pub(crate) room: RoomName,
    pub(crate) admission: Token,
    pub(crate) participant: ParticipantId,
    pub(crate) resume: Option<Token>,
}

/// What somebody who joins is given.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    /// A new random token, for a new seat.
    pub(crate) resume: Token,
    pub(crate) ice_servers: Vec<IceServer>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Tell these.
    Tell(Vec<ConnectionId>, ServerMessage),
    /// End this one, after what it was told.
    Close(ConnectionId),
    /// Tell the relay that somebody gave up the seat.
    GiveUp(RoomName, ParticipantId),
    /// Have the relay tell somebody again what there is, who may have missed some of it.
    Remind(RoomName, ParticipantId),
}

/// All rooms of a server.
#[derive(Debug)]
pub(crate) struct Rooms {
    most_rooms: usize,
    most_participants: usize,
    mesh_limit: usize,
    /// Whether there is a relay.
    relay: bool,
    resume_window: Duration,
    rooms: HashMap<RoomName, Room>,
    /// Where each joined connection sits.
    seated: HashMap<ConnectionId, (RoomName, ParticipantId)>,
    /// Every seat whose owner is away, by the time it is given up.
    kept: BTreeSet<(Instant, RoomName, ParticipantId)>,
    /// Every room whose topology may change by itself, by the time it does.
    changing: BTreeSet<(Instant, RoomName)>,
}

#[derive(Debug)]
struct Room {
    admission_hash: [u8; 32],
    seats: BTreeMap<ParticipantId, Seat>,
    topology: TopologyWatch,
}

#[derive(Debug)]
struct Seat {
    resume: Token,
    presence: Presence,
}

#[derive(Debug)]
enum Presence {
    Here(ConnectionId),
    Away { until: Instant },
}

impl Rooms {
    /// Makes a server without rooms.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            most_rooms: config.limits.rooms,
            most_participants: config.limits.participants,
            mesh_limit: config.mesh_limit,
            relay: config.relay.is_some(),
            resume_window: config.timing.resume_window,
            rooms: HashMap::new(),
            seated: HashMap::new(),
            kept: BTreeSet::new(),
            changing: BTreeSet::new(),
        }
    }

    /// Returns where a connection sits.
    pub(crate) fn seat(&self, connection: ConnectionId) -> Option<&(RoomName, ParticipantId)> {
        self.seated.get(&connection)
    }

    /// Returns the connection of somebody who is here.
    pub(crate) fn connection(
        &self,
        name: &RoomName,
        participant: ParticipantId,
    ) -> Option<ConnectionId> {
        let seat = self.rooms.get(name)?.seats.get(&participant)?;
        match seat.presence {
            Presence::Here(connection) => Some(connection),
            Presence::Away { .. } => None,
        }
    }

    /// Returns how many rooms there are, and how many participants in them.
    pub(crate) fn census(&self) -> (usize, usize) {
        let participants = self.rooms.values().map(|room| room.seats.len()).sum();
        (self.rooms.len(), participants)
    }

    /// A connection that has no seat asks for one.
    pub(crate) fn handle_join(
        &mut self,
        connection: ConnectionId,
        join: Join,
        grant: Grant,
        now: Instant,
    ) -> Vec<Effect> {
        self.join(connection, join, grant, now)
            .unwrap_or_else(|code| refusal(connection, code))
    }

    /// A seated connection wants a sealed payload passed on.
    pub(crate) fn handle_send(
        &self,
        connection: ConnectionId,
        to: ParticipantId,
        sealed: String,
    ) -> Vec<Effect> {
        let Some((name, from)) = self.seated.get(&connection) else {
            return Vec::new();
        };
        let seat = self.rooms.get(name).and_then(|room| room.seats.get(&to));
        match seat.map(|seat| &seat.presence) {
            Some(Presence::Here(receiver)) => {
                let from = *from;
                vec![Effect::Tell(
                    vec![*receiver],
                    ServerMessage::Message { from, sealed },
                )]
            }
            // The sender has been told, and says it again when the receiver is back.
            Some(Presence::Away { .. }) => Vec::new(),
            None => vec![Effect::Tell(
                vec![connection],
                error(ErrorCode::NoSuchParticipant),
            )],
        }
    }

    /// A seated connection leaves on purpose.
    pub(crate) fn handle_leave(&mut self, connection: ConnectionId, now: Instant) -> Vec<Effect> {
        let mut effects = vec![Effect::Close(connection)];
        if let Some((name, participant)) = self.seated.remove(&connection) {
            effects.extend(self.give_up(&name, participant, DepartureReason::Left, now));
        }
        effects
    }

    /// A connection broke; its seat, if it has one, is kept for a while.
    pub(crate) fn handle_lost(&mut self, connection: ConnectionId, now: Instant) -> Vec<Effect> {
        let Some((name, participant)) = self.seated.remove(&connection) else {
            return Vec::new();
        };
        let until = now + self.resume_window;
        let Some(room) = self.rooms.get_mut(&name) else {
            return Vec::new();
        };
        if let Some(seat) = room.seats.get_mut(&participant) {
            seat.presence = Presence::Away { until };
        }
        self.kept.insert((until, name, participant));
        tell_others(room, participant, ServerMessage::Away { participant })
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let kept = self.kept.first().map(|(until, ..)| *until);
        let changing = self.changing.first().map(|(at, _)| *at);
        kept.into_iter().chain(changing).min()
    }

    /// Gives up the seats of those who did not come back, and lets calls be a mesh again.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.kept.first().is_some_and(|(until, ..)| *until <= now) {
            if let Some((_, name, participant)) = self.kept.pop_first() {
                effects.extend(self.give_up(&name, participant, DepartureReason::Lost, now));
            }
        }
        while self.changing.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, name)) = self.changing.pop_first() {
                effects.extend(self.review_topology(&name, None, now));
            }
        }
        effects
    }

    fn join(
        &mut self,
        connection: ConnectionId,
        join: Join,
        grant: Grant,
        now: Instant,
    ) -> Result<Vec<Effect>, ErrorCode> {
        let admission_hash: [u8; 32] = Sha256::digest(join.admission.as_bytes()).into();
        let full = self.rooms.len() >= self.most_rooms;
        let room = match self.rooms.entry(join.room.clone()) {
            Entry::Occupied(room) => room.into_mut(),
            Entry::Vacant(_) if full => return Err(ErrorCode::ServerFull),
            Entry::Vacant(place) => place.insert(Room {
                admission_hash,
                seats: BTreeMap::new(),
                topology: TopologyWatch::new(self.mesh_limit),
            }),
        };
        if !bool::from(room.admission_hash.ct_eq(&admission_hash)) {
            return Err(ErrorCode::NotAdmitted);
        }

        let participant = join.participant;
        let room_full = room.seats.len() >= self.most_participants;
        let (effects, resume, resumed) = match room.seats.get_mut(&participant) {
            Some(seat) if join.resume.as_ref() == Some(&seat.resume) => {
                let resume = seat.resume.clone();
                let before = std::mem::replace(&mut seat.presence, Presence::Here(connection));
                let effects = match before {
                    Presence::Here(old) => {
                        self.seated.remove(&old);
                        refusal(old, ErrorCode::Replaced)
                    }
                    Presence::Away { until } => {
                        self.kept.remove(&(until, join.room.clone(), participant));
                        tell_others(room, participant, ServerMessage::Back { participant })
                    }
                };
                (effects, resume, true)
            }
            Some(_) => return Err(ErrorCode::IdTaken),
            None if room_full => return Err(ErrorCode::RoomFull),
            None => {
                // Whoever returns keeps their token: if this welcome is lost on its way, the next
                // attempt still takes the seat.
                let resume = join.resume.unwrap_or(grant.resume);
                let seat = Seat {
                    resume: resume.clone(),
                    presence: Presence::Here(connection),
                };
                room.seats.insert(participant, seat);
                let joined = ServerMessage::Joined { participant };
                (tell_others(room, participant, joined), resume, false)
            }
        };
        self.seated
            .insert(connection, (join.room.clone(), participant));
        let changed = self.review_topology(&join.room, Some(participant), now);
        let Some(room) = self.rooms.get(&join.room) else {
            return Ok(effects);
        };

        let others = || {
            room.seats
                .iter()
                .filter(|(other, _)| **other != participant)
        };
        let welcome = ServerMessage::Welcome(Welcome {
            version: PROTOCOL_VERSION,
            resume,
            resumed,
            participants: others().map(|(other, _)| *other).collect(),
            ice_servers: grant.ice_servers,
            mesh_limit: self.mesh_limit,
            topology: topology(&room.topology),
            relay: self.relay,
        });
        let away = others().filter(|(_, seat)| matches!(seat.presence, Presence::Away { .. }));
        let away = away.map(|(other, _)| ServerMessage::Away {
            participant: *other,
        });
        let told = std::iter::once(welcome).chain(away);
        let told = told.map(|message| Effect::Tell(vec![connection], message));
        let remind = (resumed && self.relay).then_some(Effect::Remind(join.room, participant));
        Ok(told.chain(effects).chain(changed).chain(remind).collect())
    }

    fn give_up(
        &mut self,
        name: &RoomName,
        participant: ParticipantId,
        reason: DepartureReason,
        now: Instant,
    ) -> Vec<Effect> {
        let Some(room) = self.rooms.get_mut(name) else {
            return Vec::new();
        };
        room.seats.remove(&participant);
        let relay = self.relay;
        let gave_up = relay.then(|| Effect::GiveUp(name.clone(), participant));
        let mut effects = Vec::from_iter(gave_up);
        if room.seats.is_empty() {
            if let Some(at) = room.topology.poll_timeout() {
                self.changing.remove(&(at, name.clone()));
            }
            self.rooms.remove(name);
            return effects;
        }
        let left = ServerMessage::Left {
            participant,
            reason,
        };
        effects.extend(tell_others(room, participant, left));
        effects.extend(self.review_topology(name, None, now));
        effects
    }

    /// Looks again at how the media of a call travels; all but `newcomer` are told of a change.
    fn review_topology(
        &mut self,
        name: &RoomName,
        newcomer: Option<ParticipantId>,
        now: Instant,
    ) -> Vec<Effect> {
        let Some(room) = self.rooms.get_mut(name) else {
            return Vec::new();
        };
        let before = room.topology.poll_timeout();
        let participants = room.seats.len();
        let changed = room
            .topology
            .handle_participants(participants, self.relay, now);
        let after = room.topology.poll_timeout();
        if before != after {
            if let Some(at) = before {
                self.changing.remove(&(at, name.clone()));
            }
            if let Some(at) = after {
                self.changing.insert((at, name.clone()));
            }
        }
        let tell = |_| {
            let topology = topology(&room.topology);
            let message = ServerMessage::Topology { topology };
            tell(room, |participant| Some(participant) != newcomer, message)
        };
        changed.map(tell).unwrap_or_default()
    }
}

/// Returns the topology as participants are told of it.
fn topology(watch: &TopologyWatch) -> Topology {
    match watch.topology() {
        nonstop_relay::Topology::Mesh => Topology::Mesh,
        nonstop_relay::Topology::Relay => Topology::Relay,
    }
}

fn tell_others(room: &Room, participant: ParticipantId, message: ServerMessage) -> Vec<Effect> {
    tell(room, |other| other != participant, message)
}

fn tell(room: &Room, whom: impl Fn(ParticipantId) -> bool, message: ServerMessage) -> Vec<Effect> {
    let others = room
        .seats
        .iter()
        .filter_map(|(other, seat)| match seat.presence {
            Presence::Here(connection) if whom(*other) => Some(connection),
            _ => None,
        });
    let others: Vec<_> = others.collect();
    if others.is_empty() {
        return Vec::new();
    }
    vec![Effect::Tell(others, message)]
}

fn refusal(connection: ConnectionId, code: ErrorCode) -> Vec<Effect> {
    vec![
        Effect::Tell(vec![connection], error(code)),
        Effect::Close(connection),
    ]
}

/// The message that goes with a code.
pub(crate) fn error(code: ErrorCode) -> ServerMessage {
    let words = match code {
        ErrorCode::Malformed => "not a message of this protocol",
        ErrorCode::Version => "this server speaks another version of the protocol",
        ErrorCode::NotAdmitted => "the admission token is not this room's",
        ErrorCode::RoomFull => "the room has its most participants",
        ErrorCode::ServerFull => "the server has its most rooms",
        ErrorCode::IdTaken => "another participant has this id",
        ErrorCode::Replaced => "a newer connection took this seat",
        ErrorCode::TooFast => "too many messages in too little time",
        ErrorCode::TooLong => "the message is too long",
        ErrorCode::NotJoined => "the first message has to be join, and soon",
        ErrorCode::NoSuchParticipant => "the receiver is not in the room",
        ErrorCode::Unknown => "refused",
    };
    let message = words.to_owned();
    ServerMessage::Error { code, message }
}
