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
//! Invariants: nobody is a member, and nobody has a link, before a message of theirs opened; so
//! nobody else is ever sent a session description or a candidate, which name our addresses. The
//! server alone cannot end a link that media flows through, and it cannot make anybody appear.
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
//! | their sealed goodbye came | anything | removed at once |
//! | left on purpose | no media | removed at once |
//! | connection broke | no media for 1.5 s | lost 2.5 s later |
//! | seat given up, or unknown for 60 s after a restart | no media | lost |
//! | server cannot be reached | no media for 15 s | lost |
//! | any of these | no media, but others passed something on from them in the last 15 s | stays |
//! | present | no media | stays, and the link is set up anew |
//! | anything but a goodbye | media flows | stays |
//!
//! Whoever media reaches although the server says for 5 s that they left is hidden by it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use nonstop_wire::{
    DepartureReason, ErrorCode, ParticipantId, PeerMessage, RESUME_WINDOW, Welcome, tidy_name,
};

use self::{
    hearsay::Hearsay,
    person::{Member, Person, Seat, Standing},
    relay::Relay,
};
use super::{Me, Suspicion};

mod carriage;
mod effect;
mod hearsay;
mod links;
mod meeting;
mod person;
mod relay;
#[cfg(test)]
mod tests;
mod upkeep;
mod ways;

pub(super) use effect::{Effect, LinkNumber};
pub(super) use relay::RelayedNews;

/// How long somebody has to prove that they hold the secret.
const PROOF_LIMIT: Duration = Duration::from_secs(10);
/// How often we describe ourselves to somebody who does not know us yet.
const DESCRIBE_UNTIL_KNOWN: Duration = Duration::from_secs(3);
/// How soon we repeat a description that changed.
const DESCRIBE_AGAIN: Duration = Duration::from_secs(2);
/// How often we describe ourselves to somebody who knows us.
const DESCRIBE_STEADILY: Duration = Duration::from_secs(10);
/// How often at least one of those who know us is told, in a large room.
const DESCRIBE_TO_EACH: Duration = Duration::from_millis(500);
/// Most who are named as known in one description: in a large room not everybody.
const MOST_KNOWN: usize = 16;
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
    /// How the server refused us last, since it was there last.
    refused: Option<ErrorCode>,
    effects: VecDeque<Effect>,
    links_started: u64,
    /// Counts descriptions of ourselves.
    told: usize,
    relay: Relay,
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
            refused: None,
            effects: VecDeque::new(),
            links_started: 0,
            told: 0,
            relay: Relay::new(),
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
        self.refused = None;
        self.learn_relay(welcome.relay, welcome.mesh_limit, welcome.topology);
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
            self.relay.hope_anew(now);
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
        if person.member().is_some_and(Member::flows) {
            // Either they lost the server, not us, or its word is all there is: who leaves says so
            // to everybody, and their media ends.
            person.seat = match on_purpose {
                true => Seat::Denied { since: now },
                false => Seat::Unlisted { until: now },
            };
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

    /// Takes in that the server refused to take us back.
    pub(super) fn handle_refused(&mut self, code: ErrorCode) {
        if self.in_the_room() && self.refused != Some(code) {
            self.refused = Some(code);
            self.effects.push_back(Effect::Refused(code));
        }
    }

    /// Takes in a message that opened and came beside the media of a link: from somebody we know.
    pub(super) fn handle_message_beside(
        &mut self,
        from: ParticipantId,
        message: PeerMessage,
        now: Instant,
    ) {
        let Some(person) = self.people.get_mut(&from) else {
            return;
        };
        if let Some(member) = person.member_mut()
            && !member.flows()
        {
            member.last_word = Some(now);
        }
        self.handle_message(from, message, now);
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
            let reached = self.reaches(*id);
            [
                reached.then_some(person.describe_at),
                person.lost_at(server),
                person.retry_at().filter(|_| reached),
                person.stranger_at(),
                self.hidden_at(*id, person),
            ]
        });
        let relay = self.relay_timeout();
        people.flatten().chain(full).chain(relay).min()
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

    /// Tells whether the server tells us what happens.
    pub(super) fn connected(&self) -> bool {
        self.server == ServerView::Connected
    }

    fn in_the_room(&self) -> bool {
        matches!(
            self.server,
            ServerView::Connected | ServerView::Unreachable { .. }
        )
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

fn next_link(started: &mut u64) -> LinkNumber {
    *started += 1;
    LinkNumber(*started)
}

/// Makes our own name one that others accept.
fn presentable(mut me: Me) -> Me {
    me.name = tidy_name(&me.name);
    me
}
