//! The way to the server: UDP, TCP or TLS, with a time limit on reading.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConnection, RootCertStore, StreamOwned};

/// Longer than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub(crate) fn udp(server: SocketAddr) -> Self {
        Self::udp_from(Ipv4Addr::LOCALHOST, server)
    }

    pub(crate) fn udp_from(address: Ipv4Addr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.connect(server).unwrap();
        Self::Udp(socket)
    }

    pub(crate) fn tcp(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::Tcp(stream)
    }

    /// As a browser would: with the protocol's name, which most other clients leave out.
    pub(crate) fn tls(server: SocketAddr, trusted: &RootCertStore, protocol: Option<&str>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(trusted.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocol
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let name = "localhost".try_into().unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::Tls(Box::new(StreamOwned::new(tls, stream)))
    }

    pub(crate) fn streams(&self) -> bool {
        !matches!(self, Self::Udp(_))
    }

    pub(crate) fn local(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(stream) => stream.local_addr(),
            Self::Tls(stream) => stream.sock.local_addr(),
        }
        .unwrap()
    }

    pub(crate) fn server(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.peer_addr(),
            Self::Tcp(stream) => stream.peer_addr(),
            Self::Tls(stream) => stream.sock.peer_addr(),
        }
        .unwrap()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(bytes).map(|_| ()),
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Returns a datagram, or what there is of the stream; `None` if nothing comes in time.
    pub(crate) fn receive(&mut self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        let limit = Some(limit.max(Duration::from_millis(1)));
        let mut bytes = vec![0; 65_536];
        let read = match self {
            Self::Udp(socket) => {
                socket.set_read_timeout(limit)?;
                socket.recv(&mut bytes)
            }
            Self::Tcp(stream) => {
                stream.set_read_timeout(limit)?;
                stream.read(&mut bytes)
            }
            Self::Tls(stream) => {
                stream.sock.set_read_timeout(limit)?;
                stream.read(&mut bytes)
            }
        };
        match read {
            Ok(read) => {
                bytes.truncate(read);
                Ok(Some(bytes))
            }
            Err(cause)
                if matches!(
                    cause.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                Ok(None)
            }
            Err(cause) => Err(cause),
        }
    }
}
