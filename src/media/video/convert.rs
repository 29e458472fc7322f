//! Turns what cameras deliver into I420.
//!
//! Input comes from a driver: a picture that is too short for its size, or a damaged JPEG, is an
//! error, never a panic.

use std::{panic, time::Instant};

use nokhwa::utils::mjpeg_to_rgb;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvPackedImage, YuvPlanarImageMut, YuvRange,
    YuvStandardMatrix, rgb_to_yuv420, yuyv422_to_yuv420,
};

use crate::media::{Size, VideoFrame};

/// How a camera packs its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// 4:2:2, two pixels in four bytes.
    Yuyv,
    /// 4:2:0, the two chroma planes interleaved.
    Nv12,
    /// A JPEG image each.
    Mjpeg,
}

/// Why a camera's picture cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It has fewer bytes than its size takes.
    #[error("{found} bytes are too few for {size}")]
    Short {
        /// The size it should have.
        size: Size,
        /// The bytes it has.
        found: usize,
    },
    /// It has no pixels.
    #[error("a picture of {0} is empty")]
    Empty(Size),
    /// It is damaged.
    #[error("damaged: {0}")]
    Damaged(String),
}

/// Converts a picture of `size`; sides that are odd lose their last row or column.
///
/// # Errors
/// Fails if the picture is shorter than its size says, empty or damaged.
pub fn to_i420(
    packing: Packing,
    size: Size,
    data: &[u8],
    captured: Instant,
) -> Result<VideoFrame, ConvertError> {
    let even = Size::new(size.width & !1, size.height & !1);
    if even.pixels() == 0 {
        return Err(ConvertError::Empty(size));
    }
    let planes = match packing {
        Packing::Yuyv => from_yuyv(size, even, data)?,
        Packing::Nv12 => from_nv12(size, even, data)?,
        Packing::Mjpeg => from_mjpeg(size, even, data)?,
    };
    Ok(VideoFrame::new(even, planes, captured))
}

/// Returns as many bytes as `size` takes; drivers hand out more, to fill memory pages.
fn whole(data: &[u8], size: Size, needed: usize) -> Result<&[u8], ConvertError> {
    data.get(..needed).ok_or(ConvertError::Short {
        size,
        found: data.len(),
    })
}

fn from_yuyv(size: Size, even: Size, data: &[u8]) -> Result<Vec<u8>, ConvertError> {
    // A row of an odd width still ends with a whole pair of pixels.
    let stride = size.width.next_multiple_of(2) * 2;
    let packed = YuvPackedImage {
        yuy: whole(data, size, stride as usize * size.height as usize)?,
        yuy_stride: stride,
        width: even.width,
        height: even.height,
    };
    planar(even, |image| yuyv422_to_yuv420(image, &packed))
}

fn from_nv12(size: Size, even: Size, data: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let (wide, high) = (size.width as usize, size.height as usize);
    let chroma_stride = wide.next_multiple_of(2);
    let needed = wide * high + chroma_stride * high.div_ceil(2);
    let (luma, chroma) = whole(data, size, needed)?.split_at(wide * high);
    let (width, height) = (even.width as usize, even.height as usize);
    let mut planes = Vec::with_capacity(VideoFrame::bytes_for(even));
    for row in luma.chunks_exact(wide).take(height) {
        planes.extend_from_slice(&row[..width]);
    }
    for plane in 0..2 {
        for row in chroma.chunks_exact(chroma_stride).take(height / 2) {
            planes.extend(row[..width].chunks_exact(2).map(|pair| pair[plane]));
        }
    }
    Ok(planes)
}

fn from_mjpeg(size: Size, even: Size, data: &[u8]) -> Result<Vec<u8>, ConvertError> {
    // The JPEG library reports some damage by unwinding.
    let decoded = panic::catch_unwind(|| mjpeg_to_rgb(data, false));
    let rgb = match decoded {
        Ok(Ok(rgb)) => rgb,
        Ok(Err(error)) => return Err(ConvertError::Damaged(error.to_string())),
        Err(_) => return Err(ConvertError::Damaged("not a whole JPEG".into())),
    };
    let stride = size.width * 3;
    let rgb = whole(&rgb, size, stride as usize * size.height as usize)?;
    let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt601);
    planar(even, |image| {
        rgb_to_yuv420(
            image,
            rgb,
            stride,
            range,
            matrix,
            YuvConversionMode::Balanced,
        )
    })
}

/// Has `convert` fill the three planes of a picture.
fn planar(
    size: Size,
    convert: impl FnOnce(&mut YuvPlanarImageMut<'_, u8>) -> Result<(), yuv::YuvError>,
) -> Result<Vec<u8>, ConvertError> {
    let mut planes = vec![0; VideoFrame::bytes_for(size)];
    let (y, chroma) = planes.split_at_mut(size.pixels() as usize);
    let (u, v) = chroma.split_at_mut(y.len() / 4);
    let mut image = YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: size.width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: size.width / 2,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: size.width / 2,
        width: size.width,
        height: size.height,
    };
    convert(&mut image).map_err(|error| ConvertError::Damaged(error.to_string()))?;
    Ok(planes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn convert(packing: Packing, size: Size, data: &[u8]) -> Result<VideoFrame, ConvertError> {
        to_i420(packing, size, data, clock::now())
    }

    #[test]
    fn yuyv_keeps_its_brightness_and_colours() {
        let size = Size::new(64, 36);
        let mut data: Vec<u8> = (0..64 * 36 / 2)
            .flat_map(|n| [n as u8, 90, !n as u8, 170])
            .collect();
        data.extend([0; 1_000]);
        let frame = convert(Packing::Yuyv, size, &data).unwrap();
        let luma: Vec<u8> = data.chunks(2).map(|pair| pair[0]).take(64 * 36).collect();
        assert_eq!(frame.y(), luma);
        assert!(frame.u().iter().all(|&u| u == 90));
        assert!(frame.v().iter().all(|&v| v == 170));
    }

    #[test]
    fn nv12_keeps_its_planes_and_odd_sides_are_cut() {
        let mut data: Vec<u8> = (0..5)
            .flat_map(|y| (0..7).map(move |x| 10 * y + x))
            .collect();
        data.extend([100, 200, 101, 201, 102, 202, 103, 203].repeat(3));
        let frame = convert(Packing::Nv12, Size::new(7, 5), &data).unwrap();
        assert_eq!(frame.size(), Size::new(6, 4));
        assert_eq!(frame.y()[..12], [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]);
        assert_eq!(frame.u(), [100, 101, 102, 100, 101, 102]);
        assert_eq!(frame.v(), [200, 201, 202, 200, 201, 202]);
    }

    #[test]
    fn a_picture_that_is_too_short_empty_or_damaged_is_an_error() {
        let size = Size::new(64, 36);
        for packing in [Packing::Yuyv, Packing::Nv12, Packing::Mjpeg] {
            assert!(convert(packing, size, &[1; 100]).is_err());
            assert!(convert(packing, size, &[]).is_err());
            assert!(convert(packing, Size::new(1, 9), &[1; 100]).is_err());
        }
    }

    #[test]
    fn a_jpeg_becomes_a_picture_and_a_torn_one_an_error_or_a_picture() {
        // One pixel block of mid grey, made with libjpeg: 16x16, 4:2:0.
        let jpeg = grey_jpeg();
        let size = Size::new(16, 16);
        let frame = convert(Packing::Mjpeg, size, &jpeg).unwrap();
        // Full range 128 is 16 + 128 * 219 / 255 in limited range.
        assert!(
            frame.y().iter().all(|&y| y.abs_diff(126) <= 2),
            "{:?}",
            frame.y()
        );
        assert!(frame.u().iter().all(|&u| u.abs_diff(128) <= 1));
        assert!(convert(Packing::Mjpeg, Size::new(64, 64), &jpeg).is_err());
        for end in 0..jpeg.len() {
            drop(convert(Packing::Mjpeg, size, &jpeg[..end]));
        }
    }

    fn grey_jpeg() -> Vec<u8> {
        include_bytes!("testdata/grey.jpg").to_vec()
    }
}
