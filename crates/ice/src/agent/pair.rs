//! One pair: a base of ours and an address of the other side, and what is known of the way
//! between them.
//!
//! ```text
//! Waiting ─ check ─▶ InProgress ─ answer ─▶ Succeeded ─ several checks unanswered ─▶ InProgress
//!                        └─ 10 s without an answer ─▶ Failed ─ answer ─▶ Succeeded
//! ```

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{Base, Candidate, Path, Way, stun::Transaction};

/// Answers to this many checks are waited for; the one before is given up.
const OUTSTANDING: usize = 8;
/// Of so many round trips the shortest is taken for the length of the path, free of queues.
const SAMPLES: usize = 8;
/// So long a pair that never answered is tried hard: routers on both sides have been opened by
/// then, whoever began.
pub(super) const TRYING: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    InProgress,
    Succeeded,
    Failed,
}

/// A check under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    pub(super) transaction: Transaction,
    pub(super) sent: Instant,
    /// Which role the request showed.
    pub(super) controlling: bool,
    /// Which nomination it carried.
    pub(super) nomination: Option<u32>,
}

/// The packets of media that come in on a pair.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) last: Option<Instant>,
    gap: Duration,
    window: Option<Instant>,
    count: u32,
    count_before: u32,
}

/// Counted over windows of this length; the last two together are about a second.
const WINDOW: Duration = Duration::from_millis(500);

impl Flow {
    pub(super) fn take(&mut self, now: Instant) {
        if let Some(last) = self.last {
            let gap = now.saturating_duration_since(last).min(WINDOW);
            self.gap = if self.gap.is_zero() {
                gap
            } else {
                self.gap * 7 / 8 + gap / 8
            };
        }
        self.last = Some(now);
        let age = self
            .window
            .map_or(WINDOW * 2, |start| now.saturating_duration_since(start));
        if age >= WINDOW {
            self.count_before = if age < WINDOW * 2 { self.count } else { 0 };
            self.count = 0;
            self.window = Some(now);
        }
        self.count = self.count.saturating_add(1);
    }

    /// Returns how long a silence after the last packet is out of the ordinary; `None` if there
    /// was no flow of packets.
    pub(super) fn patience(&self) -> Option<Duration> {
        (self.count + self.count_before > 5)
            .then(|| (self.gap * 2).clamp(Duration::from_millis(150), Duration::from_millis(600)))
    }

    /// Forgets the flow: the other side has fallen silent of its own will.
    pub(super) fn forget(&mut self) {
        self.count = 0;
        self.count_before = 0;
        self.gap = Duration::ZERO;
    }
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) id: u32,
    pub(super) generation: u32,
    pub(super) base: Base,
    pub(super) remote: SocketAddr,
    pub(super) way: Way,
    pub(super) priority: u64,
    pub(super) state: State,
    /// When it was made, or when its checks began anew.
    pub(super) trying_since: Instant,
    pub(super) last_check: Option<Instant>,
    /// Checks since the last answer, and when the first of them was sent.
    pub(super) attempts: u32,
    pub(super) unanswered_since: Option<Instant>,
    /// To be checked without regard to the schedule.
    pub(super) urgent: bool,
    pub(super) triggered: Option<Instant>,
    checks: VecDeque<Check>,
    pub(super) heard: Option<Instant>,
    pub(super) answered: Option<Instant>,
    /// Since when it answers without a lapse, and how often it has lapsed.
    pub(super) steady_since: Option<Instant>,
    lapses: u32,
    round_trip: Option<Duration>,
    smoothed: Option<Duration>,
    samples: VecDeque<Duration>,
    pub(super) flow: Flow,
    /// Whether the driver was told that packets from there belong to this link.
    pub(super) known: bool,
    /// The number of our nomination, until it is acknowledged.
    pub(super) nominating: Option<u32>,
    /// The other side nominated it before it had succeeded here.
    pub(super) nominated: bool,
}

impl Pair {
    pub(super) fn new(
        now: Instant,
        (id, generation): (u32, u32),
        base: Base,
        remote: SocketAddr,
    ) -> Self {
        Self {
            id,
            generation,
            base,
            remote,
            way: Way::Direct,
            priority: 0,
            state: State::Waiting,
            trying_since: now,
            last_check: None,
            attempts: 0,
            unanswered_since: None,
            urgent: false,
            triggered: None,
            checks: VecDeque::new(),
            heard: None,
            answered: None,
            steady_since: None,
            lapses: 0,
            round_trip: None,
            smoothed: None,
            samples: VecDeque::new(),
            flow: Flow::default(),
            known: false,
            nominating: None,
            nominated: false,
        }
    }

    /// Sets way and priority (RFC 8445 section 6.1.2.3) from both candidates.
    pub(super) fn weigh(&mut self, local: &Candidate, remote: &Candidate, controlling: bool) {
        self.way = Way::of_pair(local, remote);
        let (ours, theirs) = (u64::from(local.priority), u64::from(remote.priority));
        let (g, d) = if controlling {
            (ours, theirs)
        } else {
            (theirs, ours)
        };
        // Priorities end at 2^31 - 1, but the other side may say anything.
        self.priority = (g.min(d) << 32).saturating_add(2 * g.max(d) + u64::from(g > d));
    }

    pub(super) fn goes(&self, base: Base, remote: SocketAddr) -> bool {
        self.base == base && self.remote == remote
    }

    pub(super) fn path(&self) -> Path {
        Path {
            base: self.base,
            remote: self.remote,
            way: self.way,
            round_trip: self.round_trip,
        }
    }

    pub(super) fn works(&self) -> bool {
        self.state == State::Succeeded
    }

    /// Whether it works, as far as the last moment shows.
    pub(super) fn is_well(&self) -> bool {
        self.works() && self.attempts <= 1
    }

    /// A check was sent.
    pub(super) fn record(&mut self, check: Check) {
        if self.checks.len() == OUTSTANDING {
            self.checks.pop_front();
        }
        self.last_check = Some(check.sent);
        self.attempts = self.attempts.saturating_add(1);
        self.unanswered_since.get_or_insert(check.sent);
        self.urgent = false;
        if self.state == State::Waiting {
            self.state = State::InProgress;
            self.trying_since = check.sent;
        }
        self.checks.push_back(check);
    }

    pub(super) fn has_check(&self, transaction: Transaction) -> bool {
        self.checks
            .iter()
            .any(|check| check.transaction == transaction)
    }

    pub(super) fn take_check(&mut self, transaction: Transaction) -> Option<Check> {
        let at = self
            .checks
            .iter()
            .position(|check| check.transaction == transaction)?;
        self.checks.remove(at)
    }

    /// A check was answered.
    pub(super) fn answer(&mut self, now: Instant, check: Check) {
        let sample = now.saturating_duration_since(check.sent);
        self.round_trip = Some(sample);
        self.smoothed = Some(
            self.smoothed
                .map_or(sample, |before| before * 3 / 4 + sample / 4),
        );
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.attempts = 0;
        self.unanswered_since = None;
        self.answered = Some(now);
        self.heard = Some(now);
        if !self.works() {
            self.state = State::Succeeded;
            self.steady_since = Some(now);
        }
        if self.nominating.is_some() && check.nomination == self.nominating {
            self.nominating = None;
        }
    }

    pub(super) fn smoothed(&self) -> Duration {
        self.smoothed.unwrap_or(Duration::from_millis(100))
    }

    /// Returns the shortest of the last round trips, once there were four.
    pub(super) fn length(&self) -> Option<Duration> {
        let measured = self.samples.len() >= 4;
        measured.then(|| self.samples.iter().min().copied())?
    }

    /// Returns when a check that got no answer is repeated.
    pub(super) fn patience(&self) -> Duration {
        let millis = match self.attempts {
            0 | 1 => 100,
            2 => 200,
            _ if self.works() => 200,
            3 => 400,
            4 | 5 => 500,
            _ => 1000,
        };
        let schedule = Duration::from_millis(millis);
        if !self.works() {
            return schedule;
        }
        // Known to work: as soon as the answer is late.
        let late = self.smoothed() * 3 / 2 + Duration::from_millis(30);
        schedule.max(late).min(Duration::from_millis(500))
    }

    /// Returns since when nothing at all came from there, while a check is unanswered.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.unanswered_since
            .max(self.heard)
            .filter(|_| self.unanswered_since.is_some())
    }

    /// Returns whether the checks of a pair that worked go without an answer for so long that it
    /// works no more. Where something is heard, only our way to the other side can be broken, and
    /// loss looks much the same: a third of all packets lost makes twelve checks in a row fail once
    /// in an hour.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        let (Some(since), Some(silent_since)) = (self.unanswered_since, self.silent_since()) else {
            return false;
        };
        let lasted = |since: Instant, millis| {
            let least = Duration::from_millis(millis) + self.smoothed() * 2;
            now.saturating_duration_since(since) >= least
        };
        let silent = self.attempts >= 6 && lasted(silent_since, 600);
        let unheard = self.attempts >= 12 && lasted(since, 2000);
        self.works() && (silent || unheard)
    }

    /// It worked and no longer does.
    pub(super) fn lapse(&mut self, now: Instant) {
        self.state = State::InProgress;
        self.trying_since = now;
        self.steady_since = None;
        self.lapses = self.lapses.saturating_add(1);
    }

    /// Returns from when on it may be trusted again: at once if it never lapsed; else after 2 s
    /// of answers, and twice as long each time.
    pub(super) fn trusted_from(&self) -> Option<Instant> {
        let hold = match self.lapses {
            0 => Duration::ZERO,
            lapses => Duration::from_secs(2 << (lapses - 1).min(5)),
        };
        Some(self.steady_since? + hold)
    }

    /// Checks begin anew.
    pub(super) fn renew(&mut self, now: Instant) {
        self.urgent = true;
        self.attempts = 0;
        self.unanswered_since = None;
        self.trying_since = now;
        if self.state == State::Failed {
            self.state = State::InProgress;
        }
    }

    /// Whether an answer may still come although none did so far.
    pub(super) fn is_plausible(&self) -> bool {
        matches!(self.state, State::Waiting | State::InProgress)
    }
}
