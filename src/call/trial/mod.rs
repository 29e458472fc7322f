//! The connection test as a person sees it: what was found, in plain words, as it comes in. Pure.
//!
//! ```text
//! TrialNews ─▶ Trial ─┬─▶ TrialView   the lobby: one sentence, then a short list
//!                     └─▶ TrialReport the command line's --json
//! ```

#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use nonstop_rate::Bitrate;
use serde::Serialize;

use crate::mesh::{Offers, Path, TrialNews};

/// The three ways through a relay, the best first.
const RELAYS: [Path; 3] = [Path::TurnUdp, Path::TurnTcp, Path::TurnTls];

/// What is shown of a connection test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialView {
    /// The meeting server's name or address; empty where there is none.
    pub host: String,
    /// Whether it goes on.
    pub running: bool,
    /// How it looks all in all.
    pub mark: Mark,
    /// That in one sentence, or two.
    pub summary: String,
    /// What was tried, one line each, in the order in which it is tried.
    pub steps: Vec<TrialStep>,
    /// What a figure means and what it does not.
    pub note: Option<&'static str>,
}

/// One line of a connection test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialStep {
    /// How it turned out.
    pub mark: Mark,
    /// What was tried.
    pub title: &'static str,
    /// What came of it.
    pub words: String,
}

/// How something turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Not known yet.
    Waiting,
    /// Works.
    Good,
    /// Works, with something to know about it.
    Fair,
    /// Does not work.
    Bad,
    /// Was not tried, for a reason.
    Skipped,
}

/// What a connection test found, for programs. What is not known is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrialReport {
    /// The meeting server.
    pub server: String,
    /// Whether calls are possible from here; not known where the server offers nothing to test with.
    pub works: Option<bool>,
    /// Milliseconds from the start to the server's welcome.
    pub server_ms: Option<u64>,
    /// Why it was not reached.
    pub server_error: Option<String>,
    /// Whether anything came back over UDP.
    pub udp: Option<bool>,
    /// Round trip of the first answer over UDP.
    pub udp_ms: Option<u64>,
    /// Each way through a relay.
    pub relays: Vec<RelayReport>,
    /// At least so much went through the best relay, up and down at the same time.
    pub rate_bps: Option<u64>,
    /// The way on which that was measured.
    pub rate_path: Option<String>,
    /// All of it in a sentence.
    pub summary: String,
}

/// One way through a relay, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelayReport {
    /// `turn-udp`, `turn-tcp` or `turn-tls`.
    pub path: String,
    /// Whether the meeting server offers it.
    pub offered: Option<bool>,
    /// Whether it can be used.
    pub works: Option<bool>,
    /// Round trip.
    pub round_trip_ms: Option<u64>,
    /// Why it cannot be used.
    pub error: Option<String>,
}

/// What was found so far.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    host: String,
    server: Option<Result<Duration, String>>,
    offers: Offers,
    udp: Option<Option<Duration>>,
    relays: Vec<(Path, Result<Duration, String>)>,
    rate: Option<(Path, Option<Bitrate>)>,
    over: bool,
    stopped: bool,
}

/// How much of a network lets packets through, all in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The server was not reached.
    NoServer,
    /// UDP and a relay over it.
    All,
    /// UDP, and a relay over something else only.
    RelayOver(Path),
    /// UDP, and no relay.
    NoRelay,
    /// No UDP, but a relay.
    OnlyThrough(Path),
    /// Neither.
    Nothing,
    /// The server offers nothing to try.
    NothingOffered,
}

impl Trial {
    /// Begins, with a server of this name.
    pub(crate) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            server: None,
            offers: Offers::default(),
            udp: None,
            relays: Vec::new(),
            rate: None,
            over: false,
            stopped: false,
        }
    }

    /// There is no server to test with.
    pub(crate) fn nowhere() -> Self {
        Self {
            over: true,
            ..Self::new("")
        }
    }

    /// Takes in what was found. What comes after the end does not count.
    pub(crate) fn handle(&mut self, news: TrialNews) {
        if self.over {
            return;
        }
        match news {
            TrialNews::Reached { after, offers } => {
                self.server = Some(Ok(after));
                self.offers = offers;
            }
            TrialNews::NotReached(why) => self.server = Some(Err(why)),
            TrialNews::Udp(answer) => self.udp = Some(answer),
            TrialNews::Relay { path, outcome } => {
                self.relays.retain(|(known, _)| *known != path);
                self.relays.push((path, outcome));
            }
            TrialNews::Rate { path, rate } => self.rate = Some((path, rate)),
            TrialNews::Over => self.over = true,
        }
    }

    /// Ends it where it is.
    pub(crate) fn stop(&mut self) {
        self.stopped = !self.over;
        self.over = true;
    }

    /// Tells whether it goes on.
    pub(crate) fn running(&self) -> bool {
        !self.over
    }

    /// Returns what is shown.
    pub(crate) fn view(&self) -> TrialView {
        TrialView {
            host: self.host.clone(),
            running: self.running(),
            mark: self.mark(),
            summary: self.summary(),
            steps: self.steps(),
            note: self
                .rate
                .filter(|(_, rate)| rate.is_some())
                .map(|_| words::RATE_NOTE),
        }
    }

    /// Returns what programs are told.
    pub(crate) fn report(&self) -> TrialReport {
        let millis = |time: Duration| time.as_millis() as u64;
        let reached = matches!(self.server, Some(Ok(_)));
        let relay = |path: Path| {
            let outcome = self.outcome(path);
            RelayReport {
                path: path.to_string(),
                offered: reached.then(|| self.offers.relay(path)),
                works: outcome.map(Result::is_ok),
                round_trip_ms: outcome
                    .and_then(|outcome| outcome.as_ref().ok().copied())
                    .map(millis),
                error: outcome.and_then(|outcome| outcome.as_ref().err().cloned()),
            }
        };
        let measured = self.rate.and_then(|(path, rate)| Some((path, rate?)));
        TrialReport {
            server: self.host.clone(),
            works: self.works(),
            server_ms: self
                .server
                .as_ref()
                .and_then(|server| server.as_ref().ok().copied())
                .map(millis),
            server_error: self
                .server
                .as_ref()
                .and_then(|server| server.as_ref().err().cloned()),
            udp: self.udp_works(),
            udp_ms: self.udp.flatten().map(millis),
            relays: RELAYS.map(relay).into(),
            rate_bps: measured.map(|(_, rate)| rate.bps()),
            rate_path: measured.map(|(path, _)| path.to_string()),
            summary: self.summary(),
        }
    }

    /// Tells whether calls are possible from here, where that is known.
    pub(crate) fn works(&self) -> Option<bool> {
        if self.running() || self.stopped {
            return None;
        }
        match self.verdict() {
            Verdict::NothingOffered => None,
            Verdict::NoServer | Verdict::Nothing => Some(false),
            Verdict::All | Verdict::RelayOver(_) | Verdict::NoRelay | Verdict::OnlyThrough(_) => {
                Some(true)
            }
        }
    }

    fn outcome(&self, path: Path) -> Option<&Result<Duration, String>> {
        let found = self.relays.iter().find(|(known, _)| *known == path);
        found.map(|(_, outcome)| outcome)
    }

    /// Returns the best relay that works.
    fn best(&self) -> Option<Path> {
        let works = |path: &Path| matches!(self.outcome(*path), Some(Ok(_)));
        RELAYS.into_iter().find(works)
    }

    /// Tells whether anything came back over UDP; nothing while that is open, or was not tried.
    fn udp_works(&self) -> Option<bool> {
        let relay = self.outcome(Path::TurnUdp).map(Result::is_ok);
        match (self.udp, relay) {
            (Some(Some(_)), _) | (_, Some(true)) => Some(true),
            (Some(None), _) => Some(false),
            (None, relay) => relay,
        }
    }

    fn verdict(&self) -> Verdict {
        if !matches!(self.server, Some(Ok(_))) {
            return Verdict::NoServer;
        }
        match (self.udp_works(), self.best()) {
            (Some(true), Some(Path::TurnUdp)) => Verdict::All,
            (Some(true), Some(path)) => Verdict::RelayOver(path),
            (Some(true), None) => Verdict::NoRelay,
            (_, Some(path)) => Verdict::OnlyThrough(path),
            (Some(false), None) => Verdict::Nothing,
            (None, None) if self.relays.is_empty() => Verdict::NothingOffered,
            (None, None) => Verdict::Nothing,
        }
    }

    fn mark(&self) -> Mark {
        if self.running() {
            return Mark::Waiting;
        }
        if self.stopped {
            return Mark::Skipped;
        }
        match self.verdict() {
            Verdict::All if self.narrow() => Mark::Fair,
            Verdict::All => Mark::Good,
            Verdict::RelayOver(_)
            | Verdict::NoRelay
            | Verdict::OnlyThrough(_)
            | Verdict::NothingOffered => Mark::Fair,
            Verdict::NoServer | Verdict::Nothing => Mark::Bad,
        }
    }

    fn narrow(&self) -> bool {
        let measured = self.rate.and_then(|(_, rate)| rate);
        measured.is_some_and(|rate| rate < words::SMALL_PICTURES)
    }
}
