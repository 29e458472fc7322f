//! Making a stream to a server by name: whichever of its addresses answers first (RFC 8305),
//! directly or through a proxy, with TLS where it is asked for.
//!
//! ```text
//! name ─ addresses ─ TCP, the next one 250 ms later ────────────┐
//!                                                               ├─▶ first that works ─▶ Stream
//! (200 ms later) proxy ─ TCP ─ CONNECT ─────────── TLS, if any ─┘
//! ```

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream, lookup_host},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::proxy::{Proxy, ProxyError, connect_through};

/// How long one address of the server has a head start on the next (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// How long the direct way has a head start on the one through a proxy.
const PROXY_LATER: Duration = Duration::from_millis(200);
/// How many addresses of one name are tried.
const MOST_ADDRESSES: usize = 8;
/// How long a proxy may take to answer; it has to connect to the server first.
const PROXY_LIMIT: Duration = Duration::from_secs(6);

/// Where a stream is to lead.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// The source address to use, or the system's choice.
    pub(crate) bind: Option<IpAddr>,
    /// Whom to trust, where TLS is spoken.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// The proxy on the way.
    pub(crate) proxy: Option<Proxy>,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The name has no address, or there is no network.
    #[error("its name was not found ({0})")]
    NotFound(io::Error),
    /// Nobody listens there, or there is no way.
    #[error("it does not answer ({0})")]
    NoAnswer(io::Error),
    /// The proxy does not let us through.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The certificate is not trusted or is for another name, or it is no TLS.
    #[error("its identity could not be proven ({0})")]
    Tls(io::Error),
}

/// A stream to a server.
#[derive(Debug)]
pub(crate) enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// In TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Returns the TCP connection below.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Makes a stream. There is no limit on the time it takes but the system's; whoever calls has one.
///
/// # Errors
/// None of the ways works; what the last one said.
pub(crate) async fn dial(to: &Destination) -> Result<Stream, DialError> {
    let Some(proxy) = &to.proxy else {
        return direct(to).await;
    };
    if proxy.only {
        return proxied(to, proxy).await;
    }
    let mut direct = pin!(direct(to));
    match timeout(PROXY_LATER, &mut direct).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(_)) => return proxied(to, proxy).await,
        Err(_) => {}
    }
    let mut proxied = pin!(proxied(to, proxy));
    tokio::select! {
        outcome = &mut direct => match outcome {
            Ok(stream) => Ok(stream),
            Err(_) => proxied.await,
        },
        outcome = &mut proxied => match outcome {
            Ok(stream) => Ok(stream),
            Err(error) => direct.await.map_err(|_| error),
        },
    }
}

async fn direct(to: &Destination) -> Result<Stream, DialError> {
    let addresses = resolve(&to.host, to.port, to.bind).await;
    let addresses = addresses.map_err(DialError::NotFound)?;
    let stream = first_to_answer(addresses, to.bind).await;
    protect(to, stream.map_err(DialError::NoAnswer)?).await
}

async fn proxied(to: &Destination, proxy: &Proxy) -> Result<Stream, DialError> {
    let reached = async {
        let addresses = resolve(&proxy.host, proxy.port, to.bind).await?;
        first_to_answer(addresses, to.bind).await
    };
    let asking = async {
        let unreachable = |error: io::Error| ProxyError::Unreachable(error.to_string());
        let mut stream = reached.await.map_err(unreachable)?;
        connect_through(&mut stream, proxy, &to.host, to.port).await?;
        Ok::<_, ProxyError>(stream)
    };
    let stream = timeout(PROXY_LIMIT, asking).await;
    let stream = stream.unwrap_or(Err(ProxyError::Silent))?;
    protect(to, stream).await
}

async fn protect(to: &Destination, stream: TcpStream) -> Result<Stream, DialError> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small messages may wait for others");
    }
    let Some(config) = &to.tls else {
        return Ok(Stream::Plain(stream));
    };
    let name = ServerName::try_from(to.host.clone());
    let name = name.map_err(|error| DialError::Tls(io::Error::other(error)))?;
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name, stream).await;
    Ok(Stream::Tls(Box::new(stream.map_err(DialError::Tls)?)))
}

/// Returns a name's addresses, IPv6 and IPv4 in turns (RFC 8305, section 4); only those of one
/// family where the source address is given.
pub(crate) async fn resolve(
    host: &str,
    port: u16,
    bind: Option<IpAddr>,
) -> io::Result<Vec<SocketAddr>> {
    let found = lookup_host((host, port)).await?;
    let suits = |address: &SocketAddr| bind.is_none_or(|ip| ip.is_ipv4() == address.is_ipv4());
    let (v6, v4): (Vec<_>, Vec<_>) = found.filter(suits).partition(SocketAddr::is_ipv6);
    let mut addresses = Vec::with_capacity(v6.len() + v4.len());
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    loop {
        let before = addresses.len();
        addresses.extend(v6.next().into_iter().chain(v4.next()));
        if addresses.len() == before {
            break;
        }
    }
    addresses.truncate(MOST_ADDRESSES);
    match addresses.is_empty() {
        true => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
        false => Ok(addresses),
    }
}

/// Connects to whichever address answers first; a dead one delays the others only a little.
async fn first_to_answer(
    addresses: Vec<SocketAddr>,
    bind: Option<IpAddr>,
) -> io::Result<TcpStream> {
    let mut left = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = left.next() {
            attempts.spawn(connect(address, bind));
        } else if attempts.is_empty() {
            return Err(failure);
        }
        let next_starts = async {
            match left.len() {
                0 => std::future::pending().await,
                _ => sleep(HEAD_START).await,
            }
        };
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(error) => failure = io::Error::other(error),
            },
            () = next_starts => {}
        }
    }
}

async fn connect(address: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(ip) = bind {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.connect(address).await
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
