//! Single streams, packet by packet.

use super::*;
use crate::{FrameMarking, PicturePacket, layer::Layer};

/// One layer and one stream of it; pictures have two packets each.
struct Way {
    layer: Layer,
    stream: Stream,
    now: Instant,
}

impl Way {
    fn new() -> Self {
        Self {
            layer: Layer::default(),
            stream: Stream::new(Member(1), 0, 1),
            now: crate::testing::start(),
        }
    }

    fn aim(&mut self, upper: bool) {
        let share = Share { layer: 0, upper };
        self.stream.aim(Some(share), Meanwhile::All);
    }

    /// Takes in a packet: two are a picture, every other picture is above the base, the first is a
    /// keyframe.
    fn take(&mut self, sequence: u64) -> Option<u64> {
        let picture = sequence / 2;
        let upper = picture % 2 == 1;
        let marking = FrameMarking {
            start: sequence.is_multiple_of(2),
            end: !sequence.is_multiple_of(2),
            independent: picture == 0,
            discardable: upper,
            base_sync: upper,
            temporal: u8::from(upper),
            tl0_picture: (picture / 2) as u8,
        };
        self.pass(sequence, Some(marking))
    }

    fn pass(&mut self, sequence: u64, marking: Option<FrameMarking>) -> Option<u64> {
        let packet = PicturePacket {
            sequence,
            timestamp: (sequence / 2) as u32,
            marker: !sequence.is_multiple_of(2),
            size: 100,
            marking,
        };
        let arrival = self.layer.take(&packet, self.now)?;
        Some(self.stream.pass(0, &arrival)?.number)
    }
}

#[test]
fn the_lost_end_of_a_picture_keeps_its_number_when_such_pictures_end() {
    let mut way = Way::new();
    way.aim(true);
    assert_eq!(
        (way.take(0), way.take(1), way.take(2)),
        (Some(1), Some(2), Some(3))
    );
    way.aim(false);
    assert_eq!(
        way.take(4),
        Some(5),
        "4 is for the end of the picture before"
    );
    assert_eq!(way.take(3), Some(4));
    assert_eq!(
        (way.take(5), way.take(6), way.take(7)),
        (Some(6), None, None)
    );
    assert_eq!(way.take(8), Some(7));
}

#[test]
fn what_was_to_be_dropped_is_left_no_number_though_it_is_lost() {
    let mut way = Way::new();
    way.aim(false);
    assert_eq!((way.take(0), way.take(1)), (Some(1), Some(2)));
    assert_eq!(way.take(4), Some(3), "2 and 3 are above the base");
    assert_eq!((way.take(3), way.take(2)), (None, None));
    assert_eq!(way.take(9), Some(8), "a base picture may be among 5 to 8");
    assert_eq!((way.take(8), way.take(5)), (Some(7), Some(4)));
}

#[test]
fn a_picture_without_its_head_is_passed_on_where_it_is_not_known_what_is_missing() {
    let mut way = Way::new();
    way.aim(false);
    assert_eq!(way.take(0), Some(1));
    assert_eq!(way.take(3), Some(4), "2 may be the end of the base picture");
    assert_eq!((way.take(2), way.take(1)), (Some(3), Some(2)));
}

#[test]
fn packets_without_marking_belong_to_the_picture_of_their_time() {
    let mut way = Way::new();
    way.aim(true);
    assert_eq!(
        way.pass(100, None),
        None,
        "nothing begins without a marking"
    );
    assert_eq!(way.pass(101, None), None);
    let keyframe = FrameMarking {
        start: true,
        independent: true,
        ..FrameMarking::default()
    };
    assert_eq!(way.pass(102, Some(keyframe)), Some(1));
    assert_eq!(way.pass(103, None), Some(2));
    assert_eq!(way.pass(104, None), Some(3), "the next picture");
}

#[test]
fn who_asks_on_and_on_is_heard_rarely_and_forgiven() {
    let mut way = Way::new();
    let mut heard = Vec::new();
    for millis in (0..10_000).step_by(10) {
        let now = way.now + Duration::from_millis(millis);
        if way.stream.hear_request(now) {
            heard.push(millis);
        }
    }
    assert_eq!(heard, [0, 500, 1500, 3500, 5500, 7500, 9500]);
    let later = way.now + Duration::from_secs(30);
    assert!(way.stream.hear_request(later));
    assert!(way.stream.hear_request(later + KEYFRAME_GAP));
}
