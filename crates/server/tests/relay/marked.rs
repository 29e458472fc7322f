//! Frame marking (RFC 9626) for a participant on str0m.

use str0m::rtp::{ExtensionSerializer, ExtensionValues};

/// Frame marking as the peer reads and writes it.
#[derive(Debug)]
pub(crate) struct Marked;

impl ExtensionSerializer for Marked {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(mark) = values.frame_mark else {
            return 0;
        };
        buf[..3].copy_from_slice(&mark.to_be_bytes()[1..]);
        3
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        if let [a, b, c] = *buf {
            values.frame_mark = Some(u32::from_be_bytes([3, a, b, c]));
        }
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}
