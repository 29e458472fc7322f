//! Ordered packets to access units: a picture is the packets of one time stamp, the last of
//! which is marked (RFC 6184 section 5.1).
//!
//! A picture that lost a packet is dropped whole. What follows is marked as not continuous until
//! the next keyframe, so that nothing broken is ever shown.

use super::{
    depacketise::{Complete, Depacketiser, begins_keyframe},
    reorder::Ordered,
};
use crate::{media::video::AccessUnit, mesh::peer::RtpIn};

/// Puts pictures together. Pure.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    depacketiser: Depacketiser,
    /// The time stamp of the picture whose packets are coming.
    current: Option<u32>,
    /// That picture lacks something.
    spoilt: bool,
    /// A packet is missing since the last keyframe.
    interrupted: bool,
    /// The next packet comes after a gap: whether it begins a picture is not known.
    after_gap: bool,
}

impl Assembly {
    /// Begins after an unknown past: only a keyframe helps.
    pub(super) fn new() -> Self {
        Self {
            interrupted: true,
            after_gap: true,
            ..Self::default()
        }
    }

    /// Tells whether only a keyframe helps.
    pub(super) fn needs_keyframe(&self) -> bool {
        self.interrupted
    }

    /// Takes in what comes next and returns the pictures that are complete by it: up to two, where
    /// the end of the first was not marked.
    pub(super) fn push(&mut self, next: Ordered<RtpIn>) -> [Option<AccessUnit>; 2] {
        let Ordered::Packet(packet) = next else {
            self.depacketiser.reset();
            self.current = None;
            self.interrupted = true;
            self.after_gap = true;
            return [None, None];
        };
        let before = match self.current {
            Some(timestamp) if timestamp != packet.timestamp => self.finish(timestamp),
            _ => None,
        };
        // A packet without payload is padding, and part of no picture.
        if packet.payload.is_empty() {
            return [before, None];
        }
        if self.current.is_none() {
            self.spoilt = self.after_gap && !begins_keyframe(&packet.payload);
            self.after_gap = false;
            self.current = Some(packet.timestamp);
        }
        if !self.spoilt
            && let Err(error) = self.depacketiser.push(&packet.payload)
        {
            tracing::debug!(%error, "a picture cannot be put together");
            self.depacketiser.reset();
            self.spoilt = true;
        }
        let now = packet
            .marker
            .then(|| self.finish(packet.timestamp))
            .flatten();
        [before, now]
    }

    fn finish(&mut self, timestamp: u32) -> Option<AccessUnit> {
        self.current = None;
        let spoilt = std::mem::take(&mut self.spoilt);
        let Ok(Complete { data, keyframe }) = self.depacketiser.finish() else {
            self.interrupted = true;
            return None;
        };
        if spoilt {
            self.interrupted = true;
            return None;
        }
        self.interrupted &= !keyframe;
        Some(AccessUnit {
            data,
            keyframe,
            continuous: !self.interrupted,
            timestamp,
            captured: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SPS: &[u8] = &[0x67, 1];
    const IDR: &[u8] = &[0x65, 2];
    const DELTA: &[u8] = &[0x41, 3];

    fn packet(timestamp: u32, marker: bool, payload: &'static [u8]) -> Ordered<RtpIn> {
        Ordered::Packet(RtpIn {
            payload_type: 102,
            sequence: 0,
            timestamp,
            marker,
            ssrc: 1,
            payload: bytes::Bytes::from_static(payload),
            arrived: clock::now(),
            newest_picture: None,
        })
    }

    fn units(input: impl IntoIterator<Item = Ordered<RtpIn>>) -> Vec<(u32, bool, bool)> {
        let mut assembly = Assembly::new();
        input
            .into_iter()
            .flat_map(|next| assembly.push(next))
            .flatten()
            .map(|unit| (unit.timestamp, unit.keyframe, unit.continuous))
            .collect()
    }

    #[test]
    fn pictures_end_at_the_mark_or_at_the_next_time_stamp() {
        let input = [
            packet(1, false, SPS),
            packet(1, true, IDR),
            packet(2, false, DELTA),
            packet(3, true, DELTA),
        ];
        assert_eq!(
            units(input),
            [(1, true, true), (2, false, true), (3, false, true)]
        );
    }

    #[test]
    fn padding_is_part_of_no_picture_wherever_it_comes() {
        let padding = || packet(1, false, &[]);
        let input = [
            padding(),
            packet(1, false, SPS),
            packet(1, true, IDR),
            padding(),
            // In the middle of a picture, and after one whose mark was not set.
            packet(2, false, DELTA),
            packet(2, false, &[]),
            packet(2, true, DELTA),
            packet(3, false, DELTA),
            packet(3, false, &[]),
            packet(4, true, DELTA),
            Ordered::Gap,
            padding(),
            packet(5, false, SPS),
            packet(5, true, IDR),
        ];
        assert_eq!(
            units(input),
            [
                (1, true, true),
                (2, false, true),
                (3, false, true),
                (4, false, true),
                (5, true, true)
            ]
        );
    }

    #[test]
    fn after_a_gap_nothing_is_continuous_until_a_keyframe() {
        let input = [
            packet(1, false, SPS),
            packet(1, true, IDR),
            Ordered::Gap,
            // Its beginning may be what was lost.
            packet(2, true, DELTA),
            packet(3, true, DELTA),
            packet(4, false, SPS),
            packet(4, true, IDR),
            packet(5, true, DELTA),
        ];
        let expected = [
            (1, true, true),
            (3, false, false),
            (4, true, true),
            (5, false, true),
        ];
        assert_eq!(units(input), expected);
    }

    #[test]
    fn a_keyframe_right_after_a_gap_is_used() {
        let input = [Ordered::Gap, packet(1, false, SPS), packet(1, true, IDR)];
        assert_eq!(units(input), [(1, true, true)]);
        let input = [Ordered::Gap, packet(1, true, IDR), packet(2, true, DELTA)];
        assert_eq!(units(input), [(2, false, false)]);
    }

    #[test]
    fn a_malformed_picture_is_dropped_whole() {
        let input = [
            packet(1, false, SPS),
            packet(1, true, IDR),
            packet(2, false, &[0x7c, 0x05, 1]),
            packet(2, true, DELTA),
            packet(3, true, DELTA),
        ];
        assert_eq!(units(input), [(1, true, true), (3, false, false)]);
    }

    #[test]
    fn padding_is_part_of_no_picture() {
        let input = [
            packet(1, false, SPS),
            packet(1, true, IDR),
            packet(1, false, &[]),
            packet(2, true, DELTA),
        ];
        assert_eq!(units(input), [(1, true, true), (2, false, true)]);
    }
}
