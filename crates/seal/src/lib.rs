//! What only participants can read: keys from the link secret, and sealed envelopes.
//!
//! ```text
//! link secret ─┬─ HKDF ─▶ admission token ─▶ server (keeps its hash)
//! room name   ─┘      └─▶ sealing key ─┐
//!                    PeerMessage ─ seal ┴─▶ envelope ─▶ server, unread ─▶ open ─▶ PeerMessage
//! ```
//!
//! Pure: the random nonce is an argument. An envelope opens only for the receiver, from the
//! sender and in the room it was sealed for, and only once. `docs/protocol.md` has the layout.

mod channel;
mod keys;
mod window;

pub use channel::{OpenError, SealedChannel};
pub use keys::MeetingKeys;
