//! The settings of the relay.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use clap::Args;
use nonstop_server::{ExternalAddress, RelayConfig};
use serde::Deserialize;

use super::either;

/// Most threads: more than computers have cores.
const MOST_THREADS: i64 = 256;
/// What turns the relay off, in place of an address.
const OFF: &str = "off";

#[derive(Debug, Default, Args)]
pub(crate) struct RelayArguments {
    /// Where media of calls that outgrow a mesh is relayed, UDP; may be given more than once; or
    /// "off" for no such relay [default: the addresses of --listen, the port after the first]
    #[arg(
        long,
        value_name = "ADDRESS:PORT|off",
        env = "NONSTOP_SERVER_RELAY",
        value_delimiter = ','
    )]
    relay: Vec<String>,
    /// The address by which the relay is reached from outside, behind one-to-one NAT; may be given
    /// more than once [default: those of --turn-external-ip]
    #[arg(
        long,
        value_name = "PUBLIC[/PRIVATE]",
        env = "NONSTOP_SERVER_RELAY_EXTERNAL_IP",
        value_delimiter = ','
    )]
    relay_external_ip: Vec<ExternalAddress>,
    /// How many threads relay, each some of the meetings; each further one has the port after
    /// [default: 1]
    #[arg(
        long,
        value_name = "N",
        env = "NONSTOP_SERVER_RELAY_THREADS",
        value_parser = clap::value_parser!(u16).range(1..=MOST_THREADS)
    )]
    relay_threads: Option<u16>,
    /// Most participants with a connection to the relay [default: 4096]
    #[arg(long, value_name = "N", env = "NONSTOP_SERVER_RELAY_MAX_CONNECTIONS")]
    relay_max_connections: Option<usize>,
}

/// The table `[relay]` of the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RelayFile {
    enabled: Option<bool>,
    listen: Vec<SocketAddr>,
    external_ip: Vec<String>,
    threads: Option<u16>,
    max_connections: Option<usize>,
}

impl RelayArguments {
    /// Puts flags and file together; `None` if there is to be no relay. Where no address from
    /// outside is named, `external` counts.
    pub(crate) fn into_config(
        self,
        file: RelayFile,
        external: Vec<ExternalAddress>,
    ) -> anyhow::Result<Option<RelayConfig>> {
        if self.relay.iter().any(|text| text == OFF) {
            if self.relay.len() > 1 {
                bail!("relay is off, or has addresses");
            }
            return Ok(None);
        }
        if self.relay.is_empty() && file.enabled == Some(false) {
            return Ok(None);
        }
        let listen = self.relay.iter().map(|text| {
            let address = text.parse::<SocketAddr>();
            address.with_context(|| format!("relay has to be ADDRESS:PORT or off, and not {text}"))
        });
        let listen = listen.collect::<anyhow::Result<Vec<_>>>()?;
        let named = file.external_ip.iter().map(|external| external.parse());
        let named = named
            .collect::<Result<_, _>>()
            .context("relay.external_ip")?;
        if (file.threads).is_some_and(|threads| !(1..=MOST_THREADS).contains(&threads.into())) {
            bail!("relay.threads has to be from 1 to {MOST_THREADS}");
        }
        let usual = RelayConfig::default();
        let connections = self.relay_max_connections.or(file.max_connections);
        Ok(Some(RelayConfig {
            listen: either(listen, file.listen),
            external: either(either(self.relay_external_ip, named), external),
            threads: self.relay_threads.or(file.threads).unwrap_or(usual.threads),
            connections: connections.unwrap_or(usual.connections),
            ..usual
        }))
    }
}
