//! What is missing, and when it is asked for, in simulated time.

#![expect(
    clippy::disallowed_methods,
    reason = "a simulation begins at some instant"
)]

use std::time::{Duration, Instant};

use nonstop_rate::{Bitrate, DataSize, Plan, Requests, copies, same_row};

const TRIP: Duration = Duration::from_millis(80);

#[test]
fn what_is_missing_is_asked_for_three_times_a_round_trip_and_then_no_more() {
    let start = Instant::now();
    let mut requests = Requests::default();
    for number in [5, 6, 8] {
        requests.note(number, start);
    }
    assert_eq!(requests.end(), Some(9));
    let mut at = Vec::new();
    while let Some(due) = requests.poll_timeout() {
        assert_eq!(requests.ask(TRIP, due - Duration::from_millis(1)), []);
        assert_eq!(requests.ask(TRIP, due), [7]);
        at.push((due - start).as_millis());
    }
    assert_eq!(at, [0, 10, 20, 105, 115, 125, 210, 220, 230, 315, 325, 335]);
    assert_eq!(requests.asked_for(), 1);
    assert_eq!(requests.first_since(), Some(start));
    requests.give_up_before(8);
    assert_eq!((requests.first_since(), requests.count(0..9)), (None, 0));
}

#[test]
fn what_came_is_not_asked_for() {
    let start = Instant::now();
    let mut requests = Requests::default();
    for number in [5, 9, 7] {
        requests.note(number, start);
    }
    let later = start + Duration::from_millis(10);
    assert_eq!(requests.ask(TRIP, later), [6, 8]);
    requests.note(6, later);
    // Twice, and long ago.
    requests.note(6, later);
    requests.note(2, later);
    assert_eq!(requests.ask(TRIP, later + TRIP / 2), [8]);
    assert_eq!(requests.missing_since(8), Some(start));
    // As something else showed; one of them was asked for though it was on its way.
    requests.expect(12, later);
    assert_eq!(requests.end(), Some(13));
    requests.note(12, later);
    requests.note(11, later);
    assert_eq!(requests.count(10..20), 1);
    requests.note(10, later);
    requests.restart(1_000);
    requests.note(1_001, later);
    assert_eq!(requests.ask(TRIP, later + TRIP), [1_000]);
}

#[test]
fn a_short_round_trip_has_room_for_all_three() {
    let start = Instant::now();
    let mut requests = Requests::default();
    requests.note(1, start);
    requests.note(3, start);
    let trip = Duration::from_millis(6);
    let mut at = Vec::new();
    for _ in 0..4 {
        let due = requests.poll_timeout().expect("it is missing");
        requests.ask(trip, due);
        at.push((due - start).as_micros());
    }
    assert_eq!(at, [0, 2_000, 4_000, 21_750]);
}

#[test]
fn requests_of_one_row_are_told_from_those_of_the_next() {
    for millis in [1, 6, 40, 80, 300] {
        let start = Instant::now();
        let trip = Duration::from_millis(millis);
        let mut requests = Requests::default();
        requests.note(1, start);
        requests.note(3, start);
        let mut ask = || {
            let due = requests.poll_timeout().expect("it is missing");
            requests.ask(trip, due);
            due - start
        };
        let asked = [ask(), ask(), ask(), ask()];
        let (end, next, row) = (asked[2], asked[3], same_row(Some(trip)));
        // As far from the one as from the other: either may drift.
        assert_eq!(row - end, next - row, "{millis} ms");
    }
}

#[test]
fn a_full_way_gets_one_copy_and_a_very_lossy_one_fewer() {
    let plan = |congested| Plan {
        congested,
        estimate: Bitrate::from_kbps(500),
        pace: Bitrate::from_kbps(500),
        window: DataSize::from_bytes(10_000),
        in_flight: DataSize::ZERO,
    };
    assert_eq!(copies(None, &plan(false)), 3);
    assert_eq!(copies(Some(0.02), &plan(false)), 3);
    assert_eq!(copies(Some(0.08), &plan(false)), 2);
    assert_eq!(copies(Some(0.02), &plan(true)), 1);
}

#[test]
fn where_packets_are_out_of_order_it_is_waited_a_little_before_one_is_asked_for() {
    let start = Instant::now();
    let millis = |millis| start + Duration::from_millis(millis);
    let mut requests = Requests::default();
    let mut waits = |first: u64, at: u64, comes_after: u64| {
        requests.note(first, millis(at));
        requests.note(first + 2, millis(at));
        let due = requests.poll_timeout().expect("one is missing");
        requests.ask(TRIP, due);
        requests.note(first + 1, millis(at + comes_after));
        (due - millis(at)).as_millis()
    };
    // An answer, and what is too soon to be one.
    assert_eq!(waits(1, 0, 90), 0);
    assert_eq!(waits(4, 200, 30), 0);
    assert_eq!(waits(7, 400, 90), 8);
    assert_eq!(waits(10, 29_000, 90), 8);
    assert_eq!(waits(13, 31_000, 90), 0);
}

#[test]
fn whatever_is_said_to_be_sent_little_is_missing() {
    let start = Instant::now();
    let mut requests = Requests::default();
    requests.expect(7, start);
    assert_eq!(requests.end(), None);
    requests.note(1, start);
    requests.expect(0, start);
    assert_eq!(requests.end(), Some(2));
    for second in 0..1_000 {
        let now = start + Duration::from_secs(second);
        requests.expect(100 * second, now);
        requests.expect(u64::MAX - 1, now);
    }
    assert_eq!(requests.count(0..u64::MAX), 256);
    assert_eq!(requests.end(), Some(258));
}
