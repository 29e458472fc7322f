//! What the reception tells the relay, and what the relay answers.

use std::net::IpAddr;

use nonstop_wire::{ParticipantId, Publish, RelayOpen, RoomName, ServerMessage, Watch};

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Fact {
    /// A participant said something.
    Said {
        room: RoomName,
        participant: ParticipantId,
        said: Said,
    },
    /// A participant gave up the seat.
    Gone {
        room: RoomName,
        participant: ParticipantId,
    },
    /// A participant was away, and may have missed what was told.
    Back {
        room: RoomName,
        participant: ParticipantId,
    },
}

impl Fact {
    /// Returns which room it is about.
    pub(crate) fn room(&self) -> &RoomName {
        match self {
            Self::Said { room, .. } | Self::Gone { room, .. } | Self::Back { room, .. } => room,
        }
    }
}

/// What participants say to the relay.
#[derive(Debug)]
pub(crate) enum Said {
    /// Opens a connection in place of an earlier one.
    Open {
        open: RelayOpen,
        /// Where this participant found the meeting server.
        reached: IpAddr,
    },
    /// Closes a connection.
    Close { connection: u32 },
    /// Offers own media.
    Publish(Publish),
    /// Takes that back.
    Unpublish,
    /// Says what to take in.
    Watch(Watch),
}

/// What participants are to be told.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) room: RoomName,
    pub(crate) to: Vec<ParticipantId>,
    pub(crate) message: ServerMessage,
}
