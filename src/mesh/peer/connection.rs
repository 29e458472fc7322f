//! A connection of webrtc-rs as all of ours are: its way out is a [`Gate`] to our own paths, and its
//! ICE is content with a stand-in.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use nonstop_ice::{Candidate, CandidateKind, Credentials};
use rtc::{
    ice::mdns::MulticastDnsMode,
    peer_connection::{
        configuration::{
            RTCConfigurationBuilder, media_engine::MediaEngine,
            setting_engine::SettingEngineBuilder,
        },
        transport::RTCIceCandidateInit,
    },
};
use tokio::sync::mpsc::{self, error::TrySendError};
use webrtc::{
    error::Result,
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceConnectionState,
        RTCPeerConnectionState, Registry, SrtpProtectionProfile,
    },
};

use super::{
    PeerEvent, beside, description,
    sockets::{self, Gate},
};
use crate::mesh::paths::Paths;

/// Longer than any call: the stand-in is never given up.
const FOR_EVER: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How often webrtc-rs asks the stand-in whether it is there.
const STAND_IN_CHECKS: Duration = Duration::from_secs(30);
/// How far behind the newest packet one may come and is not taken for a replay: one that was
/// sent again is late by design (the default of 64 drops most of them).
const REPLAY_WINDOW: usize = 4096;

/// Starts a connection's task, `to_house` where the meeting server's house is at the other end. Nothing
/// is sent yet.
pub(super) async fn build(
    paths: &Paths,
    to_house: bool,
    events: mpsc::Sender<PeerEvent>,
    media: MediaEngine,
    registry: Registry,
) -> Result<(Box<dyn PeerConnection>, Arc<Gate>)> {
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
    let tell = events.clone();
    let tell = move |event| pass(&tell, PeerEvent::Path(event));
    let wire = match to_house {
        true => paths.wire_to_house(tell),
        false => paths.wire(tell),
    };
    let gate = Gate::new(wire, events.clone());
    let builder = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_media_engine(media)
        .with_setting_engine(settings)
        .with_interceptor_registry(registry)
        .with_handler(Arc::new(Handler {
            events,
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
    Ok((Box::new(connection), gate))
}

/// Lets a connection begin, now that there is a path: its ICE is told of the stand-in, which has the
/// credentials `stand_in`, and DTLS follows. `offers` tells whether our side made the first offer.
pub(super) async fn let_in(
    connection: &dyn PeerConnection,
    gate: &Gate,
    stand_in: Credentials,
    offers: bool,
) -> Result<()> {
    let own = match connection.local_description().await {
        Some(description) => description::credentials(&description.sdp),
        None => None,
    };
    if let Some(theirs) = own {
        gate.let_in(stand_in, theirs, offers);
    }
    let line = Candidate::new(CandidateKind::Host, sockets::OTHER_SIDE, None, 0).to_string();
    let candidate = RTCIceCandidateInit {
        candidate: line,
        sdp_mline_index: Some(0),
        ..RTCIceCandidateInit::default()
    };
    connection.add_ice_candidate(candidate).await
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
