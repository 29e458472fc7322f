//! Whether a link lives: a pure machine over what was heard and when.
//!
//! ```text
//! SettingUp ──connected──▶ Connected ──silence──▶ Interrupted ──heard──▶ Connected
//!     │ too long              ▲                      │ restart, restart, … too long
//!     ▼                       └──────────────────────┤
//!   failed ◀─────────────────────────────────────────┘
//! ```
//!
//! Both sides say something at least twice a second, muted or not, so silence means trouble.

use std::time::{Duration, Instant};

/// Silence that is an interruption: three signs of life in a row were lost.
const SILENCE: Duration = Duration::from_millis(1_500);
/// How long an interruption is waited out before both sides begin anew: the paths look for another
/// way by themselves, and beginning anew costs messages only, not the path there was.
const WAIT_OUT: Duration = Duration::from_millis(1_000);
/// The pause between two attempts to find another path.
const RETRY: Duration = Duration::from_secs(6);
/// How long setting up may take.
const SETUP: Duration = Duration::from_secs(25);
/// How long an interruption may take.
const INTERRUPTION: Duration = Duration::from_secs(30);
/// How long to wait for a new offer once the other side ended the connection.
const CLOSED: Duration = Duration::from_secs(5);

/// What follows from what was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Media can flow, the first time or again.
    Connected,
    /// Nothing came for a while.
    Interrupted,
    /// Look for another path.
    Restart,
    /// It is over.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    SettingUp {
        restart_at: Instant,
        fail_at: Instant,
    },
    Connected {
        heard: Instant,
    },
    Interrupted {
        restart_at: Option<Instant>,
        fail_at: Instant,
    },
    Failed,
}

/// The machine. See the module.
#[derive(Debug)]
pub(super) struct Health {
    /// The side that restarts first; the other follows if that did not help, so that restarts
    /// do not cross.
    first: bool,
    state: State,
}

impl Health {
    pub(super) fn new(first: bool, now: Instant) -> Self {
        Self {
            first,
            state: State::SettingUp {
                restart_at: now + RETRY * 2,
                fail_at: now + SETUP,
            },
        }
    }

    /// Tells whether media can flow.
    pub(super) fn connected(&self) -> bool {
        matches!(self.state, State::Connected { .. })
    }

    /// Tells whether what is said may be heard: an interrupted path may be back at any moment, and
    /// that shows by what arrives.
    pub(super) fn may_be_heard(&self) -> bool {
        matches!(
            self.state,
            State::Connected { .. }
                | State::Interrupted {
                    restart_at: Some(_),
                    ..
                }
        )
    }

    /// The connection came up: ICE and DTLS are done.
    pub(super) fn handle_connected(&mut self, now: Instant) -> Option<Verdict> {
        match self.state {
            State::SettingUp { .. } | State::Interrupted { .. } => {
                self.state = State::Connected { heard: now };
                Some(Verdict::Connected)
            }
            State::Connected { .. } | State::Failed => None,
        }
    }

    /// Something came from the other side.
    pub(super) fn handle_heard(&mut self, now: Instant) -> Option<Verdict> {
        match &mut self.state {
            State::Connected { heard } => {
                *heard = now;
                None
            }
            State::Interrupted {
                restart_at: Some(_),
                ..
            } => self.handle_connected(now),
            State::SettingUp { .. } | State::Interrupted { .. } | State::Failed => None,
        }
    }

    /// ICE says that the path is lost.
    pub(super) fn handle_lost(&mut self, now: Instant) -> Option<Verdict> {
        match self.state {
            State::Connected { .. } => Some(self.interrupt(now)),
            _ => None,
        }
    }

    /// The other side ended the connection: no other path helps.
    pub(super) fn handle_closed(&mut self, now: Instant) -> Option<Verdict> {
        let was_connected = self.connected();
        if self.state != State::Failed {
            self.state = State::Interrupted {
                restart_at: None,
                fail_at: now + CLOSED,
            };
        }
        was_connected.then_some(Verdict::Interrupted)
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::SettingUp {
                restart_at,
                fail_at,
            } => Some(restart_at.min(fail_at)),
            State::Connected { heard } => Some(heard + SILENCE),
            State::Interrupted {
                restart_at,
                fail_at,
            } => Some(restart_at.map_or(fail_at, |at| at.min(fail_at))),
            State::Failed => None,
        }
    }

    /// Draws the conclusions from time passing.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Verdict> {
        match &mut self.state {
            State::SettingUp { fail_at, .. } | State::Interrupted { fail_at, .. }
                if *fail_at <= now =>
            {
                self.state = State::Failed;
                Some(Verdict::Failed)
            }
            State::SettingUp { restart_at, .. }
            | State::Interrupted {
                restart_at: Some(restart_at),
                ..
            } if *restart_at <= now => {
                *restart_at = now + RETRY;
                Some(Verdict::Restart)
            }
            State::Connected { heard } if *heard + SILENCE <= now => Some(self.interrupt(now)),
            _ => None,
        }
    }

    fn interrupt(&mut self, now: Instant) -> Verdict {
        let wait = match self.first {
            true => WAIT_OUT,
            false => WAIT_OUT + RETRY / 2,
        };
        self.state = State::Interrupted {
            restart_at: Some(now + wait),
            fail_at: now + INTERRUPTION,
        };
        Verdict::Interrupted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn run(health: &mut Health, until: Instant) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        while let Some(at) = health.poll_timeout().filter(|at| *at <= until) {
            verdicts.extend(health.handle_timeout(at));
        }
        verdicts
    }

    #[test]
    fn silence_interrupts_and_a_sign_of_life_restores() {
        let start = clock::now();
        let mut health = Health::new(true, start);
        assert_eq!(health.handle_heard(start), None);
        assert_eq!(health.handle_connected(start), Some(Verdict::Connected));
        let heard = start + Duration::from_secs(5);
        assert_eq!(health.handle_heard(heard), None);
        let verdicts = run(&mut health, heard + Duration::from_millis(1_600));
        assert_eq!(verdicts, [Verdict::Interrupted]);
        assert!(!health.connected());
        let back = heard + Duration::from_millis(1_700);
        assert_eq!(health.handle_heard(back), Some(Verdict::Connected));
    }

    #[test]
    fn a_long_interruption_restarts_several_times_and_then_fails() {
        let start = clock::now();
        let mut health = Health::new(true, start);
        health.handle_connected(start);
        let verdicts = run(&mut health, start + Duration::from_secs(60));
        assert_eq!(verdicts[..2], [Verdict::Interrupted, Verdict::Restart]);
        assert_eq!(verdicts.last(), Some(&Verdict::Failed));
        assert!((4..=7).contains(&verdicts.len()), "{verdicts:?}");
        assert_eq!(health.handle_connected(start), None);
    }

    #[test]
    fn a_short_interruption_is_waited_out() {
        let start = clock::now();
        let mut health = Health::new(true, start);
        health.handle_connected(start);
        let verdicts = run(&mut health, start + Duration::from_millis(2_400));
        assert_eq!(verdicts, [Verdict::Interrupted]);
        assert!(health.may_be_heard());
    }

    #[test]
    fn the_second_side_leaves_the_first_restart_to_the_first() {
        let start = clock::now();
        let restart = |first| {
            let mut health = Health::new(first, start);
            health.handle_connected(start);
            health.handle_lost(start);
            health.poll_timeout()
        };
        assert!(restart(true) < restart(false));
    }

    #[test]
    fn a_link_that_never_comes_up_fails() {
        let start = clock::now();
        let mut health = Health::new(false, start);
        let verdicts = run(&mut health, start + Duration::from_secs(26));
        assert_eq!(verdicts.last(), Some(&Verdict::Failed));
    }

    #[test]
    fn a_connection_that_was_ended_is_not_restarted() {
        let start = clock::now();
        let mut health = Health::new(true, start);
        health.handle_connected(start);
        assert_eq!(health.handle_closed(start), Some(Verdict::Interrupted));
        // What was still on its way changes nothing.
        assert_eq!(health.handle_heard(start), None);
        let verdicts = run(&mut health, start + Duration::from_secs(60));
        assert_eq!(verdicts, [Verdict::Failed]);
    }
}
