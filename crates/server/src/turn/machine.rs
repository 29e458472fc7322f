//! The TURN server as a pure machine (RFC 8656): messages in, messages and sockets out.
//!
//! ```text
//! client ── handle_client ──▶ requests ──▶ Outlet::open, close, to_client
//!                    └─ data ─▶ channel or permission? quota? ──▶ Outlet::to_peer ──▶ peer
//! client ◀── Outlet::to_client ── permission? channel? quota? ◀── handle_peer ────── peer
//! ```
//!
//! Time and randomness are arguments, sockets are behind [`Outlet`]. Each packet finds its
//! allocation by a hash or an index, however many clients there are. Data between two relay
//! sockets of this server never leaves the machine.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use stun_types::{
    attribute::XorMappedAddress,
    message::{BINDING, Message, MessageClass},
};
use turn_types::{attribute::Data, message::SEND};

use crate::slab::{Key, Slab};

use super::{
    accounts::{Accounts, Direction},
    allocation::{Allocation, Client, Family, Reach, Relay},
    config::TurnConfig,
    message::{self, Answer, CHANNELS, IndicationHead},
    nonces::Nonces,
    peers::PeerPolicy,
};

/// What time it is, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Since the Unix epoch: credentials expire by it.
    pub(crate) unix: Duration,
}

/// What the machine needs of the world.
pub(crate) trait Outlet {
    /// Opens a relay socket on an address and returns its port; it has to be even if `even`.
    fn open(&mut self, relay: Relay, address: IpAddr, even: bool) -> io::Result<u16>;
    /// Closes a relay socket.
    fn close(&mut self, relay: Relay);
    /// Tells whether an address is this computer's.
    fn own(&mut self, address: IpAddr) -> bool;
    /// Sends an answer to a client.
    fn answer(&mut self, client: &Client, bytes: &[u8]);
    /// Sends a head and the payload after it to a client. The whole is padded to four bytes over
    /// connections, and if it is `padded` as a datagram, too. May be dropped.
    fn to_client(&mut self, client: &Client, head: &[u8], payload: &[u8], padded: bool);
    /// Sends a payload from a relay socket to a peer. May be dropped.
    fn to_peer(&mut self, relay: Relay, peer: SocketAddr, payload: &[u8]);
}

/// The random numbers that a machine starts with.
#[derive(Clone)]
pub(crate) struct Seed {
    /// Signs nonces.
    pub(crate) nonces: [u8; 32],
    /// Where the transactions of indications begin.
    pub(crate) transactions: [u8; 8],
}

/// The server's state.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(super) config: TurnConfig,
    pub(super) secret: String,
    pub(super) policy: PeerPolicy,
    /// Addresses for relay sockets of clients that reached the server by the other family.
    pub(super) outward: [Option<IpAddr>; 2],
    pub(super) nonces: Nonces,
    pub(super) accounts: Accounts,
    pub(super) allocations: Slab<Allocation>,
    pub(super) by_client: HashMap<Client, Key>,
    /// Relay sockets by both of their addresses.
    pub(super) by_relayed: HashMap<SocketAddr, Relay>,
    pub(super) deadlines: BTreeSet<(Instant, Key)>,
    transactions: u64,
}

impl Machine {
    /// Makes a server without allocations. `outward` are the addresses by which this computer
    /// reaches the internet, of IPv4 and IPv6.
    pub(crate) fn new(
        config: TurnConfig,
        secret: String,
        outward: [Option<IpAddr>; 2],
        seed: &Seed,
    ) -> Self {
        Self {
            policy: PeerPolicy {
                private: config.private_peers,
                allowed: config.peers.clone(),
            },
            secret,
            outward,
            nonces: Nonces::new(seed.nonces),
            accounts: Accounts::new(config.limits.clone()),
            allocations: Slab::default(),
            by_client: HashMap::new(),
            by_relayed: HashMap::new(),
            deadlines: BTreeSet::new(),
            transactions: u64::from_be_bytes(seed.transactions),
            config,
        }
    }

    /// Takes a datagram, or one frame of a connection, from a client.
    pub(crate) fn handle_client(
        &mut self,
        client: &Client,
        data: &[u8],
        now: Now,
        outlet: &mut impl Outlet,
    ) {
        match data.first() {
            Some(0x40..=0x7f) => self.handle_channel(client, data, now.instant, outlet),
            Some(0x00..=0x3f) => {
                if let Some(message) = message::read(data) {
                    self.handle_message(client, &message, now, outlet);
                }
            }
            _ => {}
        }
    }

    /// Takes a datagram that came to a relay socket.
    pub(crate) fn handle_peer(
        &mut self,
        relay: Relay,
        peer: SocketAddr,
        payload: &[u8],
        now: Instant,
        outlet: &mut impl Outlet,
    ) {
        let Some(allocation) = self.allocations.get_mut(relay.allocation) else {
            return;
        };
        let Ok(length) = u16::try_from(payload.len()) else {
            return;
        };
        if allocation.permission(peer.ip(), now).is_none() {
            return;
        }
        let account = allocation.account;
        if !self
            .accounts
            .spend(account, Direction::Received, payload.len(), now)
        {
            return;
        }
        if let Some(number) = allocation.number(peer, now) {
            let head = message::channel_head(number, length);
            outlet.to_client(&allocation.client, &head, payload, false);
        } else if length < u16::MAX - 64 {
            self.transactions = self.transactions.wrapping_add(1);
            let mut transaction = [0; 12];
            transaction[4..].copy_from_slice(&self.transactions.to_be_bytes());
            let head = IndicationHead::new(peer, length, transaction);
            outlet.to_client(&allocation.client, head.bytes(), payload, true);
        }
    }

    /// Forgets a client whose connection ended.
    pub(crate) fn handle_gone(&mut self, client: &Client, outlet: &mut impl Outlet) {
        if let Some(key) = self.by_client.get(client).copied() {
            self.remove(key, outlet);
        }
    }

    /// Tells whether a client has an allocation.
    pub(crate) fn serves(&self, client: &Client) -> bool {
        self.by_client.contains_key(client)
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Ends allocations that are over.
    pub(crate) fn handle_timeout(&mut self, now: Instant, outlet: &mut impl Outlet) {
        while let Some((deadline, key)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.remove(key, outlet);
            // Also if there were no such allocation, so that this ends.
            self.deadlines.remove(&(deadline, key));
        }
    }

    /// Removes an allocation and all that belongs to it.
    pub(super) fn remove(&mut self, key: Key, outlet: &mut impl Outlet) {
        let Some(allocation) = self.allocations.remove(key) else {
            return;
        };
        self.by_client.remove(&allocation.client);
        self.deadlines.remove(&(allocation.deadline, key));
        self.accounts
            .close(allocation.account, allocation.client.remote.ip());
        for family in [Family::V4, Family::V6] {
            if let Some(relayed) = allocation.relayed(family) {
                self.by_relayed.remove(&relayed.local);
                self.by_relayed.remove(&relayed.public);
                outlet.close(Relay {
                    allocation: key,
                    family,
                });
            }
        }
    }

    fn handle_channel(
        &mut self,
        client: &Client,
        data: &[u8],
        now: Instant,
        outlet: &mut impl Outlet,
    ) {
        let Some((number, payload)) = message::read_channel(data) else {
            return;
        };
        if !CHANNELS.contains(&number) {
            return;
        }
        let Some(key) = self.by_client.get(client).copied() else {
            return;
        };
        let Some(allocation) = self.allocations.get_mut(key) else {
            return;
        };
        if let Some(channel) = allocation.channel(number, now) {
            self.send(key, channel.peer, channel.reach, payload, now, outlet);
        }
    }

    fn handle_message(
        &mut self,
        client: &Client,
        message: &Message<'_>,
        now: Now,
        outlet: &mut impl Outlet,
    ) {
        match (message.class(), message.method()) {
            (MessageClass::Request, BINDING) => {
                let transaction = message.transaction_id();
                let mapped = XorMappedAddress::new(client.remote, transaction);
                let answer = Answer::success(message).with(&mapped);
                outlet.answer(client, &answer.finish(None));
            }
            (MessageClass::Request, _) => self.handle_request(client, message, now, outlet),
            (MessageClass::Indication, SEND) => {
                // Nobody is told why an indication goes nowhere (RFC 8656 section 11.2).
                let _ = self.handle_send(client, message, now.instant, outlet);
            }
            _ => {}
        }
    }

    fn handle_send(
        &mut self,
        client: &Client,
        message: &Message<'_>,
        now: Instant,
        outlet: &mut impl Outlet,
    ) -> Option<()> {
        message::understood(message).ok()?;
        let peer = *message::peers(message).ok()?.first()?;
        let data = message::required::<Data<'_>>(message).ok()?;
        let key = *self.by_client.get(client)?;
        let allocation = self.allocations.get_mut(key)?;
        let permission = allocation.permission(peer.ip(), now)?;
        self.send(key, peer, permission.reach, data.data(), now, outlet);
        Some(())
    }

    /// Sends a payload to a peer that may be reached, inside the machine if that is a relay
    /// socket of its own.
    fn send(
        &mut self,
        key: Key,
        peer: SocketAddr,
        reach: Reach,
        payload: &[u8],
        now: Instant,
        outlet: &mut impl Outlet,
    ) {
        let Some(allocation) = self.allocations.get_mut(key) else {
            return;
        };
        let family = Family::of(peer.ip());
        let Some(relayed) = allocation.relayed(family) else {
            return;
        };
        let account = allocation.account;
        if !self
            .accounts
            .spend(account, Direction::Sent, payload.len(), now)
        {
            return;
        }
        let relay = Relay {
            allocation: key,
            family,
        };
        if reach == Reach::Outside {
            outlet.to_peer(relay, peer, payload);
        } else if let Some(other) = self.by_relayed.get(&peer).copied() {
            self.handle_peer(other, relayed.public, payload, now, outlet);
        } else if reach == Reach::OwnAll || self.config.own_ports.contains(&peer.port()) {
            outlet.to_peer(relay, peer, payload);
        }
    }
}
