//! Spreads packets over time, so that a keyframe neither fills a router's queue nor delays sound.
//!
//! ```text
//! sound ─────────────────────────────▶ at once
//! retransmissions ─▶ queue ─┐
//! pictures ────────▶ queue ─┴ 2.5 × estimate ─▶ out
//! ```
//!
//! The queue is bounded twice: the link stops taking pictures from the encoder while much waits
//! ([`Flow::waiting`]), and beyond [`MOST_WAITING`] new packets are dropped.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_rate::{Bitrate, DataSize};
use rtc::{
    interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket},
    sansio::Protocol,
    shared::{error::Error, marshal::MarshalSize},
};

use super::flow::Flow;

/// How much faster than the estimate packets leave: a keyframe is several frames long, and must
/// not take as long (the factor of libwebrtc's pacer).
const PACE: f64 = 2.5;
/// The pace never goes below this, or one packet would take long.
const SLOWEST: Bitrate = Bitrate::from_kbps(200);
/// What may leave at once, in time at the pace: fewer wake-ups, bursts no queue notices.
const BURST: Duration = Duration::from_millis(5);
/// The share of the estimate that packets sent again may take: on a link that loses because it is
/// full, they would keep it full.
const AGAIN_SHARE: f64 = 0.3;
/// What of it may be saved up, in time, and at least.
const AGAIN_SAVED: Duration = Duration::from_millis(500);
const AGAIN_LEAST: f64 = 6_000.0;
/// The most that may wait; full means that new packets of pictures are dropped, and asked for again.
const MOST_WAITING: u64 = 1_000_000;

/// What packets sent again may still take, in bytes.
#[derive(Debug, Default)]
struct Allowance {
    left: f64,
    at: Option<Instant>,
}

impl Allowance {
    /// Takes a packet's bytes, or returns false where too little is left.
    fn take(&mut self, now: Instant, size: DataSize, estimate: Bitrate) -> bool {
        let rate = estimate.as_f64() / 8.0 * AGAIN_SHARE;
        let most = (rate * AGAIN_SAVED.as_secs_f64()).max(AGAIN_LEAST);
        let earned = self.at.map_or(most, |at| {
            now.saturating_duration_since(at).as_secs_f64() * rate
        });
        self.at = Some(now);
        self.left = (self.left + earned).min(most);
        let enough = self.left >= size.bytes() as f64;
        if enough {
            self.left -= size.bytes() as f64;
        }
        enough
    }
}

/// The order and the moment of departure, for anything that has a size.
#[derive(Debug)]
struct Schedule<T> {
    again: VecDeque<(T, DataSize)>,
    pictures: VecDeque<(T, DataSize)>,
    waiting: u64,
    /// When the bytes that left so far are paid off.
    paid: Option<Instant>,
}

impl<T> Schedule<T> {
    fn new() -> Self {
        Self {
            again: VecDeque::new(),
            pictures: VecDeque::new(),
            waiting: 0,
            paid: None,
        }
    }

    /// Queues one packet, or returns false where too much waits.
    fn push(&mut self, packet: T, size: DataSize, again: bool) -> bool {
        if self.waiting + size.bytes() > MOST_WAITING {
            return false;
        }
        self.waiting += size.bytes();
        let queue = if again {
            &mut self.again
        } else {
            &mut self.pictures
        };
        queue.push_back((packet, size));
        true
    }

    /// Counts what leaves without waiting.
    fn charge(&mut self, now: Instant, size: DataSize, pace: Bitrate) {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let paid = self.paid.map_or(earliest, |paid| paid.max(earliest));
        self.paid = Some(paid + size / pace);
    }

    /// Returns the next packet that may leave now.
    fn pop(&mut self, now: Instant, pace: Bitrate) -> Option<T> {
        if self.paid.is_some_and(|paid| paid > now) {
            return None;
        }
        let (packet, size) = self
            .again
            .pop_front()
            .or_else(|| self.pictures.pop_front())?;
        self.waiting -= size.bytes();
        self.charge(now, size, pace);
        Some(packet)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.waiting > 0)
            .then_some(self.paid)
            .flatten()
            .map(|paid| paid + BURST)
    }
}

/// [`Schedule`] as an interceptor at webrtc-rs's slot for a pacer.
pub(super) struct Pacer {
    flow: Arc<Flow>,
    sound: HashSet<u32>,
    schedule: Schedule<TaggedPacket>,
    allowance: Allowance,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Pacer {
    pub(super) fn new(flow: Arc<Flow>) -> Self {
        Self {
            flow,
            sound: HashSet::new(),
            schedule: Schedule::new(),
            allowance: Allowance::default(),
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    fn pace(&self) -> Bitrate {
        self.flow.estimate().scale(PACE).max(SLOWEST)
    }

    fn release(&mut self, now: Instant) {
        let pace = self.pace();
        while let Some(mut packet) = self.schedule.pop(now, pace) {
            // The send history below must see the departure, or our own queue looks like the network's.
            packet.now = now;
            self.flow.add_sent();
            self.writes.push_back(packet);
        }
        self.flow.set_waiting(self.schedule.waiting);
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Pacer {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        let now = packet.now;
        let (size, sound) = match &packet.message.packet {
            Packet::Rtp(rtp) => (
                DataSize::from_bytes(rtp.marshal_size() as u64),
                self.sound.contains(&rtp.header.ssrc),
            ),
            _ => {
                self.writes.push_back(packet);
                return Ok(());
            }
        };
        let again = packet.message.has(&Attribute::Retransmission);
        if again {
            if !self.allowance.take(now, size, self.flow.estimate()) {
                tracing::debug!("too much is asked for again: a packet is not sent again");
                return Ok(());
            }
            self.flow.add_retransmitted(size.bytes());
        }
        if sound {
            self.schedule.charge(now, size, self.pace());
            self.flow.add_sent();
            self.writes.push_back(packet);
        } else if !self.schedule.push(packet, size, again) {
            tracing::debug!("the pacer is full: a packet is dropped");
        }
        self.release(now);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.release(now);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.schedule.poll_timeout()
    }
}

impl Interceptor for Pacer {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        if info.mime_type.starts_with("audio/") {
            self.sound.insert(info.ssrc);
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.sound.remove(&info.ssrc);
    }

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const PACKET: DataSize = DataSize::from_bytes(1_000);

    #[test]
    fn a_burst_leaves_at_the_pace_and_retransmissions_go_first() {
        let start = clock::now();
        let pace = Bitrate::from_kbps(800);
        let mut schedule = Schedule::new();
        for number in 0..20 {
            assert!(schedule.push(number, PACKET, false));
        }
        assert!(schedule.push(99, PACKET, true));
        let mut left = Vec::new();
        for millis in 0..=100 {
            let now = start + Duration::from_millis(millis);
            while let Some(number) = schedule.pop(now, pace) {
                left.push((number, millis));
            }
        }
        assert_eq!(left[0].0, 99);
        // 1000 bytes at 800 kb/s are 10 ms each.
        assert!((10..=12).contains(&left.len()), "{left:?}");
        assert!(schedule.poll_timeout().is_some());
    }

    #[test]
    fn what_leaves_at_once_is_paid_for_and_the_queue_has_an_end() {
        let start = clock::now();
        let pace = Bitrate::from_kbps(800);
        let mut schedule = Schedule::new();
        schedule.charge(start, DataSize::from_bytes(2_000), pace);
        assert!(schedule.push((), PACKET, false));
        assert!(schedule.pop(start, pace).is_none());
        assert!(
            schedule
                .pop(start + Duration::from_millis(16), pace)
                .is_some()
        );
        let mut accepted = 0;
        while schedule.push((), PACKET, false) {
            accepted += 1;
        }
        assert_eq!(accepted, 1_000);
    }

    #[test]
    fn packets_sent_again_take_their_share_and_no_more() {
        let start = clock::now();
        let estimate = Bitrate::from_kbps(800);
        let mut allowance = Allowance::default();
        let sent = (0..1_000)
            .filter(|millis| {
                allowance.take(start + Duration::from_millis(*millis), PACKET, estimate)
            })
            .count();
        // 0.3 of 100 packets a second, and half a second's worth saved up.
        assert!((43..=46).contains(&sent), "{sent}");
    }
}
