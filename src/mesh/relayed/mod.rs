//! Everything that goes through the meeting server's relay, over one connection to it.
//!
//! ```text
//! renditions ═▶ publishing: layers that somebody watches ─▶ pacer ═▶ relay ═▶ the others
//! slot, voice ◀═ people: whom we take in, a decoder each ◀───────── relay ◀═ the others
//!                  └ watch ─▶ Say ─▶ meeting server ─▶ wanted, allotted, published ─▶ handle
//! ```
//! One task owns the connection and replaces it by itself where it is lost: by the server's word, by
//! silence, or because the server began anew. While nothing is published or taken in, nothing but the
//! checks of its path goes over it, and no thread runs.
//!
//! What the network and the server say is bounded: streams that nobody announced are dropped, and
//! there are at most as many people as a room holds.

mod allotment;
mod course;
mod figures;
mod layer;
mod marking;
mod people;
mod person;
mod publishing;
mod task;
#[cfg(test)]
mod tests;
mod wishes;

use std::{sync::Arc, time::Duration};

use nonstop_rate::Bitrate;
use nonstop_wire::{ClientMessage, ParticipantId, ServerMessage};
use tokio::sync::{Notify, mpsc};

use super::{
    link::LinkStats,
    paths::{Path, Paths},
    time_base::TimeBase,
    uplink::Uplink,
};
use crate::{
    latest::Latest,
    media::{
        Size,
        audio::{Audio, Voice},
        video::{PictureSlot, Renditions},
    },
};

/// What a connection to the relay is told at its start.
#[derive(Debug)]
pub struct RelayedConfig {
    /// The ways to the relay, which all connections share.
    pub(crate) paths: Paths,
    /// What all connections share of the way out.
    pub uplink: Arc<Uplink>,
    /// What the time stamps of all our connections are counted from.
    pub time_base: TimeBase,
    /// The most to send.
    pub max_bitrate: Option<Bitrate>,
    /// The largest picture to send.
    pub max_size: Size,
    /// The encoders of the pictures to send, which all connections share.
    pub renditions: Renditions,
    /// The sound to send.
    pub audio: Audio,
}

/// What of ours goes through the relay, where somebody wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Whether there is sound.
    pub sound: bool,
    /// Whether there are pictures.
    pub pictures: bool,
    /// Whether the others should take it although the call is a mesh.
    pub preferred: bool,
}

/// Somebody to take in.
#[derive(Debug, Clone)]
pub struct Take {
    /// Who.
    pub id: ParticipantId,
    /// How large their pictures are shown, in physical pixels; 0x0 for no pictures.
    pub size: Size,
    /// Whether their sound is wanted.
    pub sound: bool,
    /// Where their pictures are shown.
    pub picture: PictureSlot,
    /// Where their sound goes.
    pub voice: Arc<Voice>,
}

/// Why there is no connection to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The server closed it, or began anew.
    Closed,
    /// Nothing came from the relay any more.
    Silent,
    /// It did not come up in time: no path, or no answer.
    NotReached,
    /// The relay is not the one that the server named.
    WrongParty,
    /// Our own side could not be set up.
    Setup,
}

/// What there is to tell about the relay.
#[derive(Debug)]
pub enum RelayedEvent {
    /// To be said to the server.
    Say(ClientMessage),
    /// Media can flow; packets go this way to the relay.
    Up(Path),
    /// Media can no longer flow. Another connection is on its way already.
    Down {
        /// Why.
        why: Lost,
    },
    /// Somebody's media can be taken in, or differently.
    Published {
        /// Who.
        id: ParticipantId,
        /// Whether there is sound.
        sound: bool,
        /// Whether there are pictures.
        pictures: bool,
        /// Whether to take it although the call is a mesh.
        preferred: bool,
    },
    /// Somebody's media can no longer be taken in.
    Unpublished {
        /// Who.
        id: ParticipantId,
    },
    /// The first sound of somebody came since it is taken in.
    Sound {
        /// Who.
        id: ParticipantId,
    },
    /// The first picture of somebody was decoded since they are taken in, and it is about as new as
    /// what is shown.
    Picture {
        /// Who.
        id: ParticipantId,
    },
    /// Whether the relay passes on nothing of somebody's pictures for now: our connection carries too
    /// little.
    PicturesPaused {
        /// Who.
        id: ParticipantId,
        /// Whether it is so.
        paused: bool,
    },
    /// Who spoke last, the newest first.
    Speakers(Vec<ParticipantId>),
    /// Figures of somebody taken in, once a second.
    Stats {
        /// Who.
        id: ParticipantId,
        /// The figures; what is sent is that of our publication.
        stats: Box<LinkStats>,
    },
    /// Figures of what we publish, once a second while somebody wants it, and once when nobody does any
    /// more.
    Uplink(UplinkStats),
}

/// How our publication does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct UplinkStats {
    /// What the way to the relay is believed to carry.
    pub estimate: Bitrate,
    /// What may be sent of it, everything counted.
    pub target: Bitrate,
    /// How long the way there and back is.
    pub round_trip_time: Option<Duration>,
    /// Pictures sent, all layers.
    pub video_sent: Bitrate,
    /// Sound sent.
    pub audio_sent: Bitrate,
    /// How many layers are offered: fewer than there could be where the estimate is too low.
    pub offered: usize,
    /// Which layers are encoded and sent.
    pub sent: [bool; 3],
    /// Whether pictures pause for want of bandwidth.
    pub paused: bool,
}

/// What the task is told in order.
#[derive(Debug)]
enum Order {
    /// The server said this.
    Said(ServerMessage),
    /// The WebSocket is back.
    Back { resumed: bool },
}

/// The connection to the relay. Dropping it ends its task, closes the connection and ends its
/// decoders.
#[derive(Debug)]
pub struct Relayed {
    orders: mpsc::Sender<Order>,
    offer: Latest<Option<Offer>>,
    takes: Latest<Intake>,
}

/// Whom to take in.
#[derive(Debug, Clone, Default)]
struct Intake {
    takes: Vec<Take>,
    /// What comes straight from others at present.
    arriving: Option<Bitrate>,
}

impl Relayed {
    /// Begins to connect; must be called within a tokio runtime. When `events` is full, control
    /// waits; media does not.
    pub fn start(config: RelayedConfig, events: mpsc::Sender<RelayedEvent>) -> Self {
        // As many as tell of everybody in the largest room at once; more are lost, which the next
        // word of the server about the same mends.
        let (orders, queue) = mpsc::channel(512);
        let wake = Arc::new(Notify::new());
        let (offer, takes) = (Latest::with(None), Latest::with(Intake::default()));
        let notify = Arc::clone(&wake);
        offer.on_change(Arc::new(move || notify.notify_one()));
        let notify = Arc::clone(&wake);
        takes.on_change(Arc::new(move || notify.notify_one()));
        let task = task::Task::new(config, offer.reader(), takes.reader(), wake);
        #[expect(
            clippy::disallowed_methods,
            reason = "dropping the connection closes its queue, on which the task ends"
        )]
        tokio::spawn(task.run(queue, events));
        Self {
            orders,
            offer,
            takes,
        }
    }

    /// Hands over what the server said; returns whether it was about the relay.
    pub fn handle(&self, message: ServerMessage) -> bool {
        let ours = matches!(
            message,
            ServerMessage::RelayOpened(_)
                | ServerMessage::RelayClosed { .. }
                | ServerMessage::Published(_)
                | ServerMessage::Unpublished { .. }
                | ServerMessage::Wanted(_)
                | ServerMessage::Allotted { .. }
                | ServerMessage::Speakers { .. }
        );
        if ours && self.orders.try_send(Order::Said(message)).is_err() {
            tracing::warn!("the server says more about the relay than can be taken in");
        }
        ours
    }

    /// Tells that the server is reached again. With `resumed` it knows us still, and is only told
    /// again what it may have missed; otherwise it began anew, and so does the connection.
    pub fn server_back(&self, resumed: bool) {
        // Full means that the task has not come to the word before this one.
        let _ = self.orders.try_send(Order::Back { resumed });
    }

    /// Says what of ours goes through the relay, in place of what was said before.
    pub fn publish(&self, offer: Option<Offer>) {
        self.offer.set(offer);
    }

    /// Says whom to take in, in place of what was said before. `arriving` is what comes straight from
    /// others at present: where it is to come through the relay, that carries about as much.
    pub fn take(&self, takes: Vec<Take>, arriving: Option<Bitrate>) {
        self.takes.set(Intake { takes, arriving });
    }
}
