//! As many members as there may be.

mod sim;

use nonstop_relay::{Event, Member, Watch};
use sim::{CLEAN, LAYERS, MIDDLE, ROUGH, SMALL, Sim, ms};

#[test]
fn two_hundred_members_ten_cameras_all_listen() {
    let mut sim = Sim::new(1, ROUGH);
    let members: Vec<_> = (0..200)
        .map(|number| sim.join(number, if number < 10 { &LAYERS } else { &[] }, true, 4000))
        .collect();
    assert!(!sim.room.join(Member(1000), sim.now), "there is no place");
    for member in &members {
        let cameras = members[..10].iter().filter(|camera| *camera != member);
        let tiles = cameras.enumerate().map(|(index, camera)| {
            let size = if index == 0 { MIDDLE } else { SMALL };
            (*camera, size)
        });
        sim.watch(*member, &tiles.collect::<Vec<_>>());
    }
    sim.run(ms(3000));
    for (index, member) in members.iter().enumerate().take(20) {
        let publisher = sim.publishers.get_mut(member).expect("joined");
        publisher.level = 30 + index as u8;
    }
    sim.run(ms(3000));
    sim.check();
    for member in &members[10..] {
        for camera in &members[..10] {
            let received = sim.of(*member, *camera);
            assert!(received.longest_gap(ms(1000), ms(5900)) < ms(300));
        }
    }
    for layer in 0..3 {
        let asked = sim.asked(members[0], layer).len();
        assert!(asked <= 14, "{asked} keyframes of layer {layer}");
    }
    let heard = sim
        .sounds
        .iter()
        .filter(|(at, ..)| *at > ms(5000) && *at < ms(6000));
    let a_second = heard.count();
    assert!(
        (40 * 6 * 199..=52 * 6 * 200).contains(&a_second),
        "{a_second}"
    );
}

#[test]
fn what_waits_to_be_told_is_bounded() {
    let mut sim = Sim::new(2, CLEAN);
    let members: Vec<_> = (0..50)
        .map(|number| sim.join(number, &LAYERS, true, 4000))
        .collect();
    for round in 0..200_usize {
        for member in &members {
            let watched = members[round % 50];
            let watch = Watch {
                pictures: vec![(watched, if round % 2 == 0 { SMALL } else { MIDDLE })],
                ..Watch::default()
            };
            sim.room.set_watch(*member, watch, sim.now);
        }
        sim.now += ms(20);
        sim.room.handle_timeout(sim.now);
    }
    let mut told = 0;
    let mut keyframes = 0;
    while let Some(event) = sim.room.poll_event() {
        told += 1;
        keyframes += usize::from(matches!(event, Event::RequestKeyframe { .. }));
    }
    assert!(keyframes <= 50 * 3);
    assert!(told <= 50 * 3 + keyframes + 1, "{told}");
}

#[test]
fn joining_and_leaving_keeps_nothing() {
    let mut sim = Sim::new(3, CLEAN);
    let stays = sim.join(0, &LAYERS, true, 4000);
    for number in 1..500 {
        let member = sim.join(number, &LAYERS, true, 4000);
        sim.watch(member, &[(stays, SMALL)]);
        sim.watch(stays, &[(member, SMALL)]);
        sim.run(ms(100));
        sim.room.leave(member, sim.now);
        sim.publishers.remove(&member);
        sim.received.remove(&(stays, member));
    }
    sim.watch(stays, &[]);
    sim.run(ms(5000));
    let last = sim.told.iter().rev().find_map(|(_, event)| match event {
        Event::Wanted {
            of, sound, layers, ..
        } if *of == stays => Some((*sound, *layers)),
        _ => None,
    });
    assert_eq!(last, Some((false, [false; 3])));
    sim.room.leave(stays, sim.now);
    sim.run(ms(1000));
    assert_eq!(sim.room.poll_timeout(), None, "an empty room is left alone");
}
