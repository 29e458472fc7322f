//! What a participant and the meeting server say to each other: JSON text over a WebSocket.

use serde::{Deserialize, Serialize};

use crate::{
    Allotted, MAX_EXPLANATION, MAX_ICE_SERVER_FIELD, MAX_ICE_SERVERS, MAX_LAYERS, MAX_MESSAGE,
    MAX_PARTICIPANTS, MAX_SEALED, MAX_SPEAKERS, PROTOCOL_VERSION, ParticipantId, Publish,
    Published, RelayOpen, RelayOpened, RoomName, Token, Topology, Wanted, Watch,
    decode::{self, DecodeError, within},
};

/// A message from a participant to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// The first message on every connection.
    Join {
        /// The protocol version the participant speaks.
        version: u32,
        /// The room.
        room: RoomName,
        /// The admission token, of which the server keeps the hash only.
        admission: Token,
        /// The id the participant drew for itself.
        participant: ParticipantId,
        /// The resume token of an earlier connection of the same participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<Token>,
    },
    /// Passes a sealed payload to one other participant; lost if that one is away.
    Send {
        /// The receiver.
        to: ParticipantId,
        /// The sealed [`PeerMessage`](crate::PeerMessage), base64url.
        sealed: String,
    },
    /// Opens a connection to the relay, in place of an earlier one.
    RelayOpen(RelayOpen),
    /// Closes the connection to the relay.
    RelayClose {
        /// Which.
        connection: u32,
    },
    /// Offers own media through the relay; replaces an earlier offer.
    Publish(Publish),
    /// Takes the offer back.
    Unpublish,
    /// Says what to take in through the relay; replaces what was said before.
    Watch(Watch),
    /// Leaves on purpose.
    Leave,
    /// A message this version does not know; ignored.
    #[serde(other)]
    Unknown,
}

impl ClientMessage {
    /// Reads a message and keeps the limits; an unknown type is [`Self::Unknown`].
    ///
    /// # Errors
    /// Refuses what is not a message, what is over a limit, and a `join` of another version
    /// (even where its other fields are not understood).
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        let message = match decode::json(text.as_bytes(), MAX_MESSAGE) {
            Err(DecodeError::Malformed(words)) => return Err(other_version(text, words)),
            decoded => decoded?,
        };
        match &message {
            Self::Join { version, .. } if *version != PROTOCOL_VERSION => {
                return Err(DecodeError::Version(*version));
            }
            Self::Send { sealed, .. } => within("sealed", sealed.len(), MAX_SEALED)?,
            Self::RelayOpen(open) => open.keep_limits()?,
            Self::Publish(publish) => publish.keep_limits()?,
            Self::Watch(watch) => watch.keep_limits()?,
            Self::Join { .. }
            | Self::RelayClose { .. }
            | Self::Unpublish
            | Self::Leave
            | Self::Unknown => {}
        }
        Ok(message)
    }

    /// Writes the message as JSON.
    pub fn encode(&self) -> String {
        decode::text(self)
    }
}

/// A message from the server to a participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The answer to `join`.
    Welcome(Welcome),
    /// Somebody joined.
    Joined {
        /// Who.
        participant: ParticipantId,
    },
    /// Somebody's connection to the server broke; the seat is kept for the resume window.
    Away {
        /// Who.
        participant: ParticipantId,
    },
    /// Somebody who was away resumed.
    Back {
        /// Who.
        participant: ParticipantId,
    },
    /// Somebody is gone.
    Left {
        /// Who.
        participant: ParticipantId,
        /// Why.
        reason: DepartureReason,
    },
    /// A sealed payload from another participant.
    Message {
        /// The sender.
        from: ParticipantId,
        /// The sealed [`PeerMessage`](crate::PeerMessage), base64url.
        sealed: String,
    },
    /// How the media of this call travels from now on.
    Topology {
        /// How.
        topology: Topology,
    },
    /// The relay's half of a connection to it.
    RelayOpened(RelayOpened),
    /// The connection to the relay is no more; another may be opened.
    RelayClosed {
        /// Which.
        connection: u32,
    },
    /// Somebody offers media through the relay, or offers it differently.
    Published(Published),
    /// Somebody does so no longer.
    Unpublished {
        /// Who.
        participant: ParticipantId,
    },
    /// What of the own publication somebody takes in.
    Wanted(Wanted),
    /// What of the pictures that are watched is passed on; all of them, in place of what was said
    /// before.
    Allotted {
        /// Each of them.
        pictures: Vec<Allotted>,
    },
    /// Who spoke last through the relay, the newest first.
    Speakers {
        /// They.
        participants: Vec<ParticipantId>,
    },
    /// Something was refused.
    Error {
        /// Which kind of refusal, for programs.
        code: ErrorCode,
        /// The refusal in words, for logs.
        message: String,
    },
    /// A message this version does not know; ignored.
    #[serde(other)]
    Unknown,
}

impl ServerMessage {
    /// Reads a message and keeps the limits; an unknown type is [`Self::Unknown`].
    ///
    /// # Errors
    /// Refuses what is not a message and what is over a limit.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        let message: Self = decode::json(text.as_bytes(), MAX_MESSAGE)?;
        match &message {
            Self::Welcome(welcome) => welcome.keep_limits()?,
            Self::Message { sealed, .. } => within("sealed", sealed.len(), MAX_SEALED)?,
            Self::Error { message, .. } => within("message", message.len(), MAX_EXPLANATION)?,
            Self::RelayOpened(opened) => opened.keep_limits()?,
            Self::Wanted(wanted) => within("layers", wanted.layers.len(), MAX_LAYERS)?,
            Self::Allotted { pictures } => within("pictures", pictures.len(), MAX_PARTICIPANTS)?,
            Self::Speakers { participants } => {
                within("participants", participants.len(), MAX_SPEAKERS)?;
            }
            Self::Topology { .. }
            | Self::RelayClosed { .. }
            | Self::Published(_)
            | Self::Unpublished { .. }
            | Self::Joined { .. }
            | Self::Away { .. }
            | Self::Back { .. }
            | Self::Left { .. }
            | Self::Unknown => {}
        }
        Ok(message)
    }

    /// Writes the message as JSON.
    pub fn encode(&self) -> String {
        decode::text(self)
    }
}

/// The server's answer to `join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version the server speaks.
    pub version: u32,
    /// The token with which a broken connection is resumed.
    pub resume: Token,
    /// Whether this connection took an existing seat again.
    pub resumed: bool,
    /// Everybody else who has a seat in the room; an `away` follows for each who is away.
    pub participants: Vec<ParticipantId>,
    /// The servers that help to find a path.
    #[serde(default)]
    pub ice_servers: Vec<IceServer>,
    /// The largest call that stays a mesh in this room.
    pub mesh_limit: usize,
    /// How the media of this call travels now.
    #[serde(default)]
    pub topology: Topology,
    /// Whether the server has a relay.
    #[serde(default)]
    pub relay: bool,
}

impl Welcome {
    fn keep_limits(&self) -> Result<(), DecodeError> {
        let field = |text: &str| within("ice_servers", text.len(), MAX_ICE_SERVER_FIELD);
        within("participants", self.participants.len(), MAX_PARTICIPANTS)?;
        within("mesh_limit", self.mesh_limit, MAX_PARTICIPANTS)?;
        within("ice_servers", self.ice_servers.len(), MAX_ICE_SERVERS)?;
        for server in &self.ice_servers {
            within("urls", server.urls.len(), MAX_ICE_SERVERS)?;
            server.urls.iter().try_for_each(|url| field(url))?;
            field(&server.username)?;
            field(&server.credential)?;
        }
        Ok(())
    }
}

/// A STUN or TURN server, as in `RTCIceServer` of W3C WebRTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:` and `turn:` addresses.
    pub urls: Vec<String>,
    /// The user name, for TURN.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The credential, for TURN.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credential: String,
}

/// Why somebody is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepartureReason {
    /// On purpose.
    Left,
    /// The connection broke and was not resumed in time.
    Lost,
    /// A reason this version does not know.
    #[serde(other)]
    Unknown,
}

/// Which kind of refusal. After each of them but [`Self::NoSuchParticipant`] the server closes
/// the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a message of this protocol.
    Malformed,
    /// The protocol version is not spoken here.
    Version,
    /// The admission token is not this room's.
    NotAdmitted,
    /// The room has its most participants.
    RoomFull,
    /// The server has its most rooms.
    ServerFull,
    /// Another participant has this id.
    IdTaken,
    /// A newer connection with the same resume token took the seat.
    Replaced,
    /// Too many messages in too little time.
    TooFast,
    /// The message or a field is too long.
    TooLong,
    /// The first message was not `join`, or did not come in time.
    NotJoined,
    /// The receiver is not in the room.
    NoSuchParticipant,
    /// A code this version does not know.
    #[serde(other)]
    Unknown,
}

/// Finds out whether what could not be read is a `join` of another version.
fn other_version(text: &str, words: String) -> DecodeError {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    match serde_json::from_str::<Versioned>(text) {
        Ok(Versioned { version }) if version != PROTOCOL_VERSION => DecodeError::Version(version),
        _ => DecodeError::Malformed(words),
    }
}
