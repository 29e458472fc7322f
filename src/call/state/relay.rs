//! What the relay changes: who speaks in a call that goes through it, how media is protected there,
//! and whether this network has a way to it.

use std::time::{Duration, Instant};

use nonstop_wire::{ParticipantId, Topology};

use super::{Call, State};
use crate::call::{Happening, NoticeKind, Protection, words};

/// How much earlier somebody counts as having spoken than who stands ahead of them in the same
/// list: enough to keep the order.
const STEP: Duration = Duration::from_millis(1);

impl Call {
    /// Returns the weakest protection of any sound or picture in the call.
    pub(super) fn protection(&self) -> Protection {
        let relayed = self.topology == Topology::Relay
            || self.sent_through_relay
            || (self.people.iter()).any(|person| person.protection() == Protection::ToTheServer);
        match relayed {
            true => Protection::ToTheServer,
            false => Protection::EndToEnd,
        }
    }
}

impl State {
    /// Takes who spoke last through the relay, the newest first.
    pub(super) fn speakers(&mut self, speakers: Vec<ParticipantId>, now: Instant) {
        let Some(call) = self.call_mut() else {
            return;
        };
        for (place, id) in speakers.iter().enumerate() {
            let before = call.speakers.iter().position(|other| other == id);
            // Who stands further ahead than before has spoken since.
            let rose = before.is_none_or(|before| place < before);
            if rose && let Some(person) = call.people.iter_mut().find(|p| p.id() == *id) {
                let after_them = STEP * place as u32;
                person.spoke(now.checked_sub(after_them).unwrap_or(now));
            }
        }
        call.speakers = speakers;
    }

    /// Takes how the media of the call travels.
    pub(super) fn topology(&mut self, topology: Topology) {
        let Some(call) = self.call_mut() else {
            return;
        };
        if std::mem::replace(&mut call.topology, topology) != topology {
            self.happenings
                .push_back(Happening::TopologyChanged(topology));
        }
    }

    /// Takes whether our own media goes to somebody through the relay.
    pub(super) fn sent_through_relay(&mut self, sent: bool) {
        if let Some(call) = self.call_mut() {
            call.sent_through_relay = sent;
        }
    }

    /// Takes whether this network has no way to the relay.
    pub(super) fn relay_unreachable(&mut self, unreachable: bool) {
        match unreachable {
            true => self.say(words::relay_unreachable()),
            false => self.notices.clear(NoticeKind::Relay),
        }
    }
}
