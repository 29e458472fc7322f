//! The cases and what must be reached in them.

mod rfc8867;
mod uplink;

use std::time::Duration;

use super::{
    figures::{Better, Figure, Stretch, at_least, at_most, jain, shown},
    packet::{FlowId, Kind},
    receiver::Habits,
    sender::Source,
    tcp::{Law, Work},
    world::{LinkId, World},
};

/// How a case is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) feedback_gap: Duration,
    /// Prints a time series.
    pub(crate) trace: bool,
}

/// A case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) what: &'static str,
    pub(crate) run: fn(Run) -> Vec<Figure>,
}

/// All cases.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "open",
        what: "open link, 40 ms round trip",
        run: open,
    },
    Case {
        name: "const1",
        what: "1 Mbit/s, 100 ms round trip, 300 ms queue",
        run: const1,
    },
    Case {
        name: "rfc51",
        what: "RFC 8867 5.1: 1.0, 2.5, 0.6, 1.0 Mbit/s at 0, 40, 60, 80 s",
        run: rfc51,
    },
    Case {
        name: "loss5",
        what: "5 % random loss at 4 Mbit/s",
        run: |run| loss(run, "5%", 2.4),
    },
    Case {
        name: "loss10",
        what: "10 % random loss at 4 Mbit/s",
        run: |run| loss(run, "10%", 2.0),
    },
    Case {
        name: "two",
        what: "two equal flows, 2 Mbit/s, the second after 20 s",
        run: |run| equal(run, &[0, 20]),
    },
    Case {
        name: "four",
        what: "four equal flows, 2 Mbit/s, one every 10 s",
        run: |run| equal(run, &[0, 10, 20, 30]),
    },
    Case {
        name: "cubic",
        what: "against one TCP cubic flow, 2 Mbit/s, 100 ms, 300 ms queue",
        run: |run| against_tcp(run, Law::Cubic),
    },
    Case {
        name: "reno",
        what: "against one TCP Reno flow, 2 Mbit/s, 100 ms, 300 ms queue",
        run: |run| against_tcp(run, Law::Reno),
    },
    Case {
        name: "cut5",
        what: "link cut for 5 s, 4 Mbit/s, 40 ms round trip",
        run: cut5,
    },
    Case {
        name: "rfc52",
        what: "RFC 8867 5.2: two flows, variable capacity",
        run: rfc8867::variable,
    },
    Case {
        name: "rfc53",
        what: "RFC 8867 5.3: congested feedback, media both ways",
        run: rfc8867::congested_feedback,
    },
    Case {
        name: "rfc55",
        what: "RFC 8867 5.5: round-trip time fairness",
        run: rfc8867::round_trips,
    },
    Case {
        name: "rfc56",
        what: "RFC 8867 5.6: beside a long TCP flow",
        run: rfc8867::long_tcp,
    },
    Case {
        name: "rfc57",
        what: "RFC 8867 5.7: beside short TCP flows",
        run: rfc8867::short_tcp,
    },
    Case {
        name: "squeezed",
        what: "one of four links squeezed to 300 kb/s",
        run: uplink::squeezed,
    },
    Case {
        name: "own",
        what: "four links, each narrow on its own way",
        run: uplink::own,
    },
    Case {
        name: "uplink",
        what: "four links through one 600 kb/s uplink",
        run: |run| uplink::narrow(run, true),
    },
    Case {
        name: "alone",
        what: "four links through one 600 kb/s uplink, each for itself",
        run: |run| uplink::narrow(run, false),
    },
    Case {
        name: "large",
        what: "four links through one uplink of 1.2, then 4 Mbit/s; one looked at large",
        run: uplink::large,
    },
];

/// Begins a world with its first flow's links: a bottleneck forth and an open way back.
pub(crate) fn begin(run: Run, forth: &str, delay_millis: u32) -> (World, LinkId, LinkId) {
    let mut world = World::new(run.seed);
    if run.trace {
        world.trace();
    }
    let forth = world.link(&format!("{forth} delay={delay_millis}ms"));
    let back = world.link(&format!("rate=100mbit delay={delay_millis}ms"));
    (world, forth, back)
}

/// Returns the habits of a receiver this far away.
pub(crate) fn habits(run: Run, round_trip_millis: u64) -> Habits {
    Habits {
        feedback_gap: run.feedback_gap,
        round_trip: Duration::from_millis(round_trip_millis),
        ..Habits::default()
    }
}

fn freezes(world: &World, flow: FlowId) -> f64 {
    f64::from(world.receiver(flow).received.freezes)
}

fn open(run: Run) -> Vec<Figure> {
    let (mut world, forth, back) = begin(run, "rate=100mbit", 20);
    world.media(&[forth], &[back], Source::default(), habits(run, 40));
    world.run(20.0);
    let log = world.log(forth);
    let start = Stretch::new(&log, 0.0, 20.0);
    vec![at_most(
        "90 % of 2 Mbit/s",
        "s",
        0.6,
        start.reaches(1.8e6, 0.5),
    )]
}

fn const1(run: Run) -> Vec<Figure> {
    let (mut world, forth, back) = begin(run, "rate=1mbit queue=300ms", 50);
    let flow = world.media(&[forth], &[back], Source::default(), habits(run, 100));
    world.run(60.0);
    let log = world.log(forth);
    let (start, later) = (
        Stretch::new(&log, 0.0, 15.0),
        Stretch::new(&log, 15.0, 60.0),
    );
    vec![
        at_least("utilisation", "share", 0.95, later.filled(1e6)),
        at_most("queue, 95th percentile", "ms", 45.0, later.queue(0.95)),
        at_most("loss", "share", 0.0, later.loss()),
        at_most("90 % reached", "s", 2.0, start.reaches(0.9e6, 1.0)),
        shown("queue, first 15 s", "ms", Better::Lower, start.queue(0.95)),
        shown("loss, first 15 s", "share", Better::Lower, start.loss()),
        shown("freezes", "", Better::Lower, freezes(&world, flow)),
    ]
}

fn rfc51(run: Run) -> Vec<Figure> {
    let (mut world, forth, back) = begin(run, "rate=1mbit queue=300ms", 50);
    world.at(40.0, forth, "rate=2.5mbit");
    world.at(60.0, forth, "rate=0.6mbit");
    world.at(80.0, forth, "rate=1mbit");
    let flow = world.media(&[forth], &[back], Source::default(), habits(run, 100));
    world.run(100.0);
    let log = world.log(forth);
    let whole = Stretch::new(&log, 0.0, 100.0);
    let rise = Stretch::new(&log, 40.0, 60.0);
    let drop = Stretch::new(&log, 60.0, 80.0);
    let again = Stretch::new(&log, 80.0, 100.0);
    // 1.0 × 40 + 2.5 × 20 + 0.6 × 20 + 1.0 × 20 Mbit in 100 s.
    let whole_share = whole.filled(1.22e6);
    vec![
        at_least("utilisation", "share", 0.90, whole_share),
        at_most("freezes", "", 0.0, freezes(&world, flow)),
        at_most("rise to 2.5, 90 %", "s", 4.0, rise.reaches(2.25e6, 1.0)),
        at_most("drop, under capacity", "s", 0.8, drop.offers_at_most(0.6e6)),
        at_most("drop, queue < 100 ms", "s", 1.5, drop.queue_clears()),
        at_most("drop, loss", "share", 0.01, drop.loss()),
        at_most("drop, audio waits", "ms", 250.0, drop.audio_wait(300.0)),
        at_most("rise to 1, 90 %", "s", 4.0, again.reaches(0.9e6, 1.0)),
        shown(
            "queue, 95th percentile",
            "ms",
            Better::Lower,
            whole.queue(0.95),
        ),
        shown("utilisation at 1.0", "share", Better::Higher, {
            Stretch::new(&log, 0.0, 40.0).filled(1e6)
        }),
        shown(
            "utilisation at 2.5",
            "share",
            Better::Higher,
            rise.filled(2.5e6),
        ),
        shown(
            "utilisation at 0.6",
            "share",
            Better::Higher,
            drop.filled(0.6e6),
        ),
    ]
}

fn loss(run: Run, share: &str, bound: f64) -> Vec<Figure> {
    let (mut world, forth, back) = begin(run, &format!("rate=4mbit queue=300ms loss={share}"), 20);
    let flow = world.media(&[forth], &[back], Source::default(), habits(run, 40));
    world.run(45.0);
    let log = world.log(forth);
    let later = Stretch::new(&log, 15.0, 45.0);
    let received = &world.receiver(flow).received;
    let frames = received.frames.iter().filter(|at| at.as_secs() >= 15);
    vec![
        at_least("sent", "Mbit/s", bound, later.sent() / 1e6),
        at_most("freezes", "", 0.0, freezes(&world, flow)),
        shown("pictures a second", "", Better::Higher, {
            frames.count() as f64 / 30.0
        }),
        shown(
            "queue, 95th percentile",
            "ms",
            Better::Lower,
            later.queue(0.95),
        ),
    ]
}

fn equal(run: Run, starts: &[u64]) -> Vec<Figure> {
    let (mut world, forth, back) = begin(run, "rate=2mbit queue=300ms", 50);
    for start in starts {
        let source = Source {
            start: Duration::from_secs(*start),
            ..Source::default()
        };
        world.media(&[forth], &[back], source, habits(run, 100));
    }
    world.run(100.0);
    let log = world.log(forth);
    let later = Stretch::new(&log, 45.0, 100.0);
    let rates: Vec<_> = (0..starts.len()).map(|flow| later.rate_of(flow)).collect();
    vec![
        at_least("Jain's index", "", 0.98, jain(&rates)),
        at_most("queue, 95th percentile", "ms", 50.0, later.queue(0.95)),
        shown("utilisation", "share", Better::Higher, later.filled(2e6)),
        shown("loss", "share", Better::Lower, later.loss()),
    ]
}

fn against_tcp(run: Run, law: Law) -> Vec<Figure> {
    let (mut world, forth, back) = begin(run, "rate=2mbit queue=300ms", 50);
    let flow = world.media(&[forth], &[back], Source::default(), habits(run, 100));
    let work = Work::Long(Duration::from_secs(20), Duration::from_secs(80));
    let tcp = world.tcp(&[forth], &[back], law, work);
    world.run(82.0);
    let made = world.sender(flow).sent.audio as f64;
    let log = world.log(forth);
    let left = (log.iter()).filter(|record| record.tag.kind == Kind::Audio);
    let unsent = made - left.count() as f64;
    let beside = Stretch::new(&log, 30.0, 78.0);
    let (media, other) = (beside.rate_of(flow), beside.rate_of(tcp));
    vec![
        at_least("share", "", 0.25, media / (media + other)),
        // One may be on the bottleneck still.
        at_most("audio not sent", "packets", 1.0, unsent),
        shown("audio dropped by the queue", "packets", Better::Lower, {
            beside.audio_dropped()
        }),
        shown(
            "queue, 95th percentile",
            "ms",
            Better::Lower,
            beside.queue(0.95),
        ),
        shown(
            "utilisation by all",
            "share",
            Better::Higher,
            beside.filled(2e6),
        ),
        shown("utilisation before", "share", Better::Higher, {
            Stretch::new(&log, 10.0, 20.0).filled(2e6)
        }),
        shown("freezes", "", Better::Lower, freezes(&world, flow)),
    ]
}

fn cut5(run: Run) -> Vec<Figure> {
    let (mut world, forth, back) = begin(run, "rate=4mbit queue=300ms", 20);
    world.at(20.0, forth, "cut=5s");
    world.at(20.0, back, "cut=5s");
    let flow = world.media(&[forth], &[back], Source::default(), habits(run, 40));
    world.run(45.0);
    let log = world.log(forth);
    let frames = &world.receiver(flow).received.frames;
    let next = frames
        .iter()
        .map(Duration::as_secs_f64)
        .find(|at| *at > 21.0);
    let before = Stretch::new(&log, 12.0, 20.0).rate();
    let after = Stretch::new(&log, 25.0, 45.0);
    vec![
        at_most("return to next picture", "s", 0.5, next.map(|at| at - 25.0)),
        shown("return to 90 % of the rate", "s", Better::Lower, {
            after.reaches(0.9 * before, 1.0)
        }),
    ]
}
