//! What is sent, read by another implementation of SRTP.

use rtc::srtp::context::Context;

use super::{repair::AGE, *};
use crate::{clock, relay::sealing::tests::pair};

const ANN: Member = Member(1);
const BOB: Member = Member(2);
const SOUND: u32 = 11;
const PICTURES: u32 = 12;
const REPAIR: u32 = 13;
const SOUND_OF_BOB: u32 = 14;
const SAME_ROW: Duration = Duration::from_millis(40);
const LATER: Duration = Duration::from_millis(300);

fn sending(now: Instant) -> (Sending, Context) {
    let types = RelayPayloadTypes {
        sound: 111,
        pictures: 96,
        repair: 97,
    };
    let extensions = RelayExtensions {
        audio_level: 5,
        transport_cc: 6,
        frame_marking: 7,
        newest_picture: Some(8),
    };
    let (sealer, opener) = pair();
    // 1.5 s after 1970.
    let mut sending = Sending::new(types, extensions, (now, Duration::from_millis(1_500)));
    sending.set_sealer(sealer);
    sending.use_stream(ANN, SOUND, None, now);
    sending.use_stream(BOB, PICTURES, Some(REPAIR), now);
    (sending, opener)
}

fn held(ssrc: u32, sequence: u64, taken: Instant) -> Held {
    Held {
        ssrc,
        sequence,
        timestamp: 1_000,
        marker: true,
        taken,
        level: Some(0x80 | 30),
        marking: Some(u32::from_be_bytes([3, 0xd9, 0, 7])),
        payload: vec![sequence as u8; 500].into(),
    }
}

#[test]
fn packets_say_what_those_that_came_said() {
    let now = clock::now();
    let (mut sending, mut opener) = sending(now);
    let sound = sending
        .send(&held(SOUND, 3, now), 0x0102, now)
        .expect("sound");
    let opened = opener.decrypt_rtp(sound).expect("authentic");
    assert_eq!(opened[..4], [0x90, 0x80 | 111, 0, 3]);
    assert_eq!(
        opened[12..24],
        [0xbe, 0xde, 0, 2, 0x50, 0x80 | 30, 0x61, 1, 2, 0, 0, 0]
    );
    assert_eq!(opened[24..], [3; 500]);
    let picture = sending.send(&held(PICTURES, 4, now), 0x0103, now);
    let opened = opener
        .decrypt_rtp(picture.expect("a picture"))
        .expect("authentic");
    assert_eq!(opened[..4], [0x90, 0x80 | 96, 0, 4]);
    assert_eq!(
        opened[12..24],
        [0xbe, 0xde, 0, 2, 0x72, 0xd9, 0, 7, 0x61, 1, 3, 0]
    );
    // Sound tells the newest picture of the same participant.
    sending.use_stream(BOB, SOUND_OF_BOB, None, now);
    for (ssrc, extensions) in [
        (SOUND, &[0x50, 0x80 | 30, 0x61, 1, 4, 0, 0, 0][..]),
        (SOUND_OF_BOB, &[0x50, 0x80 | 30, 0x61, 1, 4, 0x81, 0, 4]),
    ] {
        let sound = sending.send(&held(ssrc, 5, now), 0x0104, now);
        let opened = opener
            .decrypt_rtp(sound.expect("sound"))
            .expect("authentic");
        assert_eq!(opened[12..16], [0xbe, 0xde, 0, 2]);
        assert_eq!(opened[16..24], *extensions);
    }
    // Nobody's.
    assert!(sending.send(&held(99, 4, now), 0, now).is_none());
    assert_eq!((sending.whose(SOUND), sending.whose(99)), (Some(ANN), None));
    assert_eq!(sending.pictures().collect::<Vec<_>>(), [BOB]);
    sending.forget(BOB);
    assert!(sending.send(&held(PICTURES, 5, now), 0, now).is_none());
}

#[test]
fn pictures_are_sent_again_while_that_is_of_use() {
    let now = clock::now();
    let (mut sending, mut opener) = sending(now);
    for sequence in 1..=20 {
        sending
            .send(&held(PICTURES, sequence, now), 0, now)
            .expect("sent");
    }
    sending.send(&held(SOUND, 1, now), 0, now).expect("sent");
    assert!(sending.is_repaired(PICTURES, 5, SAME_ROW, now));
    let again = sending.send_again(PICTURES, 5, 0x0104).expect("kept");
    let opened = opener.decrypt_rtp(again).expect("authentic");
    // RFC 4588: the first of its own stream, and the number that it had.
    assert_eq!(opened[..4], [0x90, 0x80 | 97, 0, 1]);
    assert_eq!(opened[8..12], REPAIR.to_be_bytes());
    assert_eq!(opened[24..28], [0, 5, 5, 5]);
    assert!(sending.send_again(PICTURES, 77, 0).is_none(), "never sent");
    assert!(sending.send_again(SOUND, 1, 0).is_none(), "of no use");
    // Of the same row of requests, and the next row.
    for (millis, answered) in [(10, false), (60, true), (80, false)] {
        let then = now + Duration::from_millis(millis);
        assert_eq!(
            sending.is_repaired(PICTURES, 5, SAME_ROW, then),
            answered,
            "{millis}"
        );
    }
    // 20,000 bytes, and three tenths of what was sent.
    let more = (0..100).filter(|_| sending.send_again(PICTURES, 5, 0).is_some());
    assert_eq!(more.count(), 45);
    let late = now + AGE + Duration::from_millis(1);
    sending
        .send(&held(PICTURES, 21, now), 0, late)
        .expect("sent");
    assert!(
        !sending.is_repaired(PICTURES, 20, SAME_ROW, late),
        "too late"
    );
    let after = late + AGE + Duration::from_millis(1);
    sending.tidy(after);
    assert!(
        sending.send(&held(PICTURES, 22, now), 0, after).is_some(),
        "goes on"
    );
    assert!(sending.send(&held(SOUND, 2, now), 0, after).is_some());
    sending.tidy(after + SOUND_IDLE);
    assert!(
        sending.send(&held(SOUND, 3, now), 0, after).is_none(),
        "forgotten"
    );
}

#[test]
fn whatever_order_they_left_in_they_are_found() {
    let now = clock::now();
    let (mut sending, mut opener) = sending(now);
    let first = u64::from(u16::MAX) - 2;
    for sequence in [first, first + 2, first + 5, first + 1, first + 4] {
        let sent = sending.send(&held(PICTURES, sequence, now), 0, now);
        sent.expect("sent");
    }
    for offset in 0..6 {
        let number = (first + offset) as u16;
        let again = sending.send_again(PICTURES, number, 0);
        let opened = again.map(|again| opener.decrypt_rtp(again).expect("authentic"));
        let original = opened.map(|opened| opened[24..26].to_vec());
        let expected = (offset != 3).then(|| number.to_be_bytes().to_vec());
        assert_eq!(original, expected, "{offset}");
    }
}

#[test]
fn reports_say_when_media_was_taken_and_end_with_it() {
    let now = clock::now();
    let (mut sending, mut opener) = sending(now);
    let taken = now + Duration::from_millis(700);
    assert!(sending.report(now + FIRST_REPORT / 2).is_empty());
    let mut at = taken + LATER;
    for sequence in 1..=2 {
        sending
            .send(&held(PICTURES, sequence, taken), 0, at)
            .expect("sent");
    }
    let reports = sending.report(at);
    assert_eq!(reports.len(), 1);
    let report = opener.decrypt_rtcp(&reports[0]).expect("authentic");
    let words = report
        .chunks(4)
        .map(|word| u32::from_be_bytes(word.try_into().expect("4")));
    let words: Vec<_> = words.collect();
    // One second later than the clock said, and 0.3 s at 90 kHz after the picture; of the sound
    // nothing was sent.
    assert_eq!(
        words,
        [
            0x80c8_0006,
            PICTURES,
            2_208_988_802,
            1 << 31,
            1_000 + 27_000,
            2,
            1_000
        ]
    );
    // Less and less often, and not while nothing is sent.
    for wait in [250, 500, 1_000, 2_000, 2_000].map(Duration::from_millis) {
        sending.use_stream(BOB, PICTURES, Some(REPAIR), at);
        assert!(
            sending
                .report(at + wait - Duration::from_millis(1))
                .is_empty()
        );
        at += wait;
        assert_eq!(sending.report(at).len(), 1, "{wait:?}");
    }
    at += SLOWEST_REPORTS;
    assert!(sending.report(at).is_empty());
    assert_eq!(sending.poll_timeout(), None);
    sending
        .send(&held(PICTURES, 3, taken), 0, at)
        .expect("sent");
    assert_eq!(sending.poll_timeout(), Some(at + SLOWEST_REPORTS));
}

#[test]
fn nothing_is_sent_before_there_are_keys() {
    let now = clock::now();
    let (sending, _) = sending(now);
    let mut sending = Sending {
        sealer: None,
        ..sending
    };
    assert!(sending.send(&held(SOUND, 1, now), 0, now).is_none());
    assert!(sending.send_padding(9, 1, 100, 0).is_none());
    assert!(sending.report(now + FIRST_REPORT).is_empty());
}
