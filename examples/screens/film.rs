//! Moving pictures of somebody in front of a coloured wall.

use std::{thread, time::Duration};

use nonstop::{
    call::Picture,
    clock,
    latest::Latest,
    media::{Size, VideoFrame},
};

/// The size of a whole picture.
const SIZE: Size = Size::new(1280, 720);
/// How many pictures a small film has.
const PICTURES: usize = 12;

/// Makes moving pictures, 25 times a second.
pub(crate) fn film(seed: u64) -> Picture {
    let time = move || clock::since_start().as_secs_f32() + seed as f32 * 1.7;
    play(seed, move || frame(seed, SIZE, time()))
}

/// Makes small moving pictures of a second that comes again and again: cheap enough for a crowd.
pub(crate) fn small_film(seed: u64) -> Picture {
    let size = Size::new(320, 180);
    let frames: Vec<VideoFrame> = (0..PICTURES)
        .map(|index| frame(seed, size, index as f32 * 0.3 + seed as f32 * 1.7))
        .collect();
    let mut next = 0;
    play(seed, move || {
        next = (next + 1) % frames.len();
        frames[next].clone()
    })
}

fn play(seed: u64, mut next: impl FnMut() -> VideoFrame + Send + 'static) -> Picture {
    let frames = Latest::new();
    let reader = frames.reader();
    thread::spawn(move || {
        loop {
            frames.set(next());
            thread::sleep(Duration::from_millis(40));
        }
    });
    Picture {
        stream: seed + 1,
        frames: reader,
    }
}

fn frame(seed: u64, size: Size, time: f32) -> VideoFrame {
    let (wide, high) = (size.width as usize, size.height as usize);
    let scale = SIZE.width as f32 / size.width as f32;
    let head = (
        640.0 + 24.0 * (time * 0.9).sin(),
        300.0 + 10.0 * (time * 1.7).sin(),
    );
    let mut planes = Vec::with_capacity(VideoFrame::bytes_for(size));
    for y in 0..high {
        for x in 0..wide {
            let wall = 70.0 + 60.0 * (x as f32 / wide as f32) - 24.0 * (y as f32 / high as f32);
            planes.push(match part(x as f32 * scale, y as f32 * scale, head) {
                Part::Wall => wall as u8,
                Part::Head => 168,
                Part::Hair => 38,
                Part::Body => 58 + 22 * (seed % 4) as u8,
            });
        }
    }
    let hues = [(150, 110), (118, 120), (134, 150), (110, 142), (142, 122)];
    let (u, v) = hues[seed as usize % hues.len()];
    for chroma in [(u, 112, 124), (v, 154, 132)] {
        for y in (0..high).step_by(2) {
            for x in (0..wide).step_by(2) {
                planes.push(match part(x as f32 * scale, y as f32 * scale, head) {
                    Part::Wall => chroma.0,
                    Part::Head => chroma.1,
                    Part::Hair => chroma.2,
                    Part::Body => 255 - chroma.0,
                });
            }
        }
    }
    VideoFrame::new(size, planes, clock::now())
}

enum Part {
    Wall,
    Head,
    Hair,
    Body,
}

fn part(x: f32, y: f32, head: (f32, f32)) -> Part {
    let oval = |cx: f32, cy: f32, rx: f32, ry: f32| {
        ((x - cx) / rx).powi(2) + ((y - cy) / ry).powi(2) < 1.0
    };
    if oval(head.0, head.1 + 14.0, 92.0, 118.0) {
        Part::Head
    } else if oval(head.0, head.1 - 16.0, 112.0, 132.0) {
        Part::Hair
    } else if oval(640.0, 760.0, 270.0, 300.0) {
        Part::Body
    } else {
        Part::Wall
    }
}
