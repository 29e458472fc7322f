//! One allocation: who relays, by which addresses, to whom, and until when.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::slab::Key;

/// How long a permission lasts (RFC 8656 section 9).
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// How long a channel lasts (RFC 8656 section 12).
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

/// Which way a client's messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// As datagrams to this listener.
    Listener(u16),
    /// Over this connection.
    Stream(u64),
}

/// A client, by what RFC 8656 calls the 5-tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) way: Way,
    pub(crate) remote: SocketAddr,
    /// The address of the server that it reached.
    pub(crate) local: IpAddr,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// Returns the family of an address.
    pub(crate) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A relay socket: each allocation has one for each of its families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Relay {
    pub(crate) allocation: Key,
    pub(crate) family: Family,
}

/// The addresses of a relay socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// Where the socket is.
    pub(crate) local: SocketAddr,
    /// How it is reached from outside.
    pub(crate) public: SocketAddr,
}

/// What a peer's address means to this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Some other computer.
    Outside,
    /// This computer: only relay sockets, and the ports that are named, are to be reached.
    Own,
    /// This computer, all of it, because the operator says so.
    OwnAll,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Permission {
    until: Instant,
    pub(crate) reach: Reach,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Channel {
    until: Instant,
    pub(crate) peer: SocketAddr,
    pub(crate) reach: Reach,
}

/// The state of one allocation.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) client: Client,
    pub(crate) account: Key,
    pub(crate) username: Box<str>,
    /// The transaction that made it: the same one again is answered alike.
    pub(crate) transaction: u128,
    /// Of IPv4, then of IPv6.
    pub(crate) relayed: [Option<Relayed>; 2],
    /// When it ends.
    pub(crate) deadline: Instant,
    permissions: HashMap<IpAddr, Permission>,
    channels: HashMap<u16, Channel>,
    numbers: HashMap<SocketAddr, u16>,
}

impl Allocation {
    /// Makes one without permissions and channels.
    pub(crate) fn new(
        client: Client,
        account: Key,
        username: &str,
        transaction: u128,
        deadline: Instant,
    ) -> Self {
        Self {
            client,
            account,
            username: username.into(),
            transaction,
            relayed: [None; 2],
            deadline,
            permissions: HashMap::new(),
            channels: HashMap::new(),
            numbers: HashMap::new(),
        }
    }

    /// Returns its addresses of a family.
    pub(crate) fn relayed(&self, family: Family) -> Option<Relayed> {
        self.relayed[family as usize]
    }

    /// Returns the permission for an address that holds now.
    pub(crate) fn permission(&self, peer: IpAddr, now: Instant) -> Option<Permission> {
        let permission = self.permissions.get(&peer).copied();
        permission.filter(|permission| permission.until > now)
    }

    /// Returns the channel of a number that is bound now.
    pub(crate) fn channel(&self, number: u16, now: Instant) -> Option<Channel> {
        let channel = self.channels.get(&number).copied();
        channel.filter(|channel| channel.until > now)
    }

    /// Returns the number of the channel that is bound to a peer now.
    pub(crate) fn number(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let number = self.numbers.get(&peer).copied()?;
        self.channel(number, now).map(|_| number)
    }

    /// Lets an address in; false if there are too many.
    pub(crate) fn permit(&mut self, peer: IpAddr, reach: Reach, most: usize, now: Instant) -> bool {
        if self.permissions.len() >= most && !self.permissions.contains_key(&peer) {
            self.permissions
                .retain(|_, permission| permission.until > now);
            if self.permissions.len() >= most {
                return false;
            }
        }
        let until = now + PERMISSION_LIFETIME;
        self.permissions.insert(peer, Permission { until, reach });
        true
    }

    /// Tells whether a number and a peer may be bound to each other: neither may be bound
    /// otherwise (RFC 8656 section 12.2).
    pub(crate) fn bindable(&self, number: u16, peer: SocketAddr, now: Instant) -> bool {
        let channel = self.channel(number, now);
        channel.is_none_or(|channel| channel.peer == peer)
            && self.number(peer, now).is_none_or(|bound| bound == number)
    }

    /// Binds a number to a peer, or binds it for longer; false if there are too many.
    pub(crate) fn bind(
        &mut self,
        number: u16,
        peer: SocketAddr,
        reach: Reach,
        most: usize,
        now: Instant,
    ) -> bool {
        if self.channels.len() >= most && !self.channels.contains_key(&number) {
            self.channels.retain(|_, channel| channel.until > now);
            if self.channels.len() >= most {
                return false;
            }
        }
        let until = now + CHANNEL_LIFETIME;
        let channel = Channel { until, peer, reach };
        if let Some(before) = self.channels.insert(number, channel)
            && before.peer != peer
        {
            self.numbers.remove(&before.peer);
        }
        self.numbers.insert(peer, number);
        if self.numbers.len() > self.channels.len() {
            let channels = &self.channels;
            self.numbers
                .retain(|_, number| channels.contains_key(number));
        }
        true
    }
}
