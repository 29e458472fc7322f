//! What others send: forged, repeated, out of order, or noise.

use std::{net::SocketAddr, time::Duration};

use nonstop_ice::{
    Agent, Base, Candidate, CandidateKind, Config, Event, Way, is_stun, stun, transaction_of,
    username_of,
};
use proptest::prelude::*;

use crate::{
    network::{Nat, Random},
    world::{World, credentials, millis},
};

fn connected(seed: u64) -> World {
    let mut world = World::ordinary(seed, [Nat::PortRestricted, Nat::None]);
    world.connect();
    world.talk();
    world.run(millis(3_000));
    world
}

#[test]
fn repeated_and_late_packets_change_nothing() {
    for seed in 0..10 {
        let mut world = World::ordinary(seed, [Nat::PortRestricted, Nat::None]);
        world.duplicates = 0.5;
        world.jitter = millis(60);
        world.connect();
        world.talk();
        world.run(millis(5_000));
        let before = world.path_counts();
        world.run(millis(30_000));
        assert_eq!(world.path(0).unwrap().way, Way::Direct);
        assert!(world.agree());
        assert_eq!(world.path_counts(), before, "seed {seed}");
    }
}

#[test]
fn old_packets_played_again_are_no_news() {
    // With and without numbers on nominations.
    for renomination in [true, false] {
        let mut world = World::ordinary(1, [Nat::Symmetric, Nat::PortRestricted]);
        world.renomination = renomination;
        world.connect();
        world.talk();
        world.run(millis(3_000));
        // On from the relays to a direct path.
        let base = Base(7);
        let port = crate::network::Port::interface(0, 7, Nat::None, 10);
        world.sides[0].ports.insert(base, port);
        let found = world.gather(0, base);
        world.tell(0, found);
        world.run(millis(3_000));
        assert_eq!(world.path(1).unwrap().way, Way::Direct);
        let before = world.path_counts();
        for (side, base, from, packet) in world.seen.clone() {
            let now = world.now;
            world.sides[side]
                .agent
                .handle_stun(now, base, from, &packet);
            world.drain(side);
            world.run(millis(5));
        }
        assert_eq!(world.path_counts(), before, "{renomination}");
    }
}

#[test]
fn forged_packets_are_refused_and_leave_no_trace() {
    let mut world = connected(1);
    let mut random = Random(3);
    let stranger: SocketAddr = "203.0.113.200:666".parse().unwrap();
    let events = world.event_counts();
    for (side, base, from, packet) in world.seen.clone() {
        for _ in 0..20 {
            let mut forged = packet.clone();
            // Anything up to MESSAGE-INTEGRITY, its value included: FINGERPRINT, the last eight
            // bytes, proves nothing.
            let at = random.next() as usize % (forged.len() - 8);
            forged[at] ^= 1 << (random.next() % 8);
            forge_fingerprint(&mut forged);
            let now = world.now;
            for from in [from, stranger] {
                assert!(
                    !world.sides[side]
                        .agent
                        .handle_stun(now, base, from, &forged)
                );
            }
        }
    }
    world.run(millis(2_000));
    assert_eq!(world.path(0).unwrap().way, Way::Direct);
    assert_eq!(world.event_counts(), events);
}

/// Makes FINGERPRINT right again: whoever forges can do that.
fn forge_fingerprint(packet: &mut [u8]) {
    let end = packet.len() - 8;
    let mut crc = u32::MAX;
    for byte in &packet[..end] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    packet[end + 4..].copy_from_slice(&(!crc ^ 0x5354_554e).to_be_bytes());
}

#[test]
fn answers_that_come_from_elsewhere_prove_nothing() {
    let mut world = World::ordinary(1, [Nat::None, Nat::None]);
    world.cut(|hop| hop.from_side == 1);
    world.connect();
    world.run(millis(1_000));
    // The second side was reached and answered; its answers come from a stranger.
    let stranger: SocketAddr = "203.0.113.200:666".parse().unwrap();
    let now = world.now;
    let answers = world.lost.iter().filter(|it| it.1[..2] == [0x01, 0x01]);
    let answers: Vec<Vec<u8>> = answers.map(|it| it.1.clone()).collect();
    assert!(answers.len() >= 3);
    for packet in answers {
        let agent = &mut world.sides[0].agent;
        agent.handle_stun(now, Base(0), stranger, &packet);
    }
    assert_eq!(world.path(0), None);
}

#[test]
fn a_flood_of_true_requests_from_everywhere_is_bounded() {
    let mut world = connected(1);
    let request = |world: &World| {
        let is_request = |packet: &[u8]| username_of(packet).is_some();
        let mut seen = world.seen.iter().rev();
        seen.find(|it| it.0 == 1 && is_request(&it.3))
            .unwrap()
            .3
            .clone()
    };
    let packet = request(&world);
    for number in 0..5_000u16 {
        let from = SocketAddr::new([203, 0, 113, 200].into(), 1_000 + number);
        let now = world.now;
        world.sides[1]
            .agent
            .handle_stun(now, Base(0), from, &packet);
        world.drain(1);
    }
    let known = world.sides[1]
        .events
        .iter()
        .filter(|it| matches!(it.1, Event::Known { .. }));
    assert!(known.count() <= 8 + 4);
    let direct = world.sides[1].agent.progress().of(Way::Direct);
    let all = direct.untried + direct.in_progress + direct.succeeded + direct.failed;
    assert!(all <= 8 + 4, "{all}");
    world.run(millis(5_000));
    assert_eq!(world.path(1).unwrap().way, Way::Direct);
    assert!(world.agree());
}

#[test]
fn the_talk_begins_with_one_who_has_no_numbers_too() {
    let mut world = World::ordinary(1, [Nat::PortRestricted, Nat::None]);
    world.renomination = false;
    world.connect();
    world.run(millis(3_000));
    assert_eq!(world.path(1).unwrap().way, Way::Direct);
    assert!(world.agree());
}

fn agent() -> Agent {
    let mut random = Random(1);
    Agent::new(Config {
        local: credentials("alice"),
        controlling: true,
        tie_breaker: 1,
        random: Box::new(move || u128::from(random.next())),
    })
}

/// What a call sends, to be damaged.
fn true_packets() -> Vec<Vec<u8>> {
    connected(1)
        .seen
        .into_iter()
        .map(|it| it.3)
        .take(60)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn noise_never_panics(mut noise in proptest::collection::vec(any::<u8>(), 0..200), magic: bool) {
        if magic && noise.len() >= 20 {
            noise[0] &= 1;
            noise[1] = 1;
            let length = (noise.len() - 20) as u16;
            noise[2..4].copy_from_slice(&length.to_be_bytes());
            noise[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        }
        let world = World::ordinary(1, [Nat::None, Nat::None]);
        let from = "192.0.2.1:1".parse().unwrap();
        prop_assert!(!agent().handle_stun(world.now, Base(0), from, &noise));
        let _ = (is_stun(&noise), transaction_of(&noise), username_of(&noise));
        let _ = stun::mapped_address(&noise);
    }
}

#[test]
fn cut_off_packets_never_panic() {
    let world = World::ordinary(1, [Nat::None, Nat::None]);
    let from = "192.0.2.1:1".parse().unwrap();
    for packet in true_packets() {
        for end in 0..packet.len() {
            let mut cut = packet[..end].to_vec();
            assert!(!agent().handle_stun(world.now, Base(0), from, &cut));
            // With a length that fits, too; but without FINGERPRINT a message is as good.
            if end >= 20 && end != packet.len() - 8 {
                let length = (end - 20) as u16;
                cut[2..4].copy_from_slice(&length.to_be_bytes());
                assert!(!agent().handle_stun(world.now, Base(0), from, &cut));
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Local(u32, u8),
    Remote(u8, u8),
    RemoveBase(u32),
    Credentials(u8),
    Restart(u8),
    Recheck,
    Role(bool),
    Data(u32, u8),
    Seen(usize),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u32, any::<u8>()).prop_map(|(base, ip)| Step::Local(base, ip)),
        (any::<u8>(), 0..5u8).prop_map(|(ip, kind)| Step::Remote(ip, kind)),
        (0..4u32).prop_map(Step::RemoveBase),
        any::<u8>().prop_map(|name| Step::Credentials(name % 3)),
        any::<u8>().prop_map(|name| Step::Restart(name % 3)),
        Just(Step::Recheck),
        any::<bool>().prop_map(Step::Role),
        (0..4u32, any::<u8>()).prop_map(|(base, ip)| Step::Data(base, ip)),
        any::<usize>().prop_map(Step::Seen),
        (0..10_000u16).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is called in whatever order: no panic, and no timer that never rests.
    #[test]
    fn any_order_of_facts_is_survived(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = connected(2);
        let seen = world.seen.clone();
        let names = ["alice", "bobby", "carol"];
        for step in steps {
            let now = world.now;
            let agent = &mut world.sides[0].agent;
            let address = |ip: u8| SocketAddr::new([192, 0, 2, ip].into(), 1_000);
            match step {
                Step::Local(base, ip) => {
                    let candidate = Candidate::new(CandidateKind::Host, address(ip), None, 1);
                    agent.add_local(now, Base(base), candidate);
                }
                Step::Remote(ip, kind) => {
                    let kind = match kind {
                        0 => CandidateKind::Host,
                        1 => CandidateKind::PeerReflexive,
                        2 => CandidateKind::ServerReflexive,
                        _ => CandidateKind::Relayed,
                    };
                    agent.add_remote(now, Candidate::new(kind, address(ip), None, 1));
                }
                Step::RemoveBase(base) => agent.remove_base(now, Base(base)),
                Step::Credentials(name) => {
                    agent.set_remote(now, credentials(names[usize::from(name)]), true);
                }
                Step::Restart(name) => agent.restart(now, credentials(names[usize::from(name)])),
                Step::Recheck => agent.recheck(now),
                Step::Role(controlling) => agent.set_controlling(controlling),
                Step::Data(base, ip) => agent.handle_data(now, Base(base), address(ip)),
                Step::Seen(at) => {
                    let (_, base, from, packet) = &seen[at % seen.len()];
                    agent.handle_stun(now, *base, *from, packet);
                }
                Step::Wait(wait) => world.run(millis(u64::from(wait))),
            }
            world.drain(0);
            if let (Some(path), Some(standby)) =
                (world.sides[0].agent.selected(), world.sides[0].agent.standby())
            {
                prop_assert_ne!((path.base, path.remote), (standby.base, standby.remote));
            }
        }
        // However it ended: at most a hundred packets a second leave.
        let before = world.sides[0].checks_sent;
        world.run(Duration::from_secs(5));
        prop_assert!(world.sides[0].checks_sent - before < 500);
    }
}
