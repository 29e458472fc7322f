//! What happened on a link: a record a packet, and counts of an interval.

use std::{ops::AddAssign, time::Duration};

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It went through.
    Delivered,
    /// The queue was full.
    QueueFull,
    /// CoDel dropped it.
    Codel,
    /// It was lost after the bottleneck.
    Lost,
    /// The link was cut.
    Cut,
}

impl Fate {
    /// Returns the word for it in a packet log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "ok",
            Self::QueueFull => "queue",
            Self::Codel => "codel",
            Self::Lost => "loss",
            Self::Cut => "cut",
        }
    }
}

/// What happened to one packet, with the tag it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<K> {
    /// When: the end of its service, or the moment it was dropped.
    pub at: Duration,
    /// Its size.
    pub bytes: usize,
    /// How long it waited before its service.
    pub waited: Duration,
    /// What became of it.
    pub fate: Fate,
    /// What the packet was, as its sender said.
    pub tag: K,
}

/// Counts of packets and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Packets that came.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Packets that were delivered, copies counted.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Dropped by a full queue.
    pub queue_full: u64,
    /// Dropped by CoDel.
    pub codel: u64,
    /// Lost after the bottleneck.
    pub lost: u64,
    /// Lost in a cut.
    pub cut: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.packets_in += other.packets_in;
        self.bytes_in += other.bytes_in;
        self.packets_out += other.packets_out;
        self.bytes_out += other.bytes_out;
        self.queue_full += other.queue_full;
        self.codel += other.codel;
        self.lost += other.lost;
        self.cut += other.cut;
    }
}

/// What happened since the interval before.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Interval {
    /// Counts.
    pub tally: Tally,
    /// The mean wait of packets before their service.
    pub mean_wait: Duration,
    /// The 95th percentile of it.
    pub high_wait: Duration,
    /// The longest.
    pub most_wait: Duration,
    /// Bytes that wait now.
    pub backlog_bytes: usize,
    /// The rate now, in bits a second.
    pub rate_bps: f64,
}

/// Waits beyond these are not kept: an interval is short, and a run that takes none must not grow.
const MOST_WAITS: usize = 100_000;

/// The waits of an interval.
#[derive(Debug, Default)]
pub(crate) struct Waits(Vec<Duration>);

impl Waits {
    pub(crate) fn push(&mut self, waited: Duration) {
        if self.0.len() < MOST_WAITS {
            self.0.push(waited);
        }
    }

    /// Returns mean, 95th percentile and the most, and begins afresh.
    pub(crate) fn take(&mut self) -> (Duration, Duration, Duration) {
        let mut waits = std::mem::take(&mut self.0);
        waits.sort_unstable();
        let Some(most) = waits.last() else {
            return Default::default();
        };
        let sum: Duration = waits.iter().sum();
        let mean = sum.div_f64(waits.len() as f64);
        (mean, waits[waits.len() * 95 / 100], *most)
    }
}
