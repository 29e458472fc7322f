//! How the program is set up: flags, then environment, then a TOML file, then defaults.

mod relay;
mod turn;

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, bail};
use clap::Parser;
use nonstop_server::{Config, IceConfig, Limits, TlsFiles};
use nonstop_wire::{IceServer, MAX_ICE_SERVER_FIELD, MAX_ICE_SERVERS, MAX_PARTICIPANTS};
use relay::{RelayArguments, RelayFile};
use serde::Deserialize;
use turn::{TurnArguments, TurnFile};

/// Where the program listens unless told otherwise: on all IPv4 addresses.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 4433);

/// Introduces the participants of Nonstop meetings to each other.
///
/// Every option can also be given in the environment or in the configuration file; a flag
/// counts before the environment, and the environment before the file.
#[derive(Debug, Default, Parser)]
#[command(name = "nonstop-server", version)]
pub(crate) struct Arguments {
    /// A TOML file with the options below, written with underscores; those that begin with turn
    /// or relay stand in a table [turn] or [relay], without this beginning, all but turn_secret
    #[arg(long, value_name = "FILE", env = "NONSTOP_SERVER_CONFIG")]
    config: Option<PathBuf>,
    /// Listens here; may be given more than once [default: 0.0.0.0:4433]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "NONSTOP_SERVER_LISTEN",
        value_delimiter = ','
    )]
    listen: Vec<SocketAddr>,
    /// The certificate chain (PEM), to speak TLS
    #[arg(long, value_name = "FILE", env = "NONSTOP_SERVER_TLS_CERTIFICATE")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", env = "NONSTOP_SERVER_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// A STUN or TURN server, such as stun:stun.example.org; may be given more than once
    #[arg(
        long,
        value_name = "URL",
        env = "NONSTOP_SERVER_ICE_SERVER",
        value_delimiter = ','
    )]
    ice_server: Vec<String>,
    /// The secret of credentials that expire: of an external TURN server (use-auth-secret of
    /// coturn), or of this one, which takes a random one without it
    #[arg(
        long,
        value_name = "SECRET",
        env = "NONSTOP_SERVER_TURN_SECRET",
        hide_env_values = true
    )]
    turn_secret: Option<String>,
    #[command(flatten)]
    turn: TurnArguments,
    #[command(flatten)]
    relay: RelayArguments,
    /// Most rooms [default: 1000]
    #[arg(long, value_name = "N", env = "NONSTOP_SERVER_MAX_ROOMS")]
    max_rooms: Option<usize>,
    /// Most participants in a room [default: 200]
    #[arg(long, value_name = "N", env = "NONSTOP_SERVER_MAX_PARTICIPANTS")]
    max_participants: Option<usize>,
    /// Most connections [default: 4096]
    #[arg(long, value_name = "N", env = "NONSTOP_SERVER_MAX_CONNECTIONS")]
    max_connections: Option<usize>,
    /// Most connections from one address; raise it behind a reverse proxy [default: 512]
    #[arg(
        long,
        value_name = "N",
        env = "NONSTOP_SERVER_MAX_CONNECTIONS_PER_ADDRESS"
    )]
    max_connections_per_address: Option<usize>,
    /// How many connections one address may open at once; a fifteenth of it each second from
    /// then on [default: 300]
    #[arg(
        long,
        value_name = "N",
        env = "NONSTOP_SERVER_MAX_ARRIVALS_PER_ADDRESS"
    )]
    max_arrivals_per_address: Option<u32>,
    /// Largest call that stays a mesh [default: 5]
    #[arg(long, value_name = "N", env = "NONSTOP_SERVER_MESH_LIMIT")]
    mesh_limit: Option<usize>,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    listen: Vec<SocketAddr>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    ice_servers: Vec<IceServer>,
    turn_secret: Option<String>,
    turn: TurnFile,
    relay: RelayFile,
    max_rooms: Option<usize>,
    max_participants: Option<usize>,
    max_connections: Option<usize>,
    max_connections_per_address: Option<usize>,
    max_arrivals_per_address: Option<u32>,
    mesh_limit: Option<usize>,
}

impl Arguments {
    /// Reads the file, if one is named, and puts everything together.
    pub(crate) fn into_config(self) -> anyhow::Result<Config> {
        let file = match &self.config {
            None => File::default(),
            Some(path) => {
                let text = fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))?
            }
        };

        let certificate = self.tls_certificate.or(file.tls_certificate);
        let tls = match (certificate, self.tls_key.or(file.tls_key)) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => bail!("tls-certificate is given, but not tls-key"),
            (None, Some(_)) => bail!("tls-key is given, but not tls-certificate"),
        };

        let named = self.ice_server.into_iter().map(|url| IceServer {
            urls: vec![url],
            username: String::new(),
            credential: String::new(),
        });
        let named: Vec<_> = named.collect();
        let servers = either(named, file.ice_servers);
        for server in &servers {
            keep_limits(server)?;
        }
        if servers.len() > MAX_ICE_SERVERS {
            bail!("there are more than {MAX_ICE_SERVERS} STUN and TURN servers");
        }

        let turn_secret = self.turn_secret.or(file.turn_secret);
        let external = !servers.is_empty();
        let turn = self
            .turn
            .into_config(file.turn, turn_secret.clone(), external)?;
        let outside = turn.as_ref().map(|turn| turn.external.clone());
        let relay = self
            .relay
            .into_config(file.relay, outside.unwrap_or_default())?;

        let usual = Config::default();
        let usual_limits = Limits::default();
        let mesh_limit = self.mesh_limit.or(file.mesh_limit);
        let mesh_limit = mesh_limit.unwrap_or(usual.mesh_limit);
        let participants = self.max_participants.or(file.max_participants);
        let participants = participants.unwrap_or(usual_limits.participants);
        for (name, number) in [
            ("mesh-limit", mesh_limit),
            ("max-participants", participants),
        ] {
            if !(1..=MAX_PARTICIPANTS).contains(&number) {
                bail!("{name} has to be 1 to {MAX_PARTICIPANTS}");
            }
        }
        let mut arrivals = usual_limits.arrivals_per_address;
        if let Some(burst) = self
            .max_arrivals_per_address
            .or(file.max_arrivals_per_address)
        {
            arrivals.burst = burst.into();
            arrivals.per_second = f64::from(burst) / 15.0;
        }

        Ok(Config {
            listen: either(either(self.listen, file.listen), vec![DEFAULT_LISTEN]),
            tls,
            ice: IceConfig {
                servers,
                turn_secret,
            },
            turn,
            relay,
            mesh_limit,
            limits: Limits {
                rooms: self
                    .max_rooms
                    .or(file.max_rooms)
                    .unwrap_or(usual_limits.rooms),
                participants,
                connections: self
                    .max_connections
                    .or(file.max_connections)
                    .unwrap_or(usual_limits.connections),
                connections_per_address: self
                    .max_connections_per_address
                    .or(file.max_connections_per_address)
                    .unwrap_or(usual_limits.connections_per_address),
                arrivals_per_address: arrivals,
                ..usual_limits
            },
            timing: usual.timing,
        })
    }
}

/// Returns the first list that is not empty.
fn either<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
    if first.is_empty() { second } else { first }
}

/// Refuses what participants would refuse.
fn keep_limits(server: &IceServer) -> anyhow::Result<()> {
    let known = |url: &String| {
        let schemes = ["stun:", "stuns:", "turn:", "turns:"];
        url.len() <= MAX_ICE_SERVER_FIELD && schemes.iter().any(|scheme| url.starts_with(scheme))
    };
    if let Some(url) = server.urls.iter().find(|url| !known(url)) {
        bail!("{url} is not the address of a STUN or TURN server");
    }
    let fields = [&server.username, &server.credential];
    if server.urls.len() > MAX_ICE_SERVERS || fields.iter().any(|f| f.len() > MAX_ICE_SERVER_FIELD)
    {
        bail!(
            "a STUN or TURN server has too many addresses, or too long a user name or credential"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn without_any_setting_it_serves_plainly_on_4433() {
        let config = parse(&[]).into_config().unwrap();
        assert_eq!(config.listen, ["0.0.0.0:4433".parse().unwrap()]);
        assert_eq!(config.tls, None);
        assert_eq!(config.limits, Limits::default());
    }

    #[test]
    fn flags_count_before_the_file_and_the_file_before_defaults() {
        let file = file(
            "listen = ['127.0.0.1:1000', '[::1]:1000']\nmax_rooms = 7\nmax_participants = 8\n\
             tls_certificate = 'c.pem'\ntls_key = 'k.pem'\nturn_secret = 's'\n\
             [[ice_servers]]\nurls = ['turn:t.example.org']",
        );
        let path = file.path().to_str().unwrap();
        let config = parse(&["--config", path, "--max-rooms", "9"])
            .into_config()
            .unwrap();
        assert_eq!(config.limits.rooms, 9);
        assert_eq!(config.limits.participants, 8);
        assert_eq!(config.limits.connections, Limits::default().connections);
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.tls.unwrap().certificate, PathBuf::from("c.pem"));
        assert_eq!(config.ice.servers[0].urls, ["turn:t.example.org"]);

        let flags = [
            "--config",
            path,
            "--listen",
            "127.0.0.1:2",
            "--ice-server",
            "stun:s",
        ];
        let config = parse(&flags).into_config().unwrap();
        assert_eq!(config.listen, ["127.0.0.1:2".parse().unwrap()]);
        assert_eq!(config.ice.servers[0].urls, ["stun:s"]);
    }

    #[test]
    fn a_setting_that_cannot_be_meant_is_refused_in_words() {
        let misspelt = file("max_room = 7");
        let misspelt = misspelt.path().to_str().unwrap();
        let threads = file("[relay]\nthreads = 0");
        let threads = threads.path().to_str().unwrap();
        for (arguments, words) in [
            (vec!["--config", misspelt], "is not valid"),
            (vec!["--config", "/nowhere.toml"], "cannot read"),
            (vec!["--tls-key", "k"], "not tls-certificate"),
            (vec!["--mesh-limit", "0"], "mesh-limit"),
            (vec!["--max-participants", "201"], "max-participants"),
            (vec!["--ice-server", "http://x"], "http://x is not"),
            (vec!["--turn-ports", "9-1"], "turn-ports"),
            (vec!["--turn-max-kbps", "0"], "turn-max-kbps"),
            (vec!["--turn-relay-ip", "::1,::2"], "turn-relay-ip"),
            (vec!["--relay", "somewhere"], "relay has to be"),
            (vec!["--relay", "off,127.0.0.1:1"], "relay is off"),
            (vec!["--config", threads], "relay.threads has to be"),
        ] {
            let error = parse(&arguments).into_config().unwrap_err();
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
    }

    #[test]
    fn it_relays_unless_somebody_else_does_or_it_is_told_not_to() {
        let turn = |arguments: &[&str]| parse(arguments).into_config().unwrap().turn;
        assert_eq!(turn(&[]), Some(nonstop_server::TurnConfig::default()));
        assert_eq!(turn(&["--no-turn"]), None);
        assert_eq!(turn(&["--ice-server", "turn:t.example.org"]), None);
    }

    #[test]
    fn the_relay_is_set_up_by_flags_or_by_a_table() {
        let file = file(
            "turn_secret = 's'\n[turn]\nlisten = ['0.0.0.0:3478']\nhost = 'a.example:3478'\n\
             external_ip = ['198.51.100.1/10.0.0.1']\nrelay_ip = ['10.0.0.1']\nports = '50000-50009'\n\
             private_peers = true\npeer = ['10.0.0.0/8']\nmax_allocations = 5\nmax_kbps = 800",
        );
        let path = file.path().to_str().unwrap();
        let turn = parse(&["--config", path, "--turn-max-allocations", "6"]);
        let turn = turn.into_config().unwrap().turn.unwrap();
        assert_eq!(turn.secret.as_deref(), Some("s"));
        assert_eq!(turn.listen, ["0.0.0.0:3478".parse().unwrap()]);
        assert_eq!(turn.host, Some("a.example:3478".parse().unwrap()));
        assert_eq!(turn.external, ["198.51.100.1/10.0.0.1".parse().unwrap()]);
        assert_eq!(
            turn.relay_addresses,
            ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!(turn.ports, 50000..=50009);
        assert!(turn.private_peers);
        assert_eq!(turn.peers, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(turn.limits.allocations, 6);
        assert_eq!(turn.limits.bytes_per_participant.per_second, 100_000.0);
        assert!(!format!("{turn:?}").contains("\"s\""));
    }

    #[test]
    fn large_calls_are_relayed_unless_told_not_to() {
        let relay = |arguments: &[&str]| parse(arguments).into_config().unwrap().relay;
        assert_eq!(relay(&[]), Some(nonstop_server::RelayConfig::default()));
        assert_eq!(relay(&["--relay", "off"]), None);
        let there = relay(&["--relay", "127.0.0.1:7", "--turn-external-ip", "192.0.2.9"]).unwrap();
        assert_eq!(there.listen, ["127.0.0.1:7".parse().unwrap()]);
        assert_eq!(there.external, ["192.0.2.9".parse().unwrap()]);

        let file = file(
            "[relay]\nenabled = false\nlisten = ['0.0.0.0:9']\nmax_connections = 5\nthreads = 2",
        );
        let path = file.path().to_str().unwrap();
        assert_eq!(relay(&["--config", path]), None);
        let there = relay(&["--config", path, "--relay", "127.0.0.1:7"]).unwrap();
        assert_eq!(there.listen, ["127.0.0.1:7".parse().unwrap()]);
        assert_eq!((there.connections, there.threads), (5, 2));
        let there = relay(&[
            "--config",
            path,
            "--relay",
            "[::]:7",
            "--relay-threads",
            "3",
        ]);
        assert_eq!(there.unwrap().threads, 3);
    }

    fn parse(arguments: &[&str]) -> Arguments {
        Arguments::parse_from([&["nonstop-server"], arguments].concat())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }
}
