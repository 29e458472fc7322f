//! Meetings hosted on this computer: the same server as `nonstop-server`, in this process.
//!
//! The server listens on all local addresses from the first meeting that is opened here until
//! the application ends: whoever still holds the link can join, also after the host has left.
//! One server serves every meeting opened here.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use if_addrs::{IfAddr, Interface};
use nonstop_server::{Config, RelayConfig, Server, StartError};

use super::{
    meeting::{MeetingError, meeting_link_on},
    state::Opened,
};

/// The port where other people's firewalls and notes may expect a meeting; another one is taken
/// where it is in use.
const USUAL_PORT: u16 = 4433;

/// Why no meeting could be hosted here.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostingError {
    /// The server could not listen.
    #[error("this computer does not let Nonstop listen for others ({0})")]
    Listen(#[from] StartError),
    /// No link could be made.
    #[error(transparent)]
    Link(#[from] MeetingError),
}

/// A server in this process. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Hosting {
    _server: Server,
    port: u16,
}

impl Hosting {
    /// Starts the server on all local addresses.
    pub(super) async fn start() -> Result<Self, HostingError> {
        let server = match listen(USUAL_PORT).await {
            Ok(server) => server,
            Err(StartError::Listen { cause, .. }) if cause.kind() == ErrorKind::AddrInUse => {
                listen(0).await?
            }
            Err(error) => return Err(error.into()),
        };
        let port = server
            .addresses()
            .first()
            .map(SocketAddr::port)
            .ok_or(StartError::NoAddress)?;
        Ok(Self {
            _server: server,
            port,
        })
    }

    /// Opens a new meeting here, under the address by which others are most likely to reach it.
    pub(super) fn open(&self) -> Result<Opened, HostingError> {
        let on = |address: Ipv4Addr| {
            let host = SocketAddr::from((address, self.port)).to_string();
            meeting_link_on(&host, false)
        };
        let reachable = reachable_address().and_then(|address| on(address).ok());
        let only_here = reachable.is_none();
        let link = match reachable {
            Some(link) => link,
            None => on(Ipv4Addr::LOCALHOST)?,
        };
        Ok(Opened { link, only_here })
    }
}

/// Listens on every address of both families, or of the older one where the system has one only.
async fn listen(port: u16) -> Result<Server, StartError> {
    let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    if port != 0 {
        let six = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let both = Config {
            listen: vec![four, six],
            relay: Some(RelayConfig::default()),
            ..Config::default()
        };
        if let Ok(server) = Server::start(both).await {
            return Ok(server);
        }
    }
    Server::start(Config {
        listen: vec![four],
        relay: Some(RelayConfig::default()),
        ..Config::default()
    })
    .await
}

/// Returns this computer's address on its network.
fn reachable_address() -> Option<Ipv4Addr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    best_address(&interfaces, default_route_address())
}

/// Returns the address from which packets to the rest of the world would leave. Connecting a UDP
/// socket sends nothing; the address is one reserved for documentation (RFC 5737).
fn default_route_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Picks among the interfaces: real before virtual, then the one with the default route.
fn best_address(interfaces: &[Interface], default_route: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let usable = interfaces.iter().filter_map(|interface| {
        let IfAddr::V4(v4) = &interface.addr else {
            return None;
        };
        let address = v4.ip;
        let private = address.is_private() || address.is_link_local();
        let rank = (
            !address.is_link_local(),
            !is_virtual(&interface.name),
            Some(address) == default_route,
        );
        private.then_some((rank, address))
    });
    usable.max_by_key(|(rank, _)| *rank).map(|(_, ip)| ip)
}

/// Tells networks inside this computer (containers, virtual machines) and tunnels, by the names
/// their makers give them.
fn is_virtual(name: &str) -> bool {
    const BEGINNINGS: [&str; 16] = [
        "docker",
        "br-",
        "veth",
        "virbr",
        "vmnet",
        "vboxnet",
        "vEthernet",
        "lxc",
        "lxd",
        "podman",
        "cni",
        "flannel",
        "tun",
        "tap",
        "utun",
        "zt",
    ];
    BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use if_addrs::{IfOperStatus, Ifv4Addr};

    fn interface(name: &str, ip: [u8; 4]) -> Interface {
        Interface {
            name: name.into(),
            addr: IfAddr::V4(Ifv4Addr {
                ip: ip.into(),
                netmask: [255, 255, 255, 0].into(),
                prefixlen: 24,
                broadcast: None,
            }),
            index: None,
            oper_status: IfOperStatus::Up,
            is_p2p: false,
            #[cfg(windows)]
            adapter_name: String::new(),
        }
    }

    #[test]
    fn the_network_that_others_are_on_is_preferred() {
        let loopback = interface("lo", [127, 0, 0, 1]);
        let docker = interface("docker0", [172, 17, 0, 1]);
        let wired = interface("eth0", [192, 168, 1, 5]);
        let wireless = interface("wlan0", [192, 168, 2, 7]);
        let dangling = interface("eth1", [169, 254, 3, 3]);
        let all = [
            loopback.clone(),
            docker.clone(),
            wired,
            wireless,
            dangling.clone(),
        ];
        let route = Some(Ipv4Addr::new(192, 168, 1, 5));
        assert_eq!(best_address(&all, route), route);
        let tunnel = Some(Ipv4Addr::new(172, 17, 0, 1));
        let chosen = best_address(&all, tunnel).expect("there are real ones");
        assert!([[192, 168, 1, 5], [192, 168, 2, 7]].contains(&chosen.octets()));
        let few = [loopback.clone(), docker, dangling];
        assert_eq!(best_address(&few, None), tunnel);
        assert_eq!(best_address(&[loopback], None), None);
    }

    #[test]
    fn a_public_address_stays_out_of_an_unprotected_link() {
        let public = interface("eth0", [203, 0, 113, 9]);
        assert_eq!(best_address(&[public], None), None);
    }

    #[tokio::test]
    async fn a_meeting_is_hosted_on_a_port_that_is_free() {
        let one = Hosting::start().await.unwrap();
        let two = Hosting::start().await.unwrap();
        assert_ne!(one.port, 0);
        assert_ne!(two.port, 0);
        let link = one.open().unwrap().link;
        assert!(link.host().ends_with(&format!(":{}", one.port)));
        assert!(!link.protected());
    }
}
