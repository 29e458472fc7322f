//! Checks: when each pair is due, at what pace, and what an answer means.
//!
//! Pairs that work are checked on their own schedule. Those that do not are checked one at a time,
//! each way in turn, so that many addresses of one kind keep no relay waiting.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Agent,
    pair::{Check, Pair, State, TRYING},
};
use crate::{
    Base, CandidateKind, Event, RelayProtocol,
    stun::{Class, Message, Role, Writer},
};

/// The first checks of a generation follow each other after 5 ms, which is the least that RFC 8445
/// section 14.2 allows, the others after 50 ms.
const PACE_FIRST: Duration = Duration::from_millis(5);
const PACE: Duration = Duration::from_millis(50);
const FIRST: u32 = 20;

/// The selected path is checked this often while packets come in on it (RFC 7675 section 5.1 wants
/// 5 s) …
const SELECTED: Duration = Duration::from_secs(1);
/// … and this often while they do not and another path could take over.
const QUIET: Duration = Duration::from_millis(250);
const STANDBY: Duration = Duration::from_secs(2);
/// One that is being measured, or is about to be taken.
const MEASURED: Duration = Duration::from_millis(400);
/// The others: often enough for the shortest memory of routers that is common, 30 s.
const OTHERS: Duration = Duration::from_secs(15);
const SUSPECTED: Duration = Duration::from_millis(100);

/// Pairs that failed, while they would be an improvement.
const FAILED: Duration = Duration::from_secs(5);
/// All pairs while the selected one is silent and no other can take over.
const SILENT: Duration = Duration::from_millis(500);
/// All pairs while there is no path at all, in the first minute.
const NOWHERE: Duration = Duration::from_secs(1);

/// The type preference of peer-reflexive candidates (RFC 8445 section 7.1.1).
const REFLEXIVE_PREFERENCE: u32 = 110 << 24;

impl Agent {
    /// Sends the checks that are due.
    pub(super) fn check(&mut self, now: Instant) {
        for at in 0..self.pairs.len() {
            let pair = &self.pairs[at];
            if self.is_kept(pair) && self.due(pair).is_some_and(|due| due <= now) {
                self.send_check(now, at);
            }
        }
        if self.next_check.is_some_and(|next| next > now) {
            return;
        }
        if let Some(at) = self.next_paced(now) {
            self.last_way = self.pairs[at].way as usize;
            self.send_check(now, at);
            let pace = if self.current().checks < FIRST {
                PACE_FIRST
            } else {
                PACE
            };
            self.next_check = Some(now + pace);
        }
    }

    /// Whether a pair is checked on its own schedule, not in turn.
    fn is_kept(&self, pair: &Pair) -> bool {
        pair.works() || self.is_selected(pair)
    }

    pub(super) fn is_selected(&self, pair: &Pair) -> bool {
        self.selected.as_ref().is_some_and(|it| it.0 == pair.id)
    }

    fn is_standby(&self, pair: &Pair) -> bool {
        self.standby.as_ref().is_some_and(|it| it.0 == pair.id)
    }

    /// Returns the pair whose turn it is: the next way that has one due, and of that way the one
    /// tried least, then the one with the highest priority.
    fn next_paced(&self, now: Instant) -> Option<usize> {
        (1..=4).find_map(|step| {
            let way = (self.last_way + step) % 4;
            (0..self.pairs.len())
                .filter(|&at| {
                    let pair = &self.pairs[at];
                    pair.way as usize == way
                        && !self.is_kept(pair)
                        && self.due(pair).is_some_and(|due| due <= now)
                })
                .min_by_key(|&at| {
                    let pair = &self.pairs[at];
                    (
                        !pair.urgent,
                        pair.attempts,
                        std::cmp::Reverse(pair.priority),
                    )
                })
        })
    }

    /// Returns when a pair is to be checked next.
    fn due(&self, pair: &Pair) -> Option<Instant> {
        self.generation(pair.generation)?.other.as_ref()?;
        let current = pair.generation == self.current().number;
        if !current && !self.is_kept(pair) {
            return None;
        }
        let last = match pair.last_check {
            Some(last) if !pair.urgent => last,
            _ => return Some(pair.trying_since),
        };
        Some(if pair.works() {
            self.due_working(pair, last)
        } else {
            last + self.gap_failing(pair, last)
        })
    }

    fn due_working(&self, pair: &Pair, last: Instant) -> Instant {
        let selected = self.is_selected(pair);
        if self.suspect.is_some_and(|since| since <= last) && (selected || self.is_standby(pair)) {
            return last + SUSPECTED;
        }
        if pair.attempts > 0 {
            return last + pair.patience();
        }
        if selected {
            let another = self.standby.is_some() && !self.idle;
            let quiet = pair.heard.map_or(last, |heard| heard.max(last)) + QUIET;
            return if another {
                quiet.min(last + SELECTED)
            } else {
                last + SELECTED
            };
        }
        let better = self.selected().is_some_and(|path| pair.way < path.way);
        last + if better || pair.length().is_none() {
            MEASURED
        } else if self.is_standby(pair) && !self.idle {
            STANDBY
        } else {
            OTHERS
        }
    }

    fn gap_failing(&self, pair: &Pair, last: Instant) -> Duration {
        if self.is_selected(pair) {
            return if pair.attempts < 20 { QUIET } else { SILENT };
        }
        let trying = last.saturating_duration_since(pair.trying_since);
        let selected = self.selected_index().map(|at| &self.pairs[at]);
        match selected {
            Some(selected) if !selected.works() => pair.patience().min(SILENT),
            _ if trying < TRYING => pair.patience(),
            None if trying < TRYING * 6 => NOWHERE,
            None => FAILED,
            Some(selected) if pair.way < selected.way || self.standby.is_none() => FAILED,
            Some(_) => OTHERS,
        }
    }

    /// Returns when something is due next.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let checks = self.pairs.iter().filter_map(|pair| {
            let due = self.due(pair)?;
            Some(match self.next_check {
                Some(next) if !self.is_kept(pair) => due.max(next),
                _ => due,
            })
        });
        let ends = self.generations.iter().filter_map(|it| it.ends);
        checks
            .chain(ends)
            .chain(self.reconsider)
            .chain(self.next_watch(now))
            .min()
            // Never at once: what is due now was done.
            .map(|wake| wake.max(now + Duration::from_millis(1)))
    }

    /// Sends a check on a pair (RFC 8445 section 7.2.4).
    pub(super) fn send_check(&mut self, now: Instant, at: usize) {
        let transaction = self.transaction();
        let pair = &self.pairs[at];
        let Some(generation) = self.generation(pair.generation) else {
            return;
        };
        let Some(other) = &generation.other else {
            return;
        };
        let controlling = self.config.controlling;
        let nomination = pair.nominating.filter(|_| controlling);
        let local = super::pairing::local_of(&self.locals, pair);
        let preference = local.map_or(0, |it| it.priority & 0x00ff_ffff);
        let mut request = Writer::new(Class::Request, transaction)
            .username(&generation.local.ufrag, &other.credentials.ufrag)
            .priority(REFLEXIVE_PREFERENCE | preference);
        request = if controlling {
            request.role(Role::Controlling(self.config.tie_breaker))
        } else {
            request.role(Role::Controlled(self.config.tie_breaker))
        };
        if let Some(number) = nomination {
            request = request.use_candidate();
            if other.renomination {
                request = request.nomination(number);
            }
        }
        if let Some(local) = local.filter(|it| it.kind == CandidateKind::Relayed) {
            request = request.relayed(match local.relay_protocol {
                None | Some(RelayProtocol::Udp) => 1,
                Some(RelayProtocol::Tcp) => 2,
                Some(RelayProtocol::Tls) => 3,
            });
        }
        let packet = request.signed(&other.key).finish();
        tracing::trace!(base = ?pair.base, to = %pair.remote, ?nomination, "check");
        let (base, to, number) = (pair.base, pair.remote, pair.generation);
        self.pairs[at].record(Check {
            transaction,
            sent: now,
            controlling,
            nomination,
        });
        if let Some(generation) = self.generation_mut(number) {
            generation.started.get_or_insert(now);
            generation.checks = generation.checks.saturating_add(1);
        }
        self.transmit(base, to, packet);
    }

    /// Takes the answer to a check (RFC 8445 section 7.2.5).
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        base: Base,
        from: SocketAddr,
        message: &Message<'_>,
    ) -> bool {
        let asked = |pair: &Pair| pair.base == base && pair.has_check(message.transaction);
        let Some(at) = self.pairs.iter().position(asked) else {
            return false;
        };
        let other = self
            .generation(self.pairs[at].generation)
            .and_then(|it| it.other.as_ref());
        if !other.is_some_and(|other| message.is_authentic(&other.key)) {
            return false;
        }
        // From elsewhere it shows no way that can be used both ways (section 7.2.5.2.1).
        if self.pairs[at].remote != from {
            return true;
        }
        let Some(check) = self.pairs[at].take_check(message.transaction) else {
            return false;
        };
        match message.class {
            Class::Success => self.succeed(now, at, check),
            Class::Error if message.error_code == Some(487) => {
                // Section 7.2.5.1. Unless we have changed the role already.
                if check.controlling == self.config.controlling {
                    self.change_role();
                }
                self.pairs[at].urgent = true;
            }
            _ => tracing::debug!(code = message.error_code, "a check was refused"),
        }
        self.settle(now);
        true
    }

    fn succeed(&mut self, now: Instant, at: usize, check: Check) {
        let pair = &mut self.pairs[at];
        if pair.state != State::Succeeded {
            tracing::debug!(base = ?pair.base, remote = %pair.remote, way = %pair.way, "a pair works");
        }
        pair.answer(now, check);
        let nominated = std::mem::take(&mut pair.nominated);
        self.tell_known(at);
        if nominated && !self.config.controlling {
            self.select(now, Some(at));
        }
        if self.is_selected(&self.pairs[at]) {
            self.tell_selected(Some(at));
        }
    }

    /// Takes the other role, with another tie breaker.
    pub(super) fn change_role(&mut self) {
        let controlling = !self.config.controlling;
        tracing::debug!(controlling, "both sides had the same role");
        self.config.tie_breaker = (self.config.random)() as u64;
        for pair in &mut self.pairs {
            pair.nominating = None;
            pair.nominated = false;
        }
        self.set_controlling(controlling);
        if controlling && let Some(at) = self.selected_index() {
            self.nominate(at);
        }
    }

    /// Packets that come this way belong to the link.
    pub(super) fn tell_known(&mut self, at: usize) {
        let pair = &mut self.pairs[at];
        if !std::mem::replace(&mut pair.known, true) {
            let (base, from) = (pair.base, pair.remote);
            self.events.push_back(Event::Known { base, from });
        }
    }
}
