//! The jitter buffer in simulated time: a sender, a network, and a player that takes 10 ms
//! every 10 ms of its own clock.

#[path = "jitter_ways_tests.rs"]
mod ways;

#[path = "jitter_redundancy_tests.rs"]
mod redundancy;

use std::collections::BTreeSet;

use super::*;
use crate::clock;

/// A small generator: the same seed, the same network.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

struct Scene {
    buffer: JitterBuffer,
    start: Instant,
    /// Number of the next step of the player.
    step: u64,
    /// The player's clock runs slower by so many millionths.
    drift_ppm: f64,
    /// Samples pulled and not yet played.
    pulled: i64,
    /// (arrival in µs, order, packet)
    network: BTreeSet<(i64, u64)>,
    packets: Vec<Packet>,
    heard: Vec<Pull>,
}

impl Scene {
    fn new() -> Self {
        Self {
            buffer: JitterBuffer::new(),
            start: clock::now(),
            step: 0,
            drift_ppm: 0.0,
            pulled: 0,
            network: BTreeSet::new(),
            packets: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Sends packet number `n` (sent at n × 20 ms), to arrive so many ms later.
    fn send(&mut self, n: u64, delay_millis: i64) {
        self.send_as(n, n as u16, (n * 960) as u32, delay_millis);
    }

    fn send_as(&mut self, n: u64, sequence: u16, timestamp: u32, delay_millis: i64) {
        self.send_on(Way::Direct, n, sequence, timestamp, delay_millis, false);
    }

    fn send_on(
        &mut self,
        way: Way,
        n: u64,
        sequence: u16,
        timestamp: u32,
        delay_millis: i64,
        marker: bool,
    ) {
        let arrival = n as i64 * 20_000 + delay_millis * 1000;
        self.network.insert((arrival, self.packets.len() as u64));
        self.packets.push(Packet {
            way,
            sequence,
            timestamp,
            marker,
            recovered: false,
            samples: 960,
            repairs: true,
            payload: Bytes::copy_from_slice(&n.to_be_bytes()),
            arrived: self.start + Duration::from_micros(arrival as u64),
        });
    }

    /// Plays until the player's clock has run for so many ms.
    fn play_until(&mut self, millis: u64) {
        while self.step * 10 < millis {
            let micros = (self.step as f64 * 10_000.0 * (1.0 + self.drift_ppm / 1e6)) as i64;
            while let Some(&(arrival, order)) = self.network.first()
                && arrival <= micros
            {
                self.network.pop_first();
                self.buffer.push(self.packets[order as usize].clone());
            }
            let now = self.start + Duration::from_micros(micros as u64);
            while self.pulled < 480 {
                let ahead = Duration::from_micros(self.pulled as u64 * 1000 / 48);
                let pull = self.buffer.pull(now + ahead);
                self.pulled += match &pull {
                    Pull::Packet(_) => match self.buffer.correction() {
                        Correction::None => 960,
                        Correction::Shorten { .. } => 960 - 240,
                        Correction::Lengthen { .. } => 960 + 240,
                    },
                    Pull::Repair { samples, .. }
                    | Pull::Conceal { samples }
                    | Pull::Silence { samples } => i64::from(*samples),
                };
                self.heard.push(pull);
            }
            self.pulled -= 480;
            self.step += 1;
        }
    }

    fn numbers(&self) -> Vec<u64> {
        (self.heard.iter())
            .filter_map(|pull| match pull {
                Pull::Packet(payload) => payload.as_ref().try_into().ok().map(u64::from_be_bytes),
                _ => None,
            })
            .collect()
    }

    fn repaired(&self) -> usize {
        (self.heard.iter())
            .filter(|pull| matches!(pull, Pull::Repair { .. }))
            .count()
    }

    fn concealed_share(&self) -> f64 {
        let stats = self.buffer.stats();
        stats.concealed as f64 / stats.played as f64
    }
}

#[test]
fn a_perfect_network_is_heard_whole_and_soon() {
    let mut scene = Scene::new();
    for n in 0..1000 {
        scene.send(n, 30);
    }
    scene.play_until(20_000);
    let stats = scene.buffer.stats();
    assert_eq!((stats.concealed, stats.lost), (0, 0));
    assert!(stats.received >= 995);
    let wait = scene.buffer.wait();
    assert!((20..=40).contains(&wait.as_millis()), "{wait:?}");
}

#[test]
fn lost_packets_are_repaired_from_the_next_ones_or_made_up() {
    let mut scene = Scene::new();
    let mut random = Seeded(1);
    let mut lost = 0;
    for n in 0..3000 {
        if random.next(10) == 0 && n > 0 {
            lost += 1;
        } else {
            scene.send(n, 30);
        }
    }
    scene.play_until(60_200);
    let stats = scene.buffer.stats();
    assert!(stats.lost.abs_diff(lost) <= 1, "{stats:?} {lost}");
    assert_eq!(stats.received + lost, 3000);
    // Nine of ten lost packets have a successor, and nearly all of those are repaired.
    assert!(
        scene.repaired() as f64 > 0.8 * lost as f64,
        "{}",
        scene.repaired()
    );
    assert!(scene.concealed_share() < 0.02, "{stats:?}");
    let wait = scene.buffer.wait();
    assert!(wait < Duration::from_millis(70), "{wait:?}");
}

#[test]
fn jitter_raises_the_wait_and_calm_brings_it_down_again() {
    let mut scene = Scene::new();
    let mut random = Seeded(2);
    for n in 0..1000 {
        scene.send(n, 30 + random.next(80) as i64);
    }
    scene.play_until(20_000);
    let stats = scene.buffer.stats();
    assert_eq!(stats.lost, 0, "late packets are played late");
    assert!(scene.concealed_share() < 0.01, "{stats:?}");
    let wait = scene.buffer.wait();
    assert!((60..=140).contains(&wait.as_millis()), "{wait:?}");
    for n in 1000..3000 {
        scene.send(n, 30);
    }
    scene.play_until(60_000);
    let wait = scene.buffer.wait();
    assert!(wait <= Duration::from_millis(45), "{wait:?}");
}

#[test]
fn a_sender_that_is_held_up_now_and_then_costs_little() {
    let mut scene = Scene::new();
    let mut random = Seeded(3);
    let mut free = 0;
    for n in 0..1000i64 {
        // Held up for 50 ms about once a second; what piled up then comes at once.
        if random.next(50) == 0 {
            free = n * 20 + 50;
        }
        scene.send(n as u64, 5 + (free - n * 20).max(0));
    }
    scene.play_until(20_000);
    let stats = scene.buffer.stats();
    assert_eq!(stats.lost, 0);
    assert!(scene.concealed_share() < 0.01, "{stats:?}");
}

#[test]
fn a_burst_after_an_outage_is_worked_off() {
    let mut scene = Scene::new();
    for n in 0..1000 {
        let delay = if (300..340).contains(&n) {
            30 + (340 - n as i64) * 20
        } else {
            30
        };
        scene.send(n, delay);
    }
    scene.play_until(15_000);
    let wait = scene.buffer.wait();
    assert!(wait < Duration::from_millis(200), "{wait:?}");
    scene.play_until(20_000);
    let wait = scene.buffer.wait();
    assert!(wait < Duration::from_millis(60), "{wait:?}");
}

#[test]
fn reordered_and_doubled_packets_are_played_once_and_in_order() {
    let mut scene = Scene::new();
    for n in 0..500 {
        scene.send(n, if n % 5 == 0 { 55 } else { 30 });
        if n % 3 == 0 {
            scene.send(n, 47);
        }
    }
    scene.play_until(10_000);
    let numbers = scene.numbers();
    assert!(numbers.is_sorted() && numbers.windows(2).all(|p| p[0] != p[1]));
    assert!(numbers.len() >= 495);
    assert!(scene.concealed_share() < 0.01);
}

#[test]
fn silence_that_was_not_sent_is_not_made_up_sound() {
    let mut scene = Scene::new();
    let mut sequence = 0u16;
    for n in 0..1000 {
        // One second of voice, one second with a packet every 400 ms, as Opus does.
        if n / 50 % 2 == 0 || n % 20 == 0 {
            scene.send_as(n, sequence, n as u32 * 960, 30);
            sequence += 1;
        }
    }
    scene.play_until(20_000);
    let stats = scene.buffer.stats();
    assert_eq!((stats.concealed, stats.lost), (0, 0));
    assert!(stats.received >= u64::from(sequence) - 1);
}

#[test]
fn a_long_mute_costs_nothing() {
    let mut scene = Scene::new();
    for n in 0..100 {
        scene.send(n, 30);
    }
    for n in 3000..3100 {
        scene.send_as(n, (n - 2900) as u16, n as u32 * 960, 30);
    }
    scene.play_until(62_000);
    let stats = scene.buffer.stats();
    assert_eq!((stats.concealed, stats.lost), (0, 0));
    assert!(stats.received >= 198);
    assert!(scene.buffer.wait() <= Duration::from_millis(50));
}

#[test]
fn an_outage_is_counted_once_it_is_known_to_be_one() {
    let mut scene = Scene::new();
    for n in (0..100).chain(150..300) {
        scene.send(n, 30);
    }
    scene.play_until(6_000);
    let stats = scene.buffer.stats();
    assert_eq!(stats.lost, 50);
    let concealed = stats.concealed / 48;
    assert!((960..=1000).contains(&concealed), "{concealed} ms");
}

#[test]
fn clocks_that_differ_drift_for_ten_minutes_unheard() {
    for drift_ppm in [100.0, -100.0] {
        let mut scene = Scene::new();
        scene.drift_ppm = drift_ppm;
        for n in 0..30_000 {
            scene.send(n, 30);
        }
        scene.play_until(599_000);
        let stats = scene.buffer.stats();
        assert_eq!((stats.concealed, stats.lost), (0, 0), "{drift_ppm}");
        let wait = scene.buffer.wait();
        assert!(
            (10..=50).contains(&wait.as_millis()),
            "{drift_ppm}: {wait:?}"
        );
    }
}

#[test]
fn numbers_that_wrap_are_nothing_special() {
    let mut scene = Scene::new();
    for n in 0..300 {
        let timestamp = (n as u32 * 960).wrapping_sub(100 * 960);
        scene.send_as(n, (n as u16).wrapping_sub(150), timestamp, 30);
    }
    scene.play_until(6_000);
    let stats = scene.buffer.stats();
    assert_eq!((stats.concealed, stats.lost), (0, 0));
    assert!(stats.received >= 297);
}

#[test]
fn a_sender_that_starts_anew_is_heard() {
    let mut scene = Scene::new();
    for n in 0..100 {
        scene.send(n, 30);
    }
    for n in 100..200 {
        scene.send_as(
            n,
            (n as u16).wrapping_add(40_000),
            n as u32 * 960 + 3_000_000_000,
            30,
        );
    }
    scene.play_until(4_000);
    assert!(*scene.numbers().last().expect("sound") >= 197);
    assert!(scene.buffer.stats().received >= 194);
}

#[test]
fn a_flood_does_not_fill_the_memory() {
    let mut scene = Scene::new();
    let mut random = Seeded(4);
    for n in 0..20_000u64 {
        scene.send_as(
            n / 50,
            random.next(65_536) as u16,
            random.next(1 << 32) as u32,
            0,
        );
        scene.send_as(n / 50, n as u16, (n * 960) as u32, 0);
    }
    for millis in (0..8_000).step_by(10) {
        scene.play_until(millis);
        assert!(scene.buffer.packets.len() <= CAPACITY);
    }
}
