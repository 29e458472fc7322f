//! Packets without content, which a probe sends where there is nothing else to send.
//!
//! They have the padding bit, no payload and their place in the sequence of the stream, so that any
//! receiver drops them once they are counted (RFC 3550 section 5.1). webrtc-rs writes at most four
//! bytes of padding; the size comes from header extensions under a number that was not negotiated,
//! which receivers ignore (RFC 8285 section 4.2).
//!
//! All of it is in the header, which SRTP does not encrypt: a padding packet that is sent again may
//! be shorter than the first, for what is encrypted stays the same.

use bytes::Bytes;
use nonstop_rate::DataSize;
use rtc::{
    rtp::{
        self,
        header::{EXTENSION_PROFILE_ONE_BYTE, Extension, Header},
    },
    shared::marshal::MarshalSize,
};

/// The most that one extension holds with a one-byte header, and what it takes with it.
const FILLER: &[u8; 16] = &[0; 16];
const FILLED: usize = FILLER.len() + 1;

/// Makes a packet of `size` on the wire, or a little more, after one of the same stream; `free` is an extension's
/// number that means nothing to the receiver.
pub(super) fn padding(
    last: &Header,
    sequence: u16,
    free: Option<u8>,
    size: DataSize,
) -> rtp::Packet {
    let mut header = Header {
        padding: true,
        marker: false,
        sequence_number: sequence,
        ..last.clone()
    };
    let plain = rtp::Packet {
        header: header.clone(),
        payload: Bytes::new(),
    };
    let missing = size - super::OVERHEAD - DataSize::from_bytes(plain.marshal_size() as u64);
    let fillers = (missing.bytes() as usize).div_ceil(FILLED);
    // Only a stream that has extensions is counted by rate control, and needs a size.
    if let Some(id) = free.filter(|_| header.extension)
        && header.extension_profile == EXTENSION_PROFILE_ONE_BYTE
    {
        let filler = Extension {
            id,
            payload: Bytes::from_static(FILLER),
        };
        (header.extensions).extend(std::iter::repeat_n(filler, fillers));
        // To whole words.
        header.extensions_padding = header.get_extension_payload_len().wrapping_neg() % 4;
    }
    rtp::Packet {
        header,
        payload: Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use rtc::shared::marshal::{Marshal, Unmarshal};

    use super::*;

    #[test]
    fn padding_has_its_size_and_no_content_and_keeps_the_extensions() {
        let mut last = Header {
            version: 2,
            marker: true,
            payload_type: 102,
            timestamp: 7,
            ssrc: 9,
            ..Header::default()
        };
        last.set_extension(4, Bytes::from_static(b"video"))
            .expect("valid");
        last.set_extension(3, Bytes::from_static(&[0, 0]))
            .expect("valid");
        for size in [0, 100, 200, 333, 1_200] {
            let mut packet = padding(&last, 5, Some(14), DataSize::from_bytes(size));
            let number = Bytes::from_static(&[1, 2]);
            packet
                .header
                .set_extension(3, number.clone())
                .expect("valid");
            let bytes = packet.marshal().expect("it can be written");
            let whole = bytes.len() as u64 + super::super::OVERHEAD.bytes();
            assert!(
                (size..size.max(72) + 20).contains(&whole),
                "{whole}, {size}"
            );
            let back = rtp::Packet::unmarshal(&mut bytes.clone()).expect("it can be read");
            assert!(back.payload.is_empty() && back.header.padding && !back.header.marker);
            assert_eq!((back.header.timestamp, back.header.sequence_number), (7, 5));
            assert_eq!(back.header.get_extension(3), Some(number));
            assert_eq!(back.header.get_extension(4).as_deref(), Some(&b"video"[..]));
        }
    }
}
