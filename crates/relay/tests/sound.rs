//! Sound through the relay.

mod sim;

use std::collections::{BTreeMap, BTreeSet};

use nonstop_rate::Bitrate;
use nonstop_relay::{Event, Forward, Member, Watch};
use sim::{CLEAN, LAYERS, ROUGH, SMALL, Sim, ms};

/// The packets of each stream of sound: who to whom.
fn streams(sim: &Sim) -> BTreeMap<(Member, Member), Vec<Forward>> {
    let mut streams: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (_, from, forward) in &sim.sounds {
        streams
            .entry((*from, forward.to))
            .or_default()
            .push(*forward);
    }
    streams
}

fn speak(sim: &mut Sim, member: Member, level: u8) {
    let publisher = sim.publishers.get_mut(&member);
    publisher.expect("joined").level = level;
}

/// Numbers from 1 without gaps; whoever is given the first packet after a silence is told so.
fn check(sim: &Sim) {
    for ((from, to), packets) in streams(sim) {
        let numbers: BTreeSet<u64> = packets.iter().map(|packet| packet.sequence).collect();
        assert_eq!(numbers.len(), packets.len(), "{from:?} to {to:?}: twice");
        let last = numbers.last().copied().unwrap_or(0);
        assert_eq!(
            numbers.len() as u64,
            last,
            "{from:?} to {to:?}: no gaps from 1"
        );
        assert!(packets[0].marker && packets[0].restart);
    }
}

fn listen(sim: &mut Sim, member: Member, deaf_to: &[Member], deaf: bool) {
    let watch = Watch {
        deaf_to: deaf_to.to_vec(),
        deaf,
        ..Watch::default()
    };
    sim.room.set_watch(member, watch, sim.now);
}

#[test]
fn up_to_six_are_all_heard_whatever_their_level() {
    let mut sim = Sim::new(1, ROUGH);
    let members: Vec<_> = (0..6)
        .map(|number| sim.join(number, &[], true, 1000))
        .collect();
    for member in &members {
        listen(&mut sim, *member, &[], false);
    }
    sim.run(ms(5000));
    sim.check();
    let streams = streams(&sim);
    assert_eq!(streams.len(), 30);
    assert!(streams.values().all(|packets| packets.len() > 200));
    check(&sim);
}

#[test]
fn of_many_the_loudest_six_are_heard() {
    let mut sim = Sim::new(2, CLEAN);
    let members: Vec<_> = (0..40)
        .map(|number| sim.join(number, &[], true, 1000))
        .collect();
    for member in &members {
        listen(&mut sim, *member, &[], false);
    }
    sim.run(ms(3000));
    assert!(sim.sounds.is_empty(), "nobody says anything");
    for (index, member) in members[..9].iter().enumerate() {
        speak(&mut sim, *member, 30 + 2 * index as u8);
    }
    sim.run(ms(5000));
    let (mut heard, after) = (BTreeSet::new(), ms(4000));
    heard.extend(
        sim.sounds
            .iter()
            .filter(|(at, ..)| *at > after)
            .map(|(_, from, _)| *from),
    );
    assert_eq!(heard, members[..6].iter().copied().collect());
    // Somebody who begins louder than the quietest is heard with the first packet.
    let before = sim.elapsed();
    speak(&mut sim, members[30], 20);
    sim.run(ms(1000));
    let mut new = sim
        .sounds
        .iter()
        .filter(|(_, from, _)| *from == members[30]);
    let (at, _, first) = new.next().expect("heard");
    assert!(*at - before < ms(80), "{:?}", *at - before);
    assert!(first.marker && first.restart && first.sequence == 1);
    sim.check();
    check(&sim);
}

#[test]
fn who_pauses_and_speaks_again_goes_on_without_a_gap() {
    let mut sim = Sim::new(3, ROUGH);
    let members: Vec<_> = (0..20)
        .map(|number| sim.join(number, &[], true, 1000))
        .collect();
    for member in &members {
        listen(&mut sim, *member, &[], false);
    }
    // Each turn other seven speak, so that places change hands.
    for turn in 0..20 {
        for (index, member) in members.iter().enumerate() {
            let speaks = (index + turn * 3) % 20 < 7;
            speak(
                &mut sim,
                *member,
                if speaks { 35 + index as u8 % 7 } else { 127 },
            );
        }
        sim.run(ms(3000));
    }
    sim.check();
    let streams = streams(&sim);
    assert_eq!(streams.len(), 20 * 19, "everybody had a turn");
    check(&sim);
    let spurts = |packets: &Vec<Forward>| packets.iter().filter(|packet| packet.restart).count();
    assert!(
        streams
            .values()
            .all(|packets| (2..40).contains(&spurts(packets)))
    );
}

#[test]
fn who_is_deaf_hears_nothing_and_loses_no_number() {
    let mut sim = Sim::new(4, CLEAN);
    let speaker = sim.join(1, &[], true, 1000);
    let ear = sim.join(2, &[], false, 1000);
    let other = sim.join(3, &[], false, 1000);
    listen(&mut sim, ear, &[], false);
    listen(&mut sim, other, &[], false);
    sim.run(ms(2000));
    listen(&mut sim, ear, &[speaker], false);
    let deaf = sim.sounds.len();
    sim.run(ms(1000));
    assert!(
        sim.sounds[deaf..]
            .iter()
            .all(|(_, _, forward)| forward.to == other)
    );
    listen(&mut sim, ear, &[], false);
    sim.run(ms(1000));
    sim.check();
    check(&sim);
    let packets = &streams(&sim)[&(speaker, ear)];
    assert_eq!(packets.iter().filter(|packet| packet.restart).count(), 2);
}

#[test]
fn sound_comes_before_pictures() {
    let mut sim = Sim::new(5, CLEAN);
    let speaker = sim.join(1, &LAYERS, true, 1000);
    let receiver = sim.join(2, &[], false, 60);
    sim.watch(receiver, &[(speaker, SMALL)]);
    sim.run(ms(5000));
    assert_eq!(sim.allotted(receiver), [(speaker, None)]);
    let heard = streams(&sim)[&(speaker, receiver)].len();
    assert!(heard > 240, "{heard} of 250");
    assert!(sim.of(receiver, speaker).packets.is_empty());
}

#[test]
fn who_speaks_is_told() {
    let mut sim = Sim::new(7, CLEAN);
    let members: Vec<_> = (0..4)
        .map(|number| sim.join(number, &[], true, 1000))
        .collect();
    for member in &members {
        listen(&mut sim, *member, &[], false);
    }
    for turn in [0, 2, 1] {
        speak(&mut sim, members[turn], 30);
        sim.run(ms(2000));
        speak(&mut sim, members[turn], 127);
        sim.run(ms(1000));
    }
    let told: Vec<_> = sim
        .told
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Speakers(list) => Some(list.clone()),
            _ => None,
        })
        .collect();
    let of = |list: &[usize]| list.iter().map(|index| members[*index]).collect::<Vec<_>>();
    assert_eq!(told, [of(&[0]), of(&[2, 0]), of(&[1, 2, 0])]);
    sim.room.leave(members[2], sim.now);
    assert_eq!(
        sim.room.poll_event(),
        Some(Event::Speakers(of(&[1, 0]))),
        "who left is forgotten"
    );
}

#[test]
fn a_narrow_connection_is_given_the_loudest_that_fit_and_the_others_notice_nothing() {
    let mut sim = Sim::new(5, CLEAN);
    let members: Vec<_> = (0..6)
        .map(|number| sim.join(number, &[], true, if number == 5 { 90 } else { 1000 }))
        .collect();
    for (index, member) in members.iter().enumerate() {
        listen(&mut sim, *member, &[], false);
        speak(&mut sim, *member, 30 + 6 * index as u8);
    }
    let narrow = members[5];
    sim.run(ms(3000));
    let heard = |sim: &Sim, since: usize| {
        let to_narrow = sim.sounds[since..].iter().filter(|it| it.2.to == narrow);
        let from: BTreeSet<Member> = to_narrow.map(|it| it.1).collect();
        from
    };
    let mut since = sim.sounds.len();
    sim.run(ms(3000));
    let few = heard(&sim, since);
    assert!((1..5).contains(&few.len()), "{few:?}");
    assert!(few.contains(&members[0]), "the loudest is among them");
    assert!(!few.contains(&members[4]), "the quietest is not");
    let to_others = streams(&sim);
    assert!(to_others[&(members[4], members[0])].len() > 280);

    // Another raises their voice, and is heard at once.
    since = sim.sounds.len();
    speak(&mut sim, members[4], 10);
    sim.run(ms(400));
    assert!(heard(&sim, since).contains(&members[4]));

    // There is room for all.
    sim.room
        .handle_estimate(narrow, Bitrate::from_kbps(1000), sim.now);
    since = sim.sounds.len();
    sim.run(ms(600));
    assert_eq!(heard(&sim, since).len(), 5);
    check(&sim);
}

/// Listens to everybody, and says whether packets are lost on the way.
fn lose(sim: &mut Sim, member: Member, loses: bool) {
    let watch = Watch {
        loses,
        ..Watch::default()
    };
    sim.room.set_watch(member, watch, sim.now);
}

#[test]
fn redundancy_is_wanted_of_those_who_are_heard_where_packets_are_lost() {
    let mut sim = Sim::new(8, CLEAN);
    let members: Vec<_> = (0..3)
        .map(|number| sim.join(number, &[], true, 1000))
        .collect();
    for member in &members {
        lose(&mut sim, *member, false);
        speak(&mut sim, *member, 30);
    }
    sim.run(ms(3000));
    let redundant = |sim: &Sim| {
        let publishers = members.iter().map(|member| &sim.publishers[member]);
        publishers.map(|it| it.redundancy).collect::<Vec<_>>()
    };
    assert_eq!(redundant(&sim), [false, false, false]);
    lose(&mut sim, members[0], true);
    sim.run(ms(1000));
    assert_eq!(redundant(&sim), [false, true, true], "not of themselves");
    let watch = Watch {
        loses: true,
        deaf_to: vec![members[1]],
        ..Watch::default()
    };
    sim.room.set_watch(members[0], watch, sim.now);
    sim.run(ms(5000));
    assert_eq!(redundant(&sim), [false, false, true]);
    lose(&mut sim, members[0], false);
    sim.run(ms(5000));
    assert_eq!(redundant(&sim), [false, false, false]);
    lose(&mut sim, members[0], true);
    sim.run(ms(1000));
    sim.room.leave(members[0], sim.now);
    sim.run(ms(5000));
    assert_eq!(redundant(&sim)[1..], [false, false]);
    check(&sim);
}

#[test]
fn a_narrow_connection_is_not_filled_with_redundancy_and_hears_the_loudest() {
    let mut sim = Sim::new(9, CLEAN);
    let members: Vec<_> = (0..4)
        .map(|number| sim.join(number, &[], true, if number == 3 { 220 } else { 1000 }))
        .collect();
    for (index, member) in members.iter().enumerate() {
        lose(&mut sim, *member, false);
        speak(&mut sim, *member, 30 + 6 * index as u8);
    }
    let narrow = members[3];
    // Its own losses are no reason: twice as much does not fit.
    lose(&mut sim, narrow, true);
    sim.run(ms(5000));
    assert!(sim.publishers.values().all(|it| !it.redundancy));
    // Another's are, and it is given the loudest of what then comes.
    lose(&mut sim, members[1], true);
    sim.run(ms(4000));
    assert!(sim.publishers[&members[0]].redundancy);
    let since = sim.sounds.len();
    sim.run(ms(4000));
    let to_narrow = sim.sounds[since..].iter().filter(|it| it.2.to == narrow);
    let mut heard = BTreeMap::new();
    for (_, from, _) in to_narrow {
        *heard.entry(*from).or_insert(0) += 1;
    }
    assert!(heard[&members[0]] > 190, "the loudest is whole: {heard:?}");
    let bytes: u64 = heard.values().map(|packets| packets * 180).sum();
    let most = Bitrate::from_kbps(220).scale(0.75);
    assert!(bytes * 8 / 4 <= most.bps(), "{heard:?}");
    check(&sim);
}
