//! What synthetic participants send: pictures in layers and a voice, encoded before.
//!
//! ```text
//! "nsload" 0 1 | layers 1
//!   each layer: width 2 | height 2 | pictures a second 2 | pictures 4
//!     each picture: flags 1 (1 keyframe, 2 upper temporal layer) | length 4 | NAL units behind start codes
//! packets of sound 4, of 20 ms each
//!   each packet: length 2 | Opus
//! ```
//! Every layer begins with a keyframe, and all last equally long. A picture of length 0 is one that
//! the encoder left out. Numbers are big-endian.

use std::time::Duration;

use crate::packets::packetise;

const MAGIC: &[u8; 8] = b"nsload\x00\x01";
const KEYFRAME: u8 = 1;
const UPPER: u8 = 2;

/// The recording that comes with the program.
static OWN: &[u8] = include_bytes!("../../../assets/load/recording.bin");

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordingError {
    /// It does not begin as recordings do.
    #[error("this is no recording")]
    Magic,
    /// It ends too early.
    #[error("the recording is cut off")]
    CutOff,
    /// Something must be there that is not.
    #[error("the recording has no {0}")]
    Empty(&'static str),
}

/// A recording, ready to be sent.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The layers, the smallest first.
    pub(crate) layers: Vec<Layer>,
    /// Packets of 20 ms of sound.
    pub(crate) sound: Vec<Vec<u8>>,
}

/// One layer of the pictures.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Pixels from left to right.
    pub(crate) width: u32,
    /// Pixels from top to bottom.
    pub(crate) height: u32,
    /// The time from one picture to the next.
    pub(crate) interval: Duration,
    /// The pictures; the first is a keyframe.
    pub(crate) pictures: Vec<Picture>,
}

/// One picture.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Whether a decoder can begin here.
    pub(crate) keyframe: bool,
    /// Whether it belongs to the upper temporal layer: nothing refers to it.
    pub(crate) upper: bool,
    /// RTP payloads; none where the encoder left the picture out.
    pub(crate) payloads: Vec<Vec<u8>>,
}

impl Recording {
    /// Reads the recording that comes with the program.
    pub(crate) fn own() -> Result<Self, RecordingError> {
        Self::read(OWN)
    }

    /// Reads a recording.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, RecordingError> {
        let mut left = bytes
            .strip_prefix(MAGIC.as_slice())
            .ok_or(RecordingError::Magic)?;
        let count = number::<1>(&mut left)?;
        let mut layers = Vec::new();
        for _ in 0..count {
            layers.push(layer(&mut left)?);
        }
        let packets = number::<4>(&mut left)?;
        let mut sound = Vec::new();
        for _ in 0..packets {
            let length = number::<2>(&mut left)?;
            sound.push(take(&mut left, length)?.to_vec());
        }
        if sound.is_empty() {
            return Err(RecordingError::Empty("sound"));
        }
        Ok(Self { layers, sound })
    }

    /// Keeps one layer alone.
    pub(crate) fn only(mut self, layer: usize) -> Result<Self, RecordingError> {
        if layer >= self.layers.len() {
            return Err(RecordingError::Empty("such layer"));
        }
        self.layers = vec![self.layers.swap_remove(layer)];
        Ok(self)
    }

    /// Keeps the smallest layers.
    pub(crate) fn at_most(mut self, layers: usize) -> Self {
        self.layers.truncate(layers);
        self
    }
}

fn layer(left: &mut &[u8]) -> Result<Layer, RecordingError> {
    let (width, height) = (number::<2>(left)?, number::<2>(left)?);
    let rate = number::<2>(left)?;
    let count = number::<4>(left)?;
    let mut pictures = Vec::new();
    for _ in 0..count {
        let flags = number::<1>(left)?;
        let length = number::<4>(left)?;
        pictures.push(Picture {
            keyframe: flags & u32::from(KEYFRAME) != 0,
            upper: flags & u32::from(UPPER) != 0,
            payloads: packetise(take(left, length)?),
        });
    }
    if rate == 0 || !pictures.first().is_some_and(|first| first.keyframe) {
        return Err(RecordingError::Empty("keyframe at the beginning"));
    }
    Ok(Layer {
        width,
        height,
        interval: Duration::from_secs(1) / rate,
        pictures,
    })
}

fn take<'a>(left: &mut &'a [u8], length: u32) -> Result<&'a [u8], RecordingError> {
    let (taken, rest) = left
        .split_at_checked(length as usize)
        .ok_or(RecordingError::CutOff)?;
    *left = rest;
    Ok(taken)
}

fn number<const BYTES: u32>(left: &mut &[u8]) -> Result<u32, RecordingError> {
    let bytes = take(left, BYTES)?;
    Ok(bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recording_that_comes_along_has_three_layers_and_a_voice() {
        let recording = Recording::own().expect("it comes with the program");

        let sizes: Vec<_> = (recording.layers.iter())
            .map(|layer| (layer.width, layer.height))
            .collect();
        assert_eq!(sizes, [(320, 180), (640, 360), (1280, 720)]);
        let lasts = |layer: &Layer| layer.interval * u32::try_from(layer.pictures.len()).unwrap();
        assert!(recording.layers.iter().all(|layer| {
            lasts(layer).abs_diff(lasts(&recording.layers[0])) < Duration::from_millis(1)
        }));
        assert!(recording.sound.len() >= 50);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        assert!(matches!(
            Recording::read(&OWN[..OWN.len() - 1]),
            Err(RecordingError::CutOff)
        ));
        assert!(matches!(
            Recording::read(b"something else"),
            Err(RecordingError::Magic)
        ));
    }
}
