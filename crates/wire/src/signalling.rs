//! What a participant and the meeting server say to each other: JSON text over a WebSocket.

use serde::{Deserialize, Serialize};

use crate::{ParticipantId, RoomName};

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
        /// The admission token: 32 bytes in base64url. The server keeps its hash only.
        admission: String,
        /// The id the participant drew for itself.
        participant: ParticipantId,
        /// The resume token of an earlier connection of the same participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<String>,
    },
    /// Passes a sealed payload to one other participant.
    Send {
        /// The receiver.
        to: ParticipantId,
        /// The sealed [`PeerMessage`](crate::PeerMessage), base64url.
        sealed: String,
    },
    /// Leaves on purpose.
    Leave,
    /// A message this version does not know; ignored.
    #[serde(other)]
    Unknown,
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

/// The server's answer to `join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version the server speaks.
    pub version: u32,
    /// The token with which a broken connection is resumed.
    pub resume: String,
    /// Whether this connection took an existing seat again.
    pub resumed: bool,
    /// Everybody else in the room.
    pub participants: Vec<ParticipantId>,
    /// The servers that help to find a path.
    #[serde(default)]
    pub ice_servers: Vec<IceServer>,
    /// The largest call that stays a mesh in this room.
    pub mesh_limit: usize,
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

/// Which kind of refusal.
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
    /// Too many messages in too little time.
    TooFast,
    /// The message or a field is too long.
    TooLong,
    /// The first message was not `join`.
    NotJoined,
    /// The receiver is not in the room.
    NoSuchParticipant,
    /// A code this version does not know.
    #[serde(other)]
    Unknown,
}
