//! The controller in simulated time: links that are wide, narrow, changing, lossy or silent.
#![expect(
    clippy::disallowed_methods,
    reason = "simulated time starts at whatever the clock says"
)]

use std::time::{Duration, Instant};

use nonstop_rate::{Bitrate, Controller, DataSize, Limits, PacketResult};

/// A link in simulated time: a rate, a queue, a delay, and a sender that follows the estimate.
struct Simulation {
    controller: Controller,
    start: Instant,
    now: Duration,
    capacity: Bitrate,
    busy_until: Duration,
    /// Every n-th packet is lost; zero means none.
    lose_every: u64,
    sent: u64,
    send_at_most: Bitrate,
    worst_queue: Duration,
}

impl Simulation {
    fn new(capacity: Bitrate) -> Self {
        Self {
            controller: Controller::new(Limits::default()),
            start: Instant::now(),
            now: Duration::ZERO,
            capacity,
            busy_until: Duration::ZERO,
            lose_every: 0,
            sent: 0,
            send_at_most: Bitrate::from_kbps(100_000),
            worst_queue: Duration::ZERO,
        }
    }

    /// Frames every 40 ms, feedback every 100 ms, 20 ms of way, at most a second of queue.
    fn run(&mut self, time: Duration) -> Bitrate {
        let end = self.now + time;
        let mut waiting = Vec::new();
        let mut next_feedback = self.now + Duration::from_millis(100);
        self.worst_queue = Duration::ZERO;
        while self.now < end {
            let rate = self.controller.estimate().min(self.send_at_most);
            let mut frame = (rate * Duration::from_millis(40)).bytes();
            while frame > 0 {
                let size = DataSize::from_bytes(frame.min(1200));
                frame -= size.bytes();
                waiting.push(self.send(size));
            }
            self.now += Duration::from_millis(40);
            if self.now >= next_feedback {
                next_feedback += Duration::from_millis(100);
                let (arrived, still): (Vec<_>, Vec<_>) = waiting
                    .drain(..)
                    .partition(|packet| packet.arrival.is_none_or(|at| at <= self.now));
                waiting = still;
                self.controller
                    .handle_feedback(self.start + self.now, &arrived);
            }
        }
        self.controller.estimate()
    }

    fn send(&mut self, size: DataSize) -> PacketResult {
        self.sent += 1;
        self.controller.handle_sent(self.start + self.now, size);
        let begin = self.busy_until.max(self.now);
        let queue = begin - self.now;
        self.worst_queue = self.worst_queue.max(queue);
        let lost = self.lose_every > 0 && self.sent.is_multiple_of(self.lose_every)
            || queue > Duration::from_secs(1);
        if !lost {
            self.busy_until = begin + size / self.capacity;
        }
        PacketResult {
            departure: self.start + self.now,
            arrival: (!lost).then(|| self.busy_until + Duration::from_millis(20)),
            size,
            probe: None,
        }
    }
}

#[test]
fn a_wide_link_is_filled_within_seconds() {
    let mut link = Simulation::new(Bitrate::from_kbps(3_000));
    let estimate = link.run(Duration::from_secs(8));
    assert!(estimate > Bitrate::from_kbps(2_000), "{estimate}");
    assert!(
        link.worst_queue < Duration::from_millis(600),
        "{:?}",
        link.worst_queue
    );
}

#[test]
fn a_narrow_link_is_not_flooded_for_long() {
    let mut link = Simulation::new(Bitrate::from_kbps(200));
    link.run(Duration::from_secs(5));
    let estimate = link.run(Duration::from_secs(10));
    assert!(estimate < Bitrate::from_kbps(230), "{estimate}");
    assert!(estimate > Bitrate::from_kbps(110), "{estimate}");
    assert!(
        link.worst_queue < Duration::from_millis(300),
        "{:?}",
        link.worst_queue
    );
}

#[test]
fn a_link_that_narrows_and_widens_is_followed() {
    let mut link = Simulation::new(Bitrate::from_kbps(3_000));
    link.run(Duration::from_secs(10));
    link.capacity = Bitrate::from_kbps(600);
    link.run(Duration::from_secs(4));
    let estimate = link.run(Duration::from_secs(4));
    assert!(estimate < Bitrate::from_kbps(660), "{estimate}");
    assert!(
        link.worst_queue < Duration::from_millis(300),
        "{:?}",
        link.worst_queue
    );
    link.capacity = Bitrate::from_kbps(3_000);
    let later = link.run(Duration::from_secs(10));
    assert!(later > estimate.scale(1.5), "{later}");
}

#[test]
fn what_is_not_sent_does_not_raise_the_estimate() {
    let mut link = Simulation::new(Bitrate::from_kbps(3_000));
    link.send_at_most = Bitrate::from_kbps(100);
    let estimate = link.run(Duration::from_secs(20));
    assert!(estimate <= Bitrate::from_kbps(600), "{estimate}");
}

#[test]
fn random_loss_does_not_lower_the_rate() {
    let mut link = Simulation::new(Bitrate::from_kbps(10_000));
    link.lose_every = 50;
    let light = link.run(Duration::from_secs(5));
    assert!(light >= Bitrate::from_kbps(600), "{light}");
    link.lose_every = 10;
    let heavy = link.run(Duration::from_secs(5));
    assert!(heavy >= light, "{heavy}");
}

#[test]
fn silence_halves_the_rate_each_second_down_to_the_floor() {
    let mut link = Simulation::new(Bitrate::from_kbps(3_000));
    let before = link.run(Duration::from_secs(5));
    let mut now = link.start + link.now;
    let mut go_on = |seconds: u32| {
        for _ in 0..seconds * 10 {
            now += Duration::from_millis(100);
            let size = DataSize::from_bytes(1_000);
            link.controller.handle_sent(now, size);
            link.controller.handle_timeout(now);
        }
        link.controller.estimate()
    };
    let after = go_on(3);
    assert!(after <= before.scale(0.26), "{before}, {after}");
    assert_eq!(go_on(22), Limits::default().floor);
}

#[test]
fn where_nothing_leaves_any_more_silence_means_nothing() {
    let mut link = Simulation::new(Bitrate::from_kbps(3_000));
    let before = link.run(Duration::from_secs(5));
    let mut now = link.start + link.now + Duration::from_secs(5);
    // The last packet is lost: no feedback will ever speak of it.
    link.controller
        .handle_sent(now, DataSize::from_bytes(1_000));
    for _ in 0..100 {
        now += Duration::from_millis(100);
        link.controller.handle_timeout(now);
    }
    assert_eq!(link.controller.estimate(), before);
    assert_eq!(link.controller.poll_timeout(), None);
}

#[test]
fn silence_at_the_beginning_costs_nothing_once_feedback_comes() {
    let start = Instant::now();
    let mut controller = Controller::new(Limits::default());
    let size = DataSize::from_bytes(1_000);
    controller.handle_sent(start, size);
    let late = start + Duration::from_millis(2_100);
    controller.handle_sent(late, size);
    controller.handle_timeout(late);
    assert!(controller.estimate() < Limits::default().start);
    let packet = PacketResult {
        departure: start,
        arrival: Some(Duration::from_secs(7)),
        size,
        probe: None,
    };
    controller.handle_feedback(late, &[packet]);
    assert!(controller.estimate() >= Limits::default().start.scale(0.69));
}

#[test]
fn a_burst_is_no_standing_queue_but_a_full_buffer_is() {
    let start = Instant::now();
    let mut controller = Controller::new(Limits::default());
    let packet = |departure: u64, arrival: u64| PacketResult {
        departure: start + Duration::from_millis(departure),
        arrival: Some(Duration::from_millis(arrival)),
        size: DataSize::from_bytes(1000),
        probe: None,
    };
    for frame in 0..20 {
        // Each frame leaves at once; its packets arrive 5 ms apart.
        let packets: Vec<_> = (0..4)
            .map(|index| packet(frame * 50, 7_000 + frame * 50 + index * 5))
            .collect();
        controller.handle_feedback(start + Duration::from_millis(frame * 50), &packets);
    }
    assert!(controller.queue_delay() < Duration::from_millis(2));
    for frame in 20..40 {
        let late = packet(frame * 50, 7_120 + frame * 50);
        controller.handle_feedback(start + Duration::from_millis(frame * 50), &[late]);
    }
    assert_eq!(controller.queue_delay(), Duration::from_millis(120));
}
