//! What a participant and the meeting server say to each other about the relay, which passes media
//! on where a mesh cannot carry it.
//!
//! ```text
//! participant                                       server
//!  relay_open (ICE, DTLS, streams) ──────────────▶
//!                 ◀───────────── relay_opened (ICE, DTLS, addresses)
//!  ◀════════════ ICE, DTLS, SRTP: one connection a participant ════════════▶
//!  publish (what of mine there is) ──────────────▶  published ─▶ everybody
//!  watch (whom, how large) ──────────────────────▶  wanted ─▶ those who publish
//! ```

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    MAX_ICE_FIELD, MAX_LAYERS, MAX_PARTICIPANTS, MAX_RELAY_ADDRESSES, MAX_SIDE, ParticipantId,
    decode::{DecodeError, within},
};

/// How the media of a call travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// Straight from everybody to everybody.
    #[default]
    Mesh,
    /// Through the meeting server's relay.
    Relay,
    /// A topology this version does not know.
    #[serde(other)]
    Unknown,
}

/// A participant's half of a connection to the relay. The participant leads in ICE and begins DTLS;
/// the relay is ICE-lite (RFC 8445 section 2.5) and waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayOpen {
    /// Tells this connection from earlier ones of the same participant; larger than theirs.
    pub connection: u32,
    /// The participant's ICE user name fragment.
    pub ufrag: String,
    /// The participant's ICE password.
    pub password: String,
    /// The SHA-256 of the participant's certificate, as in `a=fingerprint` without the name of the hash:
    /// 32 pairs of hexadecimal digits, separated by colons.
    pub fingerprint: String,
    /// The SSRC of the participant's sound.
    pub sound: u32,
    /// The SSRCs of the layers of the participant's pictures, the smallest first; at most 3.
    pub layers: Vec<u32>,
    /// The numbers of the payload types, in both directions.
    pub payload_types: RelayPayloadTypes,
    /// The numbers of the header extensions, in both directions.
    pub extensions: RelayExtensions,
}

/// RTP payload types of a connection to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayPayloadTypes {
    /// Sound: redundant audio data (RFC 2198) whose blocks are Opus and name the payload type 111.
    pub sound: u8,
    /// H.264, packetization-mode 1.
    pub pictures: u8,
    /// Retransmission of pictures (RFC 4588) from the relay to the participant.
    pub repair: u8,
}

/// RTP header extensions of a connection to the relay (RFC 8285, one-byte headers: 1 to 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayExtensions {
    /// Audio level (RFC 6464).
    pub audio_level: u8,
    /// Transport-wide sequence number.
    pub transport_cc: u8,
    /// Frame marking (RFC 9626).
    pub frame_marking: u8,
    /// By which sound tells the newest picture, where that is understood. To the relay its value is the
    /// sequence number of the last packet that left of each layer, from the relay that of the same
    /// participant's pictures; 16 bits each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_picture: Option<u8>,
}

/// The relay's half of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayOpened {
    /// The connection that is answered.
    pub connection: u32,
    /// The relay's ICE user name fragment.
    pub ufrag: String,
    /// The relay's ICE password.
    pub password: String,
    /// The SHA-256 of the relay's certificate, written as in [`RelayOpen`].
    pub fingerprint: String,
    /// Where the relay listens, UDP; a TURN server of the same house reaches it there as well.
    pub addresses: Vec<SocketAddr>,
    /// The SSRC of packets that mean nothing: the relay sends them to learn what the way carries. They
    /// have the payload type of pictures, count for feedback, and are thrown away.
    pub padding_ssrc: u32,
}

/// What a participant offers to send through the relay. Nothing is sent before it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// Whether there is sound.
    pub sound: bool,
    /// The sizes of the layers of pictures, the smallest first, as many as were opened; empty where
    /// there are no pictures.
    pub layers: Vec<LayerSize>,
    /// Whether the others should take this participant's media through the relay although the call is
    /// a mesh: the participant's uplink cannot feed one.
    #[serde(default)]
    pub preferred: bool,
}

/// The size of a layer, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSize {
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

/// Somebody's offer to send through the relay, as the others are told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Who.
    pub participant: ParticipantId,
    /// Whether there is sound.
    pub sound: bool,
    /// Whether there are pictures.
    pub pictures: bool,
    /// Whether to take it although the call is a mesh.
    #[serde(default)]
    pub preferred: bool,
    /// The SSRC under which the relay passes on the sound, the same to everybody.
    pub sound_ssrc: u32,
    /// The SSRC under which the relay passes on the pictures, whichever layer.
    pub pictures_ssrc: u32,
    /// The SSRC of the pictures' retransmissions (RFC 4588).
    pub repair_ssrc: u32,
}

/// What a participant takes in through the relay; replaces what was said before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watch {
    /// Whose pictures, and how large they are shown.
    pub pictures: Vec<Watched>,
    /// Whose sound not, because it comes straight from them.
    #[serde(default)]
    pub deaf_to: Vec<ParticipantId>,
    /// Whether no sound is wanted at all.
    #[serde(default)]
    pub deaf: bool,
    /// What arrives at the participant straight from the others at present, in bits a second, where it is
    /// about to come through the relay: the relay need not begin with nothing known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arriving: Option<u64>,
    /// Whether packets that the relay sends do not arrive at the participant, 1 of 100 or more: then
    /// those who are heard are asked for redundancy in their sound (RFC 2198).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loses: bool,
}

/// Somebody whose pictures are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Who.
    pub participant: ParticipantId,
    /// Physical pixels from left to right.
    pub width: u32,
    /// Physical pixels from top to bottom.
    pub height: u32,
}

/// What of a participant's publication somebody takes in: only that has to be encoded and sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wanted {
    /// Whether somebody listens.
    pub sound: bool,
    /// For each layer, whether somebody watches it.
    pub layers: Vec<bool>,
    /// Whether packets of sound should carry earlier sound (RFC 2198), because somebody who listens
    /// loses packets.
    #[serde(default)]
    pub redundancy: bool,
}

/// What of the pictures that a participant watches is passed on to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allotted {
    /// Whose pictures.
    pub participant: ParticipantId,
    /// The layer, from 0; none where the receiver's connection carries too little.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<u8>,
}

impl RelayOpen {
    pub(crate) fn keep_limits(&self) -> Result<(), DecodeError> {
        for field in [&self.ufrag, &self.password, &self.fingerprint] {
            within("relay_open", field.len(), MAX_ICE_FIELD)?;
        }
        within("layers", self.layers.len(), MAX_LAYERS)?;
        let payload_types = [
            self.payload_types.sound,
            self.payload_types.pictures,
            self.payload_types.repair,
        ];
        if payload_types.iter().any(|number| *number > 127) || !differ(&payload_types) {
            return Err(malformed("payload_types"));
        }
        let extensions = [
            self.extensions.audio_level,
            self.extensions.transport_cc,
            self.extensions.frame_marking,
        ];
        let extensions: Vec<_> = (extensions.into_iter())
            .chain(self.extensions.newest_picture)
            .collect();
        if extensions.iter().any(|number| !(1..=14).contains(number)) || !differ(&extensions) {
            return Err(malformed("extensions"));
        }
        let streams: Vec<_> = self.layers.iter().copied().chain([self.sound]).collect();
        match streams.contains(&0) || !differ(&streams) {
            true => Err(malformed("layers")),
            false => Ok(()),
        }
    }
}

impl RelayOpened {
    pub(crate) fn keep_limits(&self) -> Result<(), DecodeError> {
        for field in [&self.ufrag, &self.password, &self.fingerprint] {
            within("relay_opened", field.len(), MAX_ICE_FIELD)?;
        }
        within("addresses", self.addresses.len(), MAX_RELAY_ADDRESSES)
    }
}

impl Publish {
    pub(crate) fn keep_limits(&self) -> Result<(), DecodeError> {
        within("layers", self.layers.len(), MAX_LAYERS)?;
        (self.layers.iter()).try_for_each(|layer| sides(layer.width, layer.height))
    }
}

impl Watch {
    pub(crate) fn keep_limits(&self) -> Result<(), DecodeError> {
        within("pictures", self.pictures.len(), MAX_PARTICIPANTS)?;
        within("deaf_to", self.deaf_to.len(), MAX_PARTICIPANTS)?;
        (self.pictures.iter()).try_for_each(|watched| sides(watched.width, watched.height))
    }
}

fn sides(width: u32, height: u32) -> Result<(), DecodeError> {
    within("width", width as usize, MAX_SIDE)?;
    within("height", height as usize, MAX_SIDE)
}

fn differ<T: PartialEq>(numbers: &[T]) -> bool {
    let earlier = |index: usize| numbers[..index].contains(&numbers[index]);
    !(0..numbers.len()).any(earlier)
}

fn malformed(field: &str) -> DecodeError {
    DecodeError::Malformed(format!("{field} cannot be so"))
}
