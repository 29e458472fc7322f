//! What arrives: the acknowledged bitrate, and the capacity that shows while the queue is not empty.

use std::{collections::VecDeque, time::Duration};

use crate::{Bitrate, DataSize};

/// How much is kept.
const MEMORY: Duration = Duration::from_millis(600);
/// The shortest time over which a rate is worth anything.
const SHORTEST: Duration = Duration::from_millis(40);
/// The time over which the capacity is measured, and while it is changing.
const BUSY: Duration = Duration::from_millis(300);
const BUSY_CHANGING: Duration = Duration::from_millis(90);
/// The fewest packets that make a rate.
const FEWEST: usize = 5;

#[derive(Debug, Clone, Copy)]
struct Arrived {
    at: Duration,
    size: DataSize,
    waited: Duration,
}

/// Packets that arrived lately, by the receiver's clock.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    arrived: VecDeque<Arrived>,
}

impl Acknowledged {
    /// Takes in a packet that arrived `at`, and how long it `waited` in the network's queue.
    pub(crate) fn push(&mut self, at: Duration, size: DataSize, waited: Duration) {
        // Those that overtook others are put where they belong.
        let place = self.arrived.iter().rposition(|earlier| earlier.at <= at);
        let place = place.map_or(0, |place| place + 1);
        self.arrived.insert(place, Arrived { at, size, waited });
        let newest = self.arrived.back().map_or(at, |arrived| arrived.at);
        while self
            .arrived
            .front()
            .is_some_and(|oldest| newest.saturating_sub(oldest.at) > MEMORY)
        {
            self.arrived.pop_front();
        }
    }

    /// Returns the rate at which packets arrived over the last `time`.
    pub(crate) fn rate(&self, time: Duration) -> Option<Bitrate> {
        self.over(time, |_| true)
    }

    /// Returns the rate at which packets left the bottleneck while all of them had to wait longer
    /// than `empty` for it: its capacity, or our share of it. `changing` looks at the last moments.
    pub(crate) fn busy(&self, empty: Duration, changing: bool) -> Option<Bitrate> {
        let time = if changing { BUSY_CHANGING } else { BUSY };
        self.over(time, |arrived| arrived.waited > empty)
    }

    /// Returns for how long all packets had to wait longer than `empty`, up to now.
    pub(crate) fn busy_for(&self, empty: Duration) -> Duration {
        let waited = (self.arrived.iter().rev()).take_while(|arrived| arrived.waited > empty);
        match (self.arrived.back(), waited.last()) {
            (Some(newest), Some(oldest)) => newest.at - oldest.at,
            _ => Duration::ZERO,
        }
    }

    /// The rate over the newest packets for which `counts` holds without a gap.
    fn over(&self, time: Duration, counts: impl Fn(&Arrived) -> bool) -> Option<Bitrate> {
        let newest = self.arrived.back()?.at;
        let (mut size, mut many, mut oldest) = (DataSize::ZERO, 0, None::<Arrived>);
        for arrived in self
            .arrived
            .iter()
            .rev()
            .take_while(|arrived| counts(arrived))
        {
            let enough = many >= FEWEST && oldest.is_some_and(|last| newest - last.at >= SHORTEST);
            if enough && newest - arrived.at > time {
                break;
            }
            oldest = Some(*arrived);
            size += arrived.size;
            many += 1;
        }
        let oldest = oldest?;
        let span = newest - oldest.at;
        // The oldest packet was through before the time that is measured began.
        (many >= FEWEST && span >= SHORTEST).then(|| (size - oldest.size) / span)
    }
}
