//! One connection to the meeting server: found, protected where the link says so, and joined.

use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use nonstop_wire::{ClientMessage, ErrorCode, MAX_MESSAGE, ServerMessage, Welcome};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{error::Elapsed, sleep, timeout},
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

/// How long one attempt may take, from looking up the name to the welcome.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(8);
/// How long one address of the server has a head start on the next (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// Names a file (PEM) of certificates to trust besides the usual ones, for servers on one's own
/// network.
const EXTRA_ROOTS: &str = "NONSTOP_EXTRA_ROOTS";

/// A joined connection.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why an attempt to join failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The address in the link is none.
    #[error("its address is not valid")]
    BadAddress,
    /// The name has no address, or there is no network.
    #[error("its name was not found ({0})")]
    NotFound(io::Error),
    /// Nobody listens there, or there is no way.
    #[error("it does not answer ({0})")]
    NoAnswer(io::Error),
    /// The certificates to trust could not be read.
    #[error("the certificates to trust could not be read ({0})")]
    Roots(String),
    /// TLS failed, or it is no meeting server.
    #[error("it does not answer as a meeting server does ({0})")]
    NotAServer(Box<tungstenite::Error>),
    /// The connection ended before the welcome.
    #[error("it ended the connection")]
    Closed,
    /// It took too long.
    #[error("it does not answer in time")]
    TooLate,
    /// The server refused us.
    #[error("it refused: {0:?}")]
    Refused(ErrorCode),
}

impl From<tungstenite::Error> for ConnectError {
    fn from(error: tungstenite::Error) -> Self {
        Self::NotAServer(Box::new(error))
    }
}

impl From<Elapsed> for ConnectError {
    fn from(_: Elapsed) -> Self {
        Self::TooLate
    }
}

/// Connects to the signalling address `url` and joins.
///
/// # Errors
/// Names what went wrong, in words that a person can use.
pub(super) async fn connect(
    url: &str,
    join: ClientMessage,
) -> Result<(Socket, Welcome), ConnectError> {
    let joining = async {
        let mut socket = open(url).await?;
        socket.send(Message::text(join.encode())).await?;
        while let Some(frame) = socket.next().await {
            let Message::Text(text) = frame? else {
                continue;
            };
            match ServerMessage::decode(&text) {
                Ok(ServerMessage::Welcome(welcome)) => return Ok((socket, welcome)),
                Ok(ServerMessage::Error { code, message }) => {
                    tracing::debug!(?code, message, "the server refused us");
                    return Err(ConnectError::Refused(code));
                }
                Ok(_) | Err(_) => {}
            }
        }
        Err(ConnectError::Closed)
    };
    timeout(ATTEMPT_LIMIT, joining).await?
}

async fn open(url: &str) -> Result<Socket, ConnectError> {
    let request = url
        .into_client_request()
        .map_err(|_| ConnectError::BadAddress)?;
    let uri = request.uri();
    let protected = uri.scheme_str() == Some("wss");
    let host = uri.host().ok_or(ConnectError::BadAddress)?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if protected { 443 } else { 80 });
    let connector = if protected {
        Connector::Rustls(trusting()?)
    } else {
        Connector::Plain
    };

    let addresses = lookup_host((host, port)).await;
    let stream = first_to_answer(addresses.map_err(ConnectError::NotFound)?).await;
    let stream = stream.map_err(ConnectError::NoAnswer)?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small messages may wait for others");
    }
    let limits = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let opening = client_async_tls_with_config(request, stream, Some(limits), Some(connector));
    Ok(opening.await?.0)
}

/// Connects to whichever address answers first; a dead one delays the others only a little.
async fn first_to_answer(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for (place, address) in (0..).zip(addresses) {
        attempts.spawn(async move {
            sleep(HEAD_START * place).await;
            TcpStream::connect(address).await
        });
    }
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(error) => failure = io::Error::other(error),
        }
    }
    Err(failure)
}

/// Makes the TLS set-up that trusts the usual certificates (Mozilla's list), and those that the
/// environment names.
fn trusting() -> Result<Arc<ClientConfig>, ConnectError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = std::env::var_os(EXTRA_ROOTS) {
        let path = PathBuf::from(path);
        let bad =
            |what: &dyn fmt::Display| ConnectError::Roots(format!("{}: {what}", path.display()));
        let certificates = CertificateDer::pem_file_iter(&path).map_err(|error| bad(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| bad(&error))?;
            roots.add(certificate).map_err(|error| bad(&error))?;
        }
    }
    // Named here, because a process that holds several providers has no default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3");
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}
