//! Pure machine: who is here, and which links must exist.
//!
//! Facts in (`handle_*`), effects out ([`Room::poll_effect`]); time is an argument, and there is
//! no key, socket or connection in here. Every message it is given was opened already: it comes
//! from somebody who holds the meeting's secret, whatever the server says.
//!
//! ```text
//! server's word ──┐                     ┌─▶ StartLink · StopLink · Signal
//! opened messages ─┼─▶ Room (people) ───┼─▶ Send (to be sealed)
//! link events ────┘                     └─▶ MemberJoined · MemberLeft · News · Suspect
//! ```
//!
//! Invariants: nobody is a member, and nobody has a link, before a message of theirs opened. The
//! server alone cannot end a link that media flows through, except by saying that the other
//! left on purpose; it cannot make anybody appear.
//!
//! # Who is told what, and how often
//!
//! The server may lose messages, so everything is repeated, and nothing is acknowledged: each
//! side describes itself to each other every 3 s until the other's description names it among
//! those it knows, twice within 2 s after a change, and every 10 s from then on. Descriptions
//! of sessions are repeated by the links, which also are set up anew when they fail.
//!
//! # When somebody is gone
//!
//! | Known from the server | Known from the link | Then |
//! | --- | --- | --- |
//! | left on purpose, or their sealed goodbye came | anything | removed at once |
//! | connection broke | no media for 1.5 s | lost 2.5 s later |
//! | seat given up, or unknown for 60 s after a restart | no media | lost |
//! | server cannot be reached | no media for 15 s | lost |
//! | present | no media | stays, and the link is set up anew |
//! | anything but left | media flows | stays |

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use nonstop_wire::{
    DepartureReason, DescriptionKind, ErrorCode, MAX_PARTICIPANTS, ParticipantId, ParticipantState,
    PeerMessage, RESUME_WINDOW, Welcome, tidy_name,
};

use self::{
    hearsay::Hearsay,
    person::{LinkState, Member, Person, Seat, Standing, session_of},
};
use super::{
    LinkNews, Me, Suspicion,
    link::{LinkError, LinkEvent},
};

mod hearsay;
mod person;
#[cfg(test)]
mod tests;

/// How long somebody has to prove that they hold the secret.
const PROOF_LIMIT: Duration = Duration::from_secs(10);
/// How often we describe ourselves to somebody who does not know us yet.
const DESCRIBE_UNTIL_KNOWN: Duration = Duration::from_secs(3);
/// How soon we repeat a description that changed.
const DESCRIBE_AGAIN: Duration = Duration::from_secs(2);
/// How often we describe ourselves to somebody who knows us.
const DESCRIBE_STEADILY: Duration = Duration::from_secs(10);
/// How long changes in whom we know are gathered before we tell them.
const GATHER: Duration = Duration::from_millis(200);
/// How long the server has, after its welcome to a full room, to say who of them is away.
const FULL_ROOM_GRACE: Duration = Duration::from_millis(500);
/// How many who were here and left are remembered, so that nothing of theirs counts again.
/// Only holders of the secret are among them; a room whose members come and go more often
/// than that takes in nobody new.
const MAX_FORMER: usize = 4_096;
/// How many suspicions are told: a server that earns more is known well enough.
const MAX_SUSPICIONS: usize = 256;

/// Tells one link to somebody from the next one to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LinkNumber(pub(super) u64);

/// What the machine wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Seal and send.
    Send {
        to: ParticipantId,
        message: PeerMessage,
    },
    /// Start a link, in place of the one there is.
    StartLink {
        id: ParticipantId,
        number: LinkNumber,
        initiator: bool,
    },
    /// Hand over to the link.
    Signal {
        id: ParticipantId,
        message: PeerMessage,
    },
    /// End the link, if there is one.
    StopLink { id: ParticipantId },
    /// We are in.
    Joined { others: usize },
    /// The server is gone.
    Reconnecting,
    /// The server is back.
    Reconnected { resumed: bool },
    /// Somebody proved to hold the secret.
    MemberJoined { id: ParticipantId },
    /// A member described themselves differently from before.
    Described {
        id: ParticipantId,
        state: ParticipantState,
    },
    /// A member is gone.
    MemberLeft { id: ParticipantId, lost: bool },
    /// News of a member's link.
    News { id: ParticipantId, news: LinkNews },
    /// The server misbehaves.
    Suspect(Suspicion),
    /// We must not take part.
    Refuse(ErrorCode),
}

/// The server, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerView {
    /// It has not welcomed us yet.
    Joining,
    /// The room looked full; it is being found out who is away.
    Full { until: Instant, limit: usize },
    /// It tells us what happens.
    Connected,
    /// It cannot be reached.
    Unreachable { since: Instant },
}

/// Somebody who was a member and is gone.
#[derive(Debug)]
struct Former {
    /// Whether only the server says so, and that it was on purpose.
    hearsay: bool,
    /// Whether they may come back under the same id.
    may_return: bool,
    sessions: Vec<String>,
}

/// The room, as one participant knows it.
#[derive(Debug)]
pub(super) struct Room {
    me: ParticipantId,
    shown: Me,
    server: ServerView,
    people: BTreeMap<ParticipantId, Person>,
    former: BTreeMap<ParticipantId, Former>,
    hearsay: Hearsay,
    reported: BTreeSet<String>,
    effects: VecDeque<Effect>,
    links_started: u64,
}

impl Room {
    /// Makes the room of `me`, who shows themselves as `shown`.
    pub(super) fn new(me: ParticipantId, shown: Me) -> Self {
        Self {
            me,
            shown: presentable(shown),
            server: ServerView::Joining,
            people: BTreeMap::new(),
            former: BTreeMap::new(),
            hearsay: Hearsay::default(),
            reported: BTreeSet::new(),
            effects: VecDeque::new(),
            links_started: 0,
        }
    }

    /// Returns the next thing to do.
    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Tells whether messages to and from this id have counted, or may yet.
    pub(super) fn remembers(&self, id: ParticipantId) -> bool {
        self.people.contains_key(&id) || self.former.contains_key(&id)
    }

    /// Returns the last name that a member gave, for the names of files.
    pub(super) fn name(&self, id: ParticipantId) -> Option<&str> {
        let state = self.people.get(&id)?.member()?.state.as_ref()?;
        Some(&state.name)
    }

    /// Takes in the server's answer to our joining, the first or a later one.
    pub(super) fn handle_welcome(&mut self, welcome: &Welcome, now: Instant) {
        let first = matches!(self.server, ServerView::Joining | ServerView::Full { .. });
        let listed: BTreeSet<_> = welcome.participants.iter().copied().collect();
        let grace = if welcome.resumed {
            Duration::ZERO
        } else {
            RESUME_WINDOW
        };
        let mut forgotten = Vec::new();
        for (id, person) in &mut self.people {
            match person.seat {
                _ if listed.contains(id) => person.seat = Seat::Present,
                Seat::Unlisted { .. } => {}
                _ => person.seat = Seat::Unlisted { until: now + grace },
            }
            match &mut person.standing {
                Standing::Unproven { .. } if !listed.contains(id) => forgotten.push(*id),
                Standing::Unproven { deadline } => *deadline = Some(now + PROOF_LIMIT),
                Standing::Member(member) => member.retry_now(now),
            }
            person.describe_at = now;
        }
        for id in forgotten {
            self.people.remove(&id);
        }
        // We come after everybody whom the welcome names, so the first offers are ours.
        for id in listed {
            self.admit(id, true, now);
        }
        if !first {
            self.server = ServerView::Connected;
            self.effects.push_back(Effect::Reconnected {
                resumed: welcome.resumed,
            });
        } else {
            self.server = ServerView::Full {
                until: now + FULL_ROOM_GRACE,
                limit: welcome.mesh_limit,
            };
            self.enter_unless_full(now);
        }
        self.settle(now);
    }

    /// Takes in that somebody joined.
    pub(super) fn handle_joined(&mut self, id: ParticipantId, now: Instant) {
        match self.people.get_mut(&id) {
            Some(person) => {
                person.seat = Seat::Present;
                person.describe_at = now;
                if let Some(member) = person.member_mut() {
                    member.retry_now(now);
                }
            }
            None => self.admit(id, false, now),
        }
        self.settle(now);
    }

    /// Takes in that somebody's connection to the server broke.
    pub(super) fn handle_away(&mut self, id: ParticipantId, now: Instant) {
        if let Some(person) = self.people.get_mut(&id) {
            if !matches!(person.seat, Seat::Away { .. }) {
                person.seat = Seat::Away { since: now };
            }
            if let Standing::Unproven { deadline } = &mut person.standing {
                *deadline = None;
            }
        }
        self.enter_unless_full(now);
        self.settle(now);
    }

    /// Takes in that somebody who was away is back.
    pub(super) fn handle_back(&mut self, id: ParticipantId, now: Instant) {
        if let Some(person) = self.people.get_mut(&id)
            && let Standing::Unproven { deadline } = &mut person.standing
        {
            *deadline = Some(now + PROOF_LIMIT);
        }
        self.handle_joined(id, now);
    }

    /// Takes in that the server says that somebody is gone.
    pub(super) fn handle_left(&mut self, id: ParticipantId, reason: DepartureReason, now: Instant) {
        let Some(person) = self.people.get_mut(&id) else {
            return;
        };
        let on_purpose = reason == DepartureReason::Left;
        let flowing = person
            .member()
            .is_some_and(|member| member.down_since.is_none());
        if flowing && !on_purpose {
            // They lost the server, not us.
            person.seat = Seat::Unlisted { until: now };
        } else {
            self.remove(id, !on_purpose, Former::as_told(on_purpose), now);
        }
        self.enter_unless_full(now);
        self.settle(now);
    }

    /// Takes in that the server cannot be reached.
    pub(super) fn handle_disconnected(&mut self, now: Instant) {
        match self.server {
            ServerView::Connected => {
                self.server = ServerView::Unreachable { since: now };
                self.effects.push_back(Effect::Reconnecting);
            }
            ServerView::Full { .. } => self.server = ServerView::Joining,
            ServerView::Joining | ServerView::Unreachable { .. } => {}
        }
        self.hearsay.clear();
        for person in self.people.values_mut() {
            if let Standing::Unproven { deadline } = &mut person.standing {
                *deadline = None;
            }
        }
        self.settle(now);
    }

    /// Takes in a message that opened: `from` holds the secret and meant it for us.
    pub(super) fn handle_message(
        &mut self,
        from: ParticipantId,
        message: PeerMessage,
        now: Instant,
    ) {
        if from == self.me || !self.in_the_room() {
            return;
        }
        if let PeerMessage::Bye = message {
            self.remove(from, false, Former::SAID_GOODBYE, now);
        } else if self.prove(from, now) {
            match message {
                PeerMessage::State(state) => self.take_state(from, state, now),
                PeerMessage::Description { .. } | PeerMessage::Candidate { .. } => {
                    self.take_signal(from, message, now);
                }
                PeerMessage::Bye | PeerMessage::Unknown => {}
            }
        }
        self.settle(now);
    }

    /// Takes in that a message said to be from `from` did not open.
    pub(super) fn handle_forged(&mut self, from: ParticipantId) {
        if self.people.contains_key(&from) {
            self.suspect(Suspicion::Forged(from));
        }
    }

    /// Takes in that a message from `from` came again.
    pub(super) fn handle_replayed(&mut self, from: ParticipantId) {
        if self.remembers(from) {
            self.suspect(Suspicion::Replayed(from));
        }
    }

    /// Takes in what a link has to tell. What an earlier link to the same participant tells is
    /// ignored.
    pub(super) fn handle_link(
        &mut self,
        id: ParticipantId,
        number: LinkNumber,
        event: LinkEvent,
        now: Instant,
    ) {
        let server = self.server;
        let Some(person) = self.people.get_mut(&id) else {
            return;
        };
        let Some(member) = person.member_mut() else {
            return;
        };
        if member.link != LinkState::Running(number) {
            return;
        }
        let after = now.saturating_duration_since(member.since);
        let news = match event {
            LinkEvent::Signal(message) => {
                self.effects.push_back(Effect::Send { to: id, message });
                None
            }
            LinkEvent::Connected(path) => {
                member.down_since = None;
                member.failures = 0;
                Some(LinkNews::Connected { path, after })
            }
            LinkEvent::PathChanged(path) => Some(LinkNews::PathChanged(path)),
            LinkEvent::Interrupted => {
                let news = member.down_since.is_none().then_some(LinkNews::Interrupted);
                member.down_since.get_or_insert(now);
                news
            }
            LinkEvent::FirstVideoFrame => {
                let first = !std::mem::replace(&mut member.seen, true);
                first.then_some(LinkNews::FirstVideoFrame { after })
            }
            LinkEvent::FirstAudio => {
                let first = !std::mem::replace(&mut member.heard, true);
                first.then_some(LinkNews::FirstAudio { after })
            }
            LinkEvent::Stats(stats) => Some(LinkNews::Stats(stats)),
            LinkEvent::Failed(error) => {
                let news = member.down_since.is_none().then_some(LinkNews::Interrupted);
                member.down_since.get_or_insert(now);
                let retry_at = now + member.back_off();
                member.link = LinkState::Waiting { retry_at };
                person.end_session();
                tracing::debug!(%id, %error, ?server, "a link failed");
                self.effects.push_back(Effect::StopLink { id });
                if error == LinkError::WrongParty {
                    self.suspect(Suspicion::WrongParty(id));
                }
                news
            }
        };
        if let Some(news) = news {
            self.effects.push_back(Effect::News { id, news });
        }
        self.settle(now);
    }

    /// Takes in how we show ourselves from now on.
    pub(super) fn handle_described(&mut self, shown: Me, now: Instant) {
        let shown = presentable(shown);
        if shown == self.shown {
            return;
        }
        self.shown = shown;
        for person in self.people.values_mut() {
            person.describe_at = now;
        }
        self.settle(now);
        for person in self.people.values_mut() {
            person.describe_at = person.describe_at.min(now + DESCRIBE_AGAIN);
        }
    }

    /// Says goodbye to every member.
    pub(super) fn handle_leave(&mut self) {
        for (&to, person) in &self.people {
            if person.member().is_some() {
                let message = PeerMessage::Bye;
                self.effects.push_back(Effect::Send { to, message });
            }
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let server = self.server;
        let full = match server {
            ServerView::Full { until, .. } => Some(until),
            _ => None,
        };
        let people = self.people.iter().flat_map(|(id, person)| {
            [
                person.reachable(server).then_some(person.describe_at),
                person.lost_at(server),
                person.retry_at(server),
                person.stranger_at(),
                self.hidden_at(*id, person),
            ]
        });
        people.flatten().chain(full).min()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let ServerView::Full { until, .. } = self.server
            && now >= until
        {
            // Whoever is left out here is told so; calls beyond the limit need a relay.
            self.effects.push_back(Effect::Refuse(ErrorCode::RoomFull));
            self.server = ServerView::Joining;
        }
        self.settle(now);
    }

    fn in_the_room(&self) -> bool {
        matches!(
            self.server,
            ServerView::Connected | ServerView::Unreachable { .. }
        )
    }

    /// Takes part if those who are here leave room for one more in a mesh.
    fn enter_unless_full(&mut self, now: Instant) {
        let ServerView::Full { limit, .. } = self.server else {
            return;
        };
        let here = self
            .people
            .values()
            .filter(|person| person.seat == Seat::Present);
        let others = here.count();
        if others >= limit.max(1) && others > 0 {
            return;
        }
        self.server = ServerView::Connected;
        for person in self.people.values_mut() {
            person.since = now;
        }
        self.effects.push_back(Effect::Joined { others });
    }

    /// Adds somebody whom the server told of, unless known.
    fn admit(&mut self, id: ParticipantId, initiator: bool, now: Instant) {
        self.hearsay.handle_known(id);
        let crowded = self.people.len() >= MAX_PARTICIPANTS || self.former.len() >= MAX_FORMER;
        let barred = self
            .former
            .get(&id)
            .is_some_and(|former| !former.may_return);
        if id == self.me || crowded || barred || self.people.contains_key(&id) {
            return;
        }
        let sessions = self
            .former
            .remove(&id)
            .map_or_else(Vec::new, |former| former.sessions);
        let mut person = Person::new(Seat::Present, initiator, sessions, now);
        person.standing = Standing::Unproven {
            deadline: Some(now + PROOF_LIMIT),
        };
        self.people.insert(id, person);
    }

    /// Takes in that `id` holds the secret. Returns whether they are a member now.
    fn prove(&mut self, id: ParticipantId, now: Instant) -> bool {
        if !self.people.contains_key(&id) {
            let crowded = self.people.len() >= MAX_PARTICIPANTS;
            if crowded || self.former.contains_key(&id) || self.former.len() >= MAX_FORMER {
                return false;
            }
            // Their own word came before the server's, or in its place.
            let seat = Seat::Untold { since: now };
            self.people
                .insert(id, Person::new(seat, false, Vec::new(), now));
        }
        let person = self
            .people
            .get_mut(&id)
            .expect("was there or was just added");
        if person.member().is_none() {
            let number = next_link(&mut self.links_started);
            // Whoever was lost and is here again was not told that our links began anew.
            let initiator = std::mem::replace(&mut person.initiator, true);
            let since = person.since;
            person.standing = Standing::Member(Member::new(number, since, now));
            self.effects.push_back(Effect::MemberJoined { id });
            self.effects.push_back(Effect::StartLink {
                id,
                number,
                initiator,
            });
            self.tell_whom_we_know(now);
        }
        true
    }

    fn take_state(&mut self, from: ParticipantId, state: ParticipantState, now: Instant) {
        let unknown = state.knows.iter().copied().filter(|id| {
            let left = self.former.get(id).map(|former| former.hearsay);
            *id != self.me && !self.people.contains_key(id) && left.unwrap_or(true)
        });
        let hidden = if self.server == ServerView::Connected {
            self.hearsay.handle_told(unknown, now)
        } else {
            Vec::new()
        };
        for id in hidden {
            self.suspect(Suspicion::Hidden(id));
        }
        let Some(person) = self.people.get_mut(&from) else {
            return;
        };
        if !state.knows.contains(&self.me) {
            person.describe_at = person.describe_at.min(now + DESCRIBE_UNTIL_KNOWN);
        }
        let Some(member) = person.member_mut() else {
            return;
        };
        let before = member.state.replace(state.clone());
        if before.is_none_or(|before| !same_to_a_person(&before, &state)) {
            self.effects
                .push_back(Effect::Described { id: from, state });
        }
    }

    /// Hands a description or candidate to the link it is meant for. A new session of theirs
    /// means that they began anew: then so do we.
    fn take_signal(&mut self, from: ParticipantId, message: PeerMessage, now: Instant) {
        let Some(person) = self.people.get_mut(&from) else {
            return;
        };
        if let PeerMessage::Description { kind, sdp } = &message
            && let Some(session) = session_of(sdp).map(str::to_owned)
        {
            if person.past_sessions.contains(&session) {
                return;
            }
            let Some(member) = person.member_mut() else {
                return;
            };
            let running = matches!(member.link, LinkState::Running(_));
            let other = member
                .session
                .as_ref()
                .is_some_and(|known| *known != session);
            match kind {
                DescriptionKind::Answer if other || !running => return,
                DescriptionKind::Offer if other || !running => {
                    let number = next_link(&mut self.links_started);
                    member.link = LinkState::Running(number);
                    let dropped = member.down_since.is_none();
                    member.down_since.get_or_insert(now);
                    person.end_session();
                    if dropped {
                        let news = LinkNews::Interrupted;
                        self.effects.push_back(Effect::News { id: from, news });
                    }
                    let initiator = false;
                    self.effects.push_back(Effect::StartLink {
                        id: from,
                        number,
                        initiator,
                    });
                }
                DescriptionKind::Offer | DescriptionKind::Answer => {}
            }
            if let Some(member) = person.member_mut() {
                member.session = Some(session);
            }
        }
        self.effects.push_back(Effect::Signal { id: from, message });
    }
}

/// What follows from what is known.
impl Room {
    /// Does everything that is due at `now`.
    fn settle(&mut self, now: Instant) {
        let server = self.server;
        let due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        let ids: Vec<_> = self.people.keys().copied().collect();
        for id in ids {
            let Some(person) = self.people.get_mut(&id) else {
                continue;
            };
            if due(person.lost_at(server)) {
                self.lose(id, now);
                continue;
            }
            if due(person.stranger_at()) {
                person.standing = Standing::Unproven { deadline: None };
                self.suspect(Suspicion::Stranger(id));
            } else if due(person.retry_at(server)) {
                let number = next_link(&mut self.links_started);
                if let Some(member) = person.member_mut() {
                    member.link = LinkState::Running(number);
                }
                let initiator = true;
                self.effects.push_back(Effect::StartLink {
                    id,
                    number,
                    initiator,
                });
            }
            let Some(person) = self.people.get(&id) else {
                continue;
            };
            if due(self.hidden_at(id, person)) {
                self.suspect(Suspicion::Hidden(id));
            }
        }
        self.describe_where_due(now);
    }

    /// Returns when it counts as hiding that the server never told of somebody.
    fn hidden_at(&self, id: ParticipantId, person: &Person) -> Option<Instant> {
        let Seat::Untold { since } = person.seat else {
            return None;
        };
        let told = self.reported.contains(&Suspicion::Hidden(id).to_string());
        let listening = self.server == ServerView::Connected;
        (listening && !told && self.reported.len() < MAX_SUSPICIONS)
            .then(|| since + hearsay::PATIENCE)
    }

    fn describe_where_due(&mut self, now: Instant) {
        let server = self.server;
        let due = |person: &Person| person.reachable(server) && now >= person.describe_at;
        if !self.people.values().any(due) {
            return;
        }
        let members = self
            .people
            .iter()
            .filter(|(_, person)| person.member().is_some());
        let knows: Vec<_> = members.map(|(id, _)| *id).collect();
        let me = self.me;
        for (&to, person) in &mut self.people {
            if !due(person) {
                continue;
            }
            let state = person.member().and_then(|member| member.state.as_ref());
            let known = state.is_some_and(|state| state.knows.contains(&me));
            person.describe_at = now
                + if known {
                    DESCRIBE_STEADILY
                } else {
                    DESCRIBE_UNTIL_KNOWN
                };
            let message = PeerMessage::State(ParticipantState {
                name: self.shown.name.clone(),
                microphone: self.shown.microphone,
                camera: self.shown.camera,
                knows: knows.iter().copied().filter(|id| *id != to).collect(),
            });
            self.effects.push_back(Effect::Send { to, message });
        }
    }

    fn tell_whom_we_know(&mut self, now: Instant) {
        for person in self.people.values_mut() {
            person.describe_at = person.describe_at.min(now + GATHER);
        }
    }

    /// Gives a member up whom neither server nor media has a trace of.
    fn lose(&mut self, id: ParticipantId, now: Instant) {
        let seat = self.people.get(&id).map(|person| person.seat);
        if let Some(Seat::Away { .. } | Seat::Present) = seat {
            // The server keeps their seat, so they may be back any moment.
            if let Some(person) = self.people.get_mut(&id) {
                person.end_session();
                person.standing = Standing::Unproven { deadline: None };
                person.since = now;
            }
            self.effects.push_back(Effect::StopLink { id });
            self.effects
                .push_back(Effect::MemberLeft { id, lost: true });
            self.tell_whom_we_know(now);
        } else {
            self.remove(id, true, Former::as_told(false), now);
        }
    }

    /// Takes somebody out of the room.
    fn remove(&mut self, id: ParticipantId, lost: bool, mut former: Former, now: Instant) {
        let Some(mut person) = self.people.remove(&id) else {
            return;
        };
        person.end_session();
        if person.member().is_some() {
            former.sessions = person.past_sessions;
            self.former.insert(id, former);
            self.effects.push_back(Effect::StopLink { id });
            self.effects.push_back(Effect::MemberLeft { id, lost });
            self.tell_whom_we_know(now);
        }
    }

    /// Tells of a suspicion, each once.
    fn suspect(&mut self, suspicion: Suspicion) {
        if self.reported.len() < MAX_SUSPICIONS && self.reported.insert(suspicion.to_string()) {
            self.effects.push_back(Effect::Suspect(suspicion));
        }
    }
}

impl Former {
    const SAID_GOODBYE: Self = Self {
        hearsay: false,
        may_return: false,
        sessions: Vec::new(),
    };

    /// Makes somebody of whom only the server says that they are gone.
    fn as_told(on_purpose: bool) -> Self {
        Self {
            hearsay: on_purpose,
            may_return: true,
            sessions: Vec::new(),
        }
    }
}

impl Member {
    /// Does not wait any longer for a new link: something changed that may help.
    fn retry_now(&mut self, now: Instant) {
        if let LinkState::Waiting { retry_at } = &mut self.link {
            *retry_at = (*retry_at).min(now);
        }
    }
}

fn next_link(started: &mut u64) -> LinkNumber {
    *started += 1;
    LinkNumber(*started)
}

/// Makes our own name one that others accept.
fn presentable(mut me: Me) -> Me {
    me.name = tidy_name(&me.name);
    me
}

/// Tells whether two descriptions differ in nothing that a person sees.
fn same_to_a_person(one: &ParticipantState, other: &ParticipantState) -> bool {
    (&one.name, one.microphone, one.camera) == (&other.name, other.microphone, other.camera)
}
