//! Our congestion control behind webrtc-rs's seam for one.

use std::{sync::Arc, time::Instant};

use nonstop_rate::{Controller, DataSize, Limits, PacketResult};
use rtc::interceptor::{BandwidthEstimator, PacketReport};

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
            .filter(|report| !report.arrived || report.arrival.is_some())
            .map(|report| PacketResult {
                departure: report.departure,
                arrival: report.arrival,
                size: DataSize::from_bytes(report.size as u64 + OVERHEAD),
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
            self.controller.handle_timeout(now, sending);
            self.publish();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.controller.poll_timeout()
    }
}
