//! What two participants tell each other beside their media, over the data channel of their
//! connection: how large a picture is shown, why none comes, and at which end it is slow.
//!
//! That concerns one connection only, and is worthless without it; whatever must be sealed or must
//! reach somebody without a connection is a [`PeerMessage`](crate::PeerMessage). Where the meeting
//! server cannot carry those, they travel here too, sealed as ever, in an envelope.

use serde::{Deserialize, Serialize};

use crate::{
    MAX_BESIDE, MAX_PARTICIPANTS, MAX_SEALED, MAX_SIDE, ParticipantId,
    decode::{self, DecodeError, within},
};

/// One message over the data channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BesideMessage {
    /// The first message of each side.
    Hello {
        /// The version of these messages that the sender speaks.
        version: u32,
    },
    /// How large the sender shows the receiver's pictures.
    Wanted {
        /// Physical pixels from left to right; 0 where they are not shown.
        width: u32,
        /// Physical pixels from top to bottom; 0 where they are not shown.
        height: u32,
        /// Whether no pictures are wanted at all for now, whatever the size.
        #[serde(default)]
        paused: bool,
        /// Whether no sound is wanted either, because it comes through the relay.
        #[serde(default)]
        deaf: bool,
    },
    /// Whether the sender sends pictures.
    Video {
        /// Whether none come for now.
        paused: bool,
        /// Why none come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<PauseReason>,
    },
    /// How all the sender's connections do together, so that both sides can tell at which end one of
    /// them is slow.
    Strain(Strain),
    /// What the server would carry as [`ClientMessage::Send`](crate::ClientMessage::Send): for the
    /// receiver, or for the receiver to pass on to somebody else.
    Envelope {
        /// Whom it is for.
        to: ParticipantId,
        /// Who sealed it.
        from: ParticipantId,
        /// The sealed [`PeerMessage`](crate::PeerMessage), base64url.
        sealed: String,
    },
    /// A message this version does not know; ignored.
    #[serde(other)]
    Unknown,
}

/// How many of somebody's connections suffer from the network, as they see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Strain {
    /// The connections that are up, the one on which this is said included.
    pub links: u32,
    /// How many of them carry too little from the sender to the others.
    pub up: u32,
    /// How many of them carry too little from the others to the sender.
    pub down: u32,
}

/// Why no pictures come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// The connection carries too little for pictures beside the sound.
    Bandwidth,
    /// A reason this version does not know.
    #[serde(other)]
    Unknown,
}

impl BesideMessage {
    /// Reads a message and keeps the limits; an unknown kind is [`Self::Unknown`].
    ///
    /// # Errors
    /// Refuses what is not a message and what is over a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let message: Self = decode::json(bytes, MAX_BESIDE)?;
        match &message {
            Self::Wanted { width, height, .. } => {
                within("width", *width as usize, MAX_SIDE)?;
                within("height", *height as usize, MAX_SIDE)?;
            }
            Self::Strain(strain) => {
                within("links", strain.links as usize, MAX_PARTICIPANTS)?;
                within("up", strain.up as usize, strain.links as usize)?;
                within("down", strain.down as usize, strain.links as usize)?;
            }
            Self::Envelope { sealed, .. } => within("sealed", sealed.len(), MAX_SEALED)?,
            Self::Hello { .. } | Self::Video { .. } | Self::Unknown => {}
        }
        Ok(message)
    }

    /// Writes the message as JSON.
    pub fn encode(&self) -> String {
        decode::text(self)
    }
}
