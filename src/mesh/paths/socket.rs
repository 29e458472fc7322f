//! One UDP socket on one address of this computer, shared by all links.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use nonstop_ice::Base;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket, task::JoinSet};

use super::{interfaces::Interface, switch::Switch};
use crate::clock;

/// What a socket may hold while our tasks wait for the processor: half a second at 16 Mb/s.
const BUFFER: usize = 1 << 20;
/// How many buffers are filled by one system call; each may hold several datagrams of one sender.
const BATCH: usize = 8;
/// For how long a packet may have waited for us.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Room for what the system puts together in one buffer.
const ROOM: usize = 64 * 1024;

/// A socket, and the task that reads it.
#[derive(Debug)]
pub(super) struct UdpBase {
    pub(super) base: Base,
    pub(super) interface: Interface,
    pub(super) local: SocketAddr,
    /// The same socket for sending: not through tokio, which knows it as ready only after a first
    /// look. It does not wait: what does not fit is lost, like on the network.
    sender: std::net::UdpSocket,
    #[cfg(test)]
    sent: std::sync::atomic::AtomicU64,
    _reader: JoinSet<()>,
}

impl UdpBase {
    /// Opens the socket and begins to read it; must be called within a tokio runtime.
    pub(super) fn open(base: Base, interface: Interface, switch: &Arc<Switch>) -> io::Result<Self> {
        let address = SocketAddr::new(interface.ip, 0);
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket: std::net::UdpSocket = socket.into();
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let sizes = [
            state.set_recv_buffer_size(UdpSockRef::from(&socket), BUFFER),
            state.set_send_buffer_size(UdpSockRef::from(&socket), BUFFER),
        ];
        if let Some(error) = sizes.into_iter().find_map(Result::err) {
            tracing::debug!(%error, "the socket's buffers stay as they are");
        }
        let local = socket.local_addr()?;
        let sender = socket.try_clone()?;
        let socket = UdpSocket::from_std(socket)?;
        let mut reader = JoinSet::new();
        reader.spawn(read(socket, state, base, Arc::clone(switch)));
        Ok(Self {
            base,
            interface,
            local,
            sender,
            #[cfg(test)]
            sent: std::sync::atomic::AtomicU64::new(0),
            _reader: reader,
        })
    }

    /// Lets packets leave through this interface only, whatever the routes say; where the system
    /// does not allow that, routes decide.
    pub(super) fn keep_to_interface(&self) {
        #[cfg(target_os = "linux")]
        {
            let socket = socket2::SockRef::from(&self.sender);
            let name = self.interface.name.as_bytes();
            let bound = matches!(socket.device(), Ok(Some(_)));
            if !bound && let Err(error) = socket.bind_device(Some(name)) {
                tracing::debug!(%error, name = self.interface.name, "routes decide");
            }
        }
    }

    /// Returns how many datagrams were sent.
    #[cfg(test)]
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Sends a datagram; returns whether the system took it.
    pub(super) fn send(&self, to: SocketAddr, packet: &[u8]) -> bool {
        #[cfg(test)]
        self.sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match self.sender.send_to(packet, to) {
            Ok(_) => true,
            Err(error) => {
                tracing::trace!(%error, %to, "a packet is not sent");
                false
            }
        }
    }
}

/// Reads until the task is ended. A packet arrived when the system took it (SO_TIMESTAMPNS, where
/// there is such), not when we came to look: rate control must not take a busy computer for a full
/// network.
async fn read(socket: UdpSocket, state: UdpSocketState, base: Base, switch: Arc<Switch>) {
    let mut room = vec![0_u8; BATCH * ROOM];
    let mut metas = [RecvMeta::default(); BATCH];
    let mut last = clock::now();
    loop {
        let received = socket
            .async_io(Interest::READABLE, || {
                let mut chunks = room.chunks_mut(ROOM).map(IoSliceMut::new);
                let mut buffers: [IoSliceMut<'_>; BATCH] =
                    std::array::from_fn(|_| chunks.next().expect("room for each of the batch"));
                state.recv(UdpSockRef::from(&socket), &mut buffers, &mut metas)
            })
            .await;
        let count = match received {
            Ok(count) => count,
            // Word of an earlier packet that nobody took; the socket goes on.
            Err(error) => {
                tracing::trace!(%error, "reading a socket");
                if is_lasting(&error) {
                    return;
                }
                continue;
            }
        };
        let (now, wall) = (clock::now(), clock::unix_time());
        for (meta, buffer) in metas.iter().zip(room.chunks(ROOM)).take(count) {
            let filled = buffer.get(..meta.len).unwrap_or_default();
            let waited = meta.timestamp.map(|stamp| wall.saturating_sub(stamp));
            // More than that is another clock, or one that was set.
            let waited = waited.filter(|waited| *waited < LONGEST_WAIT);
            let arrived = now.checked_sub(waited.unwrap_or_default()).unwrap_or(now);
            last = arrived.max(last);
            for packet in filled.chunks(meta.stride.max(1)) {
                switch.handle_packet(base, meta.addr, packet, last);
            }
        }
    }
}

/// Whether an error stays: the others tell of one packet or one peer.
fn is_lasting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotConnected | io::ErrorKind::BrokenPipe | io::ErrorKind::InvalidInput
    )
}
