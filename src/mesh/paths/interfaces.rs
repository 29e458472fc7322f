//! The addresses of this computer, and word of their changes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::clock;

/// How often the addresses are looked at where the system does not tell, and how often it is
/// checked whether the computer slept.
const LOOK: Duration = Duration::from_secs(1);
/// One change comes as several messages: an address goes, another comes, a route follows.
const SETTLE: Duration = Duration::from_millis(20);
/// How far the wall clock may run ahead of ours in between: more means that the computer slept.
const SLEPT: Duration = Duration::from_secs(3);

/// An address of this computer through which others can be reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interface {
    /// The address.
    pub(crate) ip: IpAddr,
    /// The interface's name.
    pub(crate) name: String,
    /// Whether it is a tunnel, such as a VPN.
    pub(crate) tunnel: bool,
}

impl Interface {
    /// Returns how much it is preferred over others of this computer, 0 to 65535: cable before
    /// Wi-Fi before mobile networks before tunnels, and IPv6 before IPv4 (RFC 8421 section 4).
    pub(crate) fn preference(&self) -> u16 {
        if self.ip.is_loopback() {
            return 0;
        }
        let kind = match self.name.as_bytes() {
            _ if self.tunnel => 1,
            [b'w', b'w', ..] | [b'r', b'm', b'n', ..] | [b'p', b'p', b'p', ..] => 2,
            [b'w', ..] => 3,
            _ => 4,
        };
        // Containers and virtual machines: addresses that mean nothing outside.
        let virtual_only = ["docker", "br-", "veth", "virbr", "vmnet", "vboxnet"];
        let kind = match virtual_only.iter().any(|name| self.name.starts_with(name)) {
            true => 0,
            false => kind,
        };
        1_000 * (2 * kind + 1) + 500 * u16::from(self.ip.is_ipv6())
    }
}

/// Returns the addresses there are, in order, loopback included: a call on one computer needs no
/// network.
pub(crate) fn usable() -> Vec<Interface> {
    let mut found: Vec<_> = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces
            .into_iter()
            .filter(|interface| interface.is_oper_up() && may_be_told(&interface.ip()))
            .map(|interface| Interface {
                ip: interface.ip(),
                tunnel: interface.is_p2p(),
                name: interface.name,
            })
            .collect(),
        Err(error) => {
            tracing::debug!(%error, "the addresses of this computer cannot be told");
            Vec::new()
        }
    };
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if !found.iter().any(|interface| interface.ip == loopback) {
        found.push(Interface {
            ip: loopback,
            name: "lo".to_owned(),
            tunnel: false,
        });
    }
    found.sort_unstable();
    found.dedup_by(|a, b| a.ip == b.ip);
    found
}

/// Tells whether others can do anything with an address: link-local ones mean nothing to them, and
/// one loopback address is enough.
pub(crate) fn may_be_told(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_loopback() && !ip.is_unspecified(),
    }
}

/// What may have happened to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Perhaps nothing: the system does not tell.
    Unknown,
    /// An interface, an address or a route came or went.
    Network,
    /// The computer slept: every router in between may have forgotten us.
    Woke,
}

/// Tells of changes.
pub(crate) struct Watch {
    told: System,
    /// When what was told has settled; kept here, so that it is not lost with the future.
    settles: Option<Instant>,
    tick: tokio::time::Interval,
    /// The wall clock less ours.
    offset: Duration,
}

impl Watch {
    /// Begins to watch; must be called within a tokio runtime.
    pub(crate) fn new() -> Self {
        let told = System::new().unwrap_or_else(|error| {
            tracing::debug!(%error, "the system does not tell of changes: they are looked for");
            System::silent()
        });
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            told,
            settles: None,
            tick,
            offset: offset(),
        }
    }

    /// Waits until something may have changed. Where the system does not tell, it is every second.
    /// May be given up at any time.
    pub(crate) async fn next(&mut self) -> Change {
        loop {
            let settled = async {
                match self.settles {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.told.next(), if self.settles.is_none() => {
                    self.settles = Some(clock::now() + SETTLE);
                }
                () = settled => {
                    self.settles = None;
                    self.told.drain();
                    return Change::Network;
                }
                _ = self.tick.tick() => {
                    let offset = offset();
                    let slept = offset.saturating_sub(self.offset) >= SLEPT;
                    self.offset = offset;
                    if slept {
                        return Change::Woke;
                    }
                    if self.told.is_silent() {
                        return Change::Unknown;
                    }
                }
            }
        }
    }
}

fn offset() -> Duration {
    clock::unix_time().saturating_sub(clock::since_start())
}

/// What the system tells: netlink's groups for links, addresses and routes (rtnetlink(7)).
#[cfg(target_os = "linux")]
struct System(Option<netlink_sys::TokioSocket>);

#[cfg(target_os = "linux")]
impl System {
    fn new() -> io::Result<Self> {
        use netlink_sys::{AsyncSocket as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
        const LINK: u32 = 0x1;
        const IPV4_ADDRESS: u32 = 0x10;
        const IPV4_ROUTE: u32 = 0x40;
        const IPV6_ADDRESS: u32 = 0x100;
        const IPV6_ROUTE: u32 = 0x400;
        let groups = LINK | IPV4_ADDRESS | IPV4_ROUTE | IPV6_ADDRESS | IPV6_ROUTE;
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
        Ok(Self(Some(socket)))
    }

    fn silent() -> Self {
        Self(None)
    }

    fn is_silent(&self) -> bool {
        self.0.is_none()
    }

    async fn next(&mut self) {
        use netlink_sys::AsyncSocketExt as _;
        if let Some(socket) = &mut self.0 {
            match socket.recv_from_full().await {
                Ok(_) => return,
                // Too much at once (ENOBUFS) is a change, too; anything else ends the watch.
                Err(error) if error.raw_os_error() == Some(105) => return,
                Err(error) => {
                    tracing::debug!(%error, "the system stopped telling of changes");
                    self.0 = None;
                }
            }
        }
        std::future::pending::<()>().await;
    }

    /// Takes what else has been told: it is looked at in one go.
    fn drain(&mut self) {
        use netlink_sys::AsyncSocket as _;
        let Some(socket) = &mut self.0 else {
            return;
        };
        let mut buffer = Vec::with_capacity(8 * 1024);
        while socket.socket_ref().recv(&mut buffer, 0).is_ok() {
            buffer.clear();
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct System;

#[cfg(not(target_os = "linux"))]
impl System {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    fn silent() -> Self {
        Self
    }

    fn is_silent(&self) -> bool {
        true
    }

    async fn next(&mut self) {
        std::future::pending::<()>().await;
    }

    fn drain(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, ip: &str, tunnel: bool) -> Interface {
        Interface {
            ip: ip.parse().expect("an address"),
            name: name.to_owned(),
            tunnel,
        }
    }

    #[test]
    fn cable_comes_before_wifi_before_mobile_before_tunnels_and_loopback_last() {
        let order = [
            interface("enp3s0", "2001:db8::1", false),
            interface("eth0", "192.0.2.1", false),
            interface("wlp2s0", "2001:db8::1", false),
            interface("wlan0", "192.0.2.1", false),
            interface("wwan0", "192.0.2.1", false),
            interface("tun0", "192.0.2.1", true),
            interface("docker0", "172.17.0.1", false),
            interface("lo", "127.0.0.1", false),
        ];
        assert!(order.is_sorted_by(|a, b| a.preference() > b.preference()));
    }

    #[test]
    fn loopback_is_among_the_addresses_once() {
        let loopbacks = usable().iter().filter(|i| i.ip.is_loopback()).count();
        assert_eq!(loopbacks, 1);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_system_tells_of_changes_itself() {
        match System::new() {
            Ok(system) => assert!(!system.is_silent() && !Watch::new().told.is_silent()),
            Err(error) => println!("skipped: this system has no netlink: {error}"),
        }
    }

    #[tokio::test]
    async fn a_change_is_told_although_whoever_waited_gave_up_meanwhile() {
        let mut watch = Watch::new();
        watch.settles = Some(clock::now() + SETTLE);
        let given_up = tokio::time::timeout(SETTLE / 10, watch.next()).await;
        assert!(given_up.is_err());
        assert_eq!(watch.next().await, Change::Network);
        assert_eq!(watch.settles, None);
    }
}
