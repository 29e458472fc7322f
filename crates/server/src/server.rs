//! A running server: its sockets, its tasks, and their end.

use std::{
    fmt, io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config, RelayConfig, TlsError, TurnConfig,
    connection::House,
    doors::Doors,
    http,
    ice::Announcement,
    listener::{self, Listener, Service},
    reception::{self, Reception},
    relay::{self, Relay},
    rooms::Rooms,
    tls,
    turn::{self, Turn},
};

/// How long [`Server::stop`] waits for connections to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was told no address.
    #[error("there is no address to listen on")]
    NoAddress,
    /// An address is in use, or is not this computer's.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
    /// TLS was asked for and could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gives the TURN server no thread, sockets or random numbers.
    #[error("cannot relay: {0}")]
    Turn(io::Error),
    /// The system gives the relay no thread or random numbers.
    #[error("cannot relay media: {0}")]
    Relay(io::Error),
}

/// A running server. Dropping it closes its sockets at once and ends its connections.
pub struct Server {
    listeners: Vec<Arc<Listener>>,
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    sockets: TaskTracker,
    turn: Option<Turn>,
    relay: Option<Relay>,
    /// The tasks that accept, and the one that owns the rooms: they end with this set.
    tasks: JoinSet<()>,
}

impl Server {
    /// Listens, and serves until dropped; must be called within a tokio runtime.
    ///
    /// # Errors
    /// Fails if an address cannot be listened on or the certificate cannot be used.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let listen = |&address: &SocketAddr| {
            let refuse = |cause| StartError::Listen { address, cause };
            Listener::bind(address).map(Arc::new).map_err(refuse)
        };
        let own = config.listen.iter();
        let for_turn = config.turn.iter().flat_map(|turn| &turn.listen);
        let listeners = own.chain(for_turn).map(listen);
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        if config.listen.is_empty() {
            return Err(StartError::NoAddress);
        }
        let (answers, answered) = mpsc::channel(relay::ANSWERS);
        let bound = listeners[..config.listen.len()].iter();
        let bound: Vec<_> = bound.map(|listener| listener.address()).collect();
        let relay = config.relay.as_ref();
        let relay = relay.map(|relay| start_relay(relay, &bound, &answers));
        let (relay, relay_ports) = relay.transpose()?.unzip();
        let turn = config.turn.clone().map(|mut turn| {
            turn.own_ports.extend(relay_ports.iter().flatten());
            turn
        });
        let turn = turn.as_ref();
        let relaying = turn.map(|turn| start_turn(turn, &listeners)).transpose()?;
        let (turn, secret) = relaying.unzip();
        let announcement = match (&config.turn, secret) {
            (Some(turn), Some(secret)) if config.ice.servers.is_empty() => {
                let ports = listeners[config.listen.len()..].iter();
                let ports = ports.map(|listener| listener.address().port());
                Some(Announcement::new(
                    turn,
                    secret,
                    ports.collect(),
                    tls.is_some(),
                ))
            }
            _ => None,
        };
        let serves = config.listen.len();

        let mut tasks = JoinSet::new();
        let (reception, facts) = Reception::new();
        let way = relay.as_ref().map(Relay::way);
        tasks.spawn(reception::receive(
            Rooms::new(&config),
            facts,
            way,
            answered,
        ));
        let stop = CancellationToken::new();
        let sockets = TaskTracker::new();
        let doors = Doors::new(config.limits.clone());
        let greeting = config.timing.greeting;
        let house = House {
            config,
            announcement,
            reception,
            stop: stop.clone(),
        };
        let service = Service {
            router: http::router(Arc::new(house), sockets.clone()),
            tls,
            turn: turn.as_ref().map(Turn::arrivals),
            doors,
            greeting,
        };
        for listener in &listeners {
            tasks.spawn(listener::accept_all(Arc::clone(listener), service.clone()));
        }
        Ok(Self {
            addresses: listeners[..serves]
                .iter()
                .map(|listener| listener.address())
                .collect(),
            listeners,
            stop,
            sockets,
            turn,
            relay,
            tasks,
        })
    }

    /// Returns the addresses it listens on, with real ports, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops, and waits until participants have been told (a few seconds at most).
    pub async fn stop(mut self) {
        self.close();
        self.sockets.close();
        // Whoever does not answer is left without a goodbye.
        let _ = timeout(GOODBYE, self.sockets.wait()).await;
        if let Some(turn) = &mut self.turn {
            turn.stop().await;
        }
        if let Some(relay) = &mut self.relay {
            relay.stop().await;
        }
        self.tasks.shutdown().await;
    }

    fn close(&self) {
        for listener in &self.listeners {
            listener.close();
        }
        self.stop.cancel();
    }
}

/// Starts to relay, with UDP where the listeners have TCP. Returns the secret, too.
fn start_turn(
    config: &TurnConfig,
    listeners: &[Arc<Listener>],
) -> Result<(Turn, String), StartError> {
    let listen = |listener: &Arc<Listener>| {
        let address = listener.address();
        let refuse = |cause| StartError::Listen { address, cause };
        turn::listen(address).map_err(refuse)
    };
    let sockets = listeners.iter().map(listen);
    let sockets = sockets.collect::<Result<Vec<UdpSocket>, _>>()?;
    let secret = match &config.secret {
        Some(secret) => secret.clone(),
        None => {
            let mut secret = [0; 32];
            let filled = getrandom::fill(&mut secret);
            filled.map_err(|cause| StartError::Turn(io::Error::other(cause)))?;
            URL_SAFE_NO_PAD.encode(secret)
        }
    };
    let turn = Turn::start(config.clone(), secret.clone(), sockets).map_err(StartError::Turn)?;
    Ok((turn, secret))
}

/// Starts to pass media on. Returns the ports, too.
fn start_relay(
    config: &RelayConfig,
    listeners: &[SocketAddr],
    answers: &mpsc::Sender<relay::Answer>,
) -> Result<(Relay, Vec<u16>), StartError> {
    let sockets = relay::open_sockets(config, listeners);
    let sockets = sockets.map_err(|(address, cause)| StartError::Listen { address, cause })?;
    let port = |socket: &UdpSocket| socket.local_addr().map(|address| address.port());
    let ports = sockets.iter().flatten().map(port);
    let ports = ports.collect::<io::Result<Vec<_>>>();
    let ports = ports.map_err(StartError::Relay)?;
    let relay = Relay::start(config, sockets, answers).map_err(StartError::Relay)?;
    Ok((relay, ports))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = &self.addresses;
        f.debug_struct("Server")
            .field("addresses", addresses)
            .finish_non_exhaustive()
    }
}
