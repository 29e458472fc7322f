//! Who fills the queue? Against a flow that fills it until packets are lost (TCP), whoever goes by
//! delay alone is left with nothing.
//!
//! ```text
//!            queue stands, though less is sent than came through, for a while
//! ┌─ alone ───────────────────────────────────────────────▶ against others ─┐
//! └────────────── the queue has been empty, or became short ◀───────────────┘
//! ```
//! A queue that stands but never changes is no queue: the path has become longer.
//! (Copa, Arun and Balakrishnan 2018, section 2.2, decides likewise by whether the queue empties.)

use std::time::{Duration, Instant};

/// A queue this long is somebody's.
const LONG: Duration = Duration::from_millis(50);
/// How long it must stand although we give way, less half of the time in which it does not: a flow
/// that fills the queue lets it shrink after each loss.
const PATIENCE: f64 = 2.2;
const FORGIVING: f64 = 0.5;
/// A queue that has become this much shorter within this time drains: it is ours, and needs time.
const DRAINS: Duration = Duration::from_millis(5);
const DRAINS_FOR: Duration = Duration::from_millis(400);
/// A queue that wavers by less is none.
const STEADY: Duration = Duration::from_millis(6);
/// Shorter than this, nobody fills the queue any more.
const SHORT: Duration = Duration::from_millis(20);
/// How long the queue must have been short.
const SHORT_FOR: Duration = Duration::from_millis(1_200);

/// What the queue's behaviour tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing new.
    Nothing,
    /// Others fill the queue.
    Others,
    /// Nobody else fills it any more.
    Alone,
    /// The path became longer.
    LongerPath,
}

/// Watches the queue.
#[derive(Debug, Default)]
pub(crate) struct Competition {
    others: bool,
    last: Option<Instant>,
    /// Seconds in which the queue stood.
    stood: f64,
    /// The shortest it has been since it became long, and when.
    low: Option<(Instant, Duration)>,
    shortest: Duration,
    longest: Duration,
    short_since: Option<Instant>,
}

impl Competition {
    /// Tells whether others fill the queue.
    pub(crate) fn others(&self) -> bool {
        self.others
    }

    /// Takes in the standing queue; `yielding` tells that less is sent than came through when the
    /// queue began to stand.
    pub(crate) fn update(&mut self, now: Instant, standing: Duration, yielding: bool) -> Finding {
        if self.others {
            return self.look_for_the_end(now, standing);
        }
        let passed = self
            .last
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        let passed = passed.as_secs_f64().min(0.2);
        if standing < LONG {
            self.low = None;
        } else if self.low.is_none_or(|(_, low)| standing + DRAINS < low) {
            self.low = Some((now, standing));
        }
        let drains =
            (self.low).is_none_or(|(at, _)| now.saturating_duration_since(at) < DRAINS_FOR);
        if drains || !yielding {
            self.stood = (self.stood - passed * FORGIVING).max(0.0);
            return Finding::Nothing;
        }
        if self.stood == 0.0 {
            (self.shortest, self.longest) = (standing, standing);
        }
        self.stood += passed;
        self.shortest = self.shortest.min(standing);
        self.longest = self.longest.max(standing);
        if self.stood < PATIENCE {
            return Finding::Nothing;
        }
        self.stood = 0.0;
        if self.longest - self.shortest <= STEADY {
            return Finding::LongerPath;
        }
        self.others = true;
        self.short_since = None;
        Finding::Others
    }

    fn look_for_the_end(&mut self, now: Instant, standing: Duration) -> Finding {
        if standing > SHORT {
            self.short_since = None;
            return Finding::Nothing;
        }
        let since = *self.short_since.get_or_insert(now);
        if now.saturating_duration_since(since) < SHORT_FOR {
            return Finding::Nothing;
        }
        self.others = false;
        Finding::Alone
    }
}
