//! What a picture costs: CPU time a frame of each step from camera to screen, and of the encoders
//! of a call of five on equal links beside those of a call of two.
//!
//! Prints a table and writes `target/bench/media.json`. Times are those of this thread on the CPU
//! (from the kernel's own count), so that other programs disturb little.

use std::{
    fs,
    hint::black_box,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nonstop::{
    clock,
    media::{
        Size, VideoFrame, VideoSource,
        video::{
            Capture, EncodeControl, Renditions,
            convert::{Packing, to_i420},
            decoder::Decoder,
            encoder::Encoder,
            scale::Scaler,
            test_card::TestCard,
        },
    },
};
use nonstop_rate::Bitrate;
use serde_json::json;

const RUNS: usize = 5;
const FRAMES: u32 = 60;
const LARGE: Size = Size::new(1280, 720);
const MIDDLE: Size = Size::new(640, 360);

/// How much more CPU the encoders of five people on equal links may take than those of two.
const MOST_RATIO: f64 = 1.3;
/// How long a call's encoders are watched.
const WATCHED: Duration = Duration::from_secs(3);

fn main() {
    let mut rows = Vec::new();
    println!(
        "{:<34} {:>9} {:>7}",
        "CPU milliseconds a frame", "median", "bound"
    );
    for (case, bound, mut work) in cases() {
        let mut runs: Vec<f64> = (0..RUNS).map(|_| work()).collect();
        runs.sort_by(f64::total_cmp);
        let median = runs[RUNS / 2];
        println!("{case:<34} {median:>9.3} {bound:>7.1}");
        rows.push(json!({
            "case": case, "figure": "cpu_per_frame", "value": median, "unit": "ms",
            "bound": bound, "better": "lower", "runs": RUNS, "peer": null,
        }));
    }
    let mut ratios: Vec<f64> = (0..RUNS).map(|_| encoders(4) / encoders(1)).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[RUNS / 2];
    println!(
        "{:<34} {ratio:>9.3} {MOST_RATIO:>7.1}",
        "encoders of 5 people / of 2"
    );
    rows.push(json!({
        "case": "encoders of 5 people on equal links, against 2", "figure": "cpu_ratio",
        "value": ratio, "unit": "times", "bound": MOST_RATIO, "better": "lower", "runs": RUNS,
        "peer": null,
    }));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    let text = serde_json::to_string_pretty(&rows).expect("plain values");
    let written =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("media.json"), text));
    if let Err(error) = written {
        eprintln!("target/bench/media.json was not written: {error}");
    }
}

type Case = (String, f64, Box<dyn FnMut() -> f64>);

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |case: String, bound: f64, work: Box<dyn FnMut() -> f64>| {
        cases.push((case, bound, work));
    };
    add("draw a test card 1280x720".into(), 1.0, Box::new(draw));
    for (to, bound) in [
        (MIDDLE, 1.0),
        (Size::new(960, 540), 2.0),
        (Size::new(320, 180), 1.0),
    ] {
        add(
            format!("scale 1280x720 to {to}"),
            bound,
            Box::new(move || scale(to)),
        );
    }
    for (size, kbps, bound) in [(MIDDLE, 500, 4.0), (LARGE, 1_700, 12.0)] {
        let name = format!("encode {size} at {kbps} kb/s");
        add(name, bound, Box::new(move || encode(size, kbps)));
    }
    for (size, kbps, bound) in [(MIDDLE, 500, 2.0), (LARGE, 1_700, 6.0)] {
        let name = format!("decode {size} at {kbps} kb/s");
        add(name, bound, Box::new(move || decode(size, kbps)));
    }
    for size in [MIDDLE, LARGE] {
        let name = format!("convert {size} from YUYV");
        add(name, 1.0, Box::new(move || convert(size)));
    }
    cases
}

/// Returns the milliseconds of CPU time that a call takes, over [`FRAMES`] calls.
fn per_frame(mut work: impl FnMut(u32)) -> f64 {
    let before = cpu_time();
    for index in 0..FRAMES {
        work(index);
    }
    (cpu_time() - before).as_secs_f64() * 1e3 / f64::from(FRAMES)
}

/// Returns how long this thread has been on a CPU; where the kernel does not tell, the time of day.
fn cpu_time() -> Duration {
    let kernel = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = kernel.and_then(|line| line.split(' ').next()?.parse().ok());
    nanos.map_or_else(clock::since_start, Duration::from_nanos)
}

fn time(index: u32) -> (Duration, Instant) {
    let time = Duration::from_secs(1) * index / 30;
    (time, clock::start() + time)
}

/// Test cards as a camera would deliver them, scaled to `size`.
fn pictures(size: Size) -> Vec<VideoFrame> {
    let (mut card, mut scaler) = (TestCard::new(LARGE), Scaler::new());
    let draw = |index| {
        let (time, captured) = time(index);
        scaler.scale(&card.draw(index, time, captured), size)
    };
    (0..FRAMES).map(draw).collect()
}

fn draw() -> f64 {
    let mut card = TestCard::new(LARGE);
    per_frame(|index| {
        let (time, captured) = time(index);
        black_box(card.draw(index, time, captured));
    })
}

fn scale(to: Size) -> f64 {
    let (pictures, mut scaler) = (pictures(LARGE), Scaler::new());
    per_frame(|index| {
        black_box(scaler.scale(&pictures[index as usize], to));
    })
}

fn encode(size: Size, kbps: u64) -> f64 {
    let pictures = pictures(size);
    let target = Bitrate::from_kbps(kbps);
    let mut encoder = Encoder::new(size, 30.0, target).expect("an encoder");
    per_frame(|index| {
        let encoded = encoder.encode(&pictures[index as usize]);
        black_box(encoded.expect("it encodes"));
    })
}

/// Returns the CPU milliseconds a picture that the threads of a call's encoders take, whose pictures
/// go to so many others on equal links.
fn encoders(others: usize) -> f64 {
    let camera = Capture::start(VideoSource::TestCard, LARGE, 30);
    let renditions = Renditions::new(camera.frames());
    let control = EncodeControl {
        target: Bitrate::from_kbps(2_000),
        lasting: Bitrate::ZERO,
        max_size: LARGE,
        keyframe_requests: 0,
        active: true,
        layer: false,
    };
    let join = |_| renditions.join(control).expect("there are threads");
    let mut members: Vec<_> = (0..others).map(join).collect();
    let mut watch = |time| {
        let end = clock::now() + time;
        while clock::now() < end {
            for member in &mut members {
                while member.pictures.try_recv().is_ok() {}
            }
            thread::sleep(Duration::from_millis(2));
        }
        let stats = members[0].stats.newest().expect("it has begun");
        (threads_time(&["encode", "renditions"]), stats.frames)
    };
    let (time, frames) = watch(Duration::from_millis(500));
    let (time_after, frames_after) = watch(WATCHED);
    let spent = (time_after - time).as_secs_f64() * 1e3;
    drop((members, renditions));
    // The threads end by themselves; the next measurement must not meet them.
    thread::sleep(Duration::from_millis(300));
    spent / (frames_after - frames).max(1) as f64
}

/// Returns how long the threads of this process whose names begin so have been on a CPU; nothing
/// where the kernel does not tell.
fn threads_time(names: &[&str]) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let nanos = tasks.flatten().filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        names.iter().find(|begin| name.starts_with(**begin))?;
        let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn decode(size: Size, kbps: u64) -> f64 {
    let target = Bitrate::from_kbps(kbps);
    let mut encoder = Encoder::new(size, 30.0, target).expect("an encoder");
    let units: Vec<_> = pictures(size)
        .iter()
        .map(|picture| encoder.encode(picture).expect("it encodes"))
        .collect();
    let mut decoder = Decoder::new().expect("a decoder");
    per_frame(|index| {
        if let Some(unit) = &units[index as usize] {
            let decoded = decoder.decode(&unit.data, clock::start());
            black_box(decoded.expect("it decodes"));
        }
    })
}

fn convert(size: Size) -> f64 {
    let data: Vec<u8> = (0..size.pixels() * 2).map(|n| (n % 251) as u8).collect();
    per_frame(|_| {
        let frame = to_i420(Packing::Yuyv, size, &data, clock::start());
        black_box(frame.expect("it converts"));
    })
}
