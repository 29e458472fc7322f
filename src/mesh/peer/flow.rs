//! The figures that the connection's own task and the link's task share, without a lock.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use nonstop_rate::Bitrate;

/// Written by the interceptors, read by the link, and the other way round where it says so.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    estimate: AtomicU64,
    queue_delay_micros: AtomicU64,
    /// Loss in millionths plus one; zero is not known.
    loss: AtomicU32,
    /// Counted by the link: the path changed, delays start afresh.
    path_changes: AtomicU64,
    /// Bytes that wait in the pacer.
    waiting: AtomicU64,
    /// First transport-wide number that the newest feedback covers, and how many follow.
    covered: AtomicU32,
    /// Packets that left, counted from the start.
    sent: AtomicU64,
    /// Bytes sent again on request, counted from the start.
    retransmitted: AtomicU64,
}

impl Flow {
    /// Returns what the network is believed to carry.
    pub(crate) fn estimate(&self) -> Bitrate {
        Bitrate::from_bps(self.estimate.load(Relaxed))
    }

    pub(super) fn set_estimate(&self, estimate: Bitrate) {
        self.estimate.store(estimate.bps(), Relaxed);
    }

    /// Returns the delay of the standing queue.
    pub(crate) fn queue_delay(&self) -> Duration {
        Duration::from_micros(self.queue_delay_micros.load(Relaxed))
    }

    pub(super) fn set_queue_delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.queue_delay_micros.store(micros, Relaxed);
    }

    /// Returns the share of sent packets that were lost lately, 0.0 to 1.0.
    pub(crate) fn loss(&self) -> Option<f32> {
        let stored = self.loss.load(Relaxed).checked_sub(1)?;
        Some(stored as f32 / 1e6)
    }

    pub(super) fn set_loss(&self, loss: Option<f64>) {
        let stored = loss.map_or(0, |loss| (loss.clamp(0.0, 1.0) * 1e6) as u32 + 1);
        self.loss.store(stored, Relaxed);
    }

    /// Tells the estimator that packets travel another way now, or again after a pause.
    pub(crate) fn path_changed(&self) {
        self.path_changes.fetch_add(1, Relaxed);
    }

    pub(super) fn path_changes(&self) -> u64 {
        self.path_changes.load(Relaxed)
    }

    /// Returns how many bytes wait in the pacer.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    pub(super) fn set_waiting(&self, bytes: u64) {
        self.waiting.store(bytes, Relaxed);
    }

    pub(super) fn set_covered(&self, first: u16, many: u16) {
        self.covered
            .store(u32::from(first) << 16 | u32::from(many), Relaxed);
    }

    /// Tells whether the newest feedback says anything about the packet with this number.
    pub(super) fn covers(&self, number: u16) -> bool {
        let covered = self.covered.load(Relaxed);
        number.wrapping_sub((covered >> 16) as u16) < covered as u16
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub(super) fn add_sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// Returns how many bytes were sent again so far.
    pub(crate) fn retransmitted(&self) -> u64 {
        self.retransmitted.load(Relaxed)
    }

    pub(super) fn add_retransmitted(&self, bytes: u64) {
        self.retransmitted.fetch_add(bytes, Relaxed);
    }
}
