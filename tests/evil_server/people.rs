//! Honest participants, each a mesh in this process: a tone for sound, no picture, no speaker.

use std::{fmt::Debug, time::Duration};

use nonstop::{
    latest::Latest,
    media::{
        AudioSink, AudioSource, Size,
        audio::{Audio, AudioConfig},
    },
    mesh::{
        LinkNews, Me, Mesh, MeshCommand, MeshConfig, MeshEvent, PathPolicy, ProxyChoice, Suspicion,
    },
};
use nonstop_wire::{MeetingLink, ParticipantId};
use tokio::{sync::mpsc, time::timeout};

/// Long enough for any machine; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(60);

/// Somebody in the room.
pub(crate) struct Person {
    pub(crate) id: ParticipantId,
    mesh: Mesh,
    events: mpsc::Receiver<MeshEvent>,
    /// Everything that happened so far.
    log: Vec<MeshEvent>,
}

impl Person {
    /// Joins, and returns once in the room.
    pub(crate) async fn join(name: &str, link: &MeetingLink) -> Self {
        let audio = Audio::start(AudioConfig {
            microphone: AudioSource::Tone,
            speaker: AudioSink::None,
            ..AudioConfig::default()
        });
        let (mesh, events) = Mesh::join(MeshConfig {
            link: link.clone(),
            path: PathPolicy::Auto,
            relay_only: false,
            proxy: ProxyChoice::Never,
            max_bitrate: None,
            max_size: Size::new(320, 180),
            record: None,
            camera: Latest::new().reader(),
            audio,
            me: Me {
                name: name.into(),
                microphone: true,
                camera: false,
            },
        });
        let id = ParticipantId::from_bits(0);
        let mut person = Self {
            id,
            mesh,
            events,
            log: Vec::new(),
        };
        person.id = person
            .until("joined", |event| match event {
                MeshEvent::Joined { me, .. } => Some(*me),
                _ => None,
            })
            .await;
        person
    }

    /// Waits until something has happened; what happened before counts.
    pub(crate) async fn until<T>(
        &mut self,
        what: impl Debug,
        mut find: impl FnMut(&MeshEvent) -> Option<T>,
    ) -> T {
        if let Some(found) = self.log.iter().find_map(&mut find) {
            return found;
        }
        let waiting = async {
            loop {
                let event = self.events.recv().await.expect("the mesh runs");
                let found = find(&event);
                self.log.push(event);
                if let Some(found) = found {
                    return found;
                }
            }
        };
        match timeout(LONG, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("not within {LONG:?}: {what:?}; but {:#?}", self.log),
        }
    }

    /// Waits until sound has come from somebody, so that the two are in a call.
    pub(crate) async fn until_heard(&mut self, other: ParticipantId) {
        self.until(("heard", other), |event| {
            matches!(event, MeshEvent::Link { id, event: LinkNews::FirstAudio { .. } } if *id == other)
                .then_some(())
        })
        .await;
    }

    /// Waits until the server is suspected of this.
    pub(crate) async fn until_suspected(&mut self, suspicion: Suspicion) {
        self.until(suspicion.clone(), |event| {
            matches!(event, MeshEvent::Suspicious(other) if *other == suspicion).then_some(())
        })
        .await;
    }

    /// Waits until somebody is gone.
    pub(crate) async fn until_left(&mut self, other: ParticipantId) {
        self.until(("left", other), |event| {
            matches!(event, MeshEvent::ParticipantLeft { id, .. } if *id == other).then_some(())
        })
        .await;
    }

    /// Takes in what has happened, without waiting.
    fn catch_up(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.log.push(event);
        }
    }

    /// Returns whom the call has had as participants so far.
    pub(crate) fn met(&mut self) -> Vec<ParticipantId> {
        self.catch_up();
        let met = self.log.iter().filter_map(|event| match event {
            MeshEvent::ParticipantJoined { id, .. } => Some(*id),
            _ => None,
        });
        met.collect()
    }

    /// Returns everything the server was suspected of so far.
    pub(crate) fn suspicions(&mut self) -> Vec<Suspicion> {
        self.catch_up();
        let suspicions = self.log.iter().filter_map(|event| match event {
            MeshEvent::Suspicious(suspicion) => Some(suspicion.clone()),
            _ => None,
        });
        suspicions.collect()
    }

    /// Asserts that no connection came about, with anybody.
    pub(crate) fn assert_unconnected(&mut self) {
        self.catch_up();
        let media = self.log.iter().find(|event| {
            matches!(
                event,
                MeshEvent::Link {
                    event: LinkNews::Connected { .. }
                        | LinkNews::FirstAudio { .. }
                        | LinkNews::FirstVideoFrame { .. },
                    ..
                }
            )
        });
        assert!(media.is_none(), "{media:?}");
    }

    /// Asserts that somebody is not gone, and that the link to them was never interrupted.
    pub(crate) fn assert_kept(&mut self, other: ParticipantId) {
        self.catch_up();
        let harm = self.log.iter().find(|event| match event {
            MeshEvent::ParticipantLeft { id, .. } => *id == other,
            MeshEvent::Link { id, event } => *id == other && *event == LinkNews::Interrupted,
            _ => false,
        });
        assert!(harm.is_none(), "{harm:?}");
    }

    /// Leaves in an orderly way.
    pub(crate) async fn leave(mut self) {
        self.mesh.command(MeshCommand::Leave).await;
        self.until("ended", |event| {
            matches!(event, MeshEvent::Ended(_)).then_some(())
        })
        .await;
    }
}
