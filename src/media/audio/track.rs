//! One voice inside the engine: jitter buffer, decoder, recorder.
//!
//! ```text
//! queue ─▶ jitter buffer ─▶ decoder ─▶ stretch ─▶ [ samples ] ─▶ 10 ms to the mixer
//!                                                           └──▶ recorder, meter
//! ```

use std::{
    sync::mpsc::{Receiver, TryRecvError},
    time::{Duration, Instant},
};

use super::{
    STEP_SAMPLES,
    decoder::{self, VoiceDecoder},
    jitter::{Correction, JitterBuffer, Packet, Pull},
    levels::Meter,
    recorder::Recorder,
    stretch,
    voice::{VoicePacket, VoiceStats},
};
use crate::{latest::Latest, media::frame::SAMPLE_RATE};

/// Made-up sound beyond this is no likeness any more, and fades to silence.
const LIKENESS_SAMPLES: u32 = 4800;
/// Larger than any Opus packet we could be meant to play.
const MAX_PAYLOAD: usize = 1500;

/// The engine's end of a voice.
#[derive(Debug)]
pub(super) struct Track {
    queue: Receiver<VoicePacket>,
    jitter: JitterBuffer,
    decoder: VoiceDecoder,
    /// Decoded, not yet played; less than two of the longest packets.
    samples: Vec<f32>,
    scratch: Vec<f32>,
    /// Samples made up since the last real sound.
    made_up: u32,
    gain: f32,
    meter: Meter,
    stats: Latest<VoiceStats>,
    recorder: Option<Recorder>,
}

impl Track {
    pub(super) fn new(
        queue: Receiver<VoicePacket>,
        stats: Latest<VoiceStats>,
        recorder: Option<Recorder>,
    ) -> Result<Self, opus::Error> {
        Ok(Self {
            queue,
            jitter: JitterBuffer::new(),
            decoder: VoiceDecoder::new()?,
            samples: Vec::new(),
            scratch: Vec::new(),
            made_up: 0,
            gain: 0.0,
            meter: Meter::default(),
            stats,
            recorder,
        })
    }

    /// Moves arrived packets into the jitter buffer; `false` when the other end is gone.
    pub(super) fn receive(&mut self) -> bool {
        loop {
            match self.queue.try_recv() {
                Ok(packet) => self.accept(packet),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn accept(&mut self, packet: VoicePacket) {
        let payload = packet.payload;
        let Some(samples) = decoder::duration(&payload).filter(|_| payload.len() <= MAX_PAYLOAD)
        else {
            tracing::debug!(length = payload.len(), "not an Opus packet");
            return;
        };
        self.jitter.push(Packet {
            way: packet.way,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            recovered: packet.recovered,
            samples,
            repairs: decoder::repairs_predecessor(&payload),
            payload,
            arrived: packet.arrived,
        });
    }

    /// Returns the 10 ms that are played from `now` on.
    pub(super) fn next_step(&mut self, now: Instant) -> [f32; STEP_SAMPLES] {
        while self.samples.len() < STEP_SAMPLES {
            let ahead = samples_to_duration(self.samples.len() as u64);
            self.fetch(now + ahead);
        }
        let mut step = [0.0; STEP_SAMPLES];
        step.copy_from_slice(&self.samples[..STEP_SAMPLES]);
        self.samples.drain(..STEP_SAMPLES);
        self.meter.hear(&step);
        if let Some(recorder) = &mut self.recorder
            && self.jitter.stats().received > 0
        {
            recorder.write(&step);
        }
        step
    }

    /// Publishes what was heard so far.
    pub(super) fn publish(&self) {
        let stats = self.jitter.stats();
        self.stats.set(VoiceStats {
            received: stats.received,
            recovered: stats.recovered,
            lost: stats.lost,
            concealed: samples_to_duration(stats.concealed),
            played: samples_to_duration(stats.played),
            buffer: self.jitter.wait(),
            level: self.meter.level(),
            in_time: stats.in_time,
        });
    }

    /// Gives the recorder up, to be finished elsewhere.
    pub(super) fn into_recorder(self) -> Option<Recorder> {
        self.recorder
    }

    fn fetch(&mut self, now: Instant) {
        match self.jitter.pull(now) {
            Pull::Packet(packet) => {
                let decoded = self.decoder.decode(&packet);
                append(&mut self.scratch, decoded, 960);
                self.correct();
                self.real_sound();
            }
            Pull::Repair { successor, samples } => {
                let repaired = self.decoder.repair(&successor, samples as usize);
                append(&mut self.scratch, repaired, samples);
                self.real_sound();
            }
            Pull::Conceal { samples } => {
                let made_up = self.decoder.conceal(samples as usize);
                append(&mut self.scratch, made_up, samples);
                self.made_up = self.made_up.saturating_add(samples);
                let fade_to = f32::from(u8::from(self.made_up <= LIKENESS_SAMPLES));
                self.play(fade_to);
            }
            Pull::Silence { samples } if self.gain > 0.0 => {
                // The end of a word fades; it is not cut.
                let made_up = self.decoder.conceal(samples as usize);
                append(&mut self.scratch, made_up, samples);
                self.play(0.0);
            }
            Pull::Silence { samples } => {
                self.samples
                    .resize(self.samples.len() + samples as usize, 0.0);
            }
        }
    }

    fn correct(&mut self) {
        match self.jitter.correction() {
            Correction::None => false,
            Correction::Shorten { urgent } => stretch::shorten(&mut self.scratch, urgent),
            Correction::Lengthen { urgent } => stretch::lengthen(&mut self.scratch, urgent),
        };
    }

    fn real_sound(&mut self) {
        self.made_up = 0;
        self.play(1.0);
    }

    /// Moves the scratch to what is played, going evenly to the gain `to` within 10 ms.
    fn play(&mut self, to: f32) {
        if (self.gain, to) != (1.0, 1.0) {
            let from = self.gain;
            for (n, sample) in self.scratch.iter_mut().enumerate() {
                let share = (n as f32 / STEP_SAMPLES as f32).min(1.0);
                *sample *= from + share * (to - from);
            }
            self.gain = to;
        }
        self.samples.append(&mut self.scratch);
    }
}

/// Appends what was decoded; a packet that cannot be decoded is silence of the same length.
fn append(to: &mut Vec<f32>, decoded: Result<&mut [f32], opus::Error>, samples: u32) {
    match decoded {
        Ok(decoded) if !decoded.is_empty() => to.extend_from_slice(decoded),
        Ok(_) => to.resize(samples as usize, 0.0),
        Err(error) => {
            tracing::debug!(%error, "audio packet cannot be decoded");
            to.resize(samples as usize, 0.0);
        }
    }
}

fn samples_to_duration(samples: u64) -> Duration {
    Duration::from_nanos(samples * 1_000_000_000 / u64::from(SAMPLE_RATE))
}
