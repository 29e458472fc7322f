//! A relay over a stream: TCP, TLS, either through a proxy.

use std::{convert::Infallible, io, net::SocketAddr};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
    time::sleep_until,
};

use super::{
    Inbox, RelayConfig, RelayError, RelayId, RelayProtocol,
    client::Client,
    frame::{Frames, NoFrame},
    request::{Credentials, PATIENCE},
    task::{Allocated, Shared, allocated, converse, keep_alive},
};
use crate::{
    clock,
    mesh::dial::{Destination, DialError, Stream, dial},
};

/// How much may wait in the system that the network has not taken yet, in bytes: what is in
/// there can no longer be overtaken or dropped. It is 160 ms at 200 kb/s.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 4 * 1024;
/// Where the system has no such limit: how much may wait or be on its way, in bytes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SEND_BUFFER: usize = 48 * 1024;
/// How much is read at once, in bytes.
const READ: usize = 16 * 1024;

/// A stream on which an allocation was made.
pub(super) struct Made {
    stream: Stream,
    frames: Frames,
}

impl Made {
    /// Returns our own address.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.stream.tcp().local_addr().ok()
    }
}

impl From<DialError> for RelayError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::NotFound(error) => Self::NotFound(error.to_string()),
            DialError::NoAnswer(error) => Self::Unreachable(error.to_string()),
            DialError::Proxy(error) => Self::Proxy(error),
            DialError::Tls(error) => Self::Tls(error.to_string()),
        }
    }
}

impl From<NoFrame> for RelayError {
    fn from(_: NoFrame) -> Self {
        Self::NotARelay("it sends neither STUN nor ChannelData")
    }
}

/// Reaches the relay and makes an allocation. Whoever calls limits the time.
///
/// # Errors
/// There is no way to it, or it refuses.
pub(super) async fn allocate(
    config: &RelayConfig,
    credentials: &Credentials,
) -> Result<(Client, Made, Allocated), RelayError> {
    let server = &config.server;
    let protected = server.protocol == RelayProtocol::Tls;
    let destination = Destination {
        host: server.host.clone(),
        port: server.port,
        bind: config.bind,
        tls: config.tls.clone().filter(|_| protected),
        proxy: config.proxy.clone(),
    };
    let mut stream = dial(&destination).await?;
    hold_little(stream.tcp());
    let mut frames = Frames::default();
    let mut client = converse(credentials.clone(), true);
    let mut buffer = vec![0; READ];
    loop {
        while let Some(message) = client.poll_transmit() {
            stream.write_all(&message).await.map_err(closed)?;
            stream.flush().await.map_err(closed)?;
        }
        if let Some(found) = allocated(&mut client)? {
            return Ok((client, Made { stream, frames }, found));
        }
        let next = client.poll_timeout().unwrap_or(clock::now() + PATIENCE);
        tokio::select! {
            read = stream.read(&mut buffer) => {
                let length = read.map_err(closed)?;
                if length == 0 {
                    return Err(RelayError::Closed);
                }
                frames.fill(&buffer[..length]);
                while let Some(frame) = frames.next()? {
                    client.handle_input(frame, clock::now());
                }
            }
            () = sleep_until(next.into()) => client.handle_timeout(clock::now()),
        }
    }
}

fn hold_little(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let limited = socket.set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let limited = socket.set_send_buffer_size(SEND_BUFFER);
    if let Err(error) = limited {
        tracing::debug!(%error, "pictures may become stale on their way to the relay");
    }
}

fn closed(error: io::Error) -> RelayError {
    tracing::debug!(%error, "the stream to the relay broke");
    RelayError::Closed
}

/// Reads, writes, and keeps the allocation alive.
///
/// # Errors
/// The allocation is gone.
pub(super) async fn carry(
    made: Made,
    shared: &Shared,
    id: RelayId,
    inbox: &dyn Inbox,
) -> Result<Infallible, RelayError> {
    let (reader, writer) = split(made.stream);
    tokio::select! {
        outcome = read(reader, made.frames, shared, id, inbox) => outcome,
        outcome = write(writer, shared) => outcome,
        outcome = keep_alive(shared) => outcome,
    }
}

async fn read(
    mut stream: ReadHalf<Stream>,
    mut frames: Frames,
    shared: &Shared,
    id: RelayId,
    inbox: &dyn Inbox,
) -> Result<Infallible, RelayError> {
    let mut buffer = vec![0; READ];
    loop {
        while let Some(frame) = frames.next()? {
            shared.received(frame, clock::now(), id, inbox)?;
        }
        let length = stream.read(&mut buffer).await.map_err(closed)?;
        if length == 0 {
            return Err(RelayError::Closed);
        }
        frames.fill(&buffer[..length]);
    }
}

async fn write(mut stream: WriteHalf<Stream>, shared: &Shared) -> Result<Infallible, RelayError> {
    loop {
        // One at a time: what is chosen cannot be overtaken any more.
        while let Some(frame) = shared.pop(clock::now()) {
            stream.write_all(&frame).await.map_err(closed)?;
            stream.flush().await.map_err(closed)?;
        }
        shared.filled.notified().await;
    }
}
