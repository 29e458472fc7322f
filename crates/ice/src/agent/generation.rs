//! What belongs to one generation: from one start of ICE to the next (RFC 8445 section 9).

use std::{collections::VecDeque, time::Instant};

use stun_types::message::IntegrityKey;

use crate::{
    Candidate, CandidateKind, Credentials,
    stun::{self, Transaction},
};

/// At most this many candidates of the other side in one generation.
pub(super) const REMOTES: usize = 32;
/// At most this many of them from addresses that nobody told.
pub(super) const REFLEXIVE: usize = 8;

/// The credentials of the other side.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) credentials: Credentials,
    pub(super) key: IntegrityKey,
    pub(super) renomination: bool,
}

pub(super) struct Generation {
    pub(super) number: u32,
    pub(super) local: Credentials,
    pub(super) local_key: IntegrityKey,
    pub(super) other: Option<Other>,
    /// The other side has started anew, and we have not yet followed with other credentials.
    pub(super) follows: bool,
    pub(super) remotes: Vec<Candidate>,
    /// When the first check was sent, and how many have been.
    pub(super) started: Option<Instant>,
    pub(super) checks: u32,
    /// The highest number of a nomination, ours or theirs.
    pub(super) nomination: u32,
    /// Whether the other side has nominated a pair.
    pub(super) nominated: bool,
    /// The last requests that nominated without a number, so that none counts twice.
    nominators: VecDeque<Transaction>,
    /// When it is forgotten, once a newer one has a path.
    pub(super) ends: Option<Instant>,
}

impl Generation {
    pub(super) fn new(number: u32, local: Credentials) -> Self {
        Self {
            number,
            local_key: stun::key_of(&local.password),
            local,
            other: None,
            follows: false,
            remotes: Vec::new(),
            started: None,
            checks: 0,
            nomination: 0,
            nominated: false,
            nominators: VecDeque::new(),
            ends: None,
        }
    }

    pub(super) fn set_local(&mut self, local: Credentials) {
        self.local_key = stun::key_of(&local.password);
        self.local = local;
        self.follows = false;
    }

    pub(super) fn set_other(&mut self, credentials: Credentials, renomination: bool) {
        self.other = Some(Other {
            key: stun::key_of(&credentials.password),
            credentials,
            renomination,
        });
    }

    /// Takes a candidate of the other side. Returns whether pairs must be weighed or made: not if
    /// it was known already or there are too many.
    pub(super) fn add_remote(&mut self, candidate: Candidate) -> bool {
        let reflexive = candidate.kind == CandidateKind::PeerReflexive;
        let known = self
            .remotes
            .iter_mut()
            .find(|known| known.address == candidate.address);
        if let Some(known) = known {
            // What was told outweighs what was guessed, and the first word the later ones.
            let better = known.kind == CandidateKind::PeerReflexive && !reflexive;
            if better {
                *known = candidate;
            }
            return better;
        }
        let is_reflexive = |known: &&Candidate| known.kind == CandidateKind::PeerReflexive;
        if self.remotes.len() >= REMOTES
            || (reflexive && self.remotes.iter().filter(is_reflexive).count() >= REFLEXIVE)
        {
            return false;
        }
        self.remotes.push(candidate);
        true
    }

    /// Returns whether a nomination by the other side is news: its number is higher than all
    /// before, or without a number its transaction is new.
    pub(super) fn take_nomination(
        &mut self,
        number: Option<u32>,
        transaction: Transaction,
    ) -> bool {
        if let Some(number) = number {
            let news = number > self.nomination;
            self.nomination = self.nomination.max(number);
            return news;
        }
        if self.nominators.contains(&transaction) {
            return false;
        }
        if self.nominators.len() == 16 {
            self.nominators.pop_front();
        }
        self.nominators.push_back(transaction);
        true
    }
}
