//! One connection to the meeting server: found, protected where the link says so, and joined.

use std::{io, mem, time::Duration};

use futures_util::{SinkExt, StreamExt};
use nonstop_wire::{ClientMessage, ErrorCode, MAX_MESSAGE, ServerMessage, Welcome};
use tokio::time::{error::Elapsed, timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

use crate::mesh::{
    dial::{Destination, DialError, Stream, dial},
    proxy::{Proxies, ProxyError},
    tls::{RootsError, Tls},
};

/// How long one attempt may take, from looking up the name to the welcome.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(8);
/// A joined connection.
pub(super) type Socket = WebSocketStream<Stream>;

/// Why an attempt to join failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::mesh) enum ConnectError {
    /// The address in the link is none.
    #[error("its address is not valid")]
    BadAddress,
    /// The name has no address, or there is no network.
    #[error("its name was not found ({0})")]
    NotFound(io::Error),
    /// Nobody listens there, or there is no way.
    #[error("it does not answer ({0})")]
    NoAnswer(io::Error),
    /// The proxy does not let us through.
    #[error(transparent)]
    Proxy(ProxyError),
    /// The certificates to trust could not be read.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The certificate is not trusted or is for another name, or it is no TLS.
    #[error("its identity could not be proven ({0})")]
    NotProven(io::Error),
    /// It is no meeting server.
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

impl From<DialError> for ConnectError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::NotFound(error) => Self::NotFound(error),
            DialError::NoAnswer(error) => Self::NoAnswer(error),
            DialError::Proxy(error) => Self::Proxy(error),
            DialError::Tls(error) => Self::NotProven(error),
        }
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
    proxies: &Proxies,
    join: ClientMessage,
) -> Result<(Socket, Welcome), ConnectError> {
    let joining = async {
        let mut socket = open(url, proxies).await?;
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

async fn open(url: &str, proxies: &Proxies) -> Result<Socket, ConnectError> {
    let request = url
        .into_client_request()
        .map_err(|_| ConnectError::BadAddress)?;
    let uri = request.uri();
    let protected = uri.scheme_str() == Some("wss");
    let host = uri.host().ok_or(ConnectError::BadAddress)?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if protected { 443 } else { 80 });
    let tls = match protected {
        true => Some(Tls::shared()?.signalling),
        false => None,
    };
    let proxy = proxies.toward(&host, protected);
    let to = Destination {
        host,
        port,
        bind: None,
        tls,
        proxy,
    };
    let stream = reach(to).await?;
    let limits = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let opening = client_async_with_config(request, stream, Some(limits));
    Ok(opening.await?.0)
}

/// Goes through the proxy if there is one. What the environment names may be out of date: where
/// it does not work, the direct way may.
async fn reach(mut to: Destination) -> Result<Stream, ConnectError> {
    let from_environment = to
        .proxy
        .as_mut()
        .is_some_and(|proxy| !mem::replace(&mut proxy.only, true));
    match dial(&to).await {
        Err(DialError::Proxy(error)) if from_environment => {
            tracing::debug!(%error, "there is no way through the proxy");
            to.proxy = None;
            let directly = dial(&to).await;
            Ok(directly.map_err(|_| DialError::Proxy(error))?)
        }
        outcome => Ok(outcome?),
    }
}
