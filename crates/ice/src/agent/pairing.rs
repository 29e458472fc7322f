//! From candidates to pairs: which there are, how they are weighed, and which go if there are too
//! many.

use std::{net::SocketAddr, time::Instant};

use super::{Agent, Local, generation::Generation, pair::Pair};
use crate::{Base, Candidate, CandidateKind};

/// At most this many pairs in one generation.
const PAIRS: usize = 64;
/// At most this many candidates for credentials that are not yet known.
const EARLY: usize = 32;

impl Agent {
    /// Puts a candidate of the other side where it belongs.
    pub(super) fn take_remote(&mut self, candidate: Candidate) {
        let belongs = |generation: &Generation| match (&candidate.ufrag, &generation.other) {
            (Some(ufrag), Some(other)) => other.credentials.ufrag == *ufrag,
            _ => true,
        };
        if candidate.address.port() == 0 || candidate.address.ip().is_unspecified() {
            return;
        }
        let current = self.current();
        let waits = current.other.is_none() && candidate.ufrag.is_some();
        if belongs(current) && !waits {
            self.current_mut().add_remote(candidate);
        } else if !self.early.contains(&candidate) {
            if self.early.len() == EARLY {
                self.early.remove(0);
            }
            self.early.push(candidate);
        }
    }

    /// Makes the pairs of the current generation that are not there yet.
    pub(super) fn form_pairs(&mut self, now: Instant) {
        let generation = self.current().number;
        for at in 0..self.locals.len() {
            for with in 0..self.current().remotes.len() {
                let base = self.locals[at].base;
                let remote = self.current().remotes[with].address;
                if may_pair(self.locals[at].candidate.address, remote) {
                    self.form_pair(now, generation, base, remote);
                }
            }
        }
    }

    /// Returns the index of the pair, made if it was not there and if there is room.
    pub(super) fn form_pair(
        &mut self,
        now: Instant,
        generation: u32,
        base: Base,
        remote: SocketAddr,
    ) -> Option<usize> {
        let is_it = |pair: &Pair| pair.generation == generation && pair.goes(base, remote);
        if let Some(at) = self.pairs.iter().position(is_it) {
            return Some(at);
        }
        let id = self.number();
        self.pairs
            .push(Pair::new(now, (id, generation), base, remote));
        self.weigh();
        self.make_room(generation);
        self.index_of(id)
    }

    /// Drops the least promising pair if there are too many: of the way that has most of them,
    /// the one with the lowest priority, but none that works.
    fn make_room(&mut self, generation: u32) {
        let counted = |way| {
            let alike = |it: &&Pair| it.generation == generation && it.way == way;
            self.pairs.iter().filter(alike).count()
        };
        let all = self.pairs.iter().filter(|it| it.generation == generation);
        if all.clone().count() <= PAIRS {
            return;
        }
        let least = all
            .filter(|pair| !pair.works() && Some(pair.id) != self.selected.as_ref().map(|it| it.0))
            .max_by_key(|pair| (counted(pair.way), std::cmp::Reverse(pair.priority)))
            .map(|pair| pair.id);
        // All of them work: then the newcomer goes.
        let least = least.or(self.pairs.last().map(|pair| pair.id));
        self.pairs.retain(|pair| Some(pair.id) != least);
    }

    /// Sets way and priority of all pairs from their candidates.
    pub(super) fn weigh(&mut self) {
        for pair in &mut self.pairs {
            let local = local_of(&self.locals, pair);
            let remote = self
                .generations
                .iter()
                .find(|it| it.number == pair.generation)
                .and_then(|it| it.remotes.iter().find(|it| it.address == pair.remote));
            if let (Some(local), Some(remote)) = (local, remote) {
                pair.weigh(local, remote, self.config.controlling);
            }
        }
        // What was taken for direct may turn out to be a relay's.
        if let Some(at) = self.selected_index() {
            self.tell_selected(Some(at));
        }
    }
}

/// Whether packets can get from one address to another: not from one version of IP to the other,
/// and not from a computer's own loopback to anywhere else.
fn may_pair(local: SocketAddr, remote: SocketAddr) -> bool {
    local.is_ipv4() == remote.is_ipv4() && local.ip().is_loopback() == remote.ip().is_loopback()
}

/// Returns the candidate that a pair sends from: what is nearest to the base.
pub(super) fn local_of<'a>(locals: &'a [Local], pair: &Pair) -> Option<&'a Candidate> {
    locals
        .iter()
        .filter(|it| it.base == pair.base)
        .map(|it| &it.candidate)
        .filter(|it| it.address.is_ipv4() == pair.remote.is_ipv4())
        .max_by_key(|it| (it.kind == CandidateKind::Host, it.priority))
}
