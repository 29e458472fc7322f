//! One H.264 encoder: openh264, constrained baseline, set up for calls.
//!
//! It keeps to its target by spending fewer bits and, where that is not enough, by leaving
//! pictures out. The target moves between two pictures without a keyframe. It makes a keyframe
//! first, and after that only when asked. One encoder knows one size: another size is another encoder.
//!
//! A layered encoder makes pictures of two temporal layers in turns. Those of the upper one refer to
//! the base only and nothing refers to them, so that any of them can be left out on the way.

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
    ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, LAYER_NUM, SBitrateInfo, SEncParamExt, SFrameBSInfo,
    SPATIAL_LAYER_0, SPATIAL_LAYER_ALL,
};

use crate::media::{Marking, Size, VideoFrame};

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

/// The layers of a layered encoder: a relay gets half of the pictures off each, which is as fine as
/// anybody would notice.
const TEMPORAL_LAYERS: c_int = 2;

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
    /// Its place among the temporal layers.
    pub marking: Marking,
}

/// An encoder for pictures of one size.
pub struct Encoder {
    codec: openh264::encoder::Encoder,
    size: Size,
    target: Bitrate,
    fps: f32,
    layered: bool,
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
            layered: false,
            started: None,
            keyframe_due: false,
        })
    }

    /// Makes a layered encoder, likewise.
    ///
    /// # Errors
    /// Fails if openh264 gives none.
    pub fn layered(size: Size, fps: f32, target: Bitrate) -> Result<Self, EncodeError> {
        let plain = Self::new(size, fps, target)?;
        Ok(Self {
            layered: true,
            ..plain
        })
    }

    /// Tells whether its pictures are of two temporal layers.
    pub fn is_layered(&self) -> bool {
        self.layered
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
        if first && self.layered {
            // Layers cannot be set before openh264 has seen a picture; this one is made again.
            self.codec.encode_at(&planes, stamp)?;
            self.apply_layers()?;
        }
        let bits = self.codec.encode_at(&planes, stamp)?;
        let keyframe = bits.frame_type() == FrameType::IDR;
        let marking = marking(bits.raw_info());
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
            marking,
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

    #[expect(unsafe_code, reason = "the safe interface fixes one temporal layer")]
    fn apply_layers(&mut self) -> Result<(), EncodeError> {
        let mut params = SEncParamExt::default();
        // SAFETY: the codec is initialised, for it has encoded a picture; for this option openh264
        // writes one whole SEncParamExt to where it is pointed, and keeps no pointer.
        let code = unsafe {
            let api = self.codec.raw_api();
            let whole = from_mut(&mut params).cast();
            api.get_option(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, whole)
        };
        if code != 0 {
            let option = ENCODER_OPTION_SVC_ENCODE_PARAM_EXT;
            return Err(EncodeError::Refused { option, code });
        }
        params.iTemporalLayerNum = TEMPORAL_LAYERS;
        self.apply(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, params)
    }

    #[expect(
        unsafe_code,
        reason = "the safe interface has no way to change a setting"
    )]
    fn apply<T>(&mut self, option: ENCODER_OPTION, mut value: T) -> Result<(), EncodeError> {
        // SAFETY: the codec is initialised, for it has encoded a picture; the callers in this file pair each
        // option with the type that openh264 reads for it (SBitrateInfo, f32 or SEncParamExt), and it
        // copies the value before it returns.
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

/// Reads off which temporal layer a picture belongs to. Its parameter sets count as the base.
fn marking(bits: &SFrameBSInfo) -> Marking {
    let layers = usize::try_from(bits.iLayerNum).unwrap_or(0);
    let layers = bits.sLayerInfo.iter().take(layers);
    let temporal = layers.map(|layer| layer.uiTemporalId).max().unwrap_or(0);
    Marking {
        temporal,
        discardable: temporal > 0,
        base_sync: temporal > 0,
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
#[path = "encoder_tests.rs"]
mod tests;
