//! The other side's clock, from its sender reports (RFC 3550 section 6.4).
//!
//! The two clocks need not agree. The quickest report of the last while tells how far apart they
//! are, less its way here, for which half of the round trip is taken: wrong by at most half of the
//! difference between the way there and the way back.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Seconds from 1900 to 1970.
const NTP_EPOCH: u64 = 2_208_988_800;
/// How many reports are looked back at. One a second and stream: clocks drift little in that time.
const MEMORY: usize = 20;
/// Estimates further back than this are not believed.
const OLDEST: Duration = Duration::from_secs(10);

/// Our own clock as others see it: NTP time that goes on evenly, whatever is done to the wall clock.
#[derive(Debug, Clone, Copy)]
pub(in crate::mesh) struct NtpClock {
    started: Instant,
    unix: Duration,
}

impl NtpClock {
    /// Makes a clock from one reading of both.
    pub(in crate::mesh) fn new(now: Instant, unix: Duration) -> Self {
        Self { started: now, unix }
    }

    /// Returns the NTP time (32.32 fixed point) at an instant.
    pub(in crate::mesh) fn at(&self, instant: Instant) -> u64 {
        let time = self.unix + instant.saturating_duration_since(self.started);
        let fraction = (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000;
        ((time.as_secs() + NTP_EPOCH) << 32) | fraction
    }

    /// Returns the round trip that a reception report tells of (RFC 3550 section 6.4.1), if any.
    pub(in crate::mesh) fn round_trip(
        &self,
        last_sender_report: u32,
        delay: u32,
        arrived: Instant,
    ) -> Option<Duration> {
        if last_sender_report == 0 {
            return None;
        }
        let now = (self.at(arrived) >> 16) as u32;
        let trip = now.wrapping_sub(last_sender_report).wrapping_sub(delay);
        // A little below zero is rounding.
        let trip = u32::try_from((trip as i32).max(0)).unwrap_or(0);
        Some(Duration::from_secs_f64(f64::from(trip) / 65_536.0)).filter(|trip| *trip < OLDEST)
    }
}

#[derive(Debug, Clone, Copy)]
struct Report {
    ntp: u64,
    timestamp: u32,
}

/// Turns the other side's time stamps of one stream into instants here.
#[derive(Debug)]
pub(in crate::mesh) struct RemoteClock {
    /// Ticks of the time stamp a second.
    rate: f64,
    newest: Option<Report>,
    /// Of each report: when it arrived, and what its clock said.
    arrivals: VecDeque<(Instant, u64)>,
    round_trip: Duration,
}

impl RemoteClock {
    pub(in crate::mesh) fn new(rate: u32) -> Self {
        Self {
            rate: f64::from(rate),
            newest: None,
            arrivals: VecDeque::new(),
            round_trip: Duration::ZERO,
        }
    }

    /// Takes in a sender report.
    pub(in crate::mesh) fn handle_report(&mut self, ntp: u64, timestamp: u32, arrived: Instant) {
        self.newest = Some(Report { ntp, timestamp });
        if self.arrivals.len() == MEMORY {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((arrived, ntp));
    }

    /// Tells how long the way there and back is.
    pub(in crate::mesh) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// Returns when what carries this time stamp was captured, at the latest `now`.
    pub(in crate::mesh) fn captured(&self, timestamp: u32, now: Instant) -> Option<Instant> {
        let newest = self.newest?;
        let (_, ntp) = *self.arrivals.back()?;
        // The instant here at which the other side's clock said what it says in the newest report:
        // the earliest that any report leads to, less its way.
        let said = self
            .arrivals
            .iter()
            .filter_map(|(arrived, then)| shift(*arrived, seconds_between(*then, ntp)))
            .min()?;
        let ticks = f64::from(timestamp.wrapping_sub(newest.timestamp) as i32);
        let seconds = ticks / self.rate + seconds_between(ntp, newest.ntp)
            - self.round_trip.as_secs_f64() / 2.0;
        let captured = shift(said, seconds)?.min(now);
        (now.saturating_duration_since(captured) < OLDEST).then_some(captured)
    }
}

fn seconds_between(earlier: u64, later: u64) -> f64 {
    later.wrapping_sub(earlier) as i64 as f64 / 4_294_967_296.0
}

fn shift(instant: Instant, seconds: f64) -> Option<Instant> {
    let distance = Duration::try_from_secs_f64(seconds.abs()).ok()?;
    if seconds < 0.0 {
        instant.checked_sub(distance)
    } else {
        instant.checked_add(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn near(a: Instant, b: Instant) -> bool {
        a.max(b) - a.min(b) < Duration::from_micros(100)
    }

    #[test]
    fn capture_times_survive_clocks_that_disagree_and_reports_that_are_slow() {
        let start = clock::now();
        // An hour ahead.
        let theirs = NtpClock::new(start, Duration::from_secs(1_700_003_600));
        let mut clock = RemoteClock::new(90_000);
        assert_eq!(clock.captured(0, start), None);
        clock.set_round_trip(millis(40));
        for second in 0..5 {
            let sent = start + millis(second * 1_000);
            // The way takes 20 ms, once 300 ms.
            let way = if second == 4 { 300 } else { 20 };
            let timestamp = 4_294_900_000_u32.wrapping_add(second as u32 * 90_000);
            clock.handle_report(theirs.at(sent), timestamp, sent + millis(way));
        }
        // Captured half a second after the report of second 3.
        let timestamp = 4_294_900_000_u32.wrapping_add(3 * 90_000 + 45_000);
        let now = start + millis(4_400);
        let captured = clock.captured(timestamp, now).expect("reports came");
        assert!(
            near(captured, start + millis(3_500)),
            "{:?}",
            captured - start
        );
        assert_eq!(
            clock.captured(timestamp.wrapping_sub(90_000 * 60), now),
            None
        );
    }

    #[test]
    fn the_round_trip_is_what_remains_of_the_time_between() {
        let start = clock::now();
        let ours = NtpClock::new(start, Duration::from_secs(1_700_000_000));
        let last = (ours.at(start) >> 16) as u32;
        let delay = 65_536 / 2;
        let trip = ours.round_trip(last, delay, start + millis(575));
        let trip = trip.expect("a report arrived there").as_micros();
        assert!((74_900..75_100).contains(&trip), "{trip}");
        assert_eq!(ours.round_trip(0, 0, start), None);
        assert_eq!(
            ours.round_trip(last, delay, start + millis(499)),
            Some(Duration::ZERO)
        );
    }
}
