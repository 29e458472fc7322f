//! Against real sockets: coturn, a server that does what each test says, a proxy.

use std::{
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::CertificateDer;
use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::mesh::tls::Tls;

mod coturn;
mod hostile;
mod own_server;
mod proxy;

/// Long enough for any machine; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(20);

/// Hands everything to the test.
struct Collector {
    packets: Mutex<mpsc::Sender<Arrival>>,
    events: Mutex<mpsc::Sender<RelayEvent>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Arrival {
    relayed: SocketAddr,
    from: SocketAddr,
    packet: Vec<u8>,
}

impl Inbox for Collector {
    fn arrived(
        &self,
        _: RelayId,
        relayed: SocketAddr,
        from: SocketAddr,
        packet: &[u8],
        _: Instant,
    ) {
        let packet = packet.to_vec();
        let arrival = Arrival {
            relayed,
            from,
            packet,
        };
        let _ = self.packets.lock().unwrap().try_send(arrival);
    }

    fn told(&self, _: RelayId, event: RelayEvent) {
        let _ = self.events.lock().unwrap().try_send(event);
    }
}

/// A relay and what comes from it.
struct Tried {
    relay: Relay,
    packets: mpsc::Receiver<Arrival>,
    events: mpsc::Receiver<RelayEvent>,
}

impl Tried {
    fn start(config: RelayConfig) -> Self {
        let (to_packets, packets) = mpsc::channel(4096);
        let (to_events, events) = mpsc::channel(64);
        let inbox = Arc::new(Collector {
            packets: Mutex::new(to_packets),
            events: Mutex::new(to_events),
        });
        let relay = Relay::start(RelayId(1), config, inbox);
        Self {
            relay,
            packets,
            events,
        }
    }

    async fn event(&mut self) -> RelayEvent {
        timeout(LONG, self.events.recv()).await.unwrap().unwrap()
    }

    /// Waits for the allocation and returns the address there.
    async fn allocated(&mut self) -> SocketAddr {
        match self.event().await {
            RelayEvent::Allocated { relayed, .. } => relayed[0],
            other => panic!("{other:?}"),
        }
    }

    async fn failed(&mut self) -> RelayError {
        match self.event().await {
            RelayEvent::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    async fn arrival(&mut self) -> Arrival {
        timeout(LONG, self.packets.recv()).await.unwrap().unwrap()
    }
}

fn server(address: SocketAddr, protocol: RelayProtocol) -> RelayServer {
    RelayServer {
        host: address.ip().to_string(),
        port: address.port(),
        protocol,
        username: "ann".to_owned(),
        credential: "secret".to_owned(),
    }
}

fn config(server: RelayServer) -> RelayConfig {
    RelayConfig {
        server,
        bind: None,
        proxy: None,
        tls: Some(Tls::trusting(Vec::new()).unwrap().relays),
    }
}

/// A certificate for some names, and its key, both as PEM.
struct Identity {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: KeyPair,
}

impl Identity {
    fn of(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "a relay of a test");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key,
        }
    }

    /// The set-up of a client that trusts it.
    fn trusted(&self) -> Arc<rustls::ClientConfig> {
        Tls::trusting(vec![self.certificate.clone()])
            .unwrap()
            .relays
    }
}
