//! From the encoders to the network.
//!
//! ```text
//! camera ═▶ encode thread ─ 1 unit ═▶ packetise ─▶ pacer
//!     ▲          control: target, keyframes          │
//!     └──────────────── full: skipped before encoding ◀─ much waits
//! ```

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use nonstop_rate::{Bitrate, DataSize};
use tokio::sync::mpsc;

use super::{
    LinkConfig, LinkError,
    packetise::{MOST_PAYLOAD, packetise},
    remote_clock::NtpClock,
};
use crate::{
    latest::{Latest, Reader},
    media::{
        EncodedAudio, EncodedVideo, Size,
        video::{EncodeControl, EncodeStats, EncodeThread},
    },
    mesh::peer::{Flow, Peer, RtpOut},
};

/// What sound takes of the estimate: 32 kb/s of Opus and 50 packets a second of headers.
const SOUND: Bitrate = Bitrate::from_kbps(56);
/// The share of the rest that is not headers.
const PAYLOAD_SHARE: f64 = 0.93;
/// The encoder is never told less.
const LEAST_TARGET: Bitrate = Bitrate::from_kbps(30);
/// The shortest pause between two keyframes on request.
const KEYFRAME_PAUSE: Duration = Duration::from_millis(300);
/// How long what waits in the pacer may take before pictures are left to the encode thread to skip.
const MOST_WAITING: Duration = Duration::from_millis(150);

static ENCODERS: AtomicU64 = AtomicU64::new(1);

/// What went out so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OutboundStats {
    pub(super) video_bytes: u64,
    pub(super) audio_bytes: u64,
    pub(super) frames: u64,
    pub(super) size: Option<Size>,
}

/// The encoder of pictures and the queue of sound; lives as long as the link.
pub(super) struct Outbound {
    thread: EncodeThread,
    encoder_id: u64,
    control: Latest<EncodeControl>,
    current: EncodeControl,
    pictures: mpsc::Receiver<EncodedVideo>,
    sound: mpsc::Receiver<EncodedAudio>,
    keyframe_due: Option<Instant>,
    last_keyframe_request: Option<Instant>,
    started: Instant,
    /// What the time stamps begin with.
    base: u32,
    /// Capture and time stamp of the newest sound.
    last_sound: Option<(Instant, u32)>,
    stats: OutboundStats,
}

/// Something to send.
pub(super) enum Outgoing {
    /// A picture.
    Picture(EncodedVideo),
    /// 20 ms of sound.
    Sound(EncodedAudio),
}

impl Outbound {
    /// Starts the encode thread, which waits until there is somebody to send to.
    pub(super) fn start(config: &LinkConfig, now: Instant) -> Result<Self, LinkError> {
        let setup = |error: String| LinkError::Setup(error);
        // One unit: full means that the next picture is skipped before it is encoded.
        let (output, pictures) = mpsc::channel(1);
        let current = EncodeControl {
            target: LEAST_TARGET,
            max_size: config.max_size,
            keyframe_requests: 0,
            active: false,
        };
        let control = Latest::with(current);
        let thread = EncodeThread::start(
            &format!("encode-{}", config.peer),
            config.camera.clone(),
            control.reader(),
            output,
        )
        .map_err(|error| setup(error.to_string()))?;
        Ok(Self {
            thread,
            encoder_id: ENCODERS.fetch_add(1, Relaxed),
            control,
            current,
            pictures,
            sound: config.audio.subscribe(),
            keyframe_due: None,
            last_keyframe_request: None,
            started: now,
            base: getrandom::u32().map_err(|error| setup(error.to_string()))?,
            last_sound: None,
            stats: OutboundStats::default(),
        })
    }

    /// Starts or stops encoding. What was encoded for nobody is forgotten.
    pub(super) fn set_active(&mut self, active: bool) {
        while self.pictures.try_recv().is_ok() || self.sound.try_recv().is_ok() {}
        self.current.active = active;
        self.current.keyframe_requests += u64::from(active);
        self.control.set(self.current);
    }

    /// Waits for the next thing to send; sound comes first, and pictures only where they may.
    pub(super) async fn next(&mut self, pictures: bool) -> Outgoing {
        loop {
            tokio::select! {
                biased;
                Some(sound) = self.sound.recv() => return Outgoing::Sound(sound),
                Some(picture) = self.pictures.recv(), if pictures => {
                    return Outgoing::Picture(picture);
                }
                // Both ends are gone: there will never be anything.
                else => std::future::pending().await,
            }
        }
    }

    /// Sends it; waits while the connection's queue is full.
    pub(super) async fn send(&mut self, outgoing: Outgoing, peer: &mut Peer) {
        match outgoing {
            Outgoing::Sound(sound) => {
                let timestamp = (self.base).wrapping_add((sound.step as u32).wrapping_mul(960));
                // The mark begins a talk spurt (RFC 7587 section 4.1): silence before was not sent.
                let marker = self
                    .last_sound
                    .is_none_or(|(_, last)| timestamp != last.wrapping_add(960));
                self.last_sound = Some((sound.captured, timestamp));
                self.stats.audio_bytes += sound.data.len() as u64;
                peer.audio
                    .send(RtpOut {
                        timestamp,
                        marker,
                        payload: sound.data,
                        level: Some((sound.level, sound.voice)),
                    })
                    .await;
            }
            Outgoing::Picture(picture) => {
                let timestamp = self.video_timestamp(picture.captured);
                let mut payloads = packetise(&picture.data, MOST_PAYLOAD)
                    .into_iter()
                    .peekable();
                while let Some(payload) = payloads.next() {
                    self.stats.video_bytes += payload.len() as u64;
                    let marker = payloads.peek().is_none();
                    peer.video
                        .send(RtpOut {
                            timestamp,
                            marker,
                            payload,
                            level: None,
                        })
                        .await;
                }
                self.stats.frames += 1;
                self.stats.size = Some(picture.size);
            }
        }
    }

    /// Tells the other side how our time stamps and our clock belong together.
    pub(super) async fn report(&self, clock: &NtpClock, peer: &Peer, now: Instant) {
        let ntp = clock.at(now);
        peer.video.send_report(ntp, self.video_timestamp(now)).await;
        if let Some((captured, timestamp)) = self.last_sound {
            let since = ticks(captured, now, 48_000);
            peer.audio
                .send_report(ntp, timestamp.wrapping_add(since))
                .await;
        }
    }

    /// The other side needs a keyframe.
    pub(super) fn handle_keyframe_request(&mut self, now: Instant) {
        let earliest = self
            .last_keyframe_request
            .map_or(now, |last| last + KEYFRAME_PAUSE);
        self.keyframe_due.get_or_insert(earliest.max(now));
    }

    /// Tells the encoder what it may spend, and passes on what was asked for.
    pub(super) fn steer(&mut self, estimate: Bitrate, now: Instant) {
        let target = (estimate - SOUND).scale(PAYLOAD_SHARE).max(LEAST_TARGET);
        let difference = target.bps().abs_diff(self.current.target.bps());
        let mut changed = difference * 100 > self.current.target.bps();
        if self.keyframe_due.is_some_and(|due| due <= now) {
            self.keyframe_due = None;
            self.last_keyframe_request = Some(now);
            self.current.keyframe_requests += 1;
            changed = true;
        }
        if changed {
            self.current.target = target;
            self.control.set(self.current);
        }
    }

    /// Tells whether the pacer has room for another picture.
    pub(super) fn has_room(flow: &Flow) -> bool {
        DataSize::from_bytes(flow.waiting()) / flow.estimate() < MOST_WAITING
    }

    /// Returns when [`steer`](Self::steer) has something to do besides following the estimate.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.keyframe_due
    }

    /// Returns what the encoder is told.
    pub(super) fn target(&self) -> Bitrate {
        self.current.target
    }

    /// Returns the encoder's number, unlike that of any other in this process.
    pub(super) fn encoder_id(&self) -> u64 {
        self.encoder_id
    }

    /// Returns what went out so far.
    pub(super) fn stats(&self) -> OutboundStats {
        self.stats
    }

    /// Returns a reader of what the encoder has done.
    pub(super) fn encode_stats(&self) -> Reader<EncodeStats> {
        self.thread.stats()
    }

    fn video_timestamp(&self, captured: Instant) -> u32 {
        self.base
            .wrapping_add(ticks(self.started, captured, 90_000))
    }
}

/// Returns the time between two instants in ticks of a clock, wrapping, negative where it is.
fn ticks(from: Instant, to: Instant, rate: u64) -> u32 {
    let between = |a: Instant, b: Instant| {
        let micros = b.duration_since(a).as_micros() as u64;
        (micros * rate / 1_000_000) as u32
    };
    if to >= from {
        between(from, to)
    } else {
        between(to, from).wrapping_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn ticks_count_both_ways_and_wrap() {
        let start = clock::now();
        let later = start + Duration::from_millis(1_500);
        assert_eq!(ticks(start, later, 90_000), 135_000);
        assert_eq!(ticks(later, start, 90_000), 135_000_u32.wrapping_neg());
        let day = start + Duration::from_secs(86_400);
        assert_eq!(ticks(start, day, 90_000), (86_400_u64 * 90_000) as u32);
    }
}
