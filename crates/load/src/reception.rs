//! What arrived of one stream, counted by its packets: whether any is missing, and whether whole
//! pictures come as often as they should.
//!
//! ```text
//! packet ─▶ in order? ─┬─ yes ─▶ picture whole? ─▶ interval ─▶ freeze, switch, first picture
//!                      └─ no ──▶ wait for the repair, at most a second ─▶ lost
//! ```
//! Pure: the time is an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// How long a missing packet may still be repaired; a picture as late is of no use.
const REPAIR: Duration = Duration::from_secs(1);
/// Intervals between pictures that make the mean.
const INTERVALS: usize = 30;
/// A freeze is longer than this many mean intervals, and longer than the mean by `FREEZE`
/// (as `freezeCount` of W3C webrtc-stats has it).
const FREEZE_INTERVALS: u32 = 3;
const FREEZE: Duration = Duration::from_millis(150);
/// How long after a change of layers the longest interval counts as the change's.
const SWITCH: Duration = Duration::from_secs(2);

/// One packet of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    /// Its sequence number, extended.
    pub(crate) sequence: u64,
    /// Its RTP timestamp.
    pub(crate) timestamp: u32,
    /// The RTP marker bit.
    pub(crate) marker: bool,
    /// Whether a keyframe begins with it.
    pub(crate) keyframe: bool,
}

/// What was counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    pub(crate) repaired: u64,
    pub(crate) late: u64,
    pub(crate) pictures: u64,
    pub(crate) keyframes: u64,
    pub(crate) freezes: u64,
    pub(crate) frozen: Duration,
    pub(crate) keyframes_asked: u64,
    /// The longest interval between whole pictures.
    pub(crate) longest: Duration,
    /// The longest interval around each change of layers.
    pub(crate) switches: Vec<Duration>,
    /// From asking for pictures to the first that is whole.
    pub(crate) first: Vec<Duration>,
}

impl Counts {
    /// Adds what another stream counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.repaired += other.repaired;
        self.late += other.late;
        self.pictures += other.pictures;
        self.keyframes += other.keyframes;
        self.freezes += other.freezes;
        self.frozen += other.frozen;
        self.keyframes_asked += other.keyframes_asked;
        self.longest = self.longest.max(other.longest);
        self.switches.extend(&other.switches);
        self.first.extend(&other.first);
    }
}

/// One stream, as it arrives.
#[derive(Debug, Default)]
pub(crate) struct Reception {
    /// What was counted since it was last taken.
    pub(crate) counts: Counts,
    sound: bool,
    /// The sequence number that comes next in order.
    next: Option<u64>,
    /// What came before what is missing.
    waiting: BTreeMap<u64, Packet>,
    missing_since: Option<Instant>,
    /// The picture that is being put together: its timestamp, and whether it is a keyframe.
    picture: Option<(u32, bool)>,
    /// Whether pictures can be decoded.
    decodable: bool,
    asked: Option<Instant>,
    watched: Option<Instant>,
    last: Option<Instant>,
    intervals: VecDeque<Duration>,
    switching: Option<(Instant, Duration)>,
}

impl Reception {
    /// Begins with a stream of sound: there are no pictures in it.
    pub(crate) fn of_sound() -> Self {
        Self {
            sound: true,
            ..Self::default()
        }
    }

    /// Tells whether it is of sound.
    pub(crate) fn is_sound(&self) -> bool {
        self.sound
    }

    /// Begins to count anew: a gap that is older does not count.
    pub(crate) fn begin_counting(&mut self) {
        self.counts = Counts::default();
        self.next = None;
        self.waiting.clear();
        self.missing_since = None;
    }

    /// Says that pictures are waited for from now on.
    pub(crate) fn watch(&mut self, now: Instant) {
        self.watched = Some(now);
        self.rest();
    }

    /// Says that nothing is expected for now: the pause is no freeze.
    pub(crate) fn rest(&mut self) {
        self.last = None;
        self.intervals.clear();
        self.switching = None;
        self.decodable = false;
    }

    /// Says that another layer follows.
    pub(crate) fn switch(&mut self, now: Instant) {
        self.settle_switch(now);
        if self.last.is_some() {
            self.switching = Some((now, Duration::ZERO));
        }
    }

    /// Takes a packet; returns whether a keyframe must be asked for.
    pub(crate) fn handle_packet(
        &mut self,
        packet: Packet,
        size: usize,
        repaired: bool,
        now: Instant,
    ) -> bool {
        self.counts.packets += 1;
        self.counts.bytes += size as u64;
        self.counts.repaired += u64::from(repaired);
        let next = *self.next.get_or_insert(packet.sequence);
        if packet.sequence < next {
            self.counts.late += 1;
            return false;
        }
        self.waiting.insert(packet.sequence, packet);
        self.advance(now);
        if !self.waiting.is_empty() {
            let since = *self.missing_since.get_or_insert(now);
            if now.saturating_duration_since(since) > REPAIR {
                self.give_up();
                self.advance(now);
            }
        }
        self.keyframe_due(now)
    }

    /// Ends the counting: what is still missing for longer than a round trip or two is lost.
    pub(crate) fn finish(&mut self, now: Instant) {
        let old = |since: Instant| now.saturating_duration_since(since) > REPAIR / 4;
        while self.missing_since.is_some_and(old) {
            self.give_up();
            self.advance(now);
        }
        self.settle_switch(now);
        // A picture that never came is a freeze too.
        if let (Some(last), Some(mean)) = (self.last, self.mean())
            && !self.sound
        {
            self.note_freeze(now.saturating_duration_since(last), mean);
        }
    }

    fn give_up(&mut self) {
        let Some((first, _)) = self.waiting.first_key_value() else {
            self.missing_since = None;
            return;
        };
        let next = self.next.unwrap_or(*first);
        self.counts.lost += first.saturating_sub(next);
        self.next = Some(*first);
        self.missing_since = None;
        self.picture = None;
        self.decodable = false;
    }

    /// Goes on through what is there in order.
    fn advance(&mut self, now: Instant) {
        while let Some(next) = self.next
            && let Some(packet) = self.waiting.remove(&next)
        {
            self.next = Some(next + 1);
            if !self.sound {
                self.piece(packet, now);
            }
        }
        match self.waiting.is_empty() {
            true => self.missing_since = None,
            // Another gap than before has its own second.
            false if self.missing_since.is_none() => self.missing_since = Some(now),
            false => {}
        }
    }

    fn piece(&mut self, packet: Packet, now: Instant) {
        let same = |picture: &(u32, bool)| picture.0 == packet.timestamp;
        let (_, keyframe) = *match self.picture.as_mut().filter(|picture| same(picture)) {
            Some(picture) => {
                picture.1 |= packet.keyframe;
                picture
            }
            None => self.picture.insert((packet.timestamp, packet.keyframe)),
        };
        if packet.marker {
            self.picture = None;
            self.decodable |= keyframe;
            if self.decodable {
                self.whole(keyframe, now);
            }
        }
    }

    /// A picture is there.
    fn whole(&mut self, keyframe: bool, now: Instant) {
        self.counts.pictures += 1;
        self.counts.keyframes += u64::from(keyframe);
        if let Some(watched) = self.watched.take() {
            self.counts
                .first
                .push(now.saturating_duration_since(watched));
        }
        if let Some(last) = self.last {
            let interval = now.saturating_duration_since(last);
            self.counts.longest = self.counts.longest.max(interval);
            if let Some(mean) = self.mean() {
                self.note_freeze(interval, mean);
            }
            if let Some((_, longest)) = &mut self.switching {
                *longest = interval.max(*longest);
            }
            self.intervals.push_back(interval);
            if self.intervals.len() > INTERVALS {
                self.intervals.pop_front();
            }
        }
        self.last = Some(now);
        if (self.switching).is_some_and(|(began, _)| now.saturating_duration_since(began) > SWITCH)
        {
            self.settle_switch(now);
        }
    }

    fn settle_switch(&mut self, now: Instant) {
        if let Some((began, longest)) = self.switching.take() {
            let open = self.last.map_or(Duration::ZERO, |last| {
                now.saturating_duration_since(last.max(began))
            });
            self.counts.switches.push(longest.max(open));
        }
    }

    /// The mean interval; none before there are a few.
    fn mean(&self) -> Option<Duration> {
        let count = u32::try_from(self.intervals.len()).unwrap_or(u32::MAX);
        (count >= 5).then(|| self.intervals.iter().sum::<Duration>() / count)
    }

    fn note_freeze(&mut self, interval: Duration, mean: Duration) {
        if interval > (mean * FREEZE_INTERVALS).max(mean + FREEZE) {
            self.counts.freezes += 1;
            self.counts.frozen += interval - mean;
        }
    }

    /// Whether to ask for a keyframe: at most every half second while nothing can be decoded.
    fn keyframe_due(&mut self, now: Instant) -> bool {
        const AGAIN: Duration = Duration::from_millis(500);
        // A keyframe that is on its way needs no other.
        let coming = self.picture.is_some_and(|(_, keyframe)| keyframe);
        if self.sound || self.decodable || coming || !self.waiting.is_empty() {
            return false;
        }
        if (self.asked).is_some_and(|asked| now.saturating_duration_since(asked) < AGAIN) {
            return false;
        }
        self.asked = Some(now);
        self.counts.keyframes_asked += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(33);

    #[test]
    fn a_gap_that_is_filled_in_time_is_no_loss() {
        let mut stream = Stream::begin();
        stream.pictures(10);
        stream.skip();
        stream.pictures(3);
        stream.fill();
        stream.pictures(10);
        let counts = stream.end();
        assert_eq!((counts.lost, counts.pictures), (0, 25));
        assert_eq!((counts.packets, counts.freezes), (25, 0));
    }

    #[test]
    fn a_gap_that_stays_is_loss_and_a_freeze_until_the_next_keyframe() {
        let mut stream = Stream::begin();
        stream.pictures(10);
        stream.skip();
        stream.pictures(40);
        assert!(stream.asked, "for a keyframe");
        stream.keyframe();
        stream.pictures(5);
        let counts = stream.end();
        assert_eq!((counts.lost, counts.freezes), (1, 1));
        assert!(counts.frozen > REPAIR);
    }

    #[test]
    fn a_switch_is_as_long_as_its_longest_interval() {
        let mut stream = Stream::begin();
        stream.pictures(40);
        stream.reception.switch(stream.now);
        stream.now += FRAME * 3;
        stream.keyframe();
        stream.pictures(80);
        assert_eq!(stream.end().switches, [FRAME * 4]);
    }

    #[test]
    fn nothing_is_decodable_before_the_first_keyframe() {
        let mut stream = Stream::new();
        stream.reception.watch(stream.now);
        stream.pictures(3);
        assert!(stream.asked);
        stream.keyframe();
        let counts = stream.end();
        assert_eq!((counts.pictures, counts.keyframes_asked), (1, 1));
        assert_eq!(counts.first, [FRAME * 4]);
    }

    /// A stream of one packet a picture.
    struct Stream {
        reception: Reception,
        now: Instant,
        sequence: u64,
        skipped: Option<u64>,
        asked: bool,
    }

    impl Stream {
        fn new() -> Self {
            Self {
                reception: Reception::default(),
                now: crate::clock::now(),
                sequence: 65_530,
                skipped: None,
                asked: false,
            }
        }

        fn begin() -> Self {
            let mut stream = Self::new();
            stream.keyframe();
            stream
        }

        fn packet(&mut self, sequence: u64, keyframe: bool) {
            let packet = Packet {
                sequence,
                timestamp: u32::try_from(sequence).unwrap() * 3000,
                marker: true,
                keyframe,
            };
            self.asked |= self.reception.handle_packet(packet, 1000, false, self.now);
        }

        fn keyframe(&mut self) {
            self.now += FRAME;
            self.sequence += 1;
            self.packet(self.sequence, true);
        }

        fn pictures(&mut self, count: u32) {
            for _ in 0..count {
                self.now += FRAME;
                self.sequence += 1;
                self.packet(self.sequence, false);
            }
        }

        fn skip(&mut self) {
            self.sequence += 1;
            self.skipped = Some(self.sequence);
        }

        fn fill(&mut self) {
            let skipped = self.skipped.take().expect("something was skipped");
            self.packet(skipped, false);
        }

        fn end(mut self) -> Counts {
            self.reception.finish(self.now);
            self.reception.counts
        }
    }
}
