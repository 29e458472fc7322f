//! Pictures through the relay, as scenarios in simulated time.

mod sim;

use nonstop_rate::Bitrate;
use nonstop_relay::{Config, Event, Member, Publication, Room, Size, Watch};
use sim::{CLEAN, LARGE, LAYERS, MIDDLE, ROUGH, SMALL, Sim, ms, size};

#[test]
fn a_late_joiner_sees_a_picture_at_once() {
    let mut sim = Sim::new(1, CLEAN);
    let sender = sim.join(1, &LAYERS, false, 5000);
    let first = sim.join(2, &[], false, 5000);
    sim.watch(first, &[(sender, SMALL)]);
    sim.run(ms(5000));
    let mut waited = Vec::new();
    for number in 3..33 {
        let late = sim.join(number, &[], false, 5000);
        sim.watch(late, &[(sender, SMALL)]);
        let joined = sim.elapsed();
        sim.run(ms(617));
        let got = sim.of(late, sender).packets.first_key_value();
        let (number, got) = got.expect("a picture");
        assert_eq!(*number, 1);
        assert!(got.restart);
        waited.push(got.at - joined);
    }
    // A round trip of 40 ms to the sender, and at most 33 to the next picture.
    waited.sort();
    assert!(waited[0] >= ms(40) && waited[29] <= ms(74), "{waited:?}");
    // Ten at once cost two keyframes at most, and nobody waits longer than 500 ms more.
    let before = sim.asked(sender, 0).len();
    let together: Vec<_> = (40..50)
        .map(|number| {
            let late = sim.join(number, &[], false, 5000);
            sim.watch(late, &[(sender, SMALL)]);
            let joined = sim.elapsed();
            sim.run(ms(11));
            (late, joined)
        })
        .collect();
    sim.run(ms(1000));
    assert!(sim.asked(sender, 0).len() - before <= 2);
    for (late, joined) in together {
        let got = sim.of(late, sender).packets.first_key_value();
        let (_, got) = got.expect("a picture");
        assert!(got.at - joined < ms(574), "{:?}", got.at - joined);
    }
    sim.check();
}

#[test]
fn a_larger_tile_gets_a_larger_layer_without_a_gap() {
    let mut sim = Sim::new(2, CLEAN);
    let sender = sim.join(1, &LAYERS, false, 5000);
    let receiver = sim.join(2, &[], false, 5000);
    sim.watch(receiver, &[(sender, SMALL)]);
    sim.run(ms(3000));
    assert_eq!(sim.allotted(receiver), [(sender, Some(0))]);
    sim.watch(receiver, &[(sender, LARGE)]);
    sim.run(ms(3000));
    assert_eq!(sim.allotted(receiver), [(sender, Some(2))]);
    sim.watch(receiver, &[(sender, MIDDLE)]);
    sim.run(ms(3000));
    let received = sim.of(receiver, sender);
    assert_eq!(received.layers(), [0, 2, 1]);
    assert!(received.longest_gap(ms(200), ms(9000)) < ms(50));
    sim.check();
}

#[test]
fn a_squeezed_receiver_loses_the_upper_temporal_layer_first() {
    let mut sim = Sim::new(3, CLEAN);
    let sender = sim.join(1, &LAYERS, false, 5000);
    let receiver = sim.join(2, &[], false, 5000);
    sim.watch(receiver, &[(sender, MIDDLE)]);
    sim.run(ms(5000));
    sim.estimate(receiver, 400);
    let squeezed = sim.elapsed();
    sim.run(ms(3000));
    let received = sim.of(receiver, sender);
    let after = || received.between(squeezed + ms(100), squeezed + ms(3000));
    assert!(after().all(|got| got.layer == 1 && got.temporal == 0));
    assert!(received.rate(squeezed + ms(100), squeezed + ms(3000)).bps() < 400_000);
    sim.estimate(receiver, 5000);
    let freed = sim.elapsed();
    sim.run(ms(3000));
    let received = sim.of(receiver, sender);
    let after = received.between(freed, freed + ms(3000));
    let upper = after
        .filter(|got| got.temporal == 1)
        .map(|got| got.at - freed);
    let upper = upper.min().expect("all of it again");
    assert!((ms(1000)..ms(2000)).contains(&upper), "{upper:?}");
    assert_eq!(received.layers(), [1]);
    sim.check();
}

#[test]
fn never_more_than_the_estimate_for_more_than_400_ms() {
    for seed in 0..4 {
        let mut sim = Sim::new(seed, ROUGH);
        let senders: Vec<_> = (1..8)
            .map(|number| sim.join(number, &LAYERS, false, 9000))
            .collect();
        let receiver = sim.join(100, &[], false, 9000);
        let tiles = [LARGE, MIDDLE, MIDDLE, SMALL, SMALL, SMALL, SMALL];
        let watched: Vec<_> = senders.iter().copied().zip(tiles).collect();
        sim.watch(receiver, &watched);
        sim.run(ms(6000));
        for estimate in [1500, 700, 300, 2500, 120, 40, 9000, 1000] {
            sim.estimate(receiver, estimate);
            let changed = sim.elapsed();
            sim.run(ms(6000));
            // Keyframes and the unsteady sizes of pictures take up to a quarter more within a second.
            let mut from = changed + ms(400);
            while from + ms(1000) <= sim.elapsed() {
                let rates = senders.iter().map(|sender| {
                    let received = sim.of(receiver, *sender);
                    received.rate(from, from + ms(1000)).bps()
                });
                let rate: u64 = rates.sum();
                assert!(
                    rate < estimate * 1250,
                    "{rate} of {estimate} kb/s, seed {seed}"
                );
                from += ms(100);
            }
        }
        sim.check();
    }
}

#[test]
fn where_nothing_fits_the_smallest_tiles_pause_first_and_come_back() {
    let mut sim = Sim::new(4, CLEAN);
    let senders: Vec<_> = (1..5)
        .map(|number| sim.join(number, &LAYERS, false, 9000))
        .collect();
    let receiver = sim.join(100, &[], false, 9000);
    let tiles = [
        size(160, 90),
        size(320, 180),
        size(200, 112),
        size(300, 170),
    ];
    let watched: Vec<_> = senders.iter().copied().zip(tiles).collect();
    sim.watch(receiver, &watched);
    sim.run(ms(5000));
    sim.estimate(receiver, 210);
    let layers: Vec<_> = sim
        .allotted(receiver)
        .iter()
        .map(|(_, layer)| *layer)
        .collect();
    assert_eq!(layers, [None, Some(0), None, Some(0)]);
    sim.run(ms(2000));
    let paused = sim.of(receiver, senders[0]);
    assert!(paused.between(ms(5100), ms(7000)).next().is_none());
    sim.estimate(receiver, 2000);
    sim.run(ms(4000));
    assert!(
        sim.allotted(receiver)
            .iter()
            .all(|(_, layer)| *layer == Some(0))
    );
    let back = sim.of(receiver, senders[0]);
    assert!(back.between(ms(9500), ms(11_000)).next().is_some());
    sim.check();
}

#[test]
fn one_squeezed_receiver_of_ten_changes_nothing_for_the_others() {
    let run = |squeezed: u64| {
        let mut sim = Sim::new(5, ROUGH);
        let members: Vec<_> = (0..10)
            .map(|number| sim.join(number, &LAYERS, true, 6000))
            .collect();
        for member in &members {
            let others = members.iter().filter(|other| *other != member);
            let watched: Vec<_> = others.map(|other| (*other, MIDDLE)).collect();
            sim.watch(*member, &watched);
        }
        sim.run(ms(8000));
        sim.estimate(members[9], squeezed);
        sim.run(ms(8000));
        sim.check();
        let mut others = Vec::new();
        for ((to, of), received) in &sim.received {
            if *to != members[9] {
                let packets = received.packets.iter();
                let got = packets.map(|(number, got)| (*number, got.layer, got.sequence));
                // When somebody asks for a keyframe, its pictures are larger: layers are what counts.
                let layers = received.layers();
                let late = received.between(ms(9000), ms(16_000)).count();
                assert!(late > 200, "{of:?} to {to:?}");
                others.push((*to, *of, layers, got.count() > 0));
            }
        }
        let heard = sim
            .sounds
            .iter()
            .filter(|(_, _, forward)| forward.to == members[9])
            .count();
        (
            others,
            heard,
            sim.of(members[9], members[0]).rate(ms(9000), ms(16_000)),
        )
    };
    let (free, free_sound, _) = run(6000);
    let (others, sound, rate) = run(150);
    assert_eq!(free, others);
    assert_eq!(free_sound, sound, "sound is whole");
    assert!(rate.bps() < 150_000);
}

#[test]
fn a_thousand_requests_a_second_are_two_keyframes_a_second_at_most() {
    let mut sim = Sim::new(6, CLEAN);
    let sender = sim.join(1, &LAYERS, false, 5000);
    let receivers: Vec<_> = (2..52)
        .map(|number| sim.join(number, &[], false, 5000))
        .collect();
    for receiver in &receivers {
        sim.watch(*receiver, &[(sender, SMALL)]);
    }
    sim.run(ms(2000));
    for request in 0..10_000 {
        let receiver = receivers[request % receivers.len()];
        sim.request(receiver, sender);
        sim.run(ms(1));
    }
    let asked = sim.asked(sender, 0);
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= ms(500)));
    assert!(asked.len() <= 22, "{}", asked.len());
    // One receiver alone is heard more and more rarely.
    let before = sim.asked(sender, 0).len();
    sim.run(ms(20_000));
    for _ in 0..20_000 {
        sim.request(receivers[0], sender);
        sim.run(ms(1));
    }
    let alone = sim.asked(sender, 0).len() - before;
    assert!((6..=12).contains(&alone), "{alone} in 20 s");
    sim.check();
}

#[test]
fn only_what_somebody_watches_is_wanted() {
    let mut sim = Sim::new(7, CLEAN);
    let sender = sim.join(1, &LAYERS, true, 5000);
    let receiver = sim.join(2, &[], false, 5000);
    let wanted = |sim: &Sim| {
        let mut told = sim.told.iter().rev();
        told.find_map(|(at, event)| match event {
            Event::Wanted { sound, layers, .. } => Some((*at, *sound, *layers)),
            _ => None,
        })
    };
    sim.run(ms(1000));
    assert_eq!(wanted(&sim), None, "nobody has said anything");
    sim.watch(receiver, &[(sender, MIDDLE)]);
    assert_eq!(wanted(&sim), Some((ms(1000), true, [false, true, false])));
    sim.run(ms(3000));
    sim.watch(receiver, &[(sender, SMALL)]);
    assert_eq!(wanted(&sim), Some((ms(4000), true, [true, true, false])));
    sim.run(ms(4000));
    let (at, sound, layers) = wanted(&sim).expect("told");
    assert_eq!((sound, layers), (true, [true, false, false]));
    assert!((ms(6000)..ms(6400)).contains(&at), "{at:?}");
    sim.room.set_watch(
        receiver,
        nonstop_relay::Watch {
            deaf: true,
            ..Default::default()
        },
        sim.now,
    );
    sim.run(ms(4000));
    let (at, sound, layers) = wanted(&sim).expect("told");
    assert_eq!((sound, layers), (false, [false; 3]));
    assert!((ms(10_000)..ms(10_400)).contains(&at), "{at:?}");
}

#[test]
fn a_layer_that_falls_silent_is_replaced_by_one_that_flows() {
    let mut sim = Sim::new(8, CLEAN);
    let sender = sim.join(1, &LAYERS, false, 5000);
    let large = sim.join(2, &[], false, 5000);
    let small = sim.join(3, &[], false, 5000);
    sim.watch(large, &[(sender, LARGE)]);
    sim.watch(small, &[(sender, SMALL)]);
    sim.run(ms(4000));
    assert_eq!(sim.of(large, sender).layers(), [2]);
    sim.publishers
        .get_mut(&sender)
        .expect("joined")
        .mute(2, true);
    sim.run(ms(4000));
    assert_eq!(sim.of(large, sender).layers(), [2, 0]);
    assert!(sim.of(large, sender).longest_gap(ms(1000), ms(8000)) < ms(1500));
    sim.publishers
        .get_mut(&sender)
        .expect("joined")
        .mute(2, false);
    sim.run(ms(4000));
    assert_eq!(sim.of(large, sender).layers(), [2, 0, 2]);
    sim.check();
}

#[test]
fn a_sender_with_too_little_for_the_layer_that_is_watched_is_seen_smaller() {
    let mut sim = Sim::new(9, CLEAN);
    let sender = sim.join(1, &LAYERS, false, 5000);
    let receiver = sim.join(2, &[], false, 5000);
    sim.publishers
        .get_mut(&sender)
        .expect("joined")
        .mute(2, true);
    sim.watch(receiver, &[(sender, LARGE)]);
    sim.run(ms(4000));
    assert_eq!(sim.of(receiver, sender).layers(), [0]);
    sim.publishers
        .get_mut(&sender)
        .expect("joined")
        .mute(2, false);
    sim.run(ms(5000));
    assert_eq!(sim.of(receiver, sender).layers(), [0, 2]);
    let wanted = sim.told.iter().rev().find_map(|(_, event)| match event {
        Event::Wanted { layers, .. } => Some(*layers),
        _ => None,
    });
    assert_eq!(
        wanted,
        Some([false, false, true]),
        "the smallest was only for then"
    );
    sim.check();
}

#[test]
fn who_speaks_is_seen_best() {
    let mut sim = Sim::new(10, CLEAN);
    let members: Vec<_> = (0..3)
        .map(|number| sim.join(number, &LAYERS, true, 5000))
        .collect();
    let receiver = sim.join(9, &[], false, 900);
    let watched: Vec<_> = members.iter().map(|member| (*member, MIDDLE)).collect();
    sim.watch(receiver, &watched);
    let large = |sim: &Sim| {
        let allotted = sim.allotted(receiver);
        let large = allotted.iter().filter(|(_, layer)| *layer == Some(1));
        large.map(|(member, _)| *member).collect::<Vec<_>>()
    };
    for speaker in [2, 0, 1] {
        for (index, member) in members.iter().enumerate() {
            let publisher = sim.publishers.get_mut(member);
            publisher.expect("joined").level = if index == speaker { 25 } else { 127 };
        }
        sim.run(ms(5000));
        assert_eq!(large(&sim), [members[speaker]]);
    }
    sim.check();
}

#[test]
fn what_a_receiver_could_use_is_told() {
    let mut sim = Sim::new(11, CLEAN);
    let sender = sim.join(1, &LAYERS, true, 5000);
    let receiver = sim.join(2, &[], false, 300);
    let desired = |sim: &Sim| {
        let mut told = sim.told.iter().rev();
        told.find_map(|(_, event)| match event {
            Event::Desired { to, bitrate } if *to == receiver => Some(bitrate.bps() / 1000),
            _ => None,
        })
    };
    sim.watch(receiver, &[(sender, LARGE)]);
    let all = desired(&sim).expect("told at once");
    assert!(
        (1800..2100).contains(&all),
        "1.25 times 1500 and 40 kb/s: {all}"
    );
    sim.watch(receiver, &[(sender, SMALL)]);
    sim.run(ms(5000));
    let small = desired(&sim).expect("told");
    assert!((200..300).contains(&small), "{small}");
    let silence = nonstop_relay::Watch {
        deaf: true,
        ..Default::default()
    };
    sim.room.set_watch(receiver, silence, sim.now);
    sim.run(ms(500));
    assert_eq!(desired(&sim), Some(0));
}

#[test]
fn what_is_never_repaired_leaves_its_gaps_and_no_others() {
    for seed in 0..10 {
        let way = sim::Way {
            repaired: false,
            ..ROUGH
        };
        let mut sim = Sim::new(seed, way);
        let sender = sim.join(1, &LAYERS, false, 9000);
        let free = sim.join(2, &[], false, 9000);
        let tight = sim.join(3, &[], false, 350);
        sim.watch(free, &[(sender, MIDDLE)]);
        sim.watch(tight, &[(sender, MIDDLE)]);
        sim.run(ms(10_000));
        sim.check();
        for receiver in [free, tight] {
            let received = sim.of(receiver, sender);
            let count = received.packets.len() as f64;
            let (last, _) = received.packets.last_key_value().expect("it flows");
            let lost = *last as f64 - count;
            // 3 % are lost on the way in; of two lost together one may have been to be dropped.
            assert!(count > 300.0 && lost < count * 0.06, "{lost} of {count}");
        }
        let lost = |receiver| {
            let received = sim.of(receiver, sender);
            received.packets.keys().next_back().expect("some") - received.packets.len() as u64
        };
        assert!(lost(free) > 0, "some were lost");
    }
}

#[test]
fn nothing_is_probed_for_where_nothing_is_watched() {
    let mut room = Room::new(Config::default());
    let (publisher, viewer) = (Member(1), Member(2));
    let mut now = Sim::new(9, CLEAN).now;
    room.join(publisher, now);
    room.join(viewer, now);
    let publication = Publication {
        sound: true,
        layers: LAYERS.to_vec(),
    };
    room.set_publication(publisher, Some(publication), now);
    let mut desired = |pictures: &[(Member, Size)]| {
        let watch = Watch {
            pictures: pictures.to_vec(),
            ..Watch::default()
        };
        room.set_watch(viewer, watch, now);
        let mut told = None;
        for _ in 0..10 {
            now += ms(100);
            room.handle_timeout(now);
            while let Some(event) = room.poll_event() {
                if let Event::Desired { to, bitrate } = event {
                    assert_eq!(to, viewer);
                    told = Some(bitrate);
                }
            }
        }
        told
    };
    assert!(desired(&[(publisher, MIDDLE)]) > Some(Bitrate::from_kbps(300)));
    assert_eq!(desired(&[]), Some(Bitrate::ZERO));
    assert_eq!(desired(&[]), None, "once is enough");
}
