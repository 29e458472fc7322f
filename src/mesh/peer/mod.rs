//! One webrtc-rs peer connection, set up our way: the only place that names webrtc-rs.
//!
//! ```text
//! link ─ send ─────────────────────▶ sender: pace, number, count ─▶ SRTP ─▶ paths
//!                    reporter: what arrived ─┘ ▲ feedback, NACK
//! link ◀─ tap ─ reports ─ reporter ◀───────────┴─── SRTP ◀─ paths
//! ```
//!
//! Invariant: nothing here waits for the link. Events and packets go into bounded channels, and
//! what does not fit is lost, like on the network.

mod beside;
mod codecs;
mod connection;
mod description;
mod feedback;
mod flight;
mod flow;
pub(crate) mod negotiation;
mod padding;
mod reporter;
mod resend;
mod sender;
mod sockets;
mod streams;
mod tap;
mod tap_relay;
#[cfg(test)]
mod tests;
mod to_relay;

use std::{sync::Arc, time::Duration};

use nonstop_ice::{Candidate, Credentials};
use nonstop_rate::{DataSize, Limits};
use rtc::{
    interceptor::{ReceiverReportBuilder, Slot},
    peer_connection::sdp::RTCSessionDescription,
    rtp_transceiver::rtp_sender::RtpCodecKind,
};
use tokio::sync::mpsc;
use webrtc::peer_connection::{PeerConnection, Registry};

use crate::mesh::paths::{PathEvent, Paths, Wire, draw_credentials};
pub(crate) use beside::{Beside, BesideEvent};
pub(crate) use flow::Flow;
use reporter::Reporter;
use sender::Sender;
use sockets::Gate;
pub(crate) use streams::{RtpOut, Stream};
pub(crate) use tap::{Kind, Received, RtpIn};
pub(crate) use to_relay::{FromRelay, LAYERS, RelayPeer, RelayPeerConfig};

/// What a packet costs beyond its RTP bytes: IPv4 20, UDP 8, SRTP authentication tag 10.
const OVERHEAD: DataSize = DataSize::from_bytes(38);
/// How long the connection's task gets to send what was said last.
const LAST_WORDS: Duration = Duration::from_millis(30);

/// What a connection has to tell its link.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// What became of the paths.
    Path(PathEvent),
    /// Media can flow.
    Connected,
    /// The way is lost; a restart may find another.
    Lost,
    /// Our DTLS refused the other side's certificate.
    CertificateRefused,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// Our own side.
    #[error("{0}")]
    Setup(webrtc::error::Error),
    /// The other side's description.
    #[error("{0}")]
    BadDescription(webrtc::error::Error),
}

/// What a connection is made from.
pub(crate) struct PeerConfig {
    /// The ways to the other side.
    pub(crate) paths: Paths,
    /// The bounds of the estimate.
    pub(crate) limits: Limits,
    /// Where events go. When it is full, events are lost: it must be drained promptly.
    pub(crate) events: mpsc::Sender<PeerEvent>,
    /// Where packets go. When it is full, packets are lost.
    pub(crate) received: mpsc::Sender<Received>,
}

/// A peer connection. Dropping it ends its task and closes its sockets; [`close`](Self::close)
/// also tells the other side.
pub(crate) struct Peer {
    connection: Box<dyn PeerConnection>,
    pub(crate) video: Stream,
    pub(crate) audio: Stream,
    pub(crate) beside: Beside,
    flow: Arc<Flow>,
    gate: Arc<Gate>,
    /// What the stand-in shows webrtc-rs.
    stand_in: Credentials,
    /// The other side's credentials that are in force.
    remote: Option<Credentials>,
    /// Whether we lead in ICE, because we offered first.
    offers: bool,
    /// Whether our own credentials are new, and theirs are to follow.
    restarting: bool,
    let_in: bool,
}

impl Peer {
    /// Opens the sockets and starts the connection's task. Nothing is sent yet.
    pub(crate) async fn open(config: PeerConfig) -> Result<Self, PeerError> {
        Self::build(config).await.map_err(PeerError::Setup)
    }

    async fn build(config: PeerConfig) -> webrtc::error::Result<Self> {
        let layer = streams::random()?;
        let flow = Arc::new(Flow::default());
        let registry = Registry::new()
            .with(
                Slot::Pacer,
                Sender::new(config.limits, Arc::clone(&flow), vec![layer]),
            )
            .with(Slot::TwccReceiver, Reporter::new(false, Arc::clone(&flow)))
            .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
            .with(Slot::from(12_500), tap::Tap::new(config.received));
        let media = codecs::media_engine(false)?;
        let (connection, gate) =
            connection::build(&config.paths, false, config.events, media, registry).await?;
        let (sound, pictures) = (RtpCodecKind::Audio, RtpCodecKind::Video);
        let ssrc = streams::random()?;
        let audio = Stream::add(connection.as_ref(), sound, codecs::audio(), ssrc).await?;
        let video = Stream::add(connection.as_ref(), pictures, codecs::video(), layer).await?;
        let beside = Beside::add(connection.as_ref()).await?;
        Ok(Self {
            connection,
            video,
            audio,
            beside,
            flow,
            gate,
            stand_in: draw_credentials(),
            remote: None,
            offers: false,
            restarting: false,
            let_in: false,
        })
    }

    /// Returns the link's end of the paths.
    pub(crate) fn wire(&self) -> &Wire {
        &self.gate.wire
    }

    /// Returns the figures shared with the connection's task.
    pub(crate) fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Creates an offer and applies it here; returns its text. With `restart` it names other
    /// credentials; the path there is goes on until both sides have found another.
    pub(crate) async fn offer(&mut self, restart: bool) -> Result<String, PeerError> {
        if restart {
            self.restarting = true;
            self.wire().restart();
        }
        self.set_offers(true);
        let apply = async {
            let offer = self.connection.create_offer(None).await?;
            let text = offer.sdp.clone();
            self.connection.set_local_description(offer).await?;
            Ok(text)
        };
        let text = apply.await.map_err(PeerError::Setup)?;
        Ok(self.for_them(&text))
    }

    /// Takes the own offer back.
    pub(crate) async fn roll_back(&self) -> Result<(), PeerError> {
        let apply = async {
            let rollback = RTCSessionDescription::rollback(None)?;
            self.connection.set_local_description(rollback).await
        };
        apply.await.map_err(PeerError::Setup)
    }

    /// Applies the other side's offer, creates the answer and applies it; returns its text.
    pub(crate) async fn accept(&mut self, offer: String) -> Result<String, PeerError> {
        self.set_offers(false);
        self.look_for(&offer);
        let offer = description::for_us(&offer, &self.stand_in);
        let apply = async {
            let offer = RTCSessionDescription::offer(offer)?;
            self.connection.set_remote_description(offer).await?;
            let answer = self.connection.create_answer(None).await?;
            let text = answer.sdp.clone();
            self.connection.set_local_description(answer).await?;
            Ok(text)
        };
        let text = apply.await.map_err(PeerError::BadDescription)?;
        Ok(self.for_them(&text))
    }

    /// Applies the other side's answer.
    pub(crate) async fn apply(&mut self, answer: String) -> Result<(), PeerError> {
        self.look_for(&answer);
        let answer = description::for_us(&answer, &self.stand_in);
        let apply = async {
            let answer = RTCSessionDescription::answer(answer)?;
            self.connection.set_remote_description(answer).await
        };
        apply.await.map_err(PeerError::BadDescription)
    }

    /// Adds one of the other side's candidates.
    pub(crate) fn add(&self, candidate: Candidate) {
        self.wire().add_remote(candidate);
    }

    /// Lets the connection begin, now that there is a path: its ICE is told of the other side, and
    /// DTLS follows. Nothing the second time.
    pub(crate) async fn let_in(&mut self) -> Result<(), PeerError> {
        if std::mem::replace(&mut self.let_in, true) {
            return Ok(());
        }
        let (connection, theirs) = (self.connection.as_ref(), self.stand_in.clone());
        let begin = connection::let_in(connection, &self.gate, theirs, self.offers);
        begin.await.map_err(PeerError::Setup)
    }

    /// Returns the local description with the candidates found so far, and whether it is an offer.
    pub(crate) async fn local_description(&self) -> Option<(String, bool)> {
        let pending = self.connection.pending_local_description().await;
        let is_offer = pending.is_some();
        let description = match pending {
            Some(pending) => pending,
            None => self.connection.local_description().await?,
        };
        Some((self.for_them(&description.sdp), is_offer))
    }

    /// Of two, the one who offers first chooses the path.
    fn set_offers(&mut self, offers: bool) {
        if self.remote.is_none() {
            self.offers = offers;
            self.wire().set_controlling(offers);
        }
    }

    /// Begins to look for a path to whom a description names.
    fn look_for(&mut self, sdp: &str) {
        let Some(ways) = description::ways(sdp) else {
            // Refused by webrtc-rs, too, which says why.
            return;
        };
        let again = self
            .remote
            .as_ref()
            .is_some_and(|old| *old != ways.credentials);
        if again && !self.restarting {
            // They began anew: so do we (RFC 8445 section 9).
            self.wire().restart();
        }
        self.restarting = false;
        self.wire()
            .set_remote(ways.credentials.clone(), ways.renomination);
        self.remote = Some(ways.credentials);
        for candidate in ways.candidates {
            self.wire().add_remote(candidate);
        }
    }

    fn for_them(&self, sdp: &str) -> String {
        let wire = self.wire();
        description::for_them(sdp, &wire.credentials(), &wire.candidates())
    }

    /// Learns how the streams were negotiated; to be called once connected, before sending.
    pub(crate) async fn learn_streams(&mut self) -> Result<(), PeerError> {
        let transceivers = self.connection.get_transceivers().await;
        for stream in [&mut self.audio, &mut self.video] {
            stream
                .learn(&transceivers)
                .await
                .map_err(PeerError::Setup)?;
        }
        Ok(())
    }

    /// Tells the other side that it is over, and ends.
    ///
    /// webrtc-rs does not tell of a DTLS connection that the other side closed, so RTCP says it.
    pub(crate) async fn close(self) {
        self.video.send_goodbye().await;
        // A closing connection forgets what waits in its queue.
        tokio::time::sleep(LAST_WORDS).await;
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the connection did not close cleanly");
        }
    }
}
