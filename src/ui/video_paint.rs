//! Moving pictures on the screen.
//!
//! A picture is converted only when it is new and its tile is painted, and only as large as the
//! tile needs: nothing is done for a hidden window, and a small tile costs little.
//!
//! ```text
//! Reader<VideoFrame> ── new? ── halve until it fits the tile ── I420 to RGBA ──▶ texture, in place
//!        └── wakes the window, at most 60 times a second; 30 times where many are shown
//! ```

use std::{collections::HashMap, time::Instant};

use egui::{Color32, ColorImage, Rect, TextureHandle, TextureOptions, Vec2, vec2};
use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_rgba};

use super::wake::Wake;
use crate::{
    call::Picture,
    clock,
    latest::Reader,
    media::{Size, VideoFrame},
};

/// The pictures that tiles show, by stream.
#[derive(Debug)]
pub(super) struct Pictures {
    wake: Wake,
    streams: HashMap<u64, Stream>,
}

struct Stream {
    frames: Reader<VideoFrame>,
    shown: Option<Shown>,
    used: bool,
}

struct Shown {
    texture: TextureHandle,
    size: Size,
    changed: Instant,
}

/// A picture that can be painted now.
#[derive(Debug, Clone)]
pub(super) struct Paintable {
    /// The texture.
    pub(super) texture: egui::TextureId,
    /// The picture's own size.
    pub(super) size: Vec2,
    /// When it last changed.
    pub(super) changed: Instant,
}

impl Pictures {
    /// Makes a set that wakes the window through `wake`.
    pub(super) fn new(wake: Wake) -> Self {
        Self {
            wake,
            streams: HashMap::new(),
        }
    }

    /// Returns the newest picture of a stream, ready to be painted `wide` points wide, or nothing
    /// if none has come yet.
    pub(super) fn newest(
        &mut self,
        context: &egui::Context,
        picture: &Picture,
        wide: f32,
    ) -> Option<Paintable> {
        let stream = self.streams.entry(picture.stream).or_insert_with(|| {
            picture.frames.on_change(self.wake.picture());
            Stream {
                frames: picture.frames.clone(),
                shown: None,
                used: true,
            }
        });
        stream.used = true;
        let fresh = match &stream.shown {
            None => stream.frames.newest(),
            Some(_) => stream.frames.take_new(),
        };
        if let Some(frame) = fresh {
            let pixels = (wide * context.pixels_per_point()).ceil().max(1.0) as u32;
            let image = convert(&frame, pixels);
            let changed = clock::now();
            match &mut stream.shown {
                Some(shown) => {
                    // Into the memory that there is, where the size stays.
                    if shown.texture.size() == image.size {
                        shown
                            .texture
                            .set_partial([0, 0], image, TextureOptions::LINEAR);
                    } else {
                        shown.texture.set(image, TextureOptions::LINEAR);
                    }
                    shown.size = frame.size();
                    shown.changed = changed;
                }
                None => {
                    let name = format!("picture {}", picture.stream);
                    stream.shown = Some(Shown {
                        texture: context.load_texture(name, image, TextureOptions::LINEAR),
                        size: frame.size(),
                        changed,
                    });
                }
            }
        }
        stream.shown.as_ref().map(|shown| Paintable {
            texture: shown.texture.id(),
            size: vec2(shown.size.width as f32, shown.size.height as f32),
            changed: shown.changed,
        })
    }

    /// Lets go of the streams that nothing asked for since the last call.
    pub(super) fn forget_unused(&mut self) {
        self.streams
            .retain(|_, stream| std::mem::take(&mut stream.used));
        self.wake.shows(self.streams.len());
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// Paints a picture at `place`, showing `part` of it (0 to 1 each way), with rounded corners.
pub(super) fn paint(
    painter: &egui::Painter,
    paintable: &Paintable,
    (place, part): (Rect, Rect),
    radius: u8,
    mirrored: bool,
    tint: Color32,
) {
    let mut part = part;
    if mirrored {
        std::mem::swap(&mut part.min.x, &mut part.max.x);
    }
    painter.add(
        egui::epaint::RectShape::filled(place, radius, tint).with_texture(paintable.texture, part),
    );
}

/// Converts a picture to at least `pixels` wide, where it is that wide.
fn convert(frame: &VideoFrame, pixels: u32) -> ColorImage {
    let halved = halve_until(frame, pixels);
    let (planes, size) = match &halved {
        Some((planes, size)) => (planes.as_slice(), *size),
        None => (frame.planes(), frame.size()),
    };
    let luma = size.pixels() as usize;
    let (y, chroma) = planes.split_at(luma);
    let (u, v) = chroma.split_at(luma / 4);
    let planar = YuvPlanarImage {
        y_plane: y,
        y_stride: size.width,
        u_plane: u,
        u_stride: size.width / 2,
        v_plane: v,
        v_stride: size.width / 2,
        width: size.width,
        height: size.height,
    };
    let side = [size.width as usize, size.height as usize];
    let mut image = ColorImage::filled(side, Color32::BLACK);
    let converted = yuv420_to_rgba(
        &planar,
        image.as_raw_mut(),
        size.width * 4,
        YuvRange::Limited,
        YuvStandardMatrix::Bt601,
    );
    if let Err(error) = converted {
        tracing::warn!(%error, %size, "a picture could not be converted");
    }
    image
}

/// Halves a picture as often as it stays at least `pixels` wide. Nothing if it need not be halved.
fn halve_until(frame: &VideoFrame, pixels: u32) -> Option<(Vec<u8>, Size)> {
    let mut halved: Option<(Vec<u8>, Size)> = None;
    loop {
        let (planes, size) = match &halved {
            Some((planes, size)) => (planes.as_slice(), *size),
            None => (frame.planes(), frame.size()),
        };
        let fits = size.width / 2 >= pixels && size.width % 4 == 0 && size.height % 4 == 0;
        if !fits {
            return halved;
        }
        halved = Some(halve(planes, size));
    }
}

fn halve(planes: &[u8], size: Size) -> (Vec<u8>, Size) {
    let (width, height) = (size.width as usize, size.height as usize);
    let luma = width * height;
    let (y, chroma) = planes.split_at(luma);
    let (u, v) = chroma.split_at(luma / 4);
    let mut out = Vec::with_capacity(planes.len() / 4);
    for (plane, width) in [(y, width), (u, width / 2), (v, width / 2)] {
        for rows in plane.chunks_exact(width * 2) {
            let (upper, lower) = rows.split_at(width);
            let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            out.extend(pairs.map(|(a, b)| {
                let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
                ((sum + 2) / 4) as u8
            }));
        }
    }
    (out, Size::new(size.width / 2, size.height / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(size: Size, yuv: [u8; 3]) -> VideoFrame {
        let luma = size.pixels() as usize;
        let mut planes = vec![yuv[0]; luma];
        planes.extend(std::iter::repeat_n(yuv[1], luma / 4));
        planes.extend(std::iter::repeat_n(yuv[2], luma / 4));
        VideoFrame::new(size, planes, clock::now())
    }

    #[test]
    fn colours_come_out_as_they_went_in() {
        let red = plain(Size::new(64, 32), [82, 90, 240]);
        let image = convert(&red, 64);
        assert_eq!(image.size, [64, 32]);
        let [r, g, b, a] = image.pixels[0].to_array();
        assert!(r > 245 && g < 10 && b < 10 && a == 255, "{r} {g} {b} {a}");
    }

    #[test]
    fn a_small_tile_gets_a_small_picture_but_never_less_than_it_shows() {
        let frame = plain(Size::new(1280, 720), [128, 128, 128]);
        assert_eq!(convert(&frame, 1280).size, [1280, 720]);
        assert_eq!(convert(&frame, 700).size, [1280, 720]);
        assert_eq!(convert(&frame, 640).size, [640, 360]);
        assert_eq!(convert(&frame, 200).size, [320, 180]);
        assert_eq!(convert(&frame, 1).size, [160, 90]);
    }

    #[test]
    fn halving_averages() {
        let size = Size::new(4, 4);
        let mut planes = vec![0; 24];
        planes[0] = 100;
        planes[1] = 50;
        planes[4] = 30;
        planes[5] = 20;
        let (out, half) = halve(&planes, size);
        assert_eq!((out[0], half), (50, Size::new(2, 2)));
        assert_eq!(out.len(), 6);
    }
}
