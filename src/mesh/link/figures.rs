//! The figures of a link, once a second, from what its parts have counted.

use std::time::{Duration, Instant};

use nonstop_rate::{Bitrate, DataSize};

use super::{
    LinkStats, Path,
    inbound::{Inbound, InboundStats},
    outbound::{Outbound, OutboundStats},
    reorder::ReorderStats,
};
use crate::{
    latest::Reader,
    media::{
        audio::VoiceStats,
        video::{DecodeStats, EncodeStats, PictureStats},
    },
    mesh::peer::Flow,
};

/// The readers whose newest values go into the figures.
pub(super) struct Sources {
    pub(super) encode: Reader<EncodeStats>,
    pub(super) decode: Reader<DecodeStats>,
    /// What is shown of the participant, over all ways.
    pub(super) picture: Reader<PictureStats>,
    pub(super) voice: Reader<VoiceStats>,
}

/// Everything counted at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    outbound: OutboundStats,
    retransmitted: u64,
    inbound: InboundStats,
    packets: ReorderStats,
    encode: EncodeStats,
    decode: DecodeStats,
    picture: PictureStats,
}

/// Turns counts into figures.
pub(super) struct Figures {
    last: Counts,
    at: Instant,
}

impl Figures {
    pub(super) fn new(sources: &Sources, now: Instant) -> Self {
        Self {
            last: Counts {
                // The participant may have been seen before this link.
                picture: sources.picture.newest().unwrap_or_default(),
                ..Counts::default()
            },
            at: now,
        }
    }

    /// The connection is a new one: what it counts begins at zero again.
    pub(super) fn restart(&mut self) {
        self.last.retransmitted = 0;
        self.last.inbound = InboundStats::default();
        self.last.packets = ReorderStats::default();
    }

    /// Returns the figures since the last time.
    pub(super) fn take(
        &mut self,
        now: Instant,
        outbound: &Outbound,
        inbound: &Inbound,
        flow: &Flow,
        sources: &Sources,
    ) -> LinkStats {
        let (received, packets) = inbound.stats();
        let encode = sources.encode.newest();
        let decode = sources.decode.newest();
        let picture = sources.picture.newest();
        let voice = sources.voice.newest();
        let counts = Counts {
            outbound: outbound.stats(),
            retransmitted: flow.retransmitted(),
            inbound: received,
            packets,
            encode: encode.unwrap_or_default(),
            decode: decode.unwrap_or_default(),
            picture: picture.unwrap_or_default(),
        };
        let last = std::mem::replace(&mut self.last, counts);
        let time = now.saturating_duration_since(std::mem::replace(&mut self.at, now));
        let rate = |new: u64, old: u64| -> Option<Bitrate> {
            Some(DataSize::from_bytes(new.saturating_sub(old)) / time)
        };
        let per_second = |new: u64, old: u64| {
            (!time.is_zero()).then(|| new.saturating_sub(old) as f32 / time.as_secs_f32())
        };
        let missed = counts.packets.missed.saturating_sub(last.packets.missed);
        let expected = counts
            .packets
            .received
            .saturating_sub(last.packets.received)
            + counts.packets.lost.saturating_sub(last.packets.lost);
        LinkStats {
            estimate: Some(flow.estimate()),
            target: Some(outbound.target()),
            video_sent: rate(counts.outbound.video_bytes, last.outbound.video_bytes),
            audio_sent: rate(counts.outbound.audio_bytes, last.outbound.audio_bytes),
            retransmitted: rate(counts.retransmitted, last.retransmitted),
            sent_size: counts.outbound.size,
            sent_fps: per_second(counts.outbound.frames, last.outbound.frames),
            encoder_id: counts.outbound.encoder,
            video_received: rate(received.video_bytes, last.inbound.video_bytes),
            audio_received: rate(received.audio_bytes, last.inbound.audio_bytes),
            received_size: counts.picture.size,
            decoded_fps: per_second(counts.picture.frames, last.picture.frames),
            frames_decoded: picture.map(|picture| picture.frames),
            freeze_count: picture.map(|picture| picture.freezes),
            freeze_time: picture.map(|picture| picture.freeze_time),
            longest_picture_gap: picture.and_then(|picture| picture.longest_gap(now)),
            loss_sent: flow.loss(),
            loss_received: (expected > 0).then(|| (missed as f32 / expected as f32).min(1.0)),
            queue_delay: Some(flow.queue_delay()),
            audio_concealed: voice.map(|voice| voice.concealed),
            audio_played: voice.map(|voice| voice.played),
            audio_lost: voice.map(|voice| voice.lost),
            audio_packets: voice.map(|voice| voice.received),
            audio_recovered: voice.map(|voice| voice.recovered),
            capture_to_display: picture.and_then(|picture| picture.delay),
            encode_time: average(
                counts.encode.busy.saturating_sub(last.encode.busy),
                counts.encode.frames.saturating_sub(last.encode.frames),
            ),
            decode_time: average(
                counts.decode.busy.saturating_sub(last.decode.busy),
                counts.decode.frames.saturating_sub(last.decode.frames),
            ),
            encode_skipped: encode.map(|encode| encode.skipped_queue + encode.skipped_slow),
            ..LinkStats::default()
        }
    }
}

/// Adds how packets travel.
pub(super) fn with_path(
    stats: LinkStats,
    path: Option<Path>,
    round_trip_time: Option<Duration>,
) -> LinkStats {
    LinkStats {
        path,
        protocol: path.map(Path::protocol),
        round_trip_time,
        ..stats
    }
}

fn average(busy: Duration, pictures: u64) -> Option<Duration> {
    let pictures = u32::try_from(pictures)
        .ok()
        .filter(|pictures| *pictures > 0)?;
    Some(busy / pictures)
}
