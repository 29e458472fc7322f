//! A synthetic participant of a meeting: what it says to the server, and what it asks of the relay.

mod half;
mod page;

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use nonstop_seal::{MeetingKeys, SealedChannel};
use nonstop_wire::{
    ClientMessage, MeetingLink, PROTOCOL_VERSION, ParticipantId, ParticipantState, PeerMessage,
    Published, ServerMessage, Token, Welcome,
};
use tokio::{net::TcpStream, time::sleep};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::{
    clock,
    endpoint::{Endpoint, Happening, Tally},
    options::Misuse,
    scene::{Phase, Scene, Summary},
    transport,
};

/// Before connecting again, as an application waits the first time.
const BACK_OFF: Duration = Duration::from_millis(500);
/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the whole of connecting may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is read of a WebSocket at once. The library clears that much each time it looks, and it looks
/// after every packet of media.
pub(crate) const READ_BUFFER: usize = 4096;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One participant.
pub(crate) struct Participant {
    scene: Scene,
    link: MeetingLink,
    keys: MeetingKeys,
    id: ParticipantId,
    resume: Option<Token>,
    connection: u32,
    connected: bool,
    endpoint: Option<Endpoint>,
    /// Who publishes what.
    published: BTreeMap<ParticipantId, Published>,
    watched: Vec<ParticipantId>,
    deaf_to: Vec<ParticipantId>,
    layers: HashMap<ParticipantId, Option<u8>>,
    channels: HashMap<ParticipantId, SealedChannel>,
    knows: Vec<ParticipantId>,
    page: usize,
    turned: Instant,
    began: Instant,
    welcomed: Instant,
    /// The last packet before the connection was lost.
    silent_since: Option<Instant>,
    summary: Summary,
}

impl Participant {
    /// Makes the participant with this number.
    pub(crate) fn new(scene: Scene, index: usize) -> anyhow::Result<Self> {
        let link = scene.options.link.clone().context("no link")?;
        let keys = MeetingKeys::derive(link.secret(), link.room());
        let now = clock::now();
        let id = ParticipantId::from_bits(random()?);
        scene.bring(id);
        Ok(Self {
            keys,
            link,
            id,
            resume: None,
            connection: 0,
            connected: false,
            endpoint: None,
            published: BTreeMap::new(),
            watched: Vec::new(),
            deaf_to: Vec::new(),
            layers: HashMap::new(),
            channels: HashMap::new(),
            knows: Vec::new(),
            page: 0,
            turned: now,
            began: now,
            welcomed: now,
            silent_since: None,
            summary: Summary {
                index,
                ..Summary::default()
            },
            scene,
        })
    }

    /// Takes part until the run is over; connects again whenever the connection breaks.
    pub(crate) async fn take_part(mut self) -> Summary {
        let mut phase = self.scene.phase.clone();
        let mut counted = Tally::default();
        loop {
            let over = async {
                let _ = phase.wait_for(|phase| *phase == Phase::Over).await;
                sleep(FAREWELL).await;
            };
            let ended = tokio::select! {
                ended = self.session() => Some(ended),
                () = over => None,
            };
            if let Some(endpoint) = &mut self.endpoint {
                self.silent_since = self.silent_since.or(endpoint.heard);
                counted.add(&endpoint.tally(clock::now()));
            }
            let Some(Err(error)) = ended else {
                break;
            };
            tracing::info!(who = self.summary.index, "connection ended: {error:#}");
            self.summary.failure = Some(format!("{error:#}"));
            self.endpoint = None;
            sleep(BACK_OFF).await;
        }
        for layer in self
            .watched
            .iter()
            .map(|who| self.layers.get(who).copied().flatten())
        {
            let place = layer.map_or(3, usize::from).min(3);
            self.summary.allotted[place] += 1;
        }
        self.summary.watched = self.watched.len();
        self.summary.tally = counted;
        self.summary
    }

    /// One connection to the server and to its relay.
    async fn session(&mut self) -> anyhow::Result<()> {
        // An application has its certificate before anybody is called: drawing one takes a while.
        let rtc = transport::participant(clock::now());
        self.began = clock::now();
        let (mut socket, welcome) = tokio::time::timeout(PATIENCE, self.join()).await??;
        self.welcomed = clock::now();
        self.resume = Some(welcome.resume);
        self.knows = welcome.participants;
        if !welcome.relay {
            bail!("the server has no relay");
        }
        self.published.clear();
        self.watched.clear();
        self.layers.clear();
        for peer in self.knows.clone() {
            self.introduce(&mut socket, peer).await?;
        }
        Box::pin(self.open(rtc, &mut socket)).await?;
        let mut phase = self.scene.phase.clone();
        phase.mark_changed();
        loop {
            let Self { endpoint, .. } = self;
            let step = async {
                match endpoint {
                    Some(endpoint) => endpoint.step().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = socket.next() => {
                    let message = message.context("the server ended the connection")??;
                    if let Message::Text(text) = message {
                        let message = ServerMessage::decode(text.as_str())?;
                        self.hear(message, &mut socket).await?;
                    }
                }
                happened = step => match happened? {
                    Some(Happening::Connected) => self.connected(),
                    Some(Happening::Lost) => bail!("the connection to the relay broke"),
                    None => {}
                },
                changed = phase.changed() => {
                    changed?;
                    let phase = *phase.borrow_and_update();
                    match phase {
                        Phase::Arriving => {}
                        Phase::Counting => self.begin_counting(),
                        Phase::Over => return say(&mut socket, &ClientMessage::Leave).await,
                    }
                }
            }
            self.look();
            self.turn_page(&mut socket).await?;
        }
    }

    async fn join(&mut self) -> anyhow::Result<(Socket, Welcome)> {
        let limits = Some(WebSocketConfig::default().read_buffer_size(READ_BUFFER));
        let (mut socket, _) =
            connect_async_with_config(self.link.signalling_url(), limits, true).await?;
        let join = ClientMessage::Join {
            version: PROTOCOL_VERSION,
            room: self.link.room().clone(),
            admission: self.keys.admission(),
            participant: self.id,
            resume: self.resume.clone(),
        };
        say(&mut socket, &join).await?;
        loop {
            let message = socket
                .next()
                .await
                .context("the server ended the connection")??;
            let Message::Text(text) = message else {
                continue;
            };
            match ServerMessage::decode(text.as_str())? {
                ServerMessage::Welcome(welcome) => return Ok((socket, welcome)),
                ServerMessage::Error { code, message } => {
                    // The seat is gone: the next time as somebody new.
                    self.resume = None;
                    self.id = ParticipantId::from_bits(random()?);
                    self.scene.bring(self.id);
                    self.channels.clear();
                    bail!("refused: {code:?}, {message}");
                }
                _ => {}
            }
        }
    }

    async fn hear(&mut self, message: ServerMessage, socket: &mut Socket) -> anyhow::Result<()> {
        match message {
            ServerMessage::RelayOpened(opened) if opened.connection == self.connection => {
                self.opened(&opened)?;
            }
            ServerMessage::RelayClosed { connection } if connection == self.connection => {
                bail!("the relay closed the connection")
            }
            ServerMessage::Published(published) => {
                self.expect(&published);
                self.published.insert(published.participant, published);
                self.watch(socket).await?;
            }
            ServerMessage::Unpublished { participant }
            | ServerMessage::Left { participant, .. } => {
                if let (Some(published), Some(endpoint)) =
                    (self.published.remove(&participant), &mut self.endpoint)
                {
                    endpoint.pictures(published.pictures_ssrc).rest();
                }
                self.knows.retain(|known| {
                    *known != participant || matches!(message, ServerMessage::Unpublished { .. })
                });
                self.watch(socket).await?;
            }
            ServerMessage::Joined { participant } => {
                self.knows.push(participant);
                self.introduce(socket, participant).await?;
            }
            ServerMessage::Wanted(wanted) => {
                if let Some(player) = self
                    .endpoint
                    .as_mut()
                    .and_then(|endpoint| endpoint.player.as_mut())
                {
                    player.set_wanted(wanted.sound, &wanted.layers);
                }
            }
            ServerMessage::Allotted { pictures } => self.allot(&pictures),
            ServerMessage::Error { code, message } => {
                tracing::warn!(?code, message, "the server refuses something");
            }
            _ => {}
        }
        Ok(())
    }

    fn connected(&mut self) {
        tracing::debug!(who = self.summary.index, after = ?clock::now().saturating_duration_since(self.welcomed), "connected to the relay");
        if !std::mem::replace(&mut self.connected, true) {
            self.scene.arrived();
        }
    }

    fn begin_counting(&mut self) {
        self.summary.changes = 0;
        let floods = self.summary.index == 0 && self.scene.options.misuse == Some(Misuse::Flood);
        if let Some(player) = (self.endpoint.as_mut()).and_then(|endpoint| endpoint.player.as_mut())
            && floods
        {
            player.flood(clock::now());
        }
        if let Some(endpoint) = &mut self.endpoint {
            let before = endpoint.begin_counting(clock::now());
            self.summary.sound_lost_before = before.sound.lost;
        }
    }

    /// Tells somebody a name and that the relay is the way, as applications do.
    async fn introduce(&mut self, socket: &mut Socket, peer: ParticipantId) -> anyhow::Result<()> {
        if !self.scene.options.introduce {
            return Ok(());
        }
        let state = ParticipantState {
            name: format!("{} {}", self.scene.options.name, self.summary.index + 1),
            microphone: self.summary.index < self.scene.options.microphones(),
            camera: self.summary.index < self.scene.options.cameras(),
            knows: self.knows.clone(),
            relay: true,
        };
        let (keys, id) = (&self.keys, self.id);
        let channel =
            (self.channels.entry(peer)).or_insert_with(|| SealedChannel::new(keys, id, peer));
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce)?;
        let sealed = channel.seal(&PeerMessage::State(state), nonce);
        say(socket, &ClientMessage::Send { to: peer, sealed }).await
    }
}

async fn say(socket: &mut Socket, message: &ClientMessage) -> anyhow::Result<()> {
    Ok(socket.send(Message::text(message.encode())).await?)
}

/// A random number.
fn random<T: FromBytes>() -> anyhow::Result<T> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(T::from_bytes(bytes))
}

/// What can be drawn at random.
trait FromBytes {
    fn from_bytes(bytes: [u8; 8]) -> Self;
}

impl FromBytes for u32 {
    fn from_bytes([a, b, c, d, ..]: [u8; 8]) -> Self {
        Self::from_be_bytes([a, b, c, d])
    }
}

impl FromBytes for u64 {
    fn from_bytes(bytes: [u8; 8]) -> Self {
        Self::from_be_bytes(bytes)
    }
}
