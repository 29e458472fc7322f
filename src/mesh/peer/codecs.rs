//! What is offered: one codec each for pictures and sound, and the header extensions.

use rtc::{
    interceptor::StreamInfo,
    peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MediaEngine},
    rtp::header::Header,
    rtp_transceiver::rtp_sender::{
        RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability,
        RTCRtpHeaderExtensionParameters, RtpCodecKind,
    },
    sdp::extmap::{AUDIO_LEVEL_URI, SDES_MID_URI, TRANSPORT_CC_URI},
};
use webrtc::error::Result;

pub(super) const H264: &str = MIME_TYPE_H264;
pub(super) const OPUS: &str = MIME_TYPE_OPUS;
/// Redundant audio data (RFC 2198 section 7).
pub(super) const REDUNDANT: &str = "audio/red";
/// Frame marking (RFC 9626 section 3.4): tells the relay what a packet is without a look into it.
pub(super) const FRAME_MARKING_URI: &str = "urn:ietf:params:rtp-hdrext:framemarking";
/// In a packet of sound: the sequence number of the last packet of pictures that left before it (16 bits);
/// to the relay that of each layer, the smallest first. So a picture that is lost shows before the next one
/// comes. Our own; who does not know it leaves it out.
pub(super) const NEWEST_PICTURE_URI: &str = "urn:nonstop:newest-picture";
/// The payload type of pictures.
pub(super) const VIDEO_PAYLOAD_TYPE: u8 = 102;
/// The payload type under which the relay sends pictures again (RFC 4588).
pub(super) const REPAIR_PAYLOAD_TYPE: u8 = 103;
/// The payload type of sound.
pub(super) const AUDIO_PAYLOAD_TYPE: u8 = 111;
/// The payload type of sound that carries earlier sound, where that was negotiated; browsers have the
/// same.
pub(super) const REDUNDANT_PAYLOAD_TYPE: u8 = 63;

/// H.264 constrained baseline, level 3.1, as RFC 6184 and every browser name it.
const H264_FORMAT: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
/// Opus with in-band FEC and silence suppression (RFC 7587).
const OPUS_FORMAT: &str = "minptime=10;useinbandfec=1;usedtx=1";
/// The payload types of what redundant audio data carries, Opus both times (RFC 2198 section 5).
const REDUNDANT_FORMAT: &str = "111/111";

/// Returns the one codec for pictures.
///
/// Lost packets are sent again on the same stream (RFC 4585), without RTX: it needs no second
/// stream, and its packets carry the transport-wide numbers that rate control counts.
pub(super) fn video() -> RTCRtpCodecParameters {
    let feedback = [
        ("ccm", "fir"),
        ("nack", ""),
        ("nack", "pli"),
        ("transport-cc", ""),
    ];
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: H264.to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: H264_FORMAT.to_owned(),
            rtcp_feedback: feedback.map(feedback_named).to_vec(),
        },
        payload_type: VIDEO_PAYLOAD_TYPE,
    }
}

/// Returns the one codec for sound.
pub(super) fn audio() -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: OPUS.to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: OPUS_FORMAT.to_owned(),
            rtcp_feedback: vec![feedback_named(("transport-cc", ""))],
        },
        payload_type: AUDIO_PAYLOAD_TYPE,
    }
}

/// Returns the same sound with earlier sound in it (RFC 2198).
fn redundant_audio() -> RTCRtpCodecParameters {
    let audio = audio();
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: REDUNDANT.to_owned(),
            sdp_fmtp_line: REDUNDANT_FORMAT.to_owned(),
            ..audio.rtp_codec
        },
        payload_type: REDUNDANT_PAYLOAD_TYPE,
    }
}

/// Finds the payload types that were negotiated for a kind: of its codec, and of redundant audio data
/// where that carries this codec.
pub(super) fn negotiated(
    codecs: &[RTCRtpCodecParameters],
    mime_type: &str,
) -> (Option<u8>, Option<u8>) {
    let of = |codec: &&RTCRtpCodecParameters, name: &str| {
        codec.rtp_codec.mime_type.eq_ignore_ascii_case(name)
    };
    let codec = codecs.iter().find(|it| of(it, mime_type));
    let number = codec.map(|codec| codec.payload_type);
    let carries = |format: &str| {
        let mut numbers = format.split('/').map(|it| it.trim().parse().ok());
        number.is_some() && numbers.all(|it| it == number)
    };
    let redundant = (codecs.iter().filter(|it| of(it, REDUNDANT)))
        .find(|it| carries(&it.rtp_codec.sdp_fmtp_line));
    (number, redundant.map(|it| it.payload_type))
}

/// Returns everything that may be negotiated.
pub(super) fn media_engine(relayed: bool) -> Result<MediaEngine> {
    let mut engine = MediaEngine::default();
    engine.register_codec(video(), RtpCodecKind::Video)?;
    engine.register_codec(audio(), RtpCodecKind::Audio)?;
    if !relayed {
        // The relay tells no payload types of sound apart: there it is always redundant audio data.
        engine.register_codec(redundant_audio(), RtpCodecKind::Audio)?;
    }
    for (uri, kinds) in [
        (
            SDES_MID_URI,
            &[RtpCodecKind::Audio, RtpCodecKind::Video][..],
        ),
        (
            TRANSPORT_CC_URI,
            &[RtpCodecKind::Audio, RtpCodecKind::Video],
        ),
        (AUDIO_LEVEL_URI, &[RtpCodecKind::Audio]),
        (
            FRAME_MARKING_URI,
            if relayed { &[RtpCodecKind::Video] } else { &[] },
        ),
        (NEWEST_PICTURE_URI, &[RtpCodecKind::Audio]),
    ] {
        for kind in kinds {
            let uri = uri.to_owned();
            let extension = RTCRtpHeaderExtensionCapability { uri };
            engine.register_header_extension(extension, *kind, None)?;
        }
    }
    Ok(engine)
}

/// Returns the number of the header extension that carries transport-wide numbers.
pub(super) fn transport_wide_extension(info: &StreamInfo) -> Option<u8> {
    number_of(info, TRANSPORT_CC_URI)
}

/// Returns the number of the header extension with this URI, if it was negotiated.
pub(super) fn number_of(info: &StreamInfo, uri: &str) -> Option<u8> {
    let mut extensions = info.rtp_header_extensions.iter();
    let extension = extensions.find(|extension| extension.uri == uri)?;
    one_byte(extension.id)
}

/// Returns the 16 bits that a header extension with this number carries.
pub(super) fn number_in(header: &Header, id: u8) -> Option<u16> {
    match header.get_extension(id)?[..] {
        [high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

/// One-byte headers (RFC 8285) have the numbers 1 to 14.
fn one_byte(id: u16) -> Option<u8> {
    u8::try_from(id).ok().filter(|id| (1..=14).contains(id))
}

/// The numbers under which header extensions were negotiated for one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    pub(super) mid: Option<u8>,
    pub(super) audio_level: Option<u8>,
    pub(super) frame_marking: Option<u8>,
}

impl Extensions {
    pub(super) fn from_negotiated(extensions: &[RTCRtpHeaderExtensionParameters]) -> Self {
        let number = |uri: &str| {
            let extension = extensions.iter().find(|extension| extension.uri == uri)?;
            one_byte(extension.id)
        };
        Self {
            mid: number(SDES_MID_URI),
            audio_level: number(AUDIO_LEVEL_URI),
            frame_marking: number(FRAME_MARKING_URI),
        }
    }
}

fn feedback_named((typ, parameter): (&str, &str)) -> RTCPFeedback {
    RTCPFeedback {
        typ: typ.to_owned(),
        parameter: parameter.to_owned(),
    }
}
