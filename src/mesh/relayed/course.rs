//! When to open a connection to the relay, and when one is lost: a pure machine.
//!
//! ```text
//! Waiting ─ due ─▶ Opening ─ relay_opened ─▶ Connecting ─ connected ─▶ Up
//!    ▲                │ no answer               │ too long              │ silence, closed
//!    └── a pause, longer each time ─────────────┴───────────────────────┘
//! ```

use std::time::{Duration, Instant};

use super::Lost;

/// How long the server may take to answer: it has to reach the relay's thread only.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a path and DTLS may take; by way of a TURN server over TLS a few seconds.
const CONNECT: Duration = Duration::from_secs(12);
/// Silence that means the relay is gone: while media flows …
const SILENCE: Duration = Duration::from_millis(1_500);
/// … and while nothing but the checks of the path, one a second, is to be heard.
const IDLE_SILENCE: Duration = Duration::from_secs(4);
/// Media flows as long as its last packet is no older than this.
const FLOWING: Duration = Duration::from_secs(3);
/// The pause before another attempt, doubled each time. After a connection that was up there is none.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// So long it must have been up to count as a success.
const LASTING: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Opening { until: Instant },
    Connecting { until: Instant },
    Up { since: Instant, heard: Instant },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Open a connection under this number.
    Open(u32),
    /// The connection is lost; `true` if it was up.
    Lose(Lost, bool),
}

/// The machine. See the module.
#[derive(Debug)]
pub(super) struct Course {
    number: u32,
    state: State,
    failures: u32,
    media: Option<Instant>,
}

impl Course {
    /// Begins; connections are numbered from after `number` on.
    pub(super) fn new(number: u32, now: Instant) -> Self {
        Self {
            number,
            state: State::Waiting { until: now },
            failures: 0,
            media: None,
        }
    }

    /// Tells whether media can flow.
    pub(super) fn up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// The server answered; returns whether it is the answer that is waited for.
    pub(super) fn handle_opened(&mut self, number: u32, now: Instant) -> bool {
        let ours = number == self.number && matches!(self.state, State::Opening { .. });
        if ours {
            self.state = State::Connecting {
                until: now + CONNECT,
            };
        }
        ours
    }

    /// ICE and DTLS are done; returns whether that is news.
    pub(super) fn handle_connected(&mut self, now: Instant) -> bool {
        let news = matches!(self.state, State::Connecting { .. });
        if news {
            self.state = State::Up {
                since: now,
                heard: now,
            };
            self.media = None;
        }
        news
    }

    /// Something came from the relay; `media` if it was more than an answer to a check.
    pub(super) fn handle_heard(&mut self, at: Instant, media: bool) {
        if let State::Up { heard, .. } = &mut self.state {
            *heard = at.max(*heard);
            if media {
                self.media = Some(*heard);
            }
        }
    }

    /// The server closed a connection.
    pub(super) fn handle_closed(&mut self, number: u32, now: Instant) -> Option<Step> {
        let there = !matches!(self.state, State::Waiting { .. });
        (number == self.number && there).then(|| self.lose(Lost::Closed, now))
    }

    /// The server is reached again. Where it began anew, there is no connection any more; where an
    /// answer is waited for, the question may be lost.
    pub(super) fn handle_back(&mut self, resumed: bool, now: Instant) -> Option<Step> {
        match self.state {
            State::Waiting { .. } => {}
            State::Connecting { .. } | State::Up { .. } if resumed => return None,
            _ => {
                let lost = self.lose(Lost::Closed, now);
                self.state = State::Waiting { until: now };
                return Some(lost);
            }
        }
        self.failures = 0;
        self.state = State::Waiting { until: now };
        None
    }

    /// The connection failed.
    pub(super) fn handle_failed(&mut self, why: Lost, now: Instant) -> Option<Step> {
        let there = !matches!(self.state, State::Waiting { .. });
        there.then(|| self.lose(why, now))
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub(super) fn poll_timeout(&self) -> Instant {
        match self.state {
            State::Waiting { until } | State::Opening { until } | State::Connecting { until } => {
                until
            }
            State::Up { heard, .. } => heard + self.patience(heard),
        }
    }

    /// Draws the conclusions from time passing.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Step> {
        if now < self.poll_timeout() {
            return None;
        }
        Some(match self.state {
            State::Waiting { .. } => {
                self.number = self.number.saturating_add(1);
                self.state = State::Opening {
                    until: now + ANSWER,
                };
                Step::Open(self.number)
            }
            State::Opening { .. } | State::Connecting { .. } => self.lose(Lost::NotReached, now),
            State::Up { .. } => self.lose(Lost::Silent, now),
        })
    }

    fn patience(&self, heard: Instant) -> Duration {
        let flowing = (self.media).is_some_and(|at| heard.saturating_duration_since(at) < FLOWING);
        if flowing { SILENCE } else { IDLE_SILENCE }
    }

    fn lose(&mut self, why: Lost, now: Instant) -> Step {
        let up = self.up();
        if let State::Up { since, .. } = self.state
            && now.saturating_duration_since(since) >= LASTING
        {
            self.failures = 0;
        }
        let pause = match self.failures {
            0 if up => Duration::ZERO,
            failures => (PAUSE * 2_u32.saturating_pow(failures.min(8))).min(LONGEST_PAUSE),
        };
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting { until: now + pause };
        Step::Lose(why, up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn up(now: Instant) -> Course {
        let mut course = Course::new(6, now);
        assert_eq!(course.handle_timeout(now), Some(Step::Open(7)));
        assert!(!course.handle_opened(6, now));
        assert!(course.handle_opened(7, now));
        assert!(course.handle_connected(now));
        course
    }

    #[test]
    fn silence_is_noticed_soon_while_media_flows_and_later_otherwise() {
        let start = clock::now();
        let mut course = up(start);
        assert_eq!(course.handle_timeout(start + millis(3_900)), None);
        course.handle_heard(start + millis(3_900), true);
        assert_eq!(course.handle_timeout(start + millis(5_300)), None);
        let lost = Some(Step::Lose(Lost::Silent, true));
        assert_eq!(course.handle_timeout(start + millis(5_400)), lost);
        // Another is opened at once.
        let next = course.handle_timeout(start + millis(5_400));
        assert_eq!(next, Some(Step::Open(8)));
    }

    #[test]
    fn a_relay_that_cannot_be_reached_is_tried_ever_more_seldom() {
        let start = clock::now();
        let mut course = Course::new(0, start);
        let mut opened = Vec::new();
        let mut now = start;
        while now < start + Duration::from_secs(120) {
            now = course.poll_timeout();
            if let Some(Step::Open(_)) = course.handle_timeout(now) {
                opened.push((now - start).as_secs());
            }
        }
        assert!((6..=12).contains(&opened.len()), "{opened:?}");
        assert!(course.handle_back(false, now).is_none() || course.poll_timeout() <= now);
    }

    #[test]
    fn a_server_that_began_anew_has_no_connection_any_more() {
        let start = clock::now();
        let mut course = up(start);
        assert_eq!(course.handle_back(true, start), None);
        assert!(course.up());
        let lost = Some(Step::Lose(Lost::Closed, true));
        assert_eq!(course.handle_back(false, start), lost);
        assert_eq!(course.handle_timeout(start), Some(Step::Open(8)));
        assert_eq!(course.handle_closed(7, start), None, "an earlier one");
        let lost = Some(Step::Lose(Lost::Closed, false));
        assert_eq!(course.handle_closed(8, start), lost);
    }
}
