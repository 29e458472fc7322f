//! The watch over the selected path: when it is dead, the standby takes over.
//!
//! ```text
//! sure ─ silent though packets flowed, or checks unanswered ─▶ suspect: check it and the others
//!   ▲                                                            │
//!   ├─ it is heard again ◀───────────────────────────────────────┤
//!   └─ select ◀─ another one is heard, and a round trip is over ─┘
//! ```
//!
//! Without another path nothing is told and nothing given up: the path may return. Only after 30 s
//! without an answer may nothing more be sent (RFC 7675).

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Agent,
    pair::{Pair, State, TRYING},
};
use crate::{Base, Event};

/// Consent to send ends so long after the last answer (RFC 7675 section 5.1).
const CONSENT: Duration = Duration::from_secs(30);
/// Media on another path is followed once so long none came on the selected one …
const FOLLOW_AFTER: Duration = Duration::from_millis(100);
/// … and so many packets came there: a single one may only be late.
const FOLLOW_PACKETS: u32 = 3;
/// A path just selected is not left for so long at least: the other side has yet to hear of it.
const FOLLOW_HOLD: Duration = Duration::from_millis(300);
/// So long at most a silent path is waited for while another one answers.
const DOUBT: Duration = Duration::from_millis(300);

impl Agent {
    /// A packet of the link that is not STUN arrived this way. Called for every one of them:
    /// allocates nothing.
    pub fn handle_data(&mut self, now: Instant, base: Base, from: SocketAddr) {
        let selected = self.selected_index();
        if let Some(at) = selected
            && self.pairs[at].goes(base, from)
        {
            let pair = &mut self.pairs[at];
            pair.flow.take(now);
            pair.heard = Some(now);
            self.foreign = None;
            if self.suspect.is_some() {
                self.settle(now);
            } else if self.standby.is_some()
                && let Some(patience) = self.pairs[at].flow.patience()
            {
                let look = now + patience;
                self.wake = Some(self.wake.map_or(look, |wake| wake.min(look)));
            }
            return;
        }
        let carrying = selected.map(|at| self.pairs[at].generation);
        let is_it = |it: &Pair| it.goes(base, from) && carrying.is_none_or(|c| c == it.generation);
        let Some(other) = self.pairs.iter().position(is_it) else {
            return;
        };
        let pair = &mut self.pairs[other];
        pair.flow.take(now);
        pair.heard = Some(now);
        let (id, works) = (pair.id, pair.works());
        let count = match self.foreign {
            Some((before, count)) if before == id => count.saturating_add(1),
            _ => 1,
        };
        self.foreign = Some((id, count));
        if self.suspect.is_some() {
            self.settle(now);
        } else if works && count >= FOLLOW_PACKETS && selected.is_some_and(|at| self.left(now, at))
        {
            tracing::debug!("the other side has left the path");
            self.leave(now, other);
            self.settle(now);
        }
    }

    /// Whether media comes in elsewhere because the other side left this path.
    fn left(&self, now: Instant, at: usize) -> bool {
        let pair = &self.pairs[at];
        let age = |then: Option<Instant>| then.map(|it| now.saturating_duration_since(it));
        let hold = FOLLOW_HOLD.max(pair.smoothed() * 2 + FOLLOW_AFTER);
        age(self.selected_since).is_none_or(|age| age >= hold)
            && age(pair.flow.last).is_none_or(|age| age >= FOLLOW_AFTER)
    }

    /// Leaves the selected path for another one, not to come back before it has proved itself.
    fn leave(&mut self, now: Instant, heir: usize) {
        if let Some(at) = self.selected_index()
            && self.pairs[at].works()
        {
            self.pairs[at].lapse(now);
        }
        self.select(now, Some(heir));
    }

    /// Looks after all pairs, and after the selected one above all.
    pub(super) fn watch(&mut self, now: Instant) {
        let selected = self.selected.as_ref().map(|it| it.0);
        for pair in &mut self.pairs {
            if pair.is_lost(now) {
                tracing::debug!(base = ?pair.base, remote = %pair.remote, "a pair answers no longer");
                pair.lapse(now);
            }
            let trying = now.saturating_duration_since(pair.trying_since);
            if pair.state == State::InProgress && trying >= TRYING && Some(pair.id) != selected {
                pair.state = State::Failed;
            }
        }
        let Some(at) = self.selected_index() else {
            self.end_suspicion();
            return;
        };
        let unanswered = self.pairs[at].unanswered_since;
        if unanswered.is_some_and(|since| now.saturating_duration_since(since) >= CONSENT) {
            tracing::debug!("no consent to send any longer");
            self.pairs[at].state = State::Failed;
            self.select(now, None);
            return;
        }
        match self.suspect {
            None if self.is_suspicious(now, at) => self.begin_suspicion(now, at),
            None => {}
            Some(since) => self.judge(now, at, since),
        }
    }

    fn is_suspicious(&self, now: Instant, at: usize) -> bool {
        self.heir(|_| true).is_some()
            && (!self.pairs[at].works() || self.suspicious_from(at).is_some_and(|from| from <= now))
    }

    /// Returns when silence on the selected pair becomes suspicious, if nothing more is heard.
    fn suspicious_from(&self, at: usize) -> Option<Instant> {
        let pair = &self.pairs[at];
        let flow = pair.flow.patience().zip(pair.heard);
        let flow = flow.map(|(patience, heard)| heard + patience);
        let unanswered = pair.silent_since().map(|since| {
            let patience = pair.smoothed() * 3 + Duration::from_millis(100);
            since + patience.max(Duration::from_millis(300))
        });
        flow.into_iter().chain(unanswered).min()
    }

    fn begin_suspicion(&mut self, now: Instant, at: usize) {
        tracing::debug!("the path is silent");
        self.suspect = Some(now);
        self.events.push_back(Event::Suspect(true));
        self.pairs[at].urgent = true;
        // The standby and, in case it died too, a few more.
        if let Some((standby, _)) = self.standby
            && let Some(standby) = self.index_of(standby)
        {
            self.pairs[standby].urgent = true;
        }
        for _ in 0..4 {
            if let Some(heir) = self.heir(|it| !it.urgent) {
                self.pairs[heir].urgent = true;
            }
        }
    }

    fn judge(&mut self, now: Instant, at: usize, since: Instant) {
        let pair = &self.pairs[at];
        // One that works is cleared by anything heard, one that does not only by an answer.
        let sign = if pair.works() {
            pair.heard
        } else {
            pair.answered
        };
        if sign > Some(since) {
            if pair.flow.last <= Some(since) {
                // It is only that nothing is said.
                self.pairs[at].flow.forget();
            }
            self.end_suspicion();
            return;
        }
        let Some(heir) = self.heir(|it| it.heard > Some(since)) else {
            if self.heir(|_| true).is_none() {
                self.end_suspicion();
            }
            return;
        };
        if self.doubt_until(at, since) <= now {
            tracing::debug!("the standby takes over");
            self.leave(now, heir);
        }
    }

    /// Returns until when an answer on the selected path may still come.
    fn doubt_until(&self, at: usize, since: Instant) -> Instant {
        let doubt = self.pairs[at].smoothed() * 6 / 5 + Duration::from_millis(20);
        since + doubt.min(DOUBT)
    }

    pub(super) fn end_suspicion(&mut self) {
        if self.suspect.take().is_some() {
            self.events.push_back(Event::Suspect(false));
        }
    }

    /// Returns when [`Self::watch`] has something to look at.
    pub(super) fn next_watch(&self, now: Instant) -> Option<Instant> {
        let at = self.selected_index()?;
        let consent = self.pairs[at].unanswered_since.map(|since| since + CONSENT);
        let look = match self.suspect {
            Some(since) => Some(self.doubt_until(at, since)),
            None if self.standby.is_some() => self.suspicious_from(at),
            None => None,
        };
        // What is past was looked at: then it waits for packets, not for time.
        let coming = |at: &Instant| *at > now;
        consent.into_iter().chain(look).filter(coming).min()
    }
}
