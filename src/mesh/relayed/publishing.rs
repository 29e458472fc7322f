//! Our own media on its way to the relay: what is offered, what of it is wanted, and sending it.
//!
//! ```text
//! Offer, estimate ─▶ publish ═▶ server ═▶ wanted ─▶ layers that are encoded, sound that is taken
//! renditions ═▶ layer 0, 1, 2 ─ packetise, mark ─▶ pacer
//! ```

use std::time::{Duration, Instant};

use nonstop_rate::{Bitrate, LinkReport};
use nonstop_wire::{ClientMessage, LayerSize, Publish, Wanted};

use super::{
    Offer, RelayedConfig,
    allotment::{Allotment, Range},
    layer::Layer,
};
use crate::{
    media::{EncodedAudio, EncodedVideo, Size, audio::Microphone, video::simulcast},
    mesh::{
        link::{
            budget::Budget,
            protection::Protection,
            recovery::{Carrier, RELAYED_OPUS},
            redundancy::wrap,
            remote_clock::NtpClock,
        },
        peer::{Flow, LAYERS, RelayPeer, RtpOut},
        uplink::Seat,
    },
};

/// What layers of so many pixels, or fewer, are worth, at least and at most. The least is where the
/// encoder still holds a good half of the frame rate; more than the most is better spent on the next
/// layer.
const WORTH: [(u64, Range); LAYERS] = [
    (2 * 320 * 180, range(90, 200)),
    (2 * 640 * 360, range(300, 800)),
    (u64::MAX, range(700, 2_500)),
];

const fn range(least: u64, most: u64) -> Range {
    Range {
        least: Bitrate::from_kbps(least),
        most: Bitrate::from_kbps(most),
    }
}

/// The shape of cameras that have not shown a picture yet.
const USUAL: Size = Size::new(1920, 1080);

/// Pictures that pause for want of bandwidth are not wanted by anybody, so that little is sent by which
/// more could show: they are tried again after this time, and twice as long each time.
const RETRY: Duration = Duration::from_secs(10);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Something to send.
pub(super) enum Outgoing {
    /// A picture of a layer.
    Picture(usize, EncodedVideo),
    /// 20 ms of sound.
    Sound(EncodedAudio),
}

/// What went out so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    pub(super) video_bytes: u64,
    pub(super) audio_bytes: u64,
    pub(super) frames: u64,
    pub(super) size: Option<Size>,
    pub(super) encoder: Option<u64>,
}

/// Our publication; lives as long as the task, whichever connection there is.
pub(super) struct Publishing {
    /// The largest picture to send.
    max_size: Size,
    /// The sizes of the layers, the smallest first.
    sizes: Vec<Size>,
    offer: Option<Offer>,
    /// What the server knows.
    told: Option<Publish>,
    wanted_sound: bool,
    /// Whether others lose packets of our sound on their way from the relay.
    others_lose: bool,
    wanted: [bool; LAYERS],
    layers: Vec<Layer>,
    sound: Option<Microphone>,
    last_step: Option<u64>,
    last_sound: Option<(u64, Instant)>,
    budget: Budget,
    protection: Protection,
    carrier: Carrier,
    allotment: Allotment,
    paused: bool,
    /// While pictures pause: when they are tried again although nothing shows that they fit, and the
    /// pause until the try after that.
    retry: Option<Instant>,
    retry_pause: Duration,
    /// Our place among the connections that share the way out, while something is sent.
    seat: Option<Seat>,
    audio_bytes: u64,
}

impl Publishing {
    pub(super) fn new(max_size: Size) -> Self {
        let sizes = simulcast::sizes(USUAL, max_size);
        Self {
            max_size,
            allotment: allotment(&sizes),
            sizes,
            offer: None,
            told: None,
            wanted_sound: false,
            others_lose: false,
            wanted: [false; LAYERS],
            layers: Vec::new(),
            sound: None,
            last_step: None,
            last_sound: None,
            budget: Budget::new(),
            protection: Protection::of_new_way(),
            carrier: Carrier::default(),
            paused: false,
            retry: None,
            retry_pause: RETRY,
            seat: None,
            audio_bytes: 0,
        }
    }

    /// Takes in the size of the camera's pictures: the layers have its shape.
    pub(super) fn set_source(&mut self, source: Option<Size>) {
        let sizes = simulcast::sizes(source.unwrap_or(USUAL), self.max_size);
        if sizes == self.sizes {
            return;
        }
        tracing::debug!(?sizes, "layers");
        for (layer, size) in self.layers.iter_mut().zip(&sizes) {
            layer.set_size(*size);
        }
        self.allotment = allotment(&sizes);
        self.sizes = sizes;
    }

    /// Takes in what of ours goes through the relay.
    pub(super) fn set_offer(&mut self, offer: Option<Offer>) {
        self.offer = offer;
    }

    /// There is no connection any more, or another one: nobody has said yet what is wanted.
    pub(super) fn restart(&mut self, now: Instant) {
        self.told = None;
        self.wanted_sound = false;
        self.others_lose = false;
        self.protection = Protection::of_new_way();
        self.wanted = [false; LAYERS];
        self.sound = None;
        self.seat = None;
        self.budget = Budget::new();
        self.paused = false;
        self.retry = None;
        self.retry_pause = RETRY;
        for layer in &mut self.layers {
            layer.steer(Bitrate::ZERO, Bitrate::ZERO, now);
            layer.restart();
        }
    }

    /// The server may not know what it was told.
    pub(super) fn tell_again(&mut self) {
        self.told = None;
    }

    /// Takes in what somebody watches or listens to.
    pub(super) fn handle_wanted(&mut self, wanted: &Wanted, config: &RelayedConfig) {
        if !self.wanted_sound && wanted.sound {
            // While nothing was sent nothing was learned.
            self.protection = Protection::of_new_way();
        }
        self.wanted_sound = wanted.sound;
        self.others_lose = wanted.redundancy;
        self.wanted = std::array::from_fn(|layer| wanted.layers.get(layer) == Some(&true));
        if self.wanted.contains(&true) && self.layers.is_empty() {
            // All that can be offered: a camera may come that needs more than the one there is.
            let sizes = (0..LAYERS).filter_map(|layer| self.sizes.get(layer).or(self.sizes.last()));
            let join = |size: &Size| Layer::join(&config.renditions, *size);
            match sizes.map(join).collect() {
                Ok(layers) => self.layers = layers,
                Err(error) => tracing::error!(%error, "no thread for encoding"),
            }
        }
        if self.sends_sound() {
            self.sound.get_or_insert_with(|| config.audio.subscribe());
        } else {
            self.sound = None;
        }
    }

    /// Returns what the server is to be told.
    pub(super) fn due(&mut self) -> Option<ClientMessage> {
        let next = self.offer.map(|offer| {
            let layers = match offer.pictures && !self.paused {
                true => self.allotment.offered(),
                false => 0,
            };
            let side = |size: &Size| LayerSize {
                width: size.width,
                height: size.height,
            };
            Publish {
                sound: offer.sound,
                layers: self.sizes.iter().take(layers).map(side).collect(),
                preferred: offer.preferred,
            }
        });
        if next == self.told {
            return None;
        }
        self.told.clone_from(&next);
        Some(next.map_or(ClientMessage::Unpublish, ClientMessage::Publish))
    }

    /// Somebody needs a keyframe of a layer.
    pub(super) fn request_keyframe(&mut self, layer: usize, now: Instant) {
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.request_keyframe(now);
        }
    }

    /// Tells whether something is to be encoded and sent.
    pub(super) fn active(&self) -> bool {
        self.sends_sound() || self.sends_pictures() || self.paused
    }

    fn sends_sound(&self) -> bool {
        self.wanted_sound && self.offer.is_some_and(|offer| offer.sound)
    }

    fn sends_pictures(&self) -> bool {
        self.wanted.contains(&true) && self.offer.is_some_and(|offer| offer.pictures)
    }

    /// Tells encoders what they may spend.
    pub(super) fn steer(&mut self, config: &RelayedConfig, flow: &Flow, now: Instant) {
        if !self.active() {
            self.seat = None;
            self.idle(now);
            flow.set_share(None);
            flow.set_wanted(Bitrate::ZERO);
            return;
        }
        let pictures = self.sends_pictures();
        let most = self.allotment.useful(self.wanted);
        let most = match pictures {
            true => Some(most),
            false => self.paused.then_some(WORTH[0].1.most),
        };
        let useful = Budget::needed(most, self.protection.useful());
        let watched = self.sizes.iter().zip(self.wanted).filter(|(_, it)| *it);
        let pixels: u64 = watched.map(|(size, _)| size.pixels()).sum();
        let report = LinkReport {
            estimate: flow.estimate(),
            acknowledged: flow.acknowledged().unwrap_or_default(),
            queue_delay: flow.queue_delay(),
            weight: pixels.max(1) as f64,
            wanted: useful,
        };
        let seat = self
            .seat
            .get_or_insert_with(|| config.uplink.join_relay(now));
        flow.set_share(seat.report(now, report));
        flow.set_wanted(useful);
        let (target, beside) = (flow.target(), pictures || self.paused);
        let depth = (self.protection).look(flow.loss(), self.others_lose, beside, target, now);
        let share = self.budget.share(target, beside, depth, now);
        if let Some(sound) = &self.sound {
            sound.set_wish(share.sound);
        }
        self.pause(share.paused, now);
        if !pictures || share.paused {
            self.idle(now);
            return;
        }
        let targets = self.allotment.divide(share.video, self.wanted, now);
        let lasting = Budget::video(flow.lasting(), share.sound + share.redundancy);
        let factor = lasting.as_f64() / share.video.as_f64().max(1.0);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let target = targets[index];
            if flow.layer_needs_keyframe(index) && flow.has_room() && layer.active() {
                layer.request_keyframe(now);
            }
            layer.steer(target, target.scale(factor.max(1.0)), now);
        }
    }

    fn pause(&mut self, paused: bool, now: Instant) {
        let offered = self.offer.is_some_and(|offer| offer.pictures);
        self.paused = paused && offered;
        if !self.paused {
            self.retry = None;
            return;
        }
        let retry = *self.retry.get_or_insert(now + self.retry_pause);
        if retry <= now {
            self.budget = Budget::new();
            self.paused = false;
            self.retry = None;
            self.retry_pause = (self.retry_pause * 2).min(LONGEST_RETRY);
        }
    }

    fn idle(&mut self, now: Instant) {
        for layer in &mut self.layers {
            layer.steer(Bitrate::ZERO, Bitrate::ZERO, now);
        }
    }

    /// Waits for the next thing to send; sound comes first, and pictures only where they may.
    pub(super) async fn next(&mut self, pictures: bool) -> Outgoing {
        let [small, middle, large] = {
            let mut layers = self.layers.iter_mut();
            [layers.next(), layers.next(), layers.next()]
        };
        tokio::select! {
            biased;
            Some(sound) = heard(&mut self.sound) => Outgoing::Sound(sound),
            Some(picture) = seen(small), if pictures => Outgoing::Picture(0, picture),
            Some(picture) = seen(middle), if pictures => Outgoing::Picture(1, picture),
            Some(picture) = seen(large), if pictures => Outgoing::Picture(2, picture),
            // All ends are gone: there will never be anything.
            else => std::future::pending().await,
        }
    }

    /// Sends it; waits while the connection's queue is full.
    pub(super) async fn send(
        &mut self,
        outgoing: Outgoing,
        peer: &mut RelayPeer,
        config: &RelayedConfig,
        now: Instant,
    ) {
        match outgoing {
            Outgoing::Sound(sound) => {
                // The mark begins a talk spurt (RFC 7587 section 4.1): silence before was not sent.
                let marker = (self.last_step).is_none_or(|last| sound.step != last + 1);
                self.last_step = Some(sound.step);
                self.last_sound = Some((sound.step, sound.captured));
                let timestamp = config.time_base.sound(sound.step);
                let depth = self.protection.depth();
                let earlier = self.carrier.before(timestamp, &sound.data, depth);
                let payload = wrap(RELAYED_OPUS, &sound.data, &earlier);
                self.audio_bytes += payload.len() as u64;
                let packet = RtpOut {
                    timestamp,
                    marker,
                    payload,
                    level: Some((sound.level, sound.voice)),
                    redundant: false,
                };
                peer.sound.send(packet).await;
            }
            Outgoing::Picture(index, picture) => {
                let stream = peer.layers.get_mut(index);
                if let Some((layer, stream)) = self.layers.get_mut(index).zip(stream)
                    && layer.active()
                {
                    layer.send(picture, stream, &config.time_base, now).await;
                }
            }
        }
    }

    /// Tells the relay how our time stamps and our clock belong together.
    pub(super) async fn report(
        &self,
        clock: &NtpClock,
        peer: &RelayPeer,
        config: &RelayedConfig,
        now: Instant,
    ) {
        let ntp = clock.at(now);
        for (layer, stream) in self.layers.iter().zip(&peer.layers) {
            if layer.is_fresh(now) {
                let timestamp = config.time_base.picture(now);
                stream.send_report(ntp, timestamp).await;
            }
        }
        if let Some((step, captured)) = self.last_sound.filter(|_| self.sound.is_some()) {
            let timestamp = config.time_base.sound_now(step, captured, now);
            peer.sound.send_report(ntp, timestamp).await;
        }
    }

    /// Returns when a keyframe is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (self.layers.iter()).filter_map(Layer::keyframe_due).min()
    }

    /// Returns what went out so far; size and encoder are those of the largest layer that is sent.
    pub(super) fn sent(&self) -> Sent {
        let mut sent = Sent {
            audio_bytes: self.audio_bytes,
            ..Sent::default()
        };
        for layer in &self.layers {
            let stats = layer.stats();
            sent.video_bytes += stats.bytes;
            if layer.active() {
                sent.frames = stats.frames;
                sent.size = stats.size;
                sent.encoder = stats.encoder;
            }
        }
        sent
    }

    /// Returns what all encoders together are told.
    pub(super) fn target(&self) -> Bitrate {
        self.layers.iter().map(Layer::target).sum()
    }

    /// Returns which layers are sent, how many are offered, and whether pictures pause.
    pub(super) fn state(&self) -> ([bool; LAYERS], usize, bool) {
        let sent = std::array::from_fn(|index| self.layers.get(index).is_some_and(Layer::active));
        (sent, self.allotment.offered(), self.paused)
    }
}

fn allotment(sizes: &[Size]) -> Allotment {
    let worth = |size: &Size| {
        let fits = |(most, _): &&(u64, Range)| size.pixels() < *most;
        WORTH
            .iter()
            .find(fits)
            .map_or(WORTH[0].1, |(_, range)| *range)
    };
    Allotment::new(sizes.iter().map(worth).collect())
}

async fn heard(sound: &mut Option<Microphone>) -> Option<EncodedAudio> {
    match sound {
        Some(sound) => sound.packets.recv().await,
        None => None,
    }
}

async fn seen(layer: Option<&mut Layer>) -> Option<EncodedVideo> {
    match layer {
        Some(layer) => layer.member.pictures.recv().await,
        None => None,
    }
}
