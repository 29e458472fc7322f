//! The test cases of RFC 8867 with several flows. What the RFC leaves open: the queue holds 300 ms,
//! the round trip is 100 ms where it names none.

use std::time::Duration;

use crate::sim::{
    figures::{Better, Figure, Stretch, jain, shown},
    sender::Source,
    tcp::{Law, Work},
    world::World,
};

use super::{Run, begin, freezes, habits};

/// Section 5.2: two flows, 4, 2, 3.5, 1 and 2 Mbit/s, 25 s each.
pub(super) fn variable(run: Run) -> Vec<Figure> {
    let (mut world, forth, back) = begin(run, "rate=4mbit queue=300ms", 50);
    world.at(25.0, forth, "rate=2mbit");
    world.at(50.0, forth, "rate=3.5mbit");
    world.at(75.0, forth, "rate=1mbit");
    world.at(100.0, forth, "rate=2mbit");
    for _ in 0..2 {
        world.media(&[forth], &[back], Source::default(), habits(run, 100));
    }
    world.run(125.0);
    let log = world.log(forth);
    let whole = Stretch::new(&log, 0.0, 125.0);
    let drop = Stretch::new(&log, 75.0, 100.0);
    vec![
        shown("utilisation", "share", Better::Higher, whole.filled(2.5e6)),
        shown(
            "queue, 95th percentile",
            "ms",
            Better::Lower,
            whole.queue(0.95),
        ),
        shown("loss", "share", Better::Lower, whole.loss()),
        shown("Jain's index", "", Better::Higher, {
            jain(&[whole.rate_of(0), whole.rate_of(1)])
        }),
        shown(
            "drop to 1, queue < 100 ms",
            "s",
            Better::Lower,
            drop.queue_clears(),
        ),
        shown(
            "freezes",
            "",
            Better::Lower,
            freezes(&world, 0) + freezes(&world, 1),
        ),
    ]
}

/// Section 5.3: a flow each way, and each way becomes narrow.
pub(super) fn congested_feedback(run: Run) -> Vec<Figure> {
    let mut world = World::new(run.seed);
    if run.trace {
        world.trace();
    }
    let forth = world.link("rate=2mbit queue=300ms delay=50ms");
    let back = world.link("rate=2mbit queue=300ms delay=50ms");
    for (at, rate) in [(20.0, "1"), (40.0, "0.5"), (60.0, "2")] {
        world.at(at, forth, &format!("rate={rate}mbit"));
    }
    for (at, rate) in [(35.0, "0.8"), (70.0, "2")] {
        world.at(at, back, &format!("rate={rate}mbit"));
    }
    world.media(&[forth], &[back], Source::default(), habits(run, 100));
    world.media(&[back], &[forth], Source::default(), habits(run, 100));
    world.run(100.0);
    let (there, here) = (world.log(forth), world.log(back));
    let there = Stretch::new(&there, 0.0, 100.0);
    let here = Stretch::new(&here, 0.0, 100.0);
    vec![
        // 2 × 20 + 1 × 20 + 0.5 × 20 + 2 × 40 and 2 × 35 + 0.8 × 35 + 2 × 30 Mbit.
        shown(
            "utilisation forth",
            "share",
            Better::Higher,
            there.filled(1.5e6),
        ),
        shown(
            "utilisation back",
            "share",
            Better::Higher,
            here.filled(1.58e6),
        ),
        shown("queue forth", "ms", Better::Lower, there.queue(0.95)),
        shown("queue back", "ms", Better::Lower, here.queue(0.95)),
        shown("loss forth", "share", Better::Lower, there.loss()),
        shown("loss back", "share", Better::Lower, here.loss()),
        shown(
            "freezes",
            "",
            Better::Lower,
            freezes(&world, 0) + freezes(&world, 1),
        ),
    ]
}

/// Section 5.5: five flows with ways of 10 to 150 ms through 4 Mbit/s.
pub(super) fn round_trips(run: Run) -> Vec<Figure> {
    const DELAYS: [u64; 5] = [10, 25, 50, 100, 150];
    let (mut world, neck, _) = begin(run, "rate=4mbit queue=300ms", 0);
    for (delay, start) in DELAYS.iter().zip((0..).step_by(10)) {
        let way = format!("delay={delay}ms");
        let (forth, back) = (world.link(&way), world.link(&way));
        let source = Source {
            start: Duration::from_secs(start),
            ..Source::default()
        };
        world.media(&[neck, forth], &[back], source, habits(run, 2 * delay));
    }
    world.run(300.0);
    let log = world.log(neck);
    let later = Stretch::new(&log, 100.0, 300.0);
    let rates: Vec<_> = (0..DELAYS.len()).map(|flow| later.rate_of(flow)).collect();
    let nearest = rates[0] / rates[4].max(1.0);
    vec![
        shown("Jain's index", "", Better::Higher, jain(&rates)),
        shown("nearest to farthest", "ratio", Better::Lower, nearest),
        shown("utilisation", "share", Better::Higher, later.filled(4e6)),
        shown(
            "queue, 95th percentile",
            "ms",
            Better::Lower,
            later.queue(0.95),
        ),
        shown("loss", "share", Better::Lower, later.loss()),
    ]
}

/// Section 5.6: a flow that comes 5 s after a long TCP flow, through 2 Mbit/s.
pub(super) fn long_tcp(run: Run) -> Vec<Figure> {
    let (mut world, forth, back) = begin(run, "rate=2mbit queue=300ms", 50);
    let source = Source {
        start: Duration::from_secs(5),
        ..Source::default()
    };
    let flow = world.media(&[forth], &[back], source, habits(run, 100));
    let work = Work::Long(Duration::ZERO, Duration::from_secs(120));
    let tcp = world.tcp(&[forth], &[back], Law::Cubic, work);
    world.run(120.0);
    let log = world.log(forth);
    let later = Stretch::new(&log, 20.0, 120.0);
    let (media, other) = (later.rate_of(flow), later.rate_of(tcp));
    vec![
        shown("share", "", Better::Higher, media / (media + other)),
        shown(
            "utilisation by all",
            "share",
            Better::Higher,
            later.filled(2e6),
        ),
        shown(
            "queue, 95th percentile",
            "ms",
            Better::Lower,
            later.queue(0.95),
        ),
        shown("loss", "share", Better::Lower, later.loss()),
        shown("freezes", "", Better::Lower, freezes(&world, flow)),
    ]
}

/// Section 5.7: two flows beside ten senders of files, through 2 Mbit/s.
pub(super) fn short_tcp(run: Run) -> Vec<Figure> {
    let (mut world, forth, back) = begin(run, "rate=2mbit queue=300ms", 50);
    for _ in 0..2 {
        let source = Source {
            start: Duration::from_secs(5),
            ..Source::default()
        };
        world.media(&[forth], &[back], source, habits(run, 100));
    }
    for _ in 0..10 {
        world.tcp(&[forth], &[back], Law::Cubic, Work::Short);
    }
    world.run(300.0);
    let log = world.log(forth);
    let later = Stretch::new(&log, 20.0, 300.0);
    let rates = [later.rate_of(0), later.rate_of(1)];
    vec![
        shown("media", "Mbit/s", Better::Higher, later.rate() / 1e6),
        shown("Jain's index", "", Better::Higher, jain(&rates)),
        shown(
            "utilisation by all",
            "share",
            Better::Higher,
            later.filled(2e6),
        ),
        shown(
            "queue, 95th percentile",
            "ms",
            Better::Lower,
            later.queue(0.95),
        ),
        shown("loss", "share", Better::Lower, later.loss()),
        shown("freezes a minute", "", Better::Lower, {
            (freezes(&world, 0) + freezes(&world, 1)) / 2.0 / 5.0
        }),
    ]
}
