//! Hands what arrives to the link: the last interceptor, closest to the application.
//!
//! Packets leave webrtc-rs here, decrypted and with the instant of their arrival, and do not
//! pass through its track queues. Of RTCP, only what the link acts on is passed on; the rest
//! is a sign of life.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use rtc::{
    interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket},
    rtcp::{
        self,
        goodbye::Goodbye,
        payload_feedbacks::{
            full_intra_request::FullIntraRequest, picture_loss_indication::PictureLossIndication,
        },
        receiver_report::ReceiverReport,
        reception_report::ReceptionReport,
        sender_report::SenderReport,
    },
    sansio::Protocol,
    shared::error::Error,
};
use tokio::sync::mpsc;

use super::codecs::{self, H264, OPUS, REDUNDANT};

/// Pictures or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// H.264.
    Video,
    /// Opus.
    Audio,
}

/// One RTP packet that arrived.
#[derive(Debug, Clone)]
pub(crate) struct RtpIn {
    /// Payload type.
    pub(crate) payload_type: u8,
    /// Sequence number.
    pub(crate) sequence: u16,
    /// Time stamp, in the clock of its kind (90 kHz or 48 kHz).
    pub(crate) timestamp: u32,
    /// Whether it ends a picture.
    pub(crate) marker: bool,
    /// The stream it belongs to.
    pub(crate) ssrc: u32,
    /// What it carries.
    pub(crate) payload: Bytes,
    /// When it arrived.
    pub(crate) arrived: Instant,
    /// The number of the last packet of pictures that left before it, where it tells.
    pub(crate) newest_picture: Option<u16>,
}

/// Something that arrived from the other side.
#[derive(Debug)]
pub(crate) enum Received {
    /// Media.
    Rtp(Kind, RtpIn),
    /// The other side needs a keyframe.
    KeyframeRequest,
    /// How the other side's time stamps and its clock belong together.
    SenderReport {
        /// Of which stream.
        kind: Kind,
        /// Its clock (NTP format, RFC 3550 section 4).
        ntp: u64,
        /// The time stamp at that moment.
        timestamp: u32,
        /// When the report arrived.
        arrived: Instant,
    },
    /// How one of our streams arrives over there.
    ReceptionReport {
        /// The middle of the NTP time of our last report that arrived there; zero if none did.
        last_sender_report: u32,
        /// How long after it this report left, in 1/65536 s.
        delay: u32,
        /// When this report arrived.
        arrived: Instant,
    },
    /// The other side ends the connection on purpose.
    Goodbye,
    /// Anything else: the other side lives.
    Alive(Instant),
}

/// The interceptor.
pub(super) struct Tap {
    /// When it is full, media is lost like on the network, and reports too.
    received: mpsc::Sender<Received>,
    /// The streams that come in, and the extension that tells the newest picture.
    remote: HashMap<u32, (Kind, Option<u8>)>,
    local_video: Option<u32>,
    writes: VecDeque<TaggedPacket>,
}

impl Tap {
    pub(super) fn new(received: mpsc::Sender<Received>) -> Self {
        Self {
            received,
            remote: HashMap::new(),
            local_video: None,
            writes: VecDeque::new(),
        }
    }

    fn pass(&self, received: Received) {
        if self.received.try_send(received).is_err() {
            tracing::debug!("the link does not keep up: a packet is lost");
        }
    }

    fn reception(&self, reports: &[ReceptionReport], arrived: Instant) {
        for report in reports {
            if Some(report.ssrc) == self.local_video || self.local_video.is_none() {
                self.pass(Received::ReceptionReport {
                    last_sender_report: report.last_sender_report,
                    delay: report.delay,
                    arrived,
                });
            }
        }
    }

    fn rtcp(&self, packet: &dyn rtcp::Packet, arrived: Instant) {
        let packet = packet.as_any();
        if let Some(report) = packet.downcast_ref::<SenderReport>() {
            if let Some((kind, _)) = self.remote.get(&report.ssrc) {
                self.pass(Received::SenderReport {
                    kind: *kind,
                    ntp: report.ntp_time,
                    timestamp: report.rtp_time,
                    arrived,
                });
            }
            self.reception(&report.reports, arrived);
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            self.reception(&report.reports, arrived);
        } else if let Some(request) = packet.downcast_ref::<PictureLossIndication>() {
            if Some(request.media_ssrc) == self.local_video {
                self.pass(Received::KeyframeRequest);
            }
        } else if let Some(request) = packet.downcast_ref::<FullIntraRequest>()
            && (request.fir.iter()).any(|entry| Some(entry.ssrc) == self.local_video)
        {
            self.pass(Received::KeyframeRequest);
        } else if packet.is::<Goodbye>() {
            self.pass(Received::Goodbye);
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        let arrived = message.now;
        match message.message.packet {
            Packet::Rtp(packet) => {
                let Some((kind, id)) = self.remote.get(&packet.header.ssrc) else {
                    return Ok(());
                };
                let newest_picture = id.and_then(|id| codecs::number_in(&packet.header, id));
                let packet = RtpIn {
                    payload_type: packet.header.payload_type,
                    sequence: packet.header.sequence_number,
                    timestamp: packet.header.timestamp,
                    marker: packet.header.marker,
                    ssrc: packet.header.ssrc,
                    payload: packet.payload,
                    arrived,
                    newest_picture,
                };
                self.pass(Received::Rtp(*kind, packet));
            }
            Packet::Rtcp(packets) => {
                self.pass(Received::Alive(arrived));
                for packet in &packets {
                    self.rtcp(packet.as_ref(), arrived);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        None
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        if kind_of(info) == Some(Kind::Video) {
            self.local_video = Some(info.ssrc);
        }
    }

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        if let Some(kind) = kind_of(info) {
            let newest_picture = codecs::number_of(info, codecs::NEWEST_PICTURE_URI);
            self.remote.insert(info.ssrc, (kind, newest_picture));
        }
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.remote.remove(&info.ssrc);
    }
}

fn kind_of(info: &StreamInfo) -> Option<Kind> {
    if info.mime_type.eq_ignore_ascii_case(H264) {
        Some(Kind::Video)
    } else if [OPUS, REDUNDANT]
        .iter()
        .any(|it| info.mime_type.eq_ignore_ascii_case(it))
    {
        Some(Kind::Audio)
    } else {
        None
    }
}
