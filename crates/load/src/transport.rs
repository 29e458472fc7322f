//! str0m as an application's half of a connection to the relay: ICE in control, DTLS active.

use std::time::Instant;

use nonstop_wire::{RelayExtensions, RelayPayloadTypes};
use str0m::{
    Rtc, RtcConfig,
    format::{Codec, CodecConfig, FormatParams},
    media::{Frequency, Pt},
    rtp::{Extension, ExtensionMap},
};

use crate::marking;

/// The payload types that synthetic participants choose.
pub(crate) const PAYLOAD_TYPES: RelayPayloadTypes = RelayPayloadTypes {
    sound: 111,
    pictures: 102,
    repair: 103,
};
/// The numbers of header extensions that they choose.
pub(crate) const EXTENSIONS: RelayExtensions = RelayExtensions {
    audio_level: 1,
    transport_cc: 3,
    frame_marking: 5,
    newest_picture: Some(6),
};
/// Constrained baseline, level 3.1.
const PROFILE: u32 = 0x42e01f;

/// Makes the half that a participant of a meeting brings.
pub(crate) fn participant(now: Instant) -> Rtc {
    let mut extensions = ExtensionMap::empty();
    extensions.set(EXTENSIONS.audio_level, Extension::AudioLevel);
    extensions.set(EXTENSIONS.transport_cc, Extension::TransportSequenceNumber);
    extensions.set(EXTENSIONS.frame_marking, marking::extension());
    let mut config = common().clear_codecs().set_extension_map(extensions);
    codecs(config.codec_config());
    config.build(now)
}

/// Makes the half that a client of Janus brings: what is spoken is settled by descriptions.
pub(crate) fn stranger(now: Instant) -> Rtc {
    let mut config = common().clear_codecs();
    codecs(config.codec_config());
    config.build(now)
}

fn common() -> RtcConfig {
    // Requests for repair are answered by us: on the same SSRC and sequence number.
    Rtc::builder().set_rtp_mode(true).enable_raw_packets(true)
}

fn codecs(codecs: &mut CodecConfig) {
    let opus = FormatParams {
        min_p_time: Some(10),
        use_inband_fec: Some(true),
        ..FormatParams::default()
    };
    codecs.add_config(
        Pt::new_with_value(PAYLOAD_TYPES.sound),
        None,
        Codec::Opus,
        Frequency::FORTY_EIGHT_KHZ,
        Some(2),
        opus,
    );
    codecs.add_h264(
        Pt::new_with_value(PAYLOAD_TYPES.pictures),
        Some(Pt::new_with_value(PAYLOAD_TYPES.repair)),
        true,
        PROFILE,
    );
}
