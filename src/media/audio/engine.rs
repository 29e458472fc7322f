//! The audio thread: takes what was recorded, plays what was received, 10 ms at a time.
//!
//! ```text
//! every 5 ms   1. commands          a person's wish first
//!              2. steps             a recorded one and one to play in turn, as long as
//!                                   there are any: the echo canceller sees both side by side
//!              3. figures           every 50 ms
//! ```

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, TryRecvError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    control::{AudioConfig, AudioState},
    input::Input,
    mixer::Mixer,
    outgoing::Outgoing,
    output::Output,
    processing::Processor,
    recorder::Recorder,
    track::Track,
    voice::{VoicePacket, VoiceStats},
};
use crate::{clock, latest::Latest, media::EncodedAudio};

/// Half a step: no step waits longer.
const LOOK: Duration = Duration::from_millis(5);
/// Smooth enough for a meter.
const PUBLISH: Duration = Duration::from_millis(50);

/// What the engine is told.
#[derive(Debug)]
pub(super) enum Command {
    Configure(AudioConfig),
    /// Where packets go, and the bits a second that the link can spend.
    Subscribe(mpsc::Sender<EncodedAudio>, Arc<AtomicU64>),
    AddVoice {
        queue: Receiver<VoicePacket>,
        stats: Latest<VoiceStats>,
        record: Option<PathBuf>,
    },
}

/// Everything the audio thread owns.
#[derive(Debug)]
pub(super) struct Engine {
    commands: Receiver<Command>,
    config: AudioConfig,
    state: Latest<AudioState>,
    shown: AudioState,
    shown_at: Option<Instant>,
    microphone_on: Arc<AtomicBool>,
    input: Input,
    outgoing: Outgoing,
    output: Output,
    tracks: Vec<Track>,
    mixer: Mixer,
    processor: Processor,
    /// How long what is played now takes until it is heard.
    until_heard: Duration,
    recordings: Vec<JoinHandle<()>>,
}

impl Engine {
    pub(super) fn new(
        config: AudioConfig,
        state: Latest<AudioState>,
        microphone_on: Arc<AtomicBool>,
        commands: Receiver<Command>,
    ) -> Self {
        let now = clock::now();
        Self {
            commands,
            input: Input::open(&config.microphone, now),
            output: Output::open(&config.speaker, now),
            processor: Processor::new(config.processing),
            config,
            state,
            shown: AudioState::default(),
            shown_at: None,
            microphone_on,
            outgoing: Outgoing::new(),
            tracks: Vec::new(),
            mixer: Mixer::new(),
            until_heard: Duration::ZERO,
            recordings: Vec::new(),
        }
    }

    /// Runs until every handle is gone, then finishes the recordings.
    pub(super) fn run(mut self) {
        while self.obey() {
            self.receive();
            let now = clock::now();
            while self.record(now) | self.play(now) {}
            self.publish();
            thread::sleep(LOOK);
        }
        for track in std::mem::take(&mut self.tracks) {
            self.finish(track);
        }
        for recording in self.recordings {
            if recording.join().is_err() {
                tracing::error!("a recording had panicked");
            }
        }
    }

    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.handle(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Configure(config) => {
                let now = clock::now();
                if config.microphone != self.config.microphone {
                    self.input = Input::open(&config.microphone, now);
                    self.outgoing.hear_nothing();
                }
                if config.speaker != self.config.speaker {
                    self.output = Output::open(&config.speaker, now);
                }
                self.processor.configure(config.processing);
                self.config = config;
            }
            Command::Subscribe(link, wish) => self.outgoing.add(link, wish),
            Command::AddVoice {
                queue,
                stats,
                record,
            } => match Track::new(queue, stats, record.and_then(Recorder::start)) {
                Ok(track) => self.tracks.push(track),
                Err(error) => tracing::error!(%error, "no Opus decoder: somebody is not heard"),
            },
        }
    }

    /// Takes 10 ms from the microphone, if they are there.
    fn record(&mut self, now: Instant) -> bool {
        let Some(mut heard) = self.input.next_step(now) else {
            return false;
        };
        if let Some(age) = heard.age {
            let delay = age + self.until_heard;
            self.processor.process(&mut heard.samples, delay);
        }
        let on = self.microphone_on.load(Ordering::Relaxed);
        self.outgoing.send(&heard, on);
        true
    }

    fn receive(&mut self) {
        let mut at = 0;
        while let Some(track) = self.tracks.get_mut(at) {
            if track.receive() {
                at += 1;
            } else {
                let gone = self.tracks.swap_remove(at);
                self.finish(gone);
            }
        }
    }

    /// Plays 10 ms, if they are due.
    fn play(&mut self, now: Instant) -> bool {
        let Some(due) = self.output.due(now) else {
            return false;
        };
        for track in &mut self.tracks {
            self.mixer.add(&track.next_step(due));
        }
        let mix = self.mixer.take();
        if let Some(until_heard) = self.output.play(&mix, now) {
            self.until_heard = until_heard;
            self.processor.hear_speaker(&mix);
        }
        true
    }

    fn finish(&mut self, track: Track) {
        track.publish();
        self.recordings
            .extend(track.into_recorder().map(Recorder::finish));
    }

    fn publish(&mut self) {
        let now = clock::now();
        if self.shown_at.is_some_and(|at| now < at + PUBLISH) {
            return;
        }
        self.shown_at = Some(now);
        for track in &self.tracks {
            track.publish();
        }
        let microphone_trouble = self.input.trouble();
        if microphone_trouble.is_some() {
            self.outgoing.hear_nothing();
        }
        let state = AudioState {
            microphone_trouble,
            speaker_trouble: self.output.trouble(),
            microphone_level: self.outgoing.level(),
        };
        if state != self.shown {
            self.shown = state.clone();
            self.state.set(state);
        }
    }
}
