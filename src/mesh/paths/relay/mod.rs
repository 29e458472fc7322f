//! Relays: one allocation on one TURN server over one protocol (RFC 8656), shared by all links
//! of a call.
//!
//! ```text
//!              ┌──────────── Shared ────────────┐
//! Relay::send ─┤ Client (pure) ─ UDP socket ────┼─▶ relay
//!              │               └ Queue ─ writer ┼─▶ relay   (TCP, TLS, through a proxy)
//! Inbox ◀──────┤ Client ◀──────────────── task ◀┼── relay
//!              └────────────────────────────────┘
//! ```
//!
//! Whoever sends does so on their own task: over UDP the packet is on its way when `send`
//! returns. Over a stream it waits in a queue that drops what has become stale.

mod client;
mod error;
mod frame;
mod permission;
mod queue;
mod request;
mod server;
mod stream;
mod task;
#[cfg(test)]
mod tests;
mod udp;

pub(crate) use error::RelayError;
pub(crate) use server::{RelayProtocol, RelayServer};

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use self::task::Shared;
use crate::{clock, mesh::proxy::Proxy};

/// Which relay, in the words of whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RelayId(pub(crate) u32);

/// Everything a relay is told at the start.
#[derive(Debug, Clone)]
pub(crate) struct RelayConfig {
    /// The server.
    pub(crate) server: RelayServer,
    /// The source address to use, or the system's choice.
    pub(crate) bind: Option<IpAddr>,
    /// The proxy on the way, for streams.
    pub(crate) proxy: Option<Proxy>,
    /// Whom to trust; needed for TLS only.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

/// What a packet is, which decides its place in a full stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Sound: first with control; worthless after 400 ms.
    Audio,
    /// Pictures: last; worthless after 150 ms.
    Video,
    /// STUN, DTLS, RTCP, SCTP: first with sound.
    Control,
}

/// What becomes of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RelayEvent {
    /// It can be used.
    Allocated {
        /// Our addresses there: IPv4, IPv6 or both.
        relayed: Vec<SocketAddr>,
        /// The address by which the relay sees us.
        mapped: Option<SocketAddr>,
        /// Our own address on the way there.
        local: Option<SocketAddr>,
        /// From a request to its answer.
        round_trip: Duration,
    },
    /// It cannot be used; final.
    Failed(RelayError),
    /// It works until then and is not prolonged: the credentials have expired. Another relay with
    /// new ones has to take its place.
    Expires {
        /// The end of the allocation.
        at: Instant,
    },
    /// It could be used and cannot any more. It is tried again, and `Allocated` follows when that
    /// works.
    Lost(RelayError),
}

/// Where what comes from a relay goes. Called from the relay's task, which waits meanwhile: it
/// must be short and must not block.
pub(crate) trait Inbox: Send + Sync {
    /// A packet came from `from` to our address `relayed`, at `at`.
    fn arrived(
        &self,
        relay: RelayId,
        relayed: SocketAddr,
        from: SocketAddr,
        packet: &[u8],
        at: Instant,
    );

    /// Something became of the relay.
    fn told(&self, relay: RelayId, event: RelayEvent);
}

/// What a relay has carried and what waits, for the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RelayFigures {
    /// For how long the oldest packet has waited to enter the stream.
    pub(crate) queue_delay: Duration,
    /// How many packets were handed to the network.
    pub(crate) sent: u64,
    /// How many packets with sound were dropped.
    pub(crate) audio_dropped: u64,
    /// How many packets with pictures were dropped.
    pub(crate) video_dropped: u64,
    /// How many other packets were dropped.
    pub(crate) control_dropped: u64,
}

impl RelayFigures {
    fn count_dropped(&mut self, class: Class) {
        match class {
            Class::Audio => self.audio_dropped += 1,
            Class::Video => self.video_dropped += 1,
            Class::Control => self.control_dropped += 1,
        }
    }

    /// Adds the counts; the queue is `other`'s.
    fn plus(self, other: Self) -> Self {
        Self {
            queue_delay: other.queue_delay,
            sent: self.sent + other.sent,
            audio_dropped: self.audio_dropped + other.audio_dropped,
            video_dropped: self.video_dropped + other.video_dropped,
            control_dropped: self.control_dropped + other.control_dropped,
        }
    }
}

/// A running relay. Dropping it gives the allocation back and ends its task.
#[derive(Debug)]
pub(crate) struct Relay {
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

impl Relay {
    /// Starts making the allocation; must be called within a tokio runtime.
    pub(crate) fn start(id: RelayId, config: RelayConfig, inbox: Arc<dyn Inbox>) -> Self {
        let shared = Arc::new(Shared::default());
        let mut task = JoinSet::new();
        task.spawn(task::run(id, config, Arc::clone(&shared), inbox));
        Self {
            shared,
            _task: task,
        }
    }

    /// Asks the relay to let packets of this computer through. Sending to it does so, too.
    pub(crate) fn permit(&self, peer: IpAddr) {
        self.shared.permit(peer, clock::now());
    }

    /// Asks the relay whether it still knows us, where there is a reason to doubt it.
    pub(crate) fn check(&self) {
        self.shared.check(clock::now());
    }

    /// Sends a packet through the relay, from any task; never waits. Returns whether it was taken:
    /// it is not where the relay has no address of that family, does not let packets to there
    /// through, or has no room.
    pub(crate) fn send(&self, to: SocketAddr, packet: &[u8], class: Class) -> bool {
        self.shared.send(to, packet, class, clock::now())
    }

    /// Returns the figures up to now.
    pub(crate) fn figures(&self) -> RelayFigures {
        self.shared.figures(clock::now())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        tracing::debug!(figures = ?self.figures(), "the relay is given back");
        self.shared.farewell(clock::now());
    }
}
