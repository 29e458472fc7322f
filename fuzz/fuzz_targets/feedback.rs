//! Any RTCP message as transport-wide feedback: no panic, no growth, and what we write ourselves is
//! read as it was written.
#![no_main]

extern crate self as rtc;
pub use rtc_rtcp as rtcp;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nonstop_rate::ArrivalReport;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc_shared::marshal::{Marshal, Unmarshal};

#[path = "../../src/mesh/peer/feedback.rs"]
mod feedback;

fuzz_target!(|data: &[u8]| {
    let mut reader = feedback::Reader::default();
    let mut rest = data;
    while let Some((&length, after)) = rest.split_first() {
        let (mut message, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        // The length in the header would overflow in the library's arithmetic.
        if message.len() >= 4 && message[2..4] == [0xff, 0xff] {
            continue;
        }
        if let Ok(message) = TransportLayerCc::unmarshal(&mut message) {
            let statuses = reader.read(&message);
            assert!(statuses.len() <= usize::from(message.packet_status_count));
        }
    }
    let Some((first, arrivals)) = data.split_first_chunk() else {
        return;
    };
    let mut at = 0;
    // Two that arrived are at most 64 ms apart: what is 8 s apart cannot be told.
    let arrivals = arrivals.iter().take(400).map(|byte| {
        (byte % 4 != 0).then(|| {
            at += u64::from(*byte) * 250;
            Duration::from_micros(at)
        })
    });
    let report = ArrivalReport {
        first: u16::from_be_bytes(*first),
        arrivals: arrivals.collect(),
    };
    if report.arrivals.iter().all(Option::is_none) {
        return;
    }
    let bytes = feedback::write(&report, 0)
        .marshal()
        .expect("ours can be written");
    let back = TransportLayerCc::unmarshal(&mut bytes.clone()).expect("ours can be read");
    let read = feedback::Reader::default().read(&back);
    assert_eq!(read.len(), report.arrivals.len());
    let origin = Duration::from_millis(64 << 24);
    for ((_, read), sent) in read.into_iter().zip(report.arrivals) {
        assert_eq!(read.map(|read| read - origin), sent);
    }
});
