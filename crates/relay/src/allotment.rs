//! How what a receiver's connection carries is shared out among the pictures it watches.
//!
//! A picture is passed on at one of seven steps:
//!
//! ```text
//! 0 paused   1 layer 0, base   2 layer 0, all   3 layer 1, base   4 layer 1, all   5 …   6 layer 2, all
//! ```
//! First everybody gets step 1, in the order of their importance; then those who can step 2, and so on.
//! Whoever cannot take a step stays behind, and those after it are still tried.

use nonstop_rate::Bitrate;

use crate::{MAX_LAYERS, stream::Share};

/// The steps from paused to the largest layer with all its temporal layers.
pub(crate) const STEPS: usize = 2 * MAX_LAYERS;

/// A step, 0 to [`STEPS`].
pub(crate) type Step = u8;

/// A picture that is watched.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bid {
    /// What each step takes, from 1; never less than the step before.
    pub(crate) costs: [Bitrate; STEPS],
    /// The last step that the receiver has use for.
    pub(crate) most: Step,
}

impl Bid {
    /// Returns what a step takes.
    pub(crate) fn cost(&self, step: Step) -> Bitrate {
        match usize::from(step) {
            0 => Bitrate::ZERO,
            step => self.costs[(step - 1).min(STEPS - 1)],
        }
    }
}

/// Shares `budget` out among `bids`, the most important first.
pub(crate) fn share_out(budget: Bitrate, bids: &[Bid], steps: &mut Vec<Step>) {
    steps.clear();
    steps.resize(bids.len(), 0);
    let mut left = budget;
    for step in 1..=STEPS as Step {
        for (bid, at) in bids.iter().zip(steps.iter_mut()) {
            let more = bid.cost(step) - bid.cost(step - 1);
            if *at + 1 == step && step <= bid.most && more <= left {
                *at = step;
                left = left - more;
            }
        }
    }
}

/// Whether one way to share out is better than another, by the order in which [`share_out`] gives.
pub(crate) fn is_better(one: &[Step], other: &[Step]) -> bool {
    let mut differs = (1..=STEPS as Step).flat_map(|step| {
        let pairs = one.iter().zip(other);
        pairs.map(move |(one, other)| (*one >= step, *other >= step))
    });
    differs.find(|(one, other)| one != other) == Some((true, false))
}

/// Returns what the steps take together.
pub(crate) fn total(bids: &[Bid], steps: &[Step]) -> Bitrate {
    let costs = bids.iter().zip(steps).map(|(bid, step)| bid.cost(*step));
    costs.sum()
}

/// Returns what a step passes on.
pub(crate) fn share(step: Step) -> Option<Share> {
    let index = step.checked_sub(1)?;
    Some(Share {
        layer: index / 2,
        upper: index % 2 == 1,
    })
}

/// Returns the last step of a layer.
pub(crate) fn whole(layer: u8) -> Step {
    2 * layer + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bid(costs: [u64; STEPS], most: Step) -> Bid {
        Bid {
            costs: costs.map(Bitrate::from_kbps),
            most,
        }
    }

    fn shared(budget: u64, bids: &[Bid]) -> Vec<Step> {
        let mut steps = Vec::new();
        share_out(Bitrate::from_kbps(budget), bids, &mut steps);
        steps
    }

    const CAMERA: [u64; STEPS] = [90, 150, 300, 500, 900, 1500];

    #[test]
    fn everybody_is_seen_before_anybody_is_seen_better() {
        let bids = [bid(CAMERA, 6), bid(CAMERA, 6), bid(CAMERA, 2)];
        assert_eq!(shared(89, &bids), [0, 0, 0]);
        assert_eq!(shared(200, &bids), [1, 1, 0]);
        assert_eq!(shared(330, &bids), [2, 1, 1]);
        assert_eq!(shared(450, &bids), [2, 2, 2]);
        assert_eq!(shared(600, &bids), [3, 2, 2]);
        assert_eq!(shared(10_000, &bids), [6, 6, 2]);
    }

    #[test]
    fn one_that_does_not_fit_does_not_pause_the_others() {
        let screen = [1500, 1500, 1500, 1500, 1500, 1500];
        assert_eq!(shared(400, &[bid(screen, 2), bid(CAMERA, 2)]), [0, 2]);
    }

    #[test]
    fn better_is_whom_the_order_gives_more() {
        assert!(is_better(&[1, 1], &[2, 0]), "everybody is seen first");
        assert!(is_better(&[2, 1], &[1, 2]));
        assert!(!is_better(&[1, 2], &[2, 1]));
        assert!(!is_better(&[2, 1], &[2, 1]));
    }

    #[test]
    fn steps_are_layers_and_temporal_layers() {
        assert_eq!(share(0), None);
        let third = share(3).expect("a layer");
        assert_eq!((third.layer, third.upper), (1, false));
        assert_eq!((whole(0), whole(2)), (2, 6));
    }
}
