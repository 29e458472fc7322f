//! Meeting somebody: from a name in the server's list to a member with a link, and what a
//! member's messages change.

use std::time::Instant;

use nonstop_wire::{
    DescriptionKind, MAX_PARTICIPANTS, ParticipantId, ParticipantState, PeerMessage, Topology,
};

use super::{
    DESCRIBE_UNTIL_KNOWN, Effect, MAX_FORMER, PROOF_LIMIT, Room, ServerView, next_link,
    person::{LinkState, Member, Person, Seat, Standing, session_of},
};
use crate::mesh::Suspicion;

impl Room {
    /// Takes part if those who are here leave room for one more in a mesh, or there is a relay.
    pub(super) fn enter_unless_full(&mut self, now: Instant) {
        let ServerView::Full { limit, .. } = self.server else {
            return;
        };
        let here = self
            .people
            .values()
            .filter(|person| person.seat == Seat::Present);
        let others = here.count();
        if others >= limit.max(1) && others > 0 && !self.relay.offered() {
            return;
        }
        self.server = ServerView::Connected;
        for person in self.people.values_mut() {
            person.since = now;
        }
        self.effects.push_back(Effect::Joined { others });
    }

    /// Adds somebody whom the server told of, unless known.
    pub(super) fn admit(&mut self, id: ParticipantId, initiator: bool, now: Instant) {
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
    pub(super) fn prove(&mut self, id: ParticipantId, now: Instant) -> bool {
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
        let mesh = self.topology() == Topology::Mesh;
        let person = self
            .people
            .get_mut(&id)
            .expect("was there or was just added");
        if person.member().is_none() {
            // Whoever was lost and is here again was not told that our links began anew.
            let initiator = std::mem::replace(&mut person.initiator, true);
            let since = person.since;
            let link = match mesh {
                true => LinkState::Running(next_link(&mut self.links_started)),
                false => LinkState::Unneeded,
            };
            person.standing = Standing::Member(Box::new(Member::new(link, since, now)));
            self.effects.push_back(Effect::MemberJoined { id });
            if let LinkState::Running(number) = link {
                self.effects.push_back(Effect::StartLink {
                    id,
                    number,
                    initiator,
                });
            }
            self.tell_whom_we_know(id, now);
        }
        true
    }

    pub(super) fn take_state(
        &mut self,
        from: ParticipantId,
        state: ParticipantState,
        now: Instant,
    ) {
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
    pub(super) fn take_signal(&mut self, from: ParticipantId, message: PeerMessage, now: Instant) {
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
                    member.beside = false;
                    member.link_path = None;
                    member.takes_relayed = false;
                    person.end_session();
                    self.tell_path(from, now);
                    let initiator = false;
                    self.effects.push_back(Effect::StartLink {
                        id: from,
                        number,
                        initiator,
                    });
                }
                DescriptionKind::Offer | DescriptionKind::Answer => {}
            }
            let person = self.people.get_mut(&from);
            if let Some(member) = person.and_then(Person::member_mut) {
                member.session = Some(session);
            }
        }
        self.effects.push_back(Effect::Signal { id: from, message });
    }
}

/// Tells whether two descriptions differ in nothing that a person sees.
fn same_to_a_person(one: &ParticipantState, other: &ParticipantState) -> bool {
    (&one.name, one.microphone, one.camera) == (&other.name, other.microphone, other.camera)
}
