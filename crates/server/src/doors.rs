//! Who may come in: how many connections there are, in all and from each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::{bucket::Bucket, config::Limits};

/// Counts connections. A [`Pass`] stands for each.
#[derive(Debug)]
pub(crate) struct Doors {
    limits: Limits,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    connections: usize,
    addresses: HashMap<IpAddr, Visitor>,
}

#[derive(Debug)]
struct Visitor {
    connections: usize,
    arrivals: Bucket,
}

/// The right to one connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    doors: Arc<Doors>,
    address: IpAddr,
}

impl Doors {
    /// Opens the doors.
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            inside: Mutex::default(),
        })
    }

    /// Lets a connection from `address` in, unless that is one too many.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Pass> {
        let address = network(address);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.connections >= self.limits.connections {
            return None;
        }
        // Whoever has gone and would find a full bucket again need not be remembered.
        if inside.addresses.len() >= self.limits.connections {
            let stays =
                |visitor: &mut Visitor| visitor.connections > 0 || !visitor.arrivals.full(now);
            inside.addresses.retain(|_, visitor| stays(visitor));
        }
        let visitor = inside.addresses.entry(address).or_insert_with(|| Visitor {
            connections: 0,
            arrivals: Bucket::new(self.limits.arrivals_per_address, now),
        });
        if visitor.connections >= self.limits.connections_per_address
            || !visitor.arrivals.try_take(1.0, now)
        {
            return None;
        }
        visitor.connections += 1;
        inside.connections += 1;
        Some(Pass {
            doors: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self
            .doors
            .inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inside.connections -= 1;
        if let Some(visitor) = inside.addresses.get_mut(&self.address) {
            visitor.connections -= 1;
        }
    }
}

/// The address by which a visitor is counted: with IPv6 one person has a whole /64 network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Rate;

    #[test]
    fn one_address_cannot_take_every_place() {
        let doors = doors(10, 3, 100.0);
        let now = crate::clock::now();
        let inside: Vec<_> = (0..9)
            .filter_map(|_| doors.enter(address(1), now))
            .collect();
        assert_eq!(inside.len(), 3);
        assert!(doors.enter(address(2), now).is_some());
        drop(inside);
        assert!(doors.enter(address(1), now).is_some());
    }

    #[test]
    fn all_addresses_together_cannot_exceed_the_limit() {
        let doors = doors(10, 3, 100.0);
        let now = crate::clock::now();
        let inside: Vec<_> = (0..40)
            .filter_map(|n| doors.enter(address(n), now))
            .collect();
        assert_eq!(inside.len(), 10);
    }

    #[test]
    fn coming_and_going_all_the_time_is_limited_too() {
        let doors = doors(10, 3, 5.0);
        let now = crate::clock::now();
        let entered = (0..50)
            .filter(|_| doors.enter(address(1), now).is_some())
            .count();
        assert_eq!(entered, 5);
        assert!(
            doors
                .enter(address(1), now + Duration::from_secs(1))
                .is_some()
        );
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let doors = doors(10, 3, 100.0);
        let now = crate::clock::now();
        let neighbours =
            (0..9_u128).map(|n| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | n)));
        let inside: Vec<_> = neighbours.filter_map(|a| doors.enter(a, now)).collect();
        assert_eq!(inside.len(), 3);
    }

    #[test]
    fn addresses_that_have_gone_are_forgotten() {
        let doors = doors(10, 3, 5.0);
        let start = crate::clock::now();
        for second in 0..1000 {
            let now = start + Duration::from_secs(second.into());
            drop(doors.enter(address(second), now));
        }
        assert!(doors.inside.lock().unwrap().addresses.len() <= 10);
    }

    fn doors(connections: usize, connections_per_address: usize, burst: f64) -> Arc<Doors> {
        Doors::new(Limits {
            connections,
            connections_per_address,
            arrivals_per_address: Rate {
                burst,
                per_second: 1.0,
            },
            ..Limits::default()
        })
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }
}
