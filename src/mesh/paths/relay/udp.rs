//! A relay over datagrams.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    task::JoinSet,
    time::{sleep, sleep_until},
};

use super::{
    Inbox, RelayConfig, RelayError, RelayId,
    client::Client,
    request::{Credentials, PATIENCE},
    task::{Allocated, Shared, allocated, converse, keep_alive},
};
use crate::{clock, mesh::dial::resolve};

/// How long one address of the relay has a head start on the next (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// How much may wait in the system to be received: a second at 8 Mbit/s, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;
/// How many datagrams are taken before others get their turn.
const BATCH: usize = 64;
/// No datagram is larger.
const LARGEST: usize = 1 << 16;

/// Makes an allocation at whichever address of the relay answers first.
///
/// # Errors
/// None does; what the last one said.
pub(super) async fn allocate(
    config: &RelayConfig,
    credentials: &Credentials,
) -> Result<(Client, Arc<UdpSocket>, Allocated), RelayError> {
    let server = &config.server;
    let addresses = resolve(&server.host, server.port, config.bind).await;
    let addresses = addresses.map_err(|error| RelayError::NotFound(error.to_string()))?;
    let mut left = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = RelayError::NoAnswer;
    loop {
        if let Some(address) = left.next() {
            attempts.spawn(allocate_at(address, config.bind, credentials.clone()));
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
                Ok(Ok(made)) => return Ok(made),
                Ok(Err(error)) => failure = error,
                Err(error) => failure = RelayError::Unreachable(error.to_string()),
            },
            () = next_starts => {}
        }
    }
}

async fn allocate_at(
    server: SocketAddr,
    bind: Option<IpAddr>,
    credentials: Credentials,
) -> Result<(Client, Arc<UdpSocket>, Allocated), RelayError> {
    let socket = open(server, bind).await.map_err(unreachable)?;
    let mut client = converse(credentials, false);
    let mut buffer = vec![0; LARGEST];
    loop {
        while let Some(message) = client.poll_transmit() {
            socket.send(&message).await.map_err(unreachable)?;
        }
        if let Some(found) = allocated(&mut client)? {
            return Ok((client, Arc::new(socket), found));
        }
        let next = client.poll_timeout().unwrap_or(clock::now() + PATIENCE);
        tokio::select! {
            received = socket.recv(&mut buffer) => {
                let length = received.map_err(unreachable)?;
                client.handle_input(&buffer[..length], clock::now());
            }
            () = sleep_until(next.into()) => client.handle_timeout(clock::now()),
        }
    }
}

async fn open(server: SocketAddr, bind: Option<IpAddr>) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((bind.unwrap_or(any), 0)).await?;
    if let Err(error) = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "bursts from the relay may be lost");
    }
    // From nobody else does anything come.
    socket.connect(server).await?;
    Ok(socket)
}

fn unreachable(error: io::Error) -> RelayError {
    RelayError::Unreachable(error.to_string())
}

/// Receives, and keeps the allocation alive.
///
/// # Errors
/// The allocation is gone.
pub(super) async fn carry(
    socket: &UdpSocket,
    shared: &Shared,
    id: RelayId,
    inbox: &dyn Inbox,
) -> Result<Infallible, RelayError> {
    tokio::select! {
        outcome = receive(socket, shared, id, inbox) => outcome,
        outcome = keep_alive(shared) => outcome,
    }
}

async fn receive(
    socket: &UdpSocket,
    shared: &Shared,
    id: RelayId,
    inbox: &dyn Inbox,
) -> Result<Infallible, RelayError> {
    let mut buffer = vec![0; LARGEST];
    loop {
        socket.readable().await.map_err(unreachable)?;
        for _ in 0..BATCH {
            match socket.try_recv(&mut buffer) {
                Ok(length) => shared.received(&buffer[..length], clock::now(), id, inbox)?,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    // Nobody is at the relay's port, or there is no way now. Both may pass, and
                    // the allocation with them or not: the next refresh tells.
                    io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable => {
                        tracing::trace!(%error, "the relay is not reached");
                    }
                    _ => return Err(unreachable(error)),
                },
            }
        }
        tokio::task::consume_budget().await;
    }
}
