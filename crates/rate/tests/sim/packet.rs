//! What travels in the simulated network.

use std::time::Duration;

/// What each media packet costs besides its payload: IPv4 20, UDP 8, RTP 12, header extensions 8,
/// SRTP authentication tag 10.
pub(crate) const OVERHEAD: usize = 58;
/// The largest payload of a video packet.
pub(crate) const PAYLOAD: usize = 1_100;

/// Names a flow: its place in the world.
pub(crate) type FlowId = usize;

/// One packet with its place on the way.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) flow: FlowId,
    /// From the flow's sender to its receiver, or back.
    pub(crate) forward: bool,
    /// How many links it has passed.
    pub(crate) hop: usize,
    pub(crate) bytes: usize,
    pub(crate) body: Body,
}

/// What a packet carries.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// Media with its transport-wide number.
    Media { number: u64, media: Media },
    /// What arrived: each packet from `first` on, and when.
    Feedback {
        first: u64,
        arrivals: Vec<Option<Duration>>,
    },
    /// Video packets to send again.
    Nack(Vec<u64>),
    /// A picture that needs no other.
    KeyframeRequest,
    /// A segment of TCP.
    Segment { number: u64, sent: Duration },
    /// What TCP acknowledges: all before `next`, and one.
    Ack { next: u64, one: u64, sent: Duration },
}

/// What a media packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Audio { number: u64 },
    Video(Fragment),
    Padding,
}

/// A part of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// The RTP sequence number.
    pub(crate) number: u64,
    pub(crate) frame: u64,
    /// The RTP sequence number of the frame's first packet, and how many it has.
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) keyframe: bool,
    pub(crate) bytes: usize,
}

/// What a link's log says about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) flow: FlowId,
    pub(crate) kind: Kind,
}

/// What a packet is to the link's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Audio,
    Video,
    Padding,
    Control,
    Tcp,
}

impl Packet {
    pub(crate) fn tag(&self) -> Tag {
        let kind = match &self.body {
            Body::Media { media, .. } => match media {
                Media::Audio { .. } => Kind::Audio,
                Media::Video(_) => Kind::Video,
                Media::Padding => Kind::Padding,
            },
            Body::Feedback { .. } | Body::Nack(_) | Body::KeyframeRequest => Kind::Control,
            Body::Segment { .. } | Body::Ack { .. } => Kind::Tcp,
        };
        Tag {
            flow: self.flow,
            kind,
        }
    }
}
