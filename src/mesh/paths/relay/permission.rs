//! Whom the relay lets through, and under which short names (RFC 8656, sections 9 and 12).

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::Class;

/// How long a permission lasts (RFC 8656, section 9).
const PERMISSION_LIFE: Duration = Duration::from_secs(300);
/// How long a channel lasts (section 12).
const CHANNEL_LIFE: Duration = Duration::from_secs(600);
/// How long before its end something is renewed.
const AHEAD: Duration = Duration::from_secs(60);
/// After what time without use something is not renewed.
const UNUSED: Duration = Duration::from_secs(240);
/// How long a refusal is remembered.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// How many computers may be permitted; who they are comes from other participants.
const MOST_PEERS: usize = 256;
/// How many packets wait for one permission. Full: the oldest goes; it is most likely to have
/// been repeated.
const MOST_WAITING: usize = 16;
/// How long a packet waits for a permission.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The first channel number (RFC 8656, section 12).
const FIRST_CHANNEL: u16 = 0x4000;
/// How many channel numbers there are; none is used twice in one allocation.
const CHANNELS: usize = 0x1000;

/// A packet that waits for a permission.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) since: Instant,
    pub(super) to: SocketAddr,
    pub(super) class: Class,
    pub(super) packet: Vec<u8>,
}

/// Where a permission is.
#[derive(Debug)]
enum Standing {
    Asked(VecDeque<Waiting>),
    Granted { until: Instant, renewing: bool },
    Refused { until: Instant },
}

#[derive(Debug)]
struct Permission {
    standing: Standing,
    used: Instant,
}

/// What a permission says about a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It may go.
    Given,
    /// It was asked for.
    Asked,
    /// It has to be asked for.
    Missing,
    /// There is none to be had.
    Refused,
}

/// The permissions of one allocation.
#[derive(Debug, Default)]
pub(super) struct Permissions {
    peers: HashMap<IpAddr, Permission>,
}

impl Permissions {
    /// Says whether packets may go to `peer`, and notes that they are wanted to.
    pub(super) fn look(&mut self, peer: IpAddr, now: Instant) -> Leave {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.used = now;
            return match known.standing {
                Standing::Asked(_) => Leave::Asked,
                Standing::Granted { until, .. } if now < until => Leave::Given,
                Standing::Refused { until } if now < until => Leave::Refused,
                _ => Leave::Missing,
            };
        }
        if self.peers.len() >= MOST_PEERS {
            self.peers
                .retain(|_, peer| now.saturating_duration_since(peer.used) < UNUSED);
        }
        if self.peers.len() >= MOST_PEERS {
            Leave::Refused
        } else {
            Leave::Missing
        }
    }

    /// Notes that a permission was asked for.
    pub(super) fn asked(&mut self, peer: IpAddr, now: Instant) {
        let standing = Standing::Asked(VecDeque::new());
        let used = now;
        self.peers.insert(peer, Permission { standing, used });
    }

    /// Keeps a packet until its permission is there.
    pub(super) fn keep(&mut self, waiting: Waiting) {
        if let Some(Permission {
            standing: Standing::Asked(packets),
            ..
        }) = self.peers.get_mut(&waiting.to.ip())
        {
            if packets.len() == MOST_WAITING {
                packets.pop_front();
            }
            packets.push_back(waiting);
        }
    }

    /// Notes that a permission is there and returns what waited for it, not too long.
    pub(super) fn granted(&mut self, peer: IpAddr, now: Instant) -> VecDeque<Waiting> {
        let Some(known) = self.peers.get_mut(&peer) else {
            return VecDeque::new();
        };
        let granted = Standing::Granted {
            until: now + PERMISSION_LIFE,
            renewing: false,
        };
        match std::mem::replace(&mut known.standing, granted) {
            Standing::Asked(mut packets) => {
                packets.retain(|packet| now.saturating_duration_since(packet.since) < LONGEST_WAIT);
                packets
            }
            _ => VecDeque::new(),
        }
    }

    /// Notes that a permission was not given, or not renewed.
    pub(super) fn refused(&mut self, peer: IpAddr, now: Instant) {
        if let Some(known) = self.peers.get_mut(&peer) {
            let until = now + REFUSED_FOR;
            known.standing = Standing::Refused { until };
        }
    }

    /// Notes that a renewal got lost: the permission is as it was.
    pub(super) fn not_renewed(&mut self, peer: IpAddr) {
        if let Some(Permission {
            standing: Standing::Granted { renewing, .. },
            ..
        }) = self.peers.get_mut(&peer)
        {
            *renewing = false;
        }
    }

    /// Returns those to be renewed now, at most `most`, and notes that they are being renewed.
    pub(super) fn renew(&mut self, now: Instant, most: usize) -> Vec<IpAddr> {
        let due =
            self.peers
                .iter_mut()
                .filter_map(|(peer, permission)| match &mut permission.standing {
                    Standing::Granted { until, renewing }
                        if !*renewing
                            && now + AHEAD >= *until
                            && *until < permission.used + UNUSED + AHEAD =>
                    {
                        *renewing = true;
                        Some(*peer)
                    }
                    _ => None,
                });
        due.take(most).collect()
    }

    /// Returns when the next renewal is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let due = self.peers.values().filter_map(|peer| match peer.standing {
            // Once it has not been used for long enough, there is nothing to be done.
            Standing::Granted { until, renewing } if !renewing => {
                (until < peer.used + UNUSED + AHEAD).then_some(until - AHEAD)
            }
            _ => None,
        });
        due.min()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binding {
    /// It was asked for: packets with that number may come already.
    Asked,
    Bound {
        until: Instant,
        renewing: bool,
    },
    /// It was refused.
    Refused {
        until: Instant,
    },
}

#[derive(Debug)]
struct Channel {
    number: u16,
    binding: Binding,
    used: Instant,
}

/// The channels of one allocation.
#[derive(Debug, Default)]
pub(super) struct Channels {
    peers: HashMap<SocketAddr, Channel>,
    /// Whose number is 0x4000, 0x4001, and so on.
    numbers: Vec<SocketAddr>,
}

impl Channels {
    /// Returns the number under which packets to `peer` go, if there is one.
    pub(super) fn number(&mut self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let channel = self.peers.get_mut(&peer)?;
        channel.used = now;
        match channel.binding {
            Binding::Bound { until, .. } if now < until => Some(channel.number),
            _ => None,
        }
    }

    /// Returns the peer whose number this is.
    pub(super) fn peer(&self, number: u16) -> Option<SocketAddr> {
        let place = usize::from(number.checked_sub(FIRST_CHANNEL)?);
        self.numbers.get(place).copied()
    }

    /// Returns the number to ask for, where `peer` should have one and has not, and notes that it
    /// is being asked for.
    pub(super) fn ask(&mut self, peer: SocketAddr, now: Instant) -> Option<u16> {
        if let Some(channel) = self.peers.get_mut(&peer) {
            let again = match channel.binding {
                Binding::Asked => false,
                Binding::Bound { until, .. } | Binding::Refused { until } => now >= until,
            };
            return again.then(|| {
                channel.binding = Binding::Asked;
                channel.number
            });
        }
        if self.numbers.len() >= CHANNELS {
            return None;
        }
        let number = FIRST_CHANNEL + self.numbers.len() as u16;
        self.numbers.push(peer);
        let channel = Channel {
            number,
            binding: Binding::Asked,
            used: now,
        };
        self.peers.insert(peer, channel);
        Some(number)
    }

    /// Notes that the channel is there.
    pub(super) fn bound(&mut self, peer: SocketAddr, now: Instant) {
        if let Some(channel) = self.peers.get_mut(&peer) {
            channel.binding = Binding::Bound {
                until: now + CHANNEL_LIFE,
                renewing: false,
            };
        }
    }

    /// Notes that the channel was refused or that nobody answered.
    pub(super) fn refused(&mut self, peer: SocketAddr, now: Instant) {
        if let Some(channel) = self.peers.get_mut(&peer) {
            let until = now + REFUSED_FOR;
            channel.binding = Binding::Refused { until };
        }
    }

    /// Returns those to be renewed now and notes that they are being renewed.
    pub(super) fn renew(&mut self, now: Instant) -> Vec<(u16, SocketAddr)> {
        let due = self
            .peers
            .iter_mut()
            .filter_map(|(peer, channel)| match &mut channel.binding {
                Binding::Bound { until, renewing }
                    if !*renewing
                        && now + AHEAD >= *until
                        && *until < channel.used + UNUSED + AHEAD =>
                {
                    *renewing = true;
                    Some((channel.number, *peer))
                }
                _ => None,
            });
        due.collect()
    }

    /// Returns when the next renewal is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let due = self.peers.values().filter_map(|peer| match peer.binding {
            Binding::Bound { until, renewing } if !renewing => {
                (until < peer.used + UNUSED + AHEAD).then_some(until - AHEAD)
            }
            _ => None,
        });
        due.min()
    }
}
