//! Sound that survives losses: redundant audio data (RFC 2198).
//!
//! ```text
//! packet n:  [ header of n-1 | header of n | Opus n-1 | Opus n ]
//! ```
//! Where packet n-1 is lost, packet n brings it, 20 ms later; and where n-2 is lost as well, what Opus
//! carries of it in n-1 stands in (in-band FEC). One block is carried besides the packet's own, and only
//! if nothing was left unsent in between: sound from before a pause is of no use.
//!
//! Pure. What comes from the network is an error at worst.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    media::{Way, audio::VoicePacket},
    mesh::peer::RtpIn,
};

/// The longest way back in time that a header can name, in samples (RFC 2198 section 3: 14 bits).
const MOST_OFFSET: u32 = (1 << 14) - 1;
/// The longest redundant block that a header can name, in bytes (10 bits).
const MOST_LENGTH: usize = (1 << 10) - 1;
/// Says that another header follows.
const MORE: u8 = 0x80;
/// Samples of one packet of sound.
const FRAME: u32 = 960;
/// A packet that is this much older than the newest is of a sender that started anew.
const MOST_MISORDER: u16 = 100;

/// The payload type by which blocks name Opus on the way through the relay, whichever numbers the
/// connections have.
pub(in crate::mesh) const RELAYED_OPUS: u8 = 111;

/// What cannot be redundant audio data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::mesh) enum Malformed {
    /// It ends within its headers.
    #[error("it ends within its headers")]
    Headers,
    /// Its headers name more than there is.
    #[error("its headers name more than there is")]
    Blocks,
}

/// Part of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mesh) struct Block {
    /// The payload type of what it holds.
    pub(in crate::mesh) payload_type: u8,
    /// How much older it is than the packet, in samples.
    pub(in crate::mesh) offset: u32,
    /// What it holds.
    pub(in crate::mesh) payload: Bytes,
}

/// Puts blocks of one payload type into a payload, the packet's own last. What a header cannot name
/// is left out.
pub(in crate::mesh) fn wrap(payload_type: u8, own: &[u8], earlier: &[(u32, Bytes)]) -> Bytes {
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
pub(in crate::mesh) fn unwrap(payload: &Bytes) -> Result<Vec<Block>, Malformed> {
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

/// The sound of one connection on its way out: knows the packet before.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Carrier {
    before: Option<(u32, Bytes)>,
}

impl Carrier {
    /// Returns the packet before, and how much older it is in samples, if nothing was left unsent
    /// between it and the packet that is sent now.
    pub(in crate::mesh) fn before(
        &mut self,
        timestamp: u32,
        payload: &Bytes,
    ) -> Option<(u32, Bytes)> {
        let (at, before) = self.before.replace((timestamp, payload.clone()))?;
        let offset = timestamp.wrapping_sub(at);
        (offset == FRAME).then_some((offset, before))
    }
}

/// The sound of one stream on its way in: knows what came.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Unpacker {
    /// The stream, and the newest number of it.
    newest: Option<(u32, u16)>,
}

impl Unpacker {
    /// Takes in a packet as it is.
    pub(in crate::mesh) fn plain(&mut self, packet: RtpIn, way: Way) -> VoicePacket {
        self.note(&packet);
        voice(way, &packet, packet.payload.clone())
    }

    /// Takes in a packet of redundant audio data whose blocks are Opus where they have this payload type.
    /// Returns what it brings, the oldest first: earlier packets only where they have not come.
    ///
    /// # Errors
    /// Fails if it is malformed.
    pub(in crate::mesh) fn redundant(
        &mut self,
        packet: &RtpIn,
        payload_type: u8,
        way: Way,
    ) -> Result<Vec<VoicePacket>, Malformed> {
        let missing = self.note(packet);
        let mut blocks = unwrap(&packet.payload)?;
        let own = blocks.pop();
        let earlier = blocks.len();
        let is_sound =
            |block: &Block| block.payload_type == payload_type && !block.payload.is_empty();
        let mut sounds = Vec::with_capacity(2);
        // A marked packet begins a talk spurt: what it carries was withheld, and has no number.
        let missing = if packet.marker { 0 } else { missing };
        for (index, block) in blocks.into_iter().enumerate() {
            // Whether the number of an earlier packet is known: nothing was left unsent in between.
            let back = earlier - index;
            let adjacent = block.offset as usize == back * FRAME as usize;
            if !adjacent || back > usize::from(missing) || !is_sound(&block) {
                continue;
            }
            sounds.push(VoicePacket {
                sequence: packet.sequence.wrapping_sub(back as u16),
                timestamp: packet.timestamp.wrapping_sub(block.offset),
                marker: false,
                recovered: true,
                ..voice(way, packet, block.payload)
            });
        }
        if let Some(own) = own.filter(is_sound) {
            sounds.push(voice(way, packet, own.payload));
        }
        Ok(sounds)
    }

    /// Takes note of a number; returns how many before it have not come.
    fn note(&mut self, packet: &RtpIn) -> u16 {
        let new = (packet.ssrc, packet.sequence);
        let Some((_, newest)) = self.newest.filter(|(ssrc, _)| *ssrc == packet.ssrc) else {
            self.newest = Some(new);
            return 0;
        };
        let ahead = packet.sequence.wrapping_sub(newest);
        if (1..1 << 15).contains(&ahead) {
            self.newest = Some(new);
            return ahead - 1;
        }
        if newest.wrapping_sub(packet.sequence) > MOST_MISORDER {
            self.newest = Some(new);
        }
        0
    }
}

fn voice(way: Way, packet: &RtpIn, payload: Bytes) -> VoicePacket {
    VoicePacket {
        way,
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        marker: packet.marker,
        recovered: false,
        payload,
        arrived: packet.arrived,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const OPUS: u8 = 111;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn packet(sequence: u16, payload: Bytes) -> RtpIn {
        RtpIn {
            payload_type: 63,
            sequence,
            timestamp: timestamp(sequence),
            marker: false,
            ssrc: 1,
            payload,
            arrived: clock::now(),
        }
    }

    /// Goes on where numbers wrap.
    fn timestamp(sequence: u16) -> u32 {
        (i32::from(sequence as i16) * FRAME as i32) as u32
    }

    /// What comes of packets that each carry the one before: number, whether it is a recovered one, and
    /// what is in it.
    fn come(unpacker: &mut Unpacker, numbers: &[u16]) -> Vec<(u16, bool, String)> {
        let mut out = Vec::new();
        for number in numbers {
            let name = |number: u16| Bytes::from(format!("sound {number}"));
            let before = [(FRAME, name(number.wrapping_sub(1)))];
            let packet = packet(*number, wrap(OPUS, &name(*number), &before));
            let sounds = unpacker.redundant(&packet, OPUS, Way::Direct);
            for sound in sounds.expect("it is whole") {
                assert_eq!(sound.timestamp, timestamp(sound.sequence));
                let text = String::from_utf8(sound.payload.to_vec()).expect("we wrote it");
                out.push((sound.sequence, sound.recovered, text));
            }
        }
        out
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

    #[test]
    fn a_lost_packet_comes_with_the_next_and_what_came_comes_once() {
        let sound = |number: u16, recovered| (number, recovered, format!("sound {number}"));
        let mut unpacker = Unpacker::default();
        let heard = come(&mut unpacker, &[65_533, 65_534, 0, 3, 4, 2]);
        let expected = [
            sound(65_533, false),
            sound(65_534, false),
            sound(65_535, true),
            sound(0, false),
            sound(2, true),
            sound(3, false),
            sound(4, false),
            sound(2, false),
        ];
        assert_eq!(heard, expected);
        // Another stream, or a sender that started anew: nothing is known to be missing.
        assert_eq!(come(&mut unpacker, &[40_000]), [sound(40_000, false)]);
    }

    #[test]
    fn what_is_not_our_sound_or_not_the_packet_before_is_left_alone() {
        let mut unpacker = Unpacker::default();
        unpacker.plain(packet(1, bytes("one")), Way::Direct);
        let blocks = [
            (FRAME * 7, bytes("from before a pause")),
            (FRAME / 2, bytes("half a packet ago")),
        ];
        let odd = packet(9, wrap(OPUS, b"nine", &blocks));
        let sounds = unpacker.redundant(&odd, OPUS, Way::Direct).expect("whole");
        assert_eq!(sounds.len(), 1);
        assert!(!sounds[0].recovered);
        let other = packet(11, wrap(0, b"a law", &[(FRAME, bytes("of it"))]));
        assert!(
            unpacker
                .redundant(&other, OPUS, Way::Direct)
                .expect("whole")
                .is_empty()
        );
    }

    #[test]
    fn nothing_is_carried_over_a_pause() {
        let mut carrier = Carrier::default();
        assert_eq!(carrier.before(0, &bytes("a")), None);
        assert_eq!(
            carrier.before(FRAME, &bytes("b")),
            Some((FRAME, bytes("a")))
        );
        assert_eq!(carrier.before(20 * FRAME, &bytes("c")), None);
        let next = carrier.before(21 * FRAME, &bytes("d"));
        assert_eq!(next, Some((FRAME, bytes("c"))));
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
        let mut unpacker = Unpacker::default();
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
            let number = random.next(1 << 16) as u16;
            let packet = packet(number, payload.clone());
            if let Ok(sounds) = unpacker.redundant(&packet, OPUS, Way::Relayed) {
                assert!(sounds.len() <= 1 + payload.len() / 4);
            }
        }
        assert!(errors > 1_000 && whole > 1_000, "{errors} {whole}");
    }
}
