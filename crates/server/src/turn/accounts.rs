//! What each participant and each address has taken of the server.

use std::{collections::HashMap, net::IpAddr, time::Instant};

use super::config::TurnLimits;
use crate::{
    bucket::Bucket,
    doors::network,
    slab::{Key, Slab},
};

/// The books: who has how many allocations, and how many bytes may still pass.
#[derive(Debug)]
pub(crate) struct Accounts {
    limits: TurnLimits,
    accounts: Slab<Account>,
    by_participant: HashMap<Box<str>, Key>,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Account {
    allocations: usize,
    sent: Bucket,
    received: Bucket,
}

/// Which way bytes go, as the participant sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Sent,
    Received,
}

impl Accounts {
    /// Opens empty books.
    pub(crate) fn new(limits: TurnLimits) -> Self {
        Self {
            limits,
            accounts: Slab::default(),
            by_participant: HashMap::new(),
            by_address: HashMap::new(),
        }
    }

    /// Enters an allocation; `None` if it is one too many for the participant or the address.
    pub(crate) fn open(&mut self, participant: &str, address: IpAddr, now: Instant) -> Option<Key> {
        let address = network(address);
        let here = self.by_address.get(&address).copied().unwrap_or(0);
        if here >= self.limits.allocations_per_address
            || self.limits.allocations_per_participant == 0
        {
            return None;
        }
        let key = match self.by_participant.get(participant) {
            Some(key) => *key,
            None => {
                if self.by_participant.len() >= 2 * self.limits.allocations {
                    self.forget(now);
                }
                let rate = self.limits.bytes_per_participant;
                let key = self.accounts.insert(Account {
                    allocations: 0,
                    sent: Bucket::new(rate, now),
                    received: Bucket::new(rate, now),
                });
                self.by_participant.insert(participant.into(), key);
                key
            }
        };
        let account = self.accounts.get_mut(key)?;
        if account.allocations >= self.limits.allocations_per_participant {
            return None;
        }
        account.allocations += 1;
        self.by_address.insert(address, here + 1);
        Some(key)
    }

    /// Takes an allocation out again.
    pub(crate) fn close(&mut self, key: Key, address: IpAddr) {
        let address = network(address);
        if let Some(here) = self.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                self.by_address.remove(&address);
            }
        }
        // The account stays, or whoever has spent all would only have to allocate again.
        if let Some(account) = self.accounts.get_mut(key) {
            account.allocations -= 1;
        }
    }

    /// Forgets those who have nothing and would find everything unspent.
    fn forget(&mut self, now: Instant) {
        let accounts = &mut self.accounts;
        self.by_participant.retain(|_, key| {
            let stays = accounts.get_mut(*key).is_some_and(|account| {
                account.allocations > 0 || !account.sent.full(now) || !account.received.full(now)
            });
            if !stays {
                accounts.remove(*key);
            }
            stays
        });
    }

    /// Takes bytes; false if they are too many and have to be dropped.
    pub(crate) fn spend(
        &mut self,
        key: Key,
        direction: Direction,
        bytes: usize,
        now: Instant,
    ) -> bool {
        let Some(account) = self.accounts.get_mut(key) else {
            return false;
        };
        let bucket = match direction {
            Direction::Sent => &mut account.sent,
            Direction::Received => &mut account.received,
        };
        bucket.try_take(bytes as f64, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Rate, clock};

    #[test]
    fn a_participant_and_an_address_have_their_share_and_no_more() {
        let now = clock::now();
        let mut accounts = Accounts::new(TurnLimits {
            allocations_per_participant: 2,
            allocations_per_address: 3,
            ..TurnLimits::default()
        });
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let ann = accounts.open("ann", here, now).unwrap();
        assert_eq!(accounts.open("ann", here, now), Some(ann));
        assert_eq!(accounts.open("ann", there, now), None);
        assert!(accounts.open("bob", here, now).is_some());
        assert_eq!(accounts.open("eve", here, now), None);
        assert!(accounts.open("eve", there, now).is_some());
        accounts.close(ann, here);
        assert_eq!(accounts.open("ann", there, now), Some(ann));
        accounts.close(ann, here);
        accounts.close(ann, there);
        assert_eq!(accounts.by_address.len(), 2);
        accounts.forget(now);
        assert_eq!(accounts.accounts.len(), 2);
    }

    #[test]
    fn bytes_beyond_the_rate_are_not_passed() {
        let now = clock::now();
        let mut accounts = Accounts::new(TurnLimits {
            bytes_per_participant: Rate {
                burst: 3000.0,
                per_second: 1000.0,
            },
            ..TurnLimits::default()
        });
        let key = accounts.open("ann", "::1".parse().unwrap(), now).unwrap();
        let mut spend = |direction, now| accounts.spend(key, direction, 1000, now);
        let passed = (0..9).filter(|_| spend(Direction::Sent, now)).count();
        assert_eq!(passed, 3);
        assert!(spend(Direction::Received, now));
        assert!(!spend(Direction::Sent, now + Duration::from_millis(900)));
        assert!(spend(Direction::Sent, now + Duration::from_secs(1)));
    }
}
