//! The relay's transport: passes on the media of calls that outgrow a mesh, without decoding any.
//!
//! ```text
//! reception ── Fact ──▶ thread: hub ── Answer ──▶ reception
//!                              │
//! UDP socket ◀═▶ by source, or by ufrag ─▶ client (ICE-lite, DTLS, what comes in: str0m)
//!                              │                   │ packet
//!                              │                   ▼
//!                              │     nonstop_relay::Room (pure): who gets it
//!                              │                   │
//!                              └──── other clients ◀┘
//! ```
//!
//! One thread owns the sockets, every connection and every room, with a runtime of its own: no lock
//! stands between two packets. Where there are several threads, each has rooms and sockets of its own; which
//! is a room's follows from the room's name. Only what something touched is looked at: a packet, a deadline, or a
//! fact. What is decided about a call is decided in `nonstop_relay`; here is how it travels.

mod addresses;
mod agenda;
mod client;
mod config;
mod crowd;
mod downlink;
mod exporter;
mod hub;
mod marking;
mod media;
mod members;
mod newest_pictures;
mod outlet;
mod packet;
mod sealing;
mod sending;
mod signalling;
mod stun;
mod thread;
mod timeline;
mod uplink;

pub use config::RelayConfig;
pub(crate) use signalling::{Answer, Fact, Said};
pub(crate) use thread::{ANSWERS, Relay, RelayWay, open_sockets};
