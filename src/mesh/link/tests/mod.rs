//! Two links in one process, over real sockets on loopback.

mod network;
mod wanted;

use std::{
    sync::{Mutex, PoisonError, Weak},
    time::Instant,
};

use tokio::{task::JoinSet, time::timeout};

use super::*;
use crate::{
    clock,
    latest::Latest,
    media::{
        AudioSink, AudioSource, VideoSource,
        audio::{AudioConfig, Processing},
        video::{Capture, test_card::read_counter},
    },
    mesh::paths::PathsConfig,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of a message on its way: it is passed on, changed, repeated or lost.
type Carrier = Box<dyn FnMut(PeerMessage) -> Vec<PeerMessage> + Send>;

fn faithful() -> Carrier {
    Box::new(|message| vec![message])
}

/// Where messages go: the link that is there at the moment.
type Address = Arc<Mutex<Weak<Link>>>;

fn address(link: &Arc<Link>) -> Address {
    Arc::new(Mutex::new(Arc::downgrade(link)))
}

/// The ways of one side.
fn paths() -> Paths {
    Paths::start(PathsConfig::default())
}

/// One side: a link, what it is fed with, and what it tells.
struct Side {
    /// Shared with whoever carries messages here; dropping the side drops the link.
    _link: Arc<Link>,
    /// To whom this side's messages go.
    other: Address,
    events: mpsc::Receiver<LinkEvent>,
    picture: PictureSlot,
    /// How large the other side's pictures are shown here.
    shown: Latest<Size>,
    /// Whether the other side's media is taken in another way.
    carried: Latest<bool>,
    voice: Arc<Voice>,
    _camera: Capture,
    _audio: Audio,
    _carrier: JoinSet<()>,
}

/// Makes a side of what carries its messages.
type Finish = dyn FnOnce(mpsc::Receiver<LinkEvent>, Address, JoinSet<()>) -> Side;

struct Ends {
    out: mpsc::Receiver<(ParticipantId, LinkEvent)>,
    side: Box<Finish>,
    link: Arc<Link>,
}

fn begin(me: u64, peer: u64, initiator: bool) -> Ends {
    let camera = Capture::start(VideoSource::TestCard, Size::new(640, 360), 15);
    let audio = Audio::start(AudioConfig {
        microphone: AudioSource::Tone,
        speaker: AudioSink::None,
        processing: Processing::default(),
    });
    let voice = Arc::new(audio.add_voice(None));
    let picture = PictureSlot::new(None);
    let shown = Latest::with(Size::new(640, 360));
    let carried = Latest::new();
    let (events, out) = mpsc::channel(256);
    let config = LinkConfig {
        uplink: Arc::default(),
        me: ParticipantId::from_bits(me),
        peer: ParticipantId::from_bits(peer),
        initiator,
        time_base: TimeBase::new(clock::now(), me as u32),
        paths: paths(),
        max_bitrate: None,
        max_size: Size::new(640, 360),
        renditions: Renditions::new(camera.frames()),
        audio: audio.clone(),
        voice: Arc::clone(&voice),
        picture: picture.clone(),
        shown: shown.reader(),
        carried: carried.reader(),
        strain: Latest::new().reader(),
    };
    let link = Arc::new(Link::start(config, events));
    let same = Arc::clone(&link);
    let side = Box::new(move |events, other, carrier| Side {
        _link: same,
        other,
        events,
        picture,
        shown,
        carried,
        voice,
        _camera: camera,
        _audio: audio,
        _carrier: carrier,
    });
    Ends { out, side, link }
}

/// Carries what one link says to the other, and hands on everything else.
fn carry(
    mut out: mpsc::Receiver<(ParticipantId, LinkEvent)>,
    to: Address,
    mut carrier: Carrier,
) -> (mpsc::Receiver<LinkEvent>, JoinSet<()>) {
    let (events_in, events) = mpsc::channel(4096);
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Some((_, event)) = out.recv().await {
            match event {
                LinkEvent::Signal(message) => {
                    for message in carrier(message) {
                        let to = to.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
                        if let Some(to) = to {
                            to.signal(message);
                        }
                    }
                }
                event => {
                    let _ = events_in.try_send(event);
                }
            }
        }
    });
    (events, task)
}

fn join(ends: Ends, other: &Arc<Link>, carrier: Carrier) -> Side {
    let other = address(other);
    let (events, task) = carry(ends.out, Arc::clone(&other), carrier);
    (ends.side)(events, other, task)
}

/// Two sides that talk to each other; the first has the larger id, so the second gives way.
fn pair(initiators: (bool, bool), carriers: (Carrier, Carrier)) -> (Side, Side) {
    let (one, two) = (begin(2, 1, initiators.0), begin(1, 2, initiators.1));
    let (first, second) = (Arc::clone(&one.link), Arc::clone(&two.link));
    (
        join(one, &second, carriers.0),
        join(two, &first, carriers.1),
    )
}

impl Side {
    async fn wait_for<T>(&mut self, what: &str, pick: impl Fn(&LinkEvent) -> Option<T>) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.expect("the link goes on");
                if let Some(found) = pick(&event) {
                    return found;
                }
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("{what}: did not happen"),
        }
    }

    async fn connected(&mut self) {
        let connected = |event: &LinkEvent| matches!(event, LinkEvent::Connected(_)).then_some(());
        self.wait_for("connected", connected).await;
    }

    async fn interrupted(&mut self) {
        let interrupted = |event: &LinkEvent| matches!(event, LinkEvent::Interrupted).then_some(());
        self.wait_for("interrupted", interrupted).await;
    }

    async fn failed(&mut self) -> LinkError {
        let failed = |event: &LinkEvent| match event {
            LinkEvent::Failed(error) => Some(error.clone()),
            _ => None,
        };
        self.wait_for("failed", failed).await
    }

    async fn stats(&mut self) -> LinkStats {
        let stats = |event: &LinkEvent| match event {
            LinkEvent::Stats(stats) => Some(stats.as_ref().clone()),
            _ => None,
        };
        self.wait_for("figures", stats).await
    }

    /// Waits until so many pictures with rising counters came, and returns their counters.
    async fn counters(&mut self, many: usize) -> Vec<u32> {
        let mut pictures = self.picture.reader();
        let mut counters = Vec::new();
        let seen = timeout(PATIENCE, async {
            while counters.len() < many {
                if let Some(picture) = pictures.take_new() {
                    counters.push(read_counter(&picture).expect("the picture is intact"));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(seen.await.is_ok(), "only these came: {counters:?}");
        counters
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_and_sound_arrive_both_ways() {
    let (mut one, mut two) = pair((true, false), (faithful(), faithful()));
    one.connected().await;
    two.connected().await;
    for side in [&mut one, &mut two] {
        let first = |event: &LinkEvent| matches!(event, LinkEvent::FirstVideoFrame).then_some(());
        side.wait_for("first picture", first).await;
        let counters = side.counters(15).await;
        assert!(counters.is_sorted(), "{counters:?}");
        assert!(counters[14] > counters[0]);
    }
    let mut stats = one.stats().await;
    for _ in 0..4 {
        stats = one.stats().await;
    }
    assert_eq!(stats.path, Some(Path::Direct));
    assert!(
        stats
            .round_trip_time
            .is_some_and(|trip| trip < Duration::from_secs(1))
    );
    assert!(stats.estimate.is_some());
    assert!(
        stats
            .video_sent
            .is_some_and(|rate| rate > Bitrate::from_kbps(10))
    );
    assert!(
        stats
            .video_received
            .is_some_and(|rate| rate > Bitrate::from_kbps(10))
    );
    assert!(stats.frames_decoded.is_some_and(|frames| frames > 0));
    let delay = stats.capture_to_display.expect("sender reports came");
    assert!(delay < Duration::from_secs(2), "{delay:?}");
    let heard = one.voice.stats().newest().expect("sound came");
    assert!(heard.received > 20, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_offers_that_cross_end_in_one_connection() {
    let (mut one, mut two) = pair((true, true), (faithful(), faithful()));
    one.connected().await;
    two.connected().await;
    one.counters(3).await;
    two.counters(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_may_come_before_the_description() {
    // The offer's candidates arrive by themselves, and before it.
    let late: Carrier = Box::new(|message| match message {
        PeerMessage::Description { kind, sdp } => {
            let is_candidate = |line: &&str| line.starts_with("a=candidate:");
            let fragment = sdp
                .lines()
                .find_map(|line| line.strip_prefix("a=ice-ufrag:"));
            let early = sdp.lines().filter(is_candidate);
            let early = early.map(|line| PeerMessage::Candidate {
                candidate: line.trim_start_matches("a=").to_owned(),
                sdp_mid: None,
                sdp_mline_index: Some(0),
                username_fragment: fragment.map(str::to_owned),
            });
            let rest = sdp.lines().filter(|line| !is_candidate(line));
            let rest = rest.map(|line| format!("{line}\r\n")).collect();
            let rest = PeerMessage::Description { kind, sdp: rest };
            early.chain([rest]).collect()
        }
        candidate => vec![candidate],
    });
    let (mut one, mut two) = pair((true, false), (late, faithful()));
    one.connected().await;
    two.connected().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_is_lost_is_made_again_with_its_candidates() {
    let mut lost = 0;
    let lossy: Carrier = Box::new(move |message| {
        lost += 1;
        if lost <= 4 { Vec::new() } else { vec![message] }
    });
    let (mut one, mut two) = pair((true, false), (lossy, faithful()));
    one.connected().await;
    two.connected().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_dropped_says_goodbye_and_the_other_fails_soon() {
    let (mut one, mut two) = pair((true, false), (faithful(), faithful()));
    one.connected().await;
    two.connected().await;
    drop(two);
    one.interrupted().await;
    assert_eq!(one.failed().await, LinkError::NoPath);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_goes_on_with_another_that_takes_its_peers_place() {
    for newcomer_offers in [true, false] {
        let (mut one, mut two) = pair((true, false), (faithful(), faithful()));
        one.connected().await;
        two.connected().await;
        drop(two);
        let newcomer = begin(1, 2, newcomer_offers);
        *one.other.lock().expect("nobody panics") = Arc::downgrade(&newcomer.link);
        let mut two = join(newcomer, &one._link, faithful());
        if !newcomer_offers {
            // Nobody offers anything: the mesh makes a new link here too.
            assert_eq!(one.failed().await, LinkError::NoPath);
            continue;
        }
        two.connected().await;
        one.connected().await;
        one.counters(3).await;
        two.counters(3).await;
    }
}

/// Puts another certificate's fingerprint into every description.
fn impostor() -> Carrier {
    Box::new(|message| match message {
        PeerMessage::Description { kind, sdp } => {
            let other = format!("a=fingerprint:sha-256 {}", ["AB"; 32].join(":"));
            let sdp = sdp
                .lines()
                .map(|line| {
                    if line.starts_with("a=fingerprint:") {
                        &other
                    } else {
                        line
                    }
                })
                .map(|line| format!("{line}\r\n"))
                .collect();
            vec![PeerMessage::Description { kind, sdp }]
        }
        other => vec![other],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_fingerprint_is_refused_and_no_media_flows() {
    for offers in [true, false] {
        let (one, mut two) = pair((offers, !offers), (impostor(), faithful()));
        assert_eq!(two.failed().await, LinkError::WrongParty);
        for side in [&one, &two] {
            assert!(side.picture.reader().take_new().is_none());
            assert_eq!(
                side.voice
                    .stats()
                    .newest()
                    .map_or(0, |voice| voice.received),
                0
            );
        }
    }
}
