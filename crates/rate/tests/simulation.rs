//! The controller and the pacer in simulated calls, and whether the simulation itself is right.
#[allow(dead_code, reason = "the benchmark uses more of it")]
mod sim;

use std::time::Duration;

use nonstop_rate::{Bitrate, Limits};
use sim::{
    cases::{CASES, Case, Run},
    encoder::Encoder,
    figures::Stretch,
    receiver::Habits,
    sender::Source,
    tcp::{Law, Work},
    world::World,
};

const fn run(seed: u64) -> Run {
    Run {
        seed,
        feedback_gap: Duration::from_millis(25),
        trace: false,
    }
}

fn case(name: &str) -> &'static Case {
    let case = CASES.iter().find(|case| case.name == name);
    case.expect("a case of this name")
}

fn values(case: &Case, seed: u64) -> Vec<Option<f64>> {
    let figures = (case.run)(run(seed));
    figures.iter().map(|figure| figure.value).collect()
}

#[test]
fn a_seed_repeats_a_run() {
    let case = case("const1");
    assert_eq!(values(case, 1), values(case, 1));
    assert_ne!(values(case, 1), values(case, 2));
}

#[test]
fn every_case_has_figures_that_can_be() {
    for case in CASES {
        for figure in (case.run)(run(1)) {
            let Some(value) = figure.value else { continue };
            let what = format!("{}: {} {value}", case.name, figure.name);
            assert!(value.is_finite() && value >= 0.0, "{what}");
            if matches!(figure.unit, "share") && !figure.name.starts_with("change") {
                assert!(value <= 1.02, "{what}");
            }
        }
    }
}

#[test]
fn one_tcp_flow_fills_a_link_and_two_share_it() {
    let long = Work::Long(Duration::ZERO, Duration::MAX);
    for law in [Law::Cubic, Law::Reno] {
        let mut world = World::new(3);
        let forth = world.link("rate=2mbit queue=200ms delay=30ms");
        let back = world.link("rate=100mbit delay=30ms");
        let first = world.tcp(&[forth], &[back], law, long);
        world.run(30.0);
        let log = world.log(forth);
        let alone = Stretch::new(&log, 5.0, 30.0);
        assert!(alone.filled(2e6) > 0.97, "{law:?}: {}", alone.filled(2e6));

        let second = world.tcp(&[forth], &[back], law, long);
        world.run(150.0);
        let log = world.log(forth);
        let both = Stretch::new(&log, 70.0, 150.0);
        let share = both.rate_of(first) / (both.rate_of(first) + both.rate_of(second));
        assert!((0.25..0.75).contains(&share), "{law:?}: {share}");
    }
}

#[test]
fn the_encoder_follows_its_target_with_a_lag_and_keeps_it_in_the_mean() {
    let mut encoder = Encoder::new(Bitrate::from_kbps(2_500), 5);
    let rate = |encoder: &mut Encoder, frames: u32| {
        let bytes: usize = (0..frames).map(|_| encoder.encode(false)).sum();
        bytes as f64 * 8.0 * 30.0 / f64::from(frames) / 1e3
    };
    encoder.set_target(Bitrate::from_kbps(9_000));
    let most = rate(&mut encoder, 600);
    assert!((2_400.0..2_600.0).contains(&most), "{most}");
    encoder.set_target(Bitrate::from_kbps(600));
    assert!(rate(&mut encoder, 1) > 900.0, "not at once");
    rate(&mut encoder, 20);
    let settled = rate(&mut encoder, 600);
    assert!((570.0..630.0).contains(&settled), "{settled}");
    let keyframe = encoder.encode(true) as f64 / (600e3 / 8.0 / 30.0);
    assert!((3.5..6.5).contains(&keyframe), "{keyframe}");
}

#[test]
fn an_outage_is_one_freeze_and_pictures_go_on_after_it() {
    let mut world = World::new(9);
    let forth = world.link("rate=4mbit delay=20ms");
    let back = world.link("rate=4mbit delay=20ms");
    world.at(10.0, forth, "cut=1s");
    let flow = world.media(&[forth], &[back], Source::default(), Habits::default());
    world.run(20.0);
    let received = &world.receiver(flow).received;
    assert!((1..=3).contains(&received.freezes), "{}", received.freezes);
    assert!(received.frozen >= Duration::from_secs(1));
    assert!(*received.frames.last().unwrap() > Duration::from_secs(19));
}

#[test]
fn the_estimate_stays_within_its_limits_whatever_the_network_does() {
    let limits = Limits::default();
    let networks = [
        "rate=30kbit queue=2s",
        "rate=200kbit queue=100ms loss=20%",
        "rate=none delay=300ms jitter=100ms dist=normal",
        "rate=3mbit queue=50ms ge=5,20 dup=5% reorder=10%,80ms",
        "rate=800kbit queue=1s aqm=codel delay=80ms",
    ];
    for (seed, words) in networks.iter().enumerate() {
        let mut world = World::new(seed as u64);
        let (forth, back) = (world.link(words), world.link(words));
        world.at(8.0, forth, "rate=100kbit");
        world.at(12.0, forth, "cut=3s");
        let flow = world.media(&[forth], &[back], Source::default(), Habits::default());
        world.run_until(Duration::from_secs(25), |world| {
            let controller = &world.sender(flow).controller;
            let estimate = controller.estimate();
            assert!(estimate >= limits.floor && estimate <= limits.ceiling);
            assert!(
                controller
                    .loss()
                    .is_none_or(|loss| (0.0..=1.0).contains(&loss))
            );
        });
        let received = &world.receiver(flow).received;
        assert!(received.audio > 0, "{words}");
    }
}

#[test]
fn four_links_through_one_narrow_uplink_do_not_fight() {
    for seed in 1..4 {
        let [lost, queue, jain, ..] = values(case("uplink"), seed)[..] else {
            panic!("the case has changed")
        };
        assert_eq!(lost, Some(0.0), "audio");
        assert!(queue.is_some_and(|queue| queue < 150.0), "{queue:?} ms");
        assert!(jain.is_some_and(|jain| jain > 0.95), "{jain:?}");
    }
}

#[test]
fn squeezing_one_link_leaves_the_others_alone() {
    for seed in 1..4 {
        let change = values(case("squeezed"), seed)[0];
        assert!(change.is_some_and(|change| change <= 0.05), "{change:?}");
    }
}
