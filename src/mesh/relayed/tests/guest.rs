//! A participant for tests: the signalling, a connection to the relay, a camera and a tone.

use std::{net::SocketAddr, sync::Arc};

use nonstop_wire::{ParticipantId, Token};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

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
        let carried = carry(seat, Arc::clone(&relayed), paths.clone(), events, told);
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
) {
    let mut signalling = Signalling::start(seat, Patience::default());
    loop {
        tokio::select! {
            news = signalling.next() => match news {
                Some(News::Connected(welcome)) => {
                    assert!(welcome.relay);
                    paths.set_servers(welcome.ice_servers.clone());
                    relayed.server_back(welcome.resumed);
                }
                Some(News::Received(message)) => {
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
