//! Which relays are wanted, and what becomes of them.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};

use nonstop_ice::{Base, Candidate, CandidateKind, RelayProtocol};
use tokio::sync::mpsc;

use super::{Hub, Order};
use crate::mesh::{
    paths::{
        relay::{Inbox, Relay, RelayConfig, RelayEvent, RelayId, RelayServer},
        switch::{Outlet, Switch, is_nearby},
        untold,
    },
    tls::Tls,
};

/// The head start of relays over UDP against those over TCP, and of these against TLS: somebody
/// waits, and one allocation too many costs less than one too late.
const HEAD_START: Duration = Duration::from_millis(20);
/// How long a relay is kept that a better one has made superfluous.
const SUPERFLUOUS: Duration = Duration::from_secs(15);
/// How long UDP is doubted after a link heard nothing.
const DOUBT: Duration = Duration::from_secs(30);
/// Most interfaces on which a relay of their own is kept, so that one can stand in for another.
const RELAYS_ON: usize = 2;

/// A relay that is wanted, and what has become of it.
#[derive(Debug)]
pub(super) struct Place {
    id: RelayId,
    pub(super) server: RelayServer,
    /// The address of our own that it is reached from, or the system's choice.
    bind: Option<IpAddr>,
    start_at: Instant,
    pub(super) relay: Option<Arc<Relay>>,
    /// Our own address on the way there, once known.
    local: Option<SocketAddr>,
    bases: Vec<Base>,
    /// Whether its credentials have expired.
    expires: bool,
    pub(super) failed: bool,
}

impl Place {
    /// Whether it could be tried and is not, because a better one works.
    pub(super) fn waits(&self, now: Instant) -> bool {
        self.relay.is_none() && !self.failed && self.start_at <= now
    }

    pub(super) fn works(&self) -> bool {
        !self.bases.is_empty()
    }
}

impl Hub {
    /// Decides which relays are wanted: each named one, and over UDP one on each interface.
    pub(super) fn place_relays(&mut self, now: Instant) {
        let mut names: Vec<(&str, IpAddr)> = Vec::new();
        let mut by_preference: Vec<_> = self.sockets.iter().collect();
        by_preference.sort_by_key(|socket| std::cmp::Reverse(socket.interface.preference()));
        for socket in by_preference {
            let interface = &socket.interface;
            let known = names.iter().any(|(name, _)| *name == interface.name);
            if !interface.ip.is_loopback() && interface.ip.is_ipv4() && !known {
                names.push((&interface.name, interface.ip));
            }
        }
        names.truncate(RELAYS_ON);
        let binds: Vec<Option<IpAddr>> = match names.as_slice() {
            [] | [_] => vec![None],
            several => several.iter().map(|(_, ip)| Some(*ip)).collect(),
        };
        let mut wanted = Vec::new();
        for server in self.servers.iter().flat_map(RelayServer::from_ice_server) {
            if !self.config.policy.may_relay(server.protocol) {
                continue;
            }
            match server.protocol {
                RelayProtocol::Udp => {
                    wanted.extend(binds.iter().map(|bind| (server.clone(), *bind)));
                }
                RelayProtocol::Tcp | RelayProtocol::Tls => wanted.push((server, None)),
            }
        }
        let own: HashSet<IpAddr> = self.sockets.iter().map(|s| s.interface.ip).collect();
        let mut gone = Vec::new();
        self.places.retain(|place| {
            // The same server, even if its credentials are newer: the allocation goes on, unless
            // its own have expired.
            let still = wanted.iter().any(|(server, bind)| {
                let renewed = place.expires && place.server.username != server.username;
                place.bind == *bind && is_same(&place.server, server) && !renewed
            });
            let reached = place
                .local
                .is_none_or(|local| local.ip().is_unspecified() || own.contains(&local.ip()));
            let keep = still && reached && !place.failed;
            if !keep {
                gone.extend(place.bases.iter().copied());
            }
            keep
        });
        for (server, bind) in wanted {
            let known = |place: &Place| place.bind == bind && is_same(&place.server, &server);
            if self.places.iter().any(known) {
                continue;
            }
            self.relays += 1;
            self.places.push(Place {
                id: RelayId(self.relays),
                start_at: now + head_start(server.protocol),
                server,
                bind,
                relay: None,
                local: None,
                bases: Vec::new(),
                expires: false,
                failed: false,
            });
        }
        for base in gone {
            self.switch.remove_base(base, now);
        }
    }

    /// Tries relays over streams, although one over UDP seems to work.
    pub(super) fn doubt(&mut self, now: Instant) {
        self.doubt_until = Some(now + DOUBT);
        for place in &mut self.places {
            let stream = place.server.protocol != RelayProtocol::Udp;
            if stream && place.relay.is_none() {
                place.failed = false;
                place.start_at = now + head_start(place.server.protocol) - HEAD_START;
            }
        }
    }

    /// Starts the relays whose time has come, unless a better one works; returns when to look
    /// again.
    pub(super) fn start_relays(&mut self, now: Instant) -> Option<Instant> {
        let doubt = self.doubt_until.is_some_and(|until| now < until);
        // A relay over UDP is told dead only when it does not answer a refresh.
        let sure = |place: &&Place| {
            place.works() && !(doubt && place.server.protocol == RelayProtocol::Udp)
        };
        let best = self.places.iter().filter(sure);
        let best = best.map(|place| place.server.protocol).min();
        let mut next = self.end_superfluous(best, now);
        for place in &mut self.places {
            let better_works = best.is_some_and(|best| best < place.server.protocol);
            if place.relay.is_some() || place.failed || better_works {
                continue;
            }
            if place.start_at > now {
                next = Some(next.map_or(place.start_at, |next| next.min(place.start_at)));
                continue;
            }
            let tls = match place.server.protocol {
                RelayProtocol::Tls => match Tls::shared() {
                    Ok(tls) => Some(tls.relays),
                    Err(error) => {
                        tracing::warn!(%error, "no relay over TLS");
                        place.failed = true;
                        continue;
                    }
                },
                RelayProtocol::Udp | RelayProtocol::Tcp => None,
            };
            let config = RelayConfig {
                // A tunnel either way, so the proxy for what is protected.
                proxy: self.config.proxies.toward(&place.server.host, true),
                server: place.server.clone(),
                bind: place.bind,
                tls,
            };
            let inbox = Arc::new(Intake {
                switch: Arc::downgrade(&self.switch),
                orders: self.orders.clone(),
                bases: RwLock::default(),
            });
            place.relay = Some(Arc::new(Relay::start(place.id, config, inbox)));
            place.start_at = now;
        }
        next
    }

    /// Gives back allocations that nothing uses while a better one works; returns when to look again.
    fn end_superfluous(&mut self, best: Option<RelayProtocol>, now: Instant) -> Option<Instant> {
        let best = best?;
        let mut next: Option<Instant> = None;
        let mut gone = Vec::new();
        for place in &mut self.places {
            if place.relay.is_none() || place.server.protocol <= best {
                continue;
            }
            let end = place.start_at + SUPERFLUOUS;
            if end > now {
                next = Some(next.map_or(end, |next| next.min(end)));
            } else if !self.switch.uses(&place.bases) {
                place.relay = None;
                gone.append(&mut place.bases);
            } else {
                place.start_at = now;
            }
        }
        for base in gone {
            self.switch.remove_base(base, now);
        }
        next
    }

    pub(super) fn handle_relay(
        &mut self,
        id: RelayId,
        event: RelayEvent,
        relayed: Vec<(Base, SocketAddr)>,
        now: Instant,
    ) {
        let Some(place) = self.places.iter_mut().find(|place| place.id == id) else {
            return;
        };
        tracing::debug!(server = ?place.server, ?event, "relay");
        if let RelayEvent::Expires { .. } = event {
            // It goes on to its end; the next welcome brings other credentials for another.
            place.expires = true;
            return;
        }
        let gone = std::mem::take(&mut place.bases);
        if let RelayEvent::Failed(_) = event {
            place.failed = true;
            place.relay = None;
        }
        if let (RelayEvent::Allocated { local, .. }, Some(relay)) = (event, &place.relay) {
            place.local = local;
            place.bases = relayed.iter().map(|(base, _)| *base).collect();
            let protocol = place.server.protocol;
            for peer in self.switch.peers() {
                relay.permit(peer);
            }
            for (base, address) in relayed {
                let relay = Arc::clone(relay);
                let public = !is_nearby(address.ip());
                self.switch
                    .add_outlet(base, Outlet::Relay { relay, public });
                let preference = 1_000 + 500 * u16::from(address.is_ipv6());
                let kind = CandidateKind::Relayed;
                let mut candidate = Candidate::new(kind, address, Some(protocol), preference);
                candidate.related = Some(untold(address));
                self.switch.add_candidate(base, candidate, now);
            }
        }
        for base in gone {
            self.switch.remove_base(base, now);
        }
    }
}

/// What a relay's task hands over: packets straight to the switch, everything else to the hub.
struct Intake {
    switch: Weak<Switch>,
    orders: mpsc::Sender<Order>,
    /// The bases of our addresses there.
    bases: RwLock<HashMap<SocketAddr, Base>>,
}

impl Inbox for Intake {
    fn arrived(
        &self,
        _relay: RelayId,
        relayed: SocketAddr,
        from: SocketAddr,
        packet: &[u8],
        at: Instant,
    ) {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        let base = bases.get(&relayed).copied();
        drop(bases);
        if let (Some(switch), Some(base)) = (self.switch.upgrade(), base) {
            switch.handle_packet(base, from, packet, at);
        }
    }

    fn told(&self, relay: RelayId, event: RelayEvent) {
        let Some(switch) = self.switch.upgrade() else {
            return;
        };
        let mut told = Vec::new();
        if let RelayEvent::Allocated { relayed, .. } = &event {
            told.extend(relayed.iter().map(|address| (switch.next_base(), *address)));
            let mut bases = self.bases.write().unwrap_or_else(PoisonError::into_inner);
            *bases = told
                .iter()
                .map(|(base, address)| (*address, *base))
                .collect();
        }
        if self
            .orders
            .try_send(Order::Relay(relay, event, told))
            .is_err()
        {
            tracing::warn!("what became of a relay is lost: the hub is busy");
        }
    }
}

fn head_start(protocol: RelayProtocol) -> Duration {
    match protocol {
        RelayProtocol::Udp => Duration::ZERO,
        RelayProtocol::Tcp => HEAD_START,
        RelayProtocol::Tls => HEAD_START * 2,
    }
}

/// Whether two servers are one, whatever the credentials.
fn is_same(one: &RelayServer, other: &RelayServer) -> bool {
    (&one.host, one.port, one.protocol) == (&other.host, other.port, other.protocol)
}
