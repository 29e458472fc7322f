//! Listening sockets, and the way from an accepted connection to what is spoken on it.
//!
//! ```text
//! first byte   0x16 ──▶ TLS ──▶ first byte   0x00..=0x03 ──▶ TURN
//!       0x00..=0x03 ──▶ TURN                        else ──▶ HTTP
//!              else ──▶ HTTP, or TLS if there is a certificate
//! ```

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, StatusCode, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rustls::ServerConnection;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::{
    clock,
    doors::{Doors, Pass},
    http::Door,
    turn::{Arrival, Arrivals, begins_turn},
};

/// How many connections the system holds until they are accepted.
const BACKLOG: i32 = 1024;
/// Most bytes of a request before its body; ours are far smaller.
const MAX_REQUEST_HEAD: usize = 16 * 1024;
/// Rest after the system refused to give a connection, as it does while it has no file
/// descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket that can be closed at once from outside, so that its port is free again
/// for whoever starts next.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Mutex<Option<TcpListener>>,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address. A port that a stopped server used a moment ago is taken again.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // On Windows the same option lets two programs take one port.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into())?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket: Mutex::new(Some(socket)),
            address,
        })
    }

    /// Returns the address, with its real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the socket.
    pub(crate) fn close(&self) {
        self.socket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Waits for a connection; `None` once the socket is closed.
    async fn accept(&self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        poll_fn(|context| {
            let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
            match &*socket {
                Some(socket) => socket.poll_accept(context).map(Some),
                None => Poll::Ready(None),
            }
        })
        .await
    }
}

/// What accepted connections are served with.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) router: Router,
    pub(crate) tls: Option<TlsAcceptor>,
    /// The way to the TURN server, if there is one.
    pub(crate) turn: Option<Arrivals>,
    pub(crate) doors: Arc<Doors>,
    /// How long a connection may take to become a request.
    pub(crate) greeting: Duration,
}

/// Accepts and serves until the listener is closed; connections that are not WebSockets by then
/// end with it.
pub(crate) async fn accept_all(listener: Arc<Listener>, service: Service) {
    let mut connections = JoinSet::new();
    while let Some(accepted) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) => {
                warn!(%cause, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match service.doors.enter(address.ip(), clock::now()) {
            Some(pass) => {
                connections.spawn(service.clone().serve(stream, pass));
            }
            None => debug!(%address, "one connection too many"),
        }
    }
}

impl Service {
    async fn serve(self, stream: TcpStream, pass: Pass) {
        // Signalling is small messages that somebody waits for.
        let _ = stream.set_nodelay(true);
        let patience = 2 * self.greeting;
        match timeout(patience, self.greet(stream, pass)).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => debug!(%cause, "a connection was not served"),
            Err(_) => debug!("a request took too long"),
        }
    }

    /// Finds out what is spoken.
    async fn greet(self, stream: TcpStream, pass: Pass) -> io::Result<()> {
        let door = Door {
            pass: Arc::new(pass),
            address: stream.local_addr()?,
        };
        if let Some(turn) = &self.turn {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && begins_turn(first[0]) {
                return hand_over(turn, stream, None, door.pass).await;
            }
        }
        let Some(tls) = self.tls.clone() else {
            self.serve_http(stream, door).await;
            return Ok(());
        };
        let mut stream = tls.accept(stream).await?;
        if let Some(turn) = &self.turn {
            let first = stream.fill_buf().await?.first().copied();
            if first.is_some_and(begins_turn) {
                let (stream, tls) = stream.into_inner();
                return hand_over(turn, stream, Some(tls), door.pass).await;
            }
        }
        self.serve_http(stream, door).await;
        Ok(())
    }

    /// Serves one request, which may turn the connection into a WebSocket.
    async fn serve_http<S>(self, stream: S, door: Door)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(door.clone());
            let response = hyper::service::Service::call(&router, request);
            async move {
                let mut response = response.await?;
                // hyper's own way to end after one request also spoils the change of protocols.
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let served = http1::Builder::new()
            .max_buf_size(MAX_REQUEST_HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(cause) = served.await {
            debug!(%cause, "a request was not served");
        }
    }
}

/// Gives a connection to the TURN server.
async fn hand_over(
    turn: &Arrivals,
    stream: TcpStream,
    tls: Option<ServerConnection>,
    pass: Arc<Pass>,
) -> io::Result<()> {
    let tcp = stream.into_std()?;
    turn.hand_over(Arrival { tcp, tls, pass }).await;
    Ok(())
}
