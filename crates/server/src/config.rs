//! Everything a server is told at its start. The defaults serve one computer by itself.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use nonstop_wire::{MAX_PARTICIPANTS, MESH_LIMIT, RESUME_WINDOW};

use crate::{IceConfig, RelayConfig, TurnConfig};

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; port 0 takes a free one. An IPv6 address takes IPv6 connections only.
    pub listen: Vec<SocketAddr>,
    /// The certificate, if it speaks TLS itself.
    pub tls: Option<TlsFiles>,
    /// The STUN and TURN servers it tells participants of.
    pub ice: IceConfig,
    /// Its own TURN server, if it has one. Participants are told of it where `ice` names none.
    pub turn: Option<TurnConfig>,
    /// Its relay for calls that outgrow a mesh, if it has one.
    pub relay: Option<RelayConfig>,
    /// The largest call that stays a mesh.
    pub mesh_limit: usize,
    /// How much it takes on.
    pub limits: Limits,
    /// How long it waits for what.
    pub timing: Timing,
}

/// Where the certificate is, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How much a server takes on. What is beyond is refused, and those who are in are not disturbed.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Most rooms.
    pub rooms: usize,
    /// Most participants in a room.
    pub participants: usize,
    /// Most connections.
    pub connections: usize,
    /// Most connections from one address (from one /64 network with IPv6). An office behind one
    /// address must fit, and so must everybody behind a reverse proxy.
    pub connections_per_address: usize,
    /// How many connections one address may open at once, and how many a second from then on.
    pub arrivals_per_address: Rate,
    /// How many messages a participant may send at once, and how many a second from then on;
    /// each 4 KiB count as one. Joining a mesh of 5 takes about 100.
    pub messages: Rate,
    /// How long a participant may send faster than that (it is slowed down) before it has to go.
    pub excess: Duration,
    /// Most messages that wait for one participant; the next one cuts its connection.
    pub queued_messages: usize,
    /// Most bytes that wait for one participant; the next one cuts its connection.
    pub queued_bytes: usize,
}

/// A burst, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many at once.
    pub burst: f64,
    /// How many a second from then on.
    pub per_second: f64,
}

/// How long a server waits for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// For a connection to become a request, and for a WebSocket's `join`.
    pub greeting: Duration,
    /// Between two pings.
    pub ping: Duration,
    /// For any sign of life, before a connection counts as broken.
    pub silence: Duration,
    /// For somebody whose connection broke.
    pub resume_window: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            tls: None,
            ice: IceConfig::default(),
            turn: None,
            relay: None,
            mesh_limit: MESH_LIMIT,
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms: 1000,
            participants: MAX_PARTICIPANTS,
            connections: 4096,
            connections_per_address: 512,
            arrivals_per_address: Rate {
                burst: 300.0,
                per_second: 20.0,
            },
            messages: Rate {
                burst: 200.0,
                per_second: 50.0,
            },
            excess: Duration::from_secs(10),
            queued_messages: 512,
            queued_bytes: 512 * 1024,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(5),
            ping: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            resume_window: RESUME_WINDOW,
        }
    }
}
