//! Frame marking (RFC 9626) as a header extension of str0m's, whose own is of an earlier draft.

use str0m::rtp::{Extension, ExtensionSerializer, ExtensionValues};

/// The name by which descriptions know it (RFC 9626, section 7).
const URI: &str = "urn:ietf:params:rtp-hdrext:framemarking";
const START: u8 = 0x80;
const END: u8 = 0x40;
const INDEPENDENT: u8 = 0x20;
const DISCARDABLE: u8 = 0x10;
const BASE_SYNC: u8 = 0x08;

/// The form for scalable streams, as it is sent: flags and temporal layer, spatial layer 0, the
/// running number of pictures of the lowest temporal layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marking(pub(crate) [u8; 3]);

impl Marking {
    /// Marks one packet of a picture. `upper` is a picture of the upper temporal layer, to which
    /// nothing refers; `lowest` counts those of the lower.
    pub(crate) fn new(start: bool, end: bool, keyframe: bool, upper: bool, lowest: u8) -> Self {
        let mut flags = u8::from(upper);
        for (set, flag) in [
            (start, START),
            (end, END),
            (keyframe, INDEPENDENT),
            (upper, DISCARDABLE | BASE_SYNC),
        ] {
            if set {
                flags |= flag;
            }
        }
        Self([flags, 0, lowest])
    }
}

/// The extension, to be given a number.
pub(crate) fn extension() -> Extension {
    Extension::with_serializer(URI, Serializer)
}

#[derive(Debug)]
struct Serializer;

impl ExtensionSerializer for Serializer {
    fn write_to(&self, buffer: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(marking) = values.user_values.get::<Marking>() else {
            return 0;
        };
        match buffer.first_chunk_mut() {
            Some(space) => {
                *space = marking.0;
                marking.0.len()
            }
            None => 0,
        }
    }

    fn parse_value(&self, bytes: &[u8], values: &mut ExtensionValues) -> bool {
        let Some(marking) = bytes.first_chunk() else {
            return false;
        };
        values.user_values.set(Marking(*marking));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_the_rfc() {
        assert_eq!(Marking::new(true, false, true, false, 7).0, [0xa0, 0, 7]);
        assert_eq!(Marking::new(false, true, false, true, 7).0, [0x59, 0, 7]);
    }
}
