//! What routers make of our addresses: asked of STUN servers (RFC 8489), without credentials.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nonstop_ice::{
    Base, Candidate, CandidateKind,
    stun::{Transaction, binding_request, mapped_address},
    transaction_of,
};

/// The first wait for an answer; it doubles (RFC 8489 section 6.2.1 begins at 500 ms, but these
/// few packets may be repeated sooner, and somebody waits).
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// How often a question is asked.
const TRIES: u32 = 7;
/// How long nothing must come back over UDP before that is put down to the network: four tries.
const SILENT: Duration = Duration::from_millis(1_500);
/// Most questions at a time.
const MOST: usize = 64;

/// The questions under way.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    questions: HashMap<Transaction, Question>,
    /// When the first question was asked on the network as it is.
    since: Option<Instant>,
    /// Whether one was answered since.
    answered: bool,
}

#[derive(Debug)]
struct Question {
    base: Base,
    local: SocketAddr,
    preference: u16,
    server: SocketAddr,
    asked: u32,
    again: Instant,
}

impl Discovery {
    /// Asks `server` what became of `local` on the way to it.
    pub(super) fn ask(
        &mut self,
        base: Base,
        local: SocketAddr,
        preference: u16,
        server: SocketAddr,
        now: Instant,
    ) {
        let same_family = local.is_ipv4() == server.is_ipv4();
        if !same_family || local.ip().is_loopback() || self.questions.len() >= MOST {
            return;
        }
        let Some(random) = super::random() else {
            return;
        };
        let mut transaction = Transaction::default();
        transaction.copy_from_slice(&random.to_be_bytes()[..12]);
        let question = Question {
            base,
            local,
            preference,
            server,
            asked: 0,
            again: now,
        };
        self.questions.insert(transaction, question);
        self.since.get_or_insert(now);
    }

    /// Tells whether anything comes back over UDP; nothing while that is open, or was not tried.
    pub(super) fn udp_works(&self, now: Instant) -> Option<bool> {
        let since = self.since?;
        match self.answered {
            true => Some(true),
            false => (now.saturating_duration_since(since) >= SILENT).then_some(false),
        }
    }

    /// Forgets what was asked through a base.
    pub(super) fn forget(&mut self, base: Base) {
        self.questions.retain(|_, question| question.base != base);
        self.since = self.questions.values().map(|question| question.again).min();
        self.answered = false;
    }

    /// Reads an answer to one of the questions; returns the candidate it brings, unless no router
    /// changes anything.
    pub(super) fn handle_answer(
        &mut self,
        base: Base,
        from: SocketAddr,
        packet: &[u8],
    ) -> Option<Candidate> {
        let transaction = transaction_of(packet)?;
        let question = self.questions.get(&transaction)?;
        if (question.base, question.server) != (base, from) {
            return None;
        }
        let mapped = mapped_address(packet)?;
        self.answered = true;
        let question = self.questions.remove(&transaction)?;
        if mapped == question.local {
            return None;
        }
        let mut candidate = Candidate::new(
            CandidateKind::ServerReflexive,
            mapped,
            None,
            question.preference,
        );
        candidate.related = Some(super::untold(mapped));
        Some(candidate)
    }

    /// Returns when something is to be asked again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.questions.values().map(|question| question.again).min()
    }

    /// Returns what is to be sent now: through which base, to whom, and what.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<(Base, SocketAddr, Vec<u8>)> {
        self.questions
            .retain(|_, question| question.again > now || question.asked < TRIES);
        let mut sends = Vec::new();
        for (transaction, question) in &mut self.questions {
            if question.again <= now {
                question.again = now + FIRST_WAIT * 2_u32.pow(question.asked.min(5));
                question.asked += 1;
                let packet = binding_request(*transaction);
                sends.push((question.base, question.server, packet));
            }
        }
        sends
    }
}
