//! Any messages to the TURN server, proven and not, any data from peers, in any order, while time
//! passes: no panic, as many sockets as allocations need, and nothing to whom nothing may be sent.
#![no_main]

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use stun_types::{
    attribute::{Nonce, Realm, Username},
    message::{
        IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageType,
        MessageWrite, MessageWriteExt, MessageWriteVec, Method,
    },
};

#[path = "../../crates/server/src/bucket.rs"]
mod bucket;

mod config {
    /// As in the server's own configuration.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Rate {
        pub burst: f64,
        pub per_second: f64,
    }
}
pub use config::Rate;

mod doors {
    pub(crate) fn network(address: std::net::IpAddr) -> std::net::IpAddr {
        address
    }
}

#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/server/src/turn"]
mod turn {
    pub(crate) mod accounts;
    pub(crate) mod allocation;
    pub(crate) mod config;
    pub(crate) mod credentials;
    pub(crate) mod frames;
    pub(crate) mod machine;
    pub(crate) mod message;
    pub(crate) mod nonces;
    pub(crate) mod peers;
    pub(crate) mod requests;
    pub(crate) mod slab;
}

use turn::{
    allocation::{Client, Family, Relay, Way},
    config::{TurnConfig, TurnLimits},
    credentials::password,
    frames,
    machine::{Machine, Now, Outlet, Seed},
    peers::PeerPolicy,
};

const SECRET: &str = "north";
const OWN: &str = "198.51.100.1";

/// Counts sockets, and looks at whom something is sent to.
#[derive(Default)]
struct World {
    open: HashSet<Relay>,
    ports: u16,
    nonce: Option<String>,
}

impl Outlet for World {
    fn open(&mut self, relay: Relay, address: IpAddr, even: bool) -> io::Result<u16> {
        assert_eq!(Family::of(address), relay.family);
        self.ports = self.ports.wrapping_add(2);
        if self.ports % 64 == 0 {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        assert!(self.open.insert(relay), "opened once");
        Ok(10_000 + (self.ports & 0x3ffe) + u16::from(!even))
    }

    fn close(&mut self, relay: Relay) {
        assert!(self.open.remove(&relay), "it was open");
    }

    fn own(&mut self, address: IpAddr) -> bool {
        address == OWN.parse::<IpAddr>().unwrap()
    }

    fn answer(&mut self, _client: &Client, bytes: &[u8]) {
        let message = Message::from_bytes(bytes).expect("answers can be read");
        if let Ok(nonce) = message.attribute::<Nonce>() {
            self.nonce = Some(nonce.nonce().to_owned());
        }
    }

    fn to_client(&mut self, _client: &Client, head: &[u8], payload: &[u8], _padded: bool) {
        assert!(head.len() >= 4 && head.len() + payload.len() <= 66_000);
    }

    fn to_peer(&mut self, relay: Relay, peer: SocketAddr, _payload: &[u8]) {
        assert!(self.open.contains(&relay));
        assert_eq!(Family::of(peer.ip()), relay.family);
        assert!(PeerPolicy::default().permits(peer.ip()), "{peer}");
        assert_ne!(peer.ip(), OWN.parse::<IpAddr>().unwrap(), "stays inside");
    }
}

fuzz_target!(|data: &[u8]| {
    let config = TurnConfig {
        limits: TurnLimits {
            allocations: 6,
            allocations_per_participant: 3,
            permissions: 4,
            channels: 4,
            ..TurnLimits::default()
        },
        ..TurnConfig::default()
    };
    let outward = [
        Some(OWN.parse().unwrap()),
        Some("2001:db8::1".parse().unwrap()),
    ];
    let seed = Seed {
        nonces: [1; 32],
        transactions: [2; 8],
    };
    let mut machine = Machine::new(config, SECRET.to_owned(), outward, &seed);
    let mut world = World::default();
    #[expect(clippy::disallowed_methods, reason = "where time begins")]
    let mut now = Now {
        instant: Instant::now(),
        unix: Duration::from_secs(1_000_000),
    };
    let mut rest = data;
    while let [kind, who, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        let number = u16::from(who % 8);
        let client = Client {
            way: if number < 4 {
                Way::Listener(0)
            } else {
                Way::Stream(number.into())
            },
            remote: SocketAddr::from(([203, 0, 113, 1], 1000 + number)),
            local: OWN.parse().unwrap(),
        };
        match kind % 6 {
            0 => machine.handle_client(&client, bytes, now, &mut world),
            1 => {
                if let Some(signed) = sign(bytes, who / 8, &mut world, &mut machine, &client, now) {
                    machine.handle_client(&client, &signed, now, &mut world);
                }
            }
            2 => {
                let relays: Vec<_> = world.open.iter().copied().collect();
                if let Some(relay) = relays.get(usize::from(*who) % relays.len().max(1)) {
                    let peer = SocketAddr::from(([203, 0, 113, 9], number));
                    machine.handle_peer(*relay, peer, bytes, now.instant, &mut world);
                }
            }
            3 => {
                let passed = Duration::from_secs(u64::from(*who) * 4);
                now.instant += passed;
                now.unix += passed;
                machine.handle_timeout(now.instant, &mut world);
                assert!(machine.poll_timeout().is_none_or(|due| due > now.instant));
            }
            4 => machine.handle_gone(&client, &mut world),
            _ => {
                let mut stream = bytes;
                while let Ok(Some(frame)) = frames::take(&mut stream, frames::LONGEST) {
                    machine.handle_client(&client, frame, now, &mut world);
                }
            }
        }
        assert!(world.open.len() <= 12, "two for each of six allocations");
        if !machine.serves(&client) && world.open.is_empty() {
            assert_eq!(machine.poll_timeout(), None);
        }
    }
});

/// Makes a message of the attributes in `bytes`, proven by one of a few users.
fn sign(
    bytes: &[u8],
    user: u8,
    world: &mut World,
    machine: &mut Machine,
    client: &Client,
    now: Now,
) -> Option<Vec<u8>> {
    let (method, attributes) = bytes.split_first()?;
    let mut stranger = Message::builder_request(Method::new(3), MessageWriteVec::new());
    stranger.add_fingerprint().ok()?;
    machine.handle_client(client, &stranger.finish(), now, world);
    let nonce = world.nonce.clone()?;
    let expiry = now.unix.as_secs() + u64::from(user) * 10;
    let username = format!("{expiry}:{}", user % 4);
    let key = LongTermKeyCredentials::new(
        username.clone(),
        password(SECRET, &username),
        "nonstop".to_owned(),
    );
    let kind =
        MessageType::from_class_method(MessageClass::Request, Method::new(u16::from(method % 12)));
    let mut message = Message::builder(kind, u128::from(*method).into(), MessageWriteVec::new());
    message.push_data(attributes);
    message.push_data(&[0; 4][..attributes.len().next_multiple_of(4) - attributes.len()]);
    message
        .add_attribute(&Username::new(&username).ok()?)
        .ok()?;
    message.add_attribute(&Realm::new("nonstop").ok()?).ok()?;
    message.add_attribute(&Nonce::new(&nonce).ok()?).ok()?;
    message
        .add_message_integrity(&key.into(), IntegrityAlgorithm::Sha1)
        .ok()?;
    Some(message.finish())
}
