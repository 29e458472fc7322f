//! Messages and `ChannelData` in a stream of bytes (RFC 8656 section 12.5, RFC 8489 section 6.2.2).

use super::message::{CHANNEL_HEADER, HEADER};

/// The longest frame of a client with an allocation; datagrams of calls are a tenth of it.
pub(crate) const LONGEST: usize = 16 * 1024;
/// The longest frame of a client without: no request is longer, and strangers get no memory.
pub(crate) const LONGEST_OF_STRANGER: usize = 2 * 1024;

/// What came is not TURN, or is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame of TURN")]
pub(crate) struct NotAFrame;

/// Tells whether a connection that begins with this byte speaks TURN.
pub(crate) const fn begins_turn(byte: u8) -> bool {
    byte <= 0x03
}

/// Takes the first frame off `bytes`: the frame without its padding. `None` while it is not whole.
pub(crate) fn take<'a>(
    bytes: &mut &'a [u8],
    longest: usize,
) -> Result<Option<&'a [u8]>, NotAFrame> {
    let [first, _, high, low, ..] = **bytes else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (frame, whole) = match first {
        0x00..=0x3f if length % 4 == 0 => (HEADER + length, HEADER + length),
        0x40..=0x7f => {
            let frame = CHANNEL_HEADER + length;
            (frame, frame.next_multiple_of(4))
        }
        _ => return Err(NotAFrame),
    };
    if whole > longest {
        return Err(NotAFrame);
    }
    match bytes.split_at_checked(whole) {
        Some((taken, rest)) => {
            *bytes = rest;
            Ok(Some(&taken[..frame]))
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_the_stream_is_cut() {
        let mut message = vec![0, 1, 0, 8];
        message.resize(28, 7);
        let channel = [0x40, 1, 0, 5, 1, 2, 3, 4, 5];
        let stream = [&message[..], &channel, &[0; 3], &message].concat();
        let expected = [&message[..], &channel, &message];
        for step in 1..stream.len() {
            let (mut found, mut waiting) = (Vec::new(), Vec::new());
            for part in stream.chunks(step) {
                waiting.extend_from_slice(part);
                let mut rest = &waiting[..];
                while let Some(frame) = take(&mut rest, LONGEST).unwrap() {
                    found.push(frame.to_vec());
                }
                waiting = rest.to_vec();
            }
            assert_eq!(found, expected);
            assert!(waiting.is_empty());
        }
    }

    #[test]
    fn what_is_no_frame_or_too_long_is_refused_by_its_head() {
        let refused = |head: [u8; 4], longest| take(&mut &head[..], longest) == Err(NotAFrame);
        assert!(refused([0x80, 0, 0, 0], LONGEST));
        assert!(refused([0xff; 4], LONGEST));
        assert!(refused([0, 1, 0, 3], LONGEST));
        assert!(refused([0, 1, 0x08, 0], LONGEST_OF_STRANGER));
        assert!(!refused([0, 1, 0x07, 0xec], LONGEST_OF_STRANGER));
        assert!(refused([0x40, 0, 0xff, 0xff], LONGEST));
        assert_eq!(take(&mut &[0xff; 3][..], LONGEST), Ok(None));
    }
}
