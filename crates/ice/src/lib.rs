//! Interactive Connectivity Establishment (RFC 8445) for one link: which candidates there are on
//! both sides, which pairs of them work, and which of these carries the media now.
//!
//! Pure: time and random numbers are arguments, packets go in and out as bytes, and where a packet
//! leaves is only a number ([`Base`]) to which the driver knows the socket or the relay.

mod agent;
mod candidate;
mod credentials;
mod path;
mod progress;
mod stand_in;
pub mod stun;

pub use agent::{Agent, Config, Event, Transmit};
pub use candidate::{Candidate, CandidateError, CandidateKind, RelayProtocol};
pub use credentials::Credentials;
pub use path::{Base, Path, Way};
pub use progress::{Progress, Tally};
pub use stand_in::StandIn;
pub use stun::{is_stun, transaction_of, username_of};
