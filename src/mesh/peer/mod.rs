//! One webrtc-rs peer connection, set up our way: the only place that names webrtc-rs.
//!
//! ```text
//! link ─ send ─────────────────────▶ sender: pace, number, count ─▶ SRTP ─▶ network
//!                    reporter: what arrived ─┘ ▲ feedback, NACK
//! link ◀─ tap ─ reports ─ reporter ◀───────────┴─── SRTP ◀─ network
//! ```
//!
//! Invariant: nothing here waits for the link. Events and packets go into bounded channels, and
//! what does not fit is lost, like on the network.

mod beside;
mod codecs;
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

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use nonstop_rate::{DataSize, Limits};
use nonstop_wire::IceServer;
use rtc::{
    ice::mdns::MulticastDnsMode,
    interceptor::{ReceiverReportBuilder, Slot},
    peer_connection::{
        configuration::{
            RTCConfigurationBuilder, RTCIceTransportPolicy, RTCOfferOptions,
            setting_engine::SettingEngineBuilder,
        },
        sdp::RTCSessionDescription,
        transport::{RTCIceCandidateInit, RTCIceCandidateType, RTCIceServer},
    },
    rtp_transceiver::rtp_sender::RtpCodecKind,
};
use tokio::sync::mpsc::{self, error::TrySendError};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState, RTCStatsReportEntry, Registry, SrtpProtectionProfile, StatsSelector,
};

use crate::clock;
pub(crate) use beside::{Beside, BesideEvent};
pub(crate) use flow::Flow;
use negotiation::Candidate;
pub(crate) use sockets::addresses;
pub(crate) use streams::RtpOut;
use streams::Stream;
pub(crate) use tap::{Kind, Received, RtpIn};

/// What a packet costs beyond its RTP bytes: IPv4 20, UDP 8, SRTP authentication tag 10.
const OVERHEAD: DataSize = DataSize::from_bytes(38);
/// How long the connection's task gets to send what was said last.
const LAST_WORDS: Duration = Duration::from_millis(30);
/// How far behind the newest packet one may come and is not taken for a replay: one that was
/// sent again is late by design (the default of 64 drops most of them).
const REPLAY_WINDOW: usize = 4096;

/// What a connection has to tell its link.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// A way in was found, to be told the other side.
    Candidate(Candidate),
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

/// How packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Whether a TURN server passes them on.
    pub(crate) relayed: bool,
    /// Round trip of the last connectivity check.
    pub(crate) round_trip_time: Option<Duration>,
}

/// What a connection is made from.
pub(crate) struct PeerConfig {
    /// The servers that help to find a path.
    pub(crate) ice_servers: Vec<IceServer>,
    /// Whether only relayed paths may be used.
    pub(crate) relayed_only: bool,
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
        let policy = match config.relayed_only {
            true => RTCIceTransportPolicy::Relay,
            false => RTCIceTransportPolicy::All,
        };
        let configuration = RTCConfigurationBuilder::new()
            .with_ice_servers(config.ice_servers.into_iter().map(ice_server).collect())
            .with_ice_transport_policy(policy)
            .build();
        // AES-CM and not GCM: a packet that is sent again keeps its SRTP index but gets a new
        // transport-wide number in its header. With GCM, two authenticated headers under one nonce
        // would give away the authentication key (RFC 7714 section 9); with HMAC they do not.
        let settings = SettingEngineBuilder::new()
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80])
            .with_srtp_replay_protection_window(REPLAY_WINDOW)
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(true)
            .with_discard_local_candidates_during_ice_restart(true)
            .with_ice_timeouts(
                Some(Duration::from_secs(4)),
                Some(Duration::from_secs(20)),
                Some(Duration::from_secs(1)),
            )
            .with_relay_acceptance_min_wait(Some(Duration::from_millis(500)))
            .build();
        let builder = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(codecs::media_engine()?)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler {
                events: config.events.clone(),
            }))
            .with_runtime(Arc::new(sockets::OurRuntime {
                events: config.events,
            }))
            .with_udp_addrs(vec![sockets::EveryInterface])
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
        })
    }

    /// Returns the figures shared with the connection's task.
    pub(crate) fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Creates an offer and applies it here; returns its text.
    pub(crate) async fn offer(&self, restart: bool) -> Result<String, PeerError> {
        let options = restart.then_some(RTCOfferOptions { ice_restart: true });
        let apply = async {
            let offer = self.connection.create_offer(options).await?;
            let text = offer.sdp.clone();
            self.connection.set_local_description(offer).await?;
            Ok(text)
        };
        apply.await.map_err(PeerError::Setup)
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
    pub(crate) async fn accept(&self, offer: String) -> Result<String, PeerError> {
        let apply = async {
            let offer = RTCSessionDescription::offer(offer)?;
            self.connection.set_remote_description(offer).await?;
            let answer = self.connection.create_answer(None).await?;
            let text = answer.sdp.clone();
            self.connection.set_local_description(answer).await?;
            Ok(text)
        };
        apply.await.map_err(PeerError::BadDescription)
    }

    /// Applies the other side's answer.
    pub(crate) async fn apply(&self, answer: String) -> Result<(), PeerError> {
        let apply = async {
            let answer = RTCSessionDescription::answer(answer)?;
            self.connection.set_remote_description(answer).await
        };
        apply.await.map_err(PeerError::BadDescription)
    }

    /// Adds one of the other side's candidates.
    pub(crate) async fn add(&self, candidate: Candidate) -> Result<(), PeerError> {
        let candidate = RTCIceCandidateInit {
            candidate: candidate.line,
            sdp_mid: candidate.mid,
            sdp_mline_index: candidate.index,
            username_fragment: candidate.ufrag,
            ..RTCIceCandidateInit::default()
        };
        (self.connection.add_ice_candidate(candidate).await).map_err(PeerError::BadDescription)
    }

    /// Returns the local description with the candidates found so far, and whether it is an offer.
    pub(crate) async fn local_description(&self) -> Option<(String, bool)> {
        let pending = self.connection.pending_local_description().await;
        let is_offer = pending.is_some();
        let description = match pending {
            Some(pending) => pending,
            None => self.connection.local_description().await?,
        };
        Some((description.sdp, is_offer))
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

    /// Returns how packets travel at present.
    pub(crate) async fn route(&self) -> Option<Route> {
        let report = self
            .connection
            .get_stats(clock::now(), StatsSelector::None)
            .await;
        let selected = &report.transport()?.selected_candidate_pair_id;
        let pair = report
            .candidate_pairs()
            .find(|pair| pair.stats.id == *selected)?;
        let relayed = report.iter().any(|entry| match entry {
            RTCStatsReportEntry::LocalCandidate(candidate)
            | RTCStatsReportEntry::RemoteCandidate(candidate) => {
                (candidate.stats.id == pair.local_candidate_id
                    || candidate.stats.id == pair.remote_candidate_id)
                    && candidate.candidate_type == RTCIceCandidateType::Relay
            }
            _ => false,
        });
        let seconds = pair.current_round_trip_time;
        let round_trip_time = (seconds > 0.0)
            .then(|| Duration::try_from_secs_f64(seconds).ok())
            .flatten();
        Some(Route {
            relayed,
            round_trip_time,
        })
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
}

impl Handler {
    fn pass(&self, event: PeerEvent) {
        // A closed channel is a link that has ended: there is nobody left to tell.
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            tracing::warn!("an event of the connection is lost");
        }
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let Ok(candidate) = event.candidate.to_json() else {
            return;
        };
        if !candidate.candidate.is_empty() {
            self.pass(PeerEvent::Candidate(Candidate {
                line: candidate.candidate,
                mid: candidate.sdp_mid,
                index: candidate.sdp_mline_index,
                ufrag: candidate.username_fragment,
            }));
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tracing::debug!(%state, "connection state");
        match state {
            RTCPeerConnectionState::Connected => self.pass(PeerEvent::Connected),
            RTCPeerConnectionState::Disconnected | RTCPeerConnectionState::Failed => {
                self.pass(PeerEvent::Lost);
            }
            _ => {}
        }
    }
}

fn ice_server(server: IceServer) -> RTCIceServer {
    RTCIceServer {
        urls: server.urls,
        username: server.username,
        credential: server.credential,
    }
}
