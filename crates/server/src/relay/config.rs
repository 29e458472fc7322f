//! How the relay is set up.

use std::net::SocketAddr;

use crate::{ExternalAddress, Rate};

/// What the relay is told at its start.
#[derive(Debug, Clone, PartialEq)]
pub struct RelayConfig {
    /// Where it listens, UDP. Where none is named: on the addresses of the meeting server, on the
    /// port after the first one of it, or on any other that is free.
    pub listen: Vec<SocketAddr>,
    /// The addresses by which it is reached from outside, behind one-to-one NAT.
    pub external: Vec<ExternalAddress>,
    /// How many threads relay, each some of the rooms; from 1 on. Each has ports of its own: those after
    /// the ones of the thread before.
    pub threads: u16,
    /// Most connections of participants, on all threads.
    pub connections: usize,
    /// Bytes that a connection may send. What is beyond is dropped unread.
    pub bytes_per_connection: Rate,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            external: Vec::new(),
            threads: 1,
            connections: 4096,
            // Three layers of pictures and sound are 4 Mb/s; a burst is keyframes of all of them.
            bytes_per_connection: Rate {
                burst: 1_000_000.0,
                per_second: 1_000_000.0,
            },
        }
    }
}
