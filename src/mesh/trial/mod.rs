//! A connection test before anybody waits: what of the meeting server, of UDP and of the relays
//! can be reached from here, and how much goes through.
//!
//! ```text
//! join a throw-away room ─ welcome ─┬─ STUN ────────────┐
//!       (5 s)                       ├─ relay over UDP ──┤   the best one: a second allocation,
//!                                   ├─ relay over TCP ──┼─▶ packets from one to the other and
//!                                   └─ relay over TLS ──┘   back to us (2 s)
//!                                     (5 s, all at once)
//! ```
//!
//! The relays are asked for at once, for a few packets each disturb nobody; the rate is measured
//! alone. It goes in a loop, so what is found is the smaller of up and down: nothing but the relay
//! could tell the two apart, and it does not.

mod rate;
mod stun;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_ice::RelayProtocol;
use nonstop_rate::Bitrate;
use nonstop_seal::MeetingKeys;
use nonstop_wire::{IceServer, MeetingLink, ParticipantId};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at},
};

use self::rate::Arrivals;
use super::{
    paths::{
        Path,
        relay::{Class, Inbox, Relay, RelayConfig, RelayEvent, RelayId, RelayServer},
    },
    proxy::{Proxies, ProxyChoice},
    signalling::{Seat, look_in},
    tls::Tls,
};
use crate::clock;

/// How long the server may take, and how long the relays.
const STEP_LIMIT: Duration = Duration::from_secs(5);
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(12);
/// How long the way through a relay and back may take to open: a permission on both ends.
const OPENING: Duration = Duration::from_millis(1_500);
/// How often it is tried whether it is open.
const KNOCK: Duration = Duration::from_millis(50);
/// How often the train is looked at: the pauses between packets are short beside the window.
const TICK: Duration = Duration::from_millis(5);
/// The payload of a packet of the train: what a packet with a picture has.
const PACKET: usize = 1_100;
/// What packets of the train begin with, so that nothing else is counted.
const MARK: [u8; 8] = *b"nonstop?";

/// What a test is told at its start.
#[derive(Debug, Clone)]
pub struct TrialConfig {
    /// A room that nobody uses, on the server to be tried.
    pub link: MeetingLink,
    /// The proxy on the way.
    pub proxy: ProxyChoice,
}

/// What a test found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialNews {
    /// The server let us in.
    Reached {
        /// How long that took, from the name to the welcome.
        after: Duration,
        /// What it offers.
        offers: Offers,
    },
    /// It could not be reached, or did not let us in, for this reason.
    NotReached(String),
    /// The round trip of a question over UDP, or nothing where no answer came.
    Udp(Option<Duration>),
    /// A way through a relay works, with this round trip, or does not, for this reason.
    Relay {
        /// The way.
        path: Path,
        /// What came of it.
        outcome: Result<Duration, String>,
    },
    /// At least so much went through the best relay in a loop; nothing where too little came back
    /// to tell.
    Rate {
        /// The way to the relay.
        path: Path,
        /// What arrived.
        rate: Option<Bitrate>,
    },
    /// It is over; the last news.
    Over,
}

/// What a meeting server offers to find ways with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offers {
    /// Something that answers over UDP.
    pub udp: bool,
    /// A relay over UDP.
    pub relay_udp: bool,
    /// A relay over TCP.
    pub relay_tcp: bool,
    /// A relay over TLS.
    pub relay_tls: bool,
}

impl Offers {
    /// Tells what these servers offer.
    pub(crate) fn of(servers: &[IceServer]) -> Self {
        let relays: Vec<_> = servers
            .iter()
            .flat_map(RelayServer::from_ice_server)
            .collect();
        let over = |protocol| relays.iter().any(|relay| relay.protocol == protocol);
        Self {
            udp: !stun::places(servers).is_empty(),
            relay_udp: over(RelayProtocol::Udp),
            relay_tcp: over(RelayProtocol::Tcp),
            relay_tls: over(RelayProtocol::Tls),
        }
    }

    /// Tells whether a way through a relay is offered.
    pub fn relay(&self, path: Path) -> bool {
        match path {
            Path::TurnUdp => self.relay_udp,
            Path::TurnTcp => self.relay_tcp,
            Path::TurnTls => self.relay_tls,
            Path::Direct | Path::Relay => false,
        }
    }

    /// Tells whether any is.
    pub fn any_relay(&self) -> bool {
        self.relay_udp || self.relay_tcp || self.relay_tls
    }
}

/// A running test. Dropping it ends it where it is.
#[derive(Debug)]
pub struct Trial {
    news: mpsc::Receiver<TrialNews>,
    _task: JoinSet<()>,
}

impl Trial {
    /// Starts; must be called within a tokio runtime.
    pub fn start(config: TrialConfig) -> Self {
        // A dozen words in all; full while nobody listens: then the test waits.
        let (sender, news) = mpsc::channel(16);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let run = Box::pin(run(&config, &sender));
            if timeout(LIMIT, run).await.is_err() {
                tracing::debug!("the connection test took too long");
            }
            let _ = sender.send(TrialNews::Over).await;
        });
        Self { news, _task: task }
    }

    /// Returns what was found next; none after [`TrialNews::Over`].
    pub async fn next(&mut self) -> Option<TrialNews> {
        self.news.recv().await
    }
}

async fn run(config: &TrialConfig, news: &mpsc::Sender<TrialNews>) {
    let end = clock::now() + LIMIT;
    let bits = getrandom::u64().expect("the system has a source of random numbers");
    let proxies = config.proxy.proxies();
    let seat = Seat {
        proxies: proxies.clone(),
        url: config.link.signalling_url(),
        room: config.link.room().clone(),
        admission: MeetingKeys::derive(config.link.secret(), config.link.room()).admission(),
        me: ParticipantId::from_bits(bits),
    };
    let began = clock::now();
    let (welcome, welcomed) = match timeout(STEP_LIMIT, look_in(&seat)).await {
        Ok(Ok(welcome)) => welcome,
        Ok(Err(error)) => {
            let _ = news.send(TrialNews::NotReached(error.to_string())).await;
            return;
        }
        Err(_) => {
            let late = "it does not answer in time".to_owned();
            let _ = news.send(TrialNews::NotReached(late)).await;
            return;
        }
    };
    let servers = welcome.ice_servers;
    let reached = TrialNews::Reached {
        after: welcomed.saturating_duration_since(began),
        offers: Offers::of(&servers),
    };
    let _ = news.send(reached).await;

    let (best, ()) = tokio::join!(ask_relays(&servers, &proxies, news), async {
        let places = stun::places(&servers);
        if !places.is_empty() {
            let answer = timeout(STEP_LIMIT, stun::ask(&places)).await;
            let _ = news.send(TrialNews::Udp(answer.ok().flatten())).await;
        }
    });
    let Some((relay, mut packets)) = best else {
        return;
    };
    let path = path_of(relay.config.server.protocol);
    let measured = measure(relay, &mut packets);
    let rate = timeout_at(end.into(), measured).await.ok().flatten();
    let _ = news.send(TrialNews::Rate { path, rate }).await;
}

fn path_of(protocol: RelayProtocol) -> Path {
    match protocol {
        RelayProtocol::Udp => Path::TurnUdp,
        RelayProtocol::Tcp => Path::TurnTcp,
        RelayProtocol::Tls => Path::TurnTls,
    }
}

/// A relay that works.
struct Ready {
    relay: Relay,
    config: RelayConfig,
    relayed: SocketAddr,
}

/// What comes from the relays.
enum Fact {
    Told(RelayId, RelayEvent),
    Arrived(RelayId, Instant, usize),
}

/// Hands on what comes from the relays, which must not wait.
struct Post(mpsc::Sender<Fact>);

impl Inbox for Post {
    fn arrived(
        &self,
        relay: RelayId,
        _relayed: SocketAddr,
        _from: SocketAddr,
        packet: &[u8],
        at: Instant,
    ) {
        if packet.starts_with(&MARK) {
            let _ = self.0.try_send(Fact::Arrived(relay, at, packet.len()));
        }
    }

    fn told(&self, relay: RelayId, event: RelayEvent) {
        let _ = self.0.try_send(Fact::Told(relay, event));
    }
}

/// Asks for an allocation on every relay, and tells of each way what came of it. Returns the best
/// one and where its packets come; the others are given back.
async fn ask_relays(
    servers: &[IceServer],
    proxies: &Proxies,
    news: &mpsc::Sender<TrialNews>,
) -> Option<(Ready, (mpsc::Receiver<Fact>, Arc<Post>))> {
    let tls = Tls::shared().map(|tls| tls.relays);
    let tls = tls.inspect_err(|error| tracing::warn!(%error, "no relay over TLS can be tried"));
    let tls = tls.ok();
    // Full where more than a window of the train waits for us: what is lost is not counted.
    let (post, mut facts) = mpsc::channel(1_024);
    let post = Arc::new(Post(post));
    let mut open = HashMap::new();
    for (number, server) in (0..).zip(servers.iter().flat_map(RelayServer::from_ice_server)) {
        let protected = server.protocol == RelayProtocol::Tls;
        let proxy = match server.protocol {
            RelayProtocol::Udp => None,
            RelayProtocol::Tcp | RelayProtocol::Tls => proxies.toward(&server.host, protected),
        };
        let config = RelayConfig {
            server,
            bind: None,
            proxy,
            tls: tls.clone(),
        };
        let inbox: Arc<dyn Inbox> = post.clone();
        let id = RelayId(number);
        open.insert(id, (Relay::start(id, config.clone(), inbox), config));
    }

    let mut best: Option<Ready> = None;
    let mut settled = Vec::new();
    let end = clock::now() + STEP_LIMIT;
    while !open.is_empty() {
        let Ok(Some(Fact::Told(id, event))) = timeout_at(end.into(), facts.recv()).await else {
            break;
        };
        let outcome = match event {
            RelayEvent::Allocated {
                relayed,
                round_trip,
                ..
            } => match relayed.first() {
                Some(relayed) => Ok((*relayed, round_trip)),
                None => Err("the relay gave no address".to_owned()),
            },
            RelayEvent::Failed(error) | RelayEvent::Lost(error) => Err(error.to_string()),
            RelayEvent::Expires { .. } => continue,
        };
        let Some((relay, config)) = open.remove(&id) else {
            continue;
        };
        let path = path_of(config.server.protocol);
        let another = open
            .values()
            .any(|(_, other)| path_of(other.server.protocol) == path);
        // One that works is enough; that none does is known when the last has failed.
        if settled.contains(&path) || (outcome.is_err() && another) {
            continue;
        }
        settled.push(path);
        if let Ok((relayed, _)) = outcome
            && best
                .as_ref()
                .is_none_or(|best| rank(&config) < rank(&best.config))
        {
            best = Some(Ready {
                relay,
                config,
                relayed,
            });
        }
        let outcome = outcome.map(|(_, trip)| trip);
        let _ = news.send(TrialNews::Relay { path, outcome }).await;
    }
    for path in open
        .values()
        .map(|(_, config)| path_of(config.server.protocol))
    {
        if !settled.contains(&path) {
            settled.push(path);
            let outcome = Err("the relay did not answer in time".to_owned());
            let _ = news.send(TrialNews::Relay { path, outcome }).await;
        }
    }
    Some((best?, (facts, post)))
}

fn rank(config: &RelayConfig) -> u8 {
    match config.server.protocol {
        RelayProtocol::Udp => 0,
        RelayProtocol::Tcp => 1,
        RelayProtocol::Tls => 2,
    }
}

/// Sends the train from one allocation to another of ours, and counts what comes back.
async fn measure(
    near: Ready,
    (facts, post): &mut (mpsc::Receiver<Fact>, Arc<Post>),
) -> Option<Bitrate> {
    const FAR: RelayId = RelayId(u32::MAX);
    let inbox: Arc<dyn Inbox> = post.clone();
    let far = Relay::start(FAR, near.config.clone(), inbox);
    let address = loop {
        match facts.recv().await? {
            Fact::Told(FAR, RelayEvent::Allocated { relayed, .. }) => {
                let same_family = |there: &&SocketAddr| there.is_ipv4() == near.relayed.is_ipv4();
                break *relayed.iter().find(same_family)?;
            }
            Fact::Told(FAR, event) => {
                tracing::debug!(?event, "no second place on the relay");
                return None;
            }
            Fact::Told(..) | Fact::Arrived(..) => {}
        }
    };
    far.permit(near.relayed.ip());
    near.relay.permit(address.ip());
    let mut packet = vec![0; PACKET];
    packet[..MARK.len()].copy_from_slice(&MARK);

    let knocking = async {
        let mut knock = interval(KNOCK);
        loop {
            tokio::select! {
                _ = knock.tick() => {
                    near.relay.send(address, &packet[..MARK.len()], Class::Control);
                }
                fact = facts.recv() => match fact {
                    Some(Fact::Arrived(FAR, ..)) => break true,
                    Some(_) => {}
                    None => break false,
                },
            }
        }
    };
    if !matches!(timeout(OPENING, knocking).await, Ok(true)) {
        tracing::debug!("nothing comes back through the relay");
        return None;
    }
    // What was knocked with is not to be counted.
    sleep(KNOCK).await;
    while facts.try_recv().is_ok() {}

    let began = clock::now();
    let end = began + rate::TRAIN + rate::TAIL;
    let mut arrivals = Arrivals::default();
    let mut sent = 0;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            () = sleep_until(end.into()) => break,
            fact = facts.recv() => match fact {
                Some(Fact::Arrived(FAR, at, bytes)) => arrivals.handle(at, bytes),
                Some(_) => {}
                None => break,
            },
            _ = tick.tick() => {
                let due = rate::due(clock::now().saturating_duration_since(began)).bytes();
                while sent + PACKET as u64 <= due {
                    sent += PACKET as u64;
                    // As pictures: what a full stream would keep waiting is dropped.
                    near.relay.send(address, &packet, Class::Video);
                }
            }
        }
    }
    arrivals.best()
}
