//! Who offers when: perfect negotiation (W3C WebRTC section 10.7) as a pure machine.
//!
//! ```text
//!            start, restart                      answer
//! Stable ─────────────────────▶ Offered ─────────────────────▶ Stable
//!    ▲ │ offer: accept             │ offer, polite: roll back and accept ──▶ Stable
//!    └─┘                           │ offer, impolite: ignore
//!                                  └ no answer for a while: send again
//! ```
//!
//! Whoever carries the messages may lose, repeat or reorder them: an offer is repeated until
//! it is answered, a repeated offer is answered with the same answer, repeated descriptions
//! bring the candidates they list, and early candidates wait for their description.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long an offer waits for its answer before it is sent again.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many candidates may wait for a description; more are dropped, since repeated
/// descriptions list them anyway.
const MOST_EARLY: usize = 64;

/// An ICE candidate as it travels (RFC 8838).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The candidate line.
    pub(crate) line: String,
    /// The media section's identification.
    pub(crate) mid: Option<String>,
    /// The media section's index.
    pub(crate) index: Option<u16>,
    /// The ICE user name fragment it belongs to.
    pub(crate) ufrag: Option<String>,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Create an offer, apply it here and send it.
    Offer {
        /// With new ICE credentials.
        restart: bool,
    },
    /// Send the local description again, with the candidates found so far.
    SendAgain,
    /// Take the own offer back.
    Rollback,
    /// Apply this offer, and create, apply and send the answer.
    Accept(String),
    /// Apply this answer.
    Apply(String),
    /// Add the other side's candidate.
    Add(Candidate),
    /// The other side has a new certificate, so a new connection: only a new one here helps.
    /// It begins with this offer, or with an offer of ours.
    Renew(Option<String>),
}

impl Action {
    /// Returns what it is, without the description: for logs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Offer { restart: false } => "offer",
            Self::Offer { restart: true } => "offer a restart",
            Self::SendAgain => "send again",
            Self::Rollback => "roll back",
            Self::Accept(_) => "accept",
            Self::Apply(_) => "apply",
            Self::Add(_) => "add a candidate",
            Self::Renew(_) => "renew",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Stable,
    Offered { restart: bool, send_again: Instant },
}

/// The machine. See the module for its states.
#[derive(Debug)]
pub(crate) struct Negotiation {
    polite: bool,
    state: State,
    /// The other side's description that is in force.
    remote: Option<Remote>,
    early: VecDeque<Candidate>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Remote {
    /// Session and credentials: the same for a repeated description.
    identity: String,
    ufrag: String,
    fingerprint: String,
    is_offer: bool,
}

impl Negotiation {
    /// Makes a machine; of two, exactly one is polite and gives way.
    pub(crate) fn new(polite: bool) -> Self {
        Self {
            polite,
            state: State::Stable,
            remote: None,
            early: VecDeque::new(),
        }
    }

    /// Makes the first offer.
    pub(crate) fn start(&mut self, now: Instant) -> Vec<Action> {
        self.offer(now, false)
    }

    /// Offers new ICE credentials, unless an offer is on its way already.
    pub(crate) fn restart(&mut self, now: Instant) -> Vec<Action> {
        match self.state {
            State::Stable => {
                let restart = self.remote.is_some();
                self.offer(now, restart)
            }
            State::Offered { .. } => Vec::new(),
        }
    }

    /// Takes in an offer.
    pub(crate) fn handle_offer(&mut self, sdp: String, now: Instant) -> Vec<Action> {
        let remote = Remote::from_sdp(&sdp, true);
        if self.has_other_certificate(&remote) {
            return vec![Action::Renew(Some(sdp))];
        }
        if self.remote.as_ref() == Some(&remote) && self.state == State::Stable {
            return std::iter::once(Action::SendAgain)
                .chain(listed_candidates(&sdp))
                .collect();
        }
        let mut actions = Vec::new();
        let mut wanted_restart = false;
        if let State::Offered { restart, .. } = self.state {
            if !self.polite {
                return actions;
            }
            actions.push(Action::Rollback);
            wanted_restart = restart;
        }
        let restarts = self
            .remote
            .as_ref()
            .is_none_or(|old| old.ufrag != remote.ufrag);
        self.state = State::Stable;
        self.remote = Some(remote);
        actions.push(Action::Accept(sdp));
        actions.extend(self.early.drain(..).map(Action::Add));
        if wanted_restart && !restarts {
            actions.extend(self.offer(now, true));
        }
        actions
    }

    /// Takes in an answer; one that nobody asked for only brings its candidates.
    pub(crate) fn handle_answer(&mut self, sdp: String) -> Vec<Action> {
        let remote = Remote::from_sdp(&sdp, false);
        if self.has_other_certificate(&remote) {
            return vec![Action::Renew(None)];
        }
        if self.state == State::Stable {
            let known = self.remote.as_ref() == Some(&remote);
            return if known {
                listed_candidates(&sdp).collect()
            } else {
                Vec::new()
            };
        }
        self.state = State::Stable;
        self.remote = Some(remote);
        std::iter::once(Action::Apply(sdp))
            .chain(self.early.drain(..).map(Action::Add))
            .collect()
    }

    /// Takes in a candidate.
    pub(crate) fn handle_candidate(&mut self, candidate: Candidate) -> Vec<Action> {
        let fits = self.remote.as_ref().is_some_and(|remote| {
            candidate
                .ufrag
                .as_ref()
                .is_none_or(|ufrag| *ufrag == remote.ufrag)
        });
        if fits {
            return vec![Action::Add(candidate)];
        }
        if self.early.len() == MOST_EARLY {
            self.early.pop_front();
        }
        self.early.push_back(candidate);
        Vec::new()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Stable => None,
            State::Offered { send_again, .. } => Some(send_again),
        }
    }

    /// Sends the offer again where its answer is overdue.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Offered { send_again, .. } if *send_again <= now => {
                *send_again = now + PATIENCE;
                vec![Action::SendAgain]
            }
            _ => Vec::new(),
        }
    }

    fn offer(&mut self, now: Instant, restart: bool) -> Vec<Action> {
        let send_again = now + PATIENCE;
        self.state = State::Offered {
            restart,
            send_again,
        };
        vec![Action::Offer { restart }]
    }

    fn has_other_certificate(&self, new: &Remote) -> bool {
        (self.remote.as_ref()).is_some_and(|old| old.fingerprint != new.fingerprint)
    }
}

impl Remote {
    fn from_sdp(sdp: &str, is_offer: bool) -> Self {
        let first = |prefix: &str| {
            sdp.lines()
                .find_map(|line| line.trim_end().strip_prefix(prefix))
                .unwrap_or_default()
        };
        let ufrag = first("a=ice-ufrag:").to_owned();
        Self {
            identity: format!("{} {ufrag}", first("o=")),
            ufrag,
            fingerprint: first("a=fingerprint:").to_ascii_lowercase(),
            is_offer,
        }
    }
}

/// Returns the candidates that a description lists. All media is bundled in its first section.
fn listed_candidates(sdp: &str) -> impl Iterator<Item = Action> {
    sdp.lines()
        .filter_map(|line| line.trim_end().strip_prefix("a="))
        .filter(|line| line.starts_with("candidate:"))
        .take(MOST_EARLY)
        .map(|line| {
            Action::Add(Candidate {
                line: line.to_owned(),
                index: Some(0),
                ..Candidate::default()
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn sdp(session: &str, ufrag: &str, certificate: &str) -> String {
        format!(
            "v=0\r\no=- {session} 2 IN IP4 0.0.0.0\r\na=fingerprint:sha-256 {certificate}\r\n\
             a=ice-ufrag:{ufrag}\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
        )
    }

    fn candidate(ufrag: &str) -> Candidate {
        Candidate {
            line: "candidate:1".to_owned(),
            ufrag: Some(ufrag.to_owned()),
            ..Candidate::default()
        }
    }

    #[test]
    fn of_two_offers_that_cross_the_polite_side_takes_its_own_back() {
        let now = clock::now();
        let (mut polite, mut other) = (Negotiation::new(true), Negotiation::new(false));
        polite.start(now);
        other.start(now);
        assert_eq!(other.handle_offer(sdp("1", "p", "AA"), now), []);
        let theirs = sdp("2", "o", "BB");
        assert_eq!(
            polite.handle_offer(theirs.clone(), now),
            [Action::Rollback, Action::Accept(theirs)]
        );
        let answer = sdp("1", "p", "AA");
        assert_eq!(other.handle_answer(answer.clone()), [Action::Apply(answer)]);
        assert_eq!((polite.poll_timeout(), other.poll_timeout()), (None, None));
    }

    #[test]
    fn an_unanswered_offer_is_sent_again_and_answered_again_with_the_same() {
        let now = clock::now();
        let (mut offerer, mut answerer) = (Negotiation::new(false), Negotiation::new(true));
        offerer.start(now);
        let due = offerer.poll_timeout().expect("an answer is awaited");
        assert_eq!(offerer.handle_timeout(now), []);
        assert_eq!(offerer.handle_timeout(due), [Action::SendAgain]);
        let offer = sdp("1", "o", "AA");
        assert_eq!(
            answerer.handle_offer(offer.clone(), now),
            [Action::Accept(offer.clone())]
        );
        let again = answerer.handle_offer(offer, now);
        assert_eq!(again[0], Action::SendAgain);
        assert!(matches!(again[1], Action::Add(_)));
    }

    #[test]
    fn candidates_wait_for_the_description_they_belong_to() {
        let now = clock::now();
        let mut machine = Negotiation::new(true);
        for _ in 0..100 {
            assert_eq!(machine.handle_candidate(candidate("o")), []);
        }
        let actions = machine.handle_offer(sdp("1", "o", "AA"), now);
        assert_eq!(actions.len(), 1 + MOST_EARLY);
        assert_eq!(machine.handle_candidate(candidate("o")).len(), 1);
        // Those of a restart that is still to come wait again.
        assert_eq!(machine.handle_candidate(candidate("new")), []);
        assert_eq!(machine.handle_offer(sdp("1", "new", "AA"), now).len(), 2);
    }

    #[test]
    fn a_restart_taken_back_for_an_offer_that_is_none_is_made_again() {
        let now = clock::now();
        let mut machine = Negotiation::new(true);
        machine.handle_offer(sdp("1", "o", "AA"), now);
        assert_eq!(machine.restart(now), [Action::Offer { restart: true }]);
        assert_eq!(machine.restart(now), []);
        let actions = machine.handle_offer(sdp("2", "o", "AA"), now);
        assert_eq!(actions.last(), Some(&Action::Offer { restart: true }));
        machine.handle_answer(sdp("3", "o2", "AA"));
        machine.restart(now);
        let actions = machine.handle_offer(sdp("4", "o3", "AA"), now);
        assert!(matches!(actions.last(), Some(Action::Accept(_))));
    }

    #[test]
    fn an_answer_nobody_asked_for_is_not_applied() {
        let mut machine = Negotiation::new(true);
        assert_eq!(machine.handle_answer(sdp("1", "o", "AA")), []);
    }

    #[test]
    fn another_certificate_means_another_connection() {
        let now = clock::now();
        let mut machine = Negotiation::new(true);
        machine.handle_offer(sdp("1", "o", "AA"), now);
        let offer = sdp("9", "x", "CC");
        assert_eq!(
            machine.handle_offer(offer.clone(), now),
            [Action::Renew(Some(offer))]
        );
        machine.restart(now);
        assert_eq!(
            machine.handle_answer(sdp("9", "x", "CC")),
            [Action::Renew(None)]
        );
    }
}
