//! Frame marking (RFC 9626) as a header extension that is read and passed on.

use nonstop_relay::FrameMarking;
use str0m::rtp::{ExtensionSerializer, ExtensionValues};

/// The extension's name (RFC 9626 section 6).
pub(super) const URI: &str = "urn:ietf:params:rtp-hdrext:framemarking";
/// The longest value.
pub(super) const MOST_BYTES: usize = 3;

/// Reads and writes the extension.
///
/// The bytes travel in a number that str0m's values have for an old draft of the extension, which is
/// not in use beside this one: values of one's own would take memory for each packet and receiver.
#[derive(Debug)]
pub(super) struct Marking;

impl ExtensionSerializer for Marking {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(number) = values.frame_mark else {
            return 0;
        };
        let (bytes, length) = value(number);
        match buf.get_mut(..length) {
            Some(place) => {
                place.copy_from_slice(&bytes[..length]);
                length
            }
            None => 0,
        }
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        if buf.is_empty() || buf.len() > MOST_BYTES {
            return false;
        }
        let mut number = [buf.len() as u8, 0, 0, 0];
        number[1..=buf.len()].copy_from_slice(buf);
        values.frame_mark = Some(u32::from_be_bytes(number));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}

/// Returns what a packet says of its picture.
pub(super) fn marking(values: &ExtensionValues) -> Option<FrameMarking> {
    let (bytes, length) = value(values.frame_mark?);
    FrameMarking::read(&bytes[..length])
}

/// Returns the value that travels in a number, and its length.
pub(super) fn value(number: u32) -> ([u8; MOST_BYTES], usize) {
    let [length, bytes @ ..] = number.to_be_bytes();
    (bytes, usize::from(length).min(MOST_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_written() {
        for bytes in [&[0xa0_u8][..], &[0xd9, 0], &[0xd9, 0, 255]] {
            let mut values = ExtensionValues::default();
            assert!(Marking.parse_value(bytes, &mut values));
            let mut place = [7; 8];
            assert_eq!(Marking.write_to(&mut place, &values), bytes.len());
            assert_eq!(place[..bytes.len()], *bytes);
            assert_eq!(marking(&values), FrameMarking::read(bytes));
        }
    }

    #[test]
    fn other_lengths_are_no_marking() {
        let mut values = ExtensionValues::default();
        assert!(!Marking.parse_value(&[], &mut values));
        assert!(!Marking.parse_value(&[0; 4], &mut values));
        assert_eq!(marking(&values), None);
        assert_eq!(Marking.write_to(&mut [0; 8], &values), 0);
    }
}
