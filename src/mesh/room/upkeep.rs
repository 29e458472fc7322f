//! What follows from what is known, and from time passing: who is lost, who is a stranger, whose
//! link is due to be set up anew, who is to be told about us.

use std::time::Instant;

use nonstop_wire::{ParticipantId, ParticipantState, PeerMessage};

use super::{
    DESCRIBE_STEADILY, DESCRIBE_TO_EACH, DESCRIBE_UNTIL_KNOWN, Effect, Former, GATHER,
    MAX_SUSPICIONS, MOST_KNOWN, Room, ServerView, hearsay, next_link,
    person::{LinkState, Person, Seat, Standing},
};
use crate::mesh::Suspicion;

impl Room {
    /// Does everything that is due at `now`.
    pub(super) fn settle(&mut self, now: Instant) {
        let server = self.server;
        let due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        self.settle_relay(now);
        let ids: Vec<_> = self.people.keys().copied().collect();
        for id in ids {
            self.settle_carriage(id, now);
            let reached = self.reaches(id);
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
            } else if reached && due(person.retry_at()) {
                let number = next_link(&mut self.links_started);
                if let Some(member) = person.member_mut() {
                    member.link = LinkState::Running(number);
                    member.beside = false;
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

    /// Returns when it counts as hiding that the server never told of somebody, or denies them.
    pub(super) fn hidden_at(&self, id: ParticipantId, person: &Person) -> Option<Instant> {
        let (Seat::Untold { since } | Seat::Denied { since }) = person.seat else {
            return None;
        };
        let told = self.reported.contains(&Suspicion::Hidden(id).to_string());
        let listening = self.server == ServerView::Connected;
        (listening && !told && self.reported.len() < MAX_SUSPICIONS)
            .then(|| since + hearsay::PATIENCE)
    }

    fn describe_where_due(&mut self, now: Instant) {
        let due = self.people.iter();
        let due = due.filter(|(id, person)| now >= person.describe_at && self.reaches(**id));
        let due: Vec<_> = due.map(|(id, _)| *id).collect();
        if due.is_empty() {
            return;
        }
        let members = self
            .people
            .iter()
            .filter(|(_, person)| person.member().is_some());
        let knows: Vec<_> = members.map(|(id, _)| *id).collect();
        let me = self.me;
        let relay = self.relay.hoped(now);
        let steadily = DESCRIBE_STEADILY.max(DESCRIBE_TO_EACH * self.people.len() as u32);
        for to in due {
            let Some(person) = self.people.get_mut(&to) else {
                continue;
            };
            let state = person.member().and_then(|member| member.state.as_ref());
            let known = state.is_some_and(|state| state.knows.contains(&me));
            person.describe_at = now
                + if known {
                    steadily
                } else {
                    DESCRIBE_UNTIL_KNOWN
                };
            let message = PeerMessage::State(ParticipantState {
                name: self.shown.name.clone(),
                microphone: self.shown.microphone,
                camera: self.shown.camera,
                knows: known_to(&knows, to, self.told),
                relay,
            });
            self.told = self.told.wrapping_add(1);
            self.effects.push_back(Effect::Send { to, message });
        }
    }

    /// Tells everybody whom we know, because that has changed; in a large room only whom it concerns.
    pub(super) fn tell_whom_we_know(&mut self, whom: ParticipantId, now: Instant) {
        let many = self.people.len() > MOST_KNOWN;
        for (id, person) in &mut self.people {
            if many && *id != whom {
                continue;
            }
            person.describe_at = person.describe_at.min(now + GATHER);
        }
    }

    /// Gives a member up whom neither server nor media has a trace of.
    fn lose(&mut self, id: ParticipantId, now: Instant) {
        let seat = self.people.get(&id).map(|person| person.seat);
        if let Some(Seat::Denied { .. }) = seat {
            self.remove(id, false, Former::as_told(true), now);
        } else if let Some(Seat::Away { .. } | Seat::Present) = seat {
            // The server keeps their seat, so they may be back any moment.
            if let Some(person) = self.people.get_mut(&id) {
                person.end_session();
                person.standing = Standing::Unproven { deadline: None };
                person.since = now;
            }
            self.effects.push_back(Effect::StopLink { id });
            self.effects
                .push_back(Effect::MemberLeft { id, lost: true });
            self.tell_whom_we_know(id, now);
        } else {
            self.remove(id, true, Former::as_told(false), now);
        }
    }

    /// Takes somebody out of the room.
    pub(super) fn remove(
        &mut self,
        id: ParticipantId,
        lost: bool,
        mut former: Former,
        now: Instant,
    ) {
        let Some(mut person) = self.people.remove(&id) else {
            return;
        };
        person.end_session();
        if person.member().is_some() {
            former.sessions = person.past_sessions;
            self.former.insert(id, former);
            self.effects.push_back(Effect::StopLink { id });
            self.effects.push_back(Effect::MemberLeft { id, lost });
            self.tell_whom_we_know(id, now);
        }
    }

    /// Tells of a suspicion, each once.
    pub(super) fn suspect(&mut self, suspicion: Suspicion) {
        if self.reported.len() < MAX_SUSPICIONS && self.reported.insert(suspicion.to_string()) {
            self.effects.push_back(Effect::Suspect(suspicion));
        }
    }
}

/// Returns whom to name as known to somebody: everybody in a small room; in a large one the receiver,
/// and some of the others in turns.
fn known_to(members: &[ParticipantId], to: ParticipantId, turn: usize) -> Vec<ParticipantId> {
    if members.len() <= MOST_KNOWN {
        return members.to_vec();
    }
    let others = members.iter().cycle().skip(turn % members.len());
    let others = others.take(MOST_KNOWN - 1).copied();
    let receiver = members.iter().copied().filter(|id| *id == to);
    receiver.chain(others.filter(|id| *id != to)).collect()
}
