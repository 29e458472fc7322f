//! A microphone: callbacks fill a ring, the engine takes 10 ms at a time.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use cpal::{
    Data, Device, FromSample, InputCallbackInfo, Sample, SampleFormat, Stream, traits::DeviceTrait,
};
use rtrb::{Consumer, Producer, RingBuffer};

use super::{
    STEP_SAMPLES,
    devices::{Direction, Format},
    input::Heard,
    resample::Resampler,
    session::{Failures, Keeper, Signs},
};
use crate::media::{DeviceTrouble, frame::SAMPLE_RATE};

/// Sound that may wait for the engine; when full, what is said is lost.
const RING: Duration = Duration::from_secs(1);
/// Opening a stream may wait for a server this long.
const ANSWER: Duration = Duration::from_secs(5);

/// A chosen microphone, open or to be opened again.
#[derive(Debug)]
pub(super) struct Microphone {
    keeper: Keeper<Consumer<f32>>,
    resampler: Option<(u32, Resampler)>,
    arrived: Vec<f32>,
}

impl Microphone {
    /// Starts to open the microphone with this name, or the default one.
    pub(super) fn open(name: Option<String>, now: Instant) -> Self {
        Self {
            keeper: Keeper::open(name, Direction::Input, build, now),
            resampler: None,
            arrived: Vec::new(),
        }
    }

    /// Returns what is wrong.
    pub(super) fn trouble(&self) -> Option<DeviceTrouble> {
        self.keeper.trouble()
    }

    /// Returns the next 10 ms, if they are there.
    pub(super) fn next_step(&mut self, now: Instant) -> Option<Heard> {
        let running = self.keeper.poll(now)?;
        let rate = running.rate;
        if self.resampler.as_ref().is_none_or(|(r, _)| *r != rate) {
            let resampler = Resampler::new(rate, SAMPLE_RATE)
                .inspect_err(|error| tracing::error!(%error, rate, "no way to 48 kHz"))
                .ok()?;
            self.resampler = Some((rate, resampler));
        }
        let (_, resampler) = self.resampler.as_mut()?;
        let there = running.end.slots();
        if let Ok(chunk) = running.end.read_chunk(there) {
            self.arrived.clear();
            self.arrived.extend(chunk);
            resampler.push(&self.arrived);
        }
        let ready = resampler.ready();
        let samples = *ready.first_chunk::<STEP_SAMPLES>()?;
        let waited = Duration::from_micros(ready.len() as u64 * 1000 / 48);
        ready.drain(..STEP_SAMPLES);
        let age = waited + running.latency();
        Some(Heard {
            samples,
            captured: now.checked_sub(age).unwrap_or(now),
            age: Some(age),
        })
    }
}

fn build(
    device: &Device,
    format: Format,
    signs: Arc<Signs>,
    failures: Failures,
) -> Result<(Stream, Consumer<f32>), cpal::Error> {
    let rate = format.config.sample_rate;
    let (mut ring, end) = RingBuffer::new((RING.as_secs_f32() * rate as f32) as usize);
    let channels = usize::from(format.config.channels).max(1);
    let error_signs = Arc::clone(&signs);
    let stream = device.build_input_stream_raw(
        format.config,
        format.samples,
        move |data, info| {
            take(data, channels, &mut ring);
            note(&signs, data.len() / channels, info);
        },
        move |error| error_signs.note_error(error, &failures),
        Some(ANSWER),
    )?;
    Ok((stream, end))
}

fn note(signs: &Signs, frames: usize, info: &InputCallbackInfo) {
    signs.callbacks.fetch_add(1, Ordering::Relaxed);
    signs.longest.fetch_max(frames, Ordering::Relaxed);
    let at = info.timestamp();
    let latency = at.callback.duration_since(at.capture);
    let micros = latency.as_micros() as u64;
    signs.latency_micros.store(micros, Ordering::Relaxed);
}

/// Mixes all channels down to one, whatever their format.
fn take(data: &Data, channels: usize, ring: &mut Producer<f32>) {
    match data.sample_format() {
        SampleFormat::F32 => push::<f32>(data, channels, ring),
        SampleFormat::F64 => push::<f64>(data, channels, ring),
        SampleFormat::I8 => push::<i8>(data, channels, ring),
        SampleFormat::I16 => push::<i16>(data, channels, ring),
        SampleFormat::I24 => push::<cpal::I24>(data, channels, ring),
        SampleFormat::I32 => push::<i32>(data, channels, ring),
        SampleFormat::U8 => push::<u8>(data, channels, ring),
        SampleFormat::U16 => push::<u16>(data, channels, ring),
        SampleFormat::U32 => push::<u32>(data, channels, ring),
        // Never asked for: `devices::formats` and real devices name only those above.
        _ => {}
    }
}

fn push<T>(data: &Data, channels: usize, ring: &mut Producer<f32>)
where
    T: cpal::SizedSample,
    f32: FromSample<T>,
{
    let Some(samples) = data.as_slice::<T>() else {
        return;
    };
    let frames = (samples.len() / channels).min(ring.slots());
    if let Ok(chunk) = ring.write_chunk_uninit(frames) {
        let mono = samples.chunks_exact(channels).map(|frame| {
            let sum: f32 = frame.iter().map(|s| f32::from_sample(*s)).sum();
            sum / channels as f32
        });
        chunk.fill_from_iter(mono);
    }
}
