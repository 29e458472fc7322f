//! What passes between a mesh and the call above it.

use std::time::Duration;

use nonstop_wire::{ErrorCode, ParticipantId, ParticipantState, PauseReason, Strain, Topology};

use super::{LinkStats, Me, Path, Ways};
use crate::{
    latest::Reader,
    media::{Size, VideoFrame, audio::VoiceStats},
};

/// What the mesh is told while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeshCommand {
    /// Describe us to everybody like this from now on.
    Describe(Me),
    /// Everybody's pictures are shown this large from now on, in physical pixels; who is not named
    /// is not shown. Until it is said for the first time, everybody is shown as large as can be.
    View(Vec<(ParticipantId, Size)>),
    /// All our links do like this together from now on, which the others are told.
    Strain(Strain),
    /// Leave the meeting; [`MeshEvent::Ended`] follows.
    Leave,
}

/// What the mesh has to tell.
#[derive(Debug)]
pub enum MeshEvent {
    /// We are in the room.
    Joined {
        /// Our own id.
        me: ParticipantId,
        /// How many others were there.
        others: usize,
    },
    /// Somebody who holds the meeting's secret is in the room.
    ParticipantJoined {
        /// Who.
        id: ParticipantId,
        /// Their pictures.
        picture: Reader<VideoFrame>,
        /// How they are heard, for the meter.
        voice: Reader<VoiceStats>,
    },
    /// Somebody described themselves.
    ParticipantDescribed {
        /// Who.
        id: ParticipantId,
        /// How.
        state: ParticipantState,
    },
    /// Somebody is gone.
    ParticipantLeft {
        /// Who.
        id: ParticipantId,
        /// Whether their connection broke (they did not say goodbye).
        lost: bool,
    },
    /// Something about the link to somebody.
    Link {
        /// Who.
        id: ParticipantId,
        /// What.
        event: LinkNews,
    },
    /// The connection to the server broke; the call goes on, and we are trying.
    Reconnecting,
    /// The server is there and does not take us back; the call goes on, and we are trying.
    Refused(ErrorCode),
    /// The connection to the server is back.
    Reconnected {
        /// Whether the server had kept our seat.
        resumed: bool,
    },
    /// Who spoke last of those whose sound comes through the relay, the newest first; replaces
    /// what was said before, and is empty where nobody's comes that way.
    Speakers(Vec<ParticipantId>),
    /// How the media of the call travels from now on. Until it is said, straight.
    Topology(Topology),
    /// Whether our own sound and pictures go to somebody through the relay. How those of the others
    /// come is told link by link ([`LinkNews::Connected`], [`LinkNews::PathChanged`]).
    SentThroughRelay(bool),
    /// Whether there is a relay that this network has no way to (true), or a way was found (false).
    /// Until it is said, nothing is known to be in the way.
    RelayUnreachable(bool),
    /// The server, or somebody on the way, did what an honest one does not.
    Suspicious(Suspicion),
    /// It is over.
    Ended(End),
}

/// News of one link.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkNews {
    /// Media can flow.
    Connected {
        /// How packets travel.
        path: Path,
        /// How long after joining (or after they joined).
        after: Duration,
    },
    /// Packets travel another way now.
    PathChanged(Path),
    /// Nothing comes through at present; being restored.
    Interrupted,
    /// The first picture was decoded.
    FirstVideoFrame {
        /// How long after joining (or after they joined).
        after: Duration,
    },
    /// The first sound was received.
    FirstAudio {
        /// How long after joining (or after they joined).
        after: Duration,
    },
    /// We send no pictures to them for now: the connection carries too little.
    VideoPaused,
    /// We send pictures again.
    VideoResumed,
    /// They send no pictures for now.
    PicturesPaused(PauseReason),
    /// They send pictures again.
    PicturesResumed,
    /// All their links do like this together, by their own account.
    Strain(Strain),
    /// What is tried to reach them, and what this network lets through.
    Ways(Ways),
    /// Figures, once a second.
    Stats(Box<LinkStats>),
}

/// What an honest server does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Suspicion {
    /// A message was not sealed by the participant it is said to come from.
    #[error("a message said to be from {0} was not sealed by a participant of this meeting")]
    Forged(ParticipantId),
    /// A message was delivered again.
    #[error("a message from {0} was delivered more than once")]
    Replayed(ParticipantId),
    /// Somebody in the room does not hold the meeting's secret.
    #[error("{0} does not hold the secret of this meeting")]
    Stranger(ParticipantId),
    /// The server does not tell us of somebody whom others see.
    #[error("the server hides {0}")]
    Hidden(ParticipantId),
    /// The connection's certificate is not the one the participant named.
    #[error("the connection to {0} is not with the participant who was named")]
    WrongParty(ParticipantId),
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// We left.
    Left,
    /// The server refused us.
    Refused(ErrorCode),
    /// The server could not be reached at first.
    Unreachable(String),
}
