//! A test card: colour bars, a clock, things that move, and a counter that machines can read.
//!
//! What stands still is painted once; what moves is copied or filled over it row by row, so that
//! drawing a card costs little more than copying it. The counter survives scaling and encoding at
//! low rates: 24 bits and 8 check bits, each a block of a twentieth of the width, black or white.
//!
//! ```text
//! ┌──────────────────────┐
//! │ colour bars     ●    │  a ball that circles
//! │      ┌────────┐      │
//! │      │12:34:56│      │  the time of day (UTC), or whatever time it is given
//! │──────┴────────┴──────│
//! │ ≋≋≋≋ waves ≋≋≋≋≋≋≋≋≋ │  a texture that scrolls, with grain that is new in every picture
//! │ ▮▯▮▮▯▯▮▯ bits of the │
//! │ ▯▮▯▯▮▮▯▮ counter     │
//! └──────────────────────┘
//! ```

use std::{
    f32::consts::TAU,
    time::{Duration, Instant},
};

use crate::media::{Size, VideoFrame};

/// Size of the card where nothing smaller is asked for.
pub const SIZE: Size = Size::new(1280, 720);
/// Pictures a second.
pub const FPS: u32 = 30;

/// The counter starts again at this.
const COUNTER_END: u32 = 1 << 24;
/// Columns of the grid that the counter's blocks are laid on, of which 2 at each side stay free.
const COLUMNS: usize = 20;
/// Different grains; encoders look back one picture, so that few are as good as ever new ones.
const GRAINS: usize = 8;
/// How far the grain goes from the mean: as a camera's in a dim room, so that encoders find as much
/// to do as there.
const GRAIN: i32 = 14;
/// Blocks in one of the counter's two rows.
const BLOCKS: usize = 16;
/// The brightness of a block that is neither black nor white: a picture that is not a test card.
const UNCERTAIN: std::ops::Range<u32> = 90..166;

/// Y, U, V of one colour.
type Colour = [u8; 3];

const BLACK: Colour = [16, 128, 128];
const WHITE: Colour = [235, 128, 128];
const SLATE: Colour = [32, 134, 124];
const MINT: Colour = [190, 112, 90];
/// White, yellow, cyan, green, magenta, red, blue at 75 % (BT.601).
const BARS: [Colour; 7] = [
    [180, 128, 128],
    [162, 44, 142],
    [131, 156, 44],
    [112, 72, 58],
    [84, 184, 198],
    [65, 100, 212],
    [35, 212, 114],
];

/// A painter of test cards of one size.
pub struct TestCard {
    canvas: Canvas,
    /// A strip of texture in each grain, wider than the card by one period: rows of Y.
    waves: Vec<Vec<u8>>,
    period: usize,
}

impl TestCard {
    /// Paints what stands still, for cards of `size` (both sides even).
    pub fn new(size: Size) -> Self {
        let mut canvas = Canvas::new(size);
        let layout = Layout::of(size);
        let (width, height) = (layout.width, layout.height);
        canvas.fill(0, 0, width, height, SLATE);
        for (index, colour) in BARS.into_iter().enumerate() {
            let left = width * index / BARS.len();
            let right = width * (index + 1) / BARS.len();
            canvas.fill(left, 0, right - left, layout.waves_top, colour);
        }
        canvas.shade(layout.waves_top);
        let (clock_left, clock_top, clock_width, clock_height) = layout.clock;
        canvas.fill(clock_left, clock_top, clock_width, clock_height, SLATE);
        let counter = layout.counter_top;
        canvas.fill(0, counter, width, height - counter, BLACK);
        let period = (width / 4).max(2);
        let rows = counter - layout.waves_top;
        let mut random = 1_u32;
        let waves = (0..GRAINS).map(|_| {
            let wave = wave_texture(width + period, rows, period);
            let grained = wave.map(|luma| {
                // A linear congruential generator (Numerical Recipes): reproducible is enough.
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let grain = (random >> 24) as i32 * 2 * GRAIN / 255 - GRAIN;
                (luma + grain).clamp(16, 235) as u8
            });
            grained.collect()
        });
        Self {
            waves: waves.collect(),
            canvas,
            period,
        }
    }

    /// Draws the card with this counter and time, captured at `captured`.
    pub fn draw(&mut self, counter: u32, time: Duration, captured: Instant) -> VideoFrame {
        let layout = Layout::of(self.canvas.size);
        let mut canvas = self.canvas.clone();
        let moved = counter as usize * layout.unit / 3 % self.period;
        let row_length = layout.width + self.period;
        let waves = &self.waves[counter as usize % GRAINS];
        for (index, row) in waves.chunks_exact(row_length).enumerate() {
            let start = (layout.waves_top + index) * layout.width;
            canvas.planes[start..start + layout.width]
                .copy_from_slice(&row[moved..moved + layout.width]);
        }
        draw_clock(&mut canvas, &layout, time);
        draw_ball(&mut canvas, &layout, counter);
        draw_counter(&mut canvas, &layout, counter);
        VideoFrame::new(canvas.size, canvas.planes, captured)
    }
}

impl std::fmt::Debug for TestCard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TestCard({})", self.canvas.size)
    }
}

/// Reads the counter off a test card of any size, scaled and encoded as it may be.
/// Returns nothing for any other picture.
pub fn read_counter(frame: &VideoFrame) -> Option<u32> {
    let layout = Layout::of(frame.size());
    let mut bits = 0_u32;
    for index in 0..2 * BLOCKS {
        let (left, top, width, height) = layout.block(index);
        // The middle of a block: its borders are blurred.
        let columns = left + width / 4..left + width - width / 4;
        let rows = top + height / 4..top + height - height / 4;
        let (mut sum, mut count) = (0, 0);
        for y in rows {
            let row = &frame.y()[y * layout.width..][columns.clone()];
            sum += row.iter().map(|&luma| u32::from(luma)).sum::<u32>();
            count += row.len() as u32;
        }
        let mean = sum.checked_div(count)?;
        if UNCERTAIN.contains(&mean) {
            return None;
        }
        bits = bits << 1 | u32::from(mean >= UNCERTAIN.end);
    }
    let counter = bits >> 8;
    (bits & 0xFF == check(counter)).then_some(counter)
}

/// Returns eight check bits (CRC-8, polynomial 0x07, started from all ones so that a picture that
/// is all black is no counter).
fn check(counter: u32) -> u32 {
    counter.to_be_bytes()[1..].iter().fold(0xFF, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let shifted = crc << 1;
            (if crc & 0x80 == 0 {
                shifted
            } else {
                shifted ^ 0x07
            }) & 0xFF
        })
    })
}

/// Where things are, in pixels.
struct Layout {
    width: usize,
    height: usize,
    /// A forty-fifth of the height: 16 pixels at 720.
    unit: usize,
    waves_top: usize,
    counter_top: usize,
    /// Left, top, width, height.
    clock: (usize, usize, usize, usize),
}

impl Layout {
    fn of(size: Size) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let unit = (height / 45).max(1);
        let clock_width = (width / 2) & !1;
        Self {
            width,
            height,
            unit,
            waves_top: (height * 3 / 5) & !1,
            counter_top: (height * 4 / 5) & !1,
            clock: (
                (width / 4) & !1,
                (height / 5) & !1,
                clock_width,
                (height / 5) & !1,
            ),
        }
    }

    /// Returns left, top, width and height of the counter's block `index`.
    fn block(&self, index: usize) -> (usize, usize, usize, usize) {
        let column = 2 + index % BLOCKS;
        let left = self.width * column / COLUMNS;
        let right = self.width * (column + 1) / COLUMNS;
        let row = index / BLOCKS;
        let room = self.height - self.counter_top;
        let top = self.counter_top + room * (1 + 3 * row) / 8;
        let bottom = self.counter_top + room * (4 + 3 * row) / 8;
        (left, top, right - left, bottom - top)
    }
}

/// A picture that can be painted on.
#[derive(Clone)]
struct Canvas {
    size: Size,
    planes: Vec<u8>,
}

impl Canvas {
    fn new(size: Size) -> Self {
        let planes = vec![128; VideoFrame::bytes_for(size)];
        Self { size, planes }
    }

    /// Fills a rectangle, cut to the picture; chroma to the nearest whole pixel.
    fn fill(&mut self, left: usize, top: usize, width: usize, height: usize, colour: Colour) {
        let (wide, high) = (self.size.width as usize, self.size.height as usize);
        let (right, bottom) = ((left + width).min(wide), (top + height).min(high));
        if left >= right || top >= bottom {
            return;
        }
        for y in top..bottom {
            self.planes[y * wide + left..y * wide + right].fill(colour[0]);
        }
        let (left, right) = (left / 2, right.div_ceil(2).min(wide / 2));
        let (top, bottom) = (top / 2, bottom.div_ceil(2).min(high / 2));
        let u = wide * high;
        let v = u + u / 4;
        for (start, value) in [(u, colour[1]), (v, colour[2])] {
            for y in top..bottom {
                let row = start + y * (wide / 2);
                self.planes[row + left..row + right].fill(value);
            }
        }
    }

    /// Darkens the first `rows` rows towards the bottom, so that bars are gradients.
    fn shade(&mut self, rows: usize) {
        let wide = self.size.width as usize;
        for (y, row) in self.planes.chunks_exact_mut(wide).take(rows).enumerate() {
            let kept = 256 - 96 * y / rows.max(1);
            for luma in row {
                *luma = 16 + ((usize::from(*luma) - 16) * kept / 256) as u8;
            }
        }
    }
}

/// Returns the brightness of two waves that cross, row by row.
fn wave_texture(width: usize, rows: usize, period: usize) -> impl Iterator<Item = i32> {
    (0..width * rows).map(move |index| {
        let (x, y) = (index % width, index / width);
        let phase = (x % period) as f32 / period as f32 * TAU;
        let slope = y as f32 / rows.max(1) as f32 * TAU;
        let wave = (phase + slope).sin() + 0.6 * (5.0 * phase - 2.0 * slope).sin();
        (126.0 + 50.0 * wave) as i32
    })
}

fn draw_clock(canvas: &mut Canvas, layout: &Layout, time: Duration) {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    let text = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    let (left, top, width, height) = layout.clock;
    let cell = width / 9;
    let (digit_width, digit_height) = (cell * 3 / 4, height * 3 / 5);
    let start = (left + (width - 8 * cell) / 2, top + height / 5);
    for (index, sign) in text.chars().enumerate() {
        let x = start.0 + index * cell;
        draw_sign(canvas, sign, (x, start.1), (digit_width, digit_height));
    }
    // A bar that fills within each second shows the hundredths.
    let filled = width * time.subsec_millis() as usize / 1000;
    let thickness = (height / 16).max(2);
    let bar = top + height.saturating_sub(thickness);
    canvas.fill(left, bar, filled, thickness, MINT);
}

/// Draws a digit of seven segments, or a colon.
fn draw_sign(canvas: &mut Canvas, sign: char, at: (usize, usize), size: (usize, usize)) {
    let ((x, y), (width, height)) = (at, size);
    let thick = (width / 5).max(1);
    let half = height / 2;
    let Some(digit) = sign.to_digit(10) else {
        for dot in [height / 4, height * 3 / 4] {
            canvas.fill(x + width / 2 - thick / 2, y + dot, thick, thick, WHITE);
        }
        return;
    };
    // Segments from bit 0: top, top left, top right, middle, bottom left, bottom right, bottom.
    const SEGMENTS: [u8; 10] = [119, 36, 93, 109, 46, 107, 123, 37, 127, 111];
    let segments = [
        (0, 0, width, thick),
        (0, 0, thick, half),
        (width.saturating_sub(thick), 0, thick, half),
        (0, half.saturating_sub(thick / 2), width, thick),
        (0, half, thick, height - half),
        (width.saturating_sub(thick), half, thick, height - half),
        (0, height.saturating_sub(thick), width, thick),
    ];
    for (bit, (left, top, wide, high)) in segments.into_iter().enumerate() {
        if SEGMENTS[digit as usize] >> bit & 1 == 1 {
            canvas.fill(x + left, y + top, wide, high, WHITE);
        }
    }
}

/// Draws the ball, which circles once in four seconds.
fn draw_ball(canvas: &mut Canvas, layout: &Layout, counter: u32) {
    let angle = counter as f32 / (4 * FPS) as f32 * TAU;
    let radius = 2 * layout.unit;
    let middle = (layout.width as f32 / 2.0, layout.waves_top as f32 / 2.0);
    let swing = (
        middle.0 - 2.0 * radius as f32,
        middle.1 - 1.2 * radius as f32,
    );
    let x = (middle.0 + angle.cos() * swing.0).max(0.0) as usize;
    let y = (middle.1 + angle.sin() * swing.1).max(0.0) as usize;
    for row in 0..2 * radius {
        let from_middle = row as f32 - radius as f32 + 0.5;
        let half = ((radius * radius) as f32 - from_middle * from_middle).sqrt() as usize;
        let luma = (235 - 90 * row / (2 * radius)) as u8;
        let colour = [luma, 112, 150];
        let left = x.saturating_sub(half);
        canvas.fill(left, (y + row).saturating_sub(radius), 2 * half, 1, colour);
    }
}

fn draw_counter(canvas: &mut Canvas, layout: &Layout, counter: u32) {
    let counter = counter % COUNTER_END;
    let bits = counter << 8 | check(counter);
    for index in 0..2 * BLOCKS {
        let (left, top, width, height) = layout.block(index);
        if bits >> (2 * BLOCKS - 1 - index) & 1 == 1 {
            canvas.fill(left, top, width, height, WHITE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, media::video::scale::Scaler};

    #[test]
    fn the_counter_is_read_at_every_size_of_the_ladder() {
        let mut scaler = Scaler::new();
        for size in [SIZE, Size::new(640, 480), Size::new(320, 180)] {
            let mut card = TestCard::new(size);
            for counter in [0, 1, 12_345, 0xAAAAAA, COUNTER_END - 1] {
                let frame = card.draw(counter, Duration::from_secs(40_000), clock::now());
                assert_eq!(read_counter(&frame), Some(counter));
                let small = Size::new((size.width / 4) & !1, (size.height / 4) & !1);
                for to in [small, Size::new(320, 180), Size::new(552, 414)] {
                    let scaled = scaler.scale(&frame, to);
                    assert_eq!(read_counter(&scaled), Some(counter), "{size} to {to}");
                }
            }
        }
    }

    #[test]
    fn other_pictures_have_no_counter() {
        let size = Size::new(640, 360);
        for luma in [0, 16, 128, 235, 255] {
            let planes = vec![luma; VideoFrame::bytes_for(size)];
            let frame = VideoFrame::new(size, planes, clock::now());
            assert_eq!(read_counter(&frame), None);
        }
        let tiny = VideoFrame::new(Size::new(2, 2), vec![0; 6], clock::now());
        assert_eq!(read_counter(&tiny), None);
    }

    #[test]
    fn every_size_can_be_drawn() {
        for size in [(2, 2), (16, 16), (34, 90), (180, 320), (1920, 1080)] {
            let size = Size::new(size.0, size.1);
            let mut card = TestCard::new(size);
            for counter in (0..200).step_by(7) {
                card.draw(counter, Duration::from_millis(1_234_567), clock::now());
            }
        }
    }
}
