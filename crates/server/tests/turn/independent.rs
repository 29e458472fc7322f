//! A client that somebody else wrote: `turn-client-proto`, which knows nothing of this server.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use turn_client_proto::{
    api::{TransmitBuild, TurnClientApi, TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet},
    stun::{agent::Transmit, types::TransportType},
    tcp::TurnClientTcp,
    types::{AddressFamily, TurnCredentials},
    udp::TurnClientUdp,
};

use crate::{
    raw::Login,
    wire::{PATIENCE, Wire},
};

turn_client_proto::impl_client!(AnyClient, (Udp, TurnClientUdp), (Tcp, TurnClientTcp));

pub(crate) struct Independent {
    client: AnyClient,
    wire: Wire,
    began: Instant,
    pub(crate) relayed: Vec<SocketAddr>,
    arrived: Vec<(SocketAddr, Vec<u8>)>,
}

impl Independent {
    /// Allocates; fails as the server wants it.
    pub(crate) fn allocate(
        wire: Wire,
        login: &Login,
        families: &[AddressFamily],
    ) -> Result<Self, ()> {
        let credentials = TurnCredentials::new(&login.username, &login.password);
        let mut config = TurnConfig::new(credentials);
        config.set_address_family(families[0]);
        for family in families {
            config.add_address_family(*family);
        }
        let (local, server) = (wire.local(), wire.server());
        let client = match wire.streams() {
            true => AnyClient::Tcp(TurnClientTcp::allocate(local, server, config)),
            false => AnyClient::Udp(TurnClientUdp::allocate(local, server, config)),
        };
        let mut this = Self {
            client,
            wire,
            began: now(),
            relayed: Vec::new(),
            arrived: Vec::new(),
        };
        while this.relayed.len() < families.len() {
            match this.next_event().ok_or(())? {
                TurnEvent::AllocationCreated(_, address) => this.relayed.push(address),
                TurnEvent::AllocationCreateFailed(_) => return Err(()),
                other => panic!("{other:?}"),
            }
        }
        Ok(this)
    }

    pub(crate) fn permit(&mut self, peer: IpAddr) -> bool {
        let now = self.now();
        self.client
            .create_permission(TransportType::Udp, peer, now)
            .unwrap();
        match self.next_event() {
            Some(TurnEvent::PermissionCreated(..)) => true,
            Some(TurnEvent::PermissionCreateFailed(..)) => false,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn bind(&mut self, peer: SocketAddr) -> bool {
        let now = self.now();
        self.client
            .bind_channel(TransportType::Udp, peer, now)
            .unwrap();
        loop {
            match self.next_event() {
                Some(TurnEvent::ChannelCreated(..)) => return true,
                Some(TurnEvent::ChannelCreateFailed(..)) => return false,
                // A channel brings a permission with it.
                Some(TurnEvent::PermissionCreated(..)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn send(&mut self, peer: SocketAddr, payload: &[u8]) {
        let now = self.now();
        let sent = self
            .client
            .send_to(TransportType::Udp, peer, payload.to_vec(), now);
        let transmit: Option<TransmitBuild<_>> = sent.unwrap();
        let bytes = transmit
            .expect("this client says what to send")
            .build()
            .data;
        self.wire.send(&bytes).unwrap();
    }

    pub(crate) fn receive(&mut self, limit: Duration) -> Option<(SocketAddr, Vec<u8>)> {
        let until = now() + limit;
        while self.arrived.is_empty() && now() < until {
            self.turn(until);
        }
        (!self.arrived.is_empty()).then(|| self.arrived.remove(0))
    }

    /// Refreshes to nothing.
    pub(crate) fn delete(mut self) -> Wire {
        let at = self.now();
        self.client.delete(at).unwrap();
        // It is sent, answered, and this client has ended.
        let until = now() + PATIENCE;
        while now() < until && self.turn(until) {}
        self.wire
    }

    fn next_event(&mut self) -> Option<TurnEvent> {
        let until = now() + PATIENCE;
        while now() < until {
            if let Some(event) = self.client.poll_event() {
                return Some(event);
            }
            if !self.turn(until) {
                return self.client.poll_event();
            }
        }
        None
    }

    /// Lets the client do what is due, then takes what comes; false once the client has ended.
    fn turn(&mut self, until: Instant) -> bool {
        let due = match self.client.poll(self.now()) {
            TurnPollRet::WaitUntil(due) => due.to_std(self.began),
            TurnPollRet::Closed => return false,
            other => panic!("{other:?}"),
        };
        while let Some(transmit) = self.client.poll_transmit(self.now()) {
            self.wire.send(&transmit.data).unwrap();
        }
        let wait = due.min(until).saturating_duration_since(now());
        let wait = wait.min(Duration::from_millis(50));
        let Some(bytes) = self.wire.receive(wait).unwrap() else {
            return true;
        };
        assert!(!bytes.is_empty(), "the server closed the connection");
        let transport = match self.wire.streams() {
            true => TransportType::Tcp,
            false => TransportType::Udp,
        };
        let transmit = Transmit::new(bytes, transport, self.wire.server(), self.wire.local());
        let at = self.now();
        if let TurnRecvRet::PeerData(data) = self.client.recv(transmit, at) {
            self.arrived.push((data.peer, data.data().to_vec()));
        }
        while let Some(data) = self.client.poll_recv(at) {
            self.arrived.push((data.peer, data.data().to_vec()));
        }
        true
    }

    fn now(&self) -> turn_client_proto::types::Instant {
        turn_client_proto::types::Instant::from_std(self.began)
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no clock file")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
