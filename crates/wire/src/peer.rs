//! What participants say to each other, sealed, so that the server passes it on unread.

use serde::{Deserialize, Serialize};

use crate::ParticipantId;

/// One message from participant to participant. It travels sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PeerMessage {
    /// A session description (RFC 8829).
    Description {
        /// Offer, answer or rollback.
        kind: DescriptionKind,
        /// The description's text.
        sdp: String,
    },
    /// An ICE candidate (RFC 8838); an empty text ends the candidates.
    Candidate {
        /// The candidate line.
        candidate: String,
        /// The media section's identification.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sdp_mid: Option<String>,
        /// The media section's index.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sdp_mline_index: Option<u16>,
        /// The ICE user name fragment it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username_fragment: Option<String>,
    },
    /// Who the sender is and how it takes part; sent on joining and whenever it changes.
    State(ParticipantState),
    /// The sender leaves on purpose.
    Bye,
    /// A message this version does not know; ignored.
    #[serde(other)]
    Unknown,
}

/// Which part of an offer and answer exchange a description is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DescriptionKind {
    /// Proposes a session.
    Offer,
    /// Accepts a proposal.
    Answer,
}

/// A participant as it describes itself to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantState {
    /// The person's name.
    pub name: String,
    /// Whether the microphone is on.
    pub microphone: bool,
    /// Whether the camera is on.
    pub camera: bool,
    /// Whom the sender knows in the room (itself left out): a server that hides one
    /// participant from another is found out by comparing.
    #[serde(default)]
    pub knows: Vec<ParticipantId>,
}
