//! One link's end of the paths: what its connection sends and receives through, whichever path it
//! is at the moment.

use std::{
    collections::VecDeque,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use nonstop_ice::{Agent, Candidate, Config, Credentials, Path, Progress};
use tokio::sync::mpsc;

use super::{
    Policy, Ways,
    hub::Order,
    relay::Class,
    switch::{Outlet, Switch, lock},
};
use crate::clock;

/// Packets that may wait for the connection's task; more are lost like on the network. Half a
/// second at 10 Mb/s.
const MOST_WAITING: usize = 512;
/// Most addresses of the other side that relays are asked to let through.
const MOST_PEERS: usize = 32;
/// The characters of ICE user names and passwords (RFC 8839 section 5.4).
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What the paths have to tell their link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathEvent {
    /// A way in was found, to be told the other side.
    Candidate(Candidate),
    /// Media takes this path from now on; none where nothing works any more.
    Selected(Option<Path>),
}

/// How the link is told. It must not wait.
type Tell = Box<dyn Fn(PathEvent) + Send + Sync>;

/// The part of a link that sockets and relays know.
pub(super) struct End {
    agent: Mutex<Agent>,
    route: Mutex<Route>,
    inbox: Mutex<Inbox>,
    policy: Policy,
    tell: Tell,
    /// Whether sound is sent on both paths, because much of it is lost.
    audio_on_both: AtomicBool,
    /// The addresses at which the other side may be, the newest last.
    peers: Mutex<Vec<IpAddr>>,
}

/// Where packets go.
#[derive(Debug, Default)]
struct Route {
    selected: Option<(Outlet, SocketAddr)>,
    standby: Option<(Outlet, SocketAddr)>,
    /// Whether nothing has come over the selected path although it should have.
    suspect: bool,
}

#[derive(Debug, Default)]
struct Inbox {
    packets: VecDeque<(Vec<u8>, Instant)>,
    waker: Option<Waker>,
    /// Whether packets may be taken: before its own handshake the connection would drop them.
    open: bool,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

impl End {
    pub(super) fn agent(&self) -> MutexGuard<'_, Agent> {
        lock(&self.agent)
    }

    pub(super) fn tell_candidate(&self, candidate: Candidate) {
        (self.tell)(PathEvent::Candidate(candidate));
    }

    pub(super) fn peers(&self) -> Vec<IpAddr> {
        lock(&self.peers).clone()
    }

    fn add_peer(&self, peer: IpAddr) {
        let mut peers = lock(&self.peers);
        if !peers.contains(&peer) {
            if peers.len() >= MOST_PEERS {
                peers.remove(0);
            }
            peers.push(peer);
        }
    }

    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    pub(super) fn select(&self, path: Option<Path>, outlet: Option<Outlet>) {
        tracing::debug!(?path, "path selected");
        let to = path.as_ref().map(|path| path.remote);
        {
            let mut route = lock(&self.route);
            // A path that is lost for good is the best there is until another is found.
            if let Some(selected) = outlet.zip(to) {
                route.selected = Some(selected);
            }
            route.suspect = false;
        }
        (self.tell)(PathEvent::Selected(path));
    }

    pub(super) fn keep_ready(&self, path: Option<Path>, outlet: Option<Outlet>) {
        tracing::debug!(?path, "standby");
        lock(&self.route).standby = outlet.zip(path.map(|path| path.remote));
    }

    pub(super) fn suspect(&self, suspect: bool) {
        tracing::debug!(suspect, "the selected path is silent");
        lock(&self.route).suspect = suspect;
    }

    /// Hands a packet to the connection.
    pub(super) fn receive(&self, packet: &[u8], arrived: Instant) {
        let waker = {
            let mut inbox = lock(&self.inbox);
            if inbox.packets.len() >= MOST_WAITING {
                return;
            }
            inbox.packets.push_back((packet.to_vec(), arrived));
            match inbox.open {
                true => inbox.waker.take(),
                false => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A connection's end. Dropping it takes the link off all sockets and relays.
#[derive(Debug)]
pub(crate) struct Wire {
    switch: Arc<Switch>,
    orders: mpsc::Sender<Order>,
    end: Arc<End>,
}

impl Wire {
    pub(super) fn new(
        switch: &Arc<Switch>,
        orders: mpsc::Sender<Order>,
        policy: Policy,
        tell: impl Fn(PathEvent) + Send + Sync + 'static,
    ) -> Self {
        let agent = Agent::new(Config {
            local: draw_credentials(),
            controlling: true,
            tie_breaker: super::random().unwrap_or_default() as u64,
            random: Box::new(|| super::random().unwrap_or_default()),
        });
        let end = Arc::new(End {
            agent: Mutex::new(agent),
            route: Mutex::default(),
            inbox: Mutex::default(),
            policy,
            tell: Box::new(tell),
            audio_on_both: AtomicBool::new(false),
            peers: Mutex::default(),
        });
        switch.add_end(&end);
        let now = clock::now();
        for (base, candidate) in switch.candidates() {
            if policy.may_use(&candidate) {
                switch.with_agent(&end, |agent| agent.add_local(now, base, candidate));
            }
        }
        Self {
            switch: Arc::clone(switch),
            orders,
            end,
        }
    }

    /// Returns our credentials, to be told the other side.
    pub(crate) fn credentials(&self) -> Credentials {
        self.end.agent().credentials().clone()
    }

    /// Returns the ways in that were found so far, to be told the other side.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let candidates = self.switch.candidates().into_iter();
        candidates
            .map(|(_, candidate)| candidate)
            .filter(|candidate| self.end.policy.may_use(candidate))
            .collect()
    }

    /// Whether we choose the path (the side that offered first does).
    pub(crate) fn set_controlling(&self, controlling: bool) {
        self.act(|agent| agent.set_controlling(controlling));
    }

    /// Begins to look for a path to the other side, or begins anew where its credentials changed.
    pub(crate) fn set_remote(&self, credentials: Credentials, renomination: bool) {
        self.act(|agent| agent.set_remote(clock::now(), credentials, renomination));
    }

    /// Adds a way in to the other side.
    pub(crate) fn add_remote(&self, candidate: Candidate) {
        if self.end.policy.may_reach(&candidate) {
            let peer = candidate.address.ip();
            self.switch.permit(peer);
            self.end.add_peer(peer);
            self.act(|agent| agent.add_remote(clock::now(), candidate));
        }
    }

    /// Begins anew on this side, with other credentials; the path there is goes on until another
    /// one works.
    pub(crate) fn restart(&self) {
        self.act(|agent| agent.restart(clock::now(), draw_credentials()));
    }

    /// Nothing is heard: lets relays over TCP and TLS be tried, even if one over UDP seems to work.
    pub(crate) fn doubt(&self) {
        // Full means that the hub has much to do; the next silence comes soon.
        let _ = self.orders.try_send(Order::Doubt);
    }

    /// Whether nothing is sent for now: then paths are checked as seldom as keeps them.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.act(|agent| agent.set_idle(clock::now(), idle));
    }

    /// Checks all paths again, now.
    pub(crate) fn recheck(&self) {
        self.act(|agent| agent.recheck(clock::now()));
    }

    /// Returns the path that media takes.
    pub(crate) fn path(&self) -> Option<Path> {
        self.end.agent().selected().cloned()
    }

    /// Returns when something of the other side came last, if only an answer to a check.
    pub(crate) fn last_heard(&self) -> Option<Instant> {
        self.end.agent().last_heard()
    }

    /// Returns what is tried, and what this network lets through.
    pub(crate) fn ways(&self) -> Ways {
        let progress = match self.path() {
            Some(_) => Progress::default(),
            None => self.end.agent().progress(),
        };
        Ways::of(progress, self.switch.reach(clock::now()))
    }

    /// Whether sound goes out on both paths, where there are two.
    pub(crate) fn set_audio_on_both(&self, both: bool) {
        self.end.audio_on_both.store(both, Ordering::Relaxed);
    }

    /// Sends a packet; never waits. What cannot be sent is lost, like on the network.
    pub(crate) fn send(&self, packet: &[u8], class: Class) {
        let (selected, standby) = {
            let route = lock(&self.end.route);
            let twice = match class {
                Class::Audio => route.suspect || self.end.audio_on_both.load(Ordering::Relaxed),
                Class::Control => route.suspect,
                Class::Video => false,
            };
            let standby = twice.then(|| route.standby.clone()).flatten();
            (route.selected.clone(), standby)
        };
        for (outlet, to) in [selected, standby].into_iter().flatten() {
            outlet.send(to, packet, class);
        }
    }

    /// Lets the connection take packets from now on.
    pub(crate) fn open(&self) {
        let waker = {
            let mut inbox = lock(&self.end.inbox);
            inbox.open = true;
            inbox.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes what `first` has, or the next packet, once [`open`](Self::open), and when it arrived. Whoever gives `first`
    /// something later has to [`wake`](Self::wake).
    pub(crate) fn poll_receive(
        &self,
        context: &mut Context<'_>,
        first: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Poll<(Vec<u8>, Instant)> {
        let mut inbox = lock(&self.end.inbox);
        if let Some(packet) = first() {
            return Poll::Ready((packet, clock::now()));
        }
        if inbox.open
            && let Some(packet) = inbox.packets.pop_front()
        {
            return Poll::Ready(packet);
        }
        let waker = &mut inbox.waker;
        match waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Wakes whoever waits in [`poll_receive`](Self::poll_receive).
    pub(crate) fn wake(&self) {
        let waker = lock(&self.end.inbox).waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn act(&self, act: impl FnOnce(&mut Agent)) {
        self.switch.with_agent(&self.end, act);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.switch.remove_end(&self.end);
    }
}

/// Draws a user name of 48 and a password of 144 random bits (RFC 8839 section 5.4 wants 24, 128).
pub(crate) fn draw_credentials() -> Credentials {
    Credentials {
        ufrag: letters(8),
        password: letters(24),
    }
}

fn letters(count: usize) -> String {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).expect("the system has a source of random numbers");
    bytes
        .into_iter()
        .map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]))
        .collect()
}
