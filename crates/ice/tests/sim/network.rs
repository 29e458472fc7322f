//! Routers between the two sides: what they make of addresses, and what they let through.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nonstop_ice::{RelayProtocol, Way};

/// Random numbers that a seed fixes (SplitMix64).
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 <= probability && probability > 0.0
    }
}

/// What stands between a computer and the network (RFC 4787, in the older words).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nat {
    None,
    FullCone,
    AddressRestricted,
    PortRestricted,
    Symmetric,
    /// No UDP at all.
    Blocked,
}

impl Nat {
    pub(crate) const ALL: [Self; 6] = [
        Self::None,
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
        Self::Blocked,
    ];

    /// Returns the best way that two of them leave.
    pub(crate) fn best_way(self, other: Self) -> Way {
        use Nat::{Blocked, PortRestricted, Symmetric};
        match (self, other) {
            (Blocked, _) | (_, Blocked) => Way::RelayTcp,
            (Symmetric, Symmetric | PortRestricted) | (PortRestricted, Symmetric) => Way::RelayUdp,
            _ => Way::Direct,
        }
    }
}

/// One router, with what it remembers.
struct Router {
    nat: Nat,
    public: IpAddr,
    /// From the inner address (and, if it is symmetric, the outer one) to the port outside.
    ports: HashMap<(SocketAddr, Option<SocketAddr>), u16>,
    inner: HashMap<u16, SocketAddr>,
    sent: HashSet<(u16, SocketAddr)>,
}

impl Router {
    fn outward(&mut self, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        match self.nat {
            Nat::None => return Some(from),
            Nat::Blocked => return None,
            _ => {}
        }
        let key = (from, (self.nat == Nat::Symmetric).then_some(to));
        let fresh = 40_000 + u16::try_from(self.ports.len()).unwrap() * 7;
        let port = *self.ports.entry(key).or_insert(fresh);
        self.inner.insert(port, from);
        self.sent.insert((port, to));
        Some(SocketAddr::new(self.public, port))
    }

    fn inward(&self, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        let inner = *self.inner.get(&port)?;
        let mut opened = self.sent.iter().filter(|(it, _)| *it == port);
        let through = match self.nat {
            Nat::FullCone => true,
            Nat::AddressRestricted => opened.any(|(_, to)| to.ip() == from.ip()),
            _ => opened.any(|(_, to)| *to == from),
        };
        through.then_some(inner)
    }
}

/// A base of one side: an interface behind a router, or an allocation on a relay.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    pub(crate) relay: Option<RelayProtocol>,
    pub(crate) preference: u16,
    /// What this end adds to the way of each packet.
    pub(crate) delay: Duration,
    router: Option<Router>,
}

impl Port {
    pub(crate) fn interface(side: usize, number: usize, nat: Nat, delay_millis: u64) -> Self {
        let (a, b) = (side as u8, number as u8);
        let (inner, public) = match nat {
            Nat::None => ([198, 51, 100, 10 * a + b], [198, 51, 100, 10 * a + b]),
            _ => ([10, a, b, 2], [203, 0, 113, 10 * a + b]),
        };
        Self {
            address: SocketAddr::new(inner.into(), 5000 + u16::from(b)),
            relay: None,
            preference: 100 - u16::from(b),
            delay: Duration::from_millis(delay_millis),
            router: Some(Router {
                nat,
                public: public.into(),
                ports: HashMap::new(),
                inner: HashMap::new(),
                sent: HashSet::new(),
            }),
        }
    }

    pub(crate) fn relay(
        side: usize,
        number: usize,
        protocol: RelayProtocol,
        delay_millis: u64,
    ) -> Self {
        let (a, b) = (side as u8, number as u8);
        Self {
            address: SocketAddr::new([192, 0, 2, 10 * a + b].into(), 50_000),
            relay: Some(protocol),
            preference: 0,
            delay: Duration::from_millis(delay_millis),
            router: None,
        }
    }

    /// Returns the address that a STUN server would tell, if it is another than the own one.
    pub(crate) fn reflexive(&mut self) -> Option<SocketAddr> {
        let server = SocketAddr::new([192, 0, 2, 250].into(), 3478);
        let address = self.router.as_mut()?.outward(self.address, server)?;
        (address != self.address).then_some(address)
    }

    /// Returns from where a packet seems to come, once outside.
    pub(crate) fn outward(&mut self, to: SocketAddr) -> Option<SocketAddr> {
        match &mut self.router {
            Some(router) => router.outward(self.address, to),
            None => Some(self.address),
        }
    }

    /// Returns whether a packet from there to `to` comes in here.
    pub(crate) fn takes(&self, from: SocketAddr, to: SocketAddr) -> bool {
        match &self.router {
            None => to == self.address,
            Some(router) => match router.nat {
                Nat::None => to == self.address,
                Nat::Blocked => false,
                _ => {
                    to.ip() == router.public && router.inward(from, to.port()) == Some(self.address)
                }
            },
        }
    }
}
