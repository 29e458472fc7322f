//! Makes pictures smaller, keeping all of what they show.

use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::U8,
};

use crate::media::{Size, VideoFrame};

/// Scales pictures; keeps the memory it works in from one to the next.
#[derive(Debug, Default)]
pub struct Scaler {
    resizer: Resizer,
}

impl Scaler {
    /// Makes a scaler.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns `frame` at `size` (both sides even), captured when it was. A frame that has that
    /// size already is shared, not copied.
    pub fn scale(&mut self, frame: &VideoFrame, size: Size) -> VideoFrame {
        if frame.size() == size {
            return frame.clone();
        }
        let mut planes = vec![0; VideoFrame::bytes_for(size)];
        let (y, chroma) = planes.split_at_mut(size.pixels() as usize);
        let (u, v) = chroma.split_at_mut(y.len() / 4);
        let (from, to) = (frame.size(), size);
        let (from_half, to_half) = (half(from), half(to));
        self.plane(frame.y(), from, y, to);
        self.plane(frame.u(), from_half, u, to_half);
        self.plane(frame.v(), from_half, v, to_half);
        VideoFrame::new(size, planes, frame.captured())
    }

    fn plane(&mut self, source: &[u8], from: Size, target: &mut [u8], to: Size) {
        // Typed, or the code for every other kind of pixel would be compiled in too.
        let source = TypedImageRef::<U8>::from_buffer(from.width, from.height, source)
            .expect("a plane is as long as its sides say");
        let mut target = TypedImage::<U8>::from_buffer(to.width, to.height, target)
            .expect("a plane is as long as its sides say");
        // Each new pixel averages all those it stands for: no aliasing. Where it stands for a whole
        // number of them the plain mean is as good as the weighted one, and half the work.
        let whole = from.width.is_multiple_of(to.width) && from.height.is_multiple_of(to.height);
        let filter = if whole {
            FilterType::Box
        } else {
            FilterType::Bilinear
        };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
        self.resizer
            .resize_typed(&source, &mut target, &options)
            .expect("both are of the same kind");
    }
}

fn half(size: Size) -> Size {
    Size::new(size.width / 2, size.height / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// A picture whose brightness rises from left to right, in one colour.
    fn ramp(size: Size) -> VideoFrame {
        let row = (0..size.width).map(|x| (x * 255 / (size.width - 1)) as u8);
        let mut planes: Vec<u8> = row.collect::<Vec<_>>().repeat(size.height as usize);
        planes.resize(planes.len() + size.pixels() as usize / 4, 90);
        planes.resize(VideoFrame::bytes_for(size), 200);
        VideoFrame::new(size, planes, clock::now())
    }

    #[test]
    fn a_smaller_picture_shows_the_same() {
        let mut scaler = Scaler::new();
        for (from, to) in [
            (Size::new(1280, 720), Size::new(640, 360)),
            (Size::new(640, 480), Size::new(552, 414)),
            (Size::new(1280, 720), Size::new(320, 180)),
        ] {
            let source = ramp(from);
            let small = scaler.scale(&source, to);
            let wanted = ramp(to);
            assert_eq!(small.size(), to);
            assert_eq!(small.captured(), source.captured());
            let off = small.y().iter().zip(wanted.y());
            let most = off.map(|(a, b)| a.abs_diff(*b)).max();
            assert!(most <= Some(2), "{from} to {to}: off by {most:?}");
            assert_eq!(small.u(), wanted.u());
            assert_eq!(small.v(), wanted.v());
        }
    }

    #[test]
    fn the_same_size_shares_the_memory() {
        let source = ramp(Size::new(64, 32));
        let same = Scaler::new().scale(&source, Size::new(64, 32));
        assert_eq!(same.planes().as_ptr(), source.planes().as_ptr());
    }
}
