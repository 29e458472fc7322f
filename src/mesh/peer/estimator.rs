//! Our congestion control behind webrtc-rs's seam for one.
//!
//! ```text
//! feedback ─▶ Coverage: notes what it covers ─▶ webrtc-rs's history ─▶ Estimator ─▶ Controller
//! ```
//! webrtc-rs reports every packet before the newest acknowledged one, and one that no feedback
//! spoke of as lost. A feedback message that is lost would look like a burst of lost packets;
//! hence [`Coverage`].

use std::{collections::VecDeque, sync::Arc, time::Instant};

use nonstop_rate::{Controller, DataSize, Limits, PacketResult};
use rtc::{
    interceptor::{
        BandwidthEstimator, Interceptor, Packet, PacketReport, StreamInfo, TaggedPacket,
    },
    rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc,
    sansio::Protocol,
    shared::error::Error,
};

use super::flow::Flow;

/// What a packet costs beyond its RTP bytes: IPv4 20, UDP 8, SRTP authentication tag 10.
const OVERHEAD: u64 = 38;

/// Feeds [`Controller`] with what the receiver reported, and publishes what it says.
pub(super) struct Estimator {
    controller: Controller,
    flow: Arc<Flow>,
    path_changes: u64,
    /// How many packets had left when feedback last came, or time last passed.
    sent: u64,
}

impl Estimator {
    pub(super) fn new(limits: Limits, flow: Arc<Flow>) -> Self {
        let estimator = Self {
            controller: Controller::new(limits),
            path_changes: flow.path_changes(),
            sent: flow.sent(),
            flow,
        };
        estimator.publish();
        estimator
    }

    fn publish(&self) {
        self.flow.set_estimate(self.controller.estimate());
        self.flow.set_queue_delay(self.controller.queue_delay());
        self.flow.set_loss(self.controller.loss());
    }
}

impl BandwidthEstimator for Estimator {
    fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        let path_changes = self.flow.path_changes();
        if path_changes != self.path_changes {
            self.path_changes = path_changes;
            self.controller.path_changed();
        }
        let results: Vec<PacketResult> = reports
            .iter()
            .filter(|report| match report.arrived {
                true => report.arrival.is_some(),
                false => self.flow.covers(report.twcc_sequence_number),
            })
            .map(|report| PacketResult {
                departure: report.departure,
                arrival: report.arrival,
                size: DataSize::from_bytes(report.size as u64 + OVERHEAD),
                probe: None,
            })
            .collect();
        self.controller.handle_feedback(now, &results);
        self.sent = self.flow.sent();
        self.publish();
    }

    fn target_bitrate(&self) -> f64 {
        self.controller.estimate().as_f64()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.controller.poll_timeout().is_some_and(|due| due <= now) {
            let sent = self.flow.sent();
            let sending = std::mem::replace(&mut self.sent, sent) != sent;
            if sending {
                self.controller.handle_sent(now, DataSize::ZERO, None);
            }
            self.controller.handle_timeout(now);
            self.publish();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.controller.poll_timeout()
    }
}

/// Notes which packets a feedback message speaks of. Stands between the wire and the history.
pub(super) struct Coverage {
    flow: Arc<Flow>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Coverage {
    pub(super) fn new(flow: Arc<Flow>) -> Self {
        Self {
            flow,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Coverage {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            let mut covered: Option<(u16, u16)> = None;
            for packet in packets {
                if let Some(feedback) = packet.as_any().downcast_ref::<TransportLayerCc>() {
                    // Several in one message follow each other.
                    let first = covered.map_or(feedback.base_sequence_number, |(first, _)| first);
                    let end =
                        (feedback.base_sequence_number).wrapping_add(feedback.packet_status_count);
                    covered = Some((first, end.wrapping_sub(first)));
                }
            }
            if let Some((first, many)) = covered {
                self.flow.set_covered(first, many);
            }
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
}

impl Interceptor for Coverage {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
