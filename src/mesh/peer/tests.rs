//! Two connections in one process, over real sockets on loopback.

use bytes::Bytes;
use nonstop_rate::Bitrate;
use tokio::time::{sleep, timeout};

use super::*;
use crate::{clock, mesh::paths::PathsConfig};

const PATIENCE: Duration = Duration::from_secs(30);

struct End {
    peer: Peer,
    events: mpsc::Receiver<PeerEvent>,
    received: mpsc::Receiver<Received>,
}

impl End {
    async fn open(start: Bitrate) -> Self {
        let (events_in, events) = mpsc::channel(128);
        let (received_in, received) = mpsc::channel(4_096);
        let config = PeerConfig {
            paths: Paths::start(PathsConfig::default()),
            limits: Limits {
                start,
                ..Limits::default()
            },
            events: events_in,
            received: received_in,
        };
        Self {
            peer: Peer::open(config).await.expect("loopback is there"),
            events,
            received,
        }
    }

    async fn send_picture(&mut self, timestamp: u32, size: usize) {
        // A sequence parameter set: as good as any keyframe for whoever does not decode it.
        self.peer
            .video
            .send(RtpOut {
                timestamp,
                marker: true,
                payload: Bytes::from(vec![0x67; size]),
                level: None,
                redundant: false,
            })
            .await;
    }

    async fn send_sound(&mut self, timestamp: u32) {
        self.peer
            .audio
            .send(RtpOut {
                timestamp,
                marker: false,
                payload: Bytes::from_static(&[1; 80]),
                level: None,
                redundant: false,
            })
            .await;
    }

    /// Returns the packets of pictures that came: sequence number and size.
    fn pictures(&mut self) -> Vec<(u16, usize)> {
        let received = std::iter::from_fn(|| self.received.try_recv().ok());
        received
            .filter_map(|received| match received {
                Received::Rtp(Kind::Video, packet) => Some((packet.sequence, packet.payload.len())),
                _ => None,
            })
            .collect()
    }
}

/// Does what a session does with what the paths tell.
async fn follow(event: PathEvent, here: &mut End, there: &End) {
    match event {
        PathEvent::Candidate(candidate) => there.peer.add(candidate),
        PathEvent::Selected(Some(_)) => here.peer.let_in().await.expect("it was negotiated"),
        PathEvent::Selected(None) => {}
    }
}

async fn connected(start: Bitrate) -> (End, End) {
    let (mut one, mut two) = (End::open(start).await, End::open(start).await);
    let offer = one.peer.offer(false).await.expect("we can offer");
    let answer = two.peer.accept(offer).await.expect("it is ours");
    one.peer.apply(answer).await.expect("it is ours");
    let mut up = (false, false);
    let connect = async {
        while up != (true, true) {
            tokio::select! {
                Some(event) = one.events.recv() => match event {
                    PeerEvent::Path(event) => follow(event, &mut one, &two).await,
                    event => up.0 |= matches!(event, PeerEvent::Connected),
                },
                Some(event) = two.events.recv() => match event {
                    PeerEvent::Path(event) => follow(event, &mut two, &one).await,
                    event => up.1 |= matches!(event, PeerEvent::Connected),
                },
            }
        }
    };
    timeout(PATIENCE, connect).await.expect("they connect");
    one.peer.learn_streams().await.expect("they are negotiated");
    two.peer.learn_streams().await.expect("they are negotiated");
    (one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feedback_comes_soon_and_as_often_as_it_is_worth() {
    let (mut one, _two) = connected(Bitrate::from_kbps(4_000)).await;
    let flow = Arc::clone(one.peer.flow());
    let begun = clock::now();
    one.send_picture(0, 1_000).await;
    while flow.feedback() == 0 {
        sleep(Duration::from_millis(1)).await;
        assert!(begun.elapsed() < PATIENCE);
    }
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        flow.round_trip()
            .is_none_or(|trip| trip < Duration::from_millis(500))
    );

    // Sound alone, then sound and 1 Mb/s of pictures; how far apart is feedback in the last second?
    let mut pauses = Vec::new();
    for pictures in [false, true] {
        let mut before = 0;
        let mut since = clock::now();
        for step in 0..200 {
            if step == 100 {
                (before, since) = (flow.feedback(), clock::now());
            }
            if step % 2 == 0 {
                one.send_sound(step * 480).await;
            }
            if pictures {
                one.send_picture(90_000 + step * 900, 1_100).await;
            }
            sleep(Duration::from_millis(9)).await;
        }
        let many = flow.feedback() - before;
        pauses.push(since.elapsed() / u32::try_from(many.max(1)).expect("a few hundred"));
    }
    println!("pause between feedback: {pauses:?}");
    assert!(pauses[0] <= Duration::from_millis(130), "{pauses:?}");
    assert!(pauses[1] >= Duration::from_millis(18), "{pauses:?}");
    assert!(pauses[1] <= Duration::from_millis(35), "{pauses:?}");
    assert_eq!(flow.loss(), Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_leaves_no_hole_and_a_keyframe_is_asked_for() {
    let (mut one, mut two) = connected(Bitrate::from_kbps(100)).await;
    let flow = Arc::clone(one.peer.flow());
    flow.set_wanted(Bitrate::from_kbps(100));
    // Much more than can leave in a quarter of a second.
    for part in 0..100_000 / 1_000 {
        one.send_picture(part, 1_000).await;
    }
    let waits = async {
        while flow.waiting().bytes() > 0 || flow.dropped() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waits)
        .await
        .expect("nothing waits for long");
    assert!(flow.needs_keyframe());
    one.send_picture(1_000, 10).await;
    let mut pictures = Vec::new();
    let arrives = async {
        while pictures.last().is_none_or(|(_, size)| *size != 10) {
            sleep(Duration::from_millis(5)).await;
            pictures.extend(two.pictures());
            pictures.retain(|(_, size)| *size > 0);
        }
    };
    timeout(PATIENCE, arrives)
        .await
        .expect("the keyframe arrives");
    assert!(!flow.needs_keyframe());
    assert!(pictures.len() < 90, "{}", pictures.len());
    assert!(
        pictures
            .windows(2)
            .all(|pair| pair[1].0.wrapping_sub(pair[0].0) == 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_probes_and_the_padding_has_its_place() {
    let start = Bitrate::from_kbps(300);
    let (mut one, mut two) = connected(start).await;
    let flow = Arc::clone(one.peer.flow());
    let mut pictures = Vec::new();
    // Two seconds; a busy computer gets more.
    for step in 0..750 {
        one.send_picture(step * 3_000, 400).await;
        one.send_sound(step * 960).await;
        sleep(Duration::from_millis(20)).await;
        pictures.extend(two.pictures());
        if step >= 100 && flow.probes() >= 2 && flow.estimate() > start {
            break;
        }
    }
    println!("{} probes, {}", flow.probes(), flow.estimate());
    assert!(flow.probes() >= 2, "{}", flow.probes());
    assert!(flow.estimate() > start, "{}", flow.estimate());
    let padding = pictures.iter().filter(|(_, size)| *size == 0).count();
    assert!(padding >= 3, "{padding} of {}", pictures.len());
    assert!(
        pictures
            .windows(2)
            .all(|pair| pair[1].0.wrapping_sub(pair[0].0) == 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_that_carries_earlier_sound_is_negotiated_and_arrives_as_such() {
    let (mut one, mut two) = connected(Bitrate::from_kbps(1_000)).await;
    for peer in [&one.peer, &two.peer] {
        assert_eq!(peer.audio.payload_type(), 111);
        assert_eq!(peer.audio.redundant(), Some(63));
        assert_eq!(peer.video.redundant(), None);
    }
    // Whichever comes first, the stream is known for sound.
    for (end, first) in [(&mut one, true), (&mut two, false)] {
        for step in 0..10u32 {
            let packet = RtpOut {
                timestamp: step * 960,
                marker: false,
                payload: Bytes::from_static(&[111, 1, 2, 3]),
                level: None,
                redundant: (step % 2 == 0) == first,
            };
            end.peer.audio.send(packet).await;
            sleep(Duration::from_millis(5)).await;
        }
    }
    for (end, first) in [(&mut two, 63), (&mut one, 111)] {
        let mut came = Vec::new();
        let receive = async {
            while came.len() < 10 {
                if let Some(Received::Rtp(Kind::Audio, packet)) = end.received.recv().await {
                    came.push(packet.payload_type);
                }
            }
        };
        timeout(PATIENCE, receive)
            .await
            .expect("loopback loses nothing");
        let other = 63 + 111 - first;
        assert_eq!(came, [first, other].repeat(5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_tells_which_picture_left_before_it() {
    let (mut one, mut two) = connected(Bitrate::from_kbps(1_000)).await;
    for step in 0..10u32 {
        one.send_sound(step * 960).await;
        one.send_picture(step * 3_000, 100).await;
        sleep(Duration::from_millis(10)).await;
    }
    // What came last is what left last: loopback keeps the order. Padding counts too.
    let (mut newest, mut told) = (None, 0);
    let receive = async {
        while told < 10 {
            match two.received.recv().await {
                Some(Received::Rtp(Kind::Video, packet)) => newest = Some(packet.sequence),
                Some(Received::Rtp(Kind::Audio, packet)) => {
                    assert_eq!(packet.newest_picture, newest);
                    told += 1;
                }
                _ => {}
            }
        }
    };
    timeout(PATIENCE, receive)
        .await
        .expect("loopback loses nothing");
    assert!(newest.is_some());
}

/// What Chromium 156 offers for sound, H.264 and a data channel.
const CHROMIUM: &str = include_str!("chromium-offer.sdp");

#[tokio::test]
async fn chromium_is_understood_about_redundancy() {
    for order in ["111 63", "63 111"] {
        let mut end = End::open(Bitrate::from_kbps(1_000)).await;
        let offer = CHROMIUM.lines().collect::<Vec<_>>().join("\r\n") + "\r\n";
        let offer = offer.replace("SAVPF 111 63", &format!("SAVPF {order}"));
        let answer = end
            .peer
            .accept(offer)
            .await
            .expect("browsers are understood");
        assert!(answer.contains("a=rtpmap:63 red/48000/2\r\n"), "{answer}");
        assert!(answer.contains("a=fmtp:63 111/111\r\n"), "{answer}");
        end.peer.learn_streams().await.expect("they are negotiated");
        assert_eq!(end.peer.audio.payload_type(), 111, "{order}");
        assert_eq!(end.peer.audio.redundant(), Some(63), "{order}");
    }
}

#[tokio::test]
async fn who_does_not_offer_redundancy_is_sent_none() {
    let (mut one, mut two) = (
        End::open(Bitrate::from_kbps(1_000)).await,
        End::open(Bitrate::from_kbps(1_000)).await,
    );
    let offer = one.peer.offer(false).await.expect("we can offer");
    assert!(offer.contains("a=rtpmap:63 red/48000/2\r\n"), "{offer}");
    assert!(offer.contains("a=fmtp:63 111/111\r\n"), "{offer}");
    let lines = offer.lines().filter(|line| !line.contains(":63 "));
    let older: Vec<_> = lines.map(|line| line.replace(" 111 63", " 111")).collect();
    let older = older.join("\r\n") + "\r\n";
    let answer = two.peer.accept(older).await.expect("it is ours, nearly");
    assert!(!answer.contains("red/48000"), "{answer}");
    one.peer.apply(answer).await.expect("it is ours");
    for end in [&mut one, &mut two] {
        end.peer.learn_streams().await.expect("they are negotiated");
        assert_eq!(end.peer.audio.payload_type(), 111);
        assert_eq!(end.peer.audio.redundant(), None);
    }
}
