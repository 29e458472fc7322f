//! A peer for another ICE implementation on the same computer, which it connects to at once.

use std::net::SocketAddr;

use crate::Credentials;

/// A peer that answers every check and checks back at once.
pub struct StandIn {
    _local: Credentials,
    _other: Credentials,
    _other_controls: bool,
    _random: Box<dyn FnMut() -> u128 + Send>,
}

impl StandIn {
    /// Makes one with its own credentials and those of the agent it is to satisfy;
    /// `other_controls`: whether that agent is the controlling one.
    pub fn new(
        local: Credentials,
        other: Credentials,
        other_controls: bool,
        random: Box<dyn FnMut() -> u128 + Send>,
    ) -> Self {
        Self {
            _local: local,
            _other: other,
            _other_controls: other_controls,
            _random: random,
        }
    }

    /// Returns the packets that answer this one, which seemed to come from `from`.
    pub fn answer(&mut self, _packet: &[u8], _from: SocketAddr) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Returns what opens the talk, before any packet came.
    pub fn open(&mut self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}
