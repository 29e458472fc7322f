//! The settings of the TURN server.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};
use clap::Args;
use nonstop_server::{ExternalAddress, Network, PublicHost, TurnConfig, TurnLimits};
use serde::Deserialize;

use super::either;

#[derive(Debug, Default, Args)]
pub(crate) struct TurnArguments {
    /// Relays nothing; without it, participants are relayed who have no direct path
    #[arg(long, env = "NONSTOP_SERVER_NO_TURN")]
    no_turn: bool,
    /// Also listens here for those to be relayed, with UDP, TCP and TLS; may be given more than
    /// once [default: only the addresses and ports of --listen]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "NONSTOP_SERVER_TURN_LISTEN",
        value_delimiter = ','
    )]
    turn_listen: Vec<SocketAddr>,
    /// The host, and perhaps port, by which TURN clients reach this server, if it is not the one
    /// in the meeting links, as behind a proxy
    #[arg(long, value_name = "HOST[:PORT]", env = "NONSTOP_SERVER_TURN_HOST")]
    turn_host: Option<PublicHost>,
    /// The address by which this server is reached from outside, behind one-to-one NAT; may be
    /// given more than once
    #[arg(
        long,
        value_name = "PUBLIC[/PRIVATE]",
        env = "NONSTOP_SERVER_TURN_EXTERNAL_IP",
        value_delimiter = ','
    )]
    turn_external_ip: Vec<ExternalAddress>,
    /// The address of this computer from which is relayed, one for IPv4 and one for IPv6
    /// [default: the one that the client reached]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "NONSTOP_SERVER_TURN_RELAY_IP",
        value_delimiter = ','
    )]
    turn_relay_ip: Vec<IpAddr>,
    /// The UDP ports from which is relayed [default: 49152-65535]
    #[arg(long, value_name = "MIN-MAX", env = "NONSTOP_SERVER_TURN_PORTS")]
    turn_ports: Option<String>,
    /// Also relays to private networks, which is a risk unless everybody in them is meant
    #[arg(long, env = "NONSTOP_SERVER_TURN_PRIVATE_PEERS")]
    turn_private_peers: bool,
    /// Also relays to this network, such as 10.1.0.0/16; may be given more than once
    #[arg(
        long,
        value_name = "NETWORK",
        env = "NONSTOP_SERVER_TURN_PEER",
        value_delimiter = ','
    )]
    turn_peer: Vec<Network>,
    /// Most allocations [default: 10000]
    #[arg(long, value_name = "N", env = "NONSTOP_SERVER_TURN_MAX_ALLOCATIONS")]
    turn_max_allocations: Option<usize>,
    /// Most allocations of a participant [default: 8]
    #[arg(
        long,
        value_name = "N",
        env = "NONSTOP_SERVER_TURN_MAX_ALLOCATIONS_PER_PARTICIPANT"
    )]
    turn_max_allocations_per_participant: Option<usize>,
    /// Most allocations from one address [default: 1024]
    #[arg(
        long,
        value_name = "N",
        env = "NONSTOP_SERVER_TURN_MAX_ALLOCATIONS_PER_ADDRESS"
    )]
    turn_max_allocations_per_address: Option<usize>,
    /// Most that is relayed for a participant, in kbit/s each way [default: 20000]
    #[arg(long, value_name = "KBPS", env = "NONSTOP_SERVER_TURN_MAX_KBPS")]
    turn_max_kbps: Option<u64>,
}

/// The table `[turn]` of the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TurnFile {
    enabled: Option<bool>,
    listen: Vec<SocketAddr>,
    host: Option<String>,
    external_ip: Vec<String>,
    relay_ip: Vec<IpAddr>,
    ports: Option<String>,
    private_peers: bool,
    peer: Vec<String>,
    max_allocations: Option<usize>,
    max_allocations_per_participant: Option<usize>,
    max_allocations_per_address: Option<usize>,
    max_kbps: Option<u64>,
}

impl TurnArguments {
    /// Puts flags and file together; `None` if nothing is to be relayed. With an `external`
    /// server there is no need to.
    pub(crate) fn into_config(
        self,
        file: TurnFile,
        secret: Option<String>,
        external: bool,
    ) -> anyhow::Result<Option<TurnConfig>> {
        let wanted = !self.no_turn && file.enabled.unwrap_or(!external);
        if !wanted {
            return Ok(None);
        }
        let usual = TurnLimits::default();
        let host = match (self.turn_host, file.host) {
            (Some(host), _) => Some(host),
            (None, Some(host)) => Some(host.parse().context("turn.host")?),
            (None, None) => None,
        };
        let external_ip = file.external_ip.iter().map(|external| external.parse());
        let external_ip = external_ip
            .collect::<Result<_, _>>()
            .context("turn.external_ip")?;
        let peer = file.peer.iter().map(|network| network.parse());
        let peer = peer.collect::<Result<_, _>>().context("turn.peer")?;
        let relay_addresses = either(self.turn_relay_ip, file.relay_ip);
        let of_v4 = relay_addresses.iter().filter(|address| address.is_ipv4());
        let of_v4 = of_v4.count();
        if of_v4 > 1 || relay_addresses.len() - of_v4 > 1 {
            bail!("turn-relay-ip can be one address for IPv4 and one for IPv6");
        }
        let rate = match self.turn_max_kbps.or(file.max_kbps) {
            Some(0) => bail!("turn-max-kbps has to be more than 0"),
            Some(kbps) => TurnLimits::rate_of_bits(kbps.saturating_mul(1000)),
            None => usual.bytes_per_participant,
        };
        let ports = match self.turn_ports.or(file.ports) {
            Some(text) => ports(&text)?,
            None => TurnConfig::default().ports,
        };
        Ok(Some(TurnConfig {
            listen: either(self.turn_listen, file.listen),
            secret,
            host,
            relay_addresses,
            external: either(self.turn_external_ip, external_ip),
            ports,
            private_peers: self.turn_private_peers || file.private_peers,
            peers: either(self.turn_peer, peer),
            own_ports: Vec::new(),
            limits: TurnLimits {
                allocations: self
                    .turn_max_allocations
                    .or(file.max_allocations)
                    .unwrap_or(usual.allocations),
                allocations_per_participant: self
                    .turn_max_allocations_per_participant
                    .or(file.max_allocations_per_participant)
                    .unwrap_or(usual.allocations_per_participant),
                allocations_per_address: self
                    .turn_max_allocations_per_address
                    .or(file.max_allocations_per_address)
                    .unwrap_or(usual.allocations_per_address),
                bytes_per_participant: rate,
                ..usual
            },
        }))
    }
}

/// Reads `MIN-MAX`.
fn ports(text: &str) -> anyhow::Result<std::ops::RangeInclusive<u16>> {
    let ports = text.split_once('-').and_then(|(first, last)| {
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first > 0 && first <= last).then_some(first..=last)
    });
    ports.with_context(|| format!("turn-ports has to be MIN-MAX, and not {text}"))
}
