//! `nonstop demo`: a real call on this computer, as separate processes, measured.
//!
//! ```text
//! demo ─┬─ nonstop-server ◀─ signalling ─┐
//!       ├─ nonstop call (test card, tone) ┤  media straight between them,
//!       ├─ nonstop call                   ┤  over loopback
//!       └─ nonstop call                   ┘
//!            └─ --stats FILE ─▶ follow ─▶ a line a second for each link ─▶ verdict
//! ```
//!
//! The time of the call counts from when every link is connected. Its beginning, while the rate
//! ramps up, is shown but not judged: five seconds, or a quarter of a call under 20 seconds.
//! A direction passes if it delivered at least 20 decoded pictures a second of 640x360 on average
//! (pictures of another size count for nothing), and if at most 1 % of its sound was lost, and at
//! most 1 % of what was played was made up to hide a loss.

mod children;
mod follow;
mod report;
mod verdict;

use std::{
    collections::{HashMap, HashSet},
    io,
    time::{Duration, Instant},
};

use nonstop_wire::ParticipantId;
use tokio::time::{MissedTickBehavior, interval};

use self::{
    children::{Participant, Processes},
    follow::{Event, Line, LinkFigures},
    report::Report,
    verdict::{Direction, Sample},
};
use crate::{call::MeetingError, clock, config::DemoArguments, stop};

/// How often the figures are read.
const READ_EVERY: Duration = Duration::from_millis(200);
/// How long everybody may take to connect to everybody.
const LONGEST_SETUP: Duration = Duration::from_secs(60);
/// The beginning that is not judged.
const RAMP: Duration = Duration::from_secs(5);

/// Why a demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A process could not be started.
    #[error("{what} could not be started: {error}")]
    Start {
        /// Which.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
    /// A process ended before its time.
    #[error("{0} ended before its time")]
    Ended(String),
    /// The figures could not be read.
    #[error("the figures could not be read: {0}")]
    Figures(#[from] io::Error),
    /// No meeting link could be made.
    #[error(transparent)]
    Meeting(#[from] MeetingError),
    /// The links were not there in time.
    #[error("only {there} of {expected} links were connected after {} s", LONGEST_SETUP.as_secs())]
    NotConnected {
        /// How many were.
        there: usize,
        /// How many there should have been, both ways counted.
        expected: usize,
    },
    /// The person ended it.
    #[error("ended before its time")]
    Interrupted,
    /// The call was not good enough.
    #[error("{0}")]
    TooSlow(String),
}

/// Holds the call and prints what it was like; must be called within a tokio runtime.
/// All processes that it starts end with it.
///
/// # Errors
/// Fails where the call could not be held, or was not good enough.
pub async fn run(arguments: DemoArguments) -> Result<(), DemoError> {
    let people = usize::from(arguments.people);
    let mut report = Report::new(arguments.json);
    let mut processes = Processes::start(people).await?;
    let end = stop::requested(false);
    tokio::pin!(end);
    let mut call = Call::new(people);
    let mut tick = interval(READ_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let begun = clock::now();
    let connected = loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = &mut end => return Err(DemoError::Interrupted),
        }
        processes.check()?;
        call.read(&mut processes.participants, &mut report)?;
        let now = clock::now();
        match call.connected_since {
            Some(since) if now >= since + arguments.duration => break since,
            None if now >= begun + LONGEST_SETUP => {
                let there = call.connected.len();
                let expected = call.links();
                return Err(DemoError::NotConnected { there, expected });
            }
            _ => {}
        }
    };
    processes.end().await;
    let ramp = RAMP.min(arguments.duration / 4);
    let directions = call.judge(connected + ramp);
    report.summary(&directions, arguments.duration - ramp);
    match verdict::complaint(&directions) {
        None => Ok(()),
        Some(complaint) => Err(DemoError::TooSlow(complaint)),
    }
}

/// What is known of the call.
#[derive(Debug)]
struct Call {
    people: usize,
    numbers: HashMap<ParticipantId, usize>,
    connected: HashSet<(usize, ParticipantId)>,
    connected_since: Option<Instant>,
    /// By who measured, and to whom the link goes.
    samples: HashMap<(usize, ParticipantId), Vec<Sample>>,
}

impl Call {
    fn new(people: usize) -> Self {
        Self {
            people,
            numbers: HashMap::new(),
            connected: HashSet::new(),
            connected_since: None,
            samples: HashMap::new(),
        }
    }

    /// Returns how many links there should be, both ways counted.
    fn links(&self) -> usize {
        self.people * (self.people - 1)
    }

    fn read(&mut self, from: &mut [Participant], report: &mut Report) -> Result<(), DemoError> {
        for (number, participant) in from.iter_mut().enumerate() {
            for line in participant.figures.read()? {
                match line {
                    Line::Event(event) => self.take_event(number, event),
                    Line::Link(figures) => self.take_figures(number, *figures, report),
                    Line::Other => {}
                }
            }
        }
        Ok(())
    }

    fn take_event(&mut self, number: usize, event: Event) {
        match event {
            Event::Joined { me } => {
                self.numbers.insert(me, number);
            }
            Event::LinkConnected { peer } => {
                self.connected.insert((number, peer));
                if self.connected.len() == self.links() {
                    self.connected_since.get_or_insert(clock::now());
                }
            }
            Event::Other => {}
        }
    }

    fn take_figures(&mut self, number: usize, figures: LinkFigures, report: &mut Report) {
        if self.connected_since.is_none() {
            return;
        }
        if let Some(&other) = self.numbers.get(&figures.peer) {
            report.link(number, other, &figures);
        }
        let samples = self.samples.entry((number, figures.peer)).or_default();
        samples.push(Sample {
            at: clock::now(),
            figures,
        });
    }

    /// Judges each direction by what was measured after `since`.
    fn judge(&self, since: Instant) -> Vec<Direction> {
        let ids: HashMap<usize, ParticipantId> = self
            .numbers
            .iter()
            .map(|(id, number)| (*number, *id))
            .collect();
        let measured = |at: usize, of: usize| -> Vec<&LinkFigures> {
            let samples = ids.get(&of).and_then(|id| self.samples.get(&(at, *id)));
            let samples = samples.into_iter().flatten();
            let judged = samples.filter(|sample| sample.at >= since);
            judged.map(|sample| &sample.figures).collect()
        };
        let pairs = (0..self.people).flat_map(|from| (0..self.people).map(move |to| (from, to)));
        pairs
            .filter(|(from, to)| from != to)
            .map(|(from, to)| Direction::judge(from, to, &measured(from, to), &measured(to, from)))
            .collect()
    }
}
