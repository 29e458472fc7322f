//! A speaker: the engine keeps a ring filled, callbacks empty it.
//!
//! The ring holds what one callback takes and a little more. How much more adapts: each time a
//! callback finds too little, 10 ms are added, and after a while without, 5 ms are taken away.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use cpal::{
    Data, Device, FromSample, OutputCallbackInfo, SampleFormat, Stream, traits::DeviceTrait,
};
use rtrb::{Consumer, Producer, RingBuffer};

use super::{
    STEP_SAMPLES,
    devices::{Direction, Format},
    resample::Resampler,
    session::{Failures, Keeper, Running, Signs},
};
use crate::media::{DeviceTrouble, frame::SAMPLE_RATE};

/// Room for the longest callbacks there are.
const RING: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);
/// The engine looks every 5 ms and makes 10 ms at a time.
const LEAST_MARGIN: Duration = Duration::from_millis(15);
const MOST_MARGIN: Duration = Duration::from_millis(100);
const MORE: Duration = Duration::from_millis(10);
const LESS: Duration = Duration::from_millis(5);
/// Without an underrun for this long, the margin shrinks.
const CALM: Duration = Duration::from_secs(10);
/// After this time without a callback, the clock sets the pace.
const STALLED: Duration = Duration::from_millis(300);
/// How fast a sound that breaks off dies away, a sample.
const DECAY: f32 = 0.98;

/// A chosen speaker, open or to be opened again.
#[derive(Debug)]
pub(super) struct Speaker {
    keeper: Keeper<Producer<f32>>,
    resampler: Option<(u32, Resampler)>,
    margin: Duration,
    underruns: u64,
    calm_since: Instant,
}

impl Speaker {
    /// Starts to open the speaker with this name, or the default one.
    pub(super) fn open(name: Option<String>, now: Instant) -> Self {
        Self {
            keeper: Keeper::open(name, Direction::Output, build, now),
            resampler: None,
            margin: LEAST_MARGIN,
            underruns: 0,
            calm_since: now,
        }
    }

    /// Returns what is wrong.
    pub(super) fn trouble(&self) -> Option<DeviceTrouble> {
        self.keeper.trouble()
    }

    /// Tells whether 10 ms more are wanted; `None` while the speaker cannot say.
    pub(super) fn wants(&mut self, now: Instant) -> Option<bool> {
        let running = self.keeper.poll(now)?;
        if running.silent_for(now) > STALLED {
            return None;
        }
        let underruns = running.signs.underruns.load(Ordering::Relaxed);
        if underruns != self.underruns {
            self.underruns = underruns;
            self.margin = (self.margin + MORE).min(MOST_MARGIN);
            self.calm_since = now;
        } else if now.saturating_duration_since(self.calm_since) > CALM {
            self.margin = self.margin.saturating_sub(LESS).max(LEAST_MARGIN);
            self.calm_since = now;
        }
        Some(filled(running) < level(running, self.margin))
    }

    /// Plays 10 ms; returns how long until they are heard, if they are.
    pub(super) fn play(&mut self, samples: &[f32; STEP_SAMPLES], now: Instant) -> Option<Duration> {
        let running = self.keeper.poll(now)?;
        let rate = running.rate;
        if self.resampler.as_ref().is_none_or(|(r, _)| *r != rate) {
            let resampler = Resampler::new(SAMPLE_RATE, rate)
                .inspect_err(|error| tracing::error!(%error, rate, "no way from 48 kHz"))
                .ok()?;
            self.resampler = Some((rate, resampler));
        }
        let (_, resampler) = self.resampler.as_mut()?;
        resampler.push(samples);
        let waits = filled(running);
        let stalls = waits >= level(running, self.margin);
        let ready = resampler.ready();
        // What a speaker that stalls does not take is lost: it would be late for ever after.
        let played = !stalls && running.end.push_entire_slice(ready).is_ok();
        ready.clear();
        played.then(|| waits + running.latency())
    }
}

/// Returns how much sound the ring holds.
fn filled(running: &Running<Producer<f32>>) -> Duration {
    let samples = running.end.buffer().capacity() - running.end.slots();
    duration(samples, running.rate)
}

/// Returns how much sound the ring should hold.
fn level(running: &Running<Producer<f32>>, margin: Duration) -> Duration {
    let callback = running.signs.longest.load(Ordering::Relaxed);
    margin + duration(callback, running.rate)
}

fn duration(samples: usize, rate: u32) -> Duration {
    Duration::from_micros(samples as u64 * 1_000_000 / u64::from(rate.max(1)))
}

fn build(
    device: &Device,
    format: Format,
    signs: Arc<Signs>,
    failures: Failures,
) -> Result<(Stream, Producer<f32>), cpal::Error> {
    let rate = format.config.sample_rate;
    let (end, mut ring) = RingBuffer::new((RING.as_secs_f32() * rate as f32) as usize);
    let channels = usize::from(format.config.channels).max(1);
    let mut last = 0.0;
    let error_signs = Arc::clone(&signs);
    let stream = device.build_output_stream_raw(
        format.config,
        format.samples,
        move |data, info| {
            note(&signs, data.len() / channels, info);
            if !give(data, channels, &mut ring, &mut last) {
                signs.underruns.fetch_add(1, Ordering::Relaxed);
            }
        },
        move |error| error_signs.note_error(error, &failures),
        Some(ANSWER),
    )?;
    Ok((stream, end))
}

fn note(signs: &Signs, frames: usize, info: &OutputCallbackInfo) {
    signs.callbacks.fetch_add(1, Ordering::Relaxed);
    signs.longest.fetch_max(frames, Ordering::Relaxed);
    let at = info.timestamp();
    let latency = at.playback.duration_since(at.callback);
    let micros = latency.as_micros() as u64;
    signs.latency_micros.store(micros, Ordering::Relaxed);
}

/// Puts one channel on all; `false` if there was too little.
fn give(data: &mut Data, channels: usize, ring: &mut Consumer<f32>, last: &mut f32) -> bool {
    match data.sample_format() {
        SampleFormat::F32 => pull::<f32>(data, channels, ring, last),
        SampleFormat::F64 => pull::<f64>(data, channels, ring, last),
        SampleFormat::I8 => pull::<i8>(data, channels, ring, last),
        SampleFormat::I16 => pull::<i16>(data, channels, ring, last),
        SampleFormat::I24 => pull::<cpal::I24>(data, channels, ring, last),
        SampleFormat::I32 => pull::<i32>(data, channels, ring, last),
        SampleFormat::U8 => pull::<u8>(data, channels, ring, last),
        SampleFormat::U16 => pull::<u16>(data, channels, ring, last),
        SampleFormat::U32 => pull::<u32>(data, channels, ring, last),
        // Never asked for: `devices::formats` and real devices name only those above.
        _ => true,
    }
}

fn pull<T>(data: &mut Data, channels: usize, ring: &mut Consumer<f32>, last: &mut f32) -> bool
where
    T: cpal::SizedSample + FromSample<f32>,
{
    let Some(out) = data.as_slice_mut::<T>() else {
        return true;
    };
    let wanted = out.len() / channels;
    let there = wanted.min(ring.slots());
    let Ok(chunk) = ring.read_chunk(there) else {
        return true;
    };
    let mut samples = chunk.into_iter();
    for frame in out.chunks_exact_mut(channels) {
        *last = samples.next().unwrap_or(*last * DECAY);
        frame.fill(T::from_sample(*last));
    }
    there == wanted
}
