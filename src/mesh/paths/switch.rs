//! Where packets come together and part again: sockets and relays on one side, links on the other.
//!
//! ```text
//! sockets, relays ─ handle_packet ─┬─ STUN ──▶ the agent of its link, or discovery
//!                                  └─ other ─▶ the inbox of its link
//! links ─ send ─▶ route (selected path, standby) ─▶ socket or relay
//! ```
//!
//! Any task may call in here, and nothing here waits. A lock is held for the time of a look-up, or
//! of one packet's turn in an agent; an agent's lock is never taken with another lock held.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use nonstop_ice::{Agent, Base, Candidate, Event, is_stun, username_of};
use tokio::sync::Notify;

use crate::clock;

use super::{
    discovery::Discovery,
    reach::{Reach, RelayState},
    relay::{Class, Relay},
    socket::UdpBase,
    wire::End,
};

/// Most addresses from which packets are passed on: a link has a few, and only those who hold the
/// link's password add one.
const MOST_ADDRESSES: usize = 4096;

/// Through what a base's packets leave.
#[derive(Debug, Clone)]
pub(super) enum Outlet {
    Socket(Arc<UdpBase>),
    Relay {
        relay: Arc<Relay>,
        /// Whether its address is one of the internet: then it reaches no private one, and asking
        /// for it would only be refused.
        public: bool,
    },
}

impl Outlet {
    pub(super) fn send(&self, to: SocketAddr, packet: &[u8], class: Class) -> bool {
        match self {
            Self::Socket(socket) => socket.send(to, packet),
            Self::Relay { public: true, .. } if is_nearby(to.ip()) => false,
            Self::Relay { relay, .. } => relay.send(to, packet, class),
        }
    }
}

/// What all sockets, relays and links of a call share.
#[derive(Debug, Default)]
pub(super) struct Switch {
    outlets: RwLock<HashMap<Base, Outlet>>,
    addresses: RwLock<HashMap<(Base, SocketAddr), Arc<End>>>,
    ends: RwLock<Vec<Arc<End>>>,
    /// Our candidates, for links that begin.
    candidates: Mutex<Vec<(Base, Candidate)>>,
    pub(super) discovery: Mutex<Discovery>,
    /// What became of the relays over each protocol.
    pub(super) relays: Mutex<[RelayState; 3]>,
    /// Notified when something is due sooner than was planned.
    pub(super) sooner: Notify,
    plan: Mutex<Plan>,
    bases: AtomicU64,
}

/// When the next thing is due.
#[derive(Debug, Default)]
struct Plan {
    due: Option<Instant>,
    /// While it is being made, nobody needs to be told.
    in_the_making: bool,
}

impl Switch {
    /// Returns what this network lets through, as far as is known.
    pub(super) fn reach(&self, now: Instant) -> Reach {
        let relays = *lock(&self.relays);
        let answered = lock(&self.discovery).udp_works(now);
        let relayed = (relays[0] == RelayState::Works).then_some(true);
        Reach {
            udp: relayed.or(answered),
            relays,
        }
    }

    /// Returns a number for a new base.
    pub(super) fn next_base(&self) -> Base {
        let number = self.bases.fetch_add(1, Ordering::Relaxed);
        // Four thousand million changes of the network are beyond any call.
        Base(u32::try_from(number).unwrap_or(u32::MAX))
    }

    pub(super) fn outlet(&self, base: Base) -> Option<Outlet> {
        read(&self.outlets).get(&base).cloned()
    }

    pub(super) fn add_outlet(&self, base: Base, outlet: Outlet) {
        write(&self.outlets).insert(base, outlet);
    }

    /// Asks all relays to let packets of somebody through: soon checks will come from there.
    pub(super) fn permit(&self, peer: IpAddr) {
        for outlet in read(&self.outlets).values() {
            if let Outlet::Relay { relay, public } = outlet
                && !(*public && is_nearby(peer))
            {
                relay.permit(peer);
            }
        }
    }

    /// Returns the addresses at which the others may be, those of their own networks left out.
    pub(super) fn peers(&self) -> Vec<IpAddr> {
        let mut peers: Vec<_> = self.ends().iter().flat_map(|end| end.peers()).collect();
        peers.retain(|peer| !is_nearby(*peer));
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Tells whether a link uses one of these bases, or keeps it ready.
    pub(super) fn uses(&self, bases: &[Base]) -> bool {
        let used = |end: &Arc<End>| {
            let agent = end.agent();
            [agent.selected(), agent.standby()]
                .into_iter()
                .flatten()
                .any(|path| bases.contains(&path.base))
        };
        self.ends().iter().any(used)
    }

    /// Forgets a base: what was sent and received through it has to find another way now.
    pub(super) fn remove_base(&self, base: Base, now: Instant) {
        write(&self.outlets).remove(&base);
        lock(&self.candidates).retain(|(of, _)| *of != base);
        write(&self.addresses).retain(|(of, _), _| *of != base);
        for end in self.ends() {
            self.with_agent(&end, |agent| agent.remove_base(now, base));
        }
    }

    /// Adds a candidate of ours, and tells all links.
    pub(super) fn add_candidate(&self, base: Base, candidate: Candidate, now: Instant) {
        tracing::debug!(%candidate, ?base, "candidate");
        {
            let mut candidates = lock(&self.candidates);
            if candidates.iter().any(|(_, known)| *known == candidate) {
                return;
            }
            candidates.push((base, candidate.clone()));
        }
        for end in self.ends() {
            if end.policy().may_use(&candidate) {
                self.with_agent(&end, |agent| agent.add_local(now, base, candidate.clone()));
                end.tell_candidate(candidate.clone());
            }
        }
    }

    pub(super) fn candidates(&self) -> Vec<(Base, Candidate)> {
        lock(&self.candidates).clone()
    }

    #[cfg(test)]
    pub(super) fn sent(&self) -> u64 {
        let outlets = read(&self.outlets);
        let sockets = outlets.values().filter_map(|outlet| match outlet {
            Outlet::Socket(socket) => Some(socket.sent()),
            Outlet::Relay { .. } => None,
        });
        sockets.sum()
    }

    pub(super) fn ends(&self) -> Vec<Arc<End>> {
        read(&self.ends).clone()
    }

    pub(super) fn add_end(&self, end: &Arc<End>) {
        write(&self.ends).push(Arc::clone(end));
    }

    pub(super) fn remove_end(&self, end: &Arc<End>) {
        write(&self.ends).retain(|other| !Arc::ptr_eq(other, end));
        write(&self.addresses).retain(|_, other| !Arc::ptr_eq(other, end));
    }

    /// Takes in what arrived at `base`.
    pub(super) fn handle_packet(&self, base: Base, from: SocketAddr, packet: &[u8], now: Instant) {
        if is_stun(packet) {
            self.handle_stun(base, from, packet, now);
            return;
        }
        let end = read(&self.addresses).get(&(base, from)).cloned();
        let Some(end) = end else {
            tracing::trace!(%from, "a packet of nobody's");
            return;
        };
        self.with_agent(&end, |agent| agent.handle_data(now, base, from));
        end.receive(packet, now);
    }

    fn handle_stun(&self, base: Base, from: SocketAddr, packet: &[u8], now: Instant) {
        let found = lock(&self.discovery).handle_answer(base, from, packet);
        if let Some(candidate) = found {
            self.add_candidate(base, candidate, now);
            return;
        }
        let username = username_of(packet);
        // "Ours:theirs" (RFC 8445 section 7.2.2).
        let ufrag = username.and_then(|username| username.split(':').next());
        for end in self.ends() {
            let taken = self.with_agent(&end, |agent| {
                let expected = ufrag.is_none_or(|ufrag| agent.expects(ufrag));
                expected && agent.handle_stun(now, base, from, packet)
            });
            if taken {
                return;
            }
        }
        tracing::trace!(%from, "a check of nobody's");
    }

    /// Lets `act` at the agent of a link, and does what follows.
    pub(super) fn with_agent<R>(&self, end: &Arc<End>, act: impl FnOnce(&mut Agent) -> R) -> R {
        let (result, transmits, events, due) = {
            let mut agent = end.agent();
            let result = act(&mut agent);
            // What follows at once needs no other task.
            let now = clock::now();
            if agent.poll_timeout().is_some_and(|due| due <= now) {
                agent.handle_timeout(now);
            }
            let transmits: Vec<_> = std::iter::from_fn(|| agent.poll_transmit()).collect();
            let events: Vec<_> = std::iter::from_fn(|| agent.poll_event()).collect();
            (result, transmits, events, agent.poll_timeout())
        };
        for transmit in transmits {
            if let Some(outlet) = self.outlet(transmit.base) {
                outlet.send(transmit.to, &transmit.packet, Class::Control);
            }
        }
        for event in events {
            self.handle_event(end, event);
        }
        if let Some(due) = due {
            self.plan(due);
        }
        result
    }

    fn handle_event(&self, end: &Arc<End>, event: Event) {
        match event {
            Event::Known { base, from } => {
                let mut addresses = write(&self.addresses);
                if addresses.len() < MOST_ADDRESSES {
                    addresses.insert((base, from), Arc::clone(end));
                }
            }
            Event::Selected(path) => {
                let outlet = path.as_ref().and_then(|path| self.outlet(path.base));
                end.select(path, outlet);
            }
            Event::Standby(path) => {
                let outlet = path.as_ref().and_then(|path| self.outlet(path.base));
                end.keep_ready(path, outlet);
            }
            Event::Suspect(suspect) => end.suspect(suspect),
        }
    }

    /// Does what is due, and returns when something is due again.
    pub(super) fn handle_timeout(&self, now: Instant) -> Option<Instant> {
        *lock(&self.plan) = Plan {
            due: None,
            in_the_making: true,
        };
        for end in self.ends() {
            let due = end.agent().poll_timeout();
            match due {
                Some(due) if due <= now => self.with_agent(&end, |agent| agent.handle_timeout(now)),
                Some(due) => self.plan(due),
                None => {}
            }
        }
        let (sends, due) = {
            let mut discovery = lock(&self.discovery);
            (discovery.handle_timeout(now), discovery.poll_timeout())
        };
        if let Some(due) = due {
            self.plan(due);
        }
        for (base, to, packet) in sends {
            if let Some(outlet) = self.outlet(base) {
                outlet.send(to, &packet, Class::Control);
            }
        }
        let mut plan = lock(&self.plan);
        plan.in_the_making = false;
        plan.due
    }

    fn plan(&self, due: Instant) {
        let mut plan = lock(&self.plan);
        if plan.due.is_none_or(|planned| due < planned) {
            plan.due = Some(due);
            if !plan.in_the_making {
                self.sooner.notify_one();
            }
        }
    }
}

/// Tells whether an address means something on its own network only.
pub(super) fn is_nearby(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
