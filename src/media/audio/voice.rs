//! One participant's voice: packets in at this end, heard at the engine's end ([`Track`]).

use std::{
    sync::mpsc::SyncSender,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{latest::Reader, media::Way};

/// Packets between two looks of the engine: 1.3 s of sound, as much as the jitter buffer holds.
pub(super) const QUEUE: usize = 64;

/// One received audio packet.
#[derive(Debug, Clone)]
pub struct VoicePacket {
    /// The way on which it came.
    pub way: Way,
    /// RTP sequence number, counted by that way.
    pub sequence: u16,
    /// RTP time stamp (48 kHz), the same on both ways.
    pub timestamp: u32,
    /// RTP marker: it begins a talk spurt, so nothing was lost before it.
    pub marker: bool,
    /// Whether it did not come itself, but in the packet after it (RFC 2198).
    pub recovered: bool,
    /// The Opus packet.
    pub payload: Bytes,
    /// When it arrived.
    pub arrived: Instant,
}

/// What was heard of one participant; every figure counts from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VoiceStats {
    /// Packets that came in time, themselves or in the packet after them.
    pub received: u64,
    /// Of these, those that came in the packet after them only.
    pub recovered: u64,
    /// Packets that never came, or too late.
    pub lost: u64,
    /// Sound made up because a packet was missing (silence that was not sent does not count,
    /// nor does sound that the next packet's redundancy restored).
    pub concealed: Duration,
    /// Sound played, concealed or not; silence that was not sent does not count.
    pub played: Duration,
    /// How long sound waits in the jitter buffer at present.
    pub buffer: Duration,
    /// Loudness now, 0.0 to 1.0, smoothed for a meter.
    pub level: f32,
    /// Packets in a row that came on each way before it was their time.
    pub in_time: [u32; 2],
}

impl VoiceStats {
    /// Returns how many packets in a row came on this way before it was their time to be played: with
    /// some of them behind it, this way alone is enough, and nothing is missed where the other ends.
    pub fn in_time(&self, way: Way) -> u32 {
        self.in_time[way as usize]
    }
}

/// One participant's sound on its way to the speaker, whichever way it comes. Dropping it ends it.
#[derive(Debug)]
pub struct Voice {
    packets: SyncSender<VoicePacket>,
    stats: Reader<VoiceStats>,
}

impl Voice {
    pub(super) fn new(packets: SyncSender<VoicePacket>, stats: Reader<VoiceStats>) -> Self {
        Self { packets, stats }
    }

    /// Hands over a packet. Never blocks; a full queue loses the packet.
    pub fn push(&self, packet: VoicePacket) {
        if self.packets.try_send(packet).is_err() {
            tracing::trace!("audio packet lost: the engine does not keep up or has ended");
        }
    }

    /// Returns a reader of what was heard.
    pub fn stats(&self) -> Reader<VoiceStats> {
        self.stats.clone()
    }
}
