//! RTP payloads to access units: RFC 6184, packetization-mode 1.
//!
//! Takes payloads in order and puts the NAL units of one picture together. Whatever comes,
//! it neither panics nor grows without bound, and never joins fragments of different units:
//! a payload that does not fit what came before spoils the picture.

use bytes::Bytes;

/// The largest picture, in bytes: many times a keyframe at the highest rate.
const MOST_BYTES: usize = 4 << 20;
const START_CODE: [u8; 4] = [0, 0, 0, 1];
const IDR: u8 = 5;
const SEQUENCE_PARAMETERS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Why a payload cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than its own header, or than the lengths in it.
    #[error("cut short")]
    Short,
    /// A kind of packet that this payload format does not use.
    #[error("packet type {0} is not used")]
    Type(u8),
    /// A fragment without its beginning, or something else before its end.
    #[error("a fragment does not continue what came before")]
    Fragment,
    /// More than a picture can be.
    #[error("too large")]
    Large,
    /// Ended in the middle of a unit, or without one.
    #[error("incomplete")]
    Incomplete,
}

/// A complete access unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// NAL units in Annex B form.
    pub data: Bytes,
    /// Whether one of them is of an IDR picture.
    pub keyframe: bool,
}

/// Puts one access unit after another together.
#[derive(Debug, Default)]
pub struct Depacketiser {
    data: Vec<u8>,
    keyframe: bool,
    /// The header of the NAL unit whose fragments are coming.
    open: Option<u8>,
}

impl Depacketiser {
    /// Takes in the payload of the next packet. After an error the unit is spoilt:
    /// [`reset`](Self::reset) and go on with the next one.
    ///
    /// # Errors
    /// Fails if the payload is malformed or does not continue what came before.
    pub fn push(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let (&first, rest) = payload.split_first().ok_or(Malformed::Short)?;
        match first & 0x1f {
            FU_A => self.push_fragment(first, rest),
            _ if self.open.is_some() => Err(Malformed::Fragment),
            STAP_A => self.push_together(rest),
            _ => self.push_unit(payload),
        }
    }

    /// Takes the access unit out and begins the next one.
    ///
    /// # Errors
    /// Fails if nothing came or a fragment is not complete; the next unit begins all the same.
    pub fn finish(&mut self) -> Result<Complete, Malformed> {
        let complete = self.open.is_none() && !self.data.is_empty();
        let unit = Complete {
            data: Bytes::from(std::mem::take(&mut self.data)),
            keyframe: self.keyframe,
        };
        self.reset();
        if complete {
            Ok(unit)
        } else {
            Err(Malformed::Incomplete)
        }
    }

    /// Forgets what came and begins the next unit.
    pub fn reset(&mut self) {
        self.data.clear();
        self.keyframe = false;
        self.open = None;
    }

    fn push_unit(&mut self, unit: &[u8]) -> Result<(), Malformed> {
        let header = *unit.first().ok_or(Malformed::Short)?;
        self.begin(header)?;
        self.extend(&unit[1..])
    }

    fn push_together(&mut self, mut rest: &[u8]) -> Result<(), Malformed> {
        if rest.is_empty() {
            return Err(Malformed::Short);
        }
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<2>().ok_or(Malformed::Short)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (unit, after) = after.split_at_checked(length).ok_or(Malformed::Short)?;
            self.push_unit(unit)?;
            rest = after;
        }
        Ok(())
    }

    fn push_fragment(&mut self, indicator: u8, rest: &[u8]) -> Result<(), Malformed> {
        let (&flags, piece) = rest.split_first().ok_or(Malformed::Short)?;
        let (start, end) = (flags & 0x80 != 0, flags & 0x40 != 0);
        let header = indicator & 0xe0 | flags & 0x1f;
        if piece.is_empty() {
            return Err(Malformed::Short);
        }
        // Start and end in one packet must not be (RFC 6184 section 5.8).
        if start == self.open.is_some() || (start && end) {
            return Err(Malformed::Fragment);
        }
        if start {
            self.begin(header)?;
            self.open = Some(header);
        } else if self.open != Some(header) {
            return Err(Malformed::Fragment);
        }
        self.extend(piece)?;
        if end {
            self.open = None;
        }
        Ok(())
    }

    fn begin(&mut self, header: u8) -> Result<(), Malformed> {
        let kind = header & 0x1f;
        // 1 to 23 are NAL units; the highest bit must not be set (ITU-T H.264 section 7.4.1).
        if !(1..=23).contains(&kind) || header & 0x80 != 0 {
            return Err(Malformed::Type(kind));
        }
        self.keyframe |= kind == IDR;
        self.extend(&START_CODE)?;
        self.extend(&[header])
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.data.len() + bytes.len() > MOST_BYTES {
            return Err(Malformed::Large);
        }
        self.data.extend_from_slice(bytes);
        Ok(())
    }
}

/// Tells whether a payload begins with sequence parameters: then an access unit, and with ours a
/// keyframe, begins here.
pub(crate) fn begins_keyframe(payload: &[u8]) -> bool {
    match payload {
        [first, _, _, inner, ..] if first & 0x1f == STAP_A => inner & 0x1f == SEQUENCE_PARAMETERS,
        [first, ..] => first & 0x1f == SEQUENCE_PARAMETERS,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(payloads: &[&[u8]]) -> Result<Complete, Malformed> {
        let mut depacketiser = Depacketiser::default();
        for payload in payloads {
            depacketiser.push(payload)?;
        }
        depacketiser.finish()
    }

    #[test]
    fn golden_bytes_of_each_kind_of_packet() {
        let unit = all(&[
            &[0x78, 0, 2, 0x67, 1, 0, 3, 0x68, 2, 3],
            &[0x7c, 0x85, 4, 5],
            &[0x7c, 0x05, 6],
            &[0x7c, 0x45, 7],
            &[0x41, 8],
        ]);
        let golden = [
            0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 3, 0, 0, 0, 1, 0x65, 4, 5, 6, 7, 0, 0, 0, 1,
            0x41, 8,
        ];
        let unit = unit.expect("well formed");
        assert_eq!(unit.data, golden[..]);
        assert!(unit.keyframe);
        assert!(!all(&[&[0x41, 8]]).expect("well formed").keyframe);
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        for payload in [
            &[][..],
            &[0x78],
            &[0x78, 0],
            &[0x78, 0, 0],
            &[0x78, 0, 2, 0x67],
            // One byte behind the last unit of an aggregate.
            &[0x78, 0, 1, 0x67, 0],
            &[0x7c],
            &[0x7c, 0x85],
        ] {
            let error = all(&[payload]).expect_err("cut short");
            assert_eq!(error, Malformed::Short, "{payload:?}");
        }
    }

    #[test]
    fn fragments_of_different_units_are_never_joined() {
        let start: &[u8] = &[0x7c, 0x85, 1];
        for (payloads, error) in [
            (&[&[0x7c, 0x05, 1][..]][..], Malformed::Fragment),
            (&[start, start], Malformed::Fragment),
            (&[start, &[0x5c, 0x41, 1]], Malformed::Fragment),
            (&[start, &[0x41, 1]], Malformed::Fragment),
            (&[&[0x7c, 0xc5, 1]], Malformed::Fragment),
            (&[start], Malformed::Incomplete),
        ] {
            assert_eq!(all(payloads), Err(error), "{payloads:?}");
        }
    }

    #[test]
    fn kinds_that_are_not_used_are_refused() {
        for kind in [0, 25, 26, 27, 29, 30, 31] {
            assert_eq!(all(&[&[kind, 1, 2, 3]]), Err(Malformed::Type(kind)));
        }
        assert_eq!(all(&[&[0x78, 0, 1, 0x78]]), Err(Malformed::Type(24)));
        assert_eq!(all(&[&[0xe5, 1]]), Err(Malformed::Type(5)));
    }

    #[test]
    fn a_picture_has_a_largest_size() {
        let mut depacketiser = Depacketiser::default();
        let piece = [0x41; 1_000];
        let error = (0..10_000)
            .find_map(|_| depacketiser.push(&piece).err())
            .expect("there is a bound");
        assert_eq!(error, Malformed::Large);
        assert!(depacketiser.data.len() <= MOST_BYTES);
        depacketiser.reset();
        depacketiser
            .push(&piece)
            .expect("the next unit begins afresh");
    }

    #[test]
    fn whatever_comes_nothing_panics_and_what_is_complete_begins_with_a_start_code() {
        let mut random = 1_u64;
        let mut next = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as u8
        };
        let headers = [0x78, 0x7c, 0x5c, 0x41, 0x65, 0x67, 0x85, 0x45, 0x05];
        let mut depacketiser = Depacketiser::default();
        let mut complete = 0;
        for _ in 0..100_000 {
            let mut payload: Vec<u8> = (0..next() % 12).map(|_| next() % 8).collect();
            for byte in payload.iter_mut().take(2) {
                *byte = headers[usize::from(next()) % headers.len()];
            }
            begins_keyframe(&payload);
            if depacketiser.push(&payload).is_err() {
                depacketiser.reset();
            }
            if next() % 4 == 0
                && let Ok(unit) = depacketiser.finish()
            {
                assert!(unit.data.starts_with(&START_CODE));
                complete += 1;
            }
        }
        assert!(complete > 100, "{complete}");
    }
}
