//! A TURN server (RFC 8656): carries packets of those whom a firewall leaves no direct path.
//!
//! ```text
//! UDP listeners ──────────────────┐                      ┌── relay sockets ──▶ peers
//! TCP and TLS (from the listener  ├─▶ thread: machine ◀─▶┤
//! of the meeting server) ─────────┘         (pure)       └── accounts, deadlines
//! ```
//!
//! One thread owns all of it, with a runtime of its own: no lock stands between two packets, a
//! packet never wakes a second thread, and signalling goes on beside it however much is relayed.
//! `peers` says who may be reached, `accounts` how much may be taken.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

mod accounts;
mod allocation;
mod bundles;
mod config;
mod connection;
mod credentials;
mod frames;
mod machine;
mod message;
mod nonces;
mod peers;
mod requests;
mod stream;
mod thread;
mod wires;

pub use config::{ExternalAddress, Network, PublicHost, TurnConfig, TurnLimits, UnfitSetting};
pub(crate) use connection::Arrival;
pub(crate) use credentials::password;
pub(crate) use frames::begins_turn;
pub(crate) use thread::{Arrivals, Turn};
pub(crate) use wires::outward;

use crate::datagrams;

/// Opens a socket for clients.
///
/// # Errors
/// Fails if the address is in use, or is not this computer's.
pub(crate) fn listen(address: SocketAddr) -> io::Result<UdpSocket> {
    datagrams::open(address, datagrams::LISTENER_BUFFER)
}
