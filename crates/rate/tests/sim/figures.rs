//! Figures from the packet log of a bottleneck, defined as for the lab's logs: rates over sliding
//! windows of what came through, delays as each packet waited.

use nonstop_netem::{Fate, Record};

use super::packet::{FlowId, Kind, Tag};

/// Whether less or more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// One figure of one run.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// Nothing where it never came about.
    pub(crate) value: Option<f64>,
    pub(crate) unit: &'static str,
    pub(crate) bound: Option<f64>,
    pub(crate) better: Better,
}

/// Makes a figure that must not be above `bound`.
pub(crate) fn at_most(
    name: &'static str,
    unit: &'static str,
    bound: f64,
    value: impl Into<Option<f64>>,
) -> Figure {
    Figure {
        name,
        value: value.into(),
        unit,
        bound: Some(bound),
        better: Better::Lower,
    }
}

/// Makes a figure that must not be below `bound`.
pub(crate) fn at_least(
    name: &'static str,
    unit: &'static str,
    bound: f64,
    value: impl Into<Option<f64>>,
) -> Figure {
    Figure {
        better: Better::Higher,
        ..at_most(name, unit, bound, value)
    }
}

/// Makes a figure that is only shown.
pub(crate) fn shown(
    name: &'static str,
    unit: &'static str,
    better: Better,
    value: impl Into<Option<f64>>,
) -> Figure {
    Figure {
        name,
        value: value.into(),
        unit,
        bound: None,
        better,
    }
}

/// A stretch of a log: what of media ended its way over the bottleneck in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch<'a> {
    log: &'a [Record<Tag>],
    from: f64,
    to: f64,
}

impl<'a> Stretch<'a> {
    /// Takes the stretch from one second to another.
    pub(crate) fn new(log: &'a [Record<Tag>], from: f64, to: f64) -> Self {
        let start = log.partition_point(|record| record.at.as_secs_f64() < from);
        let end = log.partition_point(|record| record.at.as_secs_f64() < to);
        Self {
            log: &log[start..end.max(start)],
            from,
            to,
        }
    }

    fn media(&self) -> impl Iterator<Item = &'a Record<Tag>> {
        (self.log.iter()).filter(|record| record.tag.kind != Kind::Tcp)
    }

    fn delivered(&self) -> impl Iterator<Item = &'a Record<Tag>> {
        (self.log.iter()).filter(|record| record.fate == Fate::Delivered)
    }

    /// Bits a second of media that came through.
    pub(crate) fn rate(&self) -> f64 {
        let bytes: usize = (self.media())
            .filter(|record| record.fate == Fate::Delivered)
            .map(|record| record.bytes)
            .sum();
        bytes as f64 * 8.0 / (self.to - self.from)
    }

    /// Bits a second of one flow that came through.
    pub(crate) fn rate_of(&self, flow: FlowId) -> f64 {
        let bytes: usize = (self.delivered())
            .filter(|record| record.tag.flow == flow)
            .map(|record| record.bytes)
            .sum();
        bytes as f64 * 8.0 / (self.to - self.from)
    }

    /// Bits a second of sound and pictures that were sent, what was lost on the way counted.
    pub(crate) fn sent(&self) -> f64 {
        let bytes: usize = (self.log.iter())
            .filter(|record| matches!(record.tag.kind, Kind::Audio | Kind::Video))
            .map(|record| record.bytes)
            .sum();
        bytes as f64 * 8.0 / (self.to - self.from)
    }

    /// The share of the whole that all flows together filled.
    pub(crate) fn filled(&self, capacity_bps: f64) -> f64 {
        let bytes: usize = self.delivered().map(|record| record.bytes).sum();
        bytes as f64 * 8.0 / (self.to - self.from) / capacity_bps
    }

    /// Milliseconds that this share of media packets waited at most; `0.95` for the 95th percentile.
    pub(crate) fn queue(&self, share: f64) -> Option<f64> {
        let mut waits: Vec<f64> = (self.media())
            .filter(|record| matches!(record.fate, Fate::Delivered | Fate::Lost))
            .map(|record| record.waited.as_secs_f64() * 1e3)
            .collect();
        waits.sort_by(f64::total_cmp);
        let last = waits.len().checked_sub(1)?;
        Some(waits[last.min((waits.len() as f64 * share) as usize)])
    }

    /// The share of media packets that did not come through.
    pub(crate) fn loss(&self) -> f64 {
        let (mut all, mut lost) = (0, 0);
        for record in self.media() {
            all += 1;
            lost += usize::from(record.fate != Fate::Delivered);
        }
        lost as f64 / all.max(1) as f64
    }

    /// The most that any audio packet waited, in milliseconds; one that found the queue full would
    /// have waited all of it.
    pub(crate) fn audio_wait(&self, full_millis: f64) -> Option<f64> {
        (self.log.iter())
            .filter(|record| record.tag.kind == Kind::Audio)
            .map(|record| match record.fate {
                Fate::QueueFull => full_millis,
                _ => record.waited.as_secs_f64() * 1e3,
            })
            .max_by(f64::total_cmp)
    }

    /// Audio packets that the queue had no room for.
    pub(crate) fn audio_dropped(&self) -> f64 {
        let dropped = (self.log.iter())
            .filter(|record| record.tag.kind == Kind::Audio && record.fate == Fate::QueueFull);
        dropped.count() as f64
    }

    /// Seconds until the rate of what came through, over a window of this length that ends then,
    /// first reached `bps`.
    pub(crate) fn reaches(&self, bps: f64, window: f64) -> Option<f64> {
        const STEP: f64 = 0.1;
        let mut bins = vec![0.0; ((self.to - self.from) / STEP) as usize + 1];
        let delivered = (self.media()).filter(|record| record.fate == Fate::Delivered);
        for record in delivered {
            let bin = ((record.at.as_secs_f64() - self.from) / STEP) as usize;
            if let Some(bin) = bins.get_mut(bin) {
                *bin += record.bytes as f64 * 8.0;
            }
        }
        let width = (window / STEP).round() as usize;
        (0..bins.len())
            .find(|end| {
                let start = (end + 1).saturating_sub(width);
                bins[start..=*end].iter().sum::<f64>() / window >= bps
            })
            .map(|end| (end + 1) as f64 * STEP)
    }

    /// Seconds until no packet waited longer than 100 ms for two seconds.
    pub(crate) fn queue_clears(&self) -> f64 {
        let mut at = self.from;
        while at < self.to - 2.0 {
            let wait = Stretch::new(self.log, at, at + 2.0)
                .media()
                .map(|record| record.waited.as_secs_f64())
                .fold(0.0, f64::max);
            if wait <= 0.1 {
                break;
            }
            at += 0.1;
        }
        at - self.from
    }

    /// Seconds until what was offered, over 0.6 s, first was no more than `bps`.
    pub(crate) fn offers_at_most(&self, bps: f64) -> Option<f64> {
        (0..90)
            .map(|step| f64::from(step) * 0.2)
            .find(|start| {
                let at = self.from + start;
                let bytes: usize = Stretch::new(self.log, at, at + 0.6)
                    .media()
                    .map(|record| record.bytes)
                    .sum();
                bytes as f64 * 8.0 / 0.6 <= bps
            })
            .map(|start| start + 0.6)
    }
}

/// Jain's index of fairness: 1 where all are equal.
pub(crate) fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    sum * sum / (rates.len() as f64 * squares.max(f64::MIN_POSITIVE))
}
