//! A synthetic participant of a meeting: what it says to the server, and what it asks of the relay.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use nonstop_seal::{MeetingKeys, SealedChannel};
use nonstop_wire::{
    Allotted, ClientMessage, LayerSize, MeetingLink, PROTOCOL_VERSION, ParticipantId,
    ParticipantState, PeerMessage, Publish, Published, RelayOpen, RelayOpened, ServerMessage,
    Token, Watch, Watched, Welcome,
};
use str0m::{
    Candidate, IceCreds,
    config::Fingerprint,
    media::{MediaKind, Mid, Pt},
    net::Protocol,
    rtp::Ssrc,
};
use tokio::{net::TcpStream, time::sleep};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config, tungstenite::Message,
};

use crate::{
    clock,
    endpoint::{Endpoint, Expected, Happening, Outlet, Tally},
    options::Misuse,
    player::{Player, Turns},
    scene::{Phase, Scene, Summary},
    transport::{self, EXTENSIONS, PAYLOAD_TYPES},
};

/// Before connecting again, as an application waits the first time.
const BACK_OFF: Duration = Duration::from_millis(500);
/// How long the whole of connecting may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The hash of certificates that the protocol has.
const HASH: &str = "sha-256 ";

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
        let link: MeetingLink = (scene.options.link.as_deref().context("no link")?).parse()?;
        let keys = MeetingKeys::derive(link.secret(), link.room());
        let now = clock::now();
        Ok(Self {
            keys,
            link,
            id: ParticipantId::from_bits(random()?),
            resume: None,
            connection: 0,
            connected: false,
            endpoint: None,
            published: BTreeMap::new(),
            watched: Vec::new(),
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
            let ended = tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase == Phase::Over) => None,
                ended = self.session() => Some(ended),
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
        self.open(&mut socket).await?;
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
                    if *phase.borrow_and_update() == Phase::Counting {
                        self.begin_counting();
                    }
                }
            }
            self.look();
            self.turn_page(&mut socket).await?;
        }
    }

    async fn join(&mut self) -> anyhow::Result<(Socket, Welcome)> {
        let (mut socket, _) =
            connect_async_with_config(self.link.signalling_url(), None, true).await?;
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
                    self.channels.clear();
                    bail!("refused: {code:?}, {message}");
                }
                _ => {}
            }
        }
    }

    /// Asks for a connection to the relay, and says at once what will be sent.
    async fn open(&mut self, socket: &mut Socket) -> anyhow::Result<()> {
        let MaybeTlsStream::Plain(_) = socket.get_ref() else {
            bail!("only plain connections, as loopback and private addresses have, are made here");
        };
        let address = match socket.get_ref() {
            MaybeTlsStream::Plain(stream) => stream.local_addr()?.ip(),
            _ => bail!("only plain connections"),
        };
        let (mut endpoint, open) = self.half(address)?;
        self.connection += 1;
        let layers = self.sizes();
        endpoint.player = Some(self.player(layers.len())?);
        if self.summary.index == 0 {
            endpoint.nags = self.scene.options.misuse == Some(Misuse::Keyframes);
        }
        self.endpoint = Some(endpoint);
        say(
            socket,
            &ClientMessage::RelayOpen(RelayOpen {
                connection: self.connection,
                ..open
            }),
        )
        .await?;
        let sound = self.summary.index < self.scene.options.microphones();
        if sound || !layers.is_empty() {
            let publish = Publish {
                sound,
                layers,
                preferred: true,
            };
            say(socket, &ClientMessage::Publish(publish)).await?;
        }
        self.watch(socket).await
    }

    /// Makes the endpoint and its half of the connection's description.
    fn half(&self, address: IpAddr) -> anyhow::Result<(Endpoint, RelayOpen)> {
        let mut endpoint = Endpoint::new(transport::participant(clock::now()), address)?;
        let sound = random::<u32>()? | 1;
        let layers: Vec<u32> = (0..self.sizes().len() as u32)
            .map(|layer| sound.wrapping_add(2 * layer + 2))
            .collect();
        let mut api = endpoint.rtc.direct_api();
        api.set_ice_controlling(true);
        let mid = Mid::from("a");
        api.declare_media(mid, MediaKind::Audio);
        api.declare_stream_tx(Ssrc::from(sound), None, mid, None);
        let mut outlets = Vec::new();
        for (index, ssrc) in layers.iter().enumerate() {
            let mid = Mid::from(format!("v{index}").as_str());
            api.declare_media(mid, MediaKind::Video);
            api.declare_stream_tx(Ssrc::from(*ssrc), None, mid, None);
            outlets.push(outlet(mid, *ssrc, PAYLOAD_TYPES.pictures));
        }
        api.declare_media(Mid::from("w"), MediaKind::Video);
        let IceCreds { ufrag, pass } = api.local_ice_credentials();
        let fingerprint = api.local_dtls_fingerprint().to_string();
        let fingerprint = fingerprint
            .strip_prefix(HASH)
            .context("another hash than SHA-256")?;
        let open = RelayOpen {
            connection: 0,
            ufrag,
            password: pass,
            fingerprint: fingerprint.to_owned(),
            sound,
            layers,
            payload_types: PAYLOAD_TYPES,
            extensions: EXTENSIONS,
        };
        endpoint.sound = Some(outlet(mid, sound, PAYLOAD_TYPES.sound));
        endpoint.layers = outlets;
        Ok((endpoint, open))
    }

    fn sizes(&self) -> Vec<LayerSize> {
        if self.summary.index >= self.scene.options.cameras() {
            return Vec::new();
        }
        (self.scene.recording.layers.iter())
            .map(|layer| LayerSize {
                width: layer.width,
                height: layer.height,
            })
            .collect()
    }

    fn player(&self, layers: usize) -> anyhow::Result<Player> {
        let options = &self.scene.options;
        let turns = Turns {
            people: options.microphones(),
            voices: options.voices,
            index: self.summary.index,
        };
        // Cameras do not take their pictures at the same moment.
        let phase = Duration::from_millis(u64::from(random::<u32>()? % 40));
        let start = clock::now() + phase;
        Ok(Player::new(
            self.scene.recording.clone(),
            layers,
            turns,
            !options.clean,
            random()?,
            start,
        ))
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
                self.published.remove(&participant);
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

    fn opened(&mut self, opened: &RelayOpened) -> anyhow::Result<()> {
        let endpoint = self.endpoint.as_mut().context("nothing was opened")?;
        let local = endpoint.socket.local();
        let address = (opened.addresses.iter()).find(|address| {
            address.is_ipv4() == local.is_ipv4()
                && address.ip().is_loopback() == local.ip().is_loopback()
        });
        let address = *address.context("the relay has no address that can be reached")?;
        endpoint
            .rtc
            .add_remote_candidate(Candidate::host(address, Protocol::Udp)?);
        let mut api = endpoint.rtc.direct_api();
        api.set_remote_ice_credentials(IceCreds {
            ufrag: opened.ufrag.clone(),
            pass: opened.password.clone(),
        });
        let fingerprint: Fingerprint = format!("{HASH}{}", opened.fingerprint)
            .parse()
            .map_err(anyhow::Error::msg)?;
        api.set_remote_fingerprint(fingerprint);
        api.start_dtls(true)?;
        api.enable_twcc_feedback();
        endpoint.run()
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
            endpoint.begin_counting();
        }
    }

    fn expect(&mut self, published: &Published) {
        let Some(endpoint) = &mut self.endpoint else {
            return;
        };
        let sound = Expected {
            mid: Mid::from("a"),
            repair: None,
            sound: true,
            declare: true,
        };
        let pictures = Expected {
            mid: Mid::from("w"),
            repair: Some(published.repair_ssrc),
            sound: false,
            declare: true,
        };
        if (self.published.get(&published.participant))
            .is_none_or(|known| known.pictures_ssrc != published.pictures_ssrc)
        {
            endpoint.expect(published.sound_ssrc, sound);
            endpoint.expect(published.pictures_ssrc, pictures);
        }
    }

    /// Watches the page that is due, if it is another than before.
    async fn watch(&mut self, socket: &mut Socket) -> anyhow::Result<()> {
        if !self.scene.options.watches(self.summary.index) {
            if self.watched.is_empty() {
                let nothing = Watch {
                    deaf: true,
                    ..Watch::default()
                };
                say(socket, &ClientMessage::Watch(nothing)).await?;
            }
            return Ok(());
        }
        let publishers: Vec<_> = (self.published.values())
            .filter(|published| published.pictures)
            .map(|published| published.participant)
            .collect();
        let page = self.scene.options.page.min(publishers.len());
        let first = (self.summary.index + self.page) * self.scene.options.page;
        let watched: Vec<_> = (0..page)
            .map(|tile| publishers[(first + tile) % publishers.len()])
            .collect();
        if watched == self.watched && !watched.is_empty() {
            return Ok(());
        }
        let now = clock::now();
        for who in watched.iter().filter(|who| !self.watched.contains(who)) {
            if let (Some(endpoint), Some(published)) = (&mut self.endpoint, self.published.get(who))
            {
                endpoint.pictures(published.pictures_ssrc).watch(now);
            }
        }
        for who in self.watched.iter().filter(|who| !watched.contains(who)) {
            self.layers.remove(who);
            if let (Some(endpoint), Some(published)) = (&mut self.endpoint, self.published.get(who))
            {
                endpoint.pictures(published.pictures_ssrc).rest();
            }
        }
        self.watched = watched;
        let (width, height) = self.scene.options.tile;
        let pictures = (self.watched.iter())
            .map(|who| Watched {
                participant: *who,
                width,
                height,
            })
            .collect();
        let watch = Watch {
            pictures,
            ..Watch::default()
        };
        say(socket, &ClientMessage::Watch(watch)).await
    }

    async fn turn_page(&mut self, socket: &mut Socket) -> anyhow::Result<()> {
        let now = clock::now();
        let due = (self.scene.options.flip)
            .is_some_and(|flip| now.saturating_duration_since(self.turned) >= flip);
        if !due || self.watched.is_empty() {
            return Ok(());
        }
        self.turned = now;
        self.page += 1;
        self.watch(socket).await
    }

    fn allot(&mut self, pictures: &[Allotted]) {
        let now = clock::now();
        for allotted in pictures {
            let before = self.layers.insert(allotted.participant, allotted.layer);
            let (Some(endpoint), Some(published)) = (
                &mut self.endpoint,
                self.published.get(&allotted.participant),
            ) else {
                continue;
            };
            let reception = endpoint.pictures(published.pictures_ssrc);
            match (before.flatten(), allotted.layer) {
                (Some(before), Some(after)) if before != after => {
                    self.summary.changes += 1;
                    reception.switch(now);
                }
                (Some(_), None) => {
                    self.summary.changes += 1;
                    reception.rest();
                }
                (None, Some(_)) if before.is_some() => {
                    self.summary.changes += 1;
                    reception.watch(now);
                }
                _ => {}
            }
        }
    }

    /// Notes the first picture of all, and the first after a loss of the connection.
    fn look(&mut self) {
        if self.summary.first_picture.is_some() && self.silent_since.is_none() {
            return;
        }
        let (Some(endpoint), watched) = (&mut self.endpoint, &self.watched) else {
            return;
        };
        let whole = (watched.iter())
            .filter_map(|who| self.published.get(who))
            .any(|published| endpoint.pictures(published.pictures_ssrc).counts.pictures > 0);
        if !whole {
            return;
        }
        let now = clock::now();
        if self.summary.first_picture.is_none() {
            self.summary.first_picture = Some((
                now.saturating_duration_since(self.welcomed),
                now.saturating_duration_since(self.began),
            ));
        }
        if let Some(silent) = self.silent_since.take() {
            self.summary
                .outages
                .push(now.saturating_duration_since(silent));
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

fn outlet(mid: Mid, ssrc: u32, payload_type: u8) -> Outlet {
    Outlet {
        mid,
        ssrc: Ssrc::from(ssrc),
        payload_type: Pt::new_with_value(payload_type),
    }
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
