//! Frame marking (RFC 9626 section 3.2): tells the relay, without a look into the payload, where
//! pictures begin and end and which of them can be left out.

/// What is marked of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Picture {
    /// Whether it can be decoded without any earlier one.
    pub(super) independent: bool,
    /// Whether no other picture needs it.
    pub(super) discardable: bool,
    /// Whether it needs only pictures of the base layer.
    pub(super) base_sync: bool,
    /// Its temporal layer; 0 is the base.
    pub(super) temporal: u8,
}

/// Marks the packets of one stream.
#[derive(Debug, Default)]
pub(super) struct Marker {
    /// Counts the pictures of the base layer.
    base: u8,
}

impl Marker {
    /// Begins a picture.
    pub(super) fn begin(&mut self, picture: Picture) {
        if picture.temporal == 0 {
            self.base = self.base.wrapping_add(1);
        }
    }

    /// Returns the extension of a packet of the picture that was begun last: S E I D B TID, LID,
    /// TL0PICIDX. A layer of simulcast is a stream of its own, so LID is 0.
    pub(super) fn packet(&self, picture: Picture, first: bool, last: bool) -> [u8; 3] {
        let flags = [
            first,
            last,
            picture.independent,
            picture.discardable,
            picture.base_sync,
        ];
        let flags = (flags.iter()).fold(0, |byte, flag| byte << 1 | u8::from(*flag));
        [flags << 3 | picture.temporal & 7, 0, self.base]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let mut marker = Marker::default();
        let keyframe = Picture {
            independent: true,
            ..Picture::default()
        };
        marker.begin(keyframe);
        assert_eq!(marker.packet(keyframe, true, false), [0xa0, 0, 1]);
        assert_eq!(marker.packet(keyframe, false, true), [0x60, 0, 1]);
        let upper = Picture {
            discardable: true,
            base_sync: true,
            temporal: 1,
            ..Picture::default()
        };
        marker.begin(upper);
        assert_eq!(marker.packet(upper, true, true), [0xd9, 0, 1]);
        marker.begin(Picture::default());
        assert_eq!(marker.packet(Picture::default(), true, true), [0xc0, 0, 2]);
    }
}
