//! What participants say to each other, sealed, so that the server passes it on unread.

use serde::{Deserialize, Serialize};

use crate::{
    MAX_CANDIDATE, MAX_ICE_FIELD, MAX_PARTICIPANTS, MAX_PEER_MESSAGE, MAX_PERSON_NAME, MAX_SDP,
    ParticipantId,
    decode::{self, DecodeError, within},
};

/// One message from participant to participant. It travels sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PeerMessage {
    /// A session description (RFC 8829).
    Description {
        /// Offer or answer.
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

impl PeerMessage {
    /// Reads a message and keeps the limits; an unknown type is [`Self::Unknown`].
    ///
    /// # Errors
    /// Refuses what is not a message and what is over a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let message: Self = decode::json(bytes, MAX_PEER_MESSAGE)?;
        match &message {
            Self::Description { sdp, .. } => within("sdp", sdp.len(), MAX_SDP)?,
            Self::Candidate {
                candidate,
                sdp_mid,
                username_fragment,
                ..
            } => {
                within("candidate", candidate.len(), MAX_CANDIDATE)?;
                for field in [sdp_mid, username_fragment].into_iter().flatten() {
                    within("candidate", field.len(), MAX_ICE_FIELD)?;
                }
            }
            Self::State(state) => state.keep_limits()?,
            Self::Bye | Self::Unknown => {}
        }
        Ok(message)
    }

    /// Writes the message as JSON, to be sealed.
    pub fn encode(&self) -> String {
        decode::text(self)
    }
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
    /// The person's name: at most 64 characters, none of them a control character
    /// ([`tidy_name`] makes it so).
    pub name: String,
    /// Whether the microphone is on.
    pub microphone: bool,
    /// Whether the camera is on.
    pub camera: bool,
    /// Whom the sender knows in the room, the receiver included and itself left out: the receiver
    /// learns that it is known, and a server that hides somebody is found out by comparing.
    #[serde(default)]
    pub knows: Vec<ParticipantId>,
    /// Whether the sender has a connection to the meeting server's relay: without one it needs links
    /// to everybody, whatever the topology.
    #[serde(default)]
    pub relay: bool,
}

impl ParticipantState {
    fn keep_limits(&self) -> Result<(), DecodeError> {
        within("name", self.name.chars().count(), MAX_PERSON_NAME)?;
        within("knows", self.knows.len(), MAX_PARTICIPANTS)?;
        if self.name.chars().any(unfit) {
            return Err(DecodeError::Malformed(
                "name has a control character".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Makes what a person typed a name that others accept: without control characters and
/// surrounding white space, at most 64 characters.
pub fn tidy_name(typed: &str) -> String {
    let fit = typed.trim().chars().filter(|&c| !unfit(c));
    let name: String = fit.take(MAX_PERSON_NAME).collect();
    name.trim().to_owned()
}

/// Characters that would break a line of text or turn its direction around.
fn unfit(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
