//! What participants tell of others: whoever is told of again and again, but never by the
//! server, is hidden by it.
//!
//! A single word is not enough: the server's own word may still be on its way, and a participant
//! that cannot reach the server repeats what was true before. So it takes a fresh word, sent at
//! least [`PATIENCE`] after the first.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nonstop_wire::ParticipantId;

/// How long the server has to tell what a participant told.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Whom others told of and the server did not.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    first_told: BTreeMap<ParticipantId, Instant>,
}

impl Hearsay {
    /// Takes in whom a participant tells of, out of those that are unknown to us, and returns
    /// who must be hidden.
    pub(super) fn handle_told(
        &mut self,
        unknown: impl Iterator<Item = ParticipantId>,
        now: Instant,
    ) -> Vec<ParticipantId> {
        let mut hidden = Vec::new();
        for id in unknown {
            // Bounded: whoever holds the secret could still tell of anybody.
            if self.first_told.len() >= nonstop_wire::MAX_PARTICIPANTS {
                break;
            }
            let first = *self.first_told.entry(id).or_insert(now);
            if now.saturating_duration_since(first) >= PATIENCE {
                hidden.push(id);
            }
        }
        hidden
    }

    /// Forgets somebody of whom the server told after all.
    pub(super) fn handle_known(&mut self, id: ParticipantId) {
        self.first_told.remove(&id);
    }

    /// Starts again: while we could not reach the server, it could not tell us anything.
    pub(super) fn clear(&mut self) {
        self.first_told.clear();
    }
}
