//! The way up from one participant: what of its pictures is missing, and when that is asked for. str0m asks
//! once, and then again after 100 ms and more; everybody who watches would wait for that.

use std::time::{Duration, Instant};

use nonstop_rate::Requests;

/// What is further behind the newest than this many packets is of no more use: 0.4 s of 6 Mb/s.
const MOST_BEHIND: u64 = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Uplink {
    /// The SSRC of each layer, and what of it is missing.
    layers: Vec<(u32, Requests)>,
}

impl Uplink {
    /// Nothing came yet of layers with these SSRCs.
    pub(super) fn new(layers: &[u32]) -> Self {
        let layers = layers.iter();
        Self {
            layers: layers.map(|ssrc| (*ssrc, Requests::default())).collect(),
        }
    }

    /// Takes note of a packet, its number with rollovers; of what is no layer none is taken.
    pub(super) fn note(&mut self, ssrc: u32, number: u64, now: Instant) {
        let layer = self.layers.iter_mut().find(|(layer, _)| *layer == ssrc);
        let Some((_, requests)) = layer else {
            return;
        };
        if requests.end().is_some_and(|end| number > end + MOST_BEHIND) {
            requests.restart(number);
        }
        requests.note(number, now);
        requests.give_up_before(number.saturating_sub(MOST_BEHIND));
    }

    /// Learns the number of the last packet of each layer that had left before something that came.
    pub(super) fn expect(&mut self, newest: &[u16], now: Instant) {
        for ((_, requests), sequence) in self.layers.iter_mut().zip(newest) {
            if let Some(number) = requests.nearest(*sequence) {
                requests.expect(number, now);
            }
        }
    }

    /// Returns when something is to be asked for next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let layers = self.layers.iter();
        layers
            .filter_map(|(_, requests)| requests.poll_timeout())
            .min()
    }

    /// Returns what is to be asked for now, by the SSRC of its layer.
    pub(super) fn ask(
        &mut self,
        round_trip: Duration,
        now: Instant,
    ) -> impl Iterator<Item = (u32, Vec<u64>)> {
        let layers = self.layers.iter_mut();
        let asked = layers.map(move |(ssrc, requests)| (*ssrc, requests.ask(round_trip, now)));
        asked.filter(|(_, missing)| !missing.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const TRIP: Duration = Duration::from_millis(40);

    #[test]
    fn each_layer_is_asked_for_what_is_missing_of_it() {
        let start = clock::now();
        let mut uplink = Uplink::new(&[1, 2]);
        for (ssrc, number) in [(1, 10), (2, 70), (3, 1), (1, 12), (2, 71), (3, 9)] {
            uplink.note(ssrc, number, start);
        }
        let due = uplink.poll_timeout().expect("one is missing");
        let asked: Vec<_> = uplink.ask(TRIP, due).collect();
        assert_eq!(asked, [(1, vec![11])]);
        assert!(uplink.poll_timeout() > Some(due), "again, a little later");
        uplink.note(1, 11, due);
        assert_eq!(uplink.poll_timeout(), None);
    }

    #[test]
    fn what_left_before_sound_that_came_is_missing() {
        let start = clock::now();
        let mut uplink = Uplink::new(&[1, 2]);
        uplink.expect(&[7, 7], start);
        assert_eq!(uplink.poll_timeout(), None, "nothing began");
        uplink.note(1, 0x1_fffe, start);
        uplink.note(2, 70, start);
        uplink.expect(&[0xfffe], start);
        assert_eq!(uplink.poll_timeout(), None);
        uplink.expect(&[1, 70, 3], start);
        let asked: Vec<_> = uplink.ask(TRIP, start).collect();
        assert_eq!(asked, [(1, vec![0x1_ffff, 0x2_0000, 0x2_0001])]);
        for number in 0x1_ffff..0x2_0003 {
            uplink.note(1, number, start);
        }
        assert_eq!(uplink.poll_timeout(), None);
    }

    #[test]
    fn whatever_numbers_come_little_is_missing() {
        let start = clock::now();
        let mut uplink = Uplink::new(&[1]);
        uplink.note(1, 10, start);
        for number in [
            u64::MAX / 2,
            3,
            u64::MAX / 2 + 200,
            10_000,
            u64::MAX / 2 + 400,
        ] {
            uplink.note(1, number, start);
        }
        uplink.expect(&[30_000], start);
        let requests = &uplink.layers[0].1;
        assert!(requests.count(0..u64::MAX) as u64 <= MOST_BEHIND);
    }
}
