//! Frame Marking (RFC 9626): what of a picture's place among the others stands in its packets' headers.
//!
//! ```text
//! short, not scalable:  S E I D 0 0 0 0
//! scalable:             S E I D B TID   LID   TL0PICIDX        (TL0PICIDX and LID may be missing)
//! ```

/// The frame marking of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameMarking {
    /// S: the first packet of a picture.
    pub start: bool,
    /// E: the last packet of a picture.
    pub end: bool,
    /// I: the picture can be decoded without any earlier one.
    pub independent: bool,
    /// D: no other picture needs this one.
    pub discardable: bool,
    /// B: of the pictures before it, this one needs only those of the base temporal layer.
    pub base_sync: bool,
    /// TID: the temporal layer, 0 to 7; 0 is the base.
    pub temporal: u8,
    /// TL0PICIDX: counts the pictures of the base temporal layer, and wraps; on others, the number of
    /// the newest base picture before.
    pub tl0_picture: u8,
}

/// LID in scalable markings: a simulcast layer is a stream of its own, so there is only the base.
const LAYER: u8 = 0;

impl FrameMarking {
    /// Reads the extension's value: the short form of section 3.1 (1 byte) or the scalable one of
    /// section 3.2 (3 bytes; 2 or 4 bytes are read as well). Nothing where it has another length.
    pub fn read(value: &[u8]) -> Option<Self> {
        let [flags, rest @ ..] = value else {
            return None;
        };
        let (scalable, tl0_picture) = match rest {
            [] => (false, 0),
            [_layer] => (true, 0),
            [_layer, picture] | [_layer, picture, _] => (true, *picture),
            _ => return None,
        };
        Some(Self {
            start: flags & 0x80 != 0,
            end: flags & 0x40 != 0,
            independent: flags & 0x20 != 0,
            discardable: flags & 0x10 != 0,
            base_sync: scalable && flags & 0x08 != 0,
            temporal: if scalable { flags & 0x07 } else { 0 },
            tl0_picture,
        })
    }

    /// Writes the scalable form.
    pub fn write(&self) -> [u8; 3] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.start, 0x80)
            | flag(self.end, 0x40)
            | flag(self.independent, 0x20)
            | flag(self.discardable, 0x10)
            | flag(self.base_sync, 0x08)
            | self.temporal & 0x07;
        [flags, LAYER, self.tl0_picture]
    }

    /// Writes the short form, which knows no temporal layers.
    pub fn write_short(&self) -> [u8; 1] {
        [self.write()[0] & 0xf0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let keyframe = FrameMarking {
            start: true,
            independent: true,
            tl0_picture: 7,
            ..FrameMarking::default()
        };
        assert_eq!(keyframe.write(), [0xa0, 0, 7]);
        let upper = FrameMarking {
            start: true,
            end: true,
            discardable: true,
            base_sync: true,
            temporal: 1,
            tl0_picture: 255,
            ..FrameMarking::default()
        };
        assert_eq!(upper.write(), [0xd9, 0, 255]);
        assert_eq!(upper.write_short(), [0xd0]);
        assert_eq!(FrameMarking::read(&[0xd9, 0, 255]), Some(upper));
    }

    #[test]
    fn the_short_form_knows_no_temporal_layers() {
        let read = FrameMarking::read(&[0xff]).expect("one byte is a marking");
        assert!(read.start && read.end && read.independent && read.discardable);
        assert_eq!((read.temporal, read.base_sync), (0, false));
    }

    #[test]
    fn other_lengths_are_no_marking() {
        assert_eq!(FrameMarking::read(&[]), None);
        assert_eq!(FrameMarking::read(&[0; 5]), None);
        assert!(FrameMarking::read(&[0; 2]).is_some());
        assert!(FrameMarking::read(&[0; 4]).is_some());
    }
}
