//! A running server: its sockets, its tasks, and their end.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config, TlsError,
    connection::House,
    doors::Doors,
    http,
    listener::{self, Listener, Service},
    reception::{self, Reception},
    rooms::Rooms,
    tls,
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
}

/// A running server. Dropping it closes its sockets at once and ends its connections.
pub struct Server {
    listeners: Vec<Arc<Listener>>,
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    sockets: TaskTracker,
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
        let listeners = config.listen.iter().map(listen);
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        if listeners.is_empty() {
            return Err(StartError::NoAddress);
        }

        let mut tasks = JoinSet::new();
        let (reception, facts) = Reception::new();
        tasks.spawn(reception::receive(Rooms::new(&config), facts));
        let stop = CancellationToken::new();
        let sockets = TaskTracker::new();
        let doors = Doors::new(config.limits.clone());
        let greeting = config.timing.greeting;
        let house = House {
            config,
            reception,
            stop: stop.clone(),
        };
        let service = Service {
            router: http::router(Arc::new(house), sockets.clone()),
            tls,
            doors,
            greeting,
        };
        for listener in &listeners {
            tasks.spawn(listener::accept_all(Arc::clone(listener), service.clone()));
        }
        Ok(Self {
            addresses: listeners
                .iter()
                .map(|listener| listener.address())
                .collect(),
            listeners,
            stop,
            sockets,
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
        self.tasks.shutdown().await;
    }

    fn close(&self) {
        for listener in &self.listeners {
            listener.close();
        }
        self.stop.cancel();
    }
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
