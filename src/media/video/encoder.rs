//! One H.264 encoder: openh264, constrained baseline, set up for calls.
//!
//! It keeps to its target by spending fewer bits and, where that is not enough, by leaving
//! pictures out. The target moves between two pictures without a keyframe. It makes a keyframe
//! first, and after that only when asked. One encoder knows one size: another size is another encoder.

use std::{
    ffi::c_int,
    ptr::from_mut,
    time::{Duration, Instant},
};

use bytes::Bytes;
use nonstop_rate::Bitrate;
use openh264::{
    OpenH264API, Timestamp,
    encoder::{
        BitRate, Complexity, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile,
        RateControlMode, SpsPpsStrategy, UsageType, VuiConfig,
    },
    formats::YUVSlices,
};
use openh264_sys2::{
    ENCODER_OPTION, ENCODER_OPTION_BITRATE, ENCODER_OPTION_FRAME_RATE, ENCODER_OPTION_MAX_BITRATE,
    LAYER_NUM, SBitrateInfo, SPATIAL_LAYER_0, SPATIAL_LAYER_ALL,
};

use crate::media::{Size, VideoFrame};

/// How far single pictures may take the rate above the target. openh264 treats the two being
/// equal as a reason to stay below both.
const BURST: f64 = 1.2;
/// At a low target the first picture is planned for this part of it: openh264 knows nothing of the
/// pictures yet, and what it makes of natural ones is else worth up to 350 ms of the target. At
/// higher ones it is below 230 ms by itself, and a plan for less would cost pictures after it.
const FIRST: f64 = 0.5;
/// Where a target counts as low.
const LOW: Bitrate = Bitrate::from_kbps(1_500);
/// The least that openh264 is told; it refuses less than one bit a picture and is of no use there.
const LEAST: Bitrate = Bitrate::from_kbps(10);

/// Why a picture could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The picture has another size than the encoder.
    #[error("a picture of {0} came to an encoder for {1}")]
    WrongSize(Size, Size),
    /// openh264 could not.
    #[error("the encoder failed: {0}")]
    Codec(#[from] openh264::Error),
    /// openh264 refused a setting.
    #[error("the encoder refused setting {option}: {code}")]
    Refused {
        /// The number of the setting.
        option: i32,
        /// The answer.
        code: i32,
    },
}

/// One encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// NAL units, each behind a start code.
    pub data: Bytes,
    /// Whether a decoder can start here; if so, parameter sets come first.
    pub keyframe: bool,
}

/// An encoder for pictures of one size.
pub struct Encoder {
    codec: openh264::encoder::Encoder,
    size: Size,
    target: Bitrate,
    fps: f32,
    /// Settings reach openh264 only once it has seen a picture.
    started: Option<Instant>,
    keyframe_due: bool,
}

impl Encoder {
    /// Makes an encoder for pictures of `size` that come `fps` times a second.
    ///
    /// # Errors
    /// Fails if openh264 gives none.
    pub fn new(size: Size, fps: f32, target: Bitrate) -> Result<Self, EncodeError> {
        let target = target.max(LEAST);
        let first = target.scale(if target < LOW { FIRST } else { 1.0 });
        let config = EncoderConfig::new()
            .profile(Profile::Baseline)
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(
                u32::try_from(first.max(LEAST).bps()).unwrap_or(u32::MAX),
            ))
            .max_frame_rate(FrameRate::from_hz(fps))
            .skip_frames(true)
            .scene_change_detect(false)
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .num_threads(1)
            .vui(VuiConfig::bt601());
        let codec =
            openh264::encoder::Encoder::with_api_config(OpenH264API::from_source(), config)?;
        Ok(Self {
            codec,
            size,
            target,
            fps,
            started: None,
            keyframe_due: false,
        })
    }

    /// Returns the size of the pictures it takes.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Returns how often pictures are expected to come.
    pub fn fps(&self) -> f32 {
        self.fps
    }

    /// Changes what the pictures from the next one on may cost; no keyframe follows from it.
    ///
    /// # Errors
    /// Fails if openh264 refuses.
    pub fn set_target(&mut self, target: Bitrate) -> Result<(), EncodeError> {
        let target = target.max(LEAST);
        if target == self.target {
            return Ok(());
        }
        let up = target > self.target;
        self.target = target;
        if self.started.is_some() {
            // The limit must never be below the target, or the change is refused.
            if up {
                self.apply_limit()?;
            }
            self.apply_target()?;
            if !up {
                self.apply_limit()?;
            }
        }
        Ok(())
    }

    /// Tells how often pictures come from now on: at another rate the target would be missed.
    ///
    /// # Errors
    /// Fails if openh264 refuses.
    pub fn set_fps(&mut self, fps: f32) -> Result<(), EncodeError> {
        self.fps = fps;
        match self.started {
            Some(_) => self.apply(ENCODER_OPTION_FRAME_RATE, fps),
            None => Ok(()),
        }
    }

    /// Asks for a keyframe: the next picture that is not left out will be one.
    pub fn request_keyframe(&mut self) {
        self.keyframe_due = true;
    }

    /// Encodes one picture. Returns nothing where keeping to the target means leaving it out.
    ///
    /// # Errors
    /// Fails if the picture's size is not the encoder's, or openh264 fails.
    pub fn encode(&mut self, frame: &VideoFrame) -> Result<Option<Encoded>, EncodeError> {
        if frame.size() != self.size {
            return Err(EncodeError::WrongSize(frame.size(), self.size));
        }
        let first = self.started.is_none();
        let start = *self.started.get_or_insert(frame.captured());
        if first {
            self.keyframe_due = true;
        } else if self.keyframe_due {
            self.codec.force_intra_frame();
        }
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let planes = YUVSlices::new(
            (frame.y(), frame.u(), frame.v()),
            (width, height),
            (width, width / 2, width / 2),
        );
        // Counted from 1: openh264 takes 0 for "not given".
        let time = frame.captured().saturating_duration_since(start) + Duration::from_millis(1);
        let stamp = Timestamp::from_millis(u64::try_from(time.as_millis()).unwrap_or(0));
        let bits = self.codec.encode_at(&planes, stamp)?;
        let keyframe = bits.frame_type() == FrameType::IDR;
        let data = bits.to_vec();
        if first {
            self.apply_limit()?;
            self.apply_target()?;
        }
        if data.is_empty() {
            return Ok(None);
        }
        self.keyframe_due &= !keyframe;
        Ok(Some(Encoded {
            data: data.into(),
            keyframe,
        }))
    }

    fn apply_target(&mut self) -> Result<(), EncodeError> {
        let rate = bitrate_info(SPATIAL_LAYER_ALL, self.target);
        self.apply(ENCODER_OPTION_BITRATE, rate)
    }

    /// Sets the limit for the whole and for its one layer: openh264 checks each against the target.
    fn apply_limit(&mut self) -> Result<(), EncodeError> {
        let limit = self.target.scale(BURST);
        for layer in [SPATIAL_LAYER_0, SPATIAL_LAYER_ALL] {
            self.apply(ENCODER_OPTION_MAX_BITRATE, bitrate_info(layer, limit))?;
        }
        Ok(())
    }

    #[expect(
        unsafe_code,
        reason = "the safe interface has no way to change a setting"
    )]
    fn apply<T>(&mut self, option: ENCODER_OPTION, mut value: T) -> Result<(), EncodeError> {
        // SAFETY: the codec is initialised, for `started` is set; the callers in this file pair each
        // option with the type that openh264 reads for it (SBitrateInfo or f32), and it copies the
        // value before it returns.
        let code = unsafe {
            let api = self.codec.raw_api();
            api.set_option(option, from_mut(&mut value).cast())
        };
        match code {
            0 => Ok(()),
            code => Err(EncodeError::Refused { option, code }),
        }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("size", &self.size)
            .field("target", &self.target)
            .field("fps", &self.fps)
            .finish_non_exhaustive()
    }
}

fn bitrate_info(layer: LAYER_NUM, rate: Bitrate) -> SBitrateInfo {
    SBitrateInfo {
        iLayer: layer,
        iBitrate: c_int::try_from(rate.bps()).unwrap_or(c_int::MAX),
    }
}

#[cfg(test)]
mod tests {
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
}
