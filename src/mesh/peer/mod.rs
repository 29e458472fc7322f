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
mod description;
mod feedback;
mod flow;
pub(crate) mod negotiation;
mod padding;
mod reporter;
mod resend;
mod sender;
mod sockets;
mod streams;
mod tap;
#[cfg(test)]
mod tests;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use nonstop_rate::{DataSize, Limits};
use rtc::{
    ice::mdns::MulticastDnsMode,
    interceptor::{ReceiverReportBuilder, Slot},
    peer_connection::{
        configuration::{RTCConfigurationBuilder, setting_engine::SettingEngineBuilder},
        sdp::RTCSessionDescription,
        transport::RTCIceCandidateInit,
    },
    rtp_transceiver::rtp_sender::RtpCodecKind,
};
use tokio::sync::mpsc::{self, error::TrySendError};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceConnectionState,
    RTCPeerConnectionState, Registry, SrtpProtectionProfile,
};

use crate::mesh::paths::{PathEvent, Paths, Wire, draw_credentials};
pub(crate) use beside::{Beside, BesideEvent};
pub(crate) use flow::Flow;
use nonstop_ice::{Candidate, CandidateKind, Credentials};
use sockets::Gate;
pub(crate) use streams::RtpOut;
use streams::Stream;
pub(crate) use tap::{Kind, Received, RtpIn};

/// What a packet costs beyond its RTP bytes: IPv4 20, UDP 8, SRTP authentication tag 10.
const OVERHEAD: DataSize = DataSize::from_bytes(38);
/// Longer than any call: the stand-in is never given up.
const FOR_EVER: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How often webrtc-rs asks the stand-in whether it is there.
const STAND_IN_CHECKS: Duration = Duration::from_secs(30);
/// How long the connection's task gets to send what was said last.
const LAST_WORDS: Duration = Duration::from_millis(30);
/// How far behind the newest packet one may come and is not taken for a replay: one that was
/// sent again is late by design (the default of 64 drops most of them).
const REPLAY_WINDOW: usize = 4096;

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
        let flow = Arc::new(Flow::default());
        let sender = sender::Sender::new(config.limits, Arc::clone(&flow));
        let registry = Registry::new()
            .with(Slot::Pacer, sender)
            .with(Slot::TwccReceiver, reporter::Reporter::new())
            .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
            .with(Slot::from(12_500), tap::Tap::new(config.received));
        // AES-CM and not GCM: a packet that is sent again keeps its SRTP index but gets a new
        // transport-wide number in its header. With GCM, two authenticated headers under one nonce
        // would give away the authentication key (RFC 7714 section 9); with HMAC they do not.
        let settings = SettingEngineBuilder::new()
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80])
            .with_srtp_replay_protection_window(REPLAY_WINDOW)
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(true)
            // The stand-in answers at once and always; what the paths do is none of its business.
            .with_ice_timeouts(Some(FOR_EVER), Some(FOR_EVER), Some(STAND_IN_CHECKS))
            .build();
        let events = config.events.clone();
        let wire = config
            .paths
            .wire(move |event| pass(&events, PeerEvent::Path(event)));
        let gate = Arc::new(Gate::new(wire, config.events.clone()));
        let builder = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(codecs::media_engine()?)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler {
                events: config.events,
                gate: Arc::clone(&gate),
            }))
            .with_runtime(Arc::new(sockets::OurRuntime {
                gate: Arc::clone(&gate),
            }))
            // Bound and never used: webrtc-rs wants a socket to wrap.
            .with_udp_addrs(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
            .with_data_channel_send_buffer_limit(beside::MOST_WAITING)
            // Our runtime has no reactor threads: this only makes a dropped connection end its task.
            .with_dedicated_reactor_pool_size(1);
        // On the heap: 20 kB.
        let connection = Box::pin(builder.build()).await?;
        let connection: Box<dyn PeerConnection> = Box::new(connection);
        let audio = Stream::add(connection.as_ref(), RtpCodecKind::Audio, codecs::audio()).await?;
        let video = Stream::add(connection.as_ref(), RtpCodecKind::Video, codecs::video()).await?;
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
        let own = match self.connection.local_description().await {
            Some(description) => description::credentials(&description.sdp),
            None => None,
        };
        if let Some(theirs) = own {
            self.gate.let_in(self.stand_in.clone(), theirs, self.offers);
        }
        let line = Candidate::new(CandidateKind::Host, sockets::OTHER_SIDE, None, 0).to_string();
        let candidate = RTCIceCandidateInit {
            candidate: line,
            sdp_mline_index: Some(0),
            ..RTCIceCandidateInit::default()
        };
        (self.connection.add_ice_candidate(candidate).await).map_err(PeerError::Setup)
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

/// Passes webrtc-rs's events on. It runs on the connection's own task: it must not wait.
struct Handler {
    events: mpsc::Sender<PeerEvent>,
    gate: Arc<Gate>,
}

/// Passes an event on without waiting.
fn pass(events: &mpsc::Sender<PeerEvent>, event: PeerEvent) {
    // A closed channel is a link that has ended: there is nobody left to tell.
    if let Err(TrySendError::Full(_)) = events.try_send(event) {
        tracing::warn!("an event of the connection is lost");
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        tracing::debug!(%state, "stand-in");
        if state == RTCIceConnectionState::Connected {
            self.gate.open();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tracing::debug!(%state, "connection state");
        match state {
            RTCPeerConnectionState::Connected => pass(&self.events, PeerEvent::Connected),
            RTCPeerConnectionState::Disconnected | RTCPeerConnectionState::Failed => {
                pass(&self.events, PeerEvent::Lost);
            }
            _ => {}
        }
    }
}
