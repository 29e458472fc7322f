//! Which ways lead to somebody: the server, the link to them, or members who have links to both.

use nonstop_wire::ParticipantId;

use super::{Room, person::Member};
use crate::mesh::post::Ways;

/// How many are asked to pass an envelope on: the second, in case that the first cannot.
const MOST_THROUGH: usize = 2;

impl Room {
    /// Returns which ways lead to somebody, as far as is known.
    pub(in crate::mesh) fn ways(&self, to: ParticipantId) -> Ways {
        let Some(person) = self.people.get(&to) else {
            return Ways::default();
        };
        let server = person.at_server(self.server);
        let Some(member) = person.member() else {
            // Nobody vouches for them but the server.
            return Ways {
                server,
                ..Ways::default()
            };
        };
        let passes_on = |member: &Member| {
            let knows = |state: &nonstop_wire::ParticipantState| state.knows.contains(&to);
            member.beside && member.flows() && member.state.as_ref().is_some_and(knows)
        };
        let others = self.people.iter().filter(|(id, _)| **id != to);
        let through = others.filter(|(_, other)| other.member().is_some_and(passes_on));
        Ways {
            server,
            own: member.beside,
            flowing: member.flows(),
            through: through.map(|(id, _)| *id).take(MOST_THROUGH).collect(),
        }
    }

    /// Tells whether what we say to somebody can arrive.
    pub(super) fn reaches(&self, to: ParticipantId) -> bool {
        let person = self.people.get(&to);
        person.is_some_and(|person| person.at_server(self.server)) || self.ways(to).any()
    }
}
