//! What the room wants done.

use nonstop_wire::{ErrorCode, ParticipantId, ParticipantState, PeerMessage, Topology};

use crate::mesh::{LinkNews, Suspicion};

/// Tells one link to somebody from the next one to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::mesh) struct LinkNumber(pub(in crate::mesh) u64);

/// What the machine wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::mesh) enum Effect {
    /// Seal and send.
    Send {
        to: ParticipantId,
        message: PeerMessage,
    },
    /// Start a link, in place of the one there is.
    StartLink {
        id: ParticipantId,
        number: LinkNumber,
        initiator: bool,
    },
    /// Hand over to the link.
    Signal {
        id: ParticipantId,
        message: PeerMessage,
    },
    /// End the link, if there is one.
    StopLink { id: ParticipantId },
    /// We are in.
    Joined { others: usize },
    /// The server is gone.
    Reconnecting,
    /// The server does not take us back.
    Refused(ErrorCode),
    /// The server is back.
    Reconnected { resumed: bool },
    /// Somebody proved to hold the secret.
    MemberJoined { id: ParticipantId },
    /// A member described themselves differently from before.
    Described {
        id: ParticipantId,
        state: ParticipantState,
    },
    /// A member is gone.
    MemberLeft { id: ParticipantId, lost: bool },
    /// News of a member's link.
    News { id: ParticipantId, news: LinkNews },
    /// Open a connection to the relay, and keep it.
    OpenRelay,
    /// Offer our media through the relay.
    Publish { preferred: bool },
    /// Take a member's media in through the relay or not; `carried` says that it need not come
    /// straight from them.
    Carry {
        id: ParticipantId,
        taken: bool,
        carried: bool,
    },
    /// The call travels another way.
    Topology(Topology),
    /// There is no way to the relay, or there is one again.
    RelayUnreachable(bool),
    /// The server misbehaves.
    Suspect(Suspicion),
    /// We must not take part.
    Refuse(ErrorCode),
}
