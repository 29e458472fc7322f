//! Opus, outgoing: 20 ms of sound in, one packet out, or nothing while there is nothing to say.

use bytes::Bytes;
use nonstop_rate::Bitrate as Rate;
use opus::{Application, Bitrate, Channels, Encoder};

use crate::media::frame::{AUDIO_FRAME_SAMPLES, SAMPLE_RATE};

/// Speech at full bandwidth, with redundancy for a lost packet.
pub(super) const MOST_BITRATE: Rate = Rate::from_kbps(32);
/// Speech that is still easy to follow, over the whole band that matters.
const LEAST_BITRATE: Rate = Rate::from_kbps(16);
/// Makes the encoder put a coarse copy of each packet into the next one.
const EXPECTED_LOSS_PERCENT: i32 = 10;
/// Opus says "not worth sending" with one or two bytes.
const NOT_SENT: usize = 2;
/// Ample for 20 ms at 32 kb/s (80 bytes on average); below one Ethernet packet.
const MAX_PACKET: usize = 1200;

/// Encodes the microphone.
#[derive(Debug)]
pub(super) struct VoiceEncoder {
    encoder: Encoder,
    bitrate: Rate,
    packet: Vec<u8>,
}

impl VoiceEncoder {
    pub(super) fn new() -> Result<Self, opus::Error> {
        let mut encoder = Encoder::new(SAMPLE_RATE, Channels::Mono, Application::Voip)?;
        encoder.set_bitrate(bits(MOST_BITRATE))?;
        encoder.set_inband_fec(true)?;
        encoder.set_packet_loss_perc(EXPECTED_LOSS_PERCENT)?;
        encoder.set_dtx(true)?;
        Ok(Self {
            encoder,
            bitrate: MOST_BITRATE,
            packet: vec![0; MAX_PACKET],
        })
    }

    /// Spends at most this from the next packet on, within what speech needs and can use.
    pub(super) fn set_bitrate(&mut self, most: Rate) -> Result<(), opus::Error> {
        let bitrate = most.clamp(LEAST_BITRATE, MOST_BITRATE);
        if bitrate != self.bitrate {
            self.encoder.set_bitrate(bits(bitrate))?;
            self.bitrate = bitrate;
        }
        Ok(())
    }

    /// Returns the packet, or `None` for silence that need not be sent.
    pub(super) fn encode(
        &mut self,
        samples: &[f32; AUDIO_FRAME_SAMPLES],
    ) -> Result<Option<Bytes>, opus::Error> {
        let length = self.encoder.encode_float(samples, &mut self.packet)?;
        Ok((length > NOT_SENT).then(|| Bytes::copy_from_slice(&self.packet[..length])))
    }

    /// Tells whether the encoder hears nothing but noise.
    pub(super) fn hears_nothing(&mut self) -> bool {
        self.encoder.get_in_dtx().unwrap_or(false)
    }

    /// Forgets the sound of before, so that none of it leaks into the next packet.
    pub(super) fn reset(&mut self) -> Result<(), opus::Error> {
        self.encoder.reset_state()
    }
}

fn bits(rate: Rate) -> Bitrate {
    Bitrate::Bits(i32::try_from(rate.bps()).unwrap_or(i32::MAX))
}
