//! A UDP socket that wakes nobody but for what came in, and is read and written in batches.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// What the system is asked to hold for a listener until it is read: 50 ms at a gigabit.
pub(crate) const LISTENER_BUFFER: usize = 4 << 20;
/// The same for a relay socket: 100 ms of what a participant may receive.
pub(crate) const RELAY_BUFFER: usize = 512 << 10;

/// Room for one datagram, or for many that the system put together. Not a power of two, so that
/// all of them are not in the same lines of the cache.
pub(crate) const SLOT: usize = 65_536 + 512;

/// Opens a socket that does not block.
pub(crate) fn open(address: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The system may give less.
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Whether more may be waiting in a socket than was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    All,
    Maybe,
}

/// A socket that belongs to the runtime.
///
/// On Unix it is registered for reading only: otherwise each datagram that leaves would wake the
/// thread once more.
#[derive(Debug)]
pub(crate) struct Datagrams {
    #[cfg(unix)]
    socket: tokio::io::unix::AsyncFd<UdpSocket>,
    #[cfg(not(unix))]
    socket: tokio::net::UdpSocket,
}

impl Datagrams {
    #[cfg(unix)]
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe for types that may change their descriptor; this does not"
    )]
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let interest = tokio::io::Interest::READABLE;
        let socket = tokio::io::unix::AsyncFd::with_interest(socket, interest)?;
        Ok(Self { socket })
    }

    #[cfg(not(unix))]
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        Ok(Self { socket })
    }

    /// Waits until something came, and has it read.
    #[cfg(unix)]
    pub(crate) async fn receive(
        &self,
        mut read: impl FnMut(UdpSockRef<'_>) -> io::Result<Read>,
    ) -> io::Result<()> {
        let mut ready = self.socket.readable().await?;
        let outcome = ready.try_io(|socket| until_empty(read(socket.get_ref().into())));
        outcome.unwrap_or(Ok(()))
    }

    #[cfg(not(unix))]
    pub(crate) async fn receive(
        &self,
        mut read: impl FnMut(UdpSockRef<'_>) -> io::Result<Read>,
    ) -> io::Result<()> {
        self.socket.readable().await?;
        let interest = tokio::io::Interest::READABLE;
        let outcome = self
            .socket
            .try_io(interest, || until_empty(read((&self.socket).into())));
        match outcome {
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(()),
            outcome => outcome,
        }
    }

    /// Returns the socket for sending.
    pub(crate) fn sender(&self) -> SockRef<'_> {
        SockRef::from(self.inner())
    }

    /// Returns the socket for sending in batches.
    pub(crate) fn batch_sender(&self) -> UdpSockRef<'_> {
        UdpSockRef::from(self.inner())
    }

    #[cfg(unix)]
    fn inner(&self) -> &UdpSocket {
        self.socket.get_ref()
    }

    #[cfg(not(unix))]
    fn inner(&self) -> &tokio::net::UdpSocket {
        &self.socket
    }
}

/// Lets the runtime know that a socket is empty, which saves the read that would find out.
fn until_empty(read: io::Result<Read>) -> io::Result<()> {
    match read? {
        Read::Maybe => Ok(()),
        Read::All => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Reads as many datagrams as there are room for into the slots of `scratch`.
pub(crate) fn receive<const MOST: usize>(
    state: &UdpSocketState,
    socket: UdpSockRef<'_>,
    scratch: &mut [u8],
    meta: &mut [RecvMeta; MOST],
) -> io::Result<usize> {
    let mut slots = scratch.chunks_mut(SLOT);
    let mut slots: [IoSliceMut<'_>; MOST] =
        std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
    state.recv(socket, &mut slots, meta)
}

/// Datagrams of one length to one place; only the last may be shorter.
#[derive(Debug)]
pub(crate) struct Segments<'a> {
    pub(crate) to: SocketAddr,
    /// From which address of the socket, if that is not clear.
    pub(crate) from: Option<IpAddr>,
    pub(crate) bytes: &'a [u8],
    /// The length of each.
    pub(crate) length: usize,
    pub(crate) datagrams: usize,
}

/// Sends them, one after the other if the system does not take them whole.
pub(crate) fn send(
    socket: &Datagrams,
    state: &UdpSocketState,
    segments: &Segments<'_>,
) -> io::Result<()> {
    let Segments {
        to, bytes, length, ..
    } = segments;
    if segments.datagrams == 1 && segments.from.is_none() {
        return socket.sender().send_to(bytes, &(*to).into()).map(|_| ());
    }
    let transmit = |contents, segment_size| Transmit {
        destination: *to,
        ecn: None,
        contents,
        segment_size,
        src_ip: segments.from,
    };
    let whole = segments.datagrams == 1 || state.max_gso_segments() >= segments.datagrams;
    if whole {
        let sent = state.try_send(socket.batch_sender(), &transmit(bytes, Some(*length)));
        match sent {
            // Not every network card and tunnel can cut bundles; then the state knows by now.
            Err(cause) if segments.datagrams > 1 && cause.kind() != io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
    }
    for contents in bytes.chunks((*length).max(1)) {
        state.try_send(socket.batch_sender(), &transmit(contents, None))?;
    }
    Ok(())
}
