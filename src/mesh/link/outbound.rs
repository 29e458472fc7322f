//! From the encoders to the network.
//!
//! ```text
//! camera ═▶ renditions ─ 3 units ═▶ packetise ─▶ pacer
//!     ▲          control: target, size, keyframes    │
//!     └──────────────── full: skipped before encoding ◀─ much waits
//! ```

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;

use super::{
    LinkConfig, LinkError, LinkEvent,
    budget::Budget,
    packetise::{MOST_PAYLOAD, packetise},
    protection::Protection,
    recovery::Carrier,
    redundancy::wrap,
    remote_clock::NtpClock,
    talk::is_nothing,
};
use crate::{
    latest::Reader,
    media::{
        EncodedAudio, EncodedVideo, Size,
        audio::Microphone,
        video::{EncodeControl, EncodeStats, Member, ladder},
    },
    mesh::{
        peer::{Flow, Peer, RtpOut},
        time_base::TimeBase,
    },
};

/// The shortest pause between two keyframes on request.
const KEYFRAME_PAUSE: Duration = Duration::from_millis(300);
/// The shortest pause between two changes of whether pictures are wanted at all.
const WANTED_PAUSE: Duration = Duration::from_secs(1);

/// What went out so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OutboundStats {
    pub(super) video_bytes: u64,
    pub(super) audio_bytes: u64,
    pub(super) frames: u64,
    pub(super) size: Option<Size>,
    /// The encoder of the newest picture.
    pub(super) encoder: Option<u64>,
}

/// The link's part of the encoders and of the microphone; lives as long as the link.
pub(super) struct Outbound {
    member: Member,
    current: EncodeControl,
    sound: Microphone,
    budget: Budget,
    protection: Protection,
    carrier: Carrier,
    /// Whether there is somebody to send to.
    connected: bool,
    /// Whether the other side takes in no sound here.
    deaf: bool,
    /// Whether pictures pause for want of bandwidth.
    paused: bool,
    /// The largest picture to send, whatever is wanted.
    max_size: Size,
    /// Whether the other side wants pictures, and since when that is so.
    wanted: bool,
    wanted_since: Option<Instant>,
    keyframe_due: Option<Instant>,
    last_keyframe_request: Option<Instant>,
    time_base: TimeBase,
    /// The newest sound: its step, and when it was captured.
    last_sound: Option<(u64, Instant)>,
    /// The step of the last sound that was sent.
    last_step: Option<u64>,
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
    /// Takes part in the call's renditions; nothing is encoded until there is somebody to send to.
    pub(super) fn start(config: &LinkConfig) -> Result<Self, LinkError> {
        let current = EncodeControl {
            target: Bitrate::ZERO,
            lasting: Bitrate::ZERO,
            max_size: config.max_size,
            keyframe_requests: 0,
            active: false,
            layer: false,
        };
        let member = config.renditions.join(current);
        Ok(Self {
            member: member.map_err(|error| LinkError::Setup(error.to_string()))?,
            current,
            sound: config.audio.subscribe(),
            budget: Budget::new(),
            protection: Protection::of_new_way(),
            carrier: Carrier::default(),
            connected: false,
            deaf: false,
            paused: false,
            max_size: config.max_size,
            wanted: true,
            wanted_since: None,
            keyframe_due: None,
            last_keyframe_request: None,
            time_base: config.time_base,
            last_sound: None,
            last_step: None,
            stats: OutboundStats::default(),
        })
    }

    /// Starts or stops encoding. What was encoded for nobody is forgotten.
    pub(super) fn set_active(&mut self, active: bool) {
        while self.member.pictures.try_recv().is_ok() || self.sound.packets.try_recv().is_ok() {}
        self.connected = active;
        self.budget.interrupt();
        self.current.active = active && self.wanted && !self.paused;
        self.current.keyframe_requests += u64::from(active);
        self.member.control.set(self.current);
    }

    /// Waits for the next thing to send; sound comes first, and pictures only where they may.
    pub(super) async fn next(&mut self, pictures: bool) -> Outgoing {
        loop {
            tokio::select! {
                biased;
                Some(sound) = self.sound.packets.recv() => return Outgoing::Sound(sound),
                Some(picture) = self.member.pictures.recv(), if pictures => {
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
                self.last_sound = Some((sound.step, sound.captured));
                if self.deaf {
                    return;
                }
                let timestamp = self.time_base.sound(sound.step);
                // The mark begins a talk spurt (RFC 7587 section 4.1): silence before was not sent.
                let before = self.last_step.replace(sound.step);
                let marker = before.is_none_or(|before| sound.step != before + 1);
                let understood = peer.audio.redundant().is_some();
                let depth = self.protection.depth() * usize::from(understood);
                let earlier = self.carrier.before(timestamp, &sound.data, depth);
                let redundant = !earlier.is_empty();
                let payload = match redundant {
                    true => wrap(peer.audio.payload_type(), &sound.data, &earlier),
                    false => sound.data,
                };
                self.stats.audio_bytes += payload.len() as u64;
                peer.audio
                    .send(RtpOut {
                        timestamp,
                        marker,
                        payload,
                        level: Some((sound.level, sound.voice)),
                        redundant,
                    })
                    .await;
            }
            Outgoing::Picture(picture) => {
                let timestamp = self.time_base.picture(picture.captured);
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
                            redundant: false,
                        })
                        .await;
                }
                self.stats.frames += 1;
                self.stats.size = Some(picture.size);
                self.stats.encoder = Some(picture.encoder);
            }
        }
    }

    /// Tells the other side how our time stamps and our clock belong together.
    pub(super) async fn report(&self, clock: &NtpClock, peer: &Peer, now: Instant) {
        let ntp = clock.at(now);
        let timestamp = self.time_base.picture(now);
        peer.video.send_report(ntp, timestamp).await;
        if let Some((step, captured)) = self.last_sound {
            let timestamp = self.time_base.sound_now(step, captured, now);
            peer.audio.send_report(ntp, timestamp).await;
        }
    }

    /// The other side needs a keyframe.
    pub(super) fn handle_keyframe_request(&mut self, now: Instant) {
        let earliest = self
            .last_keyframe_request
            .map_or(now, |last| last + KEYFRAME_PAUSE);
        self.keyframe_due.get_or_insert(earliest.max(now));
    }

    /// Pictures were dropped on their way out: nothing helps but a keyframe, once there is room for it.
    pub(super) fn handle_dropped(&mut self, flow: &Flow, now: Instant) {
        let asked = self.last_keyframe_request;
        if asked.is_none_or(|asked| now >= asked + KEYFRAME_PAUSE) && flow.has_room() {
            self.keyframe_due.get_or_insert(now);
        }
    }

    /// Returns the most that there is use for: sound, and pictures where they are looked at.
    pub(super) fn useful(&self) -> Bitrate {
        if self.deaf && !self.wanted {
            return Bitrate::ZERO;
        }
        let (_, most) = ladder::most(self.max_size, self.current.max_size);
        Budget::needed(self.wanted.then_some(most), self.protection.useful())
    }

    /// Tells whether the other side takes in no sound here, because it comes through the relay.
    pub(super) fn set_deaf(&mut self, deaf: bool) {
        self.deaf = deaf;
    }

    /// Tells the encoders what they may spend and what is looked at, and passes on what was asked
    /// for. `wanted` is how large the other side shows our pictures, if it said so; `loss` the share of
    /// packets lost lately, and `understood` whether the other side takes redundancy in sound. Returns news.
    pub(super) fn steer(
        &mut self,
        estimate: Bitrate,
        lasting: Bitrate,
        wanted: Option<Size>,
        loss: Option<f32>,
        understood: bool,
        now: Instant,
    ) -> Option<LinkEvent> {
        self.want(wanted, now);
        let before = self.protection.depth();
        let depth = (self.protection).look(loss, false, self.wanted, estimate, now);
        if depth != before {
            tracing::debug!(depth, ?loss, %estimate, "sound carries more earlier sound, or less");
        }
        let depth = depth * usize::from(understood);
        let share = (self.budget).share(estimate, self.wanted, depth, now);
        match self.deaf {
            true => self.sound.set_no_wish(),
            false => self.sound.set_wish(share.sound),
        }
        let mut next = self.current;
        // Small wavering is left alone.
        if share.video.bps().abs_diff(next.target.bps()) * 100 > next.target.bps() {
            next.target = share.video;
        }
        let lasting = Budget::video(lasting, share.sound + share.redundancy);
        if lasting.bps().abs_diff(next.lasting.bps()) * 100 > next.lasting.bps() {
            next.lasting = lasting;
        }
        if self.keyframe_due.is_some_and(|due| due <= now) {
            self.keyframe_due = None;
            self.last_keyframe_request = Some(now);
            next.keyframe_requests += 1;
        }
        if let Some(size) = wanted.filter(|size| !is_nothing(*size)) {
            let rung = ladder::at_least(size);
            next.max_size = Size::new(
                rung.width.min(self.max_size.width),
                rung.height.min(self.max_size.height),
            );
        }
        let before = std::mem::replace(&mut self.paused, share.paused);
        next.active = self.connected && self.wanted && !self.paused;
        if next != self.current {
            self.current = next;
            self.member.control.set(next);
        }
        match (before, self.paused) {
            (false, true) => Some(LinkEvent::VideoPaused),
            (true, false) => Some(LinkEvent::VideoResumed),
            _ => None,
        }
    }

    /// Pictures that nobody looks at are not encoded. Each return of pictures costs a keyframe, so
    /// there is at most one a second, however often the other side changes its mind.
    fn want(&mut self, wanted: Option<Size>, now: Instant) {
        let wants = wanted.is_none_or(|size| !is_nothing(size));
        let early = self
            .wanted_since
            .is_some_and(|since| now.saturating_duration_since(since) < WANTED_PAUSE);
        if wants != self.wanted && !early {
            self.wanted = wants;
            self.wanted_since = Some(now);
        }
    }

    /// Tells whether pictures pause for want of bandwidth.
    pub(super) fn paused(&self) -> bool {
        self.paused
    }

    /// Returns when [`steer`](Self::steer) has something to do besides following the estimate.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.keyframe_due
    }

    /// Returns what the encoder is told.
    pub(super) fn target(&self) -> Bitrate {
        self.current.target
    }

    /// Returns what went out so far.
    pub(super) fn stats(&self) -> OutboundStats {
        self.stats
    }

    /// Returns a reader of what the encoder has done.
    pub(super) fn encode_stats(&self) -> Reader<EncodeStats> {
        self.member.stats.clone()
    }
}
