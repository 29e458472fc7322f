//! What participants and the meeting server say to each other: ids, the meeting
//! link, signalling messages and their limits.
//!
//! Pure: no clock, no socket, no task. `docs/protocol.md` is the same in words.
//! Unknown messages and unknown fields are never fatal; a message over a limit is.

mod beside;
mod decode;
mod host;
mod ids;
mod limits;
mod link;
mod peer;
mod relay;
mod signalling;
mod token;

pub use beside::{BesideMessage, PauseReason, Strain};
pub use decode::DecodeError;
pub use ids::{IdError, ParticipantId, RoomName};
pub use limits::*;
pub use link::{LinkError, LinkSecret, MeetingLink};
pub use peer::{DescriptionKind, ParticipantState, PeerMessage, tidy_name};
pub use relay::{
    Allotted, LayerSize, Publish, Published, RelayExtensions, RelayOpen, RelayOpened,
    RelayPayloadTypes, Topology, Wanted, Watch, Watched,
};
pub use signalling::{
    ClientMessage, DepartureReason, ErrorCode, IceServer, ServerMessage, Welcome,
};
pub use token::Token;
