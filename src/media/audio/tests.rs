//! The whole engine, without devices: a tone goes out, and comes back as somebody's voice.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    clock,
    latest::Latest,
    media::{AudioSink, AudioSource, DeviceTrouble, EncodedAudio, Way},
};

fn silent_config(microphone: AudioSource) -> AudioConfig {
    AudioConfig {
        microphone,
        speaker: AudioSink::None,
        processing: Processing::default(),
    }
}

/// Hands packets from one engine to a voice of another for a while; returns how many.
fn carry(
    packets: &mut tokio::sync::mpsc::Receiver<EncodedAudio>,
    voice: &Voice,
    time: Duration,
) -> u64 {
    let start = clock::now();
    let mut carried = 0;
    while clock::now() < start + time {
        match packets.try_recv() {
            Ok(packet) => {
                voice.push(received(carried, &packet, clock::now()));
                carried += 1;
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    carried
}

fn received(sequence: u64, packet: &EncodedAudio, arrived: Instant) -> VoicePacket {
    VoicePacket {
        way: Way::Direct,
        sequence: sequence as u16,
        timestamp: (packet.step * 960) as u32,
        marker: false,
        recovered: false,
        payload: packet.data.clone(),
        arrived,
    }
}

/// Power of one frequency (Goertzel), as the amplitude of a sine of that frequency.
fn amplitude(samples: &[f32], hertz: f32) -> f32 {
    let turn = std::f32::consts::TAU * hertz / 48_000.0;
    let (mut sine, mut cosine) = (0.0f64, 0.0f64);
    for (n, sample) in samples.iter().enumerate() {
        let angle = f64::from(turn) * n as f64;
        sine += f64::from(*sample) * angle.sin();
        cosine += f64::from(*sample) * angle.cos();
    }
    (2.0 * (sine * sine + cosine * cosine).sqrt() / samples.len() as f64) as f32
}

fn wav(path: &Path) -> Vec<f32> {
    let mut reader = hound::WavReader::open(path).expect("a wav file");
    let samples = reader.samples::<i16>();
    samples
        .map(|s| f32::from(s.expect("a sample")) / f32::from(i16::MAX))
        .collect()
}

#[test]
fn a_tone_goes_through_opus_and_jitter_buffer_to_the_recording() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("voice.wav");
    let near = Audio::start(silent_config(AudioSource::Tone));
    let far = Audio::start(silent_config(AudioSource::None));
    let mut packets = near.subscribe().packets;
    let voice = far.add_voice(Some(path.clone()));
    let carried = carry(&mut packets, &voice, Duration::from_secs(3));
    let stats = voice.stats().newest().expect("figures");
    drop((near, far));

    assert!(carried > 100, "{carried}");
    assert!(stats.received > carried * 9 / 10, "{stats:?} of {carried}");
    assert_eq!(stats.lost, 0, "{stats:?}");
    assert!(stats.level > 0.6, "{stats:?}");
    let heard = wav(&path);
    assert!(heard.len() > 2 * 48_000, "{} samples", heard.len());
    let middle = &heard[48_000..][..24_000];
    let tone = amplitude(middle, tone::HERTZ as f32);
    assert!((tone - tone::AMPLITUDE).abs() < 0.05, "{tone}");
    assert!(amplitude(middle, 1000.0) < 0.01);
}

#[test]
fn mute_stops_packets_and_the_meter_goes_on() {
    let audio = Audio::start(silent_config(AudioSource::Tone));
    let listener = Audio::start(silent_config(AudioSource::None));
    let voice = listener.add_voice(None);
    let mut packets = audio.subscribe().packets;
    assert!(carry(&mut packets, &voice, Duration::from_secs(1)) > 10);
    audio.set_microphone_on(false);
    carry(&mut packets, &voice, Duration::from_millis(500));
    assert_eq!(carry(&mut packets, &voice, Duration::from_millis(500)), 0);
    let state = audio.state().newest().expect("a state");
    assert!(state.microphone_level > 0.5, "{state:?}");
    audio.set_microphone_on(true);
    assert!(carry(&mut packets, &voice, Duration::from_secs(1)) > 10);
}

#[test]
fn the_last_handle_ends_the_engine() {
    let audio = Audio::start(silent_config(AudioSource::Tone));
    let state = audio.state();
    let mut packets = audio.subscribe().packets;
    let other = audio.clone();
    drop(audio);
    assert!(!state.is_closed());
    drop(other);
    assert!(state.is_closed());
    while packets.try_recv().is_ok() {}
    assert!(packets.is_closed());
}

#[test]
fn a_file_is_sent_as_it_is_and_a_bad_file_is_a_trouble() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sound.wav");
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).expect("a file");
    for n in 0..44_100 {
        let sample = (n as f32 * 1000.0 * std::f32::consts::TAU / 44_100.0).sin() * 8192.0;
        writer.write_sample(sample as i16).expect("a sample");
        writer.write_sample(sample as i16).expect("a sample");
    }
    writer.finalize().expect("a file");

    let heard = folder.path().join("heard.wav");
    let near = Audio::start(silent_config(AudioSource::File(path)));
    let far = Audio::start(silent_config(AudioSource::None));
    let mut packets = near.subscribe().packets;
    let voice = far.add_voice(Some(heard.clone()));
    // Longer than the file: it loops.
    carry(&mut packets, &voice, Duration::from_millis(2500));
    near.configure(silent_config(AudioSource::File(folder.path().into())));
    let mut state = near.state();
    let start = clock::now();
    let trouble = loop {
        state.wait(Duration::from_millis(100));
        let trouble = state.newest().and_then(|s| s.microphone_trouble);
        if trouble.is_some() || clock::now() > start + Duration::from_secs(20) {
            break trouble;
        }
    };
    assert!(
        matches!(trouble, Some(DeviceTrouble::BadFile(_))),
        "{trouble:?}"
    );
    drop((near, far));
    let heard = wav(&heard);
    let end = heard.len() - 24_000;
    let tone = amplitude(&heard[end..][..12_000], 1000.0);
    assert!((tone - 0.25).abs() < 0.05, "{tone}");
}

/// A tone over two ways into a track, in simulated time; returns what is heard.
fn heard_over(ways: &[(Way, std::ops::Range<u64>, u64)]) -> (Vec<f32>, VoiceStats) {
    let mut encoder = encoder::VoiceEncoder::new().expect("an encoder");
    let mut tone = tone::Tone::default();
    let start = clock::now();
    let mut arrivals: Vec<VoicePacket> = Vec::new();
    let last = ways
        .iter()
        .map(|(_, range, _)| range.end)
        .max()
        .unwrap_or(0);
    for n in 0..last {
        let mut frame = [0.0; 960];
        frame[..480].copy_from_slice(&tone.next_step());
        frame[480..].copy_from_slice(&tone.next_step());
        let payload = encoder
            .encode(&frame)
            .expect("it encodes")
            .expect("it is no silence");
        for (way, range, delay) in ways.iter().filter(|(_, range, _)| range.contains(&n)) {
            arrivals.push(VoicePacket {
                way: *way,
                sequence: (n - range.start) as u16,
                timestamp: (n * 960) as u32,
                marker: n == range.start,
                recovered: false,
                payload: payload.clone(),
                arrived: start + Duration::from_millis(n * 20 + delay),
            });
        }
    }
    arrivals.sort_by_key(|packet| packet.arrived);
    let mut arrivals = arrivals.into_iter().peekable();
    let (sender, queue) = std::sync::mpsc::sync_channel(voice::QUEUE);
    let stats = Latest::new();
    let mut track = track::Track::new(queue, stats.clone(), None).expect("a decoder");
    let mut heard = Vec::new();
    for step in 0..last * 2 - 60 {
        let now = start + STEP * step as u32;
        while let Some(packet) = arrivals.next_if(|packet| packet.arrived <= now) {
            sender.try_send(packet).expect("there is room");
        }
        track.receive();
        heard.extend(track.next_step(now));
    }
    track.publish();
    (heard, stats.reader().newest().expect("figures"))
}

#[test]
fn a_tone_that_changes_its_way_goes_on_evenly() {
    let (direct, relayed) = (Way::Direct, Way::Relayed);
    let scenes: [&[(Way, std::ops::Range<u64>, u64)]; 6] = [
        &[(direct, 0..500, 30)],
        &[(direct, 0..260, 30), (relayed, 250..500, 30)],
        &[(relayed, 0..260, 30), (direct, 250..500, 30)],
        // The second way is faster.
        &[(direct, 0..260, 130), (relayed, 250..500, 30)],
        &[(direct, 0..260, 330), (relayed, 250..500, 30)],
        // It is slower, and both are there until its sound comes in time.
        &[(direct, 0..340, 30), (relayed, 250..500, 330)],
    ];
    for ways in scenes {
        let (heard, stats) = heard_over(ways);
        assert_eq!(
            (stats.concealed, stats.lost),
            (Duration::ZERO, 0),
            "{ways:?}"
        );
        // From 0.5 s on the tone is there, in every 10 ms, without a step.
        let sounding = &heard[24_000..];
        let power = |part: &[f32]| part.iter().map(|s| s * s).sum::<f32>() / part.len() as f32;
        let whole = power(sounding);
        let quietest = sounding
            .chunks_exact(480)
            .map(power)
            .fold(f32::MAX, f32::min);
        let step = |pair: &[f32]| (pair[1] - pair[0]).abs();
        let steepest = sounding.windows(2).map(step).fold(0.0, f32::max);
        let sine = tone::AMPLITUDE * std::f32::consts::TAU * tone::HERTZ as f32 / 48_000.0;
        let quietest = 10.0 * (quietest / whole).log10();
        println!(
            "{ways:?}: quietest 10 ms {quietest:.1} dB, steepest {:.2}",
            steepest / sine
        );
        assert!(quietest > -1.5, "{ways:?}: {quietest} dB");
        assert!(steepest < 1.3 * sine, "{ways:?}: {steepest}");
    }
}
