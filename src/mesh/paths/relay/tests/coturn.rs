//! Against coturn; skipped with a word where there is none.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use tempfile::TempDir;
use tokio::time::sleep;

use super::*;

/// A running coturn.
pub(super) struct Coturn {
    child: Child,
    pub(super) plain: SocketAddr,
    tls: SocketAddr,
    identity: Identity,
    _folder: TempDir,
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Coturn {
    pub(super) async fn start() -> Option<Self> {
        let (plain, tls) = (free_port(), free_port());
        Self::start_at(plain, tls, &[]).await
    }

    async fn start_at(plain: SocketAddr, tls: SocketAddr, more: &[&str]) -> Option<Self> {
        let identity = Identity::of(&["relay.test", "127.0.0.1"]);
        let folder = tempfile::tempdir().unwrap();
        let certificate = folder.path().join("certificate.pem");
        let key = folder.path().join("key.pem");
        std::fs::write(&certificate, &identity.certificate_pem).unwrap();
        std::fs::write(&key, identity.key.serialize_pem()).unwrap();
        let mut command = Command::new("turnserver");
        command
            .args("-n --no-cli --listening-ip 127.0.0.1 --relay-ip 127.0.0.1".split(' '))
            .args("--lt-cred-mech --user ann:secret --realm test --fingerprint".split(' '))
            .args("--allow-loopback-peers --no-multicast-peers --log-file stdout".split(' '))
            .args(["--listening-port", &plain.port().to_string()])
            .args(["--tls-listening-port", &tls.port().to_string()])
            .args(["--cert", certificate.to_str().unwrap()])
            .args(["--pkey", key.to_str().unwrap()])
            .args(["--pidfile", folder.path().join("pid").to_str().unwrap()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(child) = command.spawn() else {
            eprintln!("skipped: there is no turnserver here (coturn)");
            return None;
        };
        let coturn = Self {
            child,
            plain,
            tls,
            identity,
            _folder: folder,
        };
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(coturn.tls).await.is_ok()
                && tokio::net::TcpStream::connect(coturn.plain).await.is_ok()
            {
                return Some(coturn);
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("coturn does not start");
    }

    pub(super) fn config(&self, protocol: RelayProtocol) -> RelayConfig {
        let address = match protocol {
            RelayProtocol::Tls => self.tls,
            _ => self.plain,
        };
        RelayConfig {
            tls: Some(self.identity.trusted()),
            ..config(server(address, protocol))
        }
    }
}

/// An address that nobody listens at, over UDP or TCP.
fn free_port() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

const PROTOCOLS: [RelayProtocol; 3] = [RelayProtocol::Udp, RelayProtocol::Tcp, RelayProtocol::Tls];

/// RTP or RTCP by its first byte.
fn media(length: usize, number: u8) -> Vec<u8> {
    let mut packet = vec![number; length];
    packet[0] = 0x80;
    packet
}

#[tokio::test]
async fn packets_of_every_length_pass_both_ways_over_every_protocol() {
    let Some(coturn) = Coturn::start().await else {
        return;
    };
    for protocol in PROTOCOLS {
        let mut one = Tried::start(coturn.config(protocol));
        let mut other = Tried::start(coturn.config(RelayProtocol::Udp));
        let (here, there) = (one.allocated().await, other.allocated().await);
        other.relay.permit(here.ip());
        // The relay lets nothing through before it has heard of that.
        sleep(Duration::from_millis(100)).await;
        // The first ones go as indications, behind the request for their permission, and the
        // rest through a channel.
        for length in 1..=41_u8 {
            let packet = media(usize::from(length) * 30, length);
            assert!(one.relay.send(there, &packet, Class::Audio), "{protocol}");
            let arrival = other.arrival().await;
            assert_eq!((arrival.from, arrival.relayed), (here, there), "{protocol}");
            assert!(arrival.packet == packet, "{protocol} {length}");
            let packet = media(usize::from(length), length);
            assert!(other.relay.send(here, &packet, Class::Video), "{protocol}");
            let arrival = one.arrival().await;
            assert_eq!((arrival.from, arrival.relayed), (there, here), "{protocol}");
            assert!(arrival.packet == packet, "{protocol} {length}");
        }
        let figures = one.relay.figures();
        assert_eq!(figures.queue_delay, Duration::ZERO);
        let dropped = figures.audio_dropped + figures.video_dropped + figures.control_dropped;
        assert_eq!(dropped, 0, "{protocol}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_the_reason() {
    let Some(coturn) = Coturn::start().await else {
        return;
    };
    for protocol in PROTOCOLS {
        let mut config = coturn.config(protocol);
        config.server.credential = "guess".to_owned();
        let error = Tried::start(config).failed().await;
        assert_eq!(error, RelayError::Credentials, "{protocol}");
    }
}

#[tokio::test]
async fn dropping_a_relay_gives_its_allocation_back() {
    let (plain, tls) = (free_port(), free_port());
    let quota = ["--user-quota", "1"];
    let Some(coturn) = Coturn::start_at(plain, tls, &quota).await else {
        return;
    };
    let mut first = Tried::start(coturn.config(RelayProtocol::Tcp));
    first.allocated().await;
    let mut second = Tried::start(coturn.config(RelayProtocol::Udp));
    assert_eq!(second.failed().await, RelayError::Full(486));
    let mut before = first;
    for protocol in PROTOCOLS {
        drop(before);
        before = Tried::start(coturn.config(protocol));
        before.allocated().await;
    }
}

#[tokio::test]
async fn a_relay_that_was_restarted_is_allocated_at_again() {
    let (plain, tls) = (free_port(), free_port());
    let Some(mut coturn) = Coturn::start_at(plain, tls, &[]).await else {
        return;
    };
    for protocol in PROTOCOLS {
        let mut tried = Tried::start(coturn.config(protocol));
        tried.allocated().await;
        drop(coturn);
        coturn = Coturn::start_at(plain, tls, &[]).await.unwrap();
        // Over datagrams nothing tells but the next refresh.
        tried.relay.check();
        let lost = tried.event().await;
        assert!(matches!(lost, RelayEvent::Lost(_)), "{protocol}: {lost:?}");
        if protocol != RelayProtocol::Tls {
            tried.allocated().await;
        }
    }
}

#[tokio::test]
async fn a_relay_with_another_name_on_its_certificate_is_refused() {
    let Some(coturn) = Coturn::start().await else {
        return;
    };
    let mut config = coturn.config(RelayProtocol::Tls);
    config.server.host = "localhost".to_owned();
    let error = Tried::start(config).failed().await;
    assert!(matches!(error, RelayError::Tls(_)), "{error:?}");
    let stranger = RelayConfig {
        tls: Some(Identity::of(&["127.0.0.1"]).trusted()),
        ..coturn.config(RelayProtocol::Tls)
    };
    let error = Tried::start(stranger).failed().await;
    assert!(matches!(error, RelayError::Tls(_)), "{error:?}");
}
