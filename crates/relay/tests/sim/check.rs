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
    pub(crate) temporal: u8,
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
        let Some((first, _)) = self.packets.first_key_value() else {
            return;
        };
        assert_eq!(*first, 1, "{who}: the first number");
        let mut lost = 0;
        let mut pictures: Vec<(u8, Picture, u64, u64)> = Vec::new();
        let mut before = *first - 1;
        for (number, got) in &self.packets {
            lost += number - before - 1;
            before = *number;
            let layer = &sent.layers[usize::from(got.layer)];
            let (_, picture) = (layer.sent.range(..=got.sequence).next_back())
                .unwrap_or_else(|| panic!("{who}: {got:?} was never sent"));
            match pictures.last_mut() {
                Some((layer, last, count, end)) if *layer == got.layer && last == picture => {
                    *count += 1;
                    *end = *number;
                }
                _ => pictures.push((got.layer, *picture, 1, *number)),
            }
        }
        for (index, (layer, picture, count, end)) in pictures.iter().enumerate() {
            let whole = *count == picture.packets;
            let next = pictures.get(index + 1);
            if repaired && !whole && next.is_some() {
                let changes = next.is_some_and(|(_, next, ..)| next.marking.independent);
                let gap = !self.packets.contains_key(&(end + 1));
                assert!(
                    changes && gap,
                    "{who}: {picture:?} of layer {layer} has {count} packets, then {next:?}"
                );
            }
        }
        if !repaired {
            return;
        }
        let cut = pictures
            .iter()
            .filter(|(_, picture, count, _)| *count != picture.packets);
        let cut = cut.count() as u64;
        assert!(lost <= cut, "{who}: {lost} numbers were never used");
        let mut base: Option<(u8, u8)> = None;
        for (layer, picture, ..) in &pictures {
            let marking = picture.marking;
            let needed = match (marking.independent, marking.temporal) {
                (true, _) => base,
                (_, 0) => Some((*layer, marking.tl0_picture.wrapping_sub(1))),
                _ => Some((*layer, marking.tl0_picture)),
            };
            assert_eq!(base, needed, "{who}: {picture:?} of layer {layer}");
            if marking.temporal == 0 {
                base = Some((*layer, marking.tl0_picture));
            }
        }
    }
}
