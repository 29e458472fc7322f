//! What happens when the selected path dies, or seems to.

use std::time::Duration;

use nonstop_ice::{Base, Event, RelayProtocol, Way};

use crate::{
    network::{Nat, Port},
    world::{Hop, World, millis},
};

const DIRECT: Base = Base(0);
const RELAY: Base = Base(1);

/// A call that has a direct path and, through both relays, a standby.
fn call(seed: u64) -> World {
    let mut world = World::ordinary(seed, [Nat::PortRestricted, Nat::PortRestricted]);
    world.jitter = millis(5);
    world.connect();
    world.talk();
    world.run(millis(5_000) + Duration::from_micros(seed * 1_937 % 20_000));
    for side in 0..2 {
        assert_eq!(world.path(side).unwrap().way, Way::Direct);
        let standby = world.sides[side].agent.standby().unwrap();
        assert_eq!((standby.base, standby.way), (RELAY, Way::RelayUdp));
    }
    world
}

fn is_direct(hop: Hop) -> bool {
    hop.from == DIRECT || hop.to == DIRECT
}

fn both_on_relays(world: &World) -> bool {
    (0..2).all(|side| world.path(side).is_some_and(|it| it.base == RELAY)) && world.agree()
}

/// The longest time, from this time on, in which a side got no audio packet.
fn longest_gap(world: &World, side: usize, from: Duration) -> Duration {
    let heard = &world.sides[side].heard;
    let times: Vec<Duration> = heard
        .iter()
        .map(|it| it.0)
        .filter(|it| *it >= from)
        .collect();
    times.windows(2).map(|it| it[1] - it[0]).max().unwrap()
}

#[test]
fn a_dead_path_is_left_within_300_ms() {
    let mut worst = [Duration::ZERO; 2];
    for seed in 0..50 {
        let mut world = call(seed);
        let cut_at = world.elapsed();
        world.cut(is_direct);
        let took = world.run_until(millis(2_000), both_on_relays).unwrap();
        assert!(took <= millis(300), "seed {seed}: {took:?}");
        world.run(millis(3_000));
        assert!(both_on_relays(&world));
        worst[0] = worst[0].max(took);
        for side in 0..2 {
            worst[1] = worst[1].max(longest_gap(&world, side, cut_at - millis(100)));
            // One change, and no more.
            let late = world.sides[side].paths.iter().filter(|it| it.0 >= cut_at);
            assert_eq!(late.count(), 1, "seed {seed}");
        }
    }
    println!(
        "both sides on the standby: {:?}, longest gap heard: {:?}",
        worst[0], worst[1]
    );
    assert!(worst[1] <= millis(330), "{worst:?}");
}

#[test]
fn a_path_that_is_dead_in_one_direction_is_left_by_both() {
    let mut worst = Duration::ZERO;
    for seed in 0..50 {
        for deaf in 0..2 {
            let mut world = call(seed);
            world.cut(move |hop| is_direct(hop) && hop.from_side == deaf);
            let took = world.run_until(millis(2_000), both_on_relays).unwrap();
            worst = worst.max(took);
            assert!(took <= millis(420), "seed {seed}: {took:?}");
        }
    }
    println!("dead in one direction: {worst:?}");
}

#[test]
fn a_dead_path_is_left_in_a_call_without_media_too() {
    let mut worst = Duration::ZERO;
    for seed in 0..50 {
        let mut world = call(seed);
        world.hush(0);
        world.hush(1);
        world.run(millis(5_000 + seed * 37));
        world.cut(is_direct);
        let took = world.run_until(millis(5_000), both_on_relays).unwrap();
        worst = worst.max(took);
        assert!(took <= millis(900), "seed {seed}: {took:?}");
    }
    println!("dead without media: {worst:?}");
}

#[test]
fn one_that_only_sends_leaves_a_path_on_which_it_is_not_heard() {
    for seed in 0..20 {
        for talker in 0..2 {
            let mut world = call(seed);
            world.hush(1 - talker);
            world.run(millis(5_000));
            // What it says is lost; what comes back from the other side is not.
            world.cut(move |hop| is_direct(hop) && hop.from_side == talker);
            let took = world.run_until(millis(5_000), both_on_relays);
            assert!(
                took.is_some_and(|it| it <= millis(2_200)),
                "seed {seed}, {took:?}"
            );
        }
    }
}

#[test]
fn an_interface_that_goes_is_left_at_once() {
    let mut worst = Duration::ZERO;
    for seed in 0..20 {
        for side in 0..2 {
            let mut world = call(seed);
            world.cut(is_direct);
            world.sides[side].ports.remove(&DIRECT);
            let now = world.now;
            world.sides[side].agent.remove_base(now, DIRECT);
            world.drain(side);
            assert_eq!(world.path(side).unwrap().base, RELAY);
            let took = world.run_until(millis(2_000), both_on_relays).unwrap();
            worst = worst.max(took);
            assert!(took <= millis(250), "seed {seed}: {took:?}");
        }
    }
    println!("the other side follows after an interface went: {worst:?}");
}

#[test]
fn a_cut_of_5_s_without_a_standby_is_outlived() {
    let ports = [0, 1].map(|side| vec![Port::interface(side, 0, Nat::PortRestricted, 10)]);
    let mut world = World::new(3, ports);
    world.connect();
    world.talk();
    world.run(millis(5_000));
    let events = world.event_counts();
    world.cut(|_| true);
    world.run(millis(5_000));
    world.mend();
    let mended = world.elapsed();
    world.run(millis(2_000));
    // Nothing was told, nothing was given up, and the first packet after it came through.
    assert_eq!(world.event_counts(), events);
    for side in 0..2 {
        let heard = &world.sides[side].heard;
        let first = heard.iter().find(|it| it.0 >= mended).unwrap().0 - mended;
        assert!(first <= millis(41), "{first:?}");
    }
}

#[test]
fn after_30_s_without_an_answer_nothing_is_sent_and_a_later_way_is_found() {
    let ports = [0, 1].map(|side| vec![Port::interface(side, 0, Nat::None, 10)]);
    let mut world = World::new(3, ports);
    world.connect();
    world.talk();
    world.run(millis(5_000));
    world.cut(|_| true);
    world.run(millis(29_000));
    assert!(world.path(0).is_some());
    world.run(millis(3_000));
    assert_eq!((world.path(0), world.path(1)), (None, None));
    world.run(millis(20_000));
    world.mend();
    let took = world.run_until(millis(3_000), |it| {
        it.path(0).is_some() && it.path(1).is_some()
    });
    println!("after a minute without a way: {took:?}");
    assert!(took.is_some());
}

#[test]
fn a_path_that_came_back_is_taken_after_it_answered_for_2_s() {
    let mut world = call(1);
    world.cut(is_direct);
    world.run(millis(5_000));
    world.mend();
    let took = world
        .run_until(millis(10_000), |it| {
            (0..2).all(|side| it.path(side).unwrap().way == Way::Direct) && it.agree()
        })
        .unwrap();
    println!("back on the better path after {took:?}");
    assert!((millis(2_000)..millis(4_000)).contains(&took), "{took:?}");
}

#[test]
fn a_path_that_comes_and_goes_is_not_followed_each_time() {
    let mut world = call(1);
    let before = world.sides[0].paths.len();
    for _ in 0..20 {
        world.cut(is_direct);
        world.run(millis(3_000));
        world.mend();
        world.run(millis(3_000));
    }
    let changes = world.sides[0].paths.len() - before;
    println!("changes while a path came and went 20 times: {changes}");
    assert!(changes <= 5, "{changes}");
}

#[test]
fn one_that_falls_silent_is_not_taken_for_dead() {
    for seed in 0..20 {
        let mut world = call(seed);
        let before = world.path_counts();
        for _ in 0..5 {
            world.hush(1);
            world.run(millis(4_000));
            world.talk();
            world.run(millis(2_000));
        }
        assert_eq!(world.path_counts(), before);
        // It was looked after once each time, not again and again.
        let suspicions = world.sides[0]
            .events
            .iter()
            .filter(|it| it.1 == Event::Suspect(true));
        assert!(suspicions.count() <= 5);
    }
}

#[test]
fn loss_alone_changes_no_path() {
    let mut changes = 0;
    for seed in 0..10 {
        let mut world = call(seed);
        let before = world.sides[0].paths.len();
        world.loss = 0.3;
        world.run(millis(60_000));
        changes += world.sides[0].paths.len() - before;
    }
    println!("changes in 10 minutes of 30 % loss: {changes}");
    assert!(changes <= 4, "{changes}");
}

#[test]
fn a_second_interface_stands_by_before_a_relay() {
    let ports = [0, 1].map(|side| {
        vec![
            Port::interface(side, 0, Nat::None, 10),
            Port::interface(side, 1, Nat::None, 12),
            Port::relay(side, 2, RelayProtocol::Udp, 15),
        ]
    });
    let mut world = World::new(1, ports);
    world.connect();
    world.talk();
    world.run(millis(5_000));
    for side in 0..2 {
        let path = world.path(side).unwrap().clone();
        let standby = world.sides[side].agent.standby().unwrap();
        assert_eq!(standby.way, Way::Direct);
        assert_ne!(standby.base, path.base);
        assert_ne!(standby.remote, path.remote);
    }
    // With all of the first interfaces gone, it is on the second ones.
    let lost = world.path(0).unwrap().base;
    world.cut(move |hop| hop.from == lost || hop.to == lost);
    let took = world.run_until(millis(2_000), |it| {
        (0..2).all(|side| it.path(side).unwrap().base != lost) && it.agree()
    });
    assert!(took.is_some_and(|it| it <= millis(300)), "{took:?}");
}

#[test]
fn what_a_quiet_link_sends_is_little() {
    let mut world = call(1);
    world.hush(0);
    world.hush(1);
    world.run(millis(10_000));
    let before = world.sides[0].checks_sent;
    world.run(millis(60_000));
    let each_second = (world.sides[0].checks_sent - before) as f64 / 60.0;
    println!("checks and answers of a quiet link: {each_second:.1} a second");
    assert!(each_second <= 12.0, "{each_second}");
}

#[test]
fn after_sleep_everything_is_checked_at_once() {
    let mut world = call(1);
    world.hush(0);
    world.hush(1);
    world.run(millis(1_000));
    world.cut(is_direct);
    // Nobody was awake for an hour.
    world.now += Duration::from_secs(3_600);
    for side in 0..2 {
        let now = world.now;
        world.sides[side].agent.recheck(now);
        world.drain(side);
    }
    let took = world.run_until(millis(5_000), both_on_relays);
    println!("on the standby after sleep: {took:?}");
    assert!(took.is_some_and(|it| it <= millis(900)), "{took:?}");
}
