//! Every way on which packets reach the other participants: sockets on all interfaces, what
//! routers make of them, relays, and for each link the choice among them.
//!
//! ```text
//!               interfaces ─ change ─▶ hub ─ opens, closes ─▶ sockets, relays
//!                                       │ candidates             ▲      │
//! connection ◀─▶ Wire ◀─▶ End (agent, route, inbox) ◀──── Switch ┴──────┘
//! ```
//!
//! One for a call: its links share the sockets and the allocations on relays, so that the second
//! link finds everything there. Which pair of addresses a link uses is decided by its agent
//! (`crates/ice`), again and again: a better path that appears is taken, a dead one is left, and
//! the connection above notices neither.
//!
//! All ways are tried from the start, the better ones with a short head start: relays over UDP at
//! once, over TCP where that has not worked within 20 ms, over TLS within 40 ms.

mod discovery;
mod hub;
mod interfaces;
mod policy;
mod reach;
pub(crate) mod relay;
mod socket;
mod switch;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use nonstop_wire::IceServer;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use self::{
    hub::{Hub, Order},
    switch::Switch,
};
use super::proxy::Proxies;
pub(crate) use hub::stun_address;
pub(crate) use interfaces::{may_be_told, usable};
pub(crate) use policy::Policy;
pub use policy::{Path, PathPolicy};
pub use reach::{Reach, RelayState, Ways};
pub(crate) use relay::Class;
pub(crate) use wire::{PathEvent, Wire, draw_credentials};

/// What the paths of a call are told at the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct PathsConfig {
    /// Which paths may be used.
    pub(crate) policy: Policy,
    /// The proxies on the way to relays over TCP and TLS.
    pub(crate) proxies: Proxies,
}

/// The paths of a call. Dropping the last handle closes all sockets.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    switch: Arc<Switch>,
    policy: Policy,
    orders: mpsc::Sender<Order>,
    changes: watch::Receiver<u64>,
    _tasks: Arc<JoinSet<()>>,
}

impl Paths {
    /// Opens the sockets; must be called within a tokio runtime.
    pub(crate) fn start(config: PathsConfig) -> Self {
        let switch = Arc::new(Switch::default());
        // Orders are few; what relays tell is little. Full means that the hub is far behind, and
        // then the relay's next word is as good.
        let (orders, queue) = mpsc::channel(64);
        let (changed, changes) = watch::channel(0);
        let policy = config.policy;
        let hub = Hub::new(config, &switch, orders.clone(), changed);
        let mut tasks = JoinSet::new();
        tasks.spawn(hub.run(queue));
        Self {
            switch,
            policy,
            orders,
            changes,
            _tasks: Arc::new(tasks),
        }
    }

    /// Names the servers that help to find paths; those that are known already go on.
    pub(crate) fn set_servers(&self, servers: Vec<IceServer>) {
        if self.orders.try_send(Order::Servers(servers)).is_err() {
            tracing::debug!("the hub is busy; the servers are named again at the next welcome");
        }
    }

    /// Makes the end of a connection. `tell` is called from other tasks and must not wait.
    pub(crate) fn wire(&self, tell: impl Fn(PathEvent) + Send + Sync + 'static) -> Wire {
        Wire::new(&self.switch, self.orders.clone(), self.policy, tell)
    }

    /// Makes the end of a connection to the meeting server's house, which knows this computer's
    /// address already: it need not be hidden.
    pub(crate) fn wire_to_house(&self, tell: impl Fn(PathEvent) + Send + Sync + 'static) -> Wire {
        let policy = Policy {
            hide_address: false,
            ..self.policy
        };
        Wire::new(&self.switch, self.orders.clone(), policy, tell)
    }

    /// Returns how many packets left the sockets that there are.
    #[cfg(test)]
    pub(crate) fn sent(&self) -> u64 {
        self.switch.sent()
    }

    /// Returns the counter of changes of this computer's network.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// Draws a random number.
fn random() -> Option<u128> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(u128::from_be_bytes(bytes)),
        Err(error) => {
            tracing::warn!(%error, "no random numbers, so no checks");
            None
        }
    }
}

/// What is said in place of the address that a candidate stands for (RFC 8839 section 5.1 wants
/// something there): nobody needs to know it.
fn untold(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    }
}
