//! From 10 ms of the microphone to packets for every link.
//!
//! While muted, sound reaches the meter and nothing else. Steps count on through mute, silence
//! and interruptions, so that the receivers' time line has gaps where there was no sound.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use nonstop_rate::Bitrate;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{
    STEP, STEP_SAMPLES,
    encoder::VoiceEncoder,
    input::Heard,
    levels::{self, Meter},
};
use crate::media::{EncodedAudio, frame::AUDIO_FRAME_SAMPLES};

/// Sound that begins this much after the last ended was interrupted.
const INTERRUPTION: Duration = Duration::from_millis(300);
/// Quieter is no voice (−dBov).
const VOICE_LEVEL: u8 = 50;

/// Encodes the microphone, and hands the packets out.
#[derive(Debug)]
pub(super) struct Outgoing {
    encoder: Option<VoiceEncoder>,
    /// Where packets go, and the bits a second that each can spend.
    links: Vec<(mpsc::Sender<EncodedAudio>, Arc<AtomicU64>)>,
    /// 10 ms steps since the start; two make a packet.
    steps: u64,
    frame: [f32; AUDIO_FRAME_SAMPLES],
    frame_captured: Option<Instant>,
    last_captured: Option<Instant>,
    on: bool,
    meter: Meter,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        let encoder = VoiceEncoder::new()
            .inspect_err(|error| tracing::error!(%error, "no Opus encoder: no sound is sent"))
            .ok();
        Self {
            encoder,
            links: Vec::new(),
            steps: 0,
            frame: [0.0; AUDIO_FRAME_SAMPLES],
            frame_captured: None,
            last_captured: None,
            on: true,
            meter: Meter::default(),
        }
    }

    /// Adds a link, and what it can spend.
    pub(super) fn add(&mut self, link: mpsc::Sender<EncodedAudio>, wish: Arc<AtomicU64>) {
        self.links.push((link, wish));
    }

    /// Returns what the meter shows.
    pub(super) fn level(&self) -> f32 {
        self.meter.level()
    }

    /// Takes the meter down when there is no sound at all.
    pub(super) fn hear_nothing(&mut self) {
        self.meter = Meter::default();
    }

    /// Takes 10 ms in.
    pub(super) fn send(&mut self, heard: &Heard, on: bool) {
        self.meter.hear(&heard.samples);
        self.count_interruption(heard.captured);
        if on && !self.on {
            self.reset();
        }
        self.on = on;

        let second_half = self.steps % 2 == 1;
        let (first, second) = self.frame.split_at_mut(STEP_SAMPLES);
        if second_half {
            second.copy_from_slice(&heard.samples);
        } else {
            first.copy_from_slice(&heard.samples);
            self.frame_captured = on.then_some(heard.captured);
        }
        self.steps += 1;
        if second_half
            && on
            && let Some(captured) = self.frame_captured.take()
        {
            self.send_frame(captured, self.steps / 2 - 1);
        }
    }

    fn count_interruption(&mut self, captured: Instant) {
        let expected = self.last_captured.map(|last| last + STEP);
        self.last_captured = Some(captured);
        let Some(gap) = expected.and_then(|e| captured.checked_duration_since(e)) else {
            return;
        };
        if gap > INTERRUPTION {
            let missed = (gap.as_millis() / STEP.as_millis()) as u64;
            self.steps = (self.steps + missed).next_multiple_of(2);
            self.frame_captured = None;
            self.reset();
        }
    }

    fn reset(&mut self) {
        if let Some(encoder) = &mut self.encoder
            && let Err(error) = encoder.reset()
        {
            tracing::warn!(%error, "the Opus encoder keeps old sound");
        }
    }

    fn send_frame(&mut self, captured: Instant, step: u64) {
        self.links.retain(|(link, _)| !link.is_closed());
        let wishes = self.links.iter().map(|(_, wish)| wish.load(Relaxed));
        let poorest = wishes.min().map(Bitrate::from_bps);
        let Some(encoder) = self.encoder.as_mut().filter(|_| !self.links.is_empty()) else {
            return;
        };
        if let Some(poorest) = poorest
            && let Err(error) = encoder.set_bitrate(poorest)
        {
            tracing::warn!(%error, "the Opus encoder keeps its bitrate");
        }
        let data = match encoder.encode(&self.frame) {
            Ok(Some(data)) => data,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "20 ms of sound cannot be encoded");
                return;
            }
        };
        let level = levels::minus_dbov(&self.frame);
        let packet = EncodedAudio {
            data,
            captured,
            step,
            level,
            voice: level <= VOICE_LEVEL && !encoder.hears_nothing(),
        };
        for (link, _) in &self.links {
            if let Err(TrySendError::Full(packet)) = link.try_send(packet.clone()) {
                tracing::trace!(step = packet.step, "a link does not keep up: 20 ms lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, media::audio::tone::Tone};

    struct Scene {
        outgoing: Outgoing,
        tone: Tone,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                outgoing: Outgoing::new(),
                tone: Tone::default(),
                now: clock::now(),
            }
        }

        fn run(&mut self, steps: usize, on: bool) {
            for _ in 0..steps {
                let heard = Heard {
                    samples: self.tone.next_step(),
                    captured: self.now,
                    age: None,
                };
                self.outgoing.send(&heard, on);
                self.now += STEP;
            }
        }
    }

    fn wish(kbps: u64) -> Arc<AtomicU64> {
        Arc::new(AtomicU64::new(kbps * 1_000))
    }

    fn steps(link: &mut mpsc::Receiver<EncodedAudio>) -> Vec<u64> {
        std::iter::from_fn(|| link.try_recv().ok())
            .map(|packet| packet.step)
            .collect()
    }

    #[test]
    fn every_link_gets_every_packet_with_its_level() {
        let mut scene = Scene::new();
        let (sender, mut one) = mpsc::channel(10);
        scene.outgoing.add(sender, wish(32));
        let (sender, mut two) = mpsc::channel(10);
        scene.outgoing.add(sender, wish(32));
        scene.run(8, true);
        let packet = one.try_recv().expect("a packet");
        assert!(packet.voice);
        // A quarter of full scale, as a sine: −12 −3 dB.
        assert_eq!(packet.level, 15);
        assert_eq!(steps(&mut one), [1, 2, 3]);
        assert_eq!(steps(&mut two), [0, 1, 2, 3]);
    }

    #[test]
    fn nothing_leaves_while_muted_and_time_goes_on() {
        let mut scene = Scene::new();
        let (sender, mut link) = mpsc::channel(10);
        scene.outgoing.add(sender, wish(32));
        scene.run(4, true);
        assert_eq!(steps(&mut link), [0, 1]);
        scene.run(21, false);
        assert!(steps(&mut link).is_empty());
        assert!(scene.outgoing.level() > 0.5);
        // Switched on in the middle of a frame: the half from before stays here.
        scene.run(5, true);
        assert_eq!(steps(&mut link), [13, 14]);
    }

    #[test]
    fn a_link_that_does_not_keep_up_loses_sound_and_holds_nobody_up() {
        let mut scene = Scene::new();
        let (sender, mut slow) = mpsc::channel(3);
        scene.outgoing.add(sender, wish(32));
        let (sender, mut good) = mpsc::channel(10);
        scene.outgoing.add(sender, wish(32));
        scene.run(12, true);
        assert_eq!(steps(&mut good), [0, 1, 2, 3, 4, 5]);
        assert_eq!(steps(&mut slow), [0, 1, 2]);
        scene.run(2, true);
        assert_eq!(steps(&mut slow), [6]);
    }

    #[test]
    fn an_interruption_leaves_a_gap_in_time() {
        let mut scene = Scene::new();
        let (sender, mut link) = mpsc::channel(10);
        scene.outgoing.add(sender, wish(32));
        scene.run(2, true);
        scene.now += Duration::from_secs(1);
        scene.run(2, true);
        assert_eq!(steps(&mut link), [0, 51]);
    }

    #[test]
    fn the_poorest_link_decides_what_sound_costs() {
        let mut scene = Scene::new();
        let (sender, mut link) = mpsc::channel(60);
        scene.outgoing.add(sender, wish(32));
        let mut bytes = |scene: &mut Scene| {
            scene.run(100, true);
            let packets = std::iter::from_fn(|| link.try_recv().ok());
            packets.map(|packet| packet.data.len()).sum::<usize>()
        };
        bytes(&mut scene);
        let rich = bytes(&mut scene);
        let (sender, poor) = mpsc::channel(1);
        scene.outgoing.add(sender, wish(16));
        bytes(&mut scene);
        let shared = bytes(&mut scene);
        drop(poor);
        bytes(&mut scene);
        let again = bytes(&mut scene);
        // A second each: 4,000 and 2,000 bytes, more or less.
        assert!((3_000..=4_500).contains(&rich), "{rich}");
        assert!((1_500..=2_300).contains(&shared), "{shared}");
        assert!(again > shared * 3 / 2, "{again}");
    }
}
