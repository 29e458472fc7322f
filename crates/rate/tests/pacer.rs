//! What leaves when, in simulated time.
#![expect(
    clippy::disallowed_methods,
    reason = "simulated time starts at whatever the clock says"
)]

use std::time::{Duration, Instant};

use nonstop_rate::{Bitrate, Class, DataSize, Departure, MOST_WAIT, Pacer, Plan, Probe, ProbeId};

const PACKET: DataSize = DataSize::from_bytes(1_000);
const DELTA: Class = Class::Video {
    stream: 0,
    first: true,
    keyframe: false,
};
const KEYFRAME: Class = Class::Video {
    stream: 0,
    first: true,
    keyframe: true,
};

fn plan(kbps: u64) -> Plan {
    Plan {
        estimate: Bitrate::from_kbps(kbps),
        pace: Bitrate::from_kbps(kbps),
        window: DataSize::from_bytes(1_000_000),
        in_flight: DataSize::ZERO,
        congested: false,
    }
}

/// What left: its number (padding has none), when, and how large it is.
type Left = (Option<u32>, Duration, DataSize);

struct Scene {
    pacer: Pacer<u32>,
    start: Instant,
    now: Instant,
    plan: Plan,
    left: Vec<Left>,
    /// How often the pacer was looked at.
    polls: u32,
}

impl Scene {
    fn new(plan: Plan) -> Self {
        let start = Instant::now();
        Self {
            pacer: Pacer::new(),
            start,
            now: start,
            plan,
            left: Vec::new(),
            polls: 0,
        }
    }

    fn push(&mut self, number: u32, class: Class) -> bool {
        let pushed = self.pacer.push(self.now, number, PACKET, class, &self.plan);
        self.drain();
        pushed
    }

    fn drain(&mut self) {
        self.polls += 1;
        while let Some(departure) = self.pacer.poll(self.now, &self.plan) {
            let (number, size) = match departure {
                Departure::Packet { packet, size, .. } => (Some(packet), size),
                Departure::Padding { size, .. } => (None, size),
            };
            self.left.push((number, self.now - self.start, size));
        }
    }

    /// Lets time pass, and looks whenever the pacer asks for it, on a clock of milliseconds.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.pacer.poll_timeout().filter(|due| *due <= end) {
            let millis = due
                .saturating_duration_since(self.start)
                .as_micros()
                .div_ceil(1_000);
            let tick = self.start + Duration::from_millis(millis as u64);
            self.now = tick.max(self.now + Duration::from_millis(1));
            self.drain();
        }
        self.now = self.now.max(end);
    }

    fn numbers(&self) -> Vec<u32> {
        self.left
            .iter()
            .filter_map(|(number, ..)| *number)
            .collect()
    }

    fn left_at(&self, number: u32) -> Option<Duration> {
        let left = self.left.iter().find(|(left, ..)| *left == Some(number));
        left.map(|(_, at, _)| *at)
    }
}

#[test]
fn pictures_leave_at_the_pace_with_few_wake_ups() {
    let mut scene = Scene::new(plan(800));
    // 1000 bytes at 800 kb/s are 10 ms each.
    for number in 0..20 {
        assert!(scene.push(number, DELTA));
    }
    scene.run(Duration::from_millis(100));
    assert!((10..=12).contains(&scene.left.len()), "{:?}", scene.left);
    assert!(scene.polls < 40, "{}", scene.polls);
    assert_eq!(
        scene.pacer.waiting().bytes(),
        1_000 * (20 - scene.left.len() as u64)
    );
}

#[test]
fn audio_never_waits() {
    let mut scene = Scene::new(plan(100));
    for number in 0..30 {
        scene.push(number, DELTA);
    }
    // Nothing else may leave, and something is sent again, too.
    scene.plan.in_flight = scene.plan.window;
    scene.push(30, Class::Retransmission);
    for number in 100..150 {
        scene.run(Duration::from_millis(20));
        let before = scene.now - scene.start;
        scene.push(number, Class::Audio);
        assert_eq!(scene.left_at(number), Some(before));
    }
}

#[test]
fn what_is_sent_again_goes_first_and_has_a_budget() {
    for (congested, share) in [(false, 0.4_f64), (true, 0.2)] {
        let mut scene = Scene::new(plan(800));
        scene.plan.congested = congested;
        for number in 0..5 {
            scene.push(number, DELTA);
        }
        assert!(scene.push(5, Class::Retransmission));
        scene.run(Duration::from_millis(40));
        let order = scene.numbers();
        let place = |number| order.iter().position(|left| *left == number);
        assert!(place(5) < place(2), "{order:?}");
        let mut sent = 0;
        for number in 0..1_000 {
            sent += u32::from(scene.push(100 + number, Class::Retransmission));
            scene.run(Duration::from_millis(1));
        }
        // Of 100 packets a second, and a second's worth (or six packets) saved up.
        let expected = 100.0 * share;
        let most = expected + expected.max(6.0) + 1.0;
        assert!(
            f64::from(sent) <= most && f64::from(sent) >= expected,
            "{sent}, {most}"
        );
    }
}

#[test]
fn what_is_sent_again_leaves_beside_the_pace_but_not_much_at_once() {
    for (congested, at_once, then, pictures) in [(false, 11, 15, 16..=17), (true, 0, 6, 10..=11)] {
        let mut scene = Scene::new(Plan {
            congested,
            ..plan(800)
        });
        // 10 ms each, and a second's allowance.
        for number in 0..20 {
            scene.push(number, DELTA);
        }
        scene.run(Duration::from_millis(100));
        for number in 100..115 {
            assert!(scene.push(number, Class::Retransmission));
        }
        let again = |scene: &Scene| {
            let numbers = scene.numbers();
            numbers.iter().filter(|number| **number >= 100).count()
        };
        scene.drain();
        assert_eq!(again(&scene), at_once);
        scene.polls = 0;
        scene.run(Duration::from_millis(60));
        assert_eq!(again(&scene), then);
        // Pictures do not wait for it where the link is not full.
        let left = scene.numbers().len() - again(&scene);
        assert!(pictures.contains(&left), "{left}");
        assert!(scene.polls < 20, "{}", scene.polls);
    }
}

#[test]
fn nothing_waits_for_long_and_what_was_dropped_is_made_good_by_a_keyframe() {
    let mut scene = Scene::new(plan(80));
    // 100 ms each: a second of pictures at once.
    for number in 0..10 {
        assert!(scene.push(number, DELTA));
    }
    scene.run(MOST_WAIT);
    assert!(scene.pacer.needs_keyframe(0));
    assert_eq!(scene.pacer.waiting(), DataSize::ZERO);
    assert_eq!(scene.pacer.dropped(), 10 - scene.left.len() as u64);
    // What refers to a dropped picture is of no use.
    assert!(!scene.push(10, DELTA));
    assert!(scene.push(11, KEYFRAME));
    assert!(!scene.pacer.needs_keyframe(0));
    assert!(scene.push(12, DELTA));
    scene.run(Duration::from_millis(200));
    assert!(scene.left_at(11).is_some() && scene.left_at(12).is_some());
    assert!(scene.left_at(10).is_none());
}

#[test]
fn a_keyframe_that_waits_behind_old_pictures_is_kept() {
    let mut scene = Scene::new(plan(80));
    for number in 0..10 {
        scene.push(number, DELTA);
    }
    scene.run(Duration::from_millis(150));
    scene.push(10, KEYFRAME);
    scene.push(
        11,
        Class::Video {
            stream: 0,
            first: false,
            keyframe: true,
        },
    );
    scene.run(Duration::from_millis(300));
    assert!(!scene.pacer.needs_keyframe(0));
    assert!(scene.left_at(10).is_some(), "{:?}", scene.left);
    assert!(scene.pacer.dropped() > 0);
}

#[test]
fn a_layer_that_was_dropped_breaks_no_other_and_is_made_good_by_its_own_keyframe() {
    let picture = |stream, keyframe| Class::Video {
        stream,
        first: true,
        keyframe,
    };
    let mut scene = Scene::new(plan(80));
    for number in 0..10 {
        scene.push(number, picture(1, false));
    }
    scene.run(MOST_WAIT - Duration::from_millis(50));
    scene.push(10, picture(0, false));
    scene.run(Duration::from_millis(60));
    assert!(scene.pacer.needs_keyframe(1) && !scene.pacer.needs_keyframe(0));
    scene.run(Duration::from_millis(150));
    assert!(scene.left_at(10).is_some());
    // The keyframe of another layer does not help.
    assert!(scene.push(11, picture(0, true)));
    assert!(!scene.push(12, picture(1, false)));
    assert!(scene.push(13, picture(1, true)));
    assert!(!scene.pacer.needs_keyframe(1));
}

#[test]
fn under_congestion_a_keyframe_replaces_what_waits_of_its_own_layer_only() {
    let picture = |stream, keyframe| Class::Video {
        stream,
        first: true,
        keyframe,
    };
    let mut plan = plan(80);
    plan.congested = true;
    let mut scene = Scene::new(plan);
    for number in 0..4 {
        scene.push(number, picture(number as u16 % 2, false));
    }
    scene.push(4, picture(1, true));
    scene.run(Duration::from_millis(240));
    assert!(scene.left_at(2).is_some() && scene.left_at(4).is_some());
    assert!(scene.left_at(3).is_none(), "{:?}", scene.left);
}

#[test]
fn no_picture_leaves_later_than_the_bound() {
    for kbps in [60, 100, 300, 1_000] {
        let mut scene = Scene::new(plan(kbps));
        let mut pushed = Vec::new();
        for number in 0..300 {
            let class = if number % 30 == 0 { KEYFRAME } else { DELTA };
            pushed.push(scene.now - scene.start);
            scene.push(number, class);
            scene.run(Duration::from_millis(20));
        }
        for (number, at, _) in &scene.left {
            let number = number.expect("no padding was asked for");
            assert!(
                *at - pushed[number as usize] <= MOST_WAIT,
                "{kbps}: {number}"
            );
        }
    }
}

#[test]
fn a_probe_sends_its_size_at_its_rate() {
    let probe = Probe {
        id: ProbeId(7),
        rate: Bitrate::from_kbps(2_000),
        size: DataSize::from_bytes(5_000),
        packets: 5,
    };
    // With nothing to send, and with pictures that are paced faster or slower on their own.
    for (waiting, kbps) in [(0, 800), (3, 100), (3, 5_000)] {
        let mut scene = Scene::new(plan(kbps));
        for number in 0..waiting {
            scene
                .pacer
                .push(scene.now, number, PACKET, DELTA, &scene.plan);
        }
        scene.pacer.start_probe(probe);
        scene.drain();
        scene.run(Duration::from_millis(100));
        let probe_end = scene.left.iter().scan(0, |sum, (_, at, size)| {
            let before = *sum;
            *sum += size.bytes();
            Some((before, *at))
        });
        // No byte leaves before its time, and none much later; timers tick in milliseconds.
        for (before, at) in probe_end {
            let due = DataSize::from_bytes(before) / probe.rate;
            let late = at.as_secs_f64() - due.as_secs_f64();
            assert!(
                (-0.0001..=0.0025).contains(&late),
                "{waiting} {kbps}: {:?}",
                scene.left
            );
        }
        let sent: DataSize = scene.left.iter().map(|(.., size)| *size).sum();
        assert!((5_000..=6_200).contains(&sent.bytes()), "{sent}");
        assert!(scene.left.len() >= 5);
        assert_eq!(scene.numbers().len() as u32, waiting);
        assert_eq!(scene.pacer.poll_timeout(), None);
    }
}

#[test]
fn the_window_holds_back_pictures_and_nothing_else() {
    let mut scene = Scene::new(plan(1_000));
    scene.plan.in_flight = scene.plan.window;
    scene.push(0, DELTA);
    scene.push(1, Class::Audio);
    scene.push(2, Class::Retransmission);
    scene.run(Duration::from_millis(50));
    assert_eq!(scene.numbers(), [1, 2]);
    // Only feedback changes anything: the pacer does not ask to be looked at all the time.
    assert!(scene.polls < 10, "{}", scene.polls);
    scene.plan.in_flight = DataSize::ZERO;
    scene.drain();
    assert_eq!(scene.numbers(), [1, 2, 0]);

    scene.plan.in_flight = scene.plan.window;
    scene.pacer.start_probe(Probe {
        id: ProbeId(1),
        rate: Bitrate::from_kbps(1_000),
        size: DataSize::from_bytes(2_000),
        packets: 4,
    });
    scene.push(3, DELTA);
    scene.run(Duration::from_millis(30));
    assert_eq!(scene.numbers(), [1, 2, 0, 3]);
    assert!(scene.left.iter().any(|(number, ..)| number.is_none()));
}

#[test]
fn under_congestion_a_keyframe_takes_the_place_of_what_waits() {
    for congested in [false, true] {
        let mut scene = Scene::new(Plan {
            congested,
            ..plan(100)
        });
        for number in 0..5 {
            scene.push(number, DELTA);
        }
        let before = scene.numbers().len() as u64;
        scene.push(9, KEYFRAME);
        // A keyframe that waits is never given up for the next.
        scene.push(10, KEYFRAME);
        let superseded = if congested { 5 - before } else { 0 };
        assert_eq!(scene.pacer.dropped(), superseded);
        assert!(!scene.pacer.needs_keyframe(0));
    }
}
