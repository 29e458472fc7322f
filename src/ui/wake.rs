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

/// A few pictures are painted at most this often (60 times a second).
const PICTURES: Duration = Duration::from_millis(16);
/// So few pictures are a few.
const FEW: usize = 4;
/// Many are painted at most this often (30 times a second): cameras are no faster, and pictures that
/// arrive one by one would have everything painted twice as often as any of them changes.
const MANY: Duration = Duration::from_millis(33);
/// Meters and other changes of the view, at most this often (30 times a second).
const CHANGES: Duration = Duration::from_millis(33);

/// The way to wake the window.
#[derive(Debug, Clone)]
pub(super) struct Wake {
    context: egui::Context,
    painted_millis: Arc<AtomicU64>,
    pictures_millis: Arc<AtomicU64>,
}

impl Wake {
    /// Makes the way to wake the window of `context`.
    pub(super) fn new(context: egui::Context) -> Self {
        Self {
            context,
            painted_millis: Arc::default(),
            pictures_millis: Arc::new(AtomicU64::new(PICTURES.as_millis() as u64)),
        }
    }

    /// Notes that the window is being painted.
    pub(super) fn painted(&self) {
        let now = clock::since_start().as_millis() as u64;
        self.painted_millis.store(now, Ordering::Relaxed);
    }

    /// Notes that so many pictures are shown.
    pub(super) fn shows(&self, pictures: usize) {
        let interval = if pictures <= FEW { PICTURES } else { MANY };
        let millis = interval.as_millis() as u64;
        self.pictures_millis.store(millis, Ordering::Relaxed);
    }

    /// Returns what a mailbox of pictures calls.
    pub(super) fn picture(&self) -> Notify {
        let wake = self.clone();
        Arc::new(move || {
            let millis = wake.pictures_millis.load(Ordering::Relaxed);
            wake.wake(Duration::from_millis(millis));
        })
    }

    /// Returns what the mailbox of the view calls.
    pub(super) fn change(&self) -> Notify {
        let wake = self.clone();
        Arc::new(move || wake.wake(CHANGES))
    }

    /// Has the window painted, `interval` after the last time or later.
    fn wake(&self, interval: Duration) {
        let painted = Duration::from_millis(self.painted_millis.load(Ordering::Relaxed));
        let due = (painted + interval).saturating_sub(clock::since_start());
        self.context.request_repaint_after(due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how long after a paint the window wakes for a picture while so many are shown.
    fn waits(pictures: usize) -> Duration {
        let context = egui::Context::default();
        let delay = Arc::new(std::sync::Mutex::new(None));
        let asked = delay.clone();
        context.set_request_repaint_callback(move |info| {
            *asked.lock().expect("no other thread") = Some(info.delay);
        });
        let wake = Wake::new(context);
        wake.shows(pictures);
        wake.painted();
        wake.picture()();
        let delay = delay.lock().expect("no other thread").take();
        delay.expect("the window was woken")
    }

    #[test]
    fn few_pictures_wake_the_window_sixty_times_a_second_and_many_thirty_times() {
        assert!(waits(4) <= PICTURES);
        assert!(waits(49) > PICTURES && waits(49) <= MANY);
    }
}
