//! Sound: microphone to packets, packets to speaker.
//!
//! ```text
//! microphone ─ processing (echo, noise, gain) ─ Opus ═▶ every link
//! links ═▶ Voice::push ─ jitter buffer ─ Opus ─┐
//!                                    … ────────┴ mixer ─ speaker
//! ```
//!
//! One thread, the engine, owns all of it and works in steps of 10 ms. What is recorded sets
//! the pace outwards, what is played sets the pace inwards; where there is no device, the clock
//! does. Devices are opened, watched and opened again by threads of their own; their callbacks
//! share nothing with the engine but a ring of samples.

mod control;
mod decoder;
mod delay;
mod delays;
mod devices;
mod encoder;
mod engine;
mod input;
mod jitter;
mod levels;
mod lines;
mod microphone;
mod mixer;
mod outgoing;
mod output;
mod pace;
mod processing;
mod recorder;
mod resample;
mod session;
mod speaker;
mod stretch;
mod tone;
mod track;
mod voice;
mod wav;

pub use control::{Audio, AudioConfig, AudioState, Microphone, Processing};
pub use devices::{AudioDevices, devices};
pub use voice::{Voice, VoicePacket, VoiceStats};

/// Samples in one step of the engine: 10 ms.
const STEP_SAMPLES: usize = 480;
/// One step of the engine.
const STEP: std::time::Duration = std::time::Duration::from_millis(10);

#[cfg(test)]
mod tests;
