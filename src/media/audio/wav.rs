//! A wav file as a microphone: any rate, channels and depth, again and again from its start.
//!
//! A thread reads ahead; nothing is held in memory but half a second of sound.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    thread,
};

use hound::{SampleFormat, WavReader};

use super::{STEP_SAMPLES, resample::Resampler};
use crate::media::{DeviceTrouble, frame::SAMPLE_RATE};

/// Half a second ahead; when full, the reader waits.
const QUEUE: usize = 50;

type Step = Result<[f32; STEP_SAMPLES], DeviceTrouble>;

/// A file that is being read. Dropping it ends its thread.
#[derive(Debug)]
pub(super) struct WavFile {
    steps: Receiver<Step>,
    trouble: Option<DeviceTrouble>,
}

impl WavFile {
    /// Opens the file; what is wrong with it shows later.
    pub(super) fn open(path: &Path) -> Self {
        let (sender, steps) = sync_channel(QUEUE);
        let path = PathBuf::from(path);
        let thread = thread::Builder::new()
            .name("audio-file".into())
            .spawn(move || {
                if let Err(trouble) = read(&path, &sender) {
                    // The other end is gone: nobody wants to know.
                    let _ = sender.send(Err(trouble));
                }
            });
        let trouble = thread
            .err()
            .map(|error| DeviceTrouble::Other(error.to_string()));
        Self { steps, trouble }
    }

    /// Returns the next 10 ms, if they have been read.
    pub(super) fn next_step(&mut self) -> Option<[f32; STEP_SAMPLES]> {
        match self.steps.try_recv() {
            Ok(Ok(samples)) => Some(samples),
            Ok(Err(trouble)) => {
                self.trouble = Some(trouble);
                None
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// Returns what is wrong with the file.
    pub(super) fn trouble(&self) -> Option<DeviceTrouble> {
        self.trouble.clone()
    }
}

/// Reads until nobody listens any more.
fn read(path: &Path, steps: &SyncSender<Step>) -> Result<(), DeviceTrouble> {
    let mut reader = WavReader::open(path).map_err(bad)?;
    let spec = reader.spec();
    let channels = usize::from(spec.channels);
    if spec.sample_rate == 0 || channels == 0 {
        return Err(bad("no sample rate or no channels"));
    }
    let mut resampler = Resampler::new(spec.sample_rate, SAMPLE_RATE).map_err(bad)?;
    let mut mono = Vec::new();
    loop {
        let mut heard_any = false;
        let mut samples = samples(&mut reader);
        loop {
            mono.clear();
            mono.extend((0..STEP_SAMPLES).map_while(|_| frame(&mut samples, channels)));
            if mono.is_empty() {
                break;
            }
            heard_any = true;
            resampler.push(&mono);
            let ready = resampler.ready();
            let mut done = 0;
            while let Some(step) = ready[done..].first_chunk::<STEP_SAMPLES>() {
                if steps.send(Ok(*step)).is_err() {
                    return Ok(());
                }
                done += STEP_SAMPLES;
            }
            ready.drain(..done);
        }
        drop(samples);
        if !heard_any {
            return Err(bad("it holds no sound that can be read"));
        }
        reader.seek(0).map_err(bad)?;
    }
}

/// The mean of one frame's channels; `None` at the end, or where the file is cut off.
fn frame(samples: &mut impl Iterator<Item = Option<f32>>, channels: usize) -> Option<f32> {
    let sum: Option<f32> = (0..channels).map(|_| samples.next().flatten()).sum();
    sum.map(|sum| sum / channels as f32)
}

fn samples(reader: &mut WavReader<BufReader<File>>) -> Box<dyn Iterator<Item = Option<f32>> + '_> {
    let spec = reader.spec();
    match spec.sample_format {
        SampleFormat::Float => Box::new(reader.samples::<f32>().map(Result::ok)),
        SampleFormat::Int => {
            let full_scale = 2f32.powi(i32::from(spec.bits_per_sample) - 1);
            let samples = reader.samples::<i32>();
            Box::new(samples.map(move |s| s.ok().map(|s| s as f32 / full_scale)))
        }
    }
}

fn bad(error: impl ToString) -> DeviceTrouble {
    DeviceTrouble::BadFile(error.to_string())
}

#[cfg(test)]
mod tests {
    use hound::{WavSpec, WavWriter};

    use super::*;

    fn wait_for(file: &mut WavFile) -> Option<[f32; STEP_SAMPLES]> {
        for _ in 0..2000 {
            let step = file.next_step();
            if step.is_some() || file.trouble().is_some() {
                return step;
            }
            thread::sleep(std::time::Duration::from_millis(5));
        }
        None
    }

    #[test]
    fn a_file_of_any_kind_loops() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (rate, channels, bits) in [
            (48_000, 1, 16),
            (44_100, 2, 24),
            (8_000, 1, 8),
            (16_000, 2, 32),
        ] {
            let path = folder.path().join("file.wav");
            let sample_format = if bits == 32 {
                SampleFormat::Float
            } else {
                SampleFormat::Int
            };
            let spec = WavSpec {
                channels,
                sample_rate: rate,
                bits_per_sample: bits,
                sample_format,
            };
            let mut writer = WavWriter::create(&path, spec).expect("a file");
            for _ in 0..rate / 5 * u32::from(channels) {
                match sample_format {
                    SampleFormat::Float => writer.write_sample(0.5f32),
                    SampleFormat::Int => writer.write_sample(1i32 << (bits - 2)),
                }
                .expect("a sample");
            }
            writer.finalize().expect("a file");
            let mut file = WavFile::open(&path);
            // A second of sound from a fifth of a second of file, without a gap.
            for n in 0..100 {
                let step = wait_for(&mut file).expect("sound");
                let even = step.iter().all(|s| (s - 0.5).abs() < 0.02);
                assert!(n == 0 || even, "{rate} Hz, step {n}: {step:?}");
            }
        }
    }

    #[test]
    fn a_file_that_is_no_wav_file_is_a_clear_trouble() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = folder.path().join("text.wav");
        std::fs::write(&text, "hello").expect("a file");
        for path in [text, folder.path().join("missing.wav")] {
            let mut file = WavFile::open(&path);
            assert!(wait_for(&mut file).is_none());
            assert!(matches!(file.trouble(), Some(DeviceTrouble::BadFile(_))));
        }
    }
}
