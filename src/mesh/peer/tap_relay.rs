//! Hands what comes from the relay to its connection's task: the last interceptor, as `tap.rs` is on
//! a link.
//!
//! Nothing here knows which streams there are: the server tells that over its own way, before or
//! after the packets. So every packet is passed on with its SSRC and payload type, and whoever takes
//! it in drops what it does not know.

use std::{collections::VecDeque, time::Instant};

use rtc::{
    interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket},
    rtcp::{
        self,
        goodbye::Goodbye,
        payload_feedbacks::{
            full_intra_request::FullIntraRequest, picture_loss_indication::PictureLossIndication,
        },
        sender_report::SenderReport,
    },
    sansio::Protocol,
    shared::error::Error,
};
use tokio::sync::mpsc;

use super::{RtpIn, codecs};

/// Something that came from the relay.
#[derive(Debug)]
pub(crate) enum FromRelay {
    /// A packet of a stream.
    Rtp(RtpIn),
    /// The relay needs a keyframe of the stream of ours with this SSRC.
    KeyframeRequest(u32),
    /// How a participant's time stamps and clock belong together.
    SenderReport {
        /// The SSRC of the stream.
        ssrc: u32,
        /// The participant's clock (NTP format, RFC 3550 section 4).
        ntp: u64,
        /// The time stamp at that moment.
        timestamp: u32,
        /// When the report arrived.
        arrived: Instant,
    },
    /// The relay ends the connection on purpose.
    Goodbye,
    /// Anything else: the relay lives.
    Alive(Instant),
}

/// The interceptor.
pub(super) struct RelayTap {
    /// When it is full, media is lost like on the network, and reports too.
    received: mpsc::Sender<FromRelay>,
    /// The number of the extension by which sound tells the newest picture, in both directions.
    newest_picture: Option<u8>,
    writes: VecDeque<TaggedPacket>,
}

impl RelayTap {
    pub(super) fn new(received: mpsc::Sender<FromRelay>) -> Self {
        Self {
            received,
            newest_picture: None,
            writes: VecDeque::new(),
        }
    }

    fn pass(&self, received: FromRelay) {
        if self.received.try_send(received).is_err() {
            tracing::debug!("the connection to the relay does not keep up: a packet is lost");
        }
    }

    fn rtcp(&self, packet: &dyn rtcp::Packet, arrived: Instant) {
        let packet = packet.as_any();
        if let Some(report) = packet.downcast_ref::<SenderReport>() {
            self.pass(FromRelay::SenderReport {
                ssrc: report.ssrc,
                ntp: report.ntp_time,
                timestamp: report.rtp_time,
                arrived,
            });
        } else if let Some(request) = packet.downcast_ref::<PictureLossIndication>() {
            self.pass(FromRelay::KeyframeRequest(request.media_ssrc));
        } else if let Some(request) = packet.downcast_ref::<FullIntraRequest>() {
            for entry in &request.fir {
                self.pass(FromRelay::KeyframeRequest(entry.ssrc));
            }
        } else if packet.is::<Goodbye>() {
            self.pass(FromRelay::Goodbye);
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for RelayTap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        let arrived = message.now;
        match message.message.packet {
            Packet::Rtp(packet) => {
                let id = self.newest_picture;
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
                self.pass(FromRelay::Rtp(packet));
            }
            Packet::Rtcp(packets) => {
                self.pass(FromRelay::Alive(arrived));
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

impl Interceptor for RelayTap {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        // Only sound has it.
        let number = codecs::number_of(info, codecs::NEWEST_PICTURE_URI);
        self.newest_picture = self.newest_picture.or(number);
    }

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
