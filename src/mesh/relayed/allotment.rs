//! How what can be sent is divided between the layers of pictures, and how many are offered at all.
//!
//! ```text
//! for pictures ─┬─ each wanted layer its least, the smallest first
//!               └─ the rest from the smallest up, to the most of each
//! too little for the largest wanted one for 2 s ─▶ it is offered no longer
//! enough for it and a quarter more for 4 s ──────▶ it is offered again
//! ```
//! Pure: bitrates and the time in, bitrates out.

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;

use crate::mesh::peer::LAYERS;

/// How long it must be too little: an estimate that has just fallen may rise at once.
const REDUCE_AFTER: Duration = Duration::from_secs(2);
/// How long it must be enough: who watches the layer sees every change.
const EXTEND_AFTER: Duration = Duration::from_secs(4);
/// How much more than the least there must be.
const HEADROOM: f64 = 1.25;
/// An encoder is never told less.
const LEAST: Bitrate = Bitrate::from_kbps(30);

/// What a layer is worth having, at least and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) least: Bitrate,
    pub(super) most: Bitrate,
}

/// Divides. See the module.
#[derive(Debug)]
pub(super) struct Allotment {
    ranges: Vec<Range>,
    offered: usize,
    turning_since: Option<Instant>,
}

impl Allotment {
    /// Begins with all layers; there is at least one.
    pub(super) fn new(mut ranges: Vec<Range>) -> Self {
        ranges.truncate(LAYERS);
        Self {
            offered: ranges.len(),
            ranges,
            turning_since: None,
        }
    }

    /// Returns how many layers are offered, the smallest ones.
    pub(super) fn offered(&self) -> usize {
        self.offered
    }

    /// Returns the most that there is use for: all that is wanted at its most, and what it takes to
    /// offer a layer again that is not offered.
    pub(super) fn useful(&self, wanted: [bool; LAYERS]) -> Bitrate {
        let sum: Bitrate = self.wanted(wanted).map(|(_, range)| range.most).sum();
        match self.ranges.get(self.offered) {
            Some(next) if wanted.contains(&true) => sum.max(self.needed(wanted, next)),
            _ => sum,
        }
    }

    /// Divides what there is for pictures between the layers that are `wanted`. The others get
    /// nothing.
    pub(super) fn divide(
        &mut self,
        available: Bitrate,
        wanted: [bool; LAYERS],
        now: Instant,
    ) -> [Bitrate; LAYERS] {
        self.turn(available, wanted, now);
        let mut rest = available;
        let mut shares = [Bitrate::ZERO; LAYERS];
        for (layer, range) in self.wanted(wanted) {
            shares[layer] = rest.min(range.least).max(LEAST);
            rest = rest - shares[layer];
        }
        for (layer, range) in self.wanted(wanted) {
            let more = rest.min(range.most - shares[layer]);
            shares[layer] += more;
            rest = rest - more;
        }
        shares
    }

    fn wanted(&self, wanted: [bool; LAYERS]) -> impl Iterator<Item = (usize, &Range)> {
        let offered = self.ranges.iter().take(self.offered).enumerate();
        offered.filter(move |(layer, _)| wanted[*layer])
    }

    /// What it takes to offer one more layer beside those that are wanted.
    fn needed(&self, wanted: [bool; LAYERS], next: &Range) -> Bitrate {
        let others: Bitrate = self.wanted(wanted).map(|(_, range)| range.least).sum();
        (others + next.least).scale(HEADROOM)
    }

    fn turn(&mut self, available: Bitrate, wanted: [bool; LAYERS], now: Instant) {
        let least: Bitrate = self.wanted(wanted).map(|(_, range)| range.least).sum();
        // The largest that is wanted; what is above it costs nothing.
        let largest = self.wanted(wanted).map(|(layer, _)| layer).last();
        let reduced = largest.filter(|layer| *layer > 0 && available < least);
        let extended = (self.ranges.get(self.offered))
            .is_some_and(|next| largest.is_some() && available >= self.needed(wanted, next));
        let (next, after) = match reduced {
            Some(layer) => (layer, REDUCE_AFTER),
            None if extended => (self.offered + 1, EXTEND_AFTER),
            None => {
                self.turning_since = None;
                return;
            }
        };
        let since = *self.turning_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= after {
            self.offered = next;
            self.turning_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const ALL: [bool; LAYERS] = [true; LAYERS];

    fn kbps(kbps: u64) -> Bitrate {
        Bitrate::from_kbps(kbps)
    }

    fn allotment() -> Allotment {
        let range = |least, most| Range {
            least: kbps(least),
            most: kbps(most),
        };
        Allotment::new(vec![range(90, 200), range(300, 800), range(700, 2_500)])
    }

    fn divide(allotment: &mut Allotment, available: u64, seconds: u64) -> [u64; LAYERS] {
        let start = clock::now();
        let at = |tick: u64| start + Duration::from_millis(100 * tick);
        let shares = (0..=seconds * 10).map(|n| allotment.divide(kbps(available), ALL, at(n)));
        let last = shares.last().expect("at least one");
        last.map(|share| share.bps() / 1_000)
    }

    #[test]
    fn the_smallest_layers_come_first() {
        assert_eq!(divide(&mut allotment(), 5_000, 0), [200, 800, 2_500]);
        assert_eq!(divide(&mut allotment(), 1_200, 0), [200, 300, 700]);
        assert_eq!(divide(&mut allotment(), 500, 0), [90, 300, 110]);
    }

    #[test]
    fn only_what_is_wanted_gets_something() {
        let mut allotment = allotment();
        let now = clock::now();
        let shares = allotment.divide(kbps(2_000), [false, true, false], now);
        assert_eq!(shares, [Bitrate::ZERO, kbps(800), Bitrate::ZERO]);
        assert_eq!(allotment.useful([false, true, false]), kbps(800));
        assert_eq!(allotment.useful([false; LAYERS]), Bitrate::ZERO);
    }

    #[test]
    fn a_layer_that_cannot_be_afforded_is_offered_no_longer_until_it_can() {
        let mut allotment = allotment();
        assert_eq!(divide(&mut allotment, 500, 1), [90, 300, 110]);
        assert_eq!(allotment.offered(), 3);
        divide(&mut allotment, 500, 3);
        assert_eq!(allotment.offered(), 2);
        assert_eq!(divide(&mut allotment, 500, 1), [200, 300, 0]);
        // It is looked for what it takes.
        assert_eq!(allotment.useful(ALL), kbps(1_362) + Bitrate::from_bps(500));
        divide(&mut allotment, 1_200, 10);
        assert_eq!(allotment.offered(), 2);
        divide(&mut allotment, 1_400, 5);
        assert_eq!(allotment.offered(), 3);
    }

    #[test]
    fn the_smallest_layer_is_always_offered() {
        let mut allotment = allotment();
        divide(&mut allotment, 20, 20);
        assert_eq!(allotment.offered(), 1);
        assert_eq!(divide(&mut allotment, 20, 1), [30, 0, 0]);
    }
}
