//! The task that keeps sockets and relays as the network is, and gives the agents their time.

mod relays;

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_ice::{Base, Candidate, CandidateKind, RelayProtocol};
use nonstop_wire::IceServer;
use tokio::{
    net::lookup_host,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep_until, timeout},
};

use self::relays::Place;
use super::{
    PathsConfig,
    interfaces::{Change, Interface, Watch, usable},
    reach::RelayState,
    relay::{RelayEvent, RelayId},
    socket::UdpBase,
    switch::{Outlet, Switch, lock},
};
use crate::clock;

/// The port of STUN where the address names none (RFC 7064).
const STUN_PORT: u16 = 3478;
/// How long a name of a server is looked up.
const LOOK_UP: Duration = Duration::from_secs(5);
/// When the hub looks again although nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// What the hub is told.
#[derive(Debug)]
pub(super) enum Order {
    /// These servers help.
    Servers(Vec<IceServer>),
    /// A name was looked up.
    Found(Vec<SocketAddr>),
    /// A link hears nothing: perhaps the network lets through less than before.
    Doubt,
    /// Something became of a relay.
    Relay(RelayId, RelayEvent, Vec<(Base, SocketAddr)>),
}

pub(super) struct Hub {
    config: PathsConfig,
    switch: Arc<Switch>,
    orders: mpsc::Sender<Order>,
    changed: watch::Sender<u64>,
    watch: Watch,
    sockets: Vec<Arc<UdpBase>>,
    /// Servers that tell what became of an address.
    stun: Vec<SocketAddr>,
    servers: Vec<IceServer>,
    places: Vec<Place>,
    relays: u32,
    /// Until when it is doubted that UDP gets through.
    doubt_until: Option<Instant>,
    look_ups: JoinSet<()>,
}

impl Hub {
    pub(super) fn new(
        config: PathsConfig,
        switch: &Arc<Switch>,
        orders: mpsc::Sender<Order>,
        changed: watch::Sender<u64>,
    ) -> Self {
        let mut hub = Self {
            config,
            switch: Arc::clone(switch),
            orders,
            changed,
            watch: Watch::new(),
            sockets: Vec::new(),
            stun: Vec::new(),
            servers: Vec::new(),
            places: Vec::new(),
            relays: 0,
            doubt_until: None,
            look_ups: JoinSet::new(),
        };
        hub.look(clock::now());
        hub
    }

    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let now = clock::now();
            let relays = self.start_relays(now);
            *lock(&self.switch.relays) = self.relay_states();
            let due = self.switch.handle_timeout(now);
            let due = [due, relays].into_iter().flatten().min();
            let due = due.unwrap_or(now + IDLE);
            tokio::select! {
                // 1. What is due soonest was planned anew.
                () = self.switch.sooner.notified() => {}
                // 2. Servers and relays: somebody waits for a path.
                Some(order) = orders.recv() => self.handle_order(order),
                // 3. The network.
                change = self.watch.next() => self.handle_change(change),
                Some(_) = self.look_ups.join_next() => {}
                () = sleep_until(due.into()) => {}
            }
        }
    }

    /// Returns what became of the relays over each protocol.
    fn relay_states(&self) -> [RelayState; 3] {
        let mut states = [RelayState::NotOffered; 3];
        for place in &self.places {
            let state = match place.works() {
                true => RelayState::Works,
                false if place.failed => RelayState::Failed,
                false if place.waits(clock::now()) => RelayState::Idle,
                false => RelayState::Trying,
            };
            let number = match place.server.protocol {
                RelayProtocol::Udp => 0,
                RelayProtocol::Tcp => 1,
                RelayProtocol::Tls => 2,
            };
            states[number] = states[number].max(state);
        }
        states
    }

    fn handle_order(&mut self, order: Order) {
        let now = clock::now();
        match order {
            Order::Servers(servers) => self.set_servers(servers, now),
            Order::Found(addresses) => {
                for address in addresses {
                    self.add_stun(address, now);
                }
            }
            Order::Doubt => self.doubt(now),
            Order::Relay(id, event, relayed) => self.handle_relay(id, event, relayed, now),
        }
    }

    fn handle_change(&mut self, change: Change) {
        let now = clock::now();
        let moved = self.look(now);
        if !moved && change == Change::Unknown {
            return;
        }
        tracing::debug!(?change, moved, "the network changed");
        // A route may have come later than its address: what was asked without it is asked again.
        for socket in &self.sockets {
            self.ask(socket, now);
        }
        for relay in self.places.iter().filter_map(|place| place.relay.as_ref()) {
            relay.check();
        }
        for end in self.switch.ends() {
            self.switch.with_agent(&end, |agent| agent.recheck(now));
        }
        if moved || change == Change::Woke {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Asks all servers what becomes of a socket's address on the way there.
    fn ask(&self, socket: &UdpBase, now: Instant) {
        let mut discovery = lock(&self.switch.discovery);
        discovery.forget(socket.base);
        for server in &self.stun {
            let preference = socket.interface.preference();
            discovery.ask(socket.base, socket.local, preference, *server, now);
        }
    }

    /// Opens and closes sockets so that there is one for each address; returns whether something
    /// changed.
    fn look(&mut self, now: Instant) -> bool {
        let interfaces = usable();
        let gone: Vec<_> = self
            .sockets
            .iter()
            .filter(|socket| !interfaces.contains(&socket.interface))
            .map(|socket| socket.base)
            .collect();
        self.sockets.retain(|socket| !gone.contains(&socket.base));
        let known: HashSet<IpAddr> = self.sockets.iter().map(|s| s.interface.ip).collect();
        let tunnelled = interfaces.iter().any(|interface| interface.tunnel);
        let names: HashSet<_> = (interfaces.iter())
            .filter(|interface| !interface.ip.is_loopback())
            .map(|interface| interface.name.as_str())
            .collect();
        // With a second way out, packets must leave where their address is, or the second way is
        // none. Not past a VPN: who has one wants everything to go through it.
        let several = names.len() > 1 && !tunnelled;
        let mut moved = !gone.is_empty();
        // What is new first: links then move rather than stop.
        for interface in interfaces.iter().filter(|i| !known.contains(&i.ip)) {
            moved |= self.open(interface.clone(), now);
        }
        if several {
            let away = |socket: &&Arc<UdpBase>| !socket.interface.ip.is_loopback();
            self.sockets
                .iter()
                .filter(away)
                .for_each(|s| s.keep_to_interface());
        }
        for base in gone {
            lock(&self.switch.discovery).forget(base);
            self.switch.remove_base(base, now);
        }
        if moved {
            self.place_relays(now);
        }
        moved
    }

    fn open(&mut self, interface: Interface, now: Instant) -> bool {
        let base = self.switch.next_base();
        let preference = interface.preference();
        let socket = match UdpBase::open(base, interface, &self.switch) {
            Ok(socket) => Arc::new(socket),
            // A new IPv6 address cannot be used while it is checked for duplicates; the system
            // tells when that is over.
            Err(error) => {
                tracing::debug!(%error, "no socket on an address");
                return false;
            }
        };
        self.switch
            .add_outlet(base, Outlet::Socket(Arc::clone(&socket)));
        let candidate = Candidate::new(CandidateKind::Host, socket.local, None, preference);
        self.switch.add_candidate(base, candidate, now);
        self.ask(&socket, now);
        self.sockets.push(socket);
        true
    }

    fn set_servers(&mut self, servers: Vec<IceServer>, now: Instant) {
        self.servers = servers;
        for server in &self.servers {
            for url in &server.urls {
                if let Some((host, port)) = stun_address(url) {
                    self.look_ups
                        .spawn(look_up(host, port, self.orders.clone()));
                }
            }
        }
        self.place_relays(now);
    }

    fn add_stun(&mut self, server: SocketAddr, now: Instant) {
        if self.stun.contains(&server) {
            return;
        }
        self.stun.push(server);
        let mut discovery = lock(&self.switch.discovery);
        for socket in &self.sockets {
            let preference = socket.interface.preference();
            discovery.ask(socket.base, socket.local, preference, server, now);
        }
    }
}

/// Returns host and port of a STUN server's address (RFC 7064), or of a TURN server's over UDP,
/// which answers the same question.
pub(crate) fn stun_address(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once(':')?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let udp = scheme == "stun" || scheme == "turn" && !query.contains("transport=tcp");
    if !udp {
        return None;
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':'))
        }
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = port.map_or(Some(STUN_PORT), |port| port.parse().ok())?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

async fn look_up(host: String, port: u16, orders: mpsc::Sender<Order>) {
    match timeout(LOOK_UP, lookup_host((host.as_str(), port))).await {
        Ok(Ok(found)) => {
            let mut one_each: Vec<SocketAddr> = Vec::new();
            for address in found {
                let family = |other: &SocketAddr| other.is_ipv4() == address.is_ipv4();
                if !one_each.iter().any(family) {
                    one_each.push(address);
                }
            }
            // The hub has ended where this fails.
            let _ = orders.send(Order::Found(one_each)).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, host, "a STUN server's name is not known"),
        Err(_) => tracing::debug!(host, "looking up a STUN server's name takes too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_stun_servers_are_read_and_others_left_out() {
        let found = |url| stun_address(url).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(found("stun:a.example").as_deref(), Some("a.example 3478"));
        assert_eq!(found("stun:192.0.2.1:9").as_deref(), Some("192.0.2.1 9"));
        assert_eq!(
            found("stun:[2001:db8::1]").as_deref(),
            Some("2001:db8::1 3478")
        );
        assert_eq!(
            found("turn:[2001:db8::1]:443?transport=udp").as_deref(),
            Some("2001:db8::1 443")
        );
        for url in [
            "turn:a?transport=tcp",
            "turns:a",
            "stun:",
            "stun:a:x",
            "",
            "stun:[::1",
        ] {
            assert_eq!(found(url), None, "{url}");
        }
    }
}
