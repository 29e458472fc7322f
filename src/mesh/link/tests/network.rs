//! Links over a bad network: a UDP proxy on loopback that loses, delays, squeezes and blocks.
//!
//! ```text
//! one ──▶ [two's stand-in] ═ lose, squeeze, delay ═ [one's stand-in] ──▶ two
//! ```
//! Candidates are rewritten on their way, so that each side knows only the other's stand-in.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed},
};

use tokio::net::UdpSocket;

use super::*;

/// How bad the network is; may change at any time.
#[derive(Debug, Default)]
struct Weather {
    /// Of a thousand packets each way.
    lost: AtomicU64,
    blocked: AtomicBool,
    /// Bits a second each way; zero is no limit.
    capacity: AtomicU64,
}

pub(super) struct Network {
    weather: Arc<Weather>,
    /// Ports of the two sides and of their stand-ins.
    real: [Arc<AtomicU16>; 2],
    stand_in: [u16; 2],
    _tasks: JoinSet<()>,
}

/// One way of the proxy holds this long at most; what comes on top is lost.
const MOST_QUEUED: Duration = Duration::from_millis(400);
const DELAY: Duration = Duration::from_millis(15);

impl Network {
    pub(super) async fn start() -> Self {
        let weather = Arc::new(Weather::default());
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
            sockets.push(Arc::new(socket.expect("loopback has ports")));
        }
        let port = |socket: &UdpSocket| socket.local_addr().expect("it is bound").port();
        let stand_in = [port(&sockets[0]), port(&sockets[1])];
        let real = [Arc::new(AtomicU16::new(0)), Arc::new(AtomicU16::new(0))];
        let mut tasks = JoinSet::new();
        for side in 0..2 {
            // What side 0 sends comes to the stand-in of side 1, and leaves from its own.
            tasks.spawn(forward(
                Arc::clone(&sockets[1 - side]),
                Arc::clone(&sockets[side]),
                Arc::clone(&real[1 - side]),
                Arc::clone(&weather),
                side as u64,
            ));
        }
        Self {
            weather,
            real,
            stand_in,
            _tasks: tasks,
        }
    }

    /// Carries the messages of a side, and puts its stand-in into its candidates.
    fn carrier(&self, side: usize) -> Carrier {
        let (real, stand_in) = (Arc::clone(&self.real[side]), self.stand_in[side]);
        // The line with the stand-in's port, if it is the one on loopback.
        let rewrite = move |line: &str| {
            let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            if words.get(4).is_none_or(|address| address != "127.0.0.1") {
                return None;
            }
            real.store(words[5].parse().expect("a port"), Relaxed);
            words[5] = stand_in.to_string();
            Some(words.join(" "))
        };
        Box::new(move |message| match message {
            PeerMessage::Candidate {
                candidate,
                sdp_mid,
                sdp_mline_index,
                username_fragment,
            } => {
                let rewritten = rewrite(&candidate).map(|candidate| PeerMessage::Candidate {
                    candidate,
                    sdp_mid,
                    sdp_mline_index,
                    username_fragment,
                });
                rewritten.into_iter().collect()
            }
            PeerMessage::Description { kind, sdp } => {
                let lines = sdp
                    .lines()
                    .filter_map(|line| match line.starts_with("a=candidate:") {
                        true => rewrite(line),
                        false => Some(line.to_owned()),
                    });
                let sdp = lines.map(|line| format!("{line}\r\n")).collect();
                vec![PeerMessage::Description { kind, sdp }]
            }
            other => vec![other],
        })
    }

    /// Lets so many kilobits a second through, each way.
    pub(super) fn squeeze(&self, kbps: u64) {
        self.weather.capacity.store(kbps * 1_000, Relaxed);
    }

    pub(super) async fn pair(&self) -> (Side, Side) {
        let (mut one, mut two) = pair((true, false), (self.carrier(0), self.carrier(1)));
        one.connected().await;
        two.connected().await;
        (one, two)
    }
}

async fn forward(
    from: Arc<UdpSocket>,
    through: Arc<UdpSocket>,
    to: Arc<AtomicU16>,
    weather: Arc<Weather>,
    seed: u64,
) {
    let mut random = seed * 7_919 + 17;
    let mut queue: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut free_at = clock::now();
    let mut buffer = vec![0; 2_048];
    loop {
        let due = queue.front().map(|(at, _)| (*at).into());
        tokio::select! {
            biased;
            () = async { tokio::time::sleep_until(due.unwrap()).await }, if due.is_some() => {
                let (_, packet) = queue.pop_front().expect("it is due");
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, to.load(Relaxed)));
                let _ = through.send_to(&packet, address).await;
            }
            Ok((size, _)) = from.recv_from(&mut buffer) => {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let lost = (random >> 33) % 1_000 < weather.lost.load(Relaxed);
                let now = clock::now();
                free_at = free_at.max(now);
                if lost || weather.blocked.load(Relaxed) || free_at - now > MOST_QUEUED {
                    continue;
                }
                let capacity = weather.capacity.load(Relaxed);
                let micros = ((size as u64 + 28) * 8_000_000).checked_div(capacity);
                free_at += Duration::from_micros(micros.unwrap_or(0));
                queue.push_back((free_at + DELAY, buffer[..size].to_vec()));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_packet_in_twenty_lost_pictures_keep_coming_and_none_is_broken() {
    let network = Network::start().await;
    network.weather.lost.store(50, Relaxed);
    let (mut one, mut two) = network.pair().await;
    // Reading a counter fails on a picture that is not as it was sent.
    let counters = one.counters(60).await;
    assert!(counters.is_sorted(), "{counters:?}");
    two.counters(20).await;
    let (mut retransmitted, mut sent) = (Bitrate::ZERO, Bitrate::ZERO);
    let mut lost = 0.0;
    for _ in 0..6 {
        let stats = one.stats().await;
        retransmitted += stats.retransmitted.unwrap_or_default();
        sent += stats.video_sent.unwrap_or_default();
        lost += stats.loss_sent.unwrap_or_default() / 6.0;
    }
    println!("{retransmitted} sent again of {sent}, {lost} lost");
    assert!(retransmitted > Bitrate::ZERO);
    // Nothing is asked for in vain again and again, and no copy is taken for lost.
    assert!(retransmitted < sent.scale(0.4), "{retransmitted} of {sent}");
    assert!(lost < 0.1, "{lost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_packet_in_twenty_lost_sound_carries_what_is_lost() {
    let network = Network::start().await;
    let (mut one, mut two) = network.pair().await;
    one.counters(3).await;
    two.counters(3).await;
    let heard = |side: &Side| side.voice.stats().newest().unwrap_or_default();
    assert_eq!(heard(&two).recovered, 0, "nothing is lost yet");
    network.weather.lost.store(50, Relaxed);
    let mut first = None;
    let last = loop {
        // Figures come once a second.
        two.stats().await;
        let now = heard(&two);
        if now.recovered > 0 {
            let first = *first.get_or_insert(now);
            if now.recovered >= first.recovered + 15 {
                break (first, now);
            }
        }
    };
    let recovered = last.1.recovered - last.0.recovered;
    let lost = last.1.lost - last.0.lost;
    println!("{recovered} recovered, {lost} lost");
    assert!(lost * 2 < recovered, "{lost} of {recovered}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_is_blocked_for_a_while_is_noticed_and_used_again() {
    let network = Network::start().await;
    let (mut one, mut two) = network.pair().await;
    one.counters(3).await;
    network.weather.blocked.store(true, Relaxed);
    one.interrupted().await;
    two.interrupted().await;
    network.weather.blocked.store(false, Relaxed);
    one.connected().await;
    two.connected().await;
    one.counters(5).await;
    two.counters(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_is_blocked_for_long_is_restored_by_a_restart() {
    let network = Network::start().await;
    let (mut one, mut two) = network.pair().await;
    one.counters(3).await;
    network.weather.blocked.store(true, Relaxed);
    one.interrupted().await;
    // Long enough for the restart, whose candidates have other ports.
    tokio::time::sleep(Duration::from_secs(6)).await;
    network.weather.blocked.store(false, Relaxed);
    one.connected().await;
    two.connected().await;
    one.counters(5).await;
    two.counters(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrow_link_carries_pictures_and_sound() {
    let network = Network::start().await;
    network.weather.capacity.store(200_000, Relaxed);
    let (mut one, mut two) = network.pair().await;
    let begun = clock::now();
    let mut last = LinkStats::default();
    while clock::now() - begun < Duration::from_secs(12) {
        last = one.stats().await;
    }
    assert!(
        last.estimate
            .is_some_and(|estimate| estimate < Bitrate::from_kbps(300)),
        "{last:?}"
    );
    one.counters(5).await;
    two.counters(5).await;
    let heard = one.voice.stats().newest().expect("sound came");
    assert!(heard.received > 300, "{heard:?}");
}
