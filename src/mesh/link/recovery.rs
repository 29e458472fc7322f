//! Sound that survives losses: each packet may carry one or two before it, in the form of redundant audio
//! data.
//!
//! Where packet n-1 is lost, packet n brings it, 20 ms later; and n-2, if that is lost as well. Of what is
//! lost before those, what Opus carries of it in the next stands in (in-band FEC). Only what nothing was
//! left unsent after is carried: sound from before a pause is of no use.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    protection::DEEPEST,
    redundancy::{Block, Malformed, unwrap},
};
use crate::{
    media::{Way, audio::VoicePacket},
    mesh::peer::RtpIn,
};

/// The payload type by which blocks name Opus on the way through the relay, whichever numbers the
/// connections have.
pub(in crate::mesh) const RELAYED_OPUS: u8 = 111;
/// Samples of one packet of sound.
const FRAME: u32 = 960;
/// A packet that is this much older than the newest is of a sender that started anew.
const MOST_MISORDER: u16 = 100;

/// The sound of one connection on its way out: knows the packets before.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Carrier {
    /// The newest last, with its timestamp.
    before: VecDeque<(u32, Bytes)>,
}

impl Carrier {
    /// Returns up to `depth` packets before the one that is sent now, the oldest first, and how much older
    /// they are in samples; of those only between which and it nothing was left unsent.
    pub(in crate::mesh) fn before(
        &mut self,
        timestamp: u32,
        payload: &Bytes,
        depth: usize,
    ) -> Vec<(u32, Bytes)> {
        let offset = |at: u32| timestamp.wrapping_sub(at);
        if (self.before.back()).is_some_and(|(at, _)| offset(*at) != FRAME) {
            self.before.clear();
        }
        let skipped = self.before.len().saturating_sub(depth);
        let carried = self.before.iter().skip(skipped);
        let carried = carried.map(|(at, before)| (offset(*at), before.clone()));
        let carried = carried.collect();
        if self.before.len() == DEEPEST {
            self.before.pop_front();
        }
        self.before.push_back((timestamp, payload.clone()));
        carried
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
        let mut sounds = Vec::with_capacity(1 + DEEPEST);
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
    use crate::{clock, mesh::link::redundancy::wrap};

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
            newest_picture: None,
        }
    }

    /// Goes on where numbers wrap.
    fn timestamp(sequence: u16) -> u32 {
        (i32::from(sequence as i16) * FRAME as i32) as u32
    }

    /// What comes of packets that each carry so many before: number, whether it is a recovered one, and
    /// what is in it.
    fn come(unpacker: &mut Unpacker, numbers: &[u16], depth: u16) -> Vec<(u16, bool, String)> {
        let mut out = Vec::new();
        for number in numbers {
            let name = |number: u16| Bytes::from(format!("sound {number}"));
            let back = (1..=depth).rev();
            let before = back.map(|n| (u32::from(n) * FRAME, name(number.wrapping_sub(n))));
            let before: Vec<_> = before.collect();
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
    fn a_lost_packet_comes_with_the_next_and_what_came_comes_once() {
        let sound = |number: u16, recovered| (number, recovered, format!("sound {number}"));
        let mut unpacker = Unpacker::default();
        let heard = come(&mut unpacker, &[65_533, 65_534, 0, 3, 4, 2], 1);
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
        assert_eq!(come(&mut unpacker, &[40_000], 1), [sound(40_000, false)]);
        // Two in a row, three, and one.
        let heard = come(&mut unpacker, &[40_003, 40_007, 40_009], 2);
        let expected = [
            (1, true),
            (2, true),
            (3, false),
            (5, true),
            (6, true),
            (7, false),
            (8, true),
            (9, false),
        ];
        assert_eq!(
            heard,
            expected.map(|(n, recovered)| sound(40_000 + n, recovered))
        );
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
        let mut before = |frame: u32, name, depth| {
            let carried = carrier.before(frame * FRAME, &bytes(name), depth);
            let text = |(offset, payload): (u32, Bytes)| (offset / FRAME, payload);
            carried.into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(before(0, "a", 2), []);
        assert_eq!(before(1, "b", 2), [(1, bytes("a"))]);
        assert_eq!(before(2, "c", 2), [(2, bytes("a")), (1, bytes("b"))]);
        assert_eq!(before(3, "d", 1), [(1, bytes("c"))]);
        assert_eq!(before(4, "e", 0), []);
        assert_eq!(before(20, "f", 2), []);
        assert_eq!(before(21, "g", 2), [(1, bytes("f"))]);
    }

    #[test]
    fn whatever_comes_brings_a_few_packets_at_most() {
        let mut unpacker = Unpacker::default();
        let (mut bits, mut brought) = (1u64, 0);
        let mut random = move |below: u64| {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (bits >> 33) % below
        };
        for _ in 0..20_000 {
            // Mostly headers of short blocks.
            let length = random(40);
            let byte = |n: u64, random: &mut dyn FnMut(u64) -> u64| match n % 4 {
                0 if random(3) > 0 => 0x80 | OPUS,
                0 => OPUS,
                3 => random(8) as u8,
                _ => random(16) as u8,
            };
            let payload: Bytes = (0..length).map(|n| byte(n, &mut random)).collect();
            let packet = packet(random(1 << 16) as u16, payload.clone());
            if let Ok(sounds) = unpacker.redundant(&packet, OPUS, Way::Relayed) {
                assert!(sounds.len() <= 1 + payload.len() / 4);
                brought += sounds.len();
            }
        }
        assert!(brought > 1_000, "{brought}");
    }
}
