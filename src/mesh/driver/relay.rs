//! What the driver does about the relay: facts of its connection go to the room, and what the room
//! decides to the connection.

use std::time::{Duration, Instant};

use futures_util::future::Either;
use nonstop_rate::Bitrate;
use nonstop_wire::{ParticipantId, ServerMessage, Topology};
use tokio::sync::mpsc;

use super::Driver;
use crate::mesh::{
    LinkStats, MeshEvent,
    relayed::{Offer, Relayed, RelayedConfig, RelayedEvent, Take},
    room::RelayedNews,
};

/// How often the uplink is asked whether it can feed a mesh.
const ASK: Duration = Duration::from_millis(500);

/// What of the rate that came a second ago is still counted on.
const FADING: f64 = 0.8;

/// The connection to the relay, once it is worth having.
#[derive(Debug)]
pub(super) struct Connection {
    relayed: Relayed,
    events: mpsc::Receiver<RelayedEvent>,
    /// Whether something of ours goes through it.
    sending: bool,
    /// When the uplink is asked next.
    pub(super) ask: Instant,
}

impl Driver {
    /// Opens the connection to the relay, which is kept as long as the call lasts.
    pub(super) fn open_relay(&mut self, now: Instant) {
        // Full while the mesh waits for its listener: the connection's control then waits, too.
        let (events, queue) = mpsc::channel(256);
        let config = RelayedConfig {
            paths: self.paths.clone(),
            uplink: std::sync::Arc::clone(&self.uplink),
            time_base: self.time_base,
            max_bitrate: self.config.max_bitrate,
            max_size: self.config.max_size,
            renditions: self.renditions.clone(),
            audio: self.config.audio.clone(),
        };
        self.relay = Some(Connection {
            relayed: Relayed::start(config, events),
            events: queue,
            sending: false,
            ask: now + ASK,
        });
    }

    /// Offers our media through the relay. Nothing is sent before somebody wants it.
    pub(super) fn publish(&self, preferred: bool) {
        if let Some(relay) = &self.relay {
            relay.relayed.publish(Some(Offer {
                sound: true,
                pictures: true,
                preferred,
            }));
        }
    }

    /// Begins or ends to take somebody in through the relay.
    pub(super) fn carry(&mut self, id: ParticipantId, taken: bool, carried: bool) {
        if let Some(party) = self.parties.get_mut(&id) {
            party.taken = taken;
            party.carried.set(carried);
            self.take();
        }
    }

    /// Tells the connection whom to take in, and how large.
    pub(super) fn take(&self) {
        let Some(relay) = &self.relay else { return };
        let taken = self.parties.iter().filter(|(_, party)| party.taken);
        let takes = taken.map(|(id, party)| Take {
            id: *id,
            size: self.shown(*id),
            sound: true,
            picture: party.picture.clone(),
            voice: std::sync::Arc::clone(&party.voice),
        });
        let arriving = self.parties.values().map(|party| party.arriving).sum();
        let known = Some(arriving).filter(|rate| *rate > Bitrate::ZERO);
        relay.relayed.take(takes.collect(), known);
    }

    /// Takes in what comes from somebody, once a second for each way. What came before fades slowly: a
    /// way that broke is replaced by one that carries as much.
    pub(super) fn note_arriving(&mut self, id: ParticipantId, stats: &LinkStats) {
        if let Some(party) = self.parties.get_mut(&id) {
            let rates = [stats.video_received, stats.audio_received];
            let rate: Bitrate = rates.into_iter().flatten().sum();
            party.arriving = rate.max(party.arriving.scale(FADING));
        }
    }

    /// Takes in what the server says that is not about who is there.
    pub(super) fn handle_server_of_relay(&mut self, message: ServerMessage, now: Instant) {
        match message {
            ServerMessage::Topology { topology } if topology != Topology::Unknown => {
                self.room.handle_topology(topology, now);
            }
            message => {
                let Some(relay) = &mut self.relay else { return };
                if let ServerMessage::Wanted(wanted) = &message {
                    let sending = wanted.sound || wanted.layers.contains(&true);
                    if std::mem::replace(&mut relay.sending, sending) != sending {
                        self.later.push(MeshEvent::SentThroughRelay(sending));
                    }
                }
                relay.relayed.handle(message);
            }
        }
    }

    /// Takes in that the server is reached again, or for the first time.
    pub(super) fn server_back(&self, resumed: bool) {
        if let Some(relay) = &self.relay {
            relay.relayed.server_back(resumed);
        }
    }

    /// Waits for news of the relay.
    pub(super) fn relay_news(
        relay: &mut Option<Connection>,
    ) -> impl Future<Output = Option<RelayedEvent>> {
        match relay {
            Some(relay) => Either::Left(relay.events.recv()),
            None => Either::Right(std::future::pending()),
        }
    }

    pub(super) fn handle_relay(&mut self, event: RelayedEvent, now: Instant) {
        let (id, news) = match event {
            RelayedEvent::Say(message) => {
                if !self.signalling.send(message) {
                    tracing::debug!(
                        "the way to the server is full: a word about the relay is lost"
                    );
                }
                return;
            }
            RelayedEvent::Up(path) => {
                tracing::debug!(%path, "there is a way to the relay");
                return self.room.handle_relay_up(now);
            }
            RelayedEvent::Down { why } => {
                tracing::debug!(?why, "no way to the relay");
                // Perhaps it is the whole server.
                self.signalling.knock();
                return self.room.handle_relay_down(now);
            }
            RelayedEvent::Published { id, preferred, .. } => {
                return self.room.handle_published(id, preferred, now);
            }
            RelayedEvent::Unpublished { id } => return self.room.handle_unpublished(id, now),
            RelayedEvent::Speakers(speakers) => {
                self.later.push(MeshEvent::Speakers(speakers));
                return;
            }
            RelayedEvent::Uplink(stats) => {
                tracing::debug!(?stats, "published through the relay");
                return;
            }
            RelayedEvent::Sound { id } => (id, RelayedNews::Sound),
            RelayedEvent::Picture { id } => (id, RelayedNews::Picture),
            RelayedEvent::PicturesPaused { id, paused } => {
                (id, RelayedNews::PicturesPaused(paused))
            }
            RelayedEvent::Stats { id, stats } => {
                self.note_arriving(id, &stats);
                (id, RelayedNews::Stats(stats))
            }
        };
        self.room.handle_relayed(id, news, now);
    }

    /// Asks the uplink whether it can feed a mesh, when that is due.
    pub(super) fn ask_uplink(&mut self, now: Instant) {
        let Some(relay) = self.relay.as_mut().filter(|relay| relay.ask <= now) else {
            return;
        };
        relay.ask = now + ASK;
        let starving = self.uplink.starving(now, self.parties.len());
        if std::mem::replace(&mut self.starving, starving) != starving {
            tracing::info!(starving, "whether the uplink is too narrow for a mesh");
            self.room.handle_starving(starving, now);
        }
    }
}
