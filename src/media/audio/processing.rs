//! What is done to the microphone's sound: echo out, noise down, loudness even.
//!
//! WebRTC's audio processing, ported to Rust (`sonora`): AEC3, noise suppression and AGC2, at
//! 48 kHz, 10 ms at a time. The echo canceller is given what is really played.

use std::time::Duration;

use sonora::{
    AudioProcessing, Config, StreamConfig,
    config::{
        AdaptiveDigital, EchoCanceller, FixedDigital, GainController2, HighPassFilter,
        MaxProcessingRate, NoiseSuppression, NoiseSuppressionLevel, Pipeline,
    },
};

use super::{STEP_SAMPLES, control::Processing};
use crate::media::frame::SAMPLE_RATE;

/// Starting with 15 dB, as the library does, would make normal speech too loud for seconds.
const INITIAL_GAIN_DB: f32 = 3.0;
/// More would lift a distant room into the call.
const MAX_GAIN_DB: f32 = 24.0;
/// Loud speech stays this far below full scale; a limiter is behind it.
const HEADROOM_DB: f32 = 8.0;

/// The processing of one microphone.
#[derive(Debug)]
pub(super) struct Processor {
    processing: Processing,
    chain: AudioProcessing,
    scratch: [f32; STEP_SAMPLES],
}

impl Processor {
    pub(super) fn new(processing: Processing) -> Self {
        let mono = StreamConfig::new(SAMPLE_RATE, 1);
        let chain = AudioProcessing::builder()
            .config(config(processing))
            .capture_config(mono)
            .render_config(mono)
            .build();
        Self {
            processing,
            chain,
            scratch: [0.0; STEP_SAMPLES],
        }
    }

    /// Switches parts on or off while sound runs.
    pub(super) fn configure(&mut self, processing: Processing) {
        if processing != self.processing {
            self.processing = processing;
            self.chain.apply_config(config(processing));
        }
    }

    /// Takes note of 10 ms that will be played.
    pub(super) fn hear_speaker(&mut self, samples: &[f32; STEP_SAMPLES]) {
        if !self.processing.echo_cancellation {
            return;
        }
        let out = &mut self.scratch[..];
        if let Err(error) = self.chain.process_render_f32(&[samples], &mut [out]) {
            tracing::warn!(?error, "echo may remain: what is played cannot be analysed");
        }
    }

    /// Processes 10 ms of the microphone. `delay` is what passes between a sample's way into
    /// [`hear_speaker`](Self::hear_speaker) and its echo's way in here.
    pub(super) fn process(&mut self, samples: &mut [f32; STEP_SAMPLES], delay: Duration) {
        let Processing {
            echo_cancellation,
            noise_suppression,
            gain_control,
        } = self.processing;
        if !(echo_cancellation || noise_suppression || gain_control) {
            return;
        }
        // Clamped to half a second by the library; it finds the delay by itself beyond that.
        let _ = self.chain.set_stream_delay_ms(delay.as_millis() as i32);
        let heard = *samples;
        if let Err(error) = self.chain.process_capture_f32(&[&heard], &mut [samples]) {
            tracing::warn!(?error, "10 ms of the microphone stay as they are");
            *samples = heard;
        }
    }
}

fn config(processing: Processing) -> Config {
    Config {
        pipeline: Pipeline {
            maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
            ..Pipeline::default()
        },
        high_pass_filter: Some(HighPassFilter::default()),
        echo_canceller: (processing.echo_cancellation).then(EchoCanceller::default),
        noise_suppression: (processing.noise_suppression).then(|| NoiseSuppression {
            level: NoiseSuppressionLevel::High,
            ..NoiseSuppression::default()
        }),
        gain_controller2: processing.gain_control.then(|| GainController2 {
            adaptive_digital: Some(AdaptiveDigital {
                headroom_db: HEADROOM_DB,
                max_gain_db: MAX_GAIN_DB,
                initial_gain_db: INITIAL_GAIN_DB,
                ..AdaptiveDigital::default()
            }),
            fixed_digital: FixedDigital::default(),
            ..GainController2::default()
        }),
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::media::audio::levels;

    /// Something like speech: a buzz with three formants, in syllables of 200 ms with pauses,
    /// and a little noise. The same seed, the same words.
    struct Speech {
        seed: u32,
        sample: u32,
        formants: [[f32; 2]; 3],
    }

    impl Speech {
        fn new(seed: u32) -> Self {
            Self {
                seed,
                sample: 0,
                formants: [[0.0; 2]; 3],
            }
        }

        fn noise(&mut self) -> f32 {
            self.seed = self
                .seed
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            (self.seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        }

        fn step(&mut self) -> [f32; STEP_SAMPLES] {
            std::array::from_fn(|_| {
                let syllable = self.sample / 9600;
                let said = syllable % 4 != 3;
                let pitch = 300 + syllable * 37 % 120;
                let pulse = f32::from(u8::from(self.sample.is_multiple_of(pitch)));
                let source = if said {
                    pulse + 0.02 * self.noise()
                } else {
                    0.0
                };
                self.sample += 1;
                let mut out = 0.0;
                for (n, state) in self.formants.iter_mut().enumerate() {
                    let hertz = [500.0, 1500.0, 2500.0][n] + (syllable * 97 % 300) as f32;
                    let turn = std::f32::consts::TAU * hertz / 48_000.0;
                    let next = source + 1.98 * turn.cos() * state[0] - 0.9801 * state[1];
                    *state = [next, state[0]];
                    out += next;
                }
                0.03 * out
            })
        }
    }

    /// A loudspeaker and a microphone in one room: the sound comes back after 60 ms, and weaker.
    struct Room {
        path: VecDeque<f32>,
    }

    impl Room {
        fn new() -> Self {
            let delay = SAMPLE_RATE as usize * 60 / 1000;
            Self {
                path: std::iter::repeat_n(0.0, delay).collect(),
            }
        }

        fn echo(&mut self, played: &[f32; STEP_SAMPLES]) -> [f32; STEP_SAMPLES] {
            self.path.extend(played);
            std::array::from_fn(|n| {
                let direct = self.path[n];
                let wall = self.path[n + 900];
                0.3 * direct + 0.1 * wall
            })
        }

        fn pass(&mut self) {
            self.path.drain(..STEP_SAMPLES);
        }
    }

    fn decibels(a: f32, b: f32) -> f32 {
        20.0 * (a / b.max(1e-9)).log10()
    }

    const ECHO_ONLY: Processing = Processing {
        echo_cancellation: true,
        noise_suppression: false,
        gain_control: false,
    };

    /// Runs both sides for so many 10 ms steps; returns the mean level of what came out,
    /// of the echo and of the near voice, over the last half.
    fn converse(processor: &mut Processor, steps: usize, near_speaks: bool) -> [f32; 3] {
        let (mut far, mut near, mut room) = (Speech::new(1), Speech::new(77), Room::new());
        near.sample = 5000;
        let mut power = [0.0; 3];
        for step in 0..steps {
            let played = far.step();
            processor.hear_speaker(&played);
            let echo = room.echo(&played);
            room.pass();
            let voice = if near_speaks {
                near.step()
            } else {
                [0.0; STEP_SAMPLES]
            };
            let mut microphone = std::array::from_fn(|n| echo[n] + voice[n]);
            processor.process(&mut microphone, Duration::from_millis(60));
            if step >= steps / 2 {
                for (power, sound) in power.iter_mut().zip([&microphone, &echo, &voice]) {
                    *power += levels::rms(sound).powi(2);
                }
            }
        }
        power.map(|power| (power / (steps / 2) as f32).sqrt())
    }

    #[test]
    fn the_speaker_is_taken_out_of_the_microphone() {
        let mut processor = Processor::new(ECHO_ONLY);
        let [out, echo, _] = converse(&mut processor, 400, false);
        assert!(echo > 0.001, "{echo}");
        let enhancement = decibels(echo, out);
        println!("echo return loss enhancement: {enhancement:.1} dB");
        assert!(enhancement > 20.0, "{enhancement} dB");
    }

    #[test]
    fn a_near_voice_survives_while_the_far_one_speaks() {
        let mut processor = Processor::new(ECHO_ONLY);
        converse(&mut processor, 200, false);
        let [out, _, voice] = converse(&mut processor, 400, true);
        let change = decibels(out, voice);
        println!("near voice in double talk: {change:.1} dB");
        assert!((-8.0..3.0).contains(&change), "{change} dB");
    }

    #[test]
    fn switched_off_it_changes_nothing_at_once() {
        let mut processor = Processor::new(Processing::default());
        let mut speech = Speech::new(3);
        let mut changed = speech.step();
        processor.process(&mut changed, Duration::ZERO);
        processor.configure(Processing {
            echo_cancellation: false,
            noise_suppression: false,
            gain_control: false,
        });
        let heard = speech.step();
        let mut same = heard;
        processor.process(&mut same, Duration::ZERO);
        assert_eq!(same, heard);
    }

    #[test]
    fn steady_noise_goes_down() {
        let mut processor = Processor::new(Processing::default());
        let mut speech = Speech::new(5);
        let (mut before, mut after) = (0.0, 0.0);
        for step in 0..400 {
            let noise: [f32; STEP_SAMPLES] = std::array::from_fn(|_| 0.005 * speech.noise());
            let mut sound = noise;
            processor.process(&mut sound, Duration::ZERO);
            if step >= 200 {
                before += levels::rms(&noise);
                after += levels::rms(&sound);
            }
        }
        let down = decibels(before, after);
        assert!(down > 6.0, "{down} dB");
    }

    #[test]
    fn loudness_is_evened_out_without_clipping() {
        let [quiet, loud] = [0.3, 1.6].map(|gain| {
            let mut processor = Processor::new(Processing::default());
            let mut speech = Speech::new(5);
            let (mut before, mut after) = (0.0, 0.0);
            for step in 0..1500 {
                let mut sound = speech.step().map(|s| gain * s);
                let level = levels::rms(&sound).powi(2);
                processor.process(&mut sound, Duration::ZERO);
                assert!(sound.iter().all(|s| s.abs() < 0.99));
                if step >= 1000 {
                    before += level;
                    after += levels::rms(&sound).powi(2);
                }
            }
            10.0 * f32::log10(after / before)
        });
        assert!((3.0..12.0).contains(&quiet), "{quiet} dB");
        assert!((-6.0..1.0).contains(&loud), "{loud} dB");
    }
}
