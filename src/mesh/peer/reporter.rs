//! Tells the other side which of its packets arrived, and when: the receiving half of rate control.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use nonstop_rate::{Arrivals, DataSize};
use rtc::{
    interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket},
    rtp,
    sansio::Protocol,
    shared::{TransportContext, error::Error, marshal::MarshalSize},
};

use super::{Flow, OVERHEAD, codecs, feedback};

/// The interceptor around [`Arrivals`].
pub(super) struct Reporter {
    arrivals: Arrivals,
    flow: Arc<Flow>,
    /// The number of the extension that carries transport-wide numbers, by stream.
    extensions: HashMap<u32, u8>,
    /// That number for streams that no description named, where there may be some.
    any: Option<u8>,
    undeclared: bool,
    /// Ourselves, as far as streams are sent.
    ssrc: u32,
    /// The stream that came last.
    media_ssrc: u32,
    count: u8,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Reporter {
    /// Makes a reporter; with `undeclared` it reports on streams that no description named, too.
    pub(super) fn new(undeclared: bool, flow: Arc<Flow>) -> Self {
        Self {
            arrivals: Arrivals::new(),
            flow,
            extensions: HashMap::new(),
            any: None,
            undeclared,
            ssrc: 1,
            media_ssrc: 0,
            count: 0,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    fn handle_rtp(&mut self, now: Instant, packet: &rtp::Packet) {
        let number = (self.extensions.get(&packet.header.ssrc).copied())
            .or(self.any)
            .and_then(|id| packet.header.get_extension(id));
        if let Some([high, low]) = number.as_deref() {
            self.media_ssrc = packet.header.ssrc;
            let size = DataSize::from_bytes(packet.marshal_size() as u64) + OVERHEAD;
            let number = u16::from_be_bytes([*high, *low]);
            self.arrivals.handle_packet(now, number, size);
        }
    }

    fn report(&mut self, now: Instant) {
        while let Some(report) = self.arrivals.poll(now) {
            let mut feedback = feedback::write(&report, self.count);
            feedback.sender_ssrc = self.ssrc;
            feedback.media_ssrc = self.media_ssrc;
            self.count = self.count.wrapping_add(1);
            self.flow.set_loss_received(self.arrivals.loss());
            self.writes.push_back(TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: AttributedPacket::new(Packet::Rtcp(vec![Box::new(feedback)])),
            });
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Reporter {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &message.message.packet {
            self.handle_rtp(message.now, packet);
            self.report(message.now);
        }
        self.reads.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.report(now);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.arrivals.poll_timeout()
    }
}

impl Interceptor for Reporter {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.ssrc = info.ssrc;
        self.any = codecs::transport_wide_extension(info).filter(|_| self.undeclared);
    }

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        if let Some(id) = codecs::transport_wide_extension(info) {
            self.extensions.insert(info.ssrc, id);
        }
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.extensions.remove(&info.ssrc);
    }
}
