//! Which path two sides find, and how soon.

use std::time::Duration;

use nonstop_ice::{Agent, Base, Candidate, CandidateKind, Config, RelayProtocol, Way};

use crate::{
    network::{Nat, Port, Random},
    world::{World, credentials, millis},
};

/// Runs a pair of routers; returns when both had a path, and when both had the best one.
fn times(seed: u64, nats: [Nat; 2], loss: f64) -> (Duration, Duration) {
    let mut world = World::ordinary(seed, nats);
    world.loss = loss;
    world.connect();
    let any = world
        .run_until(millis(5_000), |it| {
            it.path(0).is_some() && it.path(1).is_some()
        })
        .unwrap_or_else(|| panic!("{nats:?}: no path"));
    let best = nats[0].best_way(nats[1]);
    let more = world
        .run_until(millis(10_000), |it| {
            (0..2).all(|side| it.path(side).is_some_and(|path| path.way == best)) && it.agree()
        })
        .unwrap_or_else(|| panic!("{nats:?}: {:?} {:?}", world.path(0), world.path(1)));
    // And it stays: media gets through both ways.
    world.loss = 0.0;
    world.run(millis(3_000));
    world.talk();
    world.run(millis(1_000));
    for side in 0..2 {
        assert_eq!(world.path(side).unwrap().way, best, "{nats:?}");
        assert!(world.sides[side].heard.len() >= 48, "{nats:?}");
    }
    (any, any + more)
}

#[test]
fn all_pairs_of_routers_connect_on_the_best_way_they_leave() {
    println!("routers: both have a path, both have the best one, in ms (direct round trip 40 ms)");
    for a in Nat::ALL {
        for b in Nat::ALL {
            let (any, best) = times(1, [a, b], 0.0);
            println!("{a:?} {b:?} {} {}", any.as_millis(), best.as_millis());
            // Relayed media never waits long, and nothing better comes late.
            assert!(any <= millis(180), "{a:?} {b:?}: {any:?}");
            assert!(best <= millis(400), "{a:?} {b:?}: {best:?}");
        }
    }
}

#[test]
fn they_connect_through_loss_too() {
    for seed in 0..6 {
        for a in Nat::ALL {
            for b in Nat::ALL {
                times(seed, [a, b], 0.2);
            }
        }
    }
}

#[test]
fn a_direct_path_takes_one_round_trip() {
    let mut world = World::ordinary(1, [Nat::None, Nat::None]);
    world.connect();
    let took = world
        .run_until(millis(1_000), |it| {
            it.path(0).is_some() && it.path(1).is_some()
        })
        .unwrap();
    println!("direct: {took:?}");
    assert_eq!(took, millis(40));
    // Never anything else in between.
    assert_eq!(world.sides[0].paths.len(), 1);
}

#[test]
fn a_relay_is_not_kept_waiting_by_many_addresses() {
    // Six interfaces on both sides, of which none reaches the other.
    let ports = [0, 1].map(|side| {
        let mut ports: Vec<Port> = (0..6)
            .map(|number| Port::interface(side, number, Nat::Symmetric, 10))
            .collect();
        ports.push(Port::relay(side, 6, RelayProtocol::Udp, 15));
        ports
    });
    let mut world = World::new(1, ports);
    world.connect();
    let took = world
        .run_until(millis(5_000), |it| {
            it.path(0).is_some() && it.path(1).is_some()
        })
        .unwrap();
    println!("relay behind many addresses: {took:?}");
    assert!(took <= millis(200), "{took:?}");
}

#[test]
fn checks_that_come_before_the_credentials_are_answered_and_checked_back() {
    let mut world = World::ordinary(1, [Nat::PortRestricted, Nat::PortRestricted]);
    world.gather_all();
    world.tell_all(0);
    // What the second side says is on its way for a second: it checks long before.
    world.signalling = millis(1_000);
    world.tell_all(1);
    world.run(millis(999));
    assert_eq!(world.path(0), None);
    let took = world.run_until(millis(1_000), |it| {
        (0..2).all(|side| it.path(side).is_some_and(|it| it.way == Way::Direct))
    });
    println!("after late credentials: {took:?}");
    assert!(took.unwrap() <= millis(101), "{took:?}");
}

#[test]
fn a_better_path_that_appears_later_is_taken() {
    let mut world = World::ordinary(1, [Nat::Symmetric, Nat::Symmetric]);
    world.connect();
    world.talk();
    world.run(millis(20_000));
    assert_eq!(world.path(0).unwrap().way, Way::RelayUdp);
    // A second interface on one side, with a real address.
    let base = Base(7);
    world.sides[1]
        .ports
        .insert(base, Port::interface(1, 7, Nat::None, 10));
    let found = world.gather(1, base);
    world.tell(1, found);
    let took = world
        .run_until(millis(2_000), |it| {
            (0..2).all(|side| it.path(side).unwrap().way == Way::Direct) && it.agree()
        })
        .unwrap();
    println!("a better path is taken after {took:?}");
    assert!(took <= millis(300), "{took:?}");
}

#[test]
fn candidates_that_come_before_the_credentials_are_kept() {
    let mut world = World::ordinary(1, [Nat::Symmetric, Nat::Symmetric]);
    for side in 0..2 {
        for base in [Base(0), Base(1)] {
            let mut found = world.gather(side, base);
            for candidate in &mut found {
                candidate.ufrag = Some(world.sides[side].agent.credentials().ufrag.clone());
            }
            world.tell(side, found);
        }
    }
    world.run(millis(100));
    world.tell_credentials(0);
    world.tell_credentials(1);
    world.run(millis(1_000));
    assert!(world.path(0).is_some() && world.agree());
}

#[test]
fn both_end_on_one_path_although_nominations_are_lost() {
    for seed in 0..40 {
        let ports = [0, 1].map(|side| {
            let interface = |number| Port::interface(side, number, Nat::None, 10);
            vec![interface(0), interface(1)]
        });
        let mut world = World::new(seed, ports);
        world.loss = 0.6;
        world.connect();
        world.run(millis(2_000));
        world.loss = 0.0;
        world.run(millis(2_000));
        assert!(world.agree(), "seed {seed}");
    }
}

#[test]
fn a_change_over_a_long_way_is_made_once() {
    // A round trip of 400 ms directly: what comes in meanwhile still comes on the old path.
    let ports = [0, 1].map(|side| {
        vec![
            Port::interface(side, 0, Nat::Symmetric, 100),
            Port::relay(side, 1, RelayProtocol::Udp, 105),
        ]
    });
    let mut world = World::new(1, ports);
    world.connect();
    world.talk();
    world.run(millis(20_000));
    let before = world.path_counts();
    let base = Base(7);
    let port = Port::interface(1, 7, Nat::None, 100);
    world.sides[1].ports.insert(base, port);
    let found = world.gather(1, base);
    world.tell(1, found);
    world.run(millis(5_000));
    assert_eq!(world.path(0).unwrap().way, Way::Direct);
    assert!(world.agree());
    assert_eq!(world.path_counts(), before.map(|count| count + 1));
}

#[test]
fn a_way_that_opens_later_is_found_by_itself() {
    let mut world = World::ordinary(1, [Nat::None, Nat::None]);
    world.cut(|hop| hop.from == Base(0) || hop.to == Base(0));
    world.connect();
    world.run(millis(30_000));
    assert_eq!(world.path(0).unwrap().way, Way::RelayUdp);
    world.mend();
    let took = world
        .run_until(millis(10_000), |it| {
            (0..2).all(|side| it.path(side).unwrap().way == Way::Direct)
        })
        .unwrap();
    println!("a way that opens later is taken after {took:?}");
    assert!(took <= millis(8_000), "{took:?}");
}

#[test]
fn of_two_paths_of_one_way_the_clearly_shorter_one_is_taken_once() {
    // The first interface has the better priority and the longer path.
    let ports = [
        vec![
            Port::interface(0, 0, Nat::None, 60),
            Port::interface(0, 1, Nat::None, 10),
        ],
        vec![Port::interface(1, 0, Nat::None, 10)],
    ];
    let mut world = World::new(1, ports);
    world.cut(|hop| hop.from == Base(1) && hop.from_side == 0 || hop.to == Base(1));
    world.connect();
    world.run(millis(1_000));
    assert_eq!(world.path(0).unwrap().base, Base(0));
    world.mend();
    world.run(millis(60_000));
    assert_eq!(world.path(0).unwrap().base, Base(1));
    assert_eq!(world.sides[0].paths.len(), 2);
    assert!(world.agree());
}

#[test]
fn both_controlling_or_none_is_settled() {
    for both in [true, false] {
        for seed in 0..10 {
            let mut world = World::ordinary(seed, [Nat::PortRestricted, Nat::FullCone]);
            for side in &mut world.sides {
                side.agent.set_controlling(both);
            }
            world.connect();
            world.run(millis(1_000));
            let [a, b] = [0, 1].map(|side| world.sides[side].agent.controlling());
            assert_ne!(a, b, "both {both}, seed {seed}");
            assert_eq!(world.path(0).unwrap().way, Way::Direct);
            assert!(world.agree());
        }
    }
}

#[test]
fn the_one_with_the_smaller_number_yields() {
    // Their role, our number and theirs; whether we tell them to take the other role.
    for (both_control, ours, theirs, refused) in [
        (true, 2, 1, true),
        (true, 1, 2, false),
        (true, 1, 1, true),
        (false, 1, 2, true),
        (false, 2, 1, false),
        (false, 1, 1, false),
    ] {
        let world = World::ordinary(1, [Nat::None, Nat::None]);
        let now = world.now;
        let mut agents = [(0, ours), (1, theirs)].map(|(side, tie_breaker)| {
            let mut random = Random(tie_breaker);
            let mut agent = Agent::new(Config {
                local: credentials(["alice", "bobby"][side]),
                controlling: both_control,
                tie_breaker,
                random: Box::new(move || u128::from(random.next())),
            });
            agent.set_remote(now, credentials(["bobby", "alice"][side]), true);
            agent
        });
        let addresses = ["192.0.2.1:1", "192.0.2.2:2"].map(|it| it.parse().unwrap());
        for (side, agent) in agents.iter_mut().enumerate() {
            let [own, other] = [side, 1 - side]
                .map(|it| Candidate::new(CandidateKind::Host, addresses[it], None, 1));
            agent.add_local(now, Base(0), own);
            agent.add_remote(now, other);
        }
        agents[1].handle_timeout(now);
        let request = agents[1].poll_transmit().unwrap().packet;
        while agents[0].poll_transmit().is_some() {}
        assert!(agents[0].handle_stun(now, Base(0), addresses[1], &request));
        let answer = agents[0].poll_transmit().unwrap().packet;
        let case = (both_control, ours, theirs);
        assert_eq!(answer[..2] == [0x01, 0x11], refused, "{case:?}");
        assert_eq!(agents[0].controlling(), both_control == refused, "{case:?}");
        agents[1].handle_stun(now, Base(0), addresses[0], &answer);
        assert_ne!(agents[0].controlling(), agents[1].controlling(), "{case:?}");
    }
}

#[test]
fn the_relay_of_the_other_side_is_not_taken_for_a_direct_path() {
    // Its checks arrive long before its candidates are told.
    let mut world = World::ordinary(1, [Nat::None, Nat::Blocked]);
    world.gather_all();
    world.tell_all(0);
    world.tell_credentials(1);
    world.signalling = millis(5_000);
    world.tell_all(1);
    world.run(millis(1_000));
    let before = world.path(0).map(|it| it.way);
    assert_eq!(before, Some(Way::RelayTcp));
    world.run(millis(9_000));
    let paths = &world.sides[0].paths;
    let ways: Vec<Way> = paths
        .iter()
        .filter_map(|it| Some(it.1.as_ref()?.way))
        .collect();
    assert_eq!(ways, [Way::RelayTcp]);
}

#[test]
fn candidates_are_bounded_and_strange_ones_ignored() {
    let mut world = World::ordinary(1, [Nat::None, Nat::None]);
    let now = world.now;
    for port in 0..2_000u16 {
        let address = std::net::SocketAddr::new([192, 0, 2, 99].into(), port);
        let candidate = Candidate::new(CandidateKind::Host, address, None, port);
        world.sides[0].agent.add_remote(now, candidate);
    }
    world.connect();
    world.run(millis(2_000));
    let agent = &world.sides[0].agent;
    let direct = agent.progress().of(Way::Direct);
    let all = direct.untried + direct.in_progress + direct.succeeded + direct.failed;
    assert!(all <= 64, "{all}");
    // One check every 50 ms at most, and each answered request.
    assert!(world.sides[0].checks_sent < 100);
}
