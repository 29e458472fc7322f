//! The words of the connection test: what works, what is in the way, what it means for a call.

use std::time::Duration;

use nonstop_rate::Bitrate;

use super::{Mark, RELAYS, Trial, TrialStep, Verdict};
use crate::mesh::Path;

/// Below this a picture is smaller than 640x360, or barely moves (as `quality` judges it): 280 kb/s
/// for it, and 60 beside it.
pub(super) const SMALL_PICTURES: Bitrate = Bitrate::from_kbps(340);
/// Below this pictures pause, and sound goes on (docs/architecture.md, rungs).
const NO_PICTURES: Bitrate = Bitrate::from_kbps(110);

/// What the measured rate means.
pub(super) const RATE_NOTE: &str = "Measured in a loop: what is sent to the relay comes back to this computer. So it is the slower of the two directions, and both may carry more: the test sends little.";

impl Trial {
    /// Returns the whole of it in a sentence or two.
    pub(super) fn summary(&self) -> String {
        if self.host.is_empty() {
            return "There is no meeting server to test with. Paste a meeting link, or choose a server in the settings."
                .to_owned();
        }
        if self.running() {
            return format!("Testing the way to {}…", self.host);
        }
        if self.stopped {
            return "The test was stopped; what was found until then stands here.".to_owned();
        }
        let Some(server) = &self.server else {
            return "The test found nothing out.".to_owned();
        };
        let host = &self.host;
        match self.verdict() {
            Verdict::NoServer => format!(
                "The meeting server {host} was not reached: {}. Check the address and your connection.",
                server.as_ref().err().map_or("it does not answer", String::as_str)
            ),
            Verdict::All => match self.rate {
                Some((_, Some(rate))) if rate < NO_PICTURES => format!(
                    "Everything works, but slowly: {}. Expect sound without pictures.",
                    at_least(rate)
                ),
                Some((_, Some(rate))) if rate < SMALL_PICTURES => format!(
                    "Everything works, but slowly: {}. Expect small pictures.",
                    at_least(rate)
                ),
                Some((_, Some(rate))) => format!("Works. {}.", sentence(&at_least(rate))),
                _ => "Works.".to_owned(),
            },
            Verdict::RelayOver(path) => format!(
                "Works. Where there is no direct way, calls go through {}; expect less quality there.",
                over(path)
            ),
            Verdict::NoRelay if self.offers.any_relay() => {
                "Direct calls work. Where there is no direct way there is none at all: the relay cannot be used from here."
                    .to_owned()
            }
            Verdict::NoRelay => {
                "Direct calls work. Where there is no direct way there is none at all: the meeting server offers no relay."
                    .to_owned()
            }
            Verdict::OnlyThrough(path) if self.udp_works() == Some(false) => format!(
                "UDP is blocked here. Calls go through {}; expect less quality.",
                over(path)
            ),
            Verdict::OnlyThrough(path) => {
                format!("Works through {}. Direct ways were not tested.", over(path))
            }
            Verdict::Nothing => format!("No way for calls from here. {}", self.what_would_help()),
            Verdict::NothingOffered => {
                "The meeting server was reached. It offers nothing to test the way of calls with: they work where a direct way exists, as in one network."
                    .to_owned()
            }
        }
    }

    /// Says what is in the way where neither UDP nor a relay works, and what would help.
    fn what_would_help(&self) -> &'static str {
        match (self.offers.relay(Path::TurnTls), self.offers.any_relay()) {
            (true, _) => {
                "This network lets nothing through that calls could use, not even TLS to the relay. Another network would help."
            }
            (false, true) => {
                "This network lets nothing but the web through, and the meeting server offers no relay over TLS."
            }
            (false, false) => "This network blocks UDP, and the meeting server offers no relay.",
        }
    }

    /// Returns one line for each thing that is tried.
    pub(super) fn steps(&self) -> Vec<TrialStep> {
        if self.host.is_empty() {
            return Vec::new();
        }
        let mut steps = vec![self.server_step()];
        if matches!(self.server, Some(Err(_))) {
            return steps;
        }
        steps.push(self.udp_step());
        steps.extend(RELAYS.map(|path| self.relay_step(path)));
        steps.push(self.rate_step());
        steps
    }

    fn server_step(&self) -> TrialStep {
        let title = "Meeting server";
        match &self.server {
            None => self.open(title),
            Some(Ok(after)) => step(Mark::Good, title, format!("reached in {}", millis(*after))),
            Some(Err(why)) => step(Mark::Bad, title, format!("not reached: {why}")),
        }
    }

    fn udp_step(&self) -> TrialStep {
        let title = "UDP";
        match self.udp {
            None if self.reached() && !self.offers.udp => not_offered(title),
            None => self.open(title),
            Some(Some(trip)) => step(Mark::Good, title, works(trip)),
            Some(None) if self.udp_works() == Some(true) => {
                step(Mark::Fair, title, "only to the relay".to_owned())
            }
            Some(None) => step(
                Mark::Bad,
                title,
                "blocked here: nothing comes back".to_owned(),
            ),
        }
    }

    fn relay_step(&self, path: Path) -> TrialStep {
        let title = match path {
            Path::TurnTcp => "Relay over TCP",
            Path::TurnTls => "Relay over TLS",
            _ => "Relay over UDP",
        };
        match self.outcome(path) {
            None if self.reached() && !self.offers.relay(path) => not_offered(title),
            None => self.open(title),
            Some(Ok(trip)) => step(Mark::Good, title, works(*trip)),
            Some(Err(why)) => step(Mark::Bad, title, why.clone()),
        }
    }

    fn rate_step(&self) -> TrialStep {
        let title = "Speed";
        let through = |path| format!("up and down, through {}", over(path));
        match self.rate {
            Some((path, Some(rate))) => {
                let mark = if rate < SMALL_PICTURES {
                    Mark::Fair
                } else {
                    Mark::Good
                };
                step(mark, title, format!("{} {}", at_least(rate), through(path)))
            }
            Some((path, None)) => {
                let words = format!("not measured: nothing came back through {}", over(path));
                step(Mark::Fair, title, words)
            }
            None if self.running() || self.stopped || self.best().is_some() => self.open(title),
            None => step(
                Mark::Skipped,
                title,
                "not measured: no relay can be used".to_owned(),
            ),
        }
    }

    fn reached(&self) -> bool {
        matches!(self.server, Some(Ok(_)))
    }

    /// Returns the line of what is not known: not yet, or not any more.
    fn open(&self, title: &'static str) -> TrialStep {
        match self.running() {
            true => step(Mark::Waiting, title, "trying…".to_owned()),
            false => step(Mark::Skipped, title, "not tried".to_owned()),
        }
    }
}

/// Returns how a relay is reached, in words.
fn over(path: Path) -> &'static str {
    match path {
        Path::TurnTcp => "a relay over TCP",
        Path::TurnTls => "a relay over TLS",
        _ => "a relay over UDP",
    }
}

fn step(mark: Mark, title: &'static str, words: String) -> TrialStep {
    TrialStep { mark, title, words }
}

fn not_offered(title: &'static str) -> TrialStep {
    step(
        Mark::Skipped,
        title,
        "not offered by the meeting server".to_owned(),
    )
}

fn works(trip: Duration) -> String {
    format!("works, {}", millis(trip))
}

fn millis(time: Duration) -> String {
    match time.as_millis() {
        0 => "less than 1 ms".to_owned(),
        millis => format!("{millis} ms"),
    }
}

/// Says a rate, rounded down: never more than was measured.
fn at_least(rate: Bitrate) -> String {
    match rate.bps() {
        bps @ 1_000_000.. => {
            let tenths = bps / 100_000;
            format!("at least {}.{} Mbit/s", tenths / 10, tenths % 10)
        }
        bps => format!("at least {} kbit/s", bps / 10_000 * 10),
    }
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
