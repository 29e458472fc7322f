//! A connection to the meeting server's relay.
//!
//! It is made as a link's is, of the same webrtc-rs, with two differences. It sends one stream of
//! sound and three of pictures, the layers, the smallest first. And no session description goes over
//! the wire: the two sides tell each other credentials, fingerprints and numbers
//! (`crates/wire/src/relay.rs`), and what webrtc-rs takes for the relay's answer is made here from its own
//! offer.
//!
//! ```text
//! webrtc-rs ─ offer ─▶ RelayOpen ═▶ server
//! webrtc-rs ◀─ answer ─ own offer + RelayOpened ◀═ server
//! ```

use std::sync::Arc;

use nonstop_ice::{Candidate, CandidateKind, Credentials};
use nonstop_rate::Limits;
use nonstop_wire::{RelayExtensions, RelayOpen, RelayOpened, RelayPayloadTypes};
use rtc::{
    interceptor::Slot,
    peer_connection::sdp::RTCSessionDescription,
    rtp_transceiver::rtp_sender::RtpCodecKind,
    sdp::extmap::{AUDIO_LEVEL_URI, TRANSPORT_CC_URI},
};
use tokio::sync::mpsc;
use webrtc::{
    error::{Error, Result},
    peer_connection::{PeerConnection, Registry},
};

pub(crate) use super::tap_relay::FromRelay;
use super::{
    Flow, PeerError, PeerEvent, codecs, connection, description,
    reporter::Reporter,
    sender::Sender,
    sockets::Gate,
    streams::{self, Stream},
    tap_relay::RelayTap,
};
use crate::mesh::paths::{Paths, Wire, draw_credentials};

/// How many layers of pictures there are.
pub(crate) const LAYERS: usize = 3;

/// What a connection to the relay is made from.
pub(crate) struct RelayPeerConfig {
    /// The ways to the relay.
    pub(crate) paths: Paths,
    /// The bounds of the estimate.
    pub(crate) limits: Limits,
    /// Where events go. When it is full, events are lost: it must be drained promptly.
    pub(crate) events: mpsc::Sender<PeerEvent>,
    /// Where packets go. When it is full, packets are lost.
    pub(crate) received: mpsc::Sender<FromRelay>,
}

/// A connection to the relay. Dropping it ends its task; [`close`](Self::close) also tells the relay.
pub(crate) struct RelayPeer {
    connection: Box<dyn PeerConnection>,
    /// The sound.
    pub(crate) sound: Stream,
    /// The layers of pictures, the smallest first.
    pub(crate) layers: [Stream; LAYERS],
    flow: Arc<Flow>,
    gate: Arc<Gate>,
    /// What the stand-in shows webrtc-rs.
    stand_in: Credentials,
    let_in: bool,
}

impl RelayPeer {
    /// Starts the connection's task. Nothing is sent yet.
    pub(crate) async fn open(config: RelayPeerConfig) -> std::result::Result<Self, PeerError> {
        Self::build(config).await.map_err(PeerError::Setup)
    }

    async fn build(config: RelayPeerConfig) -> Result<Self> {
        let numbers = [streams::random()?, streams::random()?, streams::random()?];
        let flow = Arc::new(Flow::default());
        let registry = Registry::new()
            .with(
                Slot::Pacer,
                Sender::new(config.limits, Arc::clone(&flow), numbers.to_vec()),
            )
            .with(Slot::TwccReceiver, Reporter::new(true, Arc::clone(&flow)))
            .with(Slot::from(12_500), RelayTap::new(config.received));
        let media = codecs::media_engine(true)?;
        let (connection, gate) =
            connection::build(&config.paths, true, config.events, media, registry).await?;
        let (sound, pictures) = (RtpCodecKind::Audio, RtpCodecKind::Video);
        let to = connection.as_ref();
        let sound = Stream::add(to, sound, codecs::audio(), streams::random()?).await?;
        let [small, middle, large] =
            numbers.map(|ssrc| Stream::add(to, pictures, codecs::video(), ssrc));
        let layers = [small.await?, middle.await?, large.await?];
        Ok(Self {
            connection,
            sound,
            layers,
            flow,
            gate,
            stand_in: draw_credentials(),
            let_in: false,
        })
    }

    /// Returns the connection's end of the paths.
    pub(crate) fn wire(&self) -> &Wire {
        &self.gate.wire
    }

    /// Returns the figures shared with the connection's task.
    pub(crate) fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Returns our half of the connection, to be told the server, under a number that is larger than
    /// those before, with so many layers.
    pub(crate) async fn offer(
        &mut self,
        number: u32,
        layers: usize,
    ) -> std::result::Result<RelayOpen, PeerError> {
        // The relay does not check paths by itself (ICE-lite): we lead (RFC 8445 section 6.1.1).
        self.wire().set_controlling(true);
        let open = async {
            let offer = self.connection.create_offer(None).await?;
            let text = offer.sdp.clone();
            self.connection.set_local_description(offer).await?;
            let own = self.wire().credentials();
            let missing = |what: &str| Error::Other(format!("our own offer lacks {what}"));
            let extension = |uri: &str| {
                description::extension(&text, uri).ok_or_else(|| missing("a header extension"))
            };
            Ok(RelayOpen {
                connection: number,
                ufrag: own.ufrag,
                password: own.password,
                fingerprint: description::fingerprint(&text)
                    .ok_or_else(|| missing("a fingerprint"))?,
                sound: self.sound.ssrc(),
                layers: (self.layers.iter().take(layers))
                    .map(Stream::ssrc)
                    .collect(),
                payload_types: RelayPayloadTypes {
                    sound: codecs::AUDIO_PAYLOAD_TYPE,
                    pictures: codecs::VIDEO_PAYLOAD_TYPE,
                    repair: codecs::REPAIR_PAYLOAD_TYPE,
                },
                extensions: RelayExtensions {
                    audio_level: extension(AUDIO_LEVEL_URI)?,
                    transport_cc: extension(TRANSPORT_CC_URI)?,
                    frame_marking: extension(codecs::FRAME_MARKING_URI)?,
                    newest_picture: Some(extension(codecs::NEWEST_PICTURE_URI)?),
                },
            })
        };
        open.await.map_err(PeerError::Setup)
    }

    /// Applies the relay's half, and begins to look for a way to it.
    pub(crate) async fn apply(
        &mut self,
        opened: &RelayOpened,
    ) -> std::result::Result<(), PeerError> {
        let credentials = Credentials {
            ufrag: opened.ufrag.clone(),
            password: opened.password.clone(),
        };
        let refused = |what: &str| PeerError::BadDescription(Error::Other(what.to_owned()));
        if !credentials.is_valid() {
            return Err(refused("the relay's credentials are not valid"));
        }
        if !description::is_fingerprint(&opened.fingerprint) {
            return Err(refused("the relay's fingerprint is none"));
        }
        let apply = async {
            let own = self.connection.local_description().await;
            let own = own.ok_or_else(|| Error::Other("nothing was offered".to_owned()))?;
            let answer = description::answer(&own.sdp, &opened.fingerprint);
            let answer = description::for_us(&answer, &self.stand_in);
            let answer = RTCSessionDescription::answer(answer)?;
            self.connection.set_remote_description(answer).await
        };
        apply.await.map_err(PeerError::BadDescription)?;
        self.wire().set_remote(credentials, false);
        for address in &opened.addresses {
            let candidate = Candidate::new(CandidateKind::Host, *address, None, 0);
            self.wire().add_remote(candidate);
        }
        Ok(())
    }

    /// Lets the connection begin, now that there is a path. Nothing the second time.
    pub(crate) async fn let_in(&mut self) -> std::result::Result<(), PeerError> {
        if std::mem::replace(&mut self.let_in, true) {
            return Ok(());
        }
        let (connection, theirs) = (self.connection.as_ref(), self.stand_in.clone());
        let begin = connection::let_in(connection, &self.gate, theirs, true);
        begin.await.map_err(PeerError::Setup)
    }

    /// Learns how the streams were negotiated; to be called once connected, before sending.
    pub(crate) async fn learn_streams(&mut self) -> std::result::Result<(), PeerError> {
        let transceivers = self.connection.get_transceivers().await;
        let streams = self.layers.iter_mut().chain([&mut self.sound]);
        for stream in streams {
            let learned = stream.learn(&transceivers).await;
            learned.map_err(PeerError::Setup)?;
        }
        Ok(())
    }

    /// Tells whether a payload type is that of sound.
    pub(crate) fn is_sound(payload_type: u8) -> bool {
        payload_type == codecs::AUDIO_PAYLOAD_TYPE
    }

    /// Tells the same of pictures.
    pub(crate) fn is_pictures(payload_type: u8) -> bool {
        payload_type == codecs::VIDEO_PAYLOAD_TYPE
    }

    /// Tells whether a packet is one that is sent again (RFC 4588).
    pub(crate) fn is_repair(payload_type: u8) -> bool {
        payload_type == codecs::REPAIR_PAYLOAD_TYPE
    }

    /// Tells the relay that it is over, and ends.
    pub(crate) async fn close(self) {
        self.sound.send_goodbye().await;
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the connection to the relay did not close cleanly");
        }
    }
}

#[cfg(test)]
mod tests {
    use nonstop_wire::ClientMessage;

    use super::*;
    use crate::mesh::paths::PathsConfig;

    async fn open() -> RelayPeer {
        let (events, _) = mpsc::channel(16);
        let (received, _) = mpsc::channel(16);
        let config = RelayPeerConfig {
            paths: Paths::start(PathsConfig::default()),
            limits: Limits::default(),
            events,
            received,
        };
        RelayPeer::open(config).await.expect("loopback is there")
    }

    fn opened(fingerprint: String) -> RelayOpened {
        RelayOpened {
            connection: 1,
            ufrag: "abcdefgh".to_owned(),
            password: "0123456789012345678901".to_owned(),
            fingerprint,
            addresses: vec!["127.0.0.1:9".parse().expect("an address")],
            padding_ssrc: 9,
        }
    }

    #[tokio::test]
    async fn what_is_offered_keeps_the_limits_and_the_answer_made_of_it_is_taken() {
        let mut peer = open().await;
        let open = peer.offer(1, LAYERS).await.expect("we can offer");
        let message = ClientMessage::RelayOpen(open.clone());
        let read = ClientMessage::decode(&message.encode()).expect("within the limits");
        assert_eq!(read, message);
        assert_eq!(open.layers.len(), LAYERS);
        let answer = opened(["AB"; 32].join(":"));
        peer.apply(&answer).await.expect("it answers our offer");
        peer.learn_streams().await.expect("they are negotiated");
        let marking = Some(open.extensions.frame_marking);
        assert!(peer.layers.iter().all(|it| it.frame_marking() == marking));
        assert_eq!(peer.sound.frame_marking(), None);
        assert_eq!(peer.wire().credentials().ufrag, open.ufrag);
    }

    #[tokio::test]
    async fn a_relay_without_a_fingerprint_is_refused() {
        let mut peer = open().await;
        peer.offer(1, LAYERS).await.expect("we can offer");
        for wrong in ["", "AB:CD", "AB\r\na=setup:active"] {
            assert!(peer.apply(&opened(wrong.to_owned())).await.is_err());
        }
    }
}
