//! One of the two streams we send: its numbers, and the writing of its packets and reports.

use std::sync::Arc;

use bytes::Bytes;
use rtc::{
    media_stream::MediaStreamTrack,
    rtcp::{
        self,
        goodbye::Goodbye,
        payload_feedbacks::picture_loss_indication::PictureLossIndication,
        receiver_report::ReceiverReport,
        sender_report::SenderReport,
        transport_feedbacks::transport_layer_nack::{
            TransportLayerNack, nack_pairs_from_sequence_numbers,
        },
    },
    rtp,
    rtp_transceiver::rtp_sender::{
        RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
    },
};
use webrtc::{
    error::{Error, Result},
    media_stream::track_local::{TrackLocal, static_rtp::TrackLocalStaticRTP},
    peer_connection::PeerConnection,
    rtp_transceiver::{RtpSender, RtpTransceiver},
};

use super::codecs::{self, Extensions};

/// A stream of pictures or sound on its way out.
pub(crate) struct Stream {
    track: Arc<TrackLocalStaticRTP>,
    sender: Arc<dyn RtpSender>,
    ssrc: u32,
    mime_type: String,
    payload_type: u8,
    /// The payload type of redundant audio data, where the other side takes it.
    redundant: Option<u8>,
    extensions: Extensions,
    mid: Option<Bytes>,
    sequence: u16,
    packets: u32,
    octets: u32,
}

impl Stream {
    pub(super) async fn add(
        connection: &dyn PeerConnection,
        kind: RtpCodecKind,
        codec: RTCRtpCodecParameters,
        ssrc: u32,
    ) -> Result<Self> {
        let sequence = random()? as u16;
        let mime_type = codec.rtp_codec.mime_type.clone();
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..RTCRtpCodingParameters::default()
            },
            active: true,
            codec: codec.rtp_codec,
            ..RTCRtpEncodingParameters::default()
        };
        let name = match kind {
            RtpCodecKind::Audio => "sound",
            _ => "camera",
        };
        let track = MediaStreamTrack::new(
            "participant".to_owned(),
            // Several of a kind are told apart by their SSRC.
            format!("{name}-{ssrc}"),
            name.to_owned(),
            kind,
            vec![encoding],
        );
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let sender = connection
            .add_track(Arc::clone(&track) as Arc<dyn TrackLocal>)
            .await?;
        Ok(Self {
            track,
            sender,
            ssrc,
            mime_type,
            payload_type: codec.payload_type,
            redundant: None,
            extensions: Extensions::default(),
            mid: None,
            // Below half of the range, so that the first roll-over is well after SRTP has begun.
            sequence: sequence & 0x7fff,
            packets: 0,
            octets: 0,
        })
    }

    /// Learns the numbers that were negotiated.
    pub(super) async fn learn(&mut self, transceivers: &[Arc<dyn RtpTransceiver>]) -> Result<()> {
        let parameters = self.sender.get_parameters().await?.rtp_parameters;
        let (number, redundant) = codecs::negotiated(&parameters.codecs, &self.mime_type);
        self.payload_type = number.unwrap_or(self.payload_type);
        self.redundant = redundant;
        self.extensions = Extensions::from_negotiated(&parameters.header_extensions);
        for transceiver in transceivers {
            if let Some(sender) = transceiver.sender().await?
                && sender.id() == self.sender.id()
            {
                // A one-byte header carries at most 16 bytes (RFC 8285).
                self.mid = (transceiver.mid().await?)
                    .filter(|mid| mid.len() <= 16)
                    .map(Bytes::from);
            }
        }
        Ok(())
    }

    /// Sends one packet; waits while the connection's queue is full.
    pub(crate) async fn send(&mut self, packet: RtpOut) {
        self.send_marked(packet, None).await;
    }

    /// Sends one packet with its frame marking (RFC 9626); waits while the connection's queue is
    /// full.
    pub(crate) async fn send_marked(&mut self, packet: RtpOut, marking: Option<[u8; 3]>) {
        let mut header = rtp::header::Header {
            version: 2,
            marker: packet.marker,
            payload_type: (self.redundant)
                .filter(|_| packet.redundant)
                .unwrap_or(self.payload_type),
            sequence_number: self.sequence,
            timestamp: packet.timestamp,
            ssrc: self.ssrc,
            ..rtp::header::Header::default()
        };
        let level = (packet.level).map(|(level, voice)| [level & 0x7f | u8::from(voice) << 7]);
        let extensions = [
            self.extensions.mid.zip(self.mid.clone()),
            (self.extensions.audio_level).zip(level.map(|byte| Bytes::copy_from_slice(&byte))),
            (self.extensions.frame_marking).zip(marking.map(|it| Bytes::copy_from_slice(&it))),
        ];
        for (number, value) in extensions.into_iter().flatten() {
            if let Err(error) = header.set_extension(number, value) {
                tracing::debug!(%error, "a header extension is left out");
            }
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        let payload = packet.payload;
        if let Err(error) = self.track.write_rtp(rtp::Packet { header, payload }).await {
            tracing::debug!(%error, "a packet could not be sent");
        }
    }

    /// Tells the other side how our time stamps and our clock belong together. Before the first
    /// packet there is nothing to tell, and an empty report is a sign of life.
    pub(crate) async fn send_report(&self, ntp: u64, timestamp: u32) {
        let report: Box<dyn rtcp::Packet> = match self.packets {
            0 => Box::new(ReceiverReport {
                ssrc: self.ssrc,
                ..ReceiverReport::default()
            }),
            packet_count => Box::new(SenderReport {
                ssrc: self.ssrc,
                ntp_time: ntp,
                rtp_time: timestamp,
                packet_count,
                octet_count: self.octets,
                ..SenderReport::default()
            }),
        };
        self.send_rtcp(report).await;
    }

    /// Asks for a keyframe of the other side's stream (RFC 4585 section 6.3.1).
    pub(crate) async fn request_keyframe(&self, media_ssrc: u32) {
        self.send_rtcp(Box::new(PictureLossIndication {
            sender_ssrc: self.ssrc,
            media_ssrc,
        }))
        .await;
    }

    /// Asks for packets of the other side's stream to be sent again (RFC 4585 section 6.2.1).
    pub(crate) async fn request_again(&self, media_ssrc: u32, missing: &[u16]) {
        self.send_rtcp(Box::new(TransportLayerNack {
            sender_ssrc: self.ssrc,
            media_ssrc,
            nacks: nack_pairs_from_sequence_numbers(missing),
        }))
        .await;
    }

    /// Returns the payload type of what it carries.
    pub(crate) fn payload_type(&self) -> u8 {
        self.payload_type
    }

    /// Returns the payload type of redundant audio data (RFC 2198), where the other side takes it.
    pub(crate) fn redundant(&self) -> Option<u8> {
        self.redundant
    }

    /// Returns what tells it from the other streams.
    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Returns the number under which frames are marked, if that was negotiated.
    #[cfg(test)]
    pub(super) fn frame_marking(&self) -> Option<u8> {
        self.extensions.frame_marking
    }

    /// Says that the connection ends on purpose (RFC 3550 section 6.6).
    pub(super) async fn send_goodbye(&self) {
        self.send_rtcp(Box::new(Goodbye {
            sources: vec![self.ssrc],
            ..Goodbye::default()
        }))
        .await;
    }

    async fn send_rtcp(&self, packet: Box<dyn rtcp::Packet>) {
        if let Err(error) = self.track.write_rtcp(vec![packet]).await {
            tracing::debug!(%error, "a report could not be sent");
        }
    }
}

/// Draws a random number other than zero.
pub(super) fn random() -> Result<u32> {
    let failed = |error| Error::Other(format!("no random numbers: {error}"));
    Ok(getrandom::u32().map_err(failed)?.max(1))
}

/// One packet to send.
#[derive(Debug, Clone)]
pub(crate) struct RtpOut {
    /// Time stamp, in the clock of its stream.
    pub(crate) timestamp: u32,
    /// Whether it ends a picture, or begins a talk spurt.
    pub(crate) marker: bool,
    /// What it carries.
    pub(crate) payload: Bytes,
    /// Whether that is redundant audio data (RFC 2198), under its own payload type.
    pub(crate) redundant: bool,
    /// Loudness in −dBov and whether it is a voice (RFC 6464), for sound.
    pub(crate) level: Option<(u8, bool)>,
}
