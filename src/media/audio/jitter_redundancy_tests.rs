//! Packets that carry one or two before them (RFC 2198), in simulated time.

use super::*;

/// A network and a sender.
#[derive(Clone, Copy)]
struct Course {
    loss_percent: u64,
    /// How many packets before it each carries.
    depth: usize,
    way: Way,
    delay_millis: i64,
    seed: u64,
}

/// Of 100 packets so many carry no copy of the one before in Opus itself, where nobody seems to speak.
const WITHOUT_FEC: u64 = 35;
/// What the second way's sequence numbers begin with.
const OTHER: u64 = 51_000;

impl Scene {
    /// Sends packets through a network that loses some and delays others by up to 10 ms; each carries
    /// those before it, as many as the course says. Returns how many were lost.
    fn send_through(&mut self, course: Course, packets: std::ops::Range<u64>) -> u64 {
        let mut random = Seeded(course.seed);
        let base = if course.way == Way::Direct { 7 } else { OTHER };
        let first = packets.start;
        // Of those that were lost in a row just before: whether they carry a copy in Opus.
        let mut missing: Vec<bool> = Vec::new();
        let mut lost = 0;
        for n in packets {
            let arrives = n == first || random.next(100) >= course.loss_percent;
            let delay = course.delay_millis + random.next(10) as i64;
            let fec = random.next(100) >= WITHOUT_FEC;
            if arrives {
                let carried = missing.len().min(course.depth);
                let skipped = missing.len() - carried;
                for (index, repairs) in missing.drain(..).skip(skipped).enumerate() {
                    let back = (carried - index) as u64;
                    self.send_recovered(course.way, (n, back), base, delay, repairs);
                }
                let number = (base + n) as u16;
                self.send_on(course.way, n, number, (n * 960) as u32, delay, n == first);
                self.packets.last_mut().expect("it was sent").repairs = fec;
            }
            if !arrives {
                lost += 1;
                missing.push(fec);
            }
        }
        lost
    }

    /// Sends packet `n`'s copy of the one so many before it.
    fn send_recovered(
        &mut self,
        way: Way,
        (n, back): (u64, u64),
        base: u64,
        delay_millis: i64,
        repairs: bool,
    ) {
        let earlier = n - back;
        let (sequence, timestamp) = ((base + earlier) as u16, (earlier * 960) as u32);
        let delay = delay_millis + 20 * back as i64;
        self.send_on(way, earlier, sequence, timestamp, delay, false);
        let packet = self.packets.last_mut().expect("it was sent");
        packet.recovered = true;
        packet.repairs = repairs;
    }

    /// Returns the longest sound that was made up without a pause.
    fn longest_gap_millis(&self) -> u32 {
        let (mut longest, mut gap) = (0, 0);
        for pull in &self.heard {
            gap = match pull {
                Pull::Conceal { samples } => gap + samples,
                _ => 0,
            };
            longest = longest.max(gap);
        }
        longest / 48
    }
}

#[test]
fn redundancy_makes_little_of_random_loss() {
    println!("ten minutes of sound: made up and longest gap, with so many packets in each; wait");
    for (loss_percent, most_of_before) in [(2, 0.15), (5, 0.15), (10, 0.2)] {
        let mut made_up = Vec::new();
        for depth in 0..=2 {
            let mut scene = Scene::new();
            let course = Course {
                loss_percent,
                depth,
                way: Way::Direct,
                delay_millis: 30,
                seed: 11,
            };
            let lost = scene.send_through(course, 0..30_000);
            scene.play_until(599_900);
            let stats = scene.buffer.stats();
            let (gap, wait) = (scene.longest_gap_millis(), scene.buffer.wait());
            println!(
                "{loss_percent} %, {depth} carried: {lost} lost, {} recovered, {} missing, \
                 {} ms made up, longest {gap} ms, wait {wait:?}",
                stats.recovered,
                stats.lost,
                stats.concealed / 48,
            );
            // What was recovered is not lost, and nothing is counted twice.
            assert!(
                (stats.recovered + stats.lost).abs_diff(lost) <= 2,
                "{stats:?}"
            );
            assert!(
                (stats.received + stats.lost).abs_diff(30_000) <= 10,
                "{stats:?}"
            );
            assert_eq!(stats.recovered > 0, depth > 0);
            made_up.push(stats.concealed as f64);
            if depth > 0 && loss_percent <= 2 {
                assert!(gap <= 60 / depth as u32, "{gap} ms");
            }
            assert!(wait < Duration::from_millis(110), "{wait:?}");
        }
        let share = made_up[1] / made_up[0];
        assert!(share < most_of_before, "{loss_percent} %: {share}");
        assert!(made_up[2] < made_up[1], "{loss_percent} %: {made_up:?}");
    }
}

#[test]
fn redundancy_without_loss_changes_nothing() {
    let mut scene = Scene::new();
    for n in 0..1_000 {
        if n > 0 {
            scene.send_recovered(Way::Direct, (n, 1), 0, 30, true);
        }
        scene.send(n, 30);
    }
    scene.play_until(19_900);
    let stats = scene.buffer.stats();
    assert_eq!((stats.concealed, stats.lost, stats.recovered), (0, 0, 0));
    assert!(scene.buffer.wait() <= Duration::from_millis(40));
    let numbers = scene.numbers();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}

#[test]
fn a_packet_that_was_overtaken_by_its_copy_is_played_once_and_was_not_lost() {
    let mut scene = Scene::new();
    for n in 0..500 {
        let late = n % 5 == 3;
        if n % 5 == 4 {
            scene.send_recovered(Way::Direct, (n, 1), 0, 30, true);
        }
        scene.send(n, if late { 55 } else { 30 });
    }
    scene.play_until(9_900);
    let stats = scene.buffer.stats();
    // Until the wait is long enough, some copies are needed.
    assert!(stats.recovered < 10 && stats.lost == 0, "{stats:?}");
    let numbers = scene.numbers();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(numbers.len() >= 490);
}

#[test]
fn recovered_sound_does_not_disturb_a_change_of_ways() {
    let changes = [
        (Way::Direct, Way::Relayed, 25),
        (Way::Direct, Way::Relayed, 120),
        (Way::Relayed, Way::Direct, -25),
        (Way::Relayed, Way::Direct, 0),
    ];
    for (seed, (from, to, slower)) in (20..).step_by(2).zip(changes) {
        let course = |way, delay_millis, seed| Course {
            loss_percent: 5,
            depth: 1,
            way,
            delay_millis,
            seed,
        };
        let mut scene = Scene::new();
        scene.send_through(course(from, 40, seed), 0..3_200);
        scene.send_through(course(to, 40 + slower, seed + 1), 3_000..6_000);
        scene.play_until(58_000);
        let before = scene.buffer.stats();
        scene.play_until(66_000);
        let change = scene.buffer.stats();
        scene.play_until(119_000);
        let after = scene.buffer.stats();
        let missing = |one: JitterStats, other: JitterStats| other.concealed - one.concealed;
        println!(
            "{from:?} to {to:?}, {slower} ms slower: {} ms made up in 58 s, {} in the 8 s of the change, {} in 53 s",
            before.concealed / 48,
            missing(before, change) / 48,
            missing(change, after) / 48,
        );
        let numbers = scene.numbers();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        // While both bring it, hardly anything is lost; what one of them recovers is not.
        assert!(missing(before, change) / 48 <= 60, "{change:?}");
        assert!(after.lost * 100 < after.received, "{after:?}");
        assert!(after.in_time[to as usize] >= 100, "{after:?}");
    }
}

#[test]
fn copies_that_belong_nowhere_are_left_alone() {
    let mut scene = Scene::new();
    // Before anything came, of an unknown way, and with numbers that make no sense.
    scene.send_recovered(Way::Direct, (1, 1), 0, 0, true);
    for n in 1..200 {
        scene.send(n, 30);
        if n % 10 == 0 {
            scene.send_recovered(Way::Relayed, (n, 1), 5, 30, true);
            scene.send_recovered(Way::Direct, (n, 1), 9_000, 30, true);
            scene.send_recovered(Way::Direct, (n + 50, 1), 0, 30 - 1_000, true);
            scene.packets.last_mut().expect("it was sent").timestamp += 3_000_000_000;
        }
    }
    scene.play_until(3_900);
    let stats = scene.buffer.stats();
    assert_eq!((stats.concealed, stats.lost, stats.recovered), (0, 0, 0));
    assert!(stats.received >= 190);
}
