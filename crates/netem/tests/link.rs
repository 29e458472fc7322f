//! What a link does to packets, each impairment on its own.

use std::time::Duration;

use nonstop_netem::{Fate, Link, Record, Settings};

const PACKET: usize = 1_250;

/// Sends a packet every `gap` and returns number and time of what came out, and the log.
fn carry(words: &str, count: u32, gap: Duration) -> (Vec<(u32, Duration)>, Vec<Record<u32>>) {
    let mut link = Link::new(Settings::parse(words).unwrap(), 7);
    link.keep_records();
    let mut out = Vec::new();
    for number in 0..count {
        let now = gap * number;
        collect(&mut link, now, &mut out);
        link.arrive(now, number, PACKET, number);
    }
    collect(&mut link, Duration::from_secs(100_000), &mut out);
    (out, link.take_records())
}

/// Takes what comes out until `end`, event by event.
fn collect(link: &mut Link<u32, u32>, end: Duration, out: &mut Vec<(u32, Duration)>) {
    while let Some(at) = link.next_event().filter(|at| *at <= end) {
        while let Some(number) = link.poll(at) {
            out.push((number, at));
        }
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn lost(records: &[Record<u32>], fate: Fate) -> usize {
    records.iter().filter(|record| record.fate == fate).count()
}

#[test]
fn the_rate_spaces_packets_and_the_delay_shifts_them() {
    let (out, _) = carry("rate=1mbit queue=1s delay=20ms", 10, Duration::ZERO);
    let times: Vec<_> = out.iter().map(|(_, at)| at.as_millis()).collect();
    assert_eq!(times, [30, 40, 50, 60, 70, 80, 90, 100, 110, 120]);
}

#[test]
fn an_open_link_only_delays() {
    let (out, records) = carry("delay=15ms", 100, millis(1));
    assert_eq!(out.len(), 100);
    assert!(
        out.iter()
            .all(|(number, at)| *at == millis(u64::from(*number) + 15))
    );
    assert!(records.iter().all(|record| record.waited.is_zero()));
}

#[test]
fn a_queue_limited_in_time_follows_the_rate() {
    for (words, fit) in [
        ("rate=1mbit queue=300ms", 30),
        ("rate=2mbit queue=300ms", 60),
        ("rate=1mbit queue=25kB", 20),
        ("rate=1mbit queue=7p", 7),
    ] {
        let (out, records) = carry(words, 200, Duration::ZERO);
        // One more is on the bottleneck already.
        assert_eq!(out.len(), fit + 1, "{words}");
        assert_eq!(lost(&records, Fate::QueueFull), 200 - fit - 1, "{words}");
    }
}

#[test]
fn the_log_says_how_long_each_packet_waited() {
    let (_, records) = carry("rate=1mbit queue=1s", 5, Duration::ZERO);
    let waits: Vec<_> = records.iter().map(|r| r.waited.as_millis()).collect();
    assert_eq!(waits, [0, 10, 20, 30, 40]);
    assert_eq!(records[4].at, millis(50));
}

#[test]
fn codel_keeps_a_standing_queue_short() {
    // 1.25 Mbit/s into 1 Mbit/s.
    let words = "rate=1mbit queue=2s";
    let (_, full) = carry(words, 2_000, millis(8));
    let (_, kept) = carry(&format!("{words} aqm=codel"), 2_000, millis(8));
    let late = |records: &[Record<u32>]| {
        let last = &records[records.len() - 200..];
        last.iter().map(|record| record.waited).sum::<Duration>() / 200
    };
    assert!(late(&full) > millis(1_800), "{:?}", late(&full));
    assert!(late(&kept) < millis(200), "{:?}", late(&kept));
    assert!(lost(&kept, Fate::Codel) > 100);
}

#[test]
fn independent_loss_has_its_share() {
    let (out, records) = carry("loss=5%", 20_000, millis(1));
    let share = lost(&records, Fate::Lost) as f64 / 20_000.0;
    assert!((share - 0.05).abs() < 0.006, "{share}");
    assert_eq!(out.len(), 20_000 - lost(&records, Fate::Lost));
}

#[test]
fn bursts_have_their_share_and_length() {
    let (_, records) = carry("ge=1%,25%", 100_000, millis(1));
    let gone: Vec<_> = records.iter().map(|r| r.fate == Fate::Lost).collect();
    let share = gone.iter().filter(|lost| **lost).count() as f64 / gone.len() as f64;
    let bursts = gone.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    let length = share * gone.len() as f64 / bursts as f64;
    assert!((share - 0.01 / 0.26).abs() < 0.005, "{share}");
    assert!((length - 4.0).abs() < 0.3, "{length}");
}

#[test]
fn jitter_spreads_but_never_reorders() {
    for dist in ["uniform", "normal"] {
        let words = format!("delay=50ms jitter=20ms dist={dist}");
        let (out, _) = carry(&words, 5_000, millis(5));
        assert!(out.is_sorted_by_key(|(number, _)| *number), "{dist}");
        let delays: Vec<_> = (out.iter())
            .map(|(number, at)| *at - millis(5 * u64::from(*number)))
            .collect();
        assert!(*delays.iter().min().unwrap() < millis(40), "{dist}");
        assert!(*delays.iter().max().unwrap() > millis(60), "{dist}");
        assert!(*delays.iter().max().unwrap() <= millis(110), "{dist}");
    }
}

#[test]
fn some_packets_are_overtaken() {
    let (out, _) = carry("delay=20ms reorder=2%,15ms", 10_000, millis(5));
    let late: Vec<_> = (out.iter())
        .filter(|(number, at)| *at == millis(5 * u64::from(*number) + 35))
        .collect();
    let share = late.len() as f64 / 10_000.0;
    assert!((share - 0.02).abs() < 0.005, "{share}");
    assert!(!out.is_sorted_by_key(|(number, _)| *number));
}

#[test]
fn some_packets_arrive_twice() {
    let (out, records) = carry("dup=3%", 10_000, millis(1));
    assert_eq!(lost(&records, Fate::Delivered), 10_000);
    let extra = out.len() as f64 / 10_000.0 - 1.0;
    assert!((extra - 0.03).abs() < 0.005, "{extra}");
}

#[test]
fn a_cut_loses_what_waits_what_flies_and_what_comes() {
    let mut link = Link::new(
        Settings::parse("rate=1mbit queue=1s delay=50ms").unwrap(),
        1,
    );
    link.keep_records();
    for number in 0..10 {
        link.arrive(Duration::ZERO, number, PACKET, ());
    }
    // Three have left the bottleneck, none has arrived.
    link.apply(millis(35), "cut=5s").unwrap();
    link.arrive(millis(5_034), 10, PACKET, ());
    assert_eq!(link.poll(millis(5_034)), None);
    link.arrive(millis(5_035), 11, PACKET, ());
    assert_eq!(link.poll(millis(5_095)), Some(11));
    assert_eq!(link.total().cut, 11);
    assert_eq!(link.total().packets_out, 1);
    let cut = link.take_records();
    let logged = cut.iter().filter(|record| record.fate == Fate::Cut);
    assert_eq!(logged.count(), 8, "the three in flight are logged as sent");
}

#[test]
fn a_change_of_rate_acts_on_the_packet_in_service() {
    let mut link = Link::new(Settings::parse("rate=1mbit").unwrap(), 1);
    link.arrive(Duration::ZERO, 'a', PACKET, ());
    link.apply(millis(5), "rate=500kbit").unwrap();
    assert_eq!(link.next_event(), Some(millis(15)));
    link.apply(millis(10), "rate=0").unwrap();
    assert_eq!(link.next_event(), None, "stalled");
    link.apply(millis(1_000), "rate=1mbit").unwrap();
    assert_eq!(link.poll(millis(1_002)), None);
    assert_eq!(link.poll(Duration::from_micros(1_002_500)), Some('a'));
}

#[test]
fn intervals_count_what_happened_and_sum_up_to_the_total() {
    let mut link = Link::new(Settings::parse("rate=1mbit queue=50ms").unwrap(), 1);
    for number in 0..10 {
        link.arrive(Duration::ZERO, number, PACKET, ());
    }
    while link.poll(millis(30)).is_some() {}
    let first = link.take_interval();
    assert_eq!((first.tally.packets_in, first.tally.packets_out), (10, 3));
    assert_eq!(
        (first.tally.queue_full, first.backlog_bytes),
        (4, 2 * PACKET)
    );
    assert_eq!(first.mean_wait, millis(15));
    assert_eq!(first.most_wait, millis(30));
    while link.poll(millis(100)).is_some() {}
    let second = link.take_interval();
    assert_eq!(second.tally.packets_out, 3);
    assert_eq!(link.total().packets_out, 6);
    assert_eq!(link.total().bytes_out, 6 * PACKET as u64);
}

#[test]
fn a_seed_repeats_a_run_and_another_differs() {
    let settings = Settings::parse("rate=1mbit loss=5 ge=1,20 delay=20 jitter=5 dup=1").unwrap();
    let run = |seed| {
        let mut link = Link::new(settings.clone(), seed);
        let mut out = Vec::new();
        for number in 0..1_000 {
            collect(&mut link, millis(11) * number, &mut out);
            link.arrive(millis(11) * number, number, PACKET, 0);
        }
        out
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
