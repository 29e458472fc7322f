//! One layer of our pictures: its encoder's control, its keyframes and its packets.

use std::{
    io,
    time::{Duration, Instant},
};

use nonstop_rate::Bitrate;

use super::marking::{Marker, Picture};
use crate::{
    media::{
        EncodedVideo, Size,
        video::{EncodeControl, Member, Renditions},
    },
    mesh::{
        link::packetise::{MOST_PAYLOAD, packetise},
        peer::{RtpOut, Stream},
        time_base::TimeBase,
    },
};

/// The shortest pause between two keyframes on request.
const KEYFRAME_PAUSE: Duration = Duration::from_millis(300);
/// A report about a stream is due as long as something of it was sent within this time.
const FRESH: Duration = Duration::from_secs(2);

/// What of a layer went out so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LayerStats {
    pub(super) bytes: u64,
    pub(super) frames: u64,
    pub(super) size: Option<Size>,
    pub(super) encoder: Option<u64>,
}

/// A layer.
pub(super) struct Layer {
    pub(super) member: Member,
    current: EncodeControl,
    marker: Marker,
    keyframe_due: Option<Instant>,
    last_request: Option<Instant>,
    sent: Option<Instant>,
    stats: LayerStats,
}

impl Layer {
    /// Takes part in the renditions; nothing is encoded yet.
    pub(super) fn join(renditions: &Renditions, size: Size) -> io::Result<Self> {
        let current = EncodeControl {
            target: Bitrate::ZERO,
            lasting: Bitrate::ZERO,
            max_size: size,
            keyframe_requests: 0,
            active: false,
            layer: true,
        };
        Ok(Self {
            member: renditions.join(current)?,
            current,
            marker: Marker::default(),
            keyframe_due: None,
            last_request: None,
            sent: None,
            stats: LayerStats::default(),
        })
    }

    /// Sets the size of its pictures.
    pub(super) fn set_size(&mut self, size: Size) {
        self.current.max_size = size;
        self.member.control.set(self.current);
    }

    /// Tells whether it is encoded.
    pub(super) fn active(&self) -> bool {
        self.current.active
    }

    /// Returns what its encoder is told.
    pub(super) fn target(&self) -> Bitrate {
        match self.current.active {
            true => self.current.target,
            false => Bitrate::ZERO,
        }
    }

    /// Returns what went out so far.
    pub(super) fn stats(&self) -> LayerStats {
        self.stats
    }

    /// Somebody needs a keyframe.
    pub(super) fn request_keyframe(&mut self, now: Instant) {
        let earliest = self.last_request.map_or(now, |last| last + KEYFRAME_PAUSE);
        self.keyframe_due.get_or_insert(earliest.max(now));
    }

    /// Returns when a keyframe that was asked for is due.
    pub(super) fn keyframe_due(&self) -> Option<Instant> {
        self.keyframe_due.filter(|_| self.current.active)
    }

    /// Tells the encoder what it may spend, now and for good; zero ends encoding.
    pub(super) fn steer(&mut self, target: Bitrate, lasting: Bitrate, now: Instant) {
        let mut next = self.current;
        next.active = target > Bitrate::ZERO;
        if next.active && !self.current.active {
            // What was encoded before is old, and the stream goes on with a keyframe.
            while self.member.pictures.try_recv().is_ok() {}
            next.keyframe_requests += 1;
            self.last_request = Some(now);
            self.keyframe_due = None;
        }
        // Small wavering is left alone.
        let differs = |new: Bitrate, old: Bitrate| new.bps().abs_diff(old.bps()) * 100 > old.bps();
        if differs(target, next.target) {
            next.target = target;
        }
        if differs(lasting, next.lasting) {
            next.lasting = lasting;
        }
        if next.active && self.keyframe_due.is_some_and(|due| due <= now) {
            self.keyframe_due = None;
            self.last_request = Some(now);
            next.keyframe_requests += 1;
        }
        if next != self.current {
            self.current = next;
            self.member.control.set(next);
        }
    }

    /// Sends a picture; waits while the connection's queue is full.
    pub(super) async fn send(
        &mut self,
        picture: EncodedVideo,
        stream: &mut Stream,
        time_base: &TimeBase,
        now: Instant,
    ) {
        let timestamp = time_base.picture(picture.captured);
        let marking = Picture {
            independent: picture.keyframe,
            discardable: picture.marking.discardable,
            base_sync: picture.marking.base_sync,
            temporal: picture.marking.temporal,
        };
        self.marker.begin(marking);
        let payloads = packetise(&picture.data, MOST_PAYLOAD);
        let mut payloads = payloads.into_iter().enumerate().peekable();
        while let Some((index, payload)) = payloads.next() {
            self.stats.bytes += payload.len() as u64;
            let last = payloads.peek().is_none();
            let packet = RtpOut {
                timestamp,
                marker: last,
                payload,
                level: None,
                redundant: false,
            };
            let marking = self.marker.packet(marking, index == 0, last);
            stream.send_marked(packet, Some(marking)).await;
        }
        self.sent = Some(now);
        self.stats.frames += 1;
        self.stats.size = Some(picture.size);
        self.stats.encoder = Some(picture.encoder);
    }

    /// Tells whether the relay is to hear of the stream's clock.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        let age = |sent| now.saturating_duration_since(sent);
        self.sent.is_some_and(|sent| age(sent) < FRESH)
    }

    /// The connection is a new one: nothing was sent on it.
    pub(super) fn restart(&mut self) {
        self.sent = None;
        self.keyframe_due = None;
    }
}
