//! The task of one link: owns the threads of its media and one peer connection after another.
//!
//! A connection is replaced only when the other side comes with a new certificate; everything
//! else (another path, a network that changed) is a restart within it. Media threads stay.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use nonstop_rate::Limits;
use nonstop_wire::ParticipantId;
use tokio::sync::{Notify, mpsc};

use super::{
    LinkConfig, LinkError, LinkEvent, Order,
    figures::{Figures, Sources},
    inbound::Decoder,
    outbound::Outbound,
    session::{End, Session},
    talk::Talk,
};
use crate::{
    clock,
    media::Way,
    mesh::peer::{Peer, PeerConfig},
};

/// Packets and reports that may wait for the link; more are lost like on the network. A second at
/// 4 Mb/s: the task drains it whenever it runs.
const MOST_RECEIVED: usize = 512;
/// Events of the connection that may wait: each interface finds a few candidates.
const MOST_PEER_EVENTS: usize = 128;

/// What outlives a connection.
pub(super) struct Media {
    pub(super) outbound: Outbound,
    pub(super) decoder: Decoder,
    pub(super) talk: Talk,
    pub(super) sources: Sources,
    pub(super) figures: Figures,
    /// Notified when the decoder has something to tell.
    pub(super) wake: Arc<Notify>,
    /// Whether the first picture was told of.
    pub(super) seen: bool,
    /// Whether the first sound was told of.
    pub(super) heard: bool,
}

impl Media {
    fn start(config: &LinkConfig) -> Result<Self, LinkError> {
        let now = clock::now();
        let wake = Arc::new(Notify::new());
        let outbound = Outbound::start(config)?;
        let decoder = Decoder::start(config.peer, Way::Direct, &config.picture, &wake)
            .map_err(|error| LinkError::Setup(error.to_string()))?;
        let sources = Sources {
            encode: outbound.encode_stats(),
            decode: decoder.stats(),
            picture: config.picture.stats(),
            voice: config.voice.stats(),
        };
        Ok(Self {
            outbound,
            decoder,
            talk: Talk::new(
                config.shown.clone(),
                config.carried.clone(),
                config.strain.clone(),
            ),
            figures: Figures::new(&sources, now),
            sources,
            wake,
            seen: false,
            heard: false,
        })
    }
}

/// Runs a link until its queue of signals is closed or only a new link helps.
pub(super) async fn run(
    config: LinkConfig,
    mut signals: mpsc::Receiver<Order>,
    events: mpsc::Sender<(ParticipantId, LinkEvent)>,
) {
    let work = run_connections(&config, &mut signals, &events);
    // What the other side says goes through a large library. Should it panic, this link is lost,
    // and its mesh must know.
    let result = AssertUnwindSafe(Box::pin(work)).catch_unwind().await;
    let panicked = |_| Err(LinkError::Setup("the link's task panicked".to_owned()));
    if let Err(error) = result.unwrap_or_else(panicked) {
        tracing::info!(peer = %config.peer, %error, "the link failed");
        // The mesh has gone where this fails, and nobody needs to know.
        let _ = events.send((config.peer, LinkEvent::Failed(error))).await;
    }
}

async fn run_connections(
    config: &LinkConfig,
    signals: &mut mpsc::Receiver<Order>,
    events: &mpsc::Sender<(ParticipantId, LinkEvent)>,
) -> Result<(), LinkError> {
    let mut media = Media::start(config)?;
    let mut offers = config.initiator;
    let mut first_offer = None;
    loop {
        let (peer_events_in, peer_events) = mpsc::channel(MOST_PEER_EVENTS);
        let (received_in, received) = mpsc::channel(MOST_RECEIVED);
        let peer = Peer::open(PeerConfig {
            paths: config.paths.clone(),
            limits: limits(config),
            events: peer_events_in,
            received: received_in,
        })
        .await
        .map_err(|error| LinkError::Setup(error.to_string()))?;
        media.figures.restart();
        let session = Session::new(config, &mut media, peer, events, offers);
        match session
            .run(signals, peer_events, received, first_offer.take())
            .await
        {
            End::Dropped => return Ok(()),
            End::Failed(error) => return Err(error),
            End::Renew(offer) => {
                tracing::debug!(peer = %config.peer, "the other side began anew");
                offers = offer.is_none();
                first_offer = offer;
            }
        }
    }
}

fn limits(config: &LinkConfig) -> Limits {
    let defaults = Limits::default();
    let ceiling = config.max_bitrate.unwrap_or(defaults.ceiling);
    Limits {
        start: defaults.start.min(ceiling),
        floor: defaults.floor.min(ceiling),
        ceiling,
    }
}
