//! What arrived, told by one side and understood by the other, in simulated time.
#![expect(
    clippy::disallowed_methods,
    reason = "simulated time starts at whatever the clock says"
)]

use std::time::{Duration, Instant};

use nonstop_rate::{ArrivalReport, Arrivals, DataSize, History, PacketResult, ProbeId};

const PACKET: DataSize = DataSize::from_bytes(1_000);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn statuses(report: &ArrivalReport) -> impl Iterator<Item = (u16, Option<Duration>)> {
    let numbers = (0..).map(|index| report.first.wrapping_add(index));
    numbers.zip(report.arrivals.iter().copied())
}

fn send(history: &mut History, start: Instant, many: u64) -> Vec<u16> {
    (0..many)
        .map(|at| history.handle_sent(start + millis(at), PACKET, None))
        .collect()
}

fn departures(results: &[PacketResult], start: Instant) -> Vec<(u128, bool)> {
    (results.iter())
        .map(|result| {
            let departure = result.departure.duration_since(start).as_millis();
            (departure, result.arrival.is_some())
        })
        .collect()
}

#[test]
fn each_fate_is_told_once_in_the_order_of_departure() {
    let start = Instant::now();
    let mut history = History::new();
    send(&mut history, start, 4);
    let at = Some(millis(9));
    let now = start + millis(30);
    // Out of order, one twice, one that was never sent.
    let told = history.handle_feedback(now, [(2, at), (0, at), (2, at), (40_000, at)]);
    assert_eq!(departures(&told, start), [(0, true), (2, true)]);
    let told = history.handle_feedback(now, [(0, at), (1, at), (2, None), (3, at)]);
    assert_eq!(departures(&told, start), [(1, true), (3, true)]);
    assert_eq!(history.handle_feedback(now, [(1, at), (3, None)]), []);
}

#[test]
fn lost_feedback_is_not_lost_packets() {
    let start = Instant::now();
    let mut history = History::new();
    send(&mut history, start, 100);
    let mut told = Vec::new();
    // Of ten packets each; every second message never comes.
    for message in (0..10_u16).step_by(2) {
        let numbers = (message * 10..message * 10 + 10).map(|number| (number, Some(millis(5))));
        told.extend(history.handle_feedback(start + millis(200 * u64::from(message)), numbers));
    }
    assert_eq!(told.len(), 50);
    assert!(told.iter().all(|result| result.arrival.is_some()));
}

#[test]
fn a_packet_is_lost_when_it_stays_missing_and_not_when_it_is_late() {
    let start = Instant::now();
    let mut history = History::new();
    send(&mut history, start, 6);
    let at = Some(millis(9));
    let first =
        history.handle_feedback(start + millis(20), [(0, at), (1, None), (2, None), (3, at)]);
    assert_eq!(departures(&first, start), [(0, true), (3, true)]);
    let second = history.handle_feedback(start + millis(45), [(1, None), (2, at), (4, at)]);
    assert_eq!(departures(&second, start), [(2, true), (4, true)]);
    let third = history.handle_feedback(start + millis(90), [(5, at)]);
    assert_eq!(departures(&third, start), [(1, false), (5, true)]);
    // Too late: it was told already.
    assert_eq!(history.handle_feedback(start + millis(95), [(1, at)]), []);
}

#[test]
fn numbers_wrap_and_probes_keep_their_name() {
    let start = Instant::now();
    let mut history = History::new();
    for round in 0..70_000_u32 {
        let now = start + millis(u64::from(round));
        let probe = (round % 100 == 0).then_some(ProbeId(round));
        let number = history.handle_sent(now, PACKET, probe);
        assert_eq!(number, round as u16);
        let told = history.handle_feedback(now + millis(10), [(number, Some(millis(1)))]);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].departure, told[0].probe), (now, probe));
    }
}

/// Packets of this size arrive this often; returns the reports and when they were made.
fn receive(size: u64, every: Duration, time: Duration) -> Vec<(Duration, ArrivalReport)> {
    let start = Instant::now();
    let mut arrivals = Arrivals::new();
    let mut reports = Vec::new();
    let mut next = Duration::ZERO;
    let mut number = 65_500;
    while next < time {
        let due = arrivals.poll_timeout().map(|due| due - start);
        if let Some(due) = due.filter(|due| *due <= next) {
            reports.extend(arrivals.poll(start + due).map(|report| (due, report)));
        } else {
            arrivals.handle_packet(start + next, number, DataSize::from_bytes(size));
            number = number.wrapping_add(1);
            next += every;
        }
    }
    reports
}

fn longest_pause(reports: &[(Duration, ArrivalReport)]) -> Duration {
    let pauses = reports.windows(2).map(|pair| pair[1].0 - pair[0].0);
    pauses.max().unwrap_or_default()
}

#[test]
fn reports_come_soon_often_and_within_their_budget() {
    // 2 Mb/s, 400 kb/s, 50 kb/s (sound alone).
    for (size, every, pause) in [(1_000, 4, 25), (1_000, 20, 45), (125, 20, 120)] {
        let reports = receive(size, millis(every), Duration::from_secs(20));
        assert!(reports[0].0 <= millis(5), "{:?}", reports[0].0);
        assert!(
            longest_pause(&reports) <= millis(pause),
            "{size}: {:?}",
            longest_pause(&reports)
        );
        let cost: usize = reports
            .iter()
            .map(|(_, report)| 62 + 2 * report.arrivals.len())
            .sum();
        let received = size * 20_000 / every;
        if size == 1_000 {
            assert!(
                cost as f64 <= received as f64 * 0.05 + 1_600.0,
                "{cost} of {received}"
            );
        }
    }
}

#[test]
fn each_packet_is_in_two_reports_and_arrivals_are_exact() {
    let reports = receive(1_000, millis(4), Duration::from_secs(2));
    let mut seen = std::collections::HashMap::<u16, Vec<Duration>>::new();
    for (_, report) in &reports {
        for (number, arrival) in statuses(report) {
            seen.entry(number)
                .or_default()
                .push(arrival.expect("none was lost"));
        }
    }
    let last = &reports.last().expect("there are some").1;
    for index in 0..450 {
        let number = 65_500_u16.wrapping_add(index);
        if number.wrapping_sub(last.first) < 1_000 {
            continue;
        }
        assert_eq!(seen[&number], [millis(4 * u64::from(index)); 2], "{index}");
    }
}

#[test]
fn one_lost_report_of_two_costs_nothing() {
    let start = Instant::now();
    let mut history = History::new();
    let mut arrivals = Arrivals::new();
    let (mut told, mut lost, mut reports) = (0, 0, 0);
    for step in 0..2_000_u64 {
        let now = start + millis(step * 4);
        let number = history.handle_sent(now, PACKET, None);
        // Every tenth packet is lost on the way, and every second report.
        if step % 10 != 7 {
            arrivals.handle_packet(now + millis(20), number, PACKET);
        }
        if let Some(report) = arrivals.poll(now + millis(20)) {
            reports += 1;
            if reports % 2 == 0 {
                let results = history.handle_feedback(now + millis(40), statuses(&report));
                told += results.len();
                lost += results
                    .iter()
                    .filter(|result| result.arrival.is_none())
                    .count();
            }
        }
    }
    assert!((1_950..=2_000).contains(&told), "{told} {lost} {reports}");
    assert!((194..=200).contains(&lost), "{lost}");
}

#[test]
fn a_jump_or_a_very_late_packet_makes_no_long_report() {
    let start = Instant::now();
    let mut arrivals = Arrivals::new();
    let mut now = start;
    for number in [0, 1, 30_000, 30_001, 28_900, 2, 31_500, 40_000, 65_535] {
        now += Duration::from_secs(1);
        arrivals.handle_packet(now, number, PACKET);
        for _ in 0..20 {
            now += millis(101);
            let Some(report) = arrivals.poll(now) else {
                continue;
            };
            assert!(report.arrivals.len() <= 400);
            let known: Vec<_> = report.arrivals.iter().flatten().collect();
            assert!(known.last().is_some());
            let (least, most) = (known.iter().min(), known.iter().max());
            assert!(**most.expect("some") - **least.expect("some") < Duration::from_secs(8));
        }
    }
}
