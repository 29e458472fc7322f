//! What a stream to a relay is made of (RFC 8656, sections 3.6 and 12): STUN messages and
//! ChannelData, each with its length, ChannelData padded to four bytes.

use std::net::SocketAddr;

use stun_types::message::{
    Message, MessageClass, MessageType, MessageWrite, MessageWriteExt, MessageWriteVec,
    TransactionId,
};
use turn_types::{
    attribute::{Data, XorPeerAddress},
    message::SEND,
};

/// What stands before the attributes of a STUN message, in bytes.
const STUN_HEADER: usize = 20;
/// What stands before ChannelData, in bytes.
const CHANNEL_HEADER: usize = 4;

/// Writes `packet` as ChannelData. Padding is for streams only.
pub(super) fn write_channel(number: u16, packet: &[u8], padded: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&(packet.len() as u16).to_be_bytes());
    out.extend_from_slice(packet);
    if padded {
        out.resize(out.len().next_multiple_of(4), 0);
    }
}

/// Writes `packet` as a Send indication (RFC 8656, section 10.1).
pub(super) fn write_indication(to: SocketAddr, packet: &[u8], random: u128, out: &mut Vec<u8>) {
    let transaction = TransactionId::from(random);
    let kind = MessageType::from_class_method(MessageClass::Indication, SEND);
    let room = MessageWriteVec::with_capacity(packet.len() + 64);
    let mut message = Message::builder(kind, transaction, room);
    let peer = XorPeerAddress::new(to, transaction);
    let data = Data::new(packet);
    let fits = "whoever sends keeps packets below 64 kB";
    message.add_attribute(&peer).expect(fits);
    message.add_attribute(&data).expect(fits);
    out.extend_from_slice(&message.finish());
}

/// What comes on a stream that no relay would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither STUN nor ChannelData")]
pub(super) struct NoFrame;

/// Cuts a stream into frames. It keeps at most one frame and what was read with it.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    taken: usize,
}

impl Frames {
    /// Takes in what was read.
    pub(super) fn fill(&mut self, read: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(read);
    }

    /// Returns the next whole frame, without its padding.
    ///
    /// # Errors
    /// What is there is no frame; nothing that follows can be.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, NoFrame> {
        let rest = &self.buffer[self.taken..];
        let Some((&[first, _, high, low], _)) = rest.split_first_chunk() else {
            let plausible = matches!(rest.first(), None | Some(0x00..=0x03 | 0x40..=0x4f));
            return if plausible { Ok(None) } else { Err(NoFrame) };
        };
        // What a web server says to us would else be a very long packet from channel 0x4854.
        if rest.starts_with(b"HTTP") {
            return Err(NoFrame);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (frame, padded) = match first {
            0x00..=0x03 if length % 4 == 0 => (STUN_HEADER + length, STUN_HEADER + length),
            0x40..=0x4f => {
                let frame = CHANNEL_HEADER + length;
                (frame, frame.next_multiple_of(4))
            }
            _ => return Err(NoFrame),
        };
        if rest.len() < padded {
            return Ok(None);
        }
        let at = self.taken;
        self.taken += padded;
        Ok(Some(&self.buffer[at..at + frame]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(number: u16, packet: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_channel(number, packet, true, &mut out);
        out
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_frames() {
        let mut indication = Vec::new();
        write_indication("192.0.2.1:9".parse().unwrap(), b"check", 7, &mut indication);
        let whole = [
            channel(0x4000, b"a"),
            indication.clone(),
            channel(0x4001, b""),
            channel(0x4fff, &[7; 1203]),
        ]
        .concat();
        for cut in [1, 2, 3, 5, 64, whole.len()] {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for read in whole.chunks(cut) {
                frames.fill(read);
                while let Some(frame) = frames.next().unwrap() {
                    seen.push(frame.to_vec());
                }
            }
            assert_eq!(seen.len(), 4, "{cut}");
            assert_eq!(seen[0], [0x40, 0, 0, 1, b'a']);
            assert_eq!(seen[1], indication);
            assert_eq!(seen[3].len(), 1207);
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_at_once() {
        for read in [
            b"HTTP/1.1 400 Bad Request\r\n".as_slice(),
            b"\x16\x03\x01",
            b"\x00\x01\x00\x03....",
            b"\x80\x00\x00\x00",
        ] {
            let mut frames = Frames::default();
            frames.fill(read);
            assert_eq!(frames.next(), Err(NoFrame), "{read:?}");
        }
    }

    #[test]
    fn datagrams_carry_no_padding() {
        let mut out = Vec::new();
        write_channel(0x4000, b"abc", false, &mut out);
        assert_eq!(out, b"\x40\x00\x00\x03abc");
    }
}
