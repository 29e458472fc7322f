//! Somebody whose media we take in through the relay.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Take, figures::Counts};
use crate::{
    media::Way,
    mesh::{
        link::{
            inbound::{Decoder, Inbound},
            recovery::{RELAYED_OPUS, Unpacker},
            talk::is_nothing,
        },
        peer::{Kind, RtpIn},
    },
};

/// How long a decoder outlives the wish for pictures: who turns a page back finds it.
const AFTERLIFE: Duration = Duration::from_secs(2);
/// A keyframe is asked for as long as something of the stream came within this time: the relay may
/// pass on nothing for want of bandwidth.
const FLOWING: Duration = Duration::from_secs(1);
/// A picture is about as new as what is shown, where it is no older than this: the way through the
/// relay may be longer than the one straight from the participant.
const AS_NEW: Duration = Duration::from_millis(300);

/// Packets of sound that must have come in time before the other way can be let go: 200 ms.
const IN_TIME: u32 = 10;

/// What is to be asked for, of which stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// These packets again.
    Again(u32, Vec<u16>),
    /// A keyframe.
    Keyframe(u32),
}

/// A person. See the module.
pub(super) struct Person {
    pub(super) take: Take,
    inbound: Inbound,
    decoder: Option<Decoder>,
    /// Since when nothing of them is wanted.
    unwanted_since: Option<Instant>,
    picture_came: Option<Instant>,
    /// Pictures decoded before they were taken in.
    frames_before: u64,
    told_sound: bool,
    /// Packets of sound since it is wanted.
    sounds: u32,
    sound: Unpacker,
    told_picture: bool,
    pub(super) paused: bool,
    audio_bytes: u64,
    pub(super) counts: Counts,
}

impl Person {
    pub(super) fn new(take: Take) -> Self {
        Self {
            counts: Counts::new(&take),
            take,
            inbound: Inbound::new(),
            decoder: None,
            unwanted_since: None,
            picture_came: None,
            frames_before: 0,
            told_sound: false,
            sounds: 0,
            sound: Unpacker::default(),
            told_picture: false,
            paused: false,
            audio_bytes: 0,
        }
    }

    /// Takes in what is wanted of them now.
    pub(super) fn set_take(&mut self, take: Take) {
        if take.sound && !self.take.sound {
            self.told_sound = false;
            self.sounds = 0;
        }
        if !is_nothing(take.size) && is_nothing(self.take.size) {
            self.told_picture = false;
            self.frames_before = self.decoded();
            self.paused = false;
        }
        self.take = take;
        self.unwanted_since = None;
    }

    /// Nothing of them is wanted any more.
    pub(super) fn leave(&mut self) {
        self.take.size = crate::media::Size::new(0, 0);
        self.take.sound = false;
    }

    /// The connection is another one, or their streams are.
    pub(super) fn restart(&mut self, round_trip: Option<Duration>) {
        self.inbound = Inbound::new();
        self.sound = Unpacker::default();
        self.told_sound = false;
        self.sounds = 0;
        self.told_picture = false;
        self.frames_before = self.decoded();
        self.picture_came = None;
        self.paused = false;
        self.counts.restart();
        if let Some(round_trip) = round_trip {
            self.inbound.set_round_trip(round_trip);
        }
    }

    pub(super) fn set_round_trip(&mut self, round_trip: Duration) {
        self.inbound.set_round_trip(round_trip);
    }

    /// Takes in a packet of pictures.
    pub(super) fn handle_picture(&mut self, packet: RtpIn, wake: &Arc<Notify>, now: Instant) {
        if self.decoder.is_none() {
            if is_nothing(self.take.size) {
                return;
            }
            let (id, slot) = (self.take.id, &self.take.picture);
            match Decoder::start(id, Way::Relayed, slot, wake) {
                Ok(decoder) => self.decoder = Some(decoder),
                Err(error) => {
                    tracing::error!(%error, "no thread for decoding");
                    return;
                }
            }
            self.frames_before = 0;
        }
        self.picture_came = Some(packet.arrived);
        if let Some(decoder) = &self.decoder {
            self.inbound.handle_video(packet, decoder, now);
        }
    }

    /// Takes in a packet of sound; returns true, once since it is wanted, when the sound that came this
    /// way is in time to be played without what comes another way.
    pub(super) fn handle_sound(&mut self, packet: RtpIn) -> bool {
        if let Some(sequence) = packet.newest_picture {
            self.inbound.expect(sequence, packet.arrived);
        }
        if !self.take.sound || packet.payload.is_empty() {
            return false;
        }
        self.audio_bytes += packet.payload.len() as u64;
        match self.sound.redundant(&packet, RELAYED_OPUS, Way::Relayed) {
            Ok(sounds) => {
                for sound in sounds {
                    self.take.voice.push(sound);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "not redundant audio data");
                return false;
            }
        }
        self.sounds = self.sounds.saturating_add(1);
        let stats = self.take.voice.stats().newest().unwrap_or_default();
        let enough = self.sounds >= IN_TIME && stats.in_time(Way::Relayed) >= IN_TIME;
        enough && !std::mem::replace(&mut self.told_sound, true)
    }

    /// Takes in how their clock and the time stamps of their pictures belong together.
    pub(super) fn handle_report(&mut self, ntp: u64, timestamp: u32, arrived: Instant) {
        (self.inbound).handle_report(Kind::Video, ntp, timestamp, arrived);
    }

    /// Tells, once, that a picture was decoded that is about as new as what is shown.
    pub(super) fn shows(&mut self) -> bool {
        let decoded = self.decoded() > self.frames_before;
        if self.told_picture || !decoded || is_nothing(self.take.size) {
            return false;
        }
        let stats = self.take.picture.stats().newest();
        let behind = stats.and_then(|stats| stats.behind(Way::Relayed));
        self.told_picture = behind.is_some_and(|behind| behind <= AS_NEW);
        self.told_picture
    }

    /// Hands on what has become ready by time passing. Returns what is to be asked for.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> [Option<Ask>; 2] {
        let wanted = !is_nothing(self.take.size);
        if !wanted && (!self.take.sound || self.decoder.is_some()) {
            let since = *self.unwanted_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= AFTERLIFE && self.decoder.is_some() {
                self.decoder = None;
                self.inbound = Inbound::new();
            }
        } else {
            self.unwanted_since = None;
        }
        let Some(decoder) = &self.decoder else {
            return [None, None];
        };
        self.inbound.advance(decoder, now);
        if !wanted {
            return [None, None];
        }
        let again = self.inbound.ask(now);
        let keyframe = match self.flows(now) {
            true => self.inbound.ask_keyframe(now),
            false => None,
        };
        [
            again.map(|(ssrc, missing)| Ask::Again(ssrc, missing)),
            keyframe.map(Ask::Keyframe),
        ]
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let ends = self.unwanted_since.map(|since| since + AFTERLIFE);
        let asks = self.flows(now) && !is_nothing(self.take.size) && self.decoder.is_some();
        let inbound = self.inbound.poll_timeout().filter(|_| asks);
        [ends, inbound].into_iter().flatten().min()
    }

    /// Tells whether nothing of them is left.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let over = |since: Instant| now.saturating_duration_since(since) >= AFTERLIFE;
        !self.take.sound && self.decoder.is_none() && self.unwanted_since.is_some_and(over)
    }

    /// Returns what was counted of them.
    pub(super) fn count(&self) -> super::figures::Received {
        let (stats, packets) = self.inbound.stats();
        let decode = self.decoder.as_ref().and_then(|it| it.stats().newest());
        super::figures::Received {
            video_bytes: stats.video_bytes,
            audio_bytes: self.audio_bytes,
            packets,
            decode: decode.unwrap_or_default(),
            picture: self.take.picture.stats().newest().unwrap_or_default(),
        }
    }

    fn flows(&self, now: Instant) -> bool {
        let fresh = |at| now.saturating_duration_since(at) < FLOWING;
        self.picture_came.is_some_and(fresh)
    }

    fn decoded(&self) -> u64 {
        let stats = self.decoder.as_ref().and_then(|it| it.stats().newest());
        stats.map_or(0, |stats| stats.frames)
    }
}
