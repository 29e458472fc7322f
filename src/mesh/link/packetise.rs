//! Access units to RTP payloads: RFC 6184, packetization-mode 1.
//!
//! A NAL unit that fits travels alone, parameter sets travel together (STAP-A), a larger one in
//! fragments (FU-A). Delimiters and filler say nothing and are left out.

use bytes::{BufMut, Bytes, BytesMut};

/// Most bytes of payload in one packet: with RTP, extensions, SRTP, UDP, IPv6 and TURN around it,
/// it stays below 1280, which every IPv6 path carries.
pub(in crate::mesh) const MOST_PAYLOAD: usize = 1_120;

const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const SEQUENCE_PARAMETERS: u8 = 7;
const PICTURE_PARAMETERS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Cuts an access unit in Annex B form into payloads of at most `most` bytes (at least 3).
pub(in crate::mesh) fn packetise(unit: &Bytes, most: usize) -> Vec<Bytes> {
    let mut payloads = Vec::with_capacity(unit.len() / most + 2);
    let mut together: Vec<Bytes> = Vec::new();
    for nal in nal_units(unit) {
        let Some(&header) = nal.first() else { continue };
        match header & 0x1f {
            DELIMITER | FILLER => {}
            SEQUENCE_PARAMETERS | PICTURE_PARAMETERS if nal.len() + 3 <= most => {
                let size: usize = together.iter().map(|nal| nal.len() + 2).sum();
                if 1 + size + 2 + nal.len() > most {
                    flush(&mut together, &mut payloads);
                }
                together.push(nal);
            }
            _ => {
                flush(&mut together, &mut payloads);
                if nal.len() <= most {
                    payloads.push(nal);
                } else {
                    fragment(&nal, most, &mut payloads);
                }
            }
        }
    }
    flush(&mut together, &mut payloads);
    payloads
}

fn flush(together: &mut Vec<Bytes>, payloads: &mut Vec<Bytes>) {
    if together.len() == 1 {
        payloads.append(together);
        return;
    }
    if together.is_empty() {
        return;
    }
    let importance = together.iter().map(|nal| nal[0] & 0x60).max();
    let mut payload = BytesMut::new();
    payload.put_u8(STAP_A | importance.unwrap_or(0));
    for nal in together.drain(..) {
        // Fits: a payload is far below 64 kB.
        payload.put_u16(nal.len() as u16);
        payload.put_slice(&nal);
    }
    payloads.push(payload.freeze());
}

fn fragment(nal: &Bytes, most: usize, payloads: &mut Vec<Bytes>) {
    let (header, body) = (nal[0], &nal[1..]);
    let room = most.saturating_sub(2).max(1);
    // Equal pieces: a tiny last packet costs as much as a full one.
    let pieces = body.len().div_ceil(room);
    let size = body.len().div_ceil(pieces.max(1)).max(1);
    for (index, piece) in body.chunks(size).enumerate() {
        let start = u8::from(index == 0) << 7;
        let end = u8::from((index + 1) * size >= body.len()) << 6;
        let mut payload = BytesMut::with_capacity(2 + piece.len());
        payload.put_u8(header & 0xe0 | FU_A);
        payload.put_u8(start | end | header & 0x1f);
        payload.put_slice(piece);
        payloads.push(payload.freeze());
    }
}

/// Returns the NAL units between start codes of three or four bytes.
fn nal_units(unit: &Bytes) -> Vec<Bytes> {
    let mut units = Vec::new();
    let mut begin = None;
    let mut at = 0;
    while at + 3 <= unit.len() {
        // A start code's third byte is 1, any byte above 1 rules out three positions.
        if unit[at + 2] > 1 {
            at += 3;
        } else if unit[at] == 0 && unit[at + 1] == 0 && unit[at + 2] == 1 {
            if let Some(begin) = begin {
                units.push(trimmed(unit, begin, at));
            }
            at += 3;
            begin = Some(at);
        } else {
            at += 1;
        }
    }
    if let Some(begin) = begin {
        units.push(trimmed(unit, begin, unit.len()));
    }
    units
}

/// Zeros before a start code belong to it, not to the unit.
fn trimmed(unit: &Bytes, begin: usize, mut end: usize) -> Bytes {
    while end > begin && unit[end - 1] == 0 {
        end -= 1;
    }
    unit.slice(begin..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::link::depacketise::Depacketiser;

    #[test]
    fn golden_bytes_of_each_kind_of_packet() {
        let unit = Bytes::from_static(&[
            0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65, 4, 5,
            6, 7, 8, 9, 10, 11,
        ]);
        let payloads = packetise(&unit, 10);
        let golden: [&[u8]; 3] = [
            &[0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3],
            &[0x65, 4, 5, 6, 7, 8, 9, 10, 11],
            &[],
        ];
        assert_eq!(payloads, golden[..2]);
        let payloads = packetise(&unit, 6);
        let golden: [&[u8]; 4] = [
            &[0x67, 1, 2],
            &[0x68, 3],
            &[0x7c, 0x85, 4, 5, 6, 7],
            &[0x7c, 0x45, 8, 9, 10, 11],
        ];
        assert_eq!(payloads, golden);
    }

    #[test]
    fn a_unit_comes_back_as_it_was_whatever_its_size() {
        for size in [1, 2, 1_119, 1_120, 1_121, 2_237, 2_238, 100_000] {
            let mut unit = vec![0, 0, 0, 1, 0x67, 66, 0, 0, 0, 1, 0x68, 1, 0, 0, 0, 1, 0x65];
            unit.extend((0..size).map(|index| index as u8 | 1));
            let unit = Bytes::from(unit);
            let mut depacketiser = Depacketiser::default();
            for payload in packetise(&unit, MOST_PAYLOAD) {
                assert!(payload.len() <= MOST_PAYLOAD);
                depacketiser
                    .push(&payload)
                    .expect("what we send is well formed");
            }
            let back = depacketiser.finish().expect("complete");
            assert!(back.keyframe);
            assert_eq!(back.data, unit);
        }
    }

    #[test]
    fn bytes_that_are_no_access_unit_make_no_packets() {
        for bytes in [
            &[][..],
            &[0, 0],
            &[1, 2, 3, 4],
            &[0, 0, 1],
            &[0, 0, 1, 0, 0, 1],
        ] {
            assert_eq!(
                packetise(&Bytes::copy_from_slice(bytes), 100),
                Vec::<Bytes>::new()
            );
        }
    }
}
