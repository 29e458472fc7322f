//! What is known of a packet, and to whom it goes.

use crate::{FrameMarking, Member};

/// A packet of pictures that came in: its headers, never its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PicturePacket {
    /// The RTP sequence number, extended over its wraps (RFC 3550 appendix A.1).
    pub sequence: u64,
    /// The RTP timestamp; the same on all packets of a picture, and on all layers of it.
    pub timestamp: u32,
    /// The RTP marker: the last packet of a picture.
    pub marker: bool,
    /// Bytes of the whole RTP packet.
    pub size: usize,
    /// The frame marking (RFC 9626), if the packet has one.
    pub marking: Option<FrameMarking>,
}

/// A packet of sound that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoundPacket {
    /// The RTP sequence number, extended over its wraps.
    pub sequence: u64,
    /// The RTP timestamp.
    pub timestamp: u32,
    /// The RTP marker: the first packet of a talk spurt (RFC 3551 section 4.1).
    pub marker: bool,
    /// Bytes of the whole RTP packet.
    pub size: usize,
    /// The audio level (RFC 6464): 0 to 127, -dBov; 0 is the loudest, 127 silence.
    pub level: Option<u8>,
    /// Whether the level's sender hears a voice (RFC 6464, V).
    pub voice: bool,
}

/// One receiver of a packet. The timestamp, the payload and the header extensions stay as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Who gets it.
    pub to: Member,
    /// Its RTP sequence number on the way there, extended; without gaps but for what was lost.
    pub sequence: u64,
    /// Its RTP marker.
    pub marker: bool,
    /// Whether a receiver begins anew here: the first packet of the stream, of another layer, or after
    /// something was withheld.
    pub restart: bool,
}
