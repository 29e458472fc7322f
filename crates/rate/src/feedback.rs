//! What goes into the controller and what comes out of it besides a number.

use std::time::{Duration, Instant};

use crate::{Bitrate, DataSize};

/// Names one probe of a connection; the next one has the next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u32);

/// A short burst at a known rate, sent to learn whether the network carries that much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Marks the packets that belong to it.
    pub id: ProbeId,
    /// The rate at which they leave.
    pub rate: Bitrate,
    /// How much leaves at least.
    pub size: DataSize,
    /// How many packets leave at least.
    pub packets: u32,
}

/// What became of one sent packet, as the receiver reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketResult {
    /// When it left, on our clock.
    pub departure: Instant,
    /// When it arrived, on the receiver's clock (any origin); `None` if it was lost.
    pub arrival: Option<Duration>,
    /// Its size on the wire.
    pub size: DataSize,
    /// The probe it was part of.
    pub probe: Option<ProbeId>,
}

/// How packets may leave right now. Made anew for each decision: it is cheap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What the network is believed to carry.
    pub estimate: Bitrate,
    /// How fast queued packets leave: faster than the estimate, for pictures differ in size.
    pub pace: Bitrate,
    /// The most that may be on its way without the receiver having spoken of it.
    pub window: DataSize,
    /// What is on its way.
    pub in_flight: DataSize,
    /// Whether a queue stands or grows, or much is lost because too much was sent.
    pub congested: bool,
}
