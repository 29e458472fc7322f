//! Pictures through the relay, as scenarios in simulated time.

mod sim;

use sim::{CLEAN, LARGE, LAYERS, MIDDLE, SMALL, Sim, ms};

#[test]
fn a_late_joiner_sees_a_picture_at_once() {
    let mut sim = Sim::new(1, CLEAN);
    let sender = sim.join(1, &LAYERS, false, 5000);
    let first = sim.join(2, &[], false, 5000);
    sim.watch(first, &[(sender, SMALL)]);
    sim.run(ms(5000));
    let late = sim.join(3, &[], false, 5000);
    sim.watch(late, &[(sender, SMALL)]);
    let joined = sim.elapsed();
    sim.run(ms(1000));
    let got = sim.of(late, sender).packets.first_key_value();
    let (number, got) = got.expect("a picture");
    assert_eq!(*number, 1);
    assert!(got.restart);
    assert!(got.at - joined < ms(80), "{:?}", got.at - joined);
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
