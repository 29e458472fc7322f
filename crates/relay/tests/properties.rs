//! Whatever members do, in whatever order: what each receiver gets can be decoded, and its numbers have
//! no gaps but for what was lost.

mod sim;

use nonstop_relay::{Member, PicturePacket, Publication, Size};
use proptest::prelude::*;
use sim::{LARGE, LAYERS, MIDDLE, SMALL, Sim, Way, ms};

/// Something that happens; members are numbers of those who are there.
#[derive(Debug, Clone)]
enum Act {
    Wait(u64),
    Watch(usize, Vec<(usize, Size)>),
    Estimate(usize, u64),
    Request(usize, usize),
    Publish(usize, usize),
    Mute(usize, usize, bool),
    Leave(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0..5_usize;
    let tile = prop_oneof![Just(SMALL), Just(MIDDLE), Just(LARGE)];
    let watched = prop::collection::vec((0..5_usize, tile), 0..5);
    prop_oneof![
        6 => (1..2000_u64).prop_map(Act::Wait),
        3 => (who.clone(), watched).prop_map(|(who, watched)| Act::Watch(who, watched)),
        3 => (who.clone(), 20..6000_u64).prop_map(|(who, kbps)| Act::Estimate(who, kbps)),
        2 => (who.clone(), who.clone()).prop_map(|(who, of)| Act::Request(who, of)),
        1 => (who.clone(), 0..4_usize).prop_map(|(who, layers)| Act::Publish(who, layers)),
        1 => (who.clone(), 0..3_usize, any::<bool>())
            .prop_map(|(who, layer, muted)| Act::Mute(who, layer, muted)),
        1 => who.prop_map(Act::Leave),
    ]
}

fn way() -> impl Strategy<Value = Way> {
    (0..30_u64, 0..60_u64, 0..6_u32).prop_map(|(jitter, delay, loss)| Way {
        delay: ms(delay),
        jitter: ms(jitter),
        loss: f64::from(loss) / 100.0,
        repaired: true,
    })
}

fn play(seed: u64, way: Way, acts: &[Act]) {
    let mut sim = Sim::new(seed, way);
    let mut members: Vec<Member> = (0..5)
        .map(|number| sim.join(number, &LAYERS, true, 3000))
        .collect();
    let mut newest = 5;
    for act in acts {
        match act {
            Act::Wait(millis) => sim.run(ms(*millis)),
            Act::Watch(who, watched) => {
                let watched = watched.iter().map(|(of, size)| (members[*of], *size));
                sim.watch(members[*who], &watched.collect::<Vec<_>>());
            }
            Act::Estimate(who, kbps) => sim.estimate(members[*who], *kbps),
            Act::Request(who, of) => sim.request(members[*who], members[*of]),
            Act::Publish(who, layers) => {
                let publication = Publication {
                    sound: *layers != 1,
                    layers: LAYERS[..*layers].to_vec(),
                };
                // What is on its way arrives while it is still published.
                sim.pause(true);
                sim.publish(members[*who], publication);
                sim.pause(false);
            }
            Act::Mute(who, layer, muted) => {
                let publisher = sim.publishers.get_mut(&members[*who]);
                publisher.expect("a member").mute(*layer, *muted);
            }
            Act::Leave(who) => {
                sim.pause(true);
                sim.room.leave(members[*who], sim.now);
                members[*who] = sim.join(newest, &LAYERS, true, 3000);
                newest += 1;
                sim.pause(false);
            }
        }
    }
    sim.run(ms(1000));
    sim.check();
    for member in &members {
        for layer in 0..3 {
            let asked = sim.asked(*member, layer);
            assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= ms(500)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_passed_on_can_be_decoded(
        seed: u64,
        way in way(),
        acts in prop::collection::vec(act(), 1..40),
    ) {
        play(seed, way, &acts);
    }

    #[test]
    fn no_packet_does_harm(
        packets in prop::collection::vec((0..3_u8, any::<u64>(), any::<u32>(), prop::option::of(any::<[u8; 3]>())), 1..200),
        near: bool,
    ) {
        let mut sim = Sim::new(1, sim::CLEAN);
        let sender = sim.join(1, &LAYERS, true, 3000);
        let receiver = sim.join(2, &[], false, 3000);
        sim.watch(receiver, &[(sender, LARGE)]);
        let mut out = Vec::new();
        for (layer, sequence, timestamp, marking) in packets {
            let packet = PicturePacket {
                sequence: if near { sequence % 700 } else { sequence },
                timestamp: if near { timestamp % 8 } else { timestamp },
                marker: timestamp % 2 == 0,
                size: (sequence % 3000) as usize,
                marking: marking.and_then(|bytes| nonstop_relay::FrameMarking::read(&bytes)),
            };
            sim.room.handle_picture(sender, layer, &packet, sim.now, &mut out);
            sim.run(ms(5));
        }
        let mut numbers: Vec<u64> = out.iter().map(|forward| forward.sequence).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        prop_assert_eq!(numbers.len(), count, "a number was used twice");
    }
}
