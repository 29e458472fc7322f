//! A way to the server that can be cut: plain TCP through this process.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

/// The way; ends when dropped.
pub(crate) struct Detour {
    address: SocketAddr,
    cut: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Detour {
    /// Starts a way to `server`.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(carry(listener, server, Arc::clone(&cut)));
        Self {
            address,
            cut,
            _tasks: tasks,
        }
    }

    /// Returns where it begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection there is; new ones work.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }
}

async fn carry(listener: TcpListener, server: SocketAddr, cut: Arc<Notify>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut near, _) = accepted.unwrap();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(server).await?;
                    copy_bidirectional(&mut near, &mut far).await
                });
            }
            () = cut.notified() => connections.abort_all(),
        }
    }
}
