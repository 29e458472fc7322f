//! Four links of one participant: one of them narrow, or all through one narrow uplink.

use std::time::Duration;

use nonstop_rate::{Arbiter, LinkId};

use crate::sim::{
    figures::{Better, Figure, Stretch, at_least, at_most, jain, shown},
    packet::FlowId,
    sender::Source,
    world::{self, World},
};

use super::{Run, freezes, habits};

const LINKS: usize = 4;

/// Four links over one uplink, each with a way of its own behind it.
fn four(run: Run, uplink: &str, behind: &str) -> (World, world::LinkId, [world::LinkId; LINKS]) {
    let mut world = World::new(run.seed);
    if run.trace {
        world.trace();
    }
    let uplink = world.link(uplink);
    let ways = [10, 15, 20, 30].map(|delay| {
        let forth = world.link(&format!("{behind} queue=300ms delay={delay}ms"));
        let back = world.link(&format!("rate=100mbit delay={delay}ms"));
        let habits = habits(run, 2 * delay);
        world.media(&[uplink, forth], &[back], Source::default(), habits);
        forth
    });
    (world, uplink, ways)
}

/// Lets one arbiter share out the uplink by these weights.
fn arbitrate(world: &mut World, weights: [f64; LINKS]) {
    let mut arbiter = Arbiter::new();
    let mut first = true;
    world.divide(Box::new(move |now, senders| {
        if std::mem::take(&mut first) {
            (0..LINKS as u64).for_each(|link| arbiter.expect(now, LinkId(link)));
        }
        for sender in senders {
            let flow = sender.flow();
            let report = sender.report(weights[flow]);
            sender.set_share(arbiter.report(now, LinkId(flow as u64), report));
        }
    }));
}

/// One of four links is squeezed to 300 kb/s: the others go on as they were.
pub(super) fn squeezed(run: Run) -> Vec<Figure> {
    let (mut world, _, ways) = four(run, "rate=100mbit", "rate=4mbit");
    arbitrate(&mut world, [1.0; LINKS]);
    world.at(30.0, ways[3], "rate=300kbit");
    let before = targets(&mut world, 20.0, 30.0);
    let after = targets(&mut world, 30.0, 60.0);
    let change = (before.iter().zip(&after).take(LINKS - 1))
        .map(|(before, after)| (after / before - 1.0).abs())
        .fold(0.0, f64::max);
    let log = world.log(ways[3]);
    let narrow = Stretch::new(&log, 35.0, 60.0);
    vec![
        at_most("change of the others' targets", "share", 0.05, change),
        shown(
            "utilisation of the squeezed",
            "share",
            Better::Higher,
            narrow.filled(3e5),
        ),
        shown(
            "queue of the squeezed",
            "ms",
            Better::Lower,
            narrow.queue(0.95),
        ),
    ]
}

/// Runs from one second to another and returns each flow's mean target.
fn targets(world: &mut World, from: f64, to: f64) -> [f64; LINKS] {
    world.run_until(Duration::from_secs_f64(from), |_| {});
    let mut sums = [0.0; LINKS];
    let steps = ((to - from) * 10.0) as u32;
    for step in 1..=steps {
        world.run_until(
            Duration::from_secs_f64(from + f64::from(step) / 10.0),
            |_| {},
        );
        for (flow, sum) in sums.iter_mut().enumerate() {
            *sum += world.sender(flow).target().as_f64() / f64::from(steps);
        }
    }
    sums
}

/// Four links through one uplink of 600 kb/s, with an arbiter or each for itself.
pub(super) fn narrow(run: Run, arbiter: bool) -> Vec<Figure> {
    let (mut world, uplink, _) = four(run, "rate=600kbit queue=300ms", "rate=20mbit");
    if arbiter {
        arbitrate(&mut world, [1.0; LINKS]);
    }
    world.run(60.0);
    let log = world.log(uplink);
    let (whole, later) = (
        Stretch::new(&log, 0.0, 60.0),
        Stretch::new(&log, 15.0, 60.0),
    );
    let rates: [f64; LINKS] = std::array::from_fn(|flow: FlowId| later.rate_of(flow));
    let freezes: f64 = (0..LINKS).map(|flow| freezes(&world, flow)).sum();
    vec![
        at_most("audio lost", "packets", 0.0, whole.audio_dropped()),
        at_most("queue, 95th percentile", "ms", 150.0, whole.queue(0.95)),
        at_least("Jain's index", "", 0.95, jain(&rates)),
        shown("queue after 15 s", "ms", Better::Lower, later.queue(0.95)),
        shown(
            "audio lost after 15 s",
            "packets",
            Better::Lower,
            later.audio_dropped(),
        ),
        shown("utilisation", "share", Better::Higher, later.filled(6e5)),
        shown("loss", "share", Better::Lower, later.loss()),
        shown("freezes", "", Better::Lower, freezes),
    ]
}

/// One is looked at large: it gets the most, and everybody is heard. Then the uplink widens.
pub(super) fn large(run: Run) -> Vec<Figure> {
    let (mut world, uplink, _) = four(run, "rate=1200kbit queue=300ms", "rate=20mbit");
    arbitrate(&mut world, [4.0, 1.0, 1.0, 1.0]);
    world.at(60.0, uplink, "rate=4mbit");
    world.run(120.0);
    let log = world.log(uplink);
    let (narrow, wide) = (
        Stretch::new(&log, 20.0, 60.0),
        Stretch::new(&log, 60.0, 120.0),
    );
    let small = (1..LINKS).map(|flow| narrow.rate_of(flow)).sum::<f64>() / 3.0;
    vec![
        // Of 1200 kb/s 40 are each link's sound: (1040 × 4/7 + 40) to (1040 / 7 + 40) is 3.4.
        at_least("large to small", "ratio", 2.5, narrow.rate_of(0) / small),
        at_most("audio lost", "packets", 0.0, narrow.audio_dropped()),
        shown(
            "queue, 95th percentile",
            "ms",
            Better::Lower,
            narrow.queue(0.95),
        ),
        shown("utilisation", "share", Better::Higher, narrow.filled(1.2e6)),
        shown(
            "rise to 4, 90 %",
            "s",
            Better::Lower,
            wide.reaches(3.6e6, 1.0),
        ),
    ]
}

/// Each of four links is narrow on its own: none is held back for another.
pub(super) fn own(run: Run) -> Vec<Figure> {
    let (mut world, _, ways) = four(run, "rate=100mbit", "rate=4mbit");
    arbitrate(&mut world, [1.0; LINKS]);
    let rates = [0.5e6, 0.8e6, 1.2e6, 2e6];
    for (way, rate) in ways.iter().zip(rates) {
        world.at(0.0, *way, &format!("rate={rate}"));
    }
    world.run(60.0);
    let filled = ways.iter().zip(rates).map(|(way, rate)| {
        let log = world.log(*way);
        Stretch::new(&log, 15.0, 60.0).filled(rate)
    });
    vec![at_least(
        "utilisation of the worst",
        "share",
        0.95,
        filled.fold(1.0, f64::min),
    )]
}
