//! What participants recorded of each other, read back.

use std::{fs, path::Path};

use nonstop::{
    clock,
    media::{Size, VideoFrame, video::test_card::read_counter},
};

/// Returns the counter of each recorded picture of a test card, where it can be read.
pub(crate) fn counters(path: &Path) -> Vec<Option<u32>> {
    let bytes = fs::read(path).unwrap();
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("a y4m header");
    let header = str::from_utf8(&bytes[..end]).unwrap();
    let side = |mark: char| -> u32 {
        let word = header.split(' ').find_map(|word| word.strip_prefix(mark));
        word.unwrap().parse().unwrap()
    };
    let size = Size::new(side('W'), side('H'));
    // Whoever was killed may have left half a picture.
    let pictures = bytes[end + 1..].chunks_exact("FRAME\n".len() + VideoFrame::bytes_for(size));
    pictures
        .map(|picture| {
            let planes = picture.strip_prefix(b"FRAME\n").expect("a picture's line");
            read_counter(&VideoFrame::new(size, planes, clock::now()))
        })
        .collect()
}

/// Asserts that pictures of a test card came through: readable, each newer than the one before.
pub(crate) fn assert_moving(path: &Path) {
    let counters = counters(path);
    let readable: Vec<_> = counters.iter().flatten().copied().collect();
    assert!(
        readable.len() >= 20 && readable.len() * 10 >= counters.len() * 9,
        "{}: {} of {} pictures can be read",
        path.display(),
        readable.len(),
        counters.len()
    );
    let back = readable.windows(2).find(|pair| pair[1] <= pair[0]);
    assert_eq!(
        back,
        None,
        "{}: time stands still or goes back",
        path.display()
    );
}

/// Asserts that the tone of 440 Hz was heard, for at least half of the recorded time.
pub(crate) fn assert_tone(path: &Path) {
    let mut reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    let samples: Vec<f32> = reader
        .samples::<i16>()
        .map(|sample| f32::from(sample.unwrap()) / f32::from(i16::MAX))
        .collect();
    let window = spec.sample_rate as usize / 5;
    let windows: Vec<_> = samples.chunks_exact(window).collect();
    let mut heard: Vec<_> = windows.iter().filter_map(|window| hertz(window)).collect();
    assert!(
        heard.len() >= 5 && heard.len() * 2 >= windows.len(),
        "{}: sound in {} of {} windows",
        path.display(),
        heard.len(),
        windows.len()
    );
    heard.sort_by(f32::total_cmp);
    let median = heard[heard.len() / 2];
    assert!(
        (435.0..445.0).contains(&median),
        "{}: {median} Hz",
        path.display()
    );
}

/// Returns the frequency of 200 ms of sound, from its rising zero crossings; nothing for silence.
fn hertz(window: &[f32]) -> Option<f32> {
    let energy = window.iter().map(|sample| sample * sample).sum::<f32>();
    if energy / (window.len() as f32) < 1e-4 {
        return None;
    }
    let rises: Vec<_> = (1..window.len())
        .filter(|&at| window[at - 1] < 0.0 && window[at] >= 0.0)
        .collect();
    let (first, last) = (*rises.first()?, *rises.last()?);
    let periods = rises.len().checked_sub(1).filter(|periods| *periods > 0)?;
    // 48 kHz throughout, as the application records.
    Some(periods as f32 * 48_000.0 / (last - first) as f32)
}
