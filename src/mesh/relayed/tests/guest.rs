//! A participant for tests: the signalling, a connection to the relay, a camera and a tone.

use std::{net::SocketAddr, sync::Arc};

use nonstop_wire::{ParticipantId, ServerMessage, Token};
use tokio::{net::UdpSocket, sync::mpsc, task::JoinSet, time::timeout};

use super::{PATIENCE, Relayed, RelayedConfig, RelayedEvent, Take, UplinkStats};
use crate::{
    clock,
    media::{
        AudioSink, AudioSource, Size, VideoFrame, VideoSource,
        audio::{Audio, AudioConfig, Processing, Voice},
        video::{Capture, PictureSlot, Renditions},
    },
    mesh::{
        LinkStats, PathPolicy,
        paths::{Path, Paths, PathsConfig, Policy},
        proxy::Proxies,
        signalling::{News, Patience, Seat, Signalling},
        time_base::TimeBase,
    },
};

/// What a guest was told so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) up: u32,
    pub(super) down: u32,
    pub(super) way: Option<Path>,
    pub(super) published: Vec<ParticipantId>,
    pub(super) sound: u32,
    pub(super) picture: u32,
    pub(super) stats: Option<LinkStats>,
    pub(super) uplink: UplinkStats,
}

/// A participant.
pub(super) struct Guest {
    pub(super) id: ParticipantId,
    pub(super) relayed: Arc<Relayed>,
    pub(super) seen: Seen,
    events: mpsc::Receiver<RelayedEvent>,
    picture: PictureSlot,
    voice: Arc<Voice>,
    paths: Paths,
    _camera: Capture,
    _audio: Audio,
    _carrier: JoinSet<()>,
}

impl Guest {
    pub(super) fn join(id: u64, server: SocketAddr, path: PathPolicy) -> Self {
        Self::join_past(id, server, path, None)
    }

    /// The same, on a way to the relay that loses something.
    pub(super) fn join_past(
        id: u64,
        server: SocketAddr,
        path: PathPolicy,
        loss: Option<Loss>,
    ) -> Self {
        let me = ParticipantId::from_bits(id);
        let camera = Capture::start(VideoSource::TestCard, Size::new(1280, 720), 15);
        let audio = Audio::start(AudioConfig {
            microphone: AudioSource::Tone,
            speaker: AudioSink::None,
            processing: Processing::default(),
        });
        let paths = Paths::start(PathsConfig {
            policy: Policy {
                path,
                hide_address: false,
            },
            ..PathsConfig::default()
        });
        let (events_in, events) = mpsc::channel(64);
        let config = RelayedConfig {
            paths: paths.clone(),
            uplink: Arc::default(),
            time_base: TimeBase::new(clock::now(), id as u32),
            max_bitrate: None,
            max_size: Size::new(1280, 720),
            renditions: Renditions::new(camera.frames()),
            audio: audio.clone(),
        };
        let relayed = Arc::new(Relayed::start(config, events_in));
        let seat = Seat {
            url: format!("ws://{server}/signalling"),
            room: "room".parse().expect("a name"),
            admission: Token::from_bytes([9; 32]),
            me,
            proxies: Proxies::default(),
        };
        let (told, rest) = mpsc::channel(256);
        let mut carrier = JoinSet::new();
        let carried = carry(
            seat,
            Arc::clone(&relayed),
            paths.clone(),
            events,
            told,
            loss,
        );
        carrier.spawn(carried);
        Self {
            id: me,
            relayed,
            seen: Seen::default(),
            events: rest,
            picture: PictureSlot::new(None),
            voice: Arc::new(audio.add_voice(None)),
            paths,
            _camera: camera,
            _audio: audio,
            _carrier: carrier,
        }
    }

    /// Takes in what somebody publishes, and nobody else's.
    pub(super) fn take(&self, other: &Self, size: Size, sound: bool) {
        let take = Take {
            id: other.id,
            size,
            sound,
            picture: self.picture.clone(),
            voice: Arc::clone(&self.voice),
        };
        self.relayed.take(vec![take], None);
    }

    /// Waits until what was told so far is enough.
    pub(super) async fn until(&mut self, what: &str, enough: impl Fn(&Seen) -> bool) {
        let wait = async {
            while !enough(&self.seen) {
                let event = self.events.recv().await.expect("the task runs");
                self.note(event);
            }
        };
        let waited = timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{what}: {:?}", self.seen);
    }

    /// Takes in what was told meanwhile.
    pub(super) fn drain(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.note(event);
        }
    }

    /// Returns the picture that is shown.
    pub(super) fn newest(&self) -> Option<VideoFrame> {
        self.picture.reader().newest()
    }

    /// Returns how many packets left this participant's sockets so far.
    pub(super) fn packets(&self) -> u64 {
        self.paths.sent()
    }

    fn note(&mut self, event: RelayedEvent) {
        let seen = &mut self.seen;
        match event {
            RelayedEvent::Up(way) => {
                seen.up += 1;
                seen.way = Some(way);
            }
            RelayedEvent::Down { .. } => seen.down += 1,
            RelayedEvent::Published { id, .. } => seen.published.push(id),
            RelayedEvent::Sound { .. } => seen.sound += 1,
            RelayedEvent::Picture { .. } => seen.picture += 1,
            RelayedEvent::Stats { stats, .. } => seen.stats = Some(*stats),
            RelayedEvent::Uplink(uplink) => seen.uplink = uplink,
            _ => {}
        }
    }
}

/// Carries words between a connection and the server, and hands on everything else.
async fn carry(
    seat: Seat,
    relayed: Arc<Relayed>,
    paths: Paths,
    mut events: mpsc::Receiver<RelayedEvent>,
    told: mpsc::Sender<RelayedEvent>,
    loss: Option<Loss>,
) {
    let mut detours = JoinSet::new();
    let mut signalling = Signalling::start(seat, Patience::default());
    loop {
        tokio::select! {
            news = signalling.next() => match news {
                Some(News::Connected(welcome)) => {
                    assert!(welcome.relay);
                    paths.set_servers(welcome.ice_servers.clone());
                    relayed.server_back(welcome.resumed);
                }
                Some(News::Received(mut message)) => {
                    if let (ServerMessage::RelayOpened(opened), Some(loss)) = (&mut message, loss) {
                        let detour = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
                        let there = detour.local_addr().expect("it is bound");
                        let relay = std::mem::replace(&mut opened.addresses, vec![there]);
                        detours.spawn(lose(detour, relay[0], loss));
                    }
                    relayed.handle(message);
                }
                Some(_) => {}
                None => return,
            },
            event = events.recv() => match event {
                Some(RelayedEvent::Say(message)) => {
                    signalling.send(message);
                }
                Some(event) => {
                    if told.send(event).await.is_err() {
                        return;
                    }
                }
                None => return,
            },
        }
    }
}

/// Which datagram of a handshake (DTLS) is lost: of those to the relay, and of those from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss(pub(super) Option<usize>, pub(super) Option<usize>);

/// Stands between a participant and the relay.
async fn lose(outside: UdpSocket, relay: SocketAddr, Loss(to, from): Loss) {
    let inside = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
    inside.connect(relay).await.expect("loopback");
    let (mut sent, mut came) = ([0; 2_000], [0; 2_000]);
    let (mut participant, mut seen) = (None, [0, 0]);
    let mut passes = |way: usize, datagram: &[u8], lost: Option<usize>| {
        // RFC 7983 section 7.
        seen[way] += usize::from(matches!(datagram, [20..=63, ..]));
        !matches!(datagram, [20..=63, ..]) || lost != Some(seen[way])
    };
    loop {
        tokio::select! {
            Ok((length, address)) = outside.recv_from(&mut sent) => {
                participant = Some(address);
                if passes(0, &sent[..length], to) {
                    let _ = inside.send(&sent[..length]).await;
                }
            }
            Ok(length) = inside.recv(&mut came) => {
                if let Some(participant) = participant
                    && passes(1, &came[..length], from)
                {
                    let _ = outside.send_to(&came[..length], participant).await;
                }
            }
        }
    }
}
