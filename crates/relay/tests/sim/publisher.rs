//! Somebody who sends three layers of pictures, each of two temporal layers, and sound.

use std::collections::BTreeMap;

use nonstop_relay::{FrameMarking, PicturePacket, Size, SoundPacket};

use super::Chance;

const PACKET: usize = 1100;

/// A picture that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) first: u64,
    pub(crate) packets: u64,
    pub(crate) timestamp: u32,
    pub(crate) marking: FrameMarking,
}

pub(crate) struct Layer {
    pub(crate) wanted: bool,
    /// Whether it is not sent although it is wanted.
    muted: bool,
    /// Bits a second, of 30 pictures.
    pub(crate) bps: u64,
    pub(crate) sequence: u64,
    tl0: u8,
    keyframe: bool,
    since_keyframe: u64,
    /// By the sequence number of the first packet.
    pub(crate) sent: BTreeMap<u64, Picture>,
    pub(crate) keyframes: usize,
}

pub(crate) struct Publisher {
    pub(crate) layers: Vec<Layer>,
    pub(crate) sound: bool,
    pub(crate) sound_wanted: bool,
    /// Whether its sound carries earlier sound.
    pub(crate) redundancy: bool,
    pub(crate) level: u8,
    /// Whether anything is sent.
    pub(crate) sends: bool,
    sound_sequence: u64,
    timestamp: u32,
    frames: u64,
}

impl Publisher {
    pub(crate) fn new(sizes: &[Size], sound: bool) -> Self {
        let rate = |size: &Size| match size.width {
            0..=320 => 150_000,
            321..=640 => 500_000,
            _ => 1_500_000,
        };
        let layers = sizes.iter().enumerate().map(|(index, size)| Layer {
            wanted: false,
            muted: false,
            bps: rate(size),
            sequence: 1000 * (index as u64 + 1),
            tl0: 250,
            keyframe: true,
            since_keyframe: 0,
            sent: BTreeMap::new(),
            keyframes: 0,
        });
        Self {
            layers: layers.collect(),
            sound,
            sound_wanted: false,
            redundancy: false,
            level: 127,
            sends: true,
            sound_sequence: 40_000,
            timestamp: u32::MAX - 90_000,
            frames: 0,
        }
    }

    pub(crate) fn keyframe(&mut self, layer: u8) {
        if let Some(layer) = self.layers.get_mut(usize::from(layer)) {
            layer.keyframe = true;
        }
    }

    /// Says that the uplink carries a layer no more, or again.
    pub(crate) fn mute(&mut self, layer: usize, muted: bool) {
        self.layers[layer].muted = muted;
        self.layers[layer].keyframe = true;
    }

    pub(crate) fn want(&mut self, sound: bool, wanted: [bool; 3], redundancy: bool) {
        self.sound_wanted = sound;
        self.redundancy = redundancy;
        for (layer, wanted) in self.layers.iter_mut().zip(wanted) {
            layer.keyframe |= wanted && !layer.wanted;
            layer.wanted = wanted;
        }
    }

    /// Returns the packets of the next picture, of all wanted layers, and of the sound meanwhile.
    pub(crate) fn frame(
        &mut self,
        chance: &mut Chance,
    ) -> (Vec<(u8, PicturePacket)>, Vec<SoundPacket>) {
        let mut pictures = Vec::new();
        self.frames += 1;
        self.timestamp = self.timestamp.wrapping_add(2970);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            if layer.wanted && !layer.muted && self.sends {
                let packets = layer.picture(self.timestamp, chance);
                pictures.extend(packets.into_iter().map(|packet| (index as u8, packet)));
            }
        }
        let mut sounds = Vec::new();
        let spoken = if self.frames.is_multiple_of(3) { 1 } else { 2 };
        for _ in 0..spoken {
            if self.sound && self.sound_wanted && self.sends {
                self.sound_sequence += 1;
                sounds.push(SoundPacket {
                    sequence: self.sound_sequence,
                    timestamp: self.sound_sequence as u32 * 960,
                    marker: false,
                    size: if self.redundancy { 180 } else { 100 },
                    level: Some(self.level),
                    voice: self.level < 60,
                });
            }
        }
        (pictures, sounds)
    }
}

impl Layer {
    fn picture(&mut self, timestamp: u32, chance: &mut Chance) -> Vec<PicturePacket> {
        let independent = std::mem::take(&mut self.keyframe);
        self.since_keyframe = if independent {
            0
        } else {
            self.since_keyframe + 1
        };
        let upper = self.since_keyframe % 2 == 1;
        if !upper {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        self.keyframes += usize::from(independent);
        let mean = self.bps as f64 / 8.0 / 30.0;
        let share = match (independent, upper) {
            (true, _) => 4.0,
            (_, false) => 1.2,
            (_, true) => 0.8,
        };
        let bytes = (mean * share * (0.8 + 0.4 * chance.unit())) as usize;
        let packets = bytes.div_ceil(PACKET).max(1);
        let marking = FrameMarking {
            independent,
            discardable: upper,
            base_sync: upper,
            temporal: u8::from(upper),
            tl0_picture: self.tl0,
            ..FrameMarking::default()
        };
        let first = self.sequence;
        self.sent.insert(
            first,
            Picture {
                first,
                packets: packets as u64,
                timestamp,
                marking,
            },
        );
        let packet = |index: usize| PicturePacket {
            sequence: first + index as u64,
            timestamp,
            marker: index + 1 == packets,
            size: bytes / packets,
            marking: Some(FrameMarking {
                start: index == 0,
                end: index + 1 == packets,
                ..marking
            }),
        };
        self.sequence += packets as u64;
        (0..packets).map(packet).collect()
    }
}
