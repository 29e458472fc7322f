//! When what a participant sends was taken, on this computer's clock: so that the sound and the
//! pictures of one participant can be shown in step.
//!
//! ```text
//! sender report:  RTP time of a stream  =  the participant's wall clock
//! arrivals:       the participant's wall clock + the shortest way  =  this computer's clock
//! ```
//!
//! All streams of a participant share the second line. What the relay reports of them to receivers
//! (RFC 3550 section 6.4) therefore keeps their distance, though they came by ways of their own.

use std::time::{Duration, Instant, UNIX_EPOCH};

use str0m::rtp::rtcp::SenderInfo;

/// The clock of one participant.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// An instant here, and the participant's wall clock then, if nothing took any time between.
    anchor: Option<(Instant, Duration)>,
}

impl Timeline {
    /// Returns when a packet's media was taken: no later than its `arrival`, which it is as long as
    /// the participant reports nothing. `rate` is the RTP clock's, in hertz.
    pub(super) fn taken(
        &mut self,
        report: Option<&SenderInfo>,
        timestamp: u32,
        rate: u32,
        arrival: Instant,
    ) -> Instant {
        let Some(wall) = report.and_then(|report| wall_clock(report, timestamp, rate)) else {
            return arrival;
        };
        let (here, there) = self.anchor.get_or_insert((arrival, wall));
        let taken = match wall.checked_sub(*there) {
            Some(later) => here.checked_add(later),
            None => here.checked_sub(*there - wall),
        };
        match taken {
            Some(taken) if taken <= arrival => taken,
            // It came faster than anything before: that is the shortest way now.
            _ => {
                (*here, *there) = (arrival, wall);
                arrival
            }
        }
    }
}

/// Returns the participant's wall clock when a packet's media was taken.
fn wall_clock(report: &SenderInfo, timestamp: u32, rate: u32) -> Option<Duration> {
    let reported = report.ntp_time.duration_since(UNIX_EPOCH).ok()?;
    // Half the range of timestamps is 6 hours and more: packets are never that far from a report.
    let ticks = timestamp.wrapping_sub(report.rtp_time.numer() as u32) as i32;
    let distance =
        Duration::from_secs_f64(f64::from(ticks.unsigned_abs()) / f64::from(rate.max(1)));
    match ticks >= 0 {
        true => reported.checked_add(distance),
        false => reported.checked_sub(distance),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use str0m::media::MediaTime;

    use super::*;

    fn report(seconds: u64, timestamp: u32) -> SenderInfo {
        SenderInfo {
            ssrc: 1.into(),
            ntp_time: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            rtp_time: MediaTime::from_90khz(u64::from(timestamp)),
            sender_packet_count: 0,
            sender_octet_count: 0,
        }
    }

    #[test]
    fn sound_and_pictures_keep_their_distance_whatever_their_ways() {
        let now = crate::clock::now() + Duration::from_secs(10);
        let after = |millis| now + Duration::from_millis(millis);
        let mut timeline = Timeline::default();
        let sound = report(1000, u32::MAX - 10);
        let pictures = report(1001, 500);
        let sound_at = |timeline: &mut Timeline, timestamp: u32, arrival| {
            timeline.taken(Some(&sound), timestamp, 48_000, arrival)
        };
        // One second after its report, which came over a wrap of the timestamp.
        let first = sound_at(&mut timeline, 48_000 - 11, after(30));
        assert_eq!(first, after(30));
        // A picture of the same moment that took 70 ms longer.
        let picture = timeline.taken(Some(&pictures), 500, 90_000, after(100));
        assert_eq!(picture, after(30));
        // Sound that came faster moves everything.
        let second = sound_at(&mut timeline, 96_000 - 11, after(1010));
        assert_eq!(second, after(1010));
        let picture = timeline.taken(Some(&pictures), 90_500, 90_000, after(1100));
        assert_eq!(picture, after(1010));
    }

    #[test]
    fn without_a_report_the_arrival_counts() {
        let now = crate::clock::now();
        assert_eq!(Timeline::default().taken(None, 5, 48_000, now), now);
    }
}
