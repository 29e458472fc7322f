//! Any feedback, true or not, on anything sent at any time: no panic, the estimate stays within its
//! limits, audio never waits and nothing waits for long.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use nonstop_rate::{
    Arrivals, Bitrate, Class, Controller, DataSize, Departure, History, Limits, MOST_WAIT, Pacer,
};

struct Link {
    controller: Controller,
    pacer: Pacer<(Class, Instant)>,
    history: History,
    numbers: Vec<u16>,
}

impl Link {
    fn release(&mut self, now: Instant) {
        if let Some(probe) = self.controller.poll_probe(now) {
            self.pacer.start_probe(probe);
        }
        let mut left = 0;
        while let Some(departure) = self.pacer.poll(now, &self.controller.plan()) {
            let (size, probe) = match departure {
                Departure::Packet {
                    packet: (class, since),
                    size,
                    probe,
                    ..
                } => {
                    assert!(
                        now - since <= MOST_WAIT,
                        "{class:?} waited for {:?}",
                        now - since
                    );
                    assert!(class != Class::Audio || now == since);
                    (size, probe)
                }
                Departure::Padding { size, probe } => (size, Some(probe)),
            };
            let number = self.history.handle_sent(now, size, probe);
            self.controller.handle_sent(now, size);
            self.numbers.push(number);
            left += 1;
            assert!(left < 100_000, "more leaves than was ever queued");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let mut link = Link {
        controller: Controller::new(limits),
        pacer: Pacer::new(),
        history: History::new(),
        numbers: Vec::new(),
    };
    let mut arrivals = Arrivals::new();
    let start = Instant::now();
    let mut now = start;
    // Each step is what happens, two bytes that say how much, and how much time passes.
    for step in data.chunks_exact(4) {
        let much = u16::from_be_bytes([step[1], step[2]]);
        match step[0] % 10 {
            0..=3 => {
                let class = match step[0] % 5 {
                    0 => Class::Audio,
                    1 => Class::Retransmission,
                    kind => Class::Video {
                        first: kind != 2,
                        keyframe: kind == 4,
                    },
                };
                let size = DataSize::from_bytes(u64::from(much % 2_000));
                let plan = link.controller.plan();
                link.pacer.push(now, (class, now), size, class, &plan);
            }
            4 => {
                // As it was: what left arrives, all but some.
                let numbers = std::mem::take(&mut link.numbers);
                let delay = Duration::from_micros(u64::from(much));
                let statuses = numbers.into_iter().enumerate().map(|(index, number)| {
                    let lost = much > 0 && index % usize::from(much) == 1;
                    (number, (!lost).then(|| now - start + delay))
                });
                let results = link.history.handle_feedback(now, statuses);
                link.controller.handle_feedback(now, &results);
            }
            5 => {
                // As it was not: any numbers at any time.
                let arrival = Duration::from_millis(u64::from(step[3]) << (much % 32));
                let statuses = (0..much % 500).map(|index| {
                    let number = index.wrapping_mul(u16::from(step[3])).wrapping_sub(much);
                    (number, (index % 3 != 0).then_some(arrival))
                });
                let results = link.history.handle_feedback(now, statuses);
                link.controller.handle_feedback(now, &results);
            }
            6 => link.controller.handle_timeout(now),
            7 => link
                .controller
                .set_wanted(Bitrate::from_bps(u64::from(much) << (step[3] % 40))),
            8 => {
                arrivals.handle_packet(now, much, DataSize::from_bytes(u64::from(step[3]) * 8));
                while let Some(report) = arrivals.poll(now) {
                    assert!(report.arrivals.last().is_some_and(Option::is_some));
                    assert!(report.arrivals.len() <= 1_000);
                }
            }
            _ => {
                link.controller.path_changed();
                link.history.forget();
            }
        }
        link.release(now);
        let estimate = link.controller.estimate();
        assert!(
            (limits.floor..=limits.ceiling).contains(&estimate),
            "{estimate}"
        );
        // Time passes, and what is due is looked at on the way.
        let end = now + Duration::from_millis(u64::from(step[3] % 128));
        for _ in 0..1_000 {
            let timeout = link.controller.poll_timeout();
            let due = [timeout, link.pacer.poll_timeout()]
                .into_iter()
                .flatten()
                .min();
            let Some(due) = due.filter(|due| *due <= end) else {
                break;
            };
            now = due.max(now + Duration::from_micros(100)).min(end.max(now));
            if timeout.is_some_and(|due| due <= now) {
                link.controller.handle_timeout(now);
            }
            link.release(now);
            if now >= end {
                break;
            }
        }
        now = now.max(end);
        link.release(now);
    }
});
