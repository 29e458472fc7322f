//! Starting anew while media flows.

use std::collections::BTreeSet;

use nonstop_ice::{Base, Way};

use crate::{
    network::{Nat, Port},
    world::{World, millis},
};

fn call() -> World {
    let mut world = World::ordinary(5, [Nat::PortRestricted, Nat::FullCone]);
    world.connect();
    world.signalling = millis(80);
    world.talk();
    world.run(millis(5_000));
    assert_eq!(world.path(0).unwrap().way, Way::Direct);
    world
}

/// Asserts that each packet said was heard, but for those on their way.
fn nothing_was_lost(world: &World) {
    for side in 0..2 {
        let heard: BTreeSet<u64> = world.sides[side].heard.iter().map(|it| it.1).collect();
        let said = world.sides[1 - side].said.len() as u64;
        assert!(said > 500);
        for number in 0..said - 3 {
            assert!(heard.contains(&number), "packet {number} of {said}");
        }
    }
}

#[test]
fn a_restart_under_flowing_media_loses_nothing() {
    for side in 0..2 {
        let mut world = call();
        world.restart(side, ["newalice", "newbobby"]);
        assert!(world.sides[side].agent.expects("newalice"));
        let old = ["alice", "bobby"][side];
        assert!(world.sides[side].agent.expects(old));
        world.run(millis(10_000));
        assert!(
            !world.sides[side].agent.expects(old),
            "it is forgotten in the end"
        );
        assert_eq!(world.path(0).unwrap().way, Way::Direct);
        assert!(world.agree());
        let tried = world.sides[0].agent.progress().of(Way::Direct);
        assert!(tried.succeeded > 0, "{tried:?}");
        nothing_was_lost(&world);
    }
}

#[test]
fn a_restart_that_is_never_answered_changes_nothing() {
    let mut world = call();
    let before = world.path(0).cloned();
    world.signalling = millis(1_000_000);
    world.restart(0, ["newalice", "newbobby"]);
    world.run(millis(60_000));
    assert_eq!(
        world.path(0).map(|it| (it.base, it.remote)),
        before.map(|it| (it.base, it.remote))
    );
    nothing_was_lost(&world);
}

#[test]
fn restarts_in_a_row_are_survived() {
    let mut world = call();
    for round in 0..5 {
        let names = [format!("alice{round}"), format!("bobby{round}")];
        world.restart(round % 2, [&names[0], &names[1]]);
        world.run(millis(if round < 3 { 100 } else { 3_000 }));
    }
    world.run(millis(8_000));
    assert!(world.agree());
    nothing_was_lost(&world);
}

#[test]
fn a_restart_finds_the_new_interface_of_one_that_moved() {
    let mut world = call();
    // From one network to another: the old address is gone at once, the relay with it.
    for base in [Base(0), Base(1)] {
        world.sides[1].ports.remove(&base);
        let now = world.now;
        world.sides[1].agent.remove_base(now, base);
        world.drain(1);
    }
    assert_eq!(world.path(1), None);
    world.sides[1]
        .ports
        .insert(Base(2), Port::interface(1, 2, Nat::PortRestricted, 10));
    world.gather(1, Base(2));
    world.restart(1, ["newbobby", "newalice"]);
    let took = world
        .run_until(millis(3_000), |it| {
            (0..2).all(|side| it.path(side).is_some_and(|it| it.way == Way::Direct)) && it.agree()
        })
        .unwrap();
    println!("moved to another network: {took:?}, of which signalling 160 ms");
    assert!(took <= millis(500), "{took:?}");
}

#[test]
fn a_path_found_again_is_no_news() {
    let mut world = call();
    let before = world.sides[0].paths.len();
    world.restart(0, ["newalice", "newbobby"]);
    world.run(millis(5_000));
    let after = &world.sides[0].paths[before..];
    let same = after
        .iter()
        .all(|it| it.1.as_ref().is_some_and(|it| it.way == Way::Direct));
    assert!(same, "{after:?}");
}
