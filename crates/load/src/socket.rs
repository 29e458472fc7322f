//! A UDP socket that tells when the kernel received each packet, so that a receiver that is late
//! itself measures no delay of its own.

use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};
use tokio::{io::Interest, net::UdpSocket};

/// Room for bursts: a busy machine lets a receiver wait.
const BUFFER: usize = 4 << 20;
/// Room for what the kernel puts together.
const SPACE: usize = 1 << 16;

thread_local! {
    /// One for all sockets of a thread: nothing stays in it.
    static SPACES: RefCell<Vec<u8>> = RefCell::new(vec![0; BATCH_SIZE * SPACE]);
}

/// A socket of one participant.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// Packets that the kernel did not take.
    pub(crate) refused: u64,
}

impl Socket {
    /// Binds a port at `address`.
    pub(crate) fn bind(address: IpAddr) -> io::Result<Self> {
        let address = SocketAddr::new(address, 0);
        let raw = RawSocket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        // The kernel gives as much as it may.
        let _ = raw.set_recv_buffer_size(BUFFER);
        let _ = raw.set_send_buffer_size(BUFFER);
        raw.set_nonblocking(true)?;
        raw.bind(&SockAddr::from(address))?;
        let socket = UdpSocket::from_std(raw.into())?;
        let state = UdpSocketState::new((&socket).into())?;
        let local = socket.local_addr()?;
        Ok(Self {
            socket,
            state,
            local,
            refused: 0,
        })
    }

    /// Returns the address it is bound to.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits until something has arrived.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Takes what has arrived, at most a batch, and gives each packet with its sender and the time of
    /// its arrival since the Unix epoch. Returns whether there was anything.
    pub(crate) fn receive(
        &self,
        mut each: impl FnMut(SocketAddr, Option<Duration>, &[u8]),
    ) -> io::Result<bool> {
        SPACES.with_borrow_mut(|space| {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let received = {
                let mut slices: Vec<IoSliceMut<'_>> =
                    space.chunks_mut(SPACE).map(IoSliceMut::new).collect();
                self.socket.try_io(Interest::READABLE, || {
                    self.state
                        .recv((&self.socket).into(), &mut slices, &mut metas)
                })
            };
            let count = match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                // What an ICMP message reports concerns an earlier packet.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(true),
                received => received?,
            };
            for (meta, space) in metas.iter().zip(space.chunks(SPACE)).take(count) {
                for packet in space[..meta.len].chunks(meta.stride.max(1)) {
                    each(meta.addr, meta.timestamp, packet);
                }
            }
            Ok(count > 0)
        })
    }

    /// Sends a packet; one that the kernel does not take is lost, and counted.
    pub(crate) fn send(&mut self, to: SocketAddr, packet: &[u8]) {
        if self.socket.try_send_to(packet, to).is_err() {
            self.refused += 1;
        }
    }
}
