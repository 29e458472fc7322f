//! The sockets under a connection: on every interface, with room for a burst, and watched for
//! the one message by which our own DTLS says that the other side is not who was named.

use std::{
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::mpsc;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit, UdpSockRef, UdpSocketState,
};

use super::PeerEvent;

/// What a socket may hold while our task waits for the processor: half a second at 16 Mb/s.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Every address of this computer, looked up anew at each bind, so that a restart follows a
/// changed network. Loopback is among them: a call on one computer needs no network.
#[derive(Debug, Clone, Copy)]
pub(super) struct EveryInterface;

impl ToSocketAddrs for EveryInterface {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let mut addresses: Vec<SocketAddr> = usable_addresses()?
            .map(|ip| SocketAddr::new(ip, 0))
            .collect();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        if !addresses.contains(&loopback) {
            addresses.push(loopback);
        }
        Ok(addresses.into_iter())
    }
}

/// Returns the addresses of this computer through which others can be reached, in order; none where
/// they cannot be told.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = match usable_addresses() {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            tracing::debug!(%error, "the addresses of this computer cannot be told");
            Vec::new()
        }
    };
    addresses.sort_unstable();
    addresses
}

fn usable_addresses() -> io::Result<impl Iterator<Item = IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?.into_iter();
    Ok(interfaces.map(|interface| interface.ip()).filter(usable))
}

/// Link-local addresses mean nothing to the other side; one loopback address is enough.
fn usable(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_loopback() && !ip.is_unspecified(),
    }
}

/// tokio, with our sockets.
pub(super) struct OurRuntime {
    pub(super) events: mpsc::Sender<PeerEvent>,
}

impl fmt::Debug for OurRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OurRuntime")
    }
}

impl Runtime for OurRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let options = UdpSocketState::new(UdpSockRef::from(&socket))?;
        if let Err(error) = options.set_recv_buffer_size(UdpSockRef::from(&socket), RECEIVE_BUFFER)
        {
            tracing::debug!(%error, "the receive buffer stays as it is");
        }
        Ok(Arc::new(WatchedSocket {
            socket: TokioRuntime.wrap_udp_socket(socket)?,
            events: self.events.clone(),
        }))
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        TokioRuntime.resolve_host(host)
    }

    fn now(&self) -> std::time::Instant {
        crate::clock::now()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }
}

struct WatchedSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    events: mpsc::Sender<PeerEvent>,
}

impl fmt::Debug for WatchedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl AsyncUdpSocket for WatchedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if refuses_certificate(transmit.contents) {
            // Full means that the link has worse to hear of already.
            let _ = self.events.try_send(PeerEvent::CertificateRefused);
        }
        self.socket.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(cx, bufs, meta)
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

/// Tells whether a datagram we send is the DTLS alert "bad certificate" (RFC 5246 section 7.2),
/// straight or in TURN ChannelData (RFC 8656 section 12.4).
///
/// webrtc-rs checks the certificate against the fingerprint of the description, refuses it with
/// this alert and tells nobody. What we send ourselves cannot be forged by others.
fn refuses_certificate(datagram: &[u8]) -> bool {
    let record = match datagram {
        [0x40..=0x4f, _, _, _, record @ ..] => record,
        record => record,
    };
    // Type alert, any version, epoch 0 (not encrypted yet), then level fatal, bad_certificate.
    matches!(
        record,
        [21, 254, _, 0, 0, _, _, _, _, _, _, 0, 2, 2, 42, ..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_of_a_certificate_is_recognised_and_nothing_else() {
        let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 2, 42];
        assert!(refuses_certificate(&alert));
        let mut relayed = vec![0x40, 0, 0, 15];
        relayed.extend(alert);
        assert!(refuses_certificate(&relayed));
        let mut close = alert;
        close[13] = 1;
        close[14] = 0;
        assert!(!refuses_certificate(&close));
        let mut encrypted = alert;
        encrypted[4] = 1;
        assert!(!refuses_certificate(&encrypted));
        assert!(!refuses_certificate(&[]));
        assert!(!refuses_certificate(&[21, 254]));
    }

    #[test]
    fn loopback_is_among_the_addresses() {
        let mut addresses = EveryInterface
            .to_socket_addrs()
            .expect("interfaces can be listed");
        assert!(addresses.any(|address| address.ip().is_loopback()));
    }
}
