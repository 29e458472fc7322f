//! How far the checks have come, for those who show what is tried.

use crate::Way;

/// How many pairs of one way stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Not yet checked.
    pub untried: usize,
    /// Being checked, without an answer yet.
    pub in_progress: usize,
    /// Answered.
    pub succeeded: usize,
    /// Not answered at all, or no longer.
    pub failed: usize,
}

/// How many pairs stand where, for each way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    tallies: [Tally; 4],
}

impl Progress {
    /// Returns the tally of the pairs of one way.
    pub fn of(&self, way: Way) -> Tally {
        self.tallies[way as usize]
    }

    pub(crate) fn of_mut(&mut self, way: Way) -> &mut Tally {
        &mut self.tallies[way as usize]
    }
}
