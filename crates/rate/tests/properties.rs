//! Whatever is reported, nothing panics and every bound holds.
#![expect(
    clippy::disallowed_methods,
    reason = "simulated time starts at whatever the clock says"
)]

use std::time::{Duration, Instant};

use nonstop_rate::{
    Bitrate, Class, Controller, DataSize, Departure, Limits, MOST_WAIT, Pacer, PacketResult, Plan,
    Probe, ProbeId,
};
use proptest::prelude::*;

/// One thing that happens to a controller.
#[derive(Debug, Clone)]
enum Fact {
    Feedback(Vec<Told>),
    Sent(u64),
    Timeout,
    Wanted(u64),
    PathChanged,
}

#[derive(Debug, Clone)]
struct Told {
    /// Microseconds before the report.
    departure: u64,
    arrival: Option<u64>,
    size: u64,
    probe: Option<u32>,
}

fn told() -> impl Strategy<Value = Told> {
    let arrival = prop_oneof![
        3 => (0u64..100_000_000).prop_map(Some),
        1 => any::<u32>().prop_map(|far| Some(u64::from(far) * 1_000)),
        1 => Just(None),
    ];
    let size = prop_oneof![4 => 0u64..2_000, 1 => any::<u32>().prop_map(u64::from)];
    (
        0u64..10_000_000,
        arrival,
        size,
        proptest::option::of(0u32..5),
    )
        .prop_map(|(departure, arrival, size, probe)| Told {
            departure,
            arrival,
            size,
            probe,
        })
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        4 => proptest::collection::vec(told(), 0..40).prop_map(Fact::Feedback),
        3 => (0u64..3_000).prop_map(Fact::Sent),
        2 => Just(Fact::Timeout),
        1 => any::<u64>().prop_map(Fact::Wanted),
        1 => Just(Fact::PathChanged),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_feedback_leaves_the_estimate_within_its_limits(
        facts in proptest::collection::vec((0u64..3_000_000, fact()), 1..60),
    ) {
        let limits = Limits::default();
        let start = Instant::now() + Duration::from_secs(20);
        let mut controller = Controller::new(limits);
        let mut now = start;
        for (gap, fact) in facts {
            now += Duration::from_micros(gap);
            apply(&mut controller, now, fact);
            let plan = controller.plan();
            prop_assert!(controller.estimate() >= limits.floor);
            prop_assert!(controller.estimate() <= limits.ceiling);
            prop_assert!(plan.pace > Bitrate::ZERO);
            prop_assert!(controller.loss().is_none_or(|loss| (0.0..=1.0).contains(&loss)));
            if let Some(probe) = controller.poll_probe(now) {
                prop_assert!(probe.rate > Bitrate::ZERO);
            }
            let _ = (controller.queue_delay(), controller.round_trip(), controller.acknowledged());
        }
    }

    #[test]
    fn a_controller_that_is_due_is_not_due_again_at_once(
        facts in proptest::collection::vec((0u64..300_000, fact()), 1..40),
    ) {
        let start = Instant::now() + Duration::from_secs(20);
        let mut controller = Controller::new(Limits::default());
        let mut now = start;
        for (gap, fact) in facts {
            now += Duration::from_micros(gap);
            apply(&mut controller, now, fact);
            controller.handle_timeout(now);
            prop_assert!(controller.poll_timeout().is_none_or(|due| due > now));
        }
    }

    #[test]
    fn sound_leaves_at_once_and_nothing_waits_too_long(
        packets in proptest::collection::vec((0u64..60_000, 0u8..5, 40u64..1_300), 1..300),
        kbps in 60u64..5_000,
        window in 0u64..100_000,
    ) {
        let start = Instant::now();
        let mut pacer: Pacer<(u8, Instant)> = Pacer::new();
        let mut now = start;
        let plan = plan(kbps, window);
        for (gap, kind, bytes) in packets {
            now += Duration::from_micros(gap);
            let class = match kind {
                0 => Class::Audio,
                1 => Class::Retransmission,
                2 => Class::Video { stream: 0, first: true, keyframe: true },
                3 => Class::Video { stream: 0, first: true, keyframe: false },
                _ => Class::Video { stream: 0, first: false, keyframe: false },
            };
            if kind == 1 && bytes % 7 == 0 {
                pacer.start_probe(Probe {
                    id: ProbeId(1),
                    rate: Bitrate::from_kbps(kbps * 2),
                    size: DataSize::from_bytes(3_000),
                    packets: 5,
                });
            }
            pacer.push(now, (kind, now), DataSize::from_bytes(bytes), class, &plan);
            let mut steps = 0;
            while let Some(departure) = pacer.poll(now, &plan) {
                steps += 1;
                prop_assert!(steps < 10_000, "it never ends");
                let Departure::Packet { packet: (kind, since), .. } = departure else { continue };
                let waited = now - since;
                prop_assert!(kind != 0 || waited.is_zero(), "sound waited {waited:?}");
                prop_assert!(waited <= MOST_WAIT, "waited {waited:?}");
            }
        }
        now += MOST_WAIT + Duration::from_secs(5);
        while pacer.poll(now, &plan).is_some() {}
        prop_assert_eq!(pacer.waiting(), DataSize::ZERO);
    }
}

fn apply(controller: &mut Controller, now: Instant, fact: Fact) {
    match fact {
        Fact::Feedback(told) => {
            let results: Vec<_> = (told.iter())
                .map(|told| PacketResult {
                    departure: now - Duration::from_micros(told.departure),
                    arrival: told.arrival.map(Duration::from_micros),
                    size: DataSize::from_bytes(told.size),
                    probe: told.probe.map(ProbeId),
                })
                .collect();
            controller.handle_feedback(now, &results);
        }
        Fact::Sent(size) => controller.handle_sent(now, DataSize::from_bytes(size)),
        Fact::Timeout => controller.handle_timeout(now),
        Fact::Wanted(bps) => controller.set_wanted(Bitrate::from_bps(bps)),
        Fact::PathChanged => controller.path_changed(),
    }
}

fn plan(kbps: u64, window: u64) -> Plan {
    let estimate = Bitrate::from_kbps(kbps);
    Plan {
        estimate,
        pace: estimate.scale(2.5),
        window: DataSize::from_bytes(window),
        in_flight: DataSize::from_bytes(20_000),
        congested: window.is_multiple_of(2),
    }
}
