//! Which of a camera's formats to take. Pure.
//!
//! Drivers' own defaults are of no use: the highest rate may be a stamp-sized picture, the highest
//! resolution two pictures a second.

use std::cmp::Reverse;

use crate::media::{Size, video::convert::Packing};

/// One format that a camera offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) size: Size,
    pub(super) fps: u32,
    pub(super) packing: Packing,
}

/// What is wanted of a camera, at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) size: Size,
    pub(super) fps: u32,
}

/// A call has no use for more pixels than this.
const MOST: Size = Size::new(1280, 720);

/// Sorts formats, the best first.
pub(super) fn best_first(mut formats: Vec<Format>, wish: Wish) -> Vec<Format> {
    formats.retain(|format| format.size.width >= 16 && format.size.height >= 16 && format.fps > 0);
    formats.sort_by_key(|format| Reverse(score(format, wish)));
    formats.dedup();
    formats
}

/// Rates a format, in parts per million of the ideal.
fn score(format: &Format, wish: Wish) -> u64 {
    let pixels = format.size.pixels() as f64;
    let wanted = wish.size.pixels().clamp(1, MOST.pixels()) as f64;
    let size = if pixels <= wanted {
        pixels / wanted
    } else {
        // Scaled down later: as good to look at, but dearer with each pixel.
        0.9 * (wanted / pixels).powf(0.25)
    };
    let fps = f64::from(wish.fps.clamp(1, 30));
    let rate = f64::from(format.fps) / fps;
    // Motion counts for more than detail; a faster rate than wanted is thinned out later.
    let rate = if rate <= 1.0 { rate.powf(1.5) } else { 0.95 };
    let packing = match format.packing {
        Packing::Nv12 => 1.0,
        Packing::Yuyv => 0.99,
        // Costs a decoder.
        Packing::Mjpeg => 0.97,
    };
    (size * rate * packing * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish = Wish {
        size: MOST,
        fps: 30,
    };

    fn format(width: u32, height: u32, fps: u32, packing: Packing) -> Format {
        Format {
            size: Size::new(width, height),
            fps,
            packing,
        }
    }

    fn best(formats: &[Format], wish: Wish) -> Format {
        best_first(formats.to_vec(), wish)[0]
    }

    #[test]
    fn a_usual_webcam_gives_its_720p_as_jpeg() {
        let usual = [
            format(640, 480, 30, Packing::Yuyv),
            format(1280, 720, 10, Packing::Yuyv),
            format(640, 480, 30, Packing::Mjpeg),
            format(1280, 720, 30, Packing::Mjpeg),
            format(1920, 1080, 30, Packing::Mjpeg),
        ];
        assert_eq!(best(&usual, WISH), usual[3]);
        let small = Wish {
            size: Size::new(640, 480),
            ..WISH
        };
        assert_eq!(best(&usual, small), usual[0]);
    }

    #[test]
    fn what_needs_no_decoder_comes_first_where_it_is_as_good() {
        let formats = [
            format(1280, 720, 30, Packing::Mjpeg),
            format(1280, 720, 30, Packing::Yuyv),
            format(1280, 720, 60, Packing::Yuyv),
            format(320, 180, 60, Packing::Yuyv),
            format(3840, 2160, 2, Packing::Yuyv),
        ];
        assert_eq!(best(&formats, WISH), formats[1]);
    }

    #[test]
    fn motion_comes_before_detail() {
        let formats = [
            format(1280, 720, 10, Packing::Yuyv),
            format(640, 480, 30, Packing::Yuyv),
        ];
        assert_eq!(best(&formats, WISH), formats[1]);
    }

    #[test]
    fn formats_of_no_use_are_left_out() {
        let formats = vec![
            format(0, 0, 30, Packing::Yuyv),
            format(640, 480, 0, Packing::Yuyv),
        ];
        assert!(best_first(formats, WISH).is_empty());
    }
}
