//! Makes what `nonstop-load` sends, with the application's own encoders: a moving picture in three
//! layers, and a voice.
//!
//! ```text
//! tests/lab/clip.py /tmp/clip.y4m 4
//! cargo run --release --example load_recording -- /tmp/clip.y4m assets/load/recording.bin
//! ```
//! The layout is described in `crates/load/src/recording.rs`.

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use nonstop::{
    clock,
    media::{
        Size, VideoFrame,
        video::{encoder::Encoder, scale::Scaler, y4m::Y4mReader},
    },
};
use nonstop_rate::Bitrate;
use opus::{Application, Channels};

const MAGIC: &[u8; 8] = b"nsload\x00\x01";
/// The layers, smallest first, as an application publishes them.
const LAYERS: [(Size, u64); 3] = [
    (Size::new(320, 180), 120),
    (Size::new(640, 360), 450),
    (Size::new(1280, 720), 1500),
];
const FPS: u32 = 30;
const KEYFRAME: u8 = 1;
/// Samples of 20 ms at 48 kHz.
const SOUND: usize = 960;
const VOICE_KBPS: i32 = 32_000;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [clip, out] = words.as_slice() else {
        anyhow::bail!("usage: load_recording CLIP.y4m OUT");
    };
    let frames = frames(Path::new(clip))?;
    ensure!(!frames.is_empty(), "{clip} is empty");
    let mut file = MAGIC.to_vec();
    file.push(u8::try_from(LAYERS.len())?);
    for (size, kbps) in LAYERS {
        let pictures = layer(&frames, size, Bitrate::from_kbps(kbps))?;
        file.extend(u16::try_from(size.width)?.to_be_bytes());
        file.extend(u16::try_from(size.height)?.to_be_bytes());
        file.extend(u16::try_from(FPS)?.to_be_bytes());
        file.extend(u32::try_from(pictures.len())?.to_be_bytes());
        let bytes: usize = pictures.iter().map(|(_, data)| data.len()).sum();
        println!(
            "{size}: {} pictures, {} kb/s",
            pictures.len(),
            bytes * 8 * FPS as usize / pictures.len() / 1000
        );
        for (flags, data) in pictures {
            file.push(flags);
            file.extend(u32::try_from(data.len())?.to_be_bytes());
            file.extend(data);
        }
    }
    let seconds = frames.len() / FPS as usize;
    let sound = voice(seconds * 50)?;
    println!("sound: {} packets", sound.len());
    file.extend(u32::try_from(sound.len())?.to_be_bytes());
    for packet in sound {
        file.extend(u16::try_from(packet.len())?.to_be_bytes());
        file.extend(packet);
    }
    fs::write(out, &file).with_context(|| out.clone())?;
    println!("{out}: {} kB", file.len() / 1000);
    Ok(())
}

/// Every picture of the clip, once.
fn frames(clip: &Path) -> anyhow::Result<Vec<VideoFrame>> {
    let mut reader = Y4mReader::open(clip)?;
    let start = clock::now();
    // "FRAME" and a new line before each picture.
    let each = VideoFrame::bytes_for(reader.size()) as u64 + 6;
    let count = u32::try_from(fs::metadata(clip)?.len() / each)?;
    (0..count)
        .map(|number| {
            let captured = start + Duration::from_secs(1) * number / FPS;
            Ok(reader.next_frame(captured)?)
        })
        .collect()
}

/// One layer: flags and bytes of each picture. What the encoder leaves out is left out here too.
fn layer(frames: &[VideoFrame], size: Size, target: Bitrate) -> anyhow::Result<Vec<(u8, Vec<u8>)>> {
    let mut scaler = Scaler::new();
    let mut encoder = Encoder::new(size, FPS as f32, target)?;
    let mut pictures = Vec::new();
    for frame in frames {
        let scaled = scaler.scale(frame, size);
        match encoder.encode(&scaled)? {
            Some(encoded) => pictures.push((
                if encoded.keyframe { KEYFRAME } else { 0 },
                encoded.data.to_vec(),
            )),
            None => pictures.push((0, Vec::new())),
        }
    }
    Ok(pictures)
}

/// Something with the rhythm and the partials of a voice, as Opus packets of 20 ms.
fn voice(packets: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut encoder = opus::Encoder::new(48_000, Channels::Mono, Application::Voip)?;
    encoder.set_bitrate(opus::Bitrate::Bits(VOICE_KBPS))?;
    let mut packet = vec![0; 1200];
    let mut out = Vec::new();
    for number in 0..packets {
        let samples: Vec<f32> = (0..SOUND)
            .map(|sample| {
                let time = (number * SOUND + sample) as f32 / 48_000.0;
                let syllable = (time * 4.0 * std::f32::consts::TAU).sin().max(0.0);
                let pitch = 140.0 + 20.0 * (time * 1.5).sin();
                let partial = |n: f32| (time * pitch * n * std::f32::consts::TAU).sin() / n;
                0.2 * syllable * (1..12).map(|n| partial(n as f32)).sum::<f32>()
            })
            .collect();
        let length = encoder.encode_float(&samples, &mut packet)?;
        out.push(packet[..length].to_vec());
    }
    Ok(out)
}
