//! What sound says of the pictures that left before it: a header extension of our own, only read here.

use str0m::rtp::{ExtensionSerializer, ExtensionValues};

/// The extension's name.
pub(super) const URI: &str = "urn:nonstop:newest-picture";
/// Most numbers in it: one for each layer.
const MOST: usize = nonstop_wire::MAX_LAYERS;

/// Reads the extension.
#[derive(Debug)]
pub(super) struct Reader;

/// The sequence numbers of the last packets that left, one for each layer, the smallest first.
#[derive(Debug, PartialEq, Eq)]
struct Numbers(Vec<u16>);

impl ExtensionSerializer for Reader {
    fn write_to(&self, _buf: &mut [u8], _values: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        let (numbers, rest) = buf.as_chunks::<2>();
        if numbers.is_empty() || numbers.len() > MOST || !rest.is_empty() {
            return false;
        }
        let numbers = numbers.iter().map(|bytes| u16::from_be_bytes(*bytes));
        values.user_values.set(Numbers(numbers.collect()));
        true
    }

    fn is_video(&self) -> bool {
        false
    }

    fn is_audio(&self) -> bool {
        true
    }
}

/// Returns what a packet of sound says: the sequence number of the last packet that left of each layer.
pub(super) fn newest_pictures(values: &ExtensionValues) -> Option<&[u16]> {
    let numbers = values.user_values.get::<Numbers>()?;
    Some(&numbers.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_and_no_more_than_there_are_layers_are_read() {
        let read = |bytes: &[u8]| {
            let mut values = ExtensionValues::default();
            let read = Reader.parse_value(bytes, &mut values);
            assert_eq!(read, newest_pictures(&values).is_some());
            newest_pictures(&values).map(<[u16]>::to_vec)
        };
        assert_eq!(read(&[1, 2]), Some(vec![0x102]));
        assert_eq!(read(&[1, 2, 0, 0, 255, 255]), Some(vec![0x102, 0, 0xffff]));
        for malformed in [&[][..], &[1], &[1, 2, 3], &[0; 8]] {
            assert_eq!(read(malformed), None);
        }
    }
}
