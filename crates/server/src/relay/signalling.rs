//! What the reception tells the relay, and what the relay answers.

use std::net::SocketAddr;

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

/// What participants say to the relay.
#[derive(Debug)]
pub(crate) enum Said {
    /// Opens a connection in place of an earlier one.
    Open {
        open: RelayOpen,
        /// Where this participant finds the relay.
        addresses: Vec<SocketAddr>,
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
