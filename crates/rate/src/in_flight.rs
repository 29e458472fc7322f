//! What is on its way, and how much may be: the window that keeps a link which has become slower
//! from being filled before its feedback can tell.
//!
//! A path carries `estimate × time until feedback` by itself. Beyond that everything waits in a
//! queue; a little is allowed, for pictures come in bursts. (The thought of TCP, of SCReAM,
//! RFC 8298, and of libwebrtc's congestion window.)

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{Bitrate, DataSize};

/// What may be on its way beyond what the path carries by itself, in time at the estimate: one
/// picture, and the queue that is aimed at.
const ALLOWANCE: Duration = Duration::from_millis(25);
/// The window is never smaller: two packets of a picture and some sound.
const LEAST: DataSize = DataSize::from_bytes(4_000);
/// The time until feedback is the longest of these moments: feedback comes in bursts.
const MEMORY: Duration = Duration::from_secs(3);
/// How much longer than the shortest round trip that time may be: feedback is late when the network
/// was cut off, too.
const LATE: Duration = Duration::from_millis(150);
/// Until anything is known.
const UNKNOWN: Duration = Duration::from_millis(300);
/// Without word of a packet for this long, it is on its way no more.
const FORGOTTEN: Duration = Duration::from_secs(3);

/// Packets that left and were not spoken of.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    packets: VecDeque<(Instant, DataSize)>,
    size: DataSize,
    /// Time between departure and feedback, without the queue, of each feedback lately.
    times: VecDeque<(Instant, Duration)>,
    round_trip: Option<Duration>,
    shortest: Option<Duration>,
}

impl InFlight {
    /// A packet left.
    pub(crate) fn push(&mut self, now: Instant, size: DataSize) {
        self.packets.push_back((now, size));
        self.size += size;
        while self
            .packets
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) > FORGOTTEN)
        {
            self.pop();
        }
    }

    /// Feedback came that spoke of packets up to the one that left at `newest`. `oldest` is the
    /// departure and the queueing delay of the oldest packet that it newly spoke of.
    pub(crate) fn acknowledge(
        &mut self,
        now: Instant,
        newest: Instant,
        oldest: (Instant, Duration),
    ) {
        while self.packets.front().is_some_and(|(at, _)| *at <= newest) {
            self.pop();
        }
        let round_trip = now.saturating_duration_since(newest);
        // Smoothed as in TCP (RFC 6298 section 2).
        self.round_trip = Some(match self.round_trip {
            Some(old) => old * 7 / 8 + round_trip / 8,
            None => round_trip,
        });
        let shortest = self.shortest.map_or(round_trip, |old| old.min(round_trip));
        self.shortest = Some(shortest);
        let time = now
            .saturating_duration_since(oldest.0)
            .saturating_sub(oldest.1);
        let time = time.min(shortest + LATE);
        while self
            .times
            .back()
            .is_some_and(|(_, shorter)| *shorter <= time)
        {
            self.times.pop_back();
        }
        self.times.push_back((now, time));
        while self
            .times
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) > MEMORY)
        {
            self.times.pop_front();
        }
    }

    /// Returns how much is on its way.
    pub(crate) fn size(&self) -> DataSize {
        self.size
    }

    /// Tells whether anything is on its way.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.packets.front().map(|(at, _)| *at)
    }

    /// Returns the time between the departure of the newest packet and the feedback that spoke of
    /// it, smoothed.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Returns the shortest round trip there was.
    pub(crate) fn shortest(&self) -> Option<Duration> {
        self.shortest
    }

    /// Returns how much may be on its way at `rate`, `queue` of it waiting on purpose.
    pub(crate) fn window(&self, rate: Bitrate, queue: Duration) -> DataSize {
        let time = self.times.front().map_or(UNKNOWN, |(_, time)| *time);
        (rate * (time + queue + ALLOWANCE)).max(LEAST)
    }

    fn pop(&mut self) {
        if let Some((_, size)) = self.packets.pop_front() {
            self.size = self.size - size;
        }
    }
}
