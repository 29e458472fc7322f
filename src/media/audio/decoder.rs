//! Opus, incoming: packets, repairs and made-up sound.

use opus::{Channels, Decoder, packet};

use crate::media::frame::SAMPLE_RATE;

/// The longest packet Opus allows is 120 ms.
const MAX_SAMPLES: usize = 5760;

/// Decodes one participant.
#[derive(Debug)]
pub(super) struct VoiceDecoder {
    decoder: Decoder,
    samples: Vec<f32>,
}

impl VoiceDecoder {
    pub(super) fn new() -> Result<Self, opus::Error> {
        Ok(Self {
            decoder: Decoder::new(SAMPLE_RATE, Channels::Mono)?,
            samples: vec![0.0; MAX_SAMPLES],
        })
    }

    /// Decodes a packet.
    pub(super) fn decode(&mut self, packet: &[u8]) -> Result<&mut [f32], opus::Error> {
        self.run(packet, MAX_SAMPLES, false)
    }

    /// Rebuilds the packet before `successor`, which had so many samples.
    pub(super) fn repair(
        &mut self,
        successor: &[u8],
        samples: usize,
    ) -> Result<&mut [f32], opus::Error> {
        self.run(successor, samples, true)
    }

    /// Makes up so many samples (a multiple of 120) that continue what was heard.
    pub(super) fn conceal(&mut self, samples: usize) -> Result<&mut [f32], opus::Error> {
        self.run(&[], samples, false)
    }

    fn run(&mut self, packet: &[u8], samples: usize, fec: bool) -> Result<&mut [f32], opus::Error> {
        let out = &mut self.samples[..samples.min(MAX_SAMPLES)];
        let decoded = self.decoder.decode_float(packet, out, fec)?;
        Ok(&mut self.samples[..decoded])
    }
}

/// Returns how many samples a packet holds; `None` if it is not an Opus packet.
pub(super) fn duration(payload: &[u8]) -> Option<u32> {
    let samples = packet::get_nb_samples(payload, SAMPLE_RATE).ok()?;
    u32::try_from(samples).ok().filter(|&samples| samples > 0)
}

/// Tells whether a packet carries a coarse copy of the one before it: the LBRR flag behind
/// the voice flag of a SILK layer (RFC 6716, 4.2.3 and 4.2.4), in 20 ms packets as sent here.
pub(super) fn repairs_predecessor(payload: &[u8]) -> bool {
    let [toc, first, ..] = payload else {
        return false;
    };
    let celt_only = toc & 0x80 != 0;
    let one_frame = toc & 0x03 == 0;
    !celt_only && one_frame && duration(payload) == Some(960) && first & 0x40 != 0
}
