//! What is heard of one voice, into a wav file (16 bit, mono, 48 kHz).
//!
//! The file is written by a thread of its own. Its header is brought up to date every second,
//! so the file can be played even if the process is killed.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use hound::{SampleFormat, WavSpec, WavWriter};

use super::STEP_SAMPLES;
use crate::media::frame::SAMPLE_RATE;

/// 10 s of sound may wait for the disk; beyond that, 10 ms are lost each time.
const QUEUE: usize = 1000;
const STEPS_A_FLUSH: usize = 100;

type Step = Box<[i16; STEP_SAMPLES]>;

/// The engine's end of a recording.
#[derive(Debug)]
pub(super) struct Recorder {
    steps: SyncSender<Step>,
    thread: JoinHandle<()>,
    lost: u64,
}

impl Recorder {
    /// Starts a recording. A file that cannot be written is logged, and nothing is recorded.
    pub(super) fn start(path: PathBuf) -> Option<Self> {
        let (steps, queue) = sync_channel(QUEUE);
        let thread = thread::Builder::new()
            .name("audio-recorder".into())
            .spawn(move || {
                if let Err(error) = record(&path, &queue) {
                    tracing::error!(%error, "sound is not recorded any more");
                }
            });
        match thread {
            Ok(thread) => Some(Self {
                steps,
                thread,
                lost: 0,
            }),
            Err(error) => {
                tracing::error!(%error, "sound cannot be recorded");
                None
            }
        }
    }

    /// Adds 10 ms. Never blocks.
    pub(super) fn write(&mut self, samples: &[f32; STEP_SAMPLES]) {
        let step = samples.map(|s| (s.clamp(-1.0, 1.0) * f32::from(i16::MAX)) as i16);
        if self.steps.try_send(Box::new(step)).is_err() {
            self.lost += 1;
            if self.lost == 1 {
                tracing::warn!("a recording has gaps: it cannot be written fast enough");
            }
        }
    }

    /// Ends the recording; the thread that is returned writes what is left, then ends.
    pub(super) fn finish(self) -> JoinHandle<()> {
        self.thread
    }
}

fn record(path: &Path, queue: &Receiver<Step>) -> Result<(), hound::Error> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut file = WavWriter::create(path, spec)?;
    file.flush()?;
    let mut steps = 0;
    while let Ok(step) = queue.recv() {
        let mut samples = file.get_i16_writer(STEP_SAMPLES as u32);
        for sample in step.iter() {
            samples.write_sample(*sample);
        }
        samples.flush()?;
        steps += 1;
        if steps % STEPS_A_FLUSH == 0 {
            file.flush()?;
        }
    }
    file.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_can_be_read_before_it_is_finished() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("voice.wav");
        let mut recorder = Recorder::start(path.clone()).expect("a thread");
        for _ in 0..STEPS_A_FLUSH {
            recorder.write(&[0.5; STEP_SAMPLES]);
        }
        let second = SAMPLE_RATE;
        let mut tries = 0;
        while hound::WavReader::open(&path).map_or(0, |r| r.duration()) < second {
            tries += 1;
            assert!(tries < 1000, "never flushed");
            thread::sleep(std::time::Duration::from_millis(10));
        }
        recorder.write(&[0.5; STEP_SAMPLES]);
        recorder.finish().join().expect("no panic");
        let mut reader = hound::WavReader::open(&path).expect("a wav file");
        assert_eq!(reader.duration(), second + 480);
        let first: i16 = reader.samples().next().expect("a sample").expect("good");
        assert_eq!(first, 16383);
    }
}
