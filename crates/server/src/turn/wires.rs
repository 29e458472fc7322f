//! The sockets of the TURN server: what the machine sends goes out here.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
    rc::Rc,
    time::Instant,
};

use quinn_udp::UdpSocketState;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::datagrams::{self, Datagrams, Segments};

use super::{
    allocation::{Client, Relay, Way},
    bundles::{Bundle, Bundles, Exit},
    machine::Outlet,
    stream::Stream,
};

/// How many ports are tried for a relay socket: with three quarters of them in use one in a
/// million fails.
const ATTEMPTS: usize = 48;

/// A socket on which clients' datagrams come.
#[derive(Debug)]
pub(crate) struct ListenerSocket {
    pub(crate) socket: Datagrams,
    pub(crate) state: UdpSocketState,
    /// Where it is bound; unspecified if it takes what comes to any address.
    pub(crate) address: SocketAddr,
}

/// A relay socket, and the task that reads it.
struct OpenRelay {
    socket: Rc<Datagrams>,
    /// Ends with the socket.
    _reading: Option<AbortOnDropHandle<()>>,
}

/// All sockets.
pub(crate) struct Wires {
    pub(crate) listeners: Vec<Rc<ListenerSocket>>,
    relays: HashMap<Relay, OpenRelay>,
    pub(crate) streams: HashMap<u64, Stream>,
    /// Those to which something was just put.
    touched: HashSet<u64>,
    bundles: Bundles,
    ports: RangeInclusive<u16>,
    /// For sockets that have no special set-up.
    pub(crate) plain: UdpSocketState,
    /// Relay sockets that nobody reads yet.
    opened: Vec<(Relay, Rc<Datagrams>)>,
    now: Instant,
}

impl Wires {
    /// Has no relay sockets and no connections yet.
    ///
    /// # Errors
    /// Fails if the system gives no sockets.
    pub(crate) fn new(
        listeners: Vec<Rc<ListenerSocket>>,
        ports: RangeInclusive<u16>,
        now: Instant,
    ) -> io::Result<Self> {
        let any = UdpSocket::bind(("127.0.0.1", 0)).or_else(|_| UdpSocket::bind(("::1", 0)))?;
        Ok(Self {
            listeners,
            relays: HashMap::new(),
            streams: HashMap::new(),
            touched: HashSet::new(),
            bundles: Bundles::default(),
            ports,
            plain: UdpSocketState::new((&any).into())?,
            opened: Vec::new(),
            now,
        })
    }

    /// Tells what time it is for what follows.
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Returns the relay sockets that were opened since the last time.
    pub(crate) fn take_opened(&mut self) -> Vec<(Relay, Rc<Datagrams>)> {
        std::mem::take(&mut self.opened)
    }

    /// Keeps the task that reads a relay socket for as long as the socket is open.
    pub(crate) fn keep_reading(&mut self, relay: Relay, reading: AbortOnDropHandle<()>) {
        if let Some(open) = self.relays.get_mut(&relay) {
            open._reading = Some(reading);
        }
    }

    /// Sends all that waits. Connections that turn out to be broken are ended.
    pub(crate) fn flush(&mut self) {
        self.flush_datagrams();
        for number in std::mem::take(&mut self.touched) {
            self.flush_stream(number);
        }
    }

    /// Sends what waits in a connection.
    pub(crate) fn flush_stream(&mut self, number: u64) {
        if let Some(stream) = self.streams.get_mut(&number)
            && let Err(cause) = stream.flush(self.now)
        {
            debug!(%cause, "a connection broke");
            self.end_stream(number);
        }
    }

    /// Forgets a connection; its task ends and tells the machine.
    pub(crate) fn end_stream(&mut self, number: u64) {
        if let Some(stream) = self.streams.remove(&number) {
            stream.wake.notify_one();
        }
    }

    fn push(&mut self, exit: Exit, to: SocketAddr, parts: &[&[u8]]) {
        if !self.bundles.push(exit, to, parts) {
            self.flush_datagrams();
            self.bundles.push(exit, to, parts);
        }
    }

    fn flush_datagrams(&mut self) {
        let bundles = self.bundles.take();
        for bundle in &bundles {
            // Like any datagram, what cannot be sent now is lost.
            let _ = self.send(bundle);
        }
        self.bundles.reuse(bundles);
    }

    fn send(&self, bundle: &Bundle) -> io::Result<()> {
        match bundle.exit {
            Exit::Relay(relay) => match self.relays.get(&relay) {
                Some(open) => {
                    let from = None;
                    datagrams::send(&open.socket, &self.plain, &segments(bundle, from))
                }
                None => Ok(()),
            },
            Exit::Listener(number, local) => match self.listeners.get(usize::from(number)) {
                Some(listener) => {
                    let any = listener.address.ip().is_unspecified();
                    let segments = segments(bundle, any.then_some(local));
                    datagrams::send(&listener.socket, &listener.state, &segments)
                }
                None => Ok(()),
            },
        }
    }
}

fn segments(bundle: &Bundle, from: Option<IpAddr>) -> Segments<'_> {
    Segments {
        to: bundle.to,
        from,
        bytes: &bundle.bytes,
        length: bundle.length,
        datagrams: bundle.datagrams,
    }
}

impl Outlet for Wires {
    fn open(&mut self, relay: Relay, address: IpAddr, even: bool) -> io::Result<u16> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..ATTEMPTS {
            let port = random_port(&self.ports, even)?;
            let wanted = SocketAddr::new(address, port);
            match datagrams::open(wanted, datagrams::RELAY_BUFFER).and_then(Datagrams::new) {
                Ok(socket) => {
                    let socket = Rc::new(socket);
                    self.opened.push((relay, Rc::clone(&socket)));
                    let open = OpenRelay {
                        socket,
                        _reading: None,
                    };
                    self.relays.insert(relay, open);
                    return Ok(port);
                }
                Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => last = cause,
                Err(cause) => {
                    warn!(%cause, %address, "no relay socket");
                    return Err(cause);
                }
            }
        }
        warn!("the ports for relaying are used up");
        Err(last)
    }

    fn close(&mut self, relay: Relay) {
        self.relays.remove(&relay);
    }

    fn own(&mut self, address: IpAddr) -> bool {
        is_own(address).unwrap_or(true)
    }

    fn answer(&mut self, client: &Client, bytes: &[u8]) {
        match client.way {
            Way::Listener(number) => {
                self.push(
                    Exit::Listener(number, client.local),
                    client.remote,
                    &[bytes],
                );
            }
            Way::Stream(number) => {
                let Some(stream) = self.streams.get_mut(&number) else {
                    return;
                };
                if stream.push_answer(bytes) {
                    self.touched.insert(number);
                } else {
                    debug!("a client takes no answers");
                    self.end_stream(number);
                }
            }
        }
    }

    fn to_client(&mut self, client: &Client, head: &[u8], payload: &[u8], padded: bool) {
        match client.way {
            Way::Listener(number) => {
                let length = head.len() + payload.len();
                let padding = match padded {
                    true => &[0; 4][..length.next_multiple_of(4) - length],
                    false => &[],
                };
                let exit = Exit::Listener(number, client.local);
                self.push(exit, client.remote, &[head, payload, padding]);
            }
            Way::Stream(number) => {
                if let Some(stream) = self.streams.get_mut(&number)
                    && stream.push_datagram(head, payload)
                {
                    self.touched.insert(number);
                }
            }
        }
    }

    fn to_peer(&mut self, relay: Relay, peer: SocketAddr, payload: &[u8]) {
        self.push(Exit::Relay(relay), peer, &[payload]);
    }
}

/// Tells whether an address is this computer's: then it is also the one by which this computer
/// would talk to it. Nothing is sent.
fn is_own(address: IpAddr) -> io::Result<bool> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    match socket.connect((address, 9)) {
        Ok(()) => Ok(socket.local_addr()?.ip() == address),
        // There is no way to it, so it is not here.
        Err(_) => Ok(false),
    }
}

/// Returns by which address this computer reaches the internet, if it does.
pub(crate) fn outward(somewhere: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match somewhere {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((somewhere, 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

fn random_port(ports: &RangeInclusive<u16>, even: bool) -> io::Result<u16> {
    let number = getrandom::u32().map_err(io::Error::other)?;
    let count = u32::from(ports.end().saturating_sub(*ports.start())) + 1;
    let port = ports.start() + (number % count) as u16;
    Ok(match even && port % 2 == 1 {
        // One less may be one too few.
        true if port > *ports.start() => port - 1,
        true => port.saturating_add(1).min(*ports.end()),
        false => port,
    })
}
