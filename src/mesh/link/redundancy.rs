//! Redundant audio data (RFC 2198): a packet of sound that holds earlier sound as well.
//!
//! ```text
//! packet n:  [ header of n-1 | header of n | Opus n-1 | Opus n ]
//! ```
//! Pure. What comes from the network is an error at worst.

use bytes::{BufMut, Bytes, BytesMut};

/// The longest way back in time that a header can name, in samples (RFC 2198 section 3: 14 bits).
const MOST_OFFSET: u32 = (1 << 14) - 1;
/// The longest redundant block that a header can name, in bytes (10 bits).
const MOST_LENGTH: usize = (1 << 10) - 1;
/// Says that another header follows.
const MORE: u8 = 0x80;

/// What cannot be redundant audio data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends within its headers.
    #[error("it ends within its headers")]
    Headers,
    /// Its headers name more than there is.
    #[error("its headers name more than there is")]
    Blocks,
}

/// Part of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The payload type of what it holds.
    pub payload_type: u8,
    /// How much older it is than the packet, in samples.
    pub offset: u32,
    /// What it holds.
    pub payload: Bytes,
}

/// Puts blocks of one payload type into a payload, the packet's own last. What a header cannot name
/// is left out.
pub fn wrap(payload_type: u8, own: &[u8], earlier: &[(u32, Bytes)]) -> Bytes {
    let fits = |(offset, block): &&(u32, Bytes)| {
        *offset <= MOST_OFFSET && !block.is_empty() && block.len() <= MOST_LENGTH
    };
    let carried = || earlier.iter().filter(fits);
    let length: usize = carried().map(|(_, block)| 4 + block.len()).sum();
    let mut out = BytesMut::with_capacity(length + 1 + own.len());
    for (offset, block) in carried() {
        out.put_u8(MORE | payload_type);
        let length = block.len() as u32 & MOST_LENGTH as u32;
        out.put_uint(u64::from(offset << 10 | length), 3);
    }
    out.put_u8(payload_type & !MORE);
    for (_, block) in carried() {
        out.put_slice(block);
    }
    out.put_slice(own);
    out.freeze()
}

/// Takes a payload apart: the blocks in the order in which they stand, the packet's own last.
///
/// # Errors
/// Fails if headers or blocks are cut off.
pub fn unwrap(payload: &Bytes) -> Result<Vec<Block>, Malformed> {
    let mut blocks = Vec::new();
    let mut lengths = Vec::new();
    let mut at = 0;
    loop {
        let first = *payload.get(at).ok_or(Malformed::Headers)?;
        let payload_type = first & !MORE;
        if first & MORE == 0 {
            at += 1;
            blocks.push((payload_type, 0));
            break;
        }
        let Some([high, middle, low]) = payload.get(at + 1..at + 4) else {
            return Err(Malformed::Headers);
        };
        let rest = u32::from_be_bytes([0, *high, *middle, *low]);
        blocks.push((payload_type, rest >> 10));
        lengths.push(rest as usize & MOST_LENGTH);
        at += 4;
    }
    let own = lengths.iter().sum::<usize>() + at;
    let last = payload.len().checked_sub(own).ok_or(Malformed::Blocks)?;
    lengths.push(last);
    let blocks = blocks.into_iter().zip(lengths);
    Ok(blocks
        .map(|((payload_type, offset), length)| {
            let payload = payload.slice(at..at + length);
            at += length;
            Block {
                payload_type,
                offset,
                payload,
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPUS: u8 = 111;
    const FRAME: u32 = 960;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn the_bytes_are_those_of_the_rfc() {
        let wrapped = wrap(OPUS, b"now", &[(FRAME, bytes("then"))]);
        let header = [0x80 | 111, (960 >> 6) as u8, 0, 4, 111];
        assert_eq!(wrapped[..5], header);
        assert_eq!(wrapped[5..], *b"thennow");
        assert_eq!(wrap(OPUS, b"now", &[]), bytes("onow"));
    }

    #[test]
    fn what_no_header_can_name_is_left_out() {
        let long = Bytes::from(vec![7; MOST_LENGTH + 1]);
        let earlier = [
            (MOST_OFFSET + 1, bytes("old")),
            (FRAME * 2, long),
            (FRAME, Bytes::new()),
        ];
        assert_eq!(wrap(OPUS, b"now", &earlier), bytes("onow"));
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let whole = wrap(OPUS, b"now", &[(FRAME, bytes("then"))]);
        for length in 0..5 {
            let cut = whole.slice(..length);
            assert_eq!(unwrap(&cut), Err(Malformed::Headers), "{length}");
        }
        for length in 5..9 {
            let cut = whole.slice(..length);
            assert_eq!(unwrap(&cut), Err(Malformed::Blocks), "{length}");
        }
        assert!(unwrap(&whole.slice(..9)).is_ok());
    }

    /// A small generator: the same seed, the same bytes.
    struct Seeded(u64);

    impl Seeded {
        fn next(&mut self, below: u64) -> u64 {
            self.0 = (self.0)
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % below
        }

        fn bytes(&mut self, least: u64, most: u64) -> Bytes {
            let length = least + self.next(most - least + 1);
            (0..length).map(|_| self.next(256) as u8).collect()
        }
    }

    #[test]
    fn what_was_wrapped_is_unwrapped() {
        let mut random = Seeded(1);
        for _ in 0..2_000 {
            let own = random.bytes(0, 300);
            let earlier: Vec<_> = (0..random.next(4))
                .map(|_| {
                    let offset = random.next(u64::from(MOST_OFFSET) + 1) as u32;
                    (offset, random.bytes(1, MOST_LENGTH as u64))
                })
                .collect();
            let blocks = unwrap(&wrap(OPUS, &own, &earlier)).expect("we wrapped it");
            let all = earlier.into_iter().chain([(0, own)]);
            let block = |(offset, payload)| Block {
                payload_type: OPUS,
                offset,
                payload,
            };
            assert_eq!(blocks, all.map(block).collect::<Vec<_>>());
        }
    }

    #[test]
    fn anything_else_is_an_error_or_parts_of_it() {
        let mut random = Seeded(2);
        let (mut errors, mut whole) = (0, 0);
        for _ in 0..20_000 {
            let mut payload = random.bytes(0, 60).to_vec();
            // Some begin like something that is well-formed.
            if random.next(2) == 0
                && let Some(first) = payload.first_mut()
            {
                *first = if random.next(2) == 0 {
                    OPUS
                } else {
                    MORE | OPUS
                };
            }
            let payload = Bytes::from(payload);
            match unwrap(&payload) {
                Ok(blocks) => {
                    let held: usize = blocks.iter().map(|block| block.payload.len()).sum();
                    let headers = 4 * (blocks.len() - 1) + 1;
                    assert_eq!(held + headers, payload.len());
                    whole += 1;
                }
                Err(_) => errors += 1,
            }
        }
        assert!(errors > 1_000 && whole > 1_000, "{errors} {whole}");
    }
}
