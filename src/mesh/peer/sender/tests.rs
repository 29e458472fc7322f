//! What leaves, packet by packet, without a network.

use std::time::Duration;

use bytes::Bytes;
use nonstop_rate::{ArrivalReport, MOST_WAIT, Probe};
use rtc::{
    interceptor::{RTCPFeedback, RTPHeaderExtension},
    rtcp::transport_feedbacks::transport_layer_nack::nack_pairs_from_sequence_numbers,
    sdp::extmap::TRANSPORT_CC_URI,
};

use super::*;
use crate::{clock, mesh::peer::feedback};

const VIDEO: u32 = 11;
const LARGER: u32 = 12;
const SOUND: u32 = 22;
const NUMBER: u8 = 3;
const NEWEST_PICTURE: u8 = 5;
const KEYFRAME: &[u8] = &[0x67; 1_000];
const DELTA: &[u8] = &[0x41; 1_000];

struct Scene {
    sender: Sender,
    flow: Arc<Flow>,
    now: Instant,
}

/// What a packet that left looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Left {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Its transport-wide number.
    number: u16,
    /// What it says of each layer.
    newest_pictures: Vec<u16>,
    payload: usize,
    padding: bool,
}

impl Scene {
    fn new(start: Bitrate) -> Self {
        let flow = Arc::new(Flow::default());
        let limits = Limits {
            start,
            ..Limits::default()
        };
        // No more is wanted: there is nothing to probe for.
        flow.set_wanted(start);
        let mut sender = Sender::new(limits, Arc::clone(&flow), vec![VIDEO, LARGER]);
        for (ssrc, mime) in [
            (VIDEO, codecs::H264),
            (LARGER, codecs::H264),
            (SOUND, codecs::OPUS),
        ] {
            sender.bind_local_stream(&StreamInfo {
                ssrc,
                mime_type: mime.to_owned(),
                rtp_header_extensions: [
                    (TRANSPORT_CC_URI, NUMBER),
                    (codecs::NEWEST_PICTURE_URI, NEWEST_PICTURE),
                ]
                .into_iter()
                .take(if ssrc == SOUND { 2 } else { 1 })
                .map(|(uri, id)| RTPHeaderExtension {
                    uri: uri.to_owned(),
                    id: id.into(),
                })
                .collect(),
                rtcp_feedback: vec![RTCPFeedback::default()],
                ..StreamInfo::default()
            });
        }
        Self {
            sender,
            flow,
            now: clock::now(),
        }
    }

    fn tagged(&self, packet: Packet) -> TaggedPacket {
        TaggedPacket {
            now: self.now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(packet),
        }
    }

    fn send(&mut self, ssrc: u32, timestamp: u32, payload: &'static [u8]) {
        let packet = rtp::Packet {
            header: Header {
                version: 2,
                payload_type: 102,
                timestamp,
                ssrc,
                // What the link counts, dropped pictures and all.
                sequence_number: 500 + timestamp as u16,
                ..Header::default()
            },
            payload: Bytes::from_static(payload),
        };
        let packet = self.tagged(Packet::Rtp(packet));
        self.sender.handle_write(packet).expect("it never fails");
    }

    fn hear(&mut self, packet: impl rtcp::Packet + 'static) {
        let packet = self.tagged(Packet::Rtcp(vec![Box::new(packet)]));
        self.sender.handle_read(packet).expect("it never fails");
        assert!(self.sender.poll_read().is_some(), "others read it, too");
    }

    fn left(&mut self) -> Vec<Left> {
        let left = std::iter::from_fn(|| self.sender.poll_write());
        left.map(|left| {
            assert_eq!(left.now, self.now, "stamped as it leaves");
            let Packet::Rtp(rtp) = left.message.packet else {
                panic!("only media was sent");
            };
            let extension = |id| {
                let value = rtp.header.get_extension(id).unwrap_or_default();
                let numbers = value.chunks_exact(2);
                let numbers = numbers.map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
                numbers.collect::<Vec<_>>()
            };
            Left {
                ssrc: rtp.header.ssrc,
                sequence: rtp.header.sequence_number,
                timestamp: rtp.header.timestamp,
                number: extension(NUMBER)[0],
                newest_pictures: extension(NEWEST_PICTURE),
                payload: rtp.payload.len(),
                padding: rtp.header.padding,
            }
        })
        .collect()
    }

    fn run(&mut self, time: Duration) -> Vec<Left> {
        let end = self.now + time;
        let mut left = self.left();
        while self.now < end {
            self.now += Duration::from_millis(1);
            self.sender
                .handle_timeout(self.now)
                .expect("it never fails");
            left.extend(self.left());
        }
        left
    }
}

#[test]
fn numbers_have_no_holes_where_pictures_are_dropped() {
    let mut scene = Scene::new(Bitrate::from_kbps(80));
    let mut left = Vec::new();
    scene.send(SOUND, 0, &[1; 80]);
    scene.send(VIDEO, 0, KEYFRAME);
    for timestamp in 1..40 {
        scene.send(VIDEO, timestamp, DELTA);
        scene.send(SOUND, timestamp, &[1; 80]);
        left.extend(scene.left());
        left.extend(scene.run(Duration::from_millis(10)));
    }
    assert!(scene.flow.needs_keyframe());
    assert!(scene.flow.dropped() > 0);
    left.extend(scene.run(MOST_WAIT));
    assert_eq!(scene.flow.waiting(), DataSize::ZERO);
    assert!(!scene.flow.has_room(), "nothing is known to have arrived");
    let report = ArrivalReport {
        first: 0,
        arrivals: vec![Some(Duration::ZERO); left.len()],
    };
    scene.hear(feedback::write(&report, 0));
    assert!(scene.flow.has_room());
    scene.send(VIDEO, 40, KEYFRAME);
    assert!(!scene.flow.needs_keyframe());
    left.extend(scene.run(MOST_WAIT));
    let pictures: Vec<_> = left.iter().filter(|left| left.ssrc == VIDEO).collect();
    for (index, picture) in pictures.iter().enumerate() {
        assert_eq!(picture.sequence, 500 + index as u16);
    }
    assert_eq!(pictures.last().map(|last| last.timestamp), Some(40));
    assert!(pictures.len() < 40);
    for (index, packet) in left.iter().enumerate() {
        assert_eq!(packet.number, index as u16);
    }
    // Sound left at once, each with its own number of its own stream.
    let sound = left.iter().filter(|left| left.ssrc == SOUND);
    assert!(sound.map(|sound| u32::from(sound.sequence)).eq(500..540));
    // It tells which picture left last.
    let mut newest = Vec::new();
    for packet in &left {
        match packet.ssrc {
            SOUND => assert_eq!(packet.newest_pictures, newest),
            _ => newest = vec![packet.sequence],
        }
    }
}

#[test]
fn padding_takes_its_place_in_the_stream_and_is_small_when_asked_for_again() {
    let mut scene = Scene::new(Bitrate::from_kbps(1_000));
    let probe = Probe {
        id: ProbeId(1),
        rate: Bitrate::from_kbps(2_000),
        size: DataSize::from_bytes(4_000),
        packets: 5,
    };
    // Nothing was sent: there is nothing that padding could belong to.
    scene.sender.pacer.start_probe(probe);
    assert_eq!(scene.run(Duration::from_millis(40)), []);

    scene.send(VIDEO, 7, KEYFRAME);
    assert_eq!(scene.left().len(), 1);
    scene.sender.pacer.start_probe(probe);
    let left = scene.run(Duration::from_millis(60));
    assert!(left.len() >= 5, "{left:?}");
    for (index, padding) in left.iter().enumerate() {
        assert!(padding.padding && padding.payload == 0);
        assert_eq!((padding.ssrc, padding.timestamp), (VIDEO, 7));
        assert_eq!(padding.sequence, 508 + index as u16);
        assert_eq!(padding.number, 1 + index as u16);
    }
    scene.send(VIDEO, 8, DELTA);
    let after = 508 + left.len() as u16;
    assert_eq!(scene.run(Duration::from_millis(20))[0].sequence, after);

    let nacks = nack_pairs_from_sequence_numbers(&[507, 508]);
    scene.hear(TransportLayerNack {
        sender_ssrc: 1,
        media_ssrc: VIDEO,
        nacks,
    });
    let again = scene.run(Duration::from_millis(20));
    // Each three times, in case something of it is lost again.
    let expected = [[(507, 1_000, false); 3], [(508, 0, true); 3]].concat();
    let again: Vec<_> = (again.iter())
        .map(|left| (left.sequence, left.payload, left.padding))
        .collect();
    assert_eq!(again, expected);
    assert!((3_000..3_600).contains(&scene.flow.retransmitted()));
}

#[test]
fn each_layer_has_its_own_numbers_and_is_sent_again_from_its_own_packets() {
    let mut scene = Scene::new(Bitrate::from_kbps(2_000));
    for timestamp in 0..3 {
        scene.send(
            VIDEO,
            timestamp,
            if timestamp == 0 { KEYFRAME } else { DELTA },
        );
        scene.send(
            LARGER,
            timestamp,
            if timestamp == 0 { KEYFRAME } else { DELTA },
        );
    }
    let left = scene.run(Duration::from_millis(100));
    for ssrc in [VIDEO, LARGER] {
        let numbers = left
            .iter()
            .filter(|it| it.ssrc == ssrc)
            .map(|it| it.sequence);
        assert_eq!(numbers.collect::<Vec<_>>(), [500, 501, 502]);
    }
    scene.send(VIDEO, 3, DELTA);
    scene.send(SOUND, 0, &[1; 80]);
    let left = scene.run(Duration::from_millis(20));
    let sound = left.iter().find(|left| left.ssrc == SOUND);
    assert_eq!(sound.expect("it left").newest_pictures, [503, 502]);
    scene.hear(TransportLayerNack {
        sender_ssrc: 1,
        media_ssrc: LARGER,
        nacks: nack_pairs_from_sequence_numbers(&[501]),
    });
    let again = scene.run(Duration::from_millis(50));
    let again: Vec<_> = again.iter().map(|it| (it.ssrc, it.sequence)).collect();
    assert_eq!(again, [(LARGER, 501); 3]);
}

#[test]
fn a_layer_that_is_dropped_asks_for_its_own_keyframe() {
    let mut scene = Scene::new(Bitrate::from_kbps(80));
    scene.send(VIDEO, 0, KEYFRAME);
    for timestamp in 0..40 {
        scene.send(LARGER, timestamp, DELTA);
    }
    scene.run(Duration::from_millis(400));
    assert!(scene.flow.layer_needs_keyframe(1));
    assert!(!scene.flow.layer_needs_keyframe(0) && !scene.flow.needs_keyframe());
    assert!(!scene.flow.layer_needs_keyframe(7));
}

#[test]
fn a_packet_is_sent_again_under_new_numbers_and_once_for_a_row_of_requests() {
    let mut scene = Scene::new(Bitrate::from_kbps(1_000));
    for timestamp in 0..4 {
        scene.send(VIDEO, timestamp, KEYFRAME);
    }
    let mut left = scene.left();
    left.extend(scene.run(Duration::from_millis(30)));
    assert_eq!(left.len(), 4);
    let nack = TransportLayerNack {
        sender_ssrc: 1,
        media_ssrc: VIDEO,
        nacks: nack_pairs_from_sequence_numbers(&[501, 503, 9_999]),
    };
    scene.hear(nack.clone());
    scene.hear(nack.clone());
    let again = scene.run(Duration::from_millis(30));
    let numbers: Vec<_> = (again.iter())
        .map(|left| (left.sequence, left.number))
        .collect();
    // Copies are alike: what the receiver takes out is not lost.
    assert_eq!(numbers, [[(501, 4); 3], [(503, 5); 3]].concat());
    scene.run(Duration::from_millis(60));
    scene.hear(nack);
    assert_eq!(scene.run(Duration::from_millis(30)).len(), 6);
}

#[test]
fn feedback_reaches_the_controller_and_lost_feedback_is_no_loss() {
    let mut scene = Scene::new(Bitrate::from_kbps(1_000));
    let mut next = 0;
    for step in 0..200_u32 {
        scene.send(VIDEO, step, KEYFRAME);
        let arrival = Some(Duration::from_millis(u64::from(step) * 10));
        let left = scene.left().len() + scene.run(Duration::from_millis(10)).len();
        let report = ArrivalReport {
            first: next,
            arrivals: vec![arrival; left],
        };
        next += left as u16;
        // Every third message is lost.
        if left > 0 && step % 3 != 0 {
            scene.hear(feedback::write(&report, 0));
        }
    }
    assert_eq!(scene.flow.loss(), Some(0.0));
    assert!(scene.flow.feedback() > 100);
    assert!(
        scene.flow.estimate() >= Bitrate::from_kbps(1_000),
        "{}",
        scene.flow.estimate()
    );
}

#[test]
fn a_share_bounds_the_target_and_not_the_estimate() {
    let scene = Scene::new(Bitrate::from_kbps(1_000));
    let estimate = scene.flow.estimate();
    assert_eq!(scene.flow.target(), estimate);
    scene.flow.set_wanted(Bitrate::from_kbps(2_500));
    scene.flow.set_share(Some(Bitrate::from_kbps(300)));
    assert_eq!(scene.flow.target(), Bitrate::from_kbps(300));
    assert_eq!(scene.flow.wanted(), Some(Bitrate::from_kbps(300)));
    scene.flow.set_share(None);
    assert_eq!(scene.flow.target(), estimate);
    assert_eq!(scene.flow.wanted(), Some(Bitrate::from_kbps(2_500)));
}
