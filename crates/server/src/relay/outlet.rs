//! The relay's sockets, and what leaves by them.
//!
//! Whatever one connection sends at once goes to one place: packets of one length after each other
//! leave together (generic segmentation offload), at the price of little more than one of them.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use quinn_udp::UdpSocketState;

use crate::datagrams::{self, Datagrams, Segments};

/// Most datagrams that leave together (`UDP_MAX_SEGMENTS` of Linux).
const MOST_DATAGRAMS: usize = 64;
/// Most bytes that leave together: those of one IP packet, without headers.
const MOST_BYTES: usize = 65_000;

/// A socket of the relay.
#[derive(Debug)]
pub(super) struct RelaySocket {
    pub(super) socket: Datagrams,
    pub(super) state: UdpSocketState,
    /// Where it is bound; unspecified if it takes what comes to any address.
    pub(super) address: SocketAddr,
}

/// By which socket, and from which address of it, somebody is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) socket: u16,
    pub(super) local: IpAddr,
}

/// What is on its way out.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) sockets: Vec<Rc<RelaySocket>>,
    to: Option<(Exit, SocketAddr)>,
    bytes: Vec<u8>,
    length: usize,
    datagrams: usize,
    /// How many were taken in all, until somebody asks.
    sent: usize,
}

impl Outlet {
    /// Sends by these sockets.
    pub(super) fn new(sockets: Vec<Rc<RelaySocket>>) -> Self {
        Self {
            sockets,
            to: None,
            bytes: Vec::with_capacity(MOST_BYTES),
            length: 0,
            datagrams: 0,
            sent: 0,
        }
    }

    /// Returns how many datagrams it was given since it was last asked.
    pub(super) fn take_sent(&mut self) -> usize {
        std::mem::take(&mut self.sent)
    }

    /// Sends a datagram, together with those before it if they go the same way.
    pub(super) fn push(&mut self, exit: Exit, to: SocketAddr, datagram: &[u8]) {
        let fits = self.to == Some((exit, to))
            && datagram.len() <= self.length
            && self.datagrams < MOST_DATAGRAMS
            && self.bytes.len() + datagram.len() <= MOST_BYTES;
        if !fits {
            self.flush();
            self.to = Some((exit, to));
            self.length = datagram.len();
        }
        self.bytes.extend_from_slice(datagram);
        self.datagrams += 1;
        self.sent += 1;
        // Only the last one may be shorter.
        if datagram.len() < self.length {
            self.flush();
        }
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) {
        let Some((exit, to)) = self.to.take() else {
            return;
        };
        if let Some(socket) = self.sockets.get(usize::from(exit.socket)) {
            let any = socket.address.ip().is_unspecified();
            let segments = Segments {
                to,
                from: any.then_some(exit.local),
                bytes: &self.bytes,
                length: self.length,
                datagrams: self.datagrams,
            };
            // Like any datagram, what cannot be sent now is lost; str0m sends it again if asked.
            let _ = datagrams::send(&socket.socket, &socket.state, &segments);
        }
        self.bytes.clear();
        self.datagrams = 0;
    }
}
