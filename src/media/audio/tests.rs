//! The whole engine, without devices: a tone goes out, and comes back as somebody's voice.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    clock,
    media::{AudioSink, AudioSource, DeviceTrouble, EncodedAudio},
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
        sequence: sequence as u16,
        timestamp: (packet.step * 960) as u32,
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
