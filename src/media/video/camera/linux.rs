//! What nokhwa needs on Linux before it can open a camera, straight through V4L2.

use std::{io, panic};

use v4l::{
    Device, Format as V4lFormat, FourCC,
    capability::Flags,
    frameinterval::FrameIntervalEnum,
    framesize::FrameSizeEnum,
    video::{Capture, capture::Parameters},
};

use super::choose::Format;
use crate::media::{Size, video::convert::Packing};

const PACKINGS: [(&[u8; 4], Packing); 3] = [
    (b"YUYV", Packing::Yuyv),
    (b"NV12", Packing::Nv12),
    (b"MJPG", Packing::Mjpeg),
];

/// Tells whether `/dev/video{index}` delivers pictures: cameras also have nodes for other data.
/// A node that cannot be asked counts as one, so that opening it tells why.
pub(super) fn captures(index: usize) -> bool {
    let caps = panic::catch_unwind(|| Device::new(index)?.query_caps());
    match caps {
        Ok(Ok(caps)) => caps.capabilities.contains(Flags::VIDEO_CAPTURE),
        Ok(Err(_)) => true,
        Err(_) => false,
    }
}

/// Sets a format that nokhwa understands, with a whole number of pictures a second, whatever state
/// the camera was left in. Returns nothing if the camera has no such format.
///
/// # Errors
/// Fails if the camera cannot be opened or refuses.
pub(super) fn settle(index: usize) -> io::Result<Option<Format>> {
    let device = Device::new(index)?;
    let offered = device.enum_formats()?;
    for (code, packing) in PACKINGS {
        let fourcc = FourCC::new(code);
        if offered.iter().all(|format| format.fourcc != fourcc) {
            continue;
        }
        for size in device.enum_framesizes(fourcc)? {
            let size = match size.size {
                FrameSizeEnum::Discrete(size) => Size::new(size.width, size.height),
                FrameSizeEnum::Stepwise(steps) => Size::new(steps.max_width, steps.max_height),
            };
            if let Some(fps) = settle_on(&device, fourcc, size)? {
                return Ok(Some(Format { size, fps, packing }));
            }
        }
    }
    Ok(None)
}

/// Sets this format at a whole rate, which it returns; nothing if the camera sets anything else.
fn settle_on(device: &Device, fourcc: FourCC, size: Size) -> io::Result<Option<u32>> {
    let intervals = device.enum_frameintervals(fourcc, size.width, size.height);
    for interval in intervals.unwrap_or_default() {
        let fps = match interval.interval {
            FrameIntervalEnum::Discrete(step) if step.numerator == 1 => step.denominator,
            FrameIntervalEnum::Discrete(_) => continue,
            FrameIntervalEnum::Stepwise(_) => 30,
        };
        let format = device.set_format(&V4lFormat::new(size.width, size.height, fourcc))?;
        let set = device.set_params(&Parameters::with_fps(fps))?.interval;
        if (format.fourcc, format.width, format.height) == (fourcc, size.width, size.height)
            && (set.numerator, set.denominator) == (1, fps)
        {
            return Ok(Some(fps));
        }
    }
    Ok(None)
}
