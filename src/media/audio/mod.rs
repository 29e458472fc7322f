//! Sound: microphone to packets, packets to speaker.
//!
//! ```text
//! microphone ─ processing (echo, noise, gain) ─ Opus ═▶ every link
//! links ═▶ Voice::push ─ jitter buffer ─ Opus ─┐
//!                                    … ────────┴ mixer ─ speaker
//! ```

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    latest::{Latest, Reader},
    media::{AudioSink, AudioSource, DeviceTrouble, EncodedAudio},
};

/// The sound devices as lists show them. `default` is always understood besides these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioDevices {
    /// Names of microphones.
    pub microphones: Vec<String>,
    /// Names of speakers.
    pub speakers: Vec<String>,
}

/// Lists the sound devices. May take seconds: not for the window's thread.
pub fn devices() -> AudioDevices {
    AudioDevices::default()
}

/// What is done to the microphone's sound before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processing {
    /// Takes the speaker's sound out.
    pub echo_cancellation: bool,
    /// Takes steady noise out.
    pub noise_suppression: bool,
    /// Evens out loudness.
    pub gain_control: bool,
}

impl Default for Processing {
    fn default() -> Self {
        Self {
            echo_cancellation: true,
            noise_suppression: true,
            gain_control: true,
        }
    }
}

/// What the sound side of a call is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioConfig {
    /// Where sound comes from.
    pub microphone: AudioSource,
    /// Where sound goes.
    pub speaker: AudioSink,
    /// What is done to the microphone's sound.
    pub processing: Processing,
}

/// How the sound devices are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AudioState {
    /// What is wrong with the microphone, if anything.
    pub microphone_trouble: Option<DeviceTrouble>,
    /// What is wrong with the speaker, if anything.
    pub speaker_trouble: Option<DeviceTrouble>,
    /// Loudness of the microphone after processing, 0.0 to 1.0, smoothed for a meter; before mute.
    pub microphone_level: f32,
}

/// The sound side of the application. Cheap to clone; the last clone dropped ends it.
#[derive(Debug, Clone)]
pub struct Audio {
    state: Latest<AudioState>,
}

impl Audio {
    /// Opens the devices and starts the threads. Returns at once; troubles show in the state,
    /// and the call goes on without the device that has them.
    pub fn start(_config: AudioConfig) -> Self {
        Self {
            state: Latest::new(),
        }
    }

    /// Changes devices or processing while running.
    pub fn configure(&self, _config: AudioConfig) {}

    /// Mutes or unmutes the microphone: nothing of it leaves while muted.
    pub fn set_microphone_on(&self, _on: bool) {}

    /// Returns a reader of the state.
    pub fn state(&self) -> Reader<AudioState> {
        self.state.reader()
    }

    /// Returns a new queue of encoded microphone sound, for one link. Holds 10 packets;
    /// when it is full, these 20 ms are lost for that link.
    pub fn subscribe(&self) -> mpsc::Receiver<EncodedAudio> {
        mpsc::channel(10).1
    }

    /// Adds somebody to listen to. With `record`, what is heard of them goes to that wav file too.
    pub fn add_voice(&self, _record: Option<PathBuf>) -> Voice {
        Voice {
            stats: Latest::new(),
        }
    }
}

/// One received audio packet.
#[derive(Debug, Clone)]
pub struct VoicePacket {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP time stamp (48 kHz).
    pub timestamp: u32,
    /// The Opus packet.
    pub payload: Bytes,
    /// When it arrived.
    pub arrived: Instant,
}

/// What was heard of one participant; every figure counts from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VoiceStats {
    /// Packets that came in time.
    pub received: u64,
    /// Packets that never came, or too late.
    pub lost: u64,
    /// Sound made up because a packet was missing (silence that was not sent does not count).
    pub concealed: Duration,
    /// Sound played, concealed or not.
    pub played: Duration,
    /// How long sound waits in the jitter buffer at present.
    pub buffer: Duration,
    /// Loudness now, 0.0 to 1.0, smoothed for a meter.
    pub level: f32,
}

/// One participant's sound on its way to the speaker. Dropping it ends it.
#[derive(Debug)]
pub struct Voice {
    stats: Latest<VoiceStats>,
}

impl Voice {
    /// Hands over a packet. Never blocks; a full queue loses the packet.
    pub fn push(&self, _packet: VoicePacket) {}

    /// Returns a reader of what was heard.
    pub fn stats(&self) -> Reader<VoiceStats> {
        self.stats.reader()
    }
}
