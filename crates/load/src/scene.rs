//! What all participants of a run share: what they send, and which part of the run it is.

use std::{
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use nonstop_wire::ParticipantId;
use tokio::sync::watch;

use crate::{endpoint::Tally, options::Options, recording::Recording};

/// The part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// People arrive and settle; nothing counts.
    Arriving,
    /// What happens now counts.
    Counting,
    /// All leave.
    Over,
}

/// What a run's participants share on one thread.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) options: Arc<Options>,
    pub(crate) recording: Rc<Recording>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) connected: Arc<AtomicUsize>,
    /// Who was brought by this program.
    pub(crate) brought: Arc<Mutex<Vec<ParticipantId>>>,
}

impl Scene {
    /// Counts one more who is connected.
    pub(crate) fn arrived(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts somebody among those whom this program brought.
    pub(crate) fn bring(&self, who: ParticipantId) {
        let mut brought = self.brought.lock().unwrap_or_else(PoisonError::into_inner);
        brought.push(who);
    }

    /// Tells whether somebody is to be watched and heard.
    pub(crate) fn takes(&self, who: ParticipantId) -> bool {
        let brought = self.brought.lock().unwrap_or_else(PoisonError::into_inner);
        !self.options.among_themselves || brought.contains(&who)
    }

    /// Returns how many are connected.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }
}

/// What one participant has to tell in the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    /// Who it was, from 0.
    pub(crate) index: usize,
    /// What it counted.
    pub(crate) tally: Tally,
    /// From the welcome to the first whole picture, and from the beginning of connecting.
    pub(crate) first_picture: Option<(std::time::Duration, std::time::Duration)>,
    /// From the last packet before each loss of the connection to the first whole picture after it.
    pub(crate) outages: Vec<std::time::Duration>,
    /// How many of the watched pictures had each layer in the end; the last are those without.
    pub(crate) allotted: [u32; 4],
    /// How often the layer of some picture changed while it counted.
    pub(crate) changes: u64,
    /// How many pictures were watched in the end.
    pub(crate) watched: usize,
    /// Packets of sound that were lost before it counted.
    pub(crate) sound_lost_before: u64,
    /// Why it gave up, if it did.
    pub(crate) failure: Option<String>,
}
