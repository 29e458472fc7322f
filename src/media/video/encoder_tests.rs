//! The encoder, with test cards in simulated time.

use super::*;
use crate::{
    clock,
    media::video::{decoder::Decoder, test_card},
};

const SIZE: Size = Size::new(640, 360);

/// Test cards in simulated time, `fps` a second.
struct Cards {
    card: test_card::TestCard,
    start: Instant,
    fps: u32,
    count: u32,
}

impl Cards {
    fn new(size: Size, fps: u32) -> Self {
        Self {
            card: test_card::TestCard::new(size),
            start: clock::now(),
            fps,
            count: 0,
        }
    }

    fn next(&mut self) -> VideoFrame {
        let time = Duration::from_secs(1) * self.count / self.fps;
        let frame = self.card.draw(self.count, time, self.start + time);
        self.count += 1;
        frame
    }
}

/// What came out of an encoder.
#[derive(Default)]
struct Taken {
    bytes: usize,
    keyframes: usize,
    pictures: usize,
}

impl Taken {
    fn rate(&self, time: Duration) -> f64 {
        self.bytes as f64 * 8.0 / time.as_secs_f64()
    }
}

fn run(encoder: &mut Encoder, cards: &mut Cards, time: Duration) -> Taken {
    let mut taken = Taken::default();
    for _ in 0..(time.as_secs_f64() * f64::from(cards.fps)) as u32 {
        if let Some(encoded) = encoder.encode(&cards.next()).unwrap() {
            taken.bytes += encoded.data.len();
            taken.keyframes += usize::from(encoded.keyframe);
            taken.pictures += 1;
        }
    }
    taken
}

#[test]
fn a_counter_survives_encoding_and_decoding_at_low_rates() {
    for (size, fps, kbps) in [(SIZE, 30, 300), (Size::new(320, 180), 20, 100)] {
        let mut encoder = Encoder::new(size, fps as f32, Bitrate::from_kbps(kbps)).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut cards = Cards::new(size, fps);
        let mut read = Vec::new();
        for _ in 0..5 * fps {
            if let Some(encoded) = encoder.encode(&cards.next()).unwrap() {
                let frame = decoder.decode(&encoded.data, clock::now()).unwrap();
                read.push(test_card::read_counter(&frame.unwrap()).unwrap());
            }
        }
        assert!(read.is_sorted_by(|a, b| a < b), "{read:?}");
        assert!(
            read.len() > 3 * fps as usize,
            "only {} pictures",
            read.len()
        );
    }
}

#[test]
fn the_first_picture_is_a_keyframe_of_constrained_baseline() {
    let mut encoder = Encoder::new(SIZE, 30.0, Bitrate::from_kbps(500)).unwrap();
    let first = encoder
        .encode(&Cards::new(SIZE, 30).next())
        .unwrap()
        .unwrap();
    assert!(first.keyframe);
    // Start code, sequence parameter set, profile 66 with constraint flags 0 and 1.
    assert_eq!(first.data[..6], [0, 0, 0, 1, 0x67, 66]);
    assert_eq!(first.data[6] & 0xC0, 0xC0);
}

#[test]
fn keyframes_come_when_asked_for_and_only_then() {
    let mut encoder = Encoder::new(SIZE, 30.0, Bitrate::from_kbps(500)).unwrap();
    let mut cards = Cards::new(SIZE, 30);
    assert!(encoder.encode(&cards.next()).unwrap().unwrap().keyframe);
    let quiet = run(&mut encoder, &mut cards, Duration::from_secs(5));
    assert_eq!(quiet.keyframes, 0);
    encoder.request_keyframe();
    let asked = run(&mut encoder, &mut cards, Duration::from_secs(1));
    assert_eq!(asked.keyframes, 1);
}

#[test]
fn a_changed_target_is_obeyed_without_a_keyframe() {
    let mut encoder = Encoder::new(SIZE, 30.0, Bitrate::from_kbps(400)).unwrap();
    let mut cards = Cards::new(SIZE, 30);
    run(&mut encoder, &mut cards, Duration::from_secs(3));
    let time = Duration::from_secs(4);
    for kbps in [400, 1_000, 250, 700] {
        let target = Bitrate::from_kbps(kbps);
        encoder.set_target(target).unwrap();
        run(&mut encoder, &mut cards, Duration::from_secs(1));
        let taken = run(&mut encoder, &mut cards, time);
        let part = taken.rate(time) / target.as_f64();
        assert!((0.8..1.15).contains(&part), "{part:.2} of {target}");
        assert_eq!(taken.keyframes, 0);
    }
}

#[test]
fn a_target_that_is_raised_fivefold_is_spent_and_no_keyframe_comes() {
    let mut encoder = Encoder::new(SIZE, 30.0, Bitrate::from_kbps(300)).unwrap();
    let mut cards = Cards::new(SIZE, 30);
    run(&mut encoder, &mut cards, Duration::from_secs(2));
    encoder.set_target(Bitrate::from_kbps(1_500)).unwrap();
    let half = Duration::from_millis(500);
    let at_once = run(&mut encoder, &mut cards, half);
    assert!(at_once.rate(half) > 1_000_000.0, "{}", at_once.rate(half));
    let time = Duration::from_secs(2);
    let taken = run(&mut encoder, &mut cards, time);
    let part = taken.rate(time) / 1_500_000.0;
    assert!((0.85..1.1).contains(&part), "{part:.2} of the target");
    assert_eq!(at_once.keyframes + taken.keyframes, 0);
}

#[test]
fn a_keyframe_costs_no_more_than_a_quarter_of_a_second_of_the_target() {
    for (size, kbps) in [
        (Size::new(320, 180), 100),
        (Size::new(320, 180), 200),
        (SIZE, 500),
        (Size::new(1280, 720), 2_000),
    ] {
        let target = Bitrate::from_kbps(kbps);
        let mut encoder = Encoder::new(size, 30.0, target).unwrap();
        let mut cards = Cards::new(size, 30);
        let first = encoder.encode(&cards.next()).unwrap().unwrap();
        run(&mut encoder, &mut cards, Duration::from_secs(1));
        encoder.request_keyframe();
        let mut asked = (0..30).filter_map(|_| encoder.encode(&cards.next()).unwrap());
        let asked = asked
            .find(|encoded| encoded.keyframe)
            .expect("it was asked for");
        for keyframe in [first, asked] {
            let cost = nonstop_rate::DataSize::from_bytes(keyframe.data.len() as u64) / target;
            assert!(
                cost <= Duration::from_millis(250),
                "{size} at {target}: {cost:?}"
            );
        }
    }
}

#[test]
fn a_slower_source_still_spends_its_target() {
    let mut encoder = Encoder::new(SIZE, 30.0, Bitrate::from_kbps(400)).unwrap();
    let mut cards = Cards::new(SIZE, 15);
    encoder.encode(&cards.next()).unwrap();
    encoder.set_fps(15.0).unwrap();
    run(&mut encoder, &mut cards, Duration::from_secs(2));
    let time = Duration::from_secs(4);
    let part = run(&mut encoder, &mut cards, time).rate(time) / 400_000.0;
    assert!((0.8..1.15).contains(&part), "{part:.2} of the target");
}

#[test]
fn a_picture_of_another_size_is_refused() {
    let mut encoder = Encoder::new(SIZE, 30.0, Bitrate::from_kbps(400)).unwrap();
    let other = Cards::new(Size::new(320, 180), 30).next();
    let refused = encoder.encode(&other);
    assert!(matches!(refused, Err(EncodeError::WrongSize(..))));
}

#[test]
fn pictures_of_two_layers_take_turns_and_the_upper_ones_can_be_left_out() {
    let mut encoder = Encoder::layered(SIZE, 30.0, Bitrate::from_kbps(500)).unwrap();
    let (mut all, mut base) = (Decoder::new().unwrap(), Decoder::new().unwrap());
    let mut cards = Cards::new(SIZE, 30);
    let (mut upper, mut read) = (0, Vec::new());
    let mut before = None;
    for n in 0..300 {
        if n % 97 == 96 {
            encoder.request_keyframe();
        }
        let card = cards.next();
        let Some(encoded) = encoder.encode(&card).unwrap() else {
            continue;
        };
        let Marking {
            temporal,
            discardable,
            base_sync,
        } = encoded.marking;
        assert_eq!((discardable, base_sync), (temporal == 1, temporal == 1));
        assert!(temporal == 0 || !encoded.keyframe);
        assert!(
            encoded.keyframe || before != Some(temporal),
            "they take turns"
        );
        before = Some(temporal);
        assert!(all.decode(&encoded.data, clock::now()).unwrap().is_some());
        // Of the upper layer every third gets through.
        upper += usize::from(temporal);
        if temporal == 0 || upper.is_multiple_of(3) {
            let shown = base.decode(&encoded.data, clock::now()).unwrap().unwrap();
            read.push((n, test_card::read_counter(&shown).unwrap()));
        }
    }
    assert!(upper > 120, "{upper}");
    assert!(read.iter().all(|(n, counter)| n == counter), "{read:?}");
}

#[test]
fn a_layered_encoder_begins_with_one_keyframe_and_keeps_to_its_target() {
    for (size, kbps) in [(Size::new(320, 180), 120), (SIZE, 500)] {
        let mut encoder = Encoder::layered(size, 30.0, Bitrate::from_kbps(kbps)).unwrap();
        let mut cards = Cards::new(size, 30);
        let first = encoder.encode(&cards.next()).unwrap().unwrap();
        assert!(first.keyframe);
        let target = encoder.target;
        let cost = nonstop_rate::DataSize::from_bytes(first.data.len() as u64) / target;
        assert!(cost <= Duration::from_millis(250), "{size}: {cost:?}");
        let time = Duration::from_secs(4);
        let start = run(&mut encoder, &mut cards, Duration::from_secs(1));
        let taken = run(&mut encoder, &mut cards, time);
        assert_eq!(start.keyframes + taken.keyframes, 0);
        let part = taken.rate(time) / target.as_f64();
        assert!((0.8..1.1).contains(&part), "{size}: {part:.2} of {target}");
        for kbps in [kbps * 2, kbps / 2] {
            let target = Bitrate::from_kbps(kbps);
            encoder.set_target(target).unwrap();
            run(&mut encoder, &mut cards, Duration::from_secs(1));
            let taken = run(&mut encoder, &mut cards, time);
            let part = taken.rate(time) / target.as_f64();
            assert!((0.7..1.15).contains(&part), "{size}: {part:.2} of {target}");
            assert_eq!(taken.keyframes, 0);
        }
    }
}

/// Returns how well pictures of natural difficulty come through, in decibels of luma, and what they cost.
fn quality(mut encoder: Encoder, fps: u32) -> (f64, f64) {
    let size = encoder.size();
    let mut decoder = Decoder::new().unwrap();
    let mut cards = Cards::new(size, fps);
    let (mut error, mut pictures, mut bytes) = (0.0, 0.0, 0);
    let mut random = 1_u32;
    for n in 0..8 * fps {
        let card = cards.next();
        // The grain of a camera.
        let mut planes = card.planes().to_vec();
        for byte in &mut planes[..size.pixels() as usize] {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = byte.saturating_add((random >> 30) as u8);
        }
        let card = VideoFrame::new(size, planes, card.captured());
        let Some(encoded) = encoder.encode(&card).unwrap() else {
            continue;
        };
        let shown = decoder
            .decode(&encoded.data, clock::now())
            .unwrap()
            .unwrap();
        if n >= 2 * fps {
            let squares = card.y().iter().zip(shown.y());
            let squares = squares.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
            error += squares.sum::<f64>() / size.pixels() as f64;
            pictures += 1.0;
            bytes += encoded.data.len();
        }
    }
    let rate = bytes as f64 * 8.0 / 6.0;
    (10.0 * (255.0_f64.powi(2) * pictures / error).log10(), rate)
}

#[test]
fn temporal_layers_cost_little_quality_at_the_same_rate() {
    for (size, kbps) in [(Size::new(320, 180), 150), (SIZE, 500)] {
        let target = Bitrate::from_kbps(kbps);
        let (plain, spent) = quality(Encoder::new(size, 30.0, target).unwrap(), 30);
        let (layered, also) = quality(Encoder::layered(size, 30.0, target).unwrap(), 30);
        println!("{size}: {plain:.2} dB at {spent:.0} b/s, layered {layered:.2} dB at {also:.0}");
        assert!(
            plain - layered < 1.0,
            "{size}: {plain:.2} dB, layered {layered:.2}"
        );
        assert!(
            also < spent * 1.1,
            "{size}: {spent:.0} b/s, layered {also:.0}"
        );
    }
}
