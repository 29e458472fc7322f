//! H.264 in RTP payloads (RFC 6184, packetization-mode 1), and the time that is written into them.
//!
//! A payload ends with a mark and the nanosecond it was sent at. Decoders would stumble over it, so
//! whoever wants to see the pictures leaves it out (`--clean`); the relay never looks.

use std::{sync::Arc, time::Duration};

/// Largest payload, the stamp included: with headers, extensions and tags of RTP, SRTP, UDP and IP it
/// stays below 1280 bytes.
const MAX_PAYLOAD: usize = 1150;
const STAMP_MARK: [u8; 4] = *b"n\xf5s\xa7";
/// Mark and nanoseconds.
const STAMP: usize = 12;
const NAL_TYPE: u8 = 0x1f;
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// Cuts one picture's NAL units into payloads: parameter sets together, large units in fragments.
pub(crate) fn packetise(picture: &[u8]) -> Vec<Vec<u8>> {
    const MOST: usize = MAX_PAYLOAD - STAMP;
    let mut payloads = Vec::new();
    let mut sets: Vec<&[u8]> = Vec::new();
    for unit in units(picture) {
        if matches!(unit[0] & NAL_TYPE, NAL_SPS | NAL_PPS) {
            sets.push(unit);
            continue;
        }
        if !sets.is_empty() {
            payloads.push(together(&sets));
            sets.clear();
        }
        if unit.len() <= MOST {
            payloads.push(unit.to_vec());
            continue;
        }
        let (header, rest) = (unit[0], &unit[1..]);
        let pieces = rest.len().div_ceil(MOST - 2);
        // Of even size, as pacing likes them.
        let each = rest.len().div_ceil(pieces);
        for (index, piece) in rest.chunks(each).enumerate() {
            let mut fragment = header & NAL_TYPE;
            if index == 0 {
                fragment |= FU_START;
            }
            if (index + 1) * each >= rest.len() {
                fragment |= FU_END;
            }
            payloads.push([&[header & !NAL_TYPE | FU_A, fragment], piece].concat());
        }
    }
    if !sets.is_empty() {
        payloads.push(together(&sets));
    }
    payloads
}

/// Tells whether a keyframe begins with this payload.
pub(crate) fn begins_keyframe(payload: &[u8]) -> bool {
    let Some(first) = payload.first() else {
        return false;
    };
    match first & NAL_TYPE {
        NAL_IDR | NAL_SPS => true,
        STAP_A => payload
            .get(3)
            .is_some_and(|unit| unit & NAL_TYPE == NAL_SPS),
        FU_A => {
            (payload.get(1)).is_some_and(|unit| unit & FU_START != 0 && unit & NAL_TYPE == NAL_IDR)
        }
        _ => false,
    }
}

/// Makes the payload that is sent at `time` (since the Unix epoch).
pub(crate) fn stamped(payload: &[u8], time: Duration) -> Arc<[u8]> {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    [payload, &STAMP_MARK, &nanos.to_be_bytes()].concat().into()
}

/// Reads when a payload was sent, if it says so.
pub(crate) fn stamp(payload: &[u8]) -> Option<Duration> {
    let (_, stamp) = payload.split_last_chunk::<STAMP>()?;
    let nanos = stamp.strip_prefix(&STAMP_MARK)?;
    Some(Duration::from_nanos(u64::from_be_bytes(
        nanos.try_into().ok()?,
    )))
}

fn together(sets: &[&[u8]]) -> Vec<u8> {
    let mut payload = vec![sets[0][0] & !NAL_TYPE | STAP_A];
    for set in sets {
        let length = u16::try_from(set.len()).unwrap_or(u16::MAX);
        payload.extend(length.to_be_bytes());
        payload.extend(*set);
    }
    payload
}

/// The NAL units between start codes (Annex B), none of them empty.
fn units(stream: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= stream.len() {
        if stream[at..at + 3] == [0, 0, 1] {
            starts.push((at, at + 3));
            at += 3;
        } else {
            at += 1;
        }
    }
    let ends = (starts.iter().skip(1).map(|(code, _)| *code)).chain([stream.len()]);
    (starts.iter().zip(ends))
        .map(|((_, from), to)| {
            let unit = &stream[*from..to];
            let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
            &unit[..unit.len() - zeros]
        })
        .filter(|unit| !unit.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_travel_together_and_large_units_in_fragments() {
        let mut picture = vec![0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65];
        picture.extend(vec![9; 3000]);

        let payloads = packetise(&picture);

        assert_eq!(payloads[0], [0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3]);
        assert_eq!(payloads.len(), 4);
        assert_eq!(payloads[1][..2], [0x7c, 0x85]);
        assert_eq!(payloads[2][..2], [0x7c, 0x05]);
        assert_eq!(payloads[3][..2], [0x7c, 0x45]);
        let carried: usize = payloads[1..].iter().map(|payload| payload.len() - 2).sum();
        assert_eq!(carried, 3000);
        assert!(begins_keyframe(&payloads[0]) && begins_keyframe(&payloads[1]));
        assert!(!begins_keyframe(&payloads[2]));
    }

    #[test]
    fn a_stamp_is_read_back() {
        let time = Duration::from_nanos(1_234_567_890_123);
        assert_eq!(stamp(&stamped(&[1, 2, 3], time)), Some(time));
        assert_eq!(stamp(&[0; 40]), None);
        assert_eq!(stamp(&[1]), None);
    }
}
