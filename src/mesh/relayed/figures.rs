//! The figures of the people taken in and of our publication, once a second.

use std::time::{Duration, Instant};

use nonstop_rate::{Bitrate, DataSize};

use super::{Take, publishing::Sent};
use crate::{
    media::video::{DecodeStats, PictureStats},
    mesh::{
        link::{LinkStats, reorder::ReorderStats},
        paths::Path,
        peer::Flow,
    },
};

/// What was received of somebody so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Received {
    pub(super) video_bytes: u64,
    pub(super) audio_bytes: u64,
    pub(super) packets: ReorderStats,
    pub(super) decode: DecodeStats,
    pub(super) picture: PictureStats,
}

/// What had been received of somebody the last time.
#[derive(Debug)]
pub(super) struct Counts {
    last: Received,
}

impl Counts {
    pub(super) fn new(take: &Take) -> Self {
        Self {
            last: Received {
                // They may have been seen before.
                picture: take.picture.stats().newest().unwrap_or_default(),
                ..Received::default()
            },
        }
    }

    /// Packets are counted from zero again.
    pub(super) fn restart(&mut self) {
        self.last.video_bytes = 0;
        self.last.packets = ReorderStats::default();
    }

    /// Adds what was received since the last time to the figures of the connection.
    pub(super) fn take(
        &mut self,
        take: &Take,
        received: Received,
        now: Instant,
        time: Duration,
        connection: &LinkStats,
    ) -> LinkStats {
        let last = std::mem::replace(&mut self.last, received);
        let missed = received.packets.missed.saturating_sub(last.packets.missed);
        let expected = received
            .packets
            .received
            .saturating_sub(last.packets.received)
            + received.packets.lost.saturating_sub(last.packets.lost);
        let voice = take.voice.stats().newest();
        let shown = received.picture;
        let decoded = received.decode.frames.saturating_sub(last.decode.frames);
        let busy = received.decode.busy.saturating_sub(last.decode.busy);
        LinkStats {
            video_received: rate(received.video_bytes, last.video_bytes, time),
            audio_received: rate(received.audio_bytes, last.audio_bytes, time),
            received_size: shown.size,
            decoded_fps: per_second(shown.frames, last.picture.frames, time),
            frames_decoded: Some(shown.frames),
            freeze_count: Some(shown.freezes),
            freeze_time: Some(shown.freeze_time),
            longest_picture_gap: shown.longest_gap(now),
            loss_received: (expected > 0).then(|| (missed as f32 / expected as f32).min(1.0)),
            audio_concealed: voice.map(|voice| voice.concealed),
            audio_played: voice.map(|voice| voice.played),
            audio_lost: voice.map(|voice| voice.lost),
            audio_packets: voice.map(|voice| voice.received),
            audio_recovered: voice.map(|voice| voice.recovered),
            capture_to_display: shown.delay,
            decode_time: u32::try_from(decoded)
                .ok()
                .filter(|decoded| *decoded > 0)
                .map(|decoded| busy / decoded),
            ..connection.clone()
        }
    }
}

/// What had been sent the last time.
#[derive(Debug)]
pub(super) struct Figures {
    last: Sent,
    retransmitted: u64,
    at: Instant,
}

impl Figures {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: Sent::default(),
            retransmitted: 0,
            at: now,
        }
    }

    /// The connection is another one.
    pub(super) fn restart(&mut self) {
        self.retransmitted = 0;
    }

    /// Returns the figures of the connection since the last time, and how long that is.
    pub(super) fn take(
        &mut self,
        now: Instant,
        sent: Sent,
        flow: &Flow,
        target: Bitrate,
    ) -> (LinkStats, Duration) {
        let time = now.saturating_duration_since(std::mem::replace(&mut self.at, now));
        let last = std::mem::replace(&mut self.last, sent);
        let retransmitted = std::mem::replace(&mut self.retransmitted, flow.retransmitted());
        let stats = LinkStats {
            path: Some(Path::Relay),
            estimate: Some(flow.estimate()),
            target: Some(target),
            video_sent: rate(sent.video_bytes, last.video_bytes, time),
            audio_sent: rate(sent.audio_bytes, last.audio_bytes, time),
            retransmitted: rate(flow.retransmitted(), retransmitted, time),
            sent_size: sent.size,
            sent_fps: per_second(sent.frames, last.frames, time),
            encoder_id: sent.encoder,
            loss_sent: flow.loss(),
            queue_delay: Some(flow.queue_delay()),
            ..LinkStats::default()
        };
        (stats, time)
    }
}

fn rate(new: u64, old: u64, time: Duration) -> Option<Bitrate> {
    (!time.is_zero()).then(|| DataSize::from_bytes(new.saturating_sub(old)) / time)
}

fn per_second(new: u64, old: u64, time: Duration) -> Option<f32> {
    (!time.is_zero()).then(|| new.saturating_sub(old) as f32 / time.as_secs_f32())
}
