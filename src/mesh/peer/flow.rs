//! The figures that the connection's own task and the link's task share, without a lock.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use nonstop_rate::{Bitrate, DataSize};

/// Most streams of pictures that one connection sends: the layers of simulcast.
pub(super) const MOST_STREAMS: usize = 3;

/// Written by the connection's task, read by the link, and the other way round where it says so.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    estimate: AtomicU64,
    lasting: AtomicU64,
    pace: AtomicU64,
    congested: AtomicBool,
    /// In bits a second plus one; zero is not known.
    acknowledged: AtomicU64,
    queue_delay_micros: AtomicU64,
    /// In microseconds plus one; zero is not known.
    round_trip: AtomicU64,
    /// Loss in millionths plus one; zero is not known.
    loss: AtomicU32,
    /// Loss of what arrives here, in millionths plus one; zero is not known.
    loss_received: AtomicU32,
    /// Written by the link: the most that is of use, plus one; zero is not known.
    wanted: AtomicU64,
    /// Written by the link: the most that this link may send, plus one; zero is no bound.
    share: AtomicU64,
    /// Counted by the link: the path changed, delays start afresh.
    path_changes: AtomicU64,
    /// Bytes that wait in the pacer.
    waiting: AtomicU64,
    has_room: AtomicBool,
    /// A bit for each stream of pictures.
    needs_keyframe: AtomicU8,
    dropped: AtomicU64,
    probes: AtomicU64,
    feedback: AtomicU64,
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

    /// Returns what can be sent for good: more than the estimate while a queue drains.
    pub(crate) fn lasting(&self) -> Bitrate {
        self.within_share(Bitrate::from_bps(self.lasting.load(Relaxed)))
    }

    pub(super) fn set_lasting(&self, lasting: Bitrate) {
        self.lasting.store(lasting.bps(), Relaxed);
    }

    /// Returns what this link may send, everything counted: the estimate, within its share.
    pub(crate) fn target(&self) -> Bitrate {
        self.within_share(self.estimate())
    }

    fn within_share(&self, rate: Bitrate) -> Bitrate {
        load(&self.share).map_or(rate, |share| rate.min(Bitrate::from_bps(share)))
    }

    /// Bounds what this link may send, because others need the same uplink; `None` for no bound.
    pub(crate) fn set_share(&self, share: Option<Bitrate>) {
        store(&self.share, share.map(Bitrate::bps));
    }

    /// Tells the most that the link has use for, everything counted: no more is probed for.
    pub(crate) fn set_wanted(&self, wanted: Bitrate) {
        store(&self.wanted, Some(wanted.bps()));
    }

    /// Returns the most that there is use for and a right to.
    pub(super) fn wanted(&self) -> Option<Bitrate> {
        let bounds = [load(&self.wanted), load(&self.share)];
        bounds.into_iter().flatten().min().map(Bitrate::from_bps)
    }

    /// Returns how fast packets leave the pacer while some wait.
    pub(crate) fn pace(&self) -> Bitrate {
        Bitrate::from_bps(self.pace.load(Relaxed))
    }

    pub(super) fn set_pace(&self, pace: Bitrate) {
        self.pace.store(pace.bps(), Relaxed);
    }

    /// Tells whether more was sent than the network carries.
    pub(crate) fn congested(&self) -> bool {
        self.congested.load(Relaxed)
    }

    pub(super) fn set_congested(&self, congested: bool) {
        self.congested.store(congested, Relaxed);
    }

    /// Returns the rate at which packets arrived lately.
    pub(crate) fn acknowledged(&self) -> Option<Bitrate> {
        load(&self.acknowledged).map(Bitrate::from_bps)
    }

    pub(super) fn set_acknowledged(&self, rate: Option<Bitrate>) {
        store(&self.acknowledged, rate.map(Bitrate::bps));
    }

    /// Returns the delay of the standing queue.
    pub(crate) fn queue_delay(&self) -> Duration {
        Duration::from_micros(self.queue_delay_micros.load(Relaxed))
    }

    pub(super) fn set_queue_delay(&self, delay: Duration) {
        self.queue_delay_micros.store(micros(delay), Relaxed);
    }

    /// Returns how long a packet and the feedback that speaks of it take.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        load(&self.round_trip).map(Duration::from_micros)
    }

    pub(super) fn set_round_trip(&self, round_trip: Option<Duration>) {
        store(&self.round_trip, round_trip.map(micros));
    }

    /// Returns the share of sent packets that were lost lately, 0.0 to 1.0.
    pub(crate) fn loss(&self) -> Option<f32> {
        load_share(&self.loss)
    }

    pub(super) fn set_loss(&self, loss: Option<f64>) {
        store_share(&self.loss, loss);
    }

    /// Returns the share of packets on their way to us that were lost lately, 0.0 to 1.0.
    pub(crate) fn loss_received(&self) -> Option<f32> {
        load_share(&self.loss_received)
    }

    pub(super) fn set_loss_received(&self, loss: Option<f64>) {
        store_share(&self.loss_received, loss);
    }

    /// Tells rate control that packets travel another way now, or again after a pause.
    pub(crate) fn path_changed(&self) {
        self.path_changes.fetch_add(1, Relaxed);
    }

    pub(super) fn path_changes(&self) -> u64 {
        self.path_changes.load(Relaxed)
    }

    /// Returns how much waits in the pacer.
    pub(crate) fn waiting(&self) -> DataSize {
        DataSize::from_bytes(self.waiting.load(Relaxed))
    }

    pub(super) fn set_waiting(&self, waiting: DataSize) {
        self.waiting.store(waiting.bytes(), Relaxed);
    }

    /// Tells whether another picture would leave soon: otherwise it had better not be encoded.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room.load(Relaxed)
    }

    pub(super) fn set_has_room(&self, has_room: bool) {
        self.has_room.store(has_room, Relaxed);
    }

    /// Tells whether pictures were dropped on their way out, so that only a keyframe is of use.
    pub(crate) fn needs_keyframe(&self) -> bool {
        self.layer_needs_keyframe(0)
    }

    /// Tells the same of one of the streams of pictures, counted from 0.
    pub(crate) fn layer_needs_keyframe(&self, layer: usize) -> bool {
        let bits = self.needs_keyframe.load(Relaxed);
        u32::try_from(layer).is_ok_and(|layer| bits.checked_shr(layer).unwrap_or(0) & 1 == 1)
    }

    pub(super) fn set_needs_keyframe(&self, layers: [bool; MOST_STREAMS]) {
        let bits = (0..).zip(layers).map(|(bit, it)| u8::from(it) << bit).sum();
        self.needs_keyframe.store(bits, Relaxed);
    }

    /// Returns how many packets were not sent, counted from the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(super) fn set_dropped(&self, packets: u64) {
        self.dropped.store(packets, Relaxed);
    }

    /// Returns how many probes were sent, counted from the start.
    pub(crate) fn probes(&self) -> u64 {
        self.probes.load(Relaxed)
    }

    pub(super) fn add_probe(&self) {
        self.probes.fetch_add(1, Relaxed);
    }

    /// Returns how many feedback messages came, counted from the start.
    pub(crate) fn feedback(&self) -> u64 {
        self.feedback.load(Relaxed)
    }

    pub(super) fn add_feedback(&self) {
        self.feedback.fetch_add(1, Relaxed);
    }

    /// Returns how many bytes were sent again, counted from the start.
    pub(crate) fn retransmitted(&self) -> u64 {
        self.retransmitted.load(Relaxed)
    }

    pub(super) fn add_retransmitted(&self, bytes: u64) {
        self.retransmitted.fetch_add(bytes, Relaxed);
    }
}

fn load_share(stored: &AtomicU32) -> Option<f32> {
    let stored = stored.load(Relaxed).checked_sub(1)?;
    Some(stored as f32 / 1e6)
}

fn store_share(stored: &AtomicU32, share: Option<f64>) {
    let value = share.map_or(0, |share| (share.clamp(0.0, 1.0) * 1e6) as u32 + 1);
    stored.store(value, Relaxed);
}

fn load(stored: &AtomicU64) -> Option<u64> {
    stored.load(Relaxed).checked_sub(1)
}

fn store(stored: &AtomicU64, value: Option<u64>) {
    stored.store(value.map_or(0, |value| value.saturating_add(1)), Relaxed);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
