//! The task that owns the room, the signalling, the post and the links.
//!
//! It decides nothing: facts go to the [`Room`], effects come back and are done in their order.

mod relay;

use std::{
    collections::{BTreeSet, HashMap},
    future::pending,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    StreamExt,
    stream::{BoxStream, SelectAll, poll_fn},
};
use nonstop_rate::Bitrate;
use nonstop_seal::MeetingKeys;
use nonstop_wire::{
    BesideMessage, ClientMessage, MeetingLink, ParticipantId, PeerMessage, ServerMessage, Strain,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, sleep_until},
};

use super::{
    End, MeshCommand, MeshEvent, PathPolicy, ProxyChoice,
    link::{Link, LinkConfig, LinkEvent},
    paths::{Paths, PathsConfig, Policy},
    post::{Opened, Parcel, Post, Way},
    recording::Recording,
    room::{Effect, LinkNumber, Room},
    signalling::{News, Patience, Seat, Signalling},
    time_base::TimeBase,
    uplink::Uplink,
};
use crate::{
    clock,
    latest::{Latest, Reader},
    media::{
        Size, VideoFrame,
        audio::{Audio, Voice},
        video::{PictureSlot, Renditions},
    },
};

/// How long links stay after a goodbye that only they can carry.
const LAST_WORDS: Duration = Duration::from_millis(150);

/// Everything a mesh is told at the start.
#[derive(Debug)]
pub struct MeshConfig {
    /// The meeting.
    pub link: MeetingLink,
    /// Which paths may be used.
    pub path: PathPolicy,
    /// Whether nobody may learn our address: then only relayed paths are used.
    pub relay_only: bool,
    /// The proxy on the way out.
    pub proxy: ProxyChoice,
    /// The most a link may send.
    pub max_bitrate: Option<Bitrate>,
    /// The largest picture to send.
    pub max_size: Size,
    /// Where to record each remote participant, if anywhere.
    pub record: Option<PathBuf>,
    /// The pictures to send.
    pub camera: Reader<VideoFrame>,
    /// The sound to send, and where received sound goes.
    pub audio: Audio,
    /// How we describe ourselves at first.
    pub me: Me,
}

/// What a person shows of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// The name.
    pub name: String,
    /// Whether the microphone is on.
    pub microphone: bool,
    /// Whether the camera is on and delivers.
    pub camera: bool,
}

/// A running mesh. Dropping it ends it at once, without a goodbye.
#[derive(Debug)]
pub struct Mesh {
    commands: mpsc::Sender<MeshCommand>,
    _task: JoinSet<()>,
}

impl Mesh {
    /// Joins the meeting; must be called within a tokio runtime. The queue of events holds 256;
    /// when it is full, the mesh waits.
    pub fn join(config: MeshConfig) -> (Self, mpsc::Receiver<MeshEvent>) {
        let (commands, orders) = mpsc::channel(16);
        let (events, told) = mpsc::channel(256);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let driver = Driver::new(config, events.clone()).await;
            if let Some(end) = driver.run(orders).await {
                let _ = events.send(MeshEvent::Ended(end)).await;
            }
        });
        let mesh = Self {
            commands,
            _task: task,
        };
        (mesh, told)
    }

    /// Tells the mesh something; waits while its queue of 16 is full.
    pub async fn command(&self, command: MeshCommand) {
        let _ = self.commands.send(command).await;
    }
}

/// What a member's links share, and the link there is.
struct Party {
    picture: PictureSlot,
    /// How large the picture is shown.
    shown: Latest<Size>,
    /// Whether it comes in through the relay.
    carried: Latest<bool>,
    /// Whether their media is taken in through the relay.
    taken: bool,
    /// What came through the link in the last second.
    arriving: Bitrate,
    voice: Arc<Voice>,
    link: Option<Link>,
}

/// Where the next event comes from.
type LinkEvents = SelectAll<BoxStream<'static, (ParticipantId, LinkNumber, LinkEvent)>>;

struct Driver {
    me: ParticipantId,
    config: MeshConfig,
    paths: Paths,
    /// Counts the changes of this computer's network.
    network: watch::Receiver<u64>,
    room: Room,
    signalling: Signalling,
    post: Post,
    parties: HashMap<ParticipantId, Party>,
    /// Who is shown how large, once that was said.
    viewed: Option<HashMap<ParticipantId, Size>>,
    /// How all our links do together.
    strain: Latest<Strain>,
    renditions: Renditions,
    /// What all links share.
    uplink: Arc<Uplink>,
    time_base: TimeBase,
    link_events: LinkEvents,
    /// The connection to the meeting server's relay.
    relay: Option<relay::Connection>,
    /// Whether the uplink is too narrow for a mesh.
    starving: bool,
    /// What is to be told that does not come from the room.
    later: Vec<MeshEvent>,
    events: mpsc::Sender<MeshEvent>,
}

/// It is over; nothing to say where nobody listens any more.
struct Over(Option<End>);

impl Driver {
    async fn new(mut config: MeshConfig, events: mpsc::Sender<MeshEvent>) -> Self {
        // A new id each time, so that what was sealed for an earlier one opens nowhere.
        let bits = getrandom::u64().expect("the system has a source of random numbers");
        let me = ParticipantId::from_bits(bits);
        let base = getrandom::u32().expect("the system has a source of random numbers");
        let keys = MeetingKeys::derive(config.link.secret(), config.link.room());
        if let Some(directory) = &config.record
            && let Err(error) = tokio::fs::create_dir_all(directory).await
        {
            tracing::warn!(%error, "nothing is recorded: the directory cannot be made");
            config.record = None;
        }
        let seat = Seat {
            url: config.link.signalling_url(),
            room: config.link.room().clone(),
            admission: keys.admission(),
            me,
            proxies: config.proxy.proxies(),
        };
        let paths = Paths::start(PathsConfig {
            policy: Policy {
                path: config.path,
                hide_address: config.relay_only,
            },
            proxies: config.proxy.proxies(),
        });
        let signalling = Signalling::start(seat, Patience::default());
        Self {
            me,
            post: Post::new(me, keys),
            room: Room::new(me, config.me.clone()),
            renditions: Renditions::new(config.camera.clone()),
            uplink: Arc::default(),
            time_base: TimeBase::new(clock::now(), base),
            config,
            network: paths.changes(),
            paths,
            signalling,
            parties: HashMap::new(),
            viewed: None,
            strain: Latest::new(),
            link_events: SelectAll::new(),
            relay: None,
            starving: false,
            later: Vec::new(),
            events,
        }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<MeshCommand>) -> Option<End> {
        let end = loop {
            if let Err(Over(end)) = self.do_effects().await {
                break end;
            }
            let ask = self.relay.as_ref().map(|relay| relay.ask);
            let wakes = [self.room.poll_timeout(), self.post.poll_timeout(), ask];
            let wake = wakes.into_iter().flatten().min();
            tokio::select! {
                // In this order: a person's wish never waits behind a flood; what the server
                // says decides which links there are; links have little to say; time last, so
                // that nobody is given up whose sign of life is already here.
                biased;
                order = orders.recv() => match order {
                    Some(MeshCommand::Describe(me)) => {
                        self.room.handle_described(me, clock::now());
                    }
                    Some(MeshCommand::View(sizes)) => self.view(sizes),
                    Some(MeshCommand::Strain(strain)) => self.strain.set(strain),
                    Some(MeshCommand::Leave) => {
                        self.room.handle_leave();
                        let _ = self.do_effects().await;
                        if !self.room.connected() {
                            sleep(LAST_WORDS).await;
                        }
                        break Some(End::Left);
                    }
                    None => return None,
                },
                news = self.signalling.next() => match news {
                    Some(News::Ended(end)) => return Some(end),
                    Some(news) => self.handle_news(news),
                    None => return None,
                },
                Some((id, number, event)) = self.link_events.next() => {
                    self.handle_link(id, number, event);
                }
                Some(event) = Self::relay_news(&mut self.relay) => {
                    self.handle_relay(event, clock::now());
                }
                // The way to the server may be gone with the network, which takes long to notice.
                Ok(()) = self.network.changed() => self.signalling.knock(),
                () = until(wake) => self.handle_timeout(clock::now()),
            }
        };
        let Self { signalling, .. } = self;
        signalling.leave().await;
        end
    }

    fn handle_news(&mut self, news: News) {
        let now = clock::now();
        match news {
            News::Connected(welcome) => {
                self.paths.set_servers(welcome.ice_servers.clone());
                self.room.handle_welcome(&welcome, now);
                self.server_back(welcome.resumed);
            }
            News::Disconnected => self.room.handle_disconnected(now),
            News::Refused(code) => self.room.handle_refused(code),
            News::Received(message) => self.handle_server(message, now),
            News::Ended(_) => {}
        }
    }

    fn handle_server(&mut self, message: ServerMessage, now: Instant) {
        match message {
            ServerMessage::Joined { participant } => self.room.handle_joined(participant, now),
            ServerMessage::Away { participant } => self.room.handle_away(participant, now),
            ServerMessage::Back { participant } => self.room.handle_back(participant, now),
            ServerMessage::Left {
                participant,
                reason,
            } => self.room.handle_left(participant, reason, now),
            ServerMessage::Message { from, sealed } => {
                self.open(from, &sealed, Way::Server, now);
            }
            ServerMessage::Error { code, message } => {
                tracing::debug!(?code, message, "the server refused something");
            }
            ServerMessage::Welcome(_) | ServerMessage::Unknown => {}
            message => self.handle_server_of_relay(message, now),
        }
    }

    fn handle_link(&mut self, id: ParticipantId, number: LinkNumber, event: LinkEvent) {
        let now = clock::now();
        match event {
            LinkEvent::Envelope { to, from, sealed } if to == self.me => {
                // Of others there may be word by way of members only; the server tells who is there.
                if self.room.remembers(from) {
                    self.open(from, &sealed, Way::Beside(id), now);
                }
            }
            LinkEvent::Envelope { to, from, sealed } => {
                let ways = self.room.ways(to);
                let parcel = self.post.pass_on(id, (to, from), sealed, &ways, now);
                self.dispatch(parcel);
            }
            event => {
                match &event {
                    LinkEvent::Connected(_) => self.post.handle_connected(id),
                    // Perhaps it is the network, and the way to the server is gone, too.
                    LinkEvent::Interrupted | LinkEvent::PathChanged(_) => self.signalling.knock(),
                    LinkEvent::Stats(stats) => self.note_arriving(id, stats),
                    _ => {}
                }
                self.room.handle_link(id, number, event, now);
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let room = &self.room;
        let late = self.post.handle_timeout(now, |id| room.ways(id));
        self.dispatch(late);
        self.ask_uplink(now);
        self.room.handle_timeout(now);
    }

    fn open(&mut self, from: ParticipantId, sealed: &str, came: Way, now: Instant) {
        let room = &self.room;
        self.post.tidy(|id| room.remembers(id));
        match (self.post.open(from, sealed, came, now), came) {
            (Opened::Message(message), Way::Server) => {
                self.room.handle_message(from, message, now);
            }
            (Opened::Message(message), Way::Beside(_)) => {
                self.room.handle_message_beside(from, message, now);
            }
            (Opened::Replayed, _) => self.room.handle_replayed(from),
            (Opened::Forged, _) => self.room.handle_forged(from),
            (Opened::Nothing, _) => {}
        }
    }

    async fn do_effects(&mut self) -> Result<(), Over> {
        while let Some(effect) = self.room.poll_effect() {
            let event = match effect {
                Effect::Send { to, message } => {
                    self.send(to, &message);
                    continue;
                }
                Effect::StartLink {
                    id,
                    number,
                    initiator,
                } => {
                    self.start_link(id, number, initiator);
                    continue;
                }
                Effect::Signal { id, message } => {
                    let link = self.parties.get(&id).and_then(|party| party.link.as_ref());
                    if !link.is_some_and(|link| link.signal(message)) {
                        tracing::debug!(%id, "a link took no signal");
                    }
                    continue;
                }
                Effect::StopLink { id } => {
                    if let Some(party) = self.parties.get_mut(&id) {
                        party.link = None;
                    }
                    continue;
                }
                Effect::Refuse(code) => return Err(Over(Some(End::Refused(code)))),
                Effect::Joined { others } => MeshEvent::Joined {
                    me: self.me,
                    others,
                },
                Effect::Reconnecting => MeshEvent::Reconnecting,
                Effect::Refused(code) => MeshEvent::Refused(code),
                Effect::Reconnected { resumed } => MeshEvent::Reconnected { resumed },
                Effect::MemberJoined { id } => self.meet(id),
                Effect::Described { id, state } => MeshEvent::ParticipantDescribed { id, state },
                Effect::MemberLeft { id, lost } => {
                    self.parties.remove(&id);
                    self.take();
                    MeshEvent::ParticipantLeft { id, lost }
                }
                Effect::News { id, news } => MeshEvent::Link { id, event: news },
                Effect::Suspect(suspicion) => MeshEvent::Suspicious(suspicion),
                Effect::Topology(topology) => MeshEvent::Topology(topology),
                Effect::RelayUnreachable(unreachable) => MeshEvent::RelayUnreachable(unreachable),
                Effect::OpenRelay => {
                    self.open_relay(clock::now());
                    continue;
                }
                Effect::Publish { preferred } => {
                    self.publish(preferred);
                    continue;
                }
                Effect::Carry { id, taken, carried } => {
                    self.carry(id, taken, carried);
                    continue;
                }
            };
            self.later.push(event);
            self.tell_all().await?;
        }
        self.tell_all().await
    }

    async fn tell_all(&mut self) -> Result<(), Over> {
        for event in self.later.drain(..) {
            if self.events.send(event).await.is_err() {
                return Err(Over(None));
            }
        }
        Ok(())
    }

    fn send(&mut self, to: ParticipantId, message: &PeerMessage) {
        let mut nonce = [0; 24];
        if let Err(error) = getrandom::fill(&mut nonce) {
            tracing::warn!(%error, "nothing can be sealed without random numbers");
            return;
        }
        let room = &self.room;
        self.post.tidy(|id| room.remembers(id));
        let ways = room.ways(to);
        let parcels = self.post.send(to, message, nonce, &ways, clock::now());
        self.dispatch(parcels);
    }

    fn dispatch(&self, parcels: impl IntoIterator<Item = Parcel>) {
        for Parcel {
            way,
            to,
            from,
            sealed,
        } in parcels
        {
            let sent = match way {
                Way::Server => self.signalling.send(ClientMessage::Send { to, sealed }),
                Way::Beside(id) => {
                    let link = self.parties.get(&id).and_then(|party| party.link.as_ref());
                    let message = BesideMessage::Envelope { to, from, sealed };
                    link.is_some_and(|link| link.pass(message))
                }
            };
            if !sent {
                tracing::debug!(%to, ?way, "the way is full; a message is lost");
            }
        }
    }

    fn view(&mut self, sizes: Vec<(ParticipantId, Size)>) {
        self.viewed = Some(sizes.into_iter().collect());
        for (id, party) in &self.parties {
            party.shown.set(self.shown(*id));
        }
        self.take();
        let parties = self.parties.keys().copied();
        let viewed: BTreeSet<_> = parties.filter(|id| self.shown(*id).pixels() > 0).collect();
        self.room.handle_viewed(viewed, clock::now());
    }

    /// Returns how large somebody is shown: as large as can be until it is said.
    fn shown(&self, id: ParticipantId) -> Size {
        match &self.viewed {
            None => self.config.max_size,
            Some(sizes) => sizes.get(&id).copied().unwrap_or(Size::new(0, 0)),
        }
    }

    fn meet(&mut self, id: ParticipantId) -> MeshEvent {
        let directory = self.config.record.as_deref();
        let recording = directory.map(|dir| Recording::new(dir, self.room.name(id), id));
        let sound = recording.as_ref().map(Recording::sound);
        let pictures = recording.as_ref().map(Recording::pictures);
        let picture = PictureSlot::new(pictures);
        let voice = Arc::new(self.config.audio.add_voice(sound));
        let event = MeshEvent::ParticipantJoined {
            id,
            picture: picture.reader(),
            voice: voice.stats(),
        };
        let party = Party {
            picture,
            shown: Latest::with(self.shown(id)),
            carried: Latest::new(),
            taken: false,
            arriving: Bitrate::ZERO,
            voice,
            link: None,
        };
        self.parties.insert(id, party);
        event
    }

    fn start_link(&mut self, id: ParticipantId, number: LinkNumber, initiator: bool) {
        let Some(party) = self.parties.get_mut(&id) else {
            return;
        };
        // The old one ends before the new one begins, so that a device or file has one user.
        party.link = None;
        // Full while the mesh waits for its listener: the link's control then waits, too.
        let (events, queue) = mpsc::channel(64);
        let config = LinkConfig {
            uplink: Arc::clone(&self.uplink),
            me: self.me,
            peer: id,
            initiator,
            time_base: self.time_base,
            paths: self.paths.clone(),
            max_bitrate: self.config.max_bitrate,
            max_size: self.config.max_size,
            renditions: self.renditions.clone(),
            audio: self.config.audio.clone(),
            voice: Arc::clone(&party.voice),
            picture: party.picture.clone(),
            shown: party.shown.reader(),
            carried: party.carried.reader(),
            strain: self.strain.reader(),
        };
        party.link = Some(Link::start(config, events));
        self.link_events.push(numbered(queue, number));
    }
}

/// Marks what a link tells with the link's number, for the next link to the same participant
/// uses another queue. Ends when the link is gone.
fn numbered(
    mut queue: mpsc::Receiver<(ParticipantId, LinkEvent)>,
    number: LinkNumber,
) -> BoxStream<'static, (ParticipantId, LinkNumber, LinkEvent)> {
    poll_fn(move |context| queue.poll_recv(context))
        .map(move |(id, event)| (id, number, event))
        .boxed()
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake.into()).await,
        None => pending().await,
    }
}
