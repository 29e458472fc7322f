//! Frame marking (RFC 9626), and what sound says of pictures, for a participant on str0m.

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

/// By which sound tells the newest picture.
#[derive(Debug)]
pub(crate) struct Telling;

/// The sequence numbers of the last packets of pictures that left, one for each layer.
#[derive(Debug)]
pub(crate) struct NewestPictures(pub(crate) Vec<u16>);

impl ExtensionSerializer for Telling {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let newest = values.user_values.get::<NewestPictures>();
        let numbers = newest.iter().flat_map(|newest| &newest.0);
        let bytes: Vec<_> = numbers.flat_map(|number| number.to_be_bytes()).collect();
        buf[..bytes.len()].copy_from_slice(&bytes);
        bytes.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        let numbers = buf.chunks_exact(2);
        let numbers = numbers.map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        values.user_values.set(NewestPictures(numbers.collect()));
        true
    }

    fn is_video(&self) -> bool {
        false
    }

    fn is_audio(&self) -> bool {
        true
    }
}
