//! Wakes the window when there is something new to paint, and no more often than anybody sees.
//!
//! Called from any thread, by the mailboxes of the view and of the pictures. A window in which
//! nothing changes is never woken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{clock, latest::Notify};

/// Pictures are painted at most this often (60 times a second).
const PICTURES: Duration = Duration::from_millis(16);
/// Meters and other changes of the view, at most this often (30 times a second).
const CHANGES: Duration = Duration::from_millis(33);

/// The way to wake the window.
#[derive(Debug, Clone)]
pub(super) struct Wake {
    context: egui::Context,
    painted_millis: Arc<AtomicU64>,
}

impl Wake {
    /// Makes the way to wake the window of `context`.
    pub(super) fn new(context: egui::Context) -> Self {
        Self {
            context,
            painted_millis: Arc::default(),
        }
    }

    /// Notes that the window is being painted.
    pub(super) fn painted(&self) {
        let now = clock::since_start().as_millis() as u64;
        self.painted_millis.store(now, Ordering::Relaxed);
    }

    /// Returns what a mailbox of pictures calls.
    pub(super) fn picture(&self) -> Notify {
        self.at_most_every(PICTURES)
    }

    /// Returns what the mailbox of the view calls.
    pub(super) fn change(&self) -> Notify {
        self.at_most_every(CHANGES)
    }

    fn at_most_every(&self, interval: Duration) -> Notify {
        let wake = self.clone();
        Arc::new(move || {
            let painted = Duration::from_millis(wake.painted_millis.load(Ordering::Relaxed));
            let due = (painted + interval).saturating_sub(clock::since_start());
            wake.context.request_repaint_after(due);
        })
    }
}
