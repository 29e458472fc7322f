//! Checks of the other side: proved, answered, and taken as a sign of a way that may work.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::Agent;
use crate::{
    Base, Candidate, CandidateKind, RelayProtocol,
    stun::{Class, Message, Role, Writer},
};

/// A pair is checked in answer to a request at most this often, whatever the other side sends.
const TRIGGERED: Duration = Duration::from_millis(20);

impl Agent {
    /// Takes a STUN packet that came in at `base`. Returns false if it is not for this agent, or
    /// not authentic.
    pub fn handle_stun(
        &mut self,
        now: Instant,
        base: Base,
        from: SocketAddr,
        packet: &[u8],
    ) -> bool {
        let Some(message) = Message::read(packet) else {
            return false;
        };
        match message.class {
            Class::Request => self.handle_request(now, base, from, &message),
            Class::Success | Class::Error => self.handle_response(now, base, from, &message),
        }
    }

    /// Takes a check of the other side (RFC 8445 section 7.3). It may come before the credentials
    /// of the other side: then it is answered, and checked back once they are there.
    fn handle_request(
        &mut self,
        now: Instant,
        base: Base,
        from: SocketAddr,
        message: &Message<'_>,
    ) -> bool {
        let Some((ours, theirs)) = message.username.and_then(|name| name.split_once(':')) else {
            return false;
        };
        // Two generations have the same name of ours for a moment if the other side starts anew.
        let mine = self.generations.iter().rev();
        let mut mine = mine.filter(|it| it.local.ufrag == ours);
        let is_theirs = |other: &super::generation::Other| other.credentials.ufrag == theirs;
        let Some(generation) = mine
            .clone()
            .find(|it| it.other.as_ref().is_some_and(is_theirs))
            .or_else(|| mine.next())
        else {
            return false;
        };
        if !message.is_authentic(&generation.local_key) {
            return false;
        }
        let key = generation.local_key.clone();
        let stranger = generation.other.as_ref().is_some_and(|it| !is_theirs(it));
        let number = generation.number;
        if !message.unknown.is_empty() {
            let answer = Writer::new(Class::Error, message.transaction)
                .error(420, "Unknown Attribute")
                .unknown(&message.unknown);
            self.transmit(base, from, answer.signed(&key).finish());
            return true;
        }
        if self.is_role_refused(message.role) {
            let answer = Writer::new(Class::Error, message.transaction).error(487, "Role Conflict");
            self.transmit(base, from, answer.signed(&key).finish());
            return true;
        }
        let answer = Writer::new(Class::Success, message.transaction).mapped(from);
        self.transmit(base, from, answer.signed(&key).finish());
        if !stranger && let Some(at) = self.pair_of_request(now, number, base, from, message) {
            self.pairs[at].heard = Some(now);
            self.tell_known(at);
            if message.use_candidate && !self.config.controlling {
                self.take_nomination(now, at, message);
            }
            self.trigger(now, at);
        }
        self.settle(now);
        true
    }

    /// Settles a conflict of roles (RFC 8445 section 7.3.1.1): returns whether the other side is
    /// to change its role; changes ours if not.
    fn is_role_refused(&mut self, role: Option<Role>) -> bool {
        let ours = self.config.tie_breaker;
        match (role, self.config.controlling) {
            (Some(Role::Controlling(theirs)), true) => {
                if ours >= theirs {
                    return true;
                }
                self.change_role();
            }
            (Some(Role::Controlled(theirs)), false) => {
                if ours < theirs {
                    return true;
                }
                self.change_role();
            }
            _ => {}
        }
        false
    }

    /// Returns the pair that a request came in on; from an unknown address it shows a
    /// peer-reflexive candidate (RFC 8445 section 7.3.1.3).
    fn pair_of_request(
        &mut self,
        now: Instant,
        number: u32,
        base: Base,
        from: SocketAddr,
        message: &Message<'_>,
    ) -> Option<usize> {
        let is_it = |it: &&super::Local| {
            it.base == base && it.candidate.address.is_ipv4() == from.is_ipv4()
        };
        self.locals.iter().find(is_it)?;
        let mut candidate = Candidate::new(CandidateKind::PeerReflexive, from, None, 0);
        if let Some(priority) = message.priority {
            candidate.priority = priority;
        }
        candidate.relay_protocol = match message.relayed {
            None => None,
            Some(2) => Some(RelayProtocol::Tcp),
            Some(3) => Some(RelayProtocol::Tls),
            Some(_) => Some(RelayProtocol::Udp),
        };
        let generation = self.generation_mut(number)?;
        generation.add_remote(candidate);
        generation.remotes.iter().find(|it| it.address == from)?;
        self.form_pair(now, number, base, from)
    }

    /// The other side, which chooses, chose this pair.
    fn take_nomination(&mut self, now: Instant, at: usize, message: &Message<'_>) {
        let (id, number) = (self.pairs[at].id, self.pairs[at].generation);
        let Some(generation) = self.generation_mut(number) else {
            return;
        };
        if !generation.take_nomination(message.nomination, message.transaction) {
            return;
        }
        generation.nominated = true;
        for pair in &mut self.pairs {
            pair.nominated = pair.id == id && !pair.works();
        }
        if self.pairs[at].works() && !self.is_selected(&self.pairs[at]) {
            self.select(now, Some(at));
        }
    }

    /// Checks a pair at once because the other side did (RFC 8445 section 7.3.1.4), unless it is
    /// known to work.
    fn trigger(&mut self, now: Instant, at: usize) {
        let pair = &mut self.pairs[at];
        let lately = |then: Instant| now.saturating_duration_since(then) < TRIGGERED;
        if pair.works() || pair.triggered.is_some_and(lately) {
            return;
        }
        if !pair.is_plausible() {
            pair.renew(now);
        }
        // Without their credentials nothing is sent: then it is the first in turn.
        pair.urgent = true;
        let known = self
            .generation(self.pairs[at].generation)
            .is_some_and(|it| it.other.is_some());
        if known {
            self.pairs[at].triggered = Some(now);
            self.send_check(now, at);
        }
    }
}
