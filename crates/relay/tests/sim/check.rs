//! What a receiver got of somebody's pictures, and whether it can be decoded.

use std::{collections::BTreeMap, time::Duration};

use nonstop_rate::{Bitrate, DataSize};
use nonstop_relay::{Forward, PicturePacket};

use super::publisher::{Picture, Publisher};

/// A packet that was passed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Got {
    pub(crate) at: Duration,
    pub(crate) layer: u8,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) size: usize,
    pub(crate) restart: bool,
    pub(crate) start: bool,
    pub(crate) temporal: u8,
}

/// What came of a picture.
#[derive(Debug)]
struct Shown {
    layer: u8,
    picture: Picture,
    packets: u64,
    /// Whether its first packet came.
    begun: bool,
    /// The number of its last packet on the way out.
    end: u64,
}

/// By the sequence numbers on the way out.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) packets: BTreeMap<u64, Got>,
}

impl Received {
    pub(crate) const fn nothing() -> Self {
        Self {
            packets: BTreeMap::new(),
        }
    }

    pub(crate) fn take(
        &mut self,
        at: Duration,
        layer: u8,
        packet: &PicturePacket,
        forward: &Forward,
    ) {
        let got = Got {
            at,
            layer,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            size: packet.size,
            restart: forward.restart,
            start: packet.marking.is_some_and(|marking| marking.start),
            temporal: packet.marking.map_or(0, |marking| marking.temporal),
        };
        let twice = self.packets.insert(forward.sequence, got);
        assert!(
            twice.is_none(),
            "number {} twice: {got:?}",
            forward.sequence
        );
        assert_eq!(forward.marker, packet.marker);
    }

    /// Returns what came between two times.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Got> {
        let packets = self.packets.values();
        packets.filter(move |got| (from..to).contains(&got.at))
    }

    pub(crate) fn rate(&self, from: Duration, to: Duration) -> Bitrate {
        let bytes = self.between(from, to).map(|got| got.size as u64).sum();
        DataSize::from_bytes(bytes) / (to - from)
    }

    /// The layers in the order in which they came.
    pub(crate) fn layers(&self) -> Vec<u8> {
        let mut layers: Vec<u8> = self.packets.values().map(|got| got.layer).collect();
        layers.dedup();
        layers
    }

    /// Returns the longest time without a packet between two times.
    pub(crate) fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        let mut times: Vec<Duration> = self.between(from, to).map(|got| got.at).collect();
        times.sort();
        let ends = times.iter().skip(1).chain([&to]);
        let gaps = times.iter().zip(ends).map(|(a, b)| *b - *a);
        gaps.max().unwrap_or(to - from)
    }

    /// Numbers are used once and without gaps but for what was lost; whole pictures, in order; each needs
    /// only what came before; a layer begins with a keyframe.
    pub(crate) fn check(&self, sent: &Publisher, repaired: bool, who: &str) {
        let mut lost = 0;
        let mut headless = 0;
        let mut pictures: Vec<Shown> = Vec::new();
        let mut before = 0;
        for (number, got) in &self.packets {
            lost += number - before - 1;
            before = *number;
            headless += u64::from(got.restart && !got.start);
            let layer = &sent.layers[usize::from(got.layer)];
            let (_, picture) = (layer.sent.range(..=got.sequence).next_back())
                .unwrap_or_else(|| panic!("{who}: {got:?} was never sent"));
            match pictures.last_mut() {
                Some(last) if last.layer == got.layer && last.picture == *picture => {
                    last.packets += 1;
                    last.end = *number;
                }
                _ => pictures.push(Shown {
                    layer: got.layer,
                    picture: *picture,
                    packets: 1,
                    begun: got.sequence == picture.first,
                    end: *number,
                }),
            }
        }
        let mut cut: u64 = 0;
        let mut tails = 0;
        for (index, shown) in pictures.iter().enumerate() {
            let whole = shown.packets == shown.picture.packets;
            let next = pictures.get(index + 1);
            if whole || next.is_none() {
                continue;
            }
            if shown.picture.marking.discardable && !shown.begun {
                // Its numbers were left for the next one, whose beginning was late as well.
                tails += 1;
                continue;
            }
            cut += 1;
            let changes = next.is_some_and(|next| next.picture.marking.independent);
            let gap = !self.packets.contains_key(&(shown.end + 1));
            assert!(
                !repaired || (changes && gap),
                "{who}: {shown:?}, then {next:?}"
            );
        }
        assert!(tails <= 6 + pictures.len() / 15, "{who}: {tails} tails");
        if !repaired {
            return;
        }
        // Where a keyframe's head was late, pictures before it may have been lost with it.
        assert!(
            lost <= cut + 4 * headless,
            "{who}: {lost} numbers were never used, {cut} pictures cut, {headless} without a head"
        );
        let mut base: Option<(u8, u8)> = None;
        for shown in &pictures {
            let (layer, marking) = (&shown.layer, shown.picture.marking);
            let needed = match (marking.independent, marking.temporal) {
                (true, _) => base,
                (_, 0) => Some((*layer, marking.tl0_picture.wrapping_sub(1))),
                _ => Some((*layer, marking.tl0_picture)),
            };
            assert_eq!(base, needed, "{who}: {shown:?}");
            if marking.temporal == 0 {
                base = Some((*layer, marking.tl0_picture));
            }
        }
    }
}
