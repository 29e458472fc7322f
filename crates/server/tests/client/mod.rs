//! A participant as the tests play it, on a WebSocket library other than the server's own.

#![allow(dead_code, reason = "each test program uses another part")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use nonstop_server::{Config, Server};
use nonstop_wire::{ClientMessage, ParticipantId, ServerMessage, Token, Welcome};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async, connect_async_tls_with_config,
    tungstenite::{Error, Message},
};

/// Longer than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A WebSocket to the server.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Connects and says nothing.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address)
            .await
            .expect("the server answers")
    }

    pub(crate) async fn try_connect(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{address}/signalling");
        let connecting = client_async(url, MaybeTlsStream::Plain(stream));
        let connected = timeout(PATIENCE, connecting).await;
        let (socket, _) = connected.expect("the server answers in time")?;
        Ok(Self { socket })
    }

    pub(crate) async fn connect_tls(url: &str, trusted: Arc<rustls::ClientConfig>) -> Self {
        let connector = Some(Connector::Rustls(trusted));
        let connecting = connect_async_tls_with_config(url, None, true, connector);
        let (socket, _) = timeout(PATIENCE, connecting).await.unwrap().unwrap();
        Self { socket }
    }

    /// Connects and joins.
    pub(crate) async fn join(address: SocketAddr, room: &str, id: u64) -> (Self, Welcome) {
        let mut client = Self::connect(address).await;
        let welcome = client.enter(join(room, id, None)).await;
        (client, welcome)
    }

    /// Sends a `join` and returns the welcome.
    pub(crate) async fn enter(&mut self, join: ClientMessage) -> Welcome {
        self.send(&join).await;
        match self.next().await {
            Some(ServerMessage::Welcome(welcome)) => welcome,
            other => panic!("not a welcome: {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, message: &ClientMessage) {
        self.text(&message.encode()).await;
    }

    /// Sends a text, which the server may already not want any more.
    pub(crate) async fn text(&mut self, text: &str) {
        let _ = self.socket.send(Message::text(text)).await;
    }

    /// Waits for the next message; `None` once the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<ServerMessage> {
        loop {
            let received = timeout(PATIENCE, self.socket.next()).await;
            match received.expect("the server says something in time") {
                Some(Ok(Message::Text(text))) => {
                    return Some(ServerMessage::decode(&text).expect("the server speaks properly"));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Waits for the next message, for however long.
    pub(crate) async fn next_or_never(&mut self) -> Option<ServerMessage> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Some(ServerMessage::decode(&text).expect("the server speaks properly"));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Sends a payload to somebody.
    pub(crate) async fn say(&mut self, to: u64, sealed: &str) {
        let (to, sealed) = (id(to), sealed.to_owned());
        self.send(&ClientMessage::Send { to, sealed }).await;
    }
}

pub(crate) fn id(bits: u64) -> ParticipantId {
    ParticipantId::from_bits(bits)
}

pub(crate) fn join(room: &str, participant: u64, resume: Option<Token>) -> ClientMessage {
    ClientMessage::Join {
        version: 1,
        room: room.parse().unwrap(),
        admission: Token::from_bytes([1; 32]),
        participant: id(participant),
        resume,
    }
}

/// Starts a server on a free port of this computer.
pub(crate) async fn serve(config: Config) -> (Server, SocketAddr) {
    let server = Server::start(config).await.unwrap();
    let address = server.addresses()[0];
    (server, address)
}

/// Sends a GET request and returns the whole answer.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}
