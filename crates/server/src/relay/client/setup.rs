//! How str0m is set up for a connection: what a session description would say.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use nonstop_wire::RelayOpen;
use str0m::{
    Candidate, IceCreds, Rtc, RtcConfig, RtcError,
    config::Fingerprint,
    format::{Codec, FormatParams},
    media::{Frequency, MediaKind, Mid, Rid},
    rtp::Extension,
};

use super::{
    super::{marking, newest_pictures},
    Ground, local_address,
};

/// The section of the participant's sound, and that of its pictures. Neither is ever sent.
const SOUND: &str = "sound";
const PICTURES: &str = "pictures";

pub(super) fn config(ground: &Ground, open: &RelayOpen, credentials: IceCreds) -> RtcConfig {
    let extensions = open.extensions;
    let mut config = RtcConfig::new()
        .set_crypto_provider(Arc::clone(&ground.provider))
        .set_dtls_cert(ground.certificate.clone())
        .set_local_ice_credentials(credentials)
        .set_ice_lite(true)
        .set_rtp_mode(true)
        // For the feedback and the requests among them.
        .enable_raw_packets(true)
        .clear_codecs()
        .clear_extension_map()
        .set_extension(extensions.audio_level, Extension::AudioLevel)
        .set_extension(extensions.transport_cc, Extension::TransportSequenceNumber)
        .set_extension(
            extensions.frame_marking,
            Extension::with_serializer(marking::URI, marking::Marking),
        )
        .set_rtcp_report_interval_audio(Duration::from_secs(1));
    if let Some(number) = extensions.newest_picture {
        let reader = newest_pictures::Reader;
        let extension = Extension::with_serializer(newest_pictures::URI, reader);
        config = config.set_extension(number, extension);
    }
    let types = open.payload_types;
    config.codec_config().add_config(
        types.sound.into(),
        None,
        Codec::Opus,
        Frequency::FORTY_EIGHT_KHZ,
        Some(2),
        FormatParams::default(),
    );
    config.codec_config().add_config(
        types.pictures.into(),
        // What comes in is not sent again.
        None,
        Codec::H264,
        Frequency::NINETY_KHZ,
        None,
        FormatParams::default(),
    );
    config
}

/// Sets up what a session description would say.
pub(super) fn begin(rtc: &mut Rtc, open: &RelayOpen, fingerprint: Vec<u8>) -> Result<(), RtcError> {
    for family in [
        SocketAddr::from(([0; 4], 0)),
        SocketAddr::from(([0; 16], 0)),
    ] {
        if let Ok(candidate) = Candidate::host(local_address(family), "udp") {
            rtc.add_local_candidate(candidate);
        }
    }
    let mut direct = rtc.direct_api();
    direct.set_ice_controlling(false);
    direct.set_remote_ice_credentials(IceCreds {
        ufrag: open.ufrag.clone(),
        pass: open.password.clone(),
    });
    direct.set_remote_fingerprint(Fingerprint {
        hash_func: "sha-256".to_owned(),
        bytes: fingerprint,
    });
    direct.start_dtls(false)?;
    direct.enable_twcc_feedback();
    let (sound, pictures) = (Mid::from(SOUND), Mid::from(PICTURES));
    direct.declare_media(sound, MediaKind::Audio);
    direct.declare_media(pictures, MediaKind::Video);
    // Sound that comes late is of no use; it is repaired by what the next packet carries of it.
    let stream = direct.expect_stream_rx(open.sound.into(), None, sound, None);
    stream.suppress_nack(true);
    for (number, layer) in open.layers.iter().enumerate() {
        let rid = Rid::from(format!("{number}").as_str());
        let stream = direct.expect_stream_rx((*layer).into(), None, pictures, Some(rid));
        // What is missing of pictures is asked for beside str0m.
        stream.suppress_nack(true);
    }
    Ok(())
}

/// Reads 32 pairs of hexadecimal digits.
pub(super) fn fingerprint_bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.split(':').map(|pair| {
        let digits = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(pair, 16).ok().filter(|_| digits)
    });
    let bytes = pairs.collect::<Option<Vec<_>>>()?;
    (bytes.len() == 32).then_some(bytes)
}
