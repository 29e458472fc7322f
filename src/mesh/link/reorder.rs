//! Puts packets back in order, asks for the missing ones, and knows when to give up.
//!
//! ```text
//! arrival ─▶ [ 7 · 9 10 ] ─▶ 7, then waits for 8 ─┬▶ 8 comes: 8 9 10
//!                  └▶ ask for 8 again             └▶ patience ends: gap, 9 10
//! ```
//!
//! Pure: time is an argument. Bounded in packets and in time; duplicates vanish here.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nonstop_rate::{Requests, nearest};

/// How many packets may wait for a missing one; more, and the wait is over. 2 s at 3 Mb/s.
const MOST_WAITING: usize = 700;
/// A jump this long is another beginning, not a loss.
const JUMP: u64 = 3_000;
/// The round trip that is assumed before one was measured.
const USUAL_ROUND_TRIP: Duration = Duration::from_millis(80);

/// What comes out, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mesh) enum Ordered<T> {
    /// The next packet.
    Packet(T),
    /// Some packets in between never came.
    Gap,
}

/// Counts from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::mesh) struct ReorderStats {
    /// Packets that came, duplicates not counted.
    pub(in crate::mesh) received: u64,
    /// Packets that had to be asked for.
    pub(in crate::mesh) missed: u64,
    /// Packets given up on.
    pub(in crate::mesh) lost: u64,
    /// Packets that came twice or too late.
    pub(in crate::mesh) useless: u64,
}

/// The buffer. See the module.
#[derive(Debug)]
pub(in crate::mesh) struct Reorder<T> {
    /// The next number to hand out, counted without wrapping.
    next: Option<u64>,
    waiting: BTreeMap<u64, T>,
    requests: Requests,
    round_trip: Duration,
    restarted: bool,
    stats: ReorderStats,
}

impl<T> Reorder<T> {
    pub(in crate::mesh) fn new() -> Self {
        Self {
            next: None,
            waiting: BTreeMap::new(),
            requests: Requests::default(),
            round_trip: USUAL_ROUND_TRIP,
            restarted: false,
            stats: ReorderStats::default(),
        }
    }

    /// Tells how long a request and its answer take.
    pub(in crate::mesh) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// Returns what happened so far.
    pub(in crate::mesh) fn stats(&self) -> ReorderStats {
        ReorderStats {
            missed: self.requests.asked_for(),
            ..self.stats
        }
    }

    /// Takes in a packet as it arrives.
    pub(in crate::mesh) fn push(&mut self, sequence: u16, packet: T, now: Instant) {
        let Some((next, end)) = self.next.zip(self.requests.end()) else {
            // Counting begins high enough that nothing comes before zero.
            self.begin((1 << 32) + u64::from(sequence), packet, now);
            return;
        };
        let number = nearest(end - 1, sequence);
        if number > end + JUMP || number + JUMP < next {
            self.begin(number, packet, now);
            self.restarted = true;
            return;
        }
        if number < next || self.waiting.contains_key(&number) {
            self.stats.useless += 1;
            return;
        }
        self.requests.note(number, now);
        self.waiting.insert(number, packet);
        self.stats.received += 1;
    }

    /// Learns that everything up to this number was sent.
    pub(in crate::mesh) fn expect(&mut self, sequence: u16, now: Instant) {
        if let Some(number) = self.requests.nearest(sequence) {
            self.requests.expect(number, now);
        }
    }

    /// Returns the next packet in order, or the gap where patience ended.
    pub(in crate::mesh) fn pop(&mut self, now: Instant) -> Option<Ordered<T>> {
        let next = self.next?;
        if std::mem::take(&mut self.restarted) {
            return Some(Ordered::Gap);
        }
        if let Some(packet) = self.waiting.remove(&next) {
            self.next = Some(next + 1);
            return Some(Ordered::Packet(packet));
        }
        let first = *self.waiting.keys().next()?;
        let missing = self.requests.missing_since(next);
        let patient = missing.is_some_and(|since| now < since + self.patience());
        if patient && self.waiting.len() < MOST_WAITING {
            return None;
        }
        self.stats.lost += first - next;
        self.requests.give_up_before(first);
        self.next = Some(first);
        Some(Ordered::Gap)
    }

    /// Waits no longer for what is missing where a picture has come whole that needs nothing before
    /// it: `begins` tells its first packet, `ends` the last of a picture.
    pub(in crate::mesh) fn skip_to_whole(
        &mut self,
        begins: impl Fn(&T) -> bool,
        ends: impl Fn(&T) -> bool,
    ) {
        let missing = |next: &u64| self.requests.missing_since(*next).is_some();
        let Some(next) = self.next.filter(missing) else {
            return;
        };
        let whole = |first: u64| {
            let packets = (first..).map_while(|number| self.waiting.get(&number));
            packets.into_iter().any(&ends)
        };
        let start = (self.waiting.iter())
            .filter(|(_, packet)| begins(packet))
            .map(|(number, _)| *number)
            .find(|number| whole(*number));
        if let Some(start) = start {
            self.stats.lost += self.requests.count(next..start) as u64;
            self.requests.give_up_before(start);
            self.waiting = self.waiting.split_off(&start);
            self.next = Some(start);
            self.restarted = true;
        }
    }

    /// Returns the numbers to ask for now.
    pub(in crate::mesh) fn ask(&mut self, now: Instant) -> Vec<u16> {
        let numbers = self.requests.ask(self.round_trip, now);
        numbers.into_iter().map(|number| number as u16).collect()
    }

    /// Returns when [`pop`](Self::pop) or [`ask`](Self::ask) may have something without a new packet.
    pub(in crate::mesh) fn poll_timeout(&self) -> Option<Instant> {
        let patience = self.patience();
        // Where nothing waits, there is nothing to give up for.
        let first = self.requests.first_since();
        let first = first.filter(|_| !self.waiting.is_empty());
        let give_up = first.map(|since| since + patience);
        let ask = self.requests.poll_timeout();
        ask.into_iter().chain(give_up).min()
    }

    /// A request and its answer, or either, may be lost too: there is time for all tries where the
    /// way is short, and for two where it is long.
    fn patience(&self) -> Duration {
        (self.round_trip * 3).clamp(Duration::from_millis(250), Duration::from_millis(800))
    }

    fn begin(&mut self, number: u64, packet: T, now: Instant) {
        self.waiting.clear();
        self.requests.restart(number);
        self.requests.note(number, now);
        self.next = Some(number);
        self.waiting.insert(number, packet);
        self.stats.received += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const RTT: Duration = Duration::from_millis(20);

    fn drain(buffer: &mut Reorder<u16>, now: Instant) -> Vec<Ordered<u16>> {
        std::iter::from_fn(|| buffer.pop(now)).collect()
    }

    fn packets(numbers: &[u16]) -> Vec<Ordered<u16>> {
        numbers.iter().copied().map(Ordered::Packet).collect()
    }

    fn filled(numbers: &[u16], now: Instant) -> Reorder<u16> {
        let mut buffer = Reorder::new();
        buffer.set_round_trip(RTT);
        for number in numbers {
            buffer.push(*number, *number, now);
        }
        buffer
    }

    #[test]
    fn order_is_restored_across_the_wrap_and_duplicates_vanish() {
        let now = clock::now();
        let mut buffer = filled(&[65_534, 0, 65_535, 0, 1, 65_534], now);
        assert_eq!(drain(&mut buffer, now), packets(&[65_534, 65_535, 0, 1]));
        buffer.push(0, 0, now);
        assert_eq!(drain(&mut buffer, now), []);
        assert_eq!((buffer.stats().received, buffer.stats().useless), (4, 3));
    }

    #[test]
    fn a_missing_packet_is_asked_for_a_few_times_and_then_given_up() {
        let start = clock::now();
        let mut buffer = filled(&[1, 3, 4], start);
        assert_eq!(drain(&mut buffer, start), packets(&[1]));
        let mut now = start;
        let mut asked = 0;
        let gap = loop {
            now = buffer
                .poll_timeout()
                .expect("something is missing")
                .max(now);
            asked += buffer.ask(now).len();
            let out = drain(&mut buffer, now);
            if !out.is_empty() {
                break out;
            }
            now += Duration::from_millis(1);
        };
        assert_eq!(asked, 12);
        assert!(now - start >= Duration::from_millis(250));
        assert_eq!(gap[0], Ordered::Gap);
        assert_eq!(gap[1..], packets(&[3, 4]));
        assert_eq!((buffer.stats().missed, buffer.stats().lost), (1, 1));
        assert_eq!(buffer.poll_timeout(), None);
    }

    #[test]
    fn a_packet_that_comes_again_in_time_leaves_no_gap() {
        let start = clock::now();
        let mut buffer = filled(&[1, 3], start);
        let later = start + Duration::from_millis(30);
        assert_eq!(buffer.ask(later), [2]);
        buffer.push(2, 2, later);
        assert_eq!(drain(&mut buffer, later), packets(&[1, 2, 3]));
        assert_eq!(buffer.poll_timeout(), None);
    }

    #[test]
    fn what_is_expected_is_asked_for_though_nothing_comes_after_it() {
        let start = clock::now();
        let mut buffer = filled(&[1, 2], start);
        drain(&mut buffer, start);
        buffer.expect(4, start);
        let later = start + Duration::from_millis(30);
        assert_eq!(buffer.ask(later), [3, 4]);
        buffer.push(4, 4, later);
        assert_eq!(drain(&mut buffer, later), []);
        buffer.push(3, 3, later);
        assert_eq!(drain(&mut buffer, later), packets(&[3, 4]));
        // Never sent: it is asked for a few times, and nobody waits for it.
        let later = later + Duration::from_secs(1);
        buffer.expect(2, later);
        buffer.expect(5, later);
        let mut asked = 0;
        while let Some(due) = buffer.poll_timeout() {
            asked += buffer.ask(due).len();
            assert_eq!(drain(&mut buffer, due), []);
        }
        assert_eq!(asked, 12);
        buffer.push(5, 5, later + Duration::from_secs(9));
        assert_eq!(drain(&mut buffer, later), packets(&[5]));
        assert_eq!(buffer.stats().lost, 0);
    }

    #[test]
    fn a_whole_keyframe_ends_the_wait_for_what_is_before_it() {
        let now = clock::now();
        // Keyframes begin at tens and end at fives.
        let skip = |buffer: &mut Reorder<u16>| {
            buffer.skip_to_whole(
                |number| number % 10 == 0,
                |number| number % 5 == 0 && number % 10 > 0,
            );
        };
        let mut buffer = filled(&[1, 3, 10, 11, 12, 14, 15, 16], now);
        drain(&mut buffer, now);
        skip(&mut buffer);
        assert_eq!(drain(&mut buffer, now), [], "it has a hole itself");
        buffer.push(13, 13, now);
        skip(&mut buffer);
        let mut expected = vec![Ordered::Gap];
        expected.extend(packets(&[10, 11, 12, 13, 14, 15, 16]));
        assert_eq!(drain(&mut buffer, now), expected);
        assert_eq!(buffer.poll_timeout(), None);
    }

    #[test]
    fn too_many_waiting_end_the_wait() {
        let now = clock::now();
        let mut buffer = filled(&[1], now);
        for number in 3..=(3 + MOST_WAITING as u16) {
            buffer.push(number, number, now);
        }
        let out = drain(&mut buffer, now);
        assert_eq!(out[1], Ordered::Gap);
        assert_eq!(out.len(), MOST_WAITING + 3);
    }

    #[test]
    fn a_long_jump_is_a_new_beginning() {
        let now = clock::now();
        let mut buffer = filled(&[1, 2], now);
        drain(&mut buffer, now);
        buffer.push(20_000, 20_000, now);
        let mut expected = vec![Ordered::Gap];
        expected.extend(packets(&[20_000]));
        assert_eq!(drain(&mut buffer, now), expected);
        assert_eq!(buffer.ask(now + RTT), [] as [u16; 0]);
    }
}
