//! One H.264 decoder: openh264, without concealment and without threads.
//!
//! It shows a picture whole or not at all. Its input comes from the network: whatever the bytes,
//! it answers with a picture, nothing, or an error.

use std::time::Instant;

use openh264::{OpenH264API, decoder::DecoderConfig, formats::YUVSource as _};

use crate::media::{Size, VideoFrame};

/// The largest picture taken from the network, either side.
const LARGEST: u32 = 4096;
/// The largest access unit taken: far above what any picture of that size costs in a call.
const LONGEST: usize = 8 << 20;

/// Why a unit could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is damaged, or refers to a picture that is not there.
    #[error("damaged or incomplete: {0}")]
    Damaged(#[from] openh264::Error),
    /// It is longer than is sensible.
    #[error("an access unit of {0} bytes is too long")]
    TooLong(usize),
    /// Its picture is larger than is sensible, or has no pixels.
    #[error("a picture of {0} is not taken")]
    BadSize(Size),
}

/// A decoder. After an error it is of no use before the next keyframe.
pub struct Decoder {
    codec: openh264::decoder::Decoder,
}

impl Decoder {
    /// Makes a decoder.
    ///
    /// # Errors
    /// Fails if openh264 gives none.
    pub fn new() -> Result<Self, DecodeError> {
        let (api, config) = (OpenH264API::from_source(), DecoderConfig::new());
        Ok(Self {
            codec: openh264::decoder::Decoder::with_api_config(api, config)?,
        })
    }

    /// Decodes one access unit in Annex B form; the picture is stamped `captured`.
    /// Returns nothing where the unit holds no picture.
    ///
    /// # Errors
    /// Fails where the unit is damaged, needs pictures that were not decoded, or is too large.
    pub fn decode(
        &mut self,
        unit: &[u8],
        captured: Instant,
    ) -> Result<Option<VideoFrame>, DecodeError> {
        if unit.len() > LONGEST {
            return Err(DecodeError::TooLong(unit.len()));
        }
        let Some(picture) = self.codec.decode(unit)? else {
            return Ok(None);
        };
        let (width, height) = picture.dimensions();
        let whole = Size::new(width as u32, height as u32);
        // An odd side loses its last row or column: half a chroma pixel cannot be kept.
        let size = Size::new(whole.width & !1, whole.height & !1);
        if size.pixels() == 0 || size.width > LARGEST || size.height > LARGEST {
            return Err(DecodeError::BadSize(whole));
        }
        let (width, height) = (size.width as usize, size.height as usize);
        let mut planes = Vec::with_capacity(VideoFrame::bytes_for(size));
        let strides = picture.strides();
        for (plane, stride, wide, high) in [
            (picture.y(), strides.0, width, height),
            (picture.u(), strides.1, width / 2, height / 2),
            (picture.v(), strides.2, width / 2, height / 2),
        ] {
            if stride < wide.max(1) {
                return Err(DecodeError::BadSize(whole));
            }
            for row in plane.chunks_exact(stride).take(high) {
                planes.extend_from_slice(&row[..wide]);
            }
        }
        if planes.len() != VideoFrame::bytes_for(size) {
            return Err(DecodeError::BadSize(whole));
        }
        Ok(Some(VideoFrame::new(size, planes, captured)))
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}
