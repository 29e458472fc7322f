//! What happened in a call, in order, for whoever keeps a record of it (the command line's
//! `--stats`). The window needs none of this: it paints the [`View`](super::View).

use std::time::{Duration, Instant};

use nonstop_wire::{ParticipantId, Topology};

use super::Notice;
use crate::mesh::{End, LinkNews, Suspicion};

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When it happened.
    pub at: Instant,
    /// What happened.
    pub happening: Happening,
}

/// What can happen in a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// We are in the meeting.
    Joined {
        /// Our own id.
        me: ParticipantId,
        /// How many others were there.
        others: usize,
        /// How long after it was asked for.
        after: Duration,
    },
    /// Somebody is in the meeting.
    ParticipantJoined {
        /// Who.
        id: ParticipantId,
    },
    /// Somebody described themselves.
    ParticipantDescribed {
        /// Who.
        id: ParticipantId,
        /// Their name.
        name: String,
        /// Whether their microphone is on.
        microphone: bool,
        /// Whether their camera is on.
        camera: bool,
    },
    /// Somebody is gone.
    ParticipantLeft {
        /// Who.
        id: ParticipantId,
        /// Their name, empty if they never said it.
        name: String,
        /// Whether their connection broke.
        lost: bool,
    },
    /// Something about the link to somebody; figures once a second are among it.
    Link {
        /// Who.
        id: ParticipantId,
        /// What.
        news: LinkNews,
    },
    /// The connection to the server broke; the call goes on.
    Reconnecting,
    /// The connection to the server is back.
    Reconnected {
        /// Whether the server had kept our seat.
        resumed: bool,
    },
    /// The media of the call travels another way now.
    TopologyChanged(Topology),
    /// The server did what an honest one does not.
    Suspicion(Suspicion),
    /// A person was told something that they can act on.
    Notice(Notice),
    /// The call is over.
    Ended(End),
}
