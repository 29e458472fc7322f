//! The handle by which the rest of the application holds the sound engine.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use nonstop_rate::Bitrate;
use tokio::sync::mpsc;

use super::{
    encoder::MOST_BITRATE,
    engine::{Command, Engine},
    voice::{self, Voice},
};
use crate::{
    latest::{Latest, Reader},
    media::{AudioSink, AudioSource, DeviceTrouble, EncodedAudio},
};

/// Commands between two looks of the engine, 5 ms apart; when full, whoever commands waits.
const COMMANDS: usize = 64;
/// 200 ms of sound for one link.
const LINK_QUEUE: usize = 10;

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
    /// What is done to the microphone's sound. Files and the tone are sent as they are.
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

/// The microphone's sound for one link.
///
/// One encoder serves all links, for sound costs little and speech must not differ by listener: it
/// keeps to the lowest of their wishes.
#[derive(Debug)]
pub struct Microphone {
    /// What it gets.
    pub packets: mpsc::Receiver<EncodedAudio>,
    wish: Arc<AtomicU64>,
}

impl Microphone {
    /// Tells how much the link can spend on sound, headers not counted.
    pub fn set_wish(&self, most: Bitrate) {
        self.wish.store(most.bps(), Ordering::Relaxed);
    }

    /// Tells that the link sends no sound for now: it holds nobody's back.
    pub fn set_no_wish(&self) {
        self.set_wish(MOST_BITRATE);
    }
}

/// The sound side of the application. Cheap to clone; the last clone dropped ends it, and waits
/// until the recordings are complete: some ten milliseconds.
#[derive(Debug, Clone)]
pub struct Audio {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    state: Latest<AudioState>,
    microphone_on: Arc<AtomicBool>,
    commands: Option<SyncSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Audio {
    /// Opens the devices and starts the threads. Returns at once; troubles show in the state,
    /// and the call goes on without the device that has them. The microphone starts switched on.
    pub fn start(config: AudioConfig) -> Self {
        let state = Latest::with(AudioState::default());
        let microphone_on = Arc::new(AtomicBool::new(true));
        let (commands, queue) = sync_channel(COMMANDS);
        let engine = {
            let (state, microphone_on) = (state.clone(), Arc::clone(&microphone_on));
            move || Engine::new(config, state, microphone_on, queue).run()
        };
        let thread = thread::Builder::new().name("audio".into()).spawn(engine);
        let thread = thread
            .inspect_err(|error| {
                tracing::error!(%error, "no thread for sound");
                let trouble = Some(DeviceTrouble::Other(error.to_string()));
                state.set(AudioState {
                    microphone_trouble: trouble.clone(),
                    speaker_trouble: trouble,
                    microphone_level: 0.0,
                });
            })
            .ok();
        let running = Arc::new(Running {
            state,
            microphone_on,
            commands: Some(commands),
            thread,
        });
        Self { running }
    }

    /// Changes devices or processing while running.
    pub fn configure(&self, config: AudioConfig) {
        self.command(Command::Configure(config));
    }

    /// Mutes or unmutes the microphone: nothing of it leaves while muted.
    pub fn set_microphone_on(&self, on: bool) {
        self.running.microphone_on.store(on, Ordering::Relaxed);
    }

    /// Returns a reader of the state.
    pub fn state(&self) -> Reader<AudioState> {
        self.running.state.reader()
    }

    /// Returns a new queue of encoded microphone sound, for one link. Holds 10 packets;
    /// when it is full, these 20 ms are lost for that link.
    pub fn subscribe(&self) -> Microphone {
        let (sender, packets) = mpsc::channel(LINK_QUEUE);
        let wish = Arc::new(AtomicU64::new(MOST_BITRATE.bps()));
        self.command(Command::Subscribe(sender, Arc::clone(&wish)));
        Microphone { packets, wish }
    }

    /// Adds somebody to listen to. With `record`, what is heard of them goes to that wav file too.
    pub fn add_voice(&self, record: Option<PathBuf>) -> Voice {
        // Full means that the engine was held up for longer than sound can wait: lost.
        let (sender, queue) = sync_channel(voice::QUEUE);
        let stats = Latest::new();
        let reader = stats.reader();
        self.command(Command::AddVoice {
            queue,
            stats,
            record,
        });
        Voice::new(sender, reader)
    }

    fn command(&self, command: Command) {
        let sent = (self.running.commands.as_ref()).is_some_and(|c| c.send(command).is_ok());
        if !sent {
            tracing::error!("the sound engine has ended");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sound engine had panicked");
        }
    }
}
