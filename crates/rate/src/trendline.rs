//! Does a queue grow? A line through the delays of the last groups, against a threshold that adapts
//! to how unsteady the network is by itself (draft-ietf-rmcat-gcc-02 section 5.3 and 5.4, with
//! libwebrtc's line in place of the draft's filter).

use std::{collections::VecDeque, time::Duration};

use crate::grouping::Variation;

/// Groups in the line (libwebrtc).
const WINDOW: usize = 20;
/// The weight of what was known when a delay is smoothed (libwebrtc).
const SMOOTHING: f64 = 0.9;
/// Scales the slope to the draft's thresholds (libwebrtc).
const GAIN: f64 = 4.0;
/// Groups from which on the slope counts fully (libwebrtc).
const MOST_GROUPS: usize = 60;
/// Where the threshold starts and its bounds, in milliseconds (draft section 5.4).
const THRESHOLD: f64 = 12.5;
const LEAST_THRESHOLD: f64 = 6.0;
const MOST_THRESHOLD: f64 = 600.0;
/// How fast the threshold follows upward and downward, a millisecond (draft section 5.4).
const FOLLOW_UP: f64 = 0.0087;
const FOLLOW_DOWN: f64 = 0.039;
/// What exceeds the threshold by more is a jump, not noise to be followed (draft section 5.4).
const JUMP: f64 = 15.0;
/// How long the trend must exceed the threshold, in milliseconds (draft section 5.4).
const PATIENCE: f64 = 10.0;

/// What the delays say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Usage {
    /// The queue is as it was.
    #[default]
    Normal,
    /// The queue grows: more is sent than the network carries.
    Over,
    /// The queue drains.
    Under,
}

/// Fits the line and keeps the threshold.
#[derive(Debug)]
pub(crate) struct Trendline {
    /// Arrival in milliseconds and smoothed delay in milliseconds.
    points: VecDeque<(f64, f64)>,
    origin: Option<Duration>,
    accumulated: f64,
    smoothed: f64,
    groups: usize,
    threshold: f64,
    last: Option<Duration>,
    over_millis: Option<f64>,
    before: f64,
    usage: Usage,
}

impl Default for Trendline {
    fn default() -> Self {
        Self {
            points: VecDeque::new(),
            origin: None,
            accumulated: 0.0,
            smoothed: 0.0,
            groups: 0,
            threshold: THRESHOLD,
            last: None,
            over_millis: None,
            before: 0.0,
            usage: Usage::Normal,
        }
    }
}

impl Trendline {
    /// Takes in how a group compares to the one before.
    pub(crate) fn push(&mut self, variation: Variation) {
        let origin = *self.origin.get_or_insert(variation.arrival);
        self.groups = (self.groups + 1).min(1_000);
        self.accumulated += variation.delay_millis;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        let at = (variation.arrival.as_secs_f64() - origin.as_secs_f64()) * 1e3;
        self.points.push_back((at, self.smoothed));
        if self.points.len() > WINDOW {
            self.points.pop_front();
        }
        let slope = match self.points.len() {
            WINDOW.. => slope(&self.points).unwrap_or(self.before),
            _ => self.before,
        };
        self.judge(slope, variation);
    }

    /// Returns what the delays say.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    fn judge(&mut self, slope: f64, variation: Variation) {
        let trend = self.groups.min(MOST_GROUPS) as f64 * slope * GAIN;
        if trend > self.threshold {
            let spacing = variation.departure_millis;
            let over = self
                .over_millis
                .map_or(spacing / 2.0, |over| over + spacing);
            self.over_millis = Some(over);
            if over > PATIENCE && slope >= self.before {
                self.over_millis = Some(0.0);
                self.usage = Usage::Over;
            }
        } else {
            self.over_millis = None;
            self.usage = match trend < -self.threshold {
                true => Usage::Under,
                false => Usage::Normal,
            };
        }
        self.before = slope;
        self.adapt(trend, variation.arrival);
    }

    fn adapt(&mut self, trend: f64, now: Duration) {
        let passed = self
            .last
            .map_or(0.0, |last| now.saturating_sub(last).as_secs_f64() * 1e3);
        self.last = Some(now);
        if trend.abs() > self.threshold + JUMP {
            return;
        }
        let follow = match trend.abs() < self.threshold {
            true => FOLLOW_DOWN,
            false => FOLLOW_UP,
        };
        self.threshold += follow * (trend.abs() - self.threshold) * passed.min(100.0);
        self.threshold = self.threshold.clamp(LEAST_THRESHOLD, MOST_THRESHOLD);
    }
}

/// Least squares through the points.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let many = points.len() as f64;
    let (x, y) = points
        .iter()
        .fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / many, y / many);
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        let dx = point.0 - x;
        (above + dx * (point.1 - y), below + dx * dx)
    });
    (below > 0.0).then(|| above / below)
}
