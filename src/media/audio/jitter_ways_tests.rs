//! Sound over two ways in simulated time.

use super::*;

/// What the second way's sequence numbers begin with.
const OTHER: u64 = 51_000;

impl Scene {
    /// Sends packets on one way, numbered from its first one on; the first is marked.
    fn send_way(&mut self, way: Way, packets: std::ops::Range<u64>, delay_millis: i64) {
        let base = if way == Way::Direct { 7 } else { OTHER };
        for n in packets.clone() {
            let sequence = (base + n - packets.start) as u16;
            let marker = n == packets.start;
            let timestamp = (n * 960) as u32;
            self.send_on(way, n, sequence, timestamp, delay_millis, marker);
        }
    }

    fn concealed_millis(&self) -> u64 {
        self.buffer.stats().concealed / 48
    }

    /// Asserts that the packets in this range were played, each once, and in order.
    fn played_whole(&self, packets: std::ops::Range<u64>) {
        let numbers = self.numbers();
        let missing: Vec<u64> = packets.filter(|n| !numbers.contains(n)).collect();
        assert!(missing.is_empty(), "never played: {missing:?}");
        assert!(
            numbers.windows(2).all(|pair| pair[0] < pair[1]),
            "{numbers:?}"
        );
    }
}

#[test]
fn equal_ways_that_overlap_are_heard_as_one() {
    for (from, to) in [(Way::Direct, Way::Relayed), (Way::Relayed, Way::Direct)] {
        let mut scene = Scene::new();
        scene.send_way(from, 0..510, 30);
        scene.send_way(to, 500..1000, 30);
        scene.play_until(19_900);
        let stats = scene.buffer.stats();
        assert_eq!((stats.concealed, stats.lost), (0, 0));
        scene.played_whole(0..990);
        assert!(scene.buffer.wait() < Duration::from_millis(50));
    }
}

#[test]
fn a_faster_way_takes_over_without_a_gap_whatever_it_gains() {
    for gain in [20, 60, 100, 150, 200, 250, 300] {
        let mut scene = Scene::new();
        scene.send_way(Way::Direct, 0..510, 30 + gain);
        scene.send_way(Way::Relayed, 500..1500, 30);
        scene.play_until(29_900);
        let stats = scene.buffer.stats();
        assert_eq!((stats.concealed, stats.lost), (0, 0), "{gain} ms");
        scene.played_whole(0..1490);
        // What was gained is worked off unheard.
        assert!(scene.buffer.wait() < Duration::from_millis(60), "{gain} ms");
    }
}

#[test]
fn a_slower_way_takes_over_without_a_gap_once_its_sound_comes_in_time() {
    for loss in [20, 60, 100, 150, 200, 250, 300u64] {
        let mut scene = Scene::new();
        scene.send_way(Way::Relayed, 500..2000, 30 + loss as i64);
        // The direct way goes on until the other one has been in time for 200 ms.
        let mut last = 0;
        while last < 510 || scene.buffer.stats().in_time[Way::Relayed as usize] < 10 {
            let (sequence, timestamp) = (7 + last as u16, last as u32 * 960);
            scene.send_on(Way::Direct, last, sequence, timestamp, 30, last == 0);
            last += 1;
            scene.play_until(last * 20 + 50);
            assert!(last < 800, "{loss} ms: it never is");
        }
        let took = last as i64 * 20 - (500 * 20 + loss as i64);
        println!("{loss} ms more: in time for 200 ms after {took} ms");
        assert!(took < 3_000, "{loss} ms: {took}");
        scene.play_until(39_800);
        let stats = scene.buffer.stats();
        assert_eq!((stats.concealed, stats.lost), (0, 0), "{loss} ms");
        scene.played_whole(0..1970);
    }
}

#[test]
fn a_slower_way_that_takes_over_at_once_costs_what_it_is_slower_and_no_more() {
    for loss in [20, 60, 100, 200, 300] {
        let mut scene = Scene::new();
        scene.send_way(Way::Direct, 0..510, 30);
        // Both are there for 200 ms by the clock.
        scene.send_way(Way::Relayed, 500 - loss as u64 / 20..1000, 30 + loss);
        scene.play_until(19_500);
        let stats = scene.buffer.stats();
        println!(
            "{loss} ms more, at once: {} ms made up",
            scene.concealed_millis()
        );
        assert!(
            scene.concealed_millis() <= loss as u64,
            "{loss} ms: {stats:?}"
        );
        assert_eq!(stats.lost, 0, "{loss} ms");
        scene.played_whole(0..950);
    }
}

#[test]
fn what_one_way_loses_the_other_brings() {
    let mut scene = Scene::new();
    let mut random = Seeded(5);
    for n in 0..2000u64 {
        let (timestamp, sequence) = ((n * 960) as u32, n as u16);
        if random.next(5) > 0 {
            scene.send_on(Way::Direct, n, sequence, timestamp, 30, false);
        }
        if n > 500 {
            // Nothing lost, and 25 ms later.
            let other = sequence.wrapping_add(OTHER as u16);
            scene.send_on(Way::Relayed, n, other, timestamp, 55, n == 501);
        }
    }
    scene.play_until(12_000);
    let before = scene.buffer.stats();
    assert!(before.lost > 70, "one way alone loses a fifth: {before:?}");
    scene.play_until(39_900);
    let after = scene.buffer.stats();
    assert_eq!(after.lost, before.lost);
    assert_eq!(after.concealed, before.concealed);
}

#[test]
fn what_both_ways_lose_is_a_loss_once() {
    let mut scene = Scene::new();
    let lost = |n: u64| n % 50 == 25;
    for n in (0..1000u64).filter(|n| !lost(*n)) {
        let (timestamp, sequence) = ((n * 960) as u32, n as u16);
        let other = sequence.wrapping_add(OTHER as u16);
        scene.send_on(Way::Direct, n, sequence, timestamp, 30, false);
        scene.send_on(Way::Relayed, n, other, timestamp, 40, false);
    }
    scene.play_until(20_000);
    let stats = scene.buffer.stats();
    assert_eq!(stats.lost, 20);
    assert!(stats.received > 970, "{stats:?}");
}

#[test]
fn silence_is_told_from_loss_on_the_way_that_takes_over() {
    // One second of voice, one of silence with a packet every 400 ms, on each way, and a change
    // in the middle of either.
    for change in [470, 520] {
        let mut scene = Scene::new();
        let mut sequences = [7u16, OTHER as u16];
        for n in 0..1000u64 {
            if !(n / 50 % 2 == 0 || n % 20 == 0) {
                continue;
            }
            let mut send = |way: Way, marker| {
                let sequence = &mut sequences[way as usize];
                scene.send_on(way, n, *sequence, n as u32 * 960, 30, marker);
                *sequence += 1;
            };
            if n < change + 10 {
                send(Way::Direct, false);
            }
            if n >= change {
                send(Way::Relayed, false);
            }
        }
        scene.play_until(20_000);
        let stats = scene.buffer.stats();
        assert_eq!((stats.concealed, stats.lost), (0, 0), "{change}: {stats:?}");
    }
}

#[test]
fn somebody_who_is_passed_on_only_while_they_speak_has_no_losses() {
    let mut scene = Scene::new();
    let mut sequence = OTHER as u16;
    for n in 0..1500u64 {
        // The relay withholds two seconds of every three, without a gap in its numbers.
        if n % 150 < 50 {
            let marker = n % 150 == 0;
            scene.send_on(Way::Relayed, n, sequence, n as u32 * 960, 45, marker);
            sequence = sequence.wrapping_add(1);
        }
    }
    scene.play_until(30_000);
    let stats = scene.buffer.stats();
    assert_eq!((stats.concealed, stats.lost), (0, 0));
    assert_eq!(stats.received, 500);
}

#[test]
fn another_connection_with_the_same_sender_goes_on_where_the_last_one_ended() {
    let mut scene = Scene::new();
    scene.send_way(Way::Direct, 0..300, 30);
    // Both for a moment, then other numbers on the same way.
    scene.send_way(Way::Relayed, 290..320, 30);
    for n in 310..600u64 {
        let sequence = (n as u16).wrapping_add(30_000);
        scene.send_on(Way::Direct, n, sequence, n as u32 * 960, 30, n == 310);
    }
    scene.play_until(11_900);
    let stats = scene.buffer.stats();
    assert_eq!((stats.concealed, stats.lost), (0, 0));
    scene.played_whole(0..590);
}
