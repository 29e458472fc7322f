//! Links that change: lines of `time_s,direction,key=value key=value`.

use std::{error::Error, fmt, time::Duration};

use crate::{SettingError, Settings};

/// Which of the two links of a connection is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From A to B.
    Up,
    /// From B to A.
    Down,
    /// Both alike.
    Both,
}

impl Direction {
    /// Reads its word: `up`, `down` or `both`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "up" | "ab" => Some(Self::Up),
            "down" | "ba" => Some(Self::Down),
            "both" => Some(Self::Both),
            _ => None,
        }
    }

    /// Tells whether the link from A to B is meant.
    pub const fn up(self) -> bool {
        matches!(self, Self::Up | Self::Both)
    }

    /// Tells whether the link from B to A is meant.
    pub const fn down(self) -> bool {
        matches!(self, Self::Down | Self::Both)
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When, counted from the start of the schedule.
    pub at: Duration,
    /// Which link.
    pub direction: Direction,
    /// The words for [`Link::apply`](crate::Link::apply); they are known to be right.
    pub words: String,
}

/// Changes in the order of their time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule {
    steps: Vec<Step>,
}

impl Schedule {
    /// Reads lines; empty ones and those that begin with `#` or `time` say nothing.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let mut steps = Vec::new();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') || line.starts_with("time") {
                continue;
            }
            let cause = match step(line) {
                Some(Ok(step)) => {
                    steps.push(step);
                    continue;
                }
                Some(Err(error)) => Some(error),
                None => None,
            };
            let line = index + 1;
            return Err(ScheduleError { line, cause });
        }
        steps.sort_by_key(|step| step.at);
        Ok(Self { steps })
    }

    /// Returns the changes.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Begins at `start`; with a period, again after each.
    pub fn play(self, start: Duration, period: Option<Duration>) -> Player {
        let period = period.filter(|period| !period.is_zero());
        Player {
            steps: self.steps,
            start,
            period,
            next: 0,
        }
    }
}

fn step(line: &str) -> Option<Result<Step, SettingError>> {
    let mut fields = line.splitn(3, ',').map(str::trim);
    let seconds: f64 = fields.next()?.parse().ok()?;
    let at = Duration::try_from_secs_f64(seconds).ok()?;
    let direction = Direction::parse(fields.next()?)?;
    let words = fields.next()?;
    let checked = Settings::default().apply(words);
    Some(checked.map(|_| Step {
        at,
        direction,
        words: words.to_owned(),
    }))
}

/// A line that is no change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleError {
    line: usize,
    cause: Option<SettingError>,
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => write!(f, "line {}: {cause}", self.line),
            None => write!(
                f,
                "line {}: expected time_s,direction,key=value ...",
                self.line
            ),
        }
    }
}

impl Error for ScheduleError {}

/// A schedule under way.
#[derive(Debug, Clone)]
pub struct Player {
    steps: Vec<Step>,
    start: Duration,
    period: Option<Duration>,
    next: usize,
}

impl Player {
    /// Returns the next change that is due, with its time since the origin.
    pub fn poll(&mut self, now: Duration) -> Option<(Duration, Step)> {
        let at = self.next_event().filter(|at| *at <= now)?;
        let step = self.steps[self.next].clone();
        self.next += 1;
        if let Some(period) = self.period
            && self.next == self.steps.len()
        {
            self.start += period;
            self.next = 0;
        }
        Some((at, step))
    }

    /// Returns when the next change is due.
    pub fn next_event(&self) -> Option<Duration> {
        self.start.checked_add(self.steps.get(self.next)?.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "time_s,dir,settings\n# a comment\n\n60,up,rate=0.6mbit loss=1%\n\
                        0,both,rate=1mbit queue=300ms\n80.5,down,cut=5s\n";

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn changes_come_in_the_order_of_time() {
        let mut player = Schedule::parse(TEXT).unwrap().play(seconds(10.0), None);
        assert_eq!(player.poll(seconds(9.9)), None);
        let (at, first) = player.poll(seconds(10.0)).unwrap();
        assert_eq!((at, first.direction), (seconds(10.0), Direction::Both));
        assert_eq!(player.next_event(), Some(seconds(70.0)));
        let (_, second) = player.poll(seconds(1_000.0)).unwrap();
        assert_eq!(second.words, "rate=0.6mbit loss=1%");
        let (at, third) = player.poll(seconds(1_000.0)).unwrap();
        assert_eq!((at, third.direction), (seconds(90.5), Direction::Down));
        assert_eq!(player.poll(seconds(1_000.0)), None);
        assert_eq!(player.next_event(), None);
    }

    #[test]
    fn a_schedule_with_a_period_repeats() {
        let text = "0,up,rate=1mbit\n2,up,rate=2mbit";
        let schedule = Schedule::parse(text).unwrap();
        let mut player = schedule.play(Duration::ZERO, Some(seconds(5.0)));
        let mut times = Vec::new();
        while let Some((at, _)) = player.poll(seconds(12.0)) {
            times.push(at.as_secs());
        }
        assert_eq!(times, [0, 2, 5, 7, 10, 12]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for wrong in [
            "1,up",
            "-1,up,rate=1",
            "x,up,rate=1",
            "1,left,rate=1",
            "1,up,rate=x",
        ] {
            let error = Schedule::parse(&format!("0,up,rate=1\n{wrong}")).unwrap_err();
            assert!(error.to_string().starts_with("line 2"), "{wrong}: {error}");
        }
    }
}
