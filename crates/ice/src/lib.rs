//! Interactive Connectivity Establishment (RFC 8445) for one link: which candidates there are on
//! both sides, which pairs of them work, and which of these carries the media now.
//!
//! Pure: time and random numbers are arguments, packets go in and out as bytes, and where a packet
//! leaves is only a number ([`Base`]) to which the driver knows the socket or the relay.

mod candidate;
mod path;

pub use candidate::{Candidate, CandidateError, CandidateKind, RelayProtocol};
pub use path::{Base, Path, Way};
