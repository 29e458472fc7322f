//! One other participant: a task that owns one peer connection, and the way of pictures and
//! sound to and from it.
//!
//! ```text
//! camera ═▶ renditions ═▶ [link task] packetise ─ pace ═▶ network
//! network ═▶ [link task] reorder ─ depacketise ═▶ decode thread ═▶ picture
//! ```

mod assembly;
pub(super) mod budget;
pub mod depacketise;
mod figures;
mod fresh;
mod health;
pub(super) mod inbound;
mod outbound;
pub(super) mod packetise;
pub(super) mod protection;
pub(super) mod recovery;
pub mod redundancy;
pub(super) mod remote_clock;
pub(super) mod reorder;
mod session;
pub(super) mod talk;
mod task;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use nonstop_rate::Bitrate;
use nonstop_wire::{BesideMessage, ParticipantId, PauseReason, PeerMessage, Strain};
use tokio::sync::mpsc;

use crate::{
    latest::Reader,
    media::{
        Size,
        audio::{Audio, Voice},
        video::{PictureSlot, Renditions},
    },
    mesh::{
        paths::{Path, Paths, Ways},
        time_base::TimeBase,
        uplink::Uplink,
    },
};

/// The figures of a link, over the last second where they are rates. What is not known is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(
    missing_docs,
    reason = "each is described in docs/architecture.md, by the same name"
)]
pub struct LinkStats {
    pub path: Option<Path>,
    pub protocol: Option<&'static str>,
    pub round_trip_time: Option<Duration>,
    pub estimate: Option<Bitrate>,
    pub target: Option<Bitrate>,
    pub video_sent: Option<Bitrate>,
    pub audio_sent: Option<Bitrate>,
    pub retransmitted: Option<Bitrate>,
    pub sent_size: Option<Size>,
    pub sent_fps: Option<f32>,
    pub encoder_id: Option<u64>,
    pub video_received: Option<Bitrate>,
    pub audio_received: Option<Bitrate>,
    pub received_size: Option<Size>,
    pub decoded_fps: Option<f32>,
    pub frames_decoded: Option<u64>,
    pub freeze_count: Option<u64>,
    pub freeze_time: Option<Duration>,
    pub longest_picture_gap: Option<Duration>,
    pub loss_sent: Option<f32>,
    pub loss_received: Option<f32>,
    pub queue_delay: Option<Duration>,
    pub audio_concealed: Option<Duration>,
    pub audio_played: Option<Duration>,
    pub audio_lost: Option<u64>,
    pub audio_packets: Option<u64>,
    /// Packets of sound received, of these, that came in the packet after them only (RFC 2198).
    pub audio_recovered: Option<u64>,
    pub capture_to_display: Option<Duration>,
    pub encode_time: Option<Duration>,
    pub decode_time: Option<Duration>,
    pub encode_skipped: Option<u64>,
}

/// Everything a link is told at its start.
#[derive(Debug)]
pub struct LinkConfig {
    /// What all links share.
    pub uplink: Arc<Uplink>,
    /// Ourselves.
    pub me: ParticipantId,
    /// The other.
    pub peer: ParticipantId,
    /// Whether we make the first offer (the newcomer does).
    pub initiator: bool,
    /// What the time stamps of all our connections are counted from.
    pub time_base: TimeBase,
    /// The ways to the other participants, which all links share.
    pub(crate) paths: Paths,
    /// The most to send.
    pub max_bitrate: Option<Bitrate>,
    /// The largest picture to send.
    pub max_size: Size,
    /// The encoders of the pictures to send, which the links of a call share.
    pub renditions: Renditions,
    /// The sound to send.
    pub audio: Audio,
    /// Where received sound goes; outlives this link where the participant gets another one.
    pub voice: Arc<Voice>,
    /// Where received pictures go; outlives this link where the participant gets another one.
    pub picture: PictureSlot,
    /// How large they are shown, in physical pixels; 0x0 where they are not.
    pub shown: Reader<Size>,
    /// Whether the other side's media comes in through the relay, so that this link shall bring none.
    pub carried: Reader<bool>,
    /// How all our links do together, to be told the other.
    pub strain: Reader<Strain>,
}

/// What a link has to tell its mesh.
#[derive(Debug)]
pub enum LinkEvent {
    /// To be sealed and sent to the other participant.
    Signal(PeerMessage),
    /// Media can flow (the first time, or again).
    Connected(Path),
    /// Packets travel another way now.
    PathChanged(Path),
    /// What is given to [`Link::pass`] can reach the other side from now on.
    BesideOpened,
    /// An envelope came beside the media: for us, or to be passed on.
    Envelope {
        /// Whom it is for.
        to: ParticipantId,
        /// Who sealed it.
        from: ParticipantId,
        /// The sealed message.
        sealed: String,
    },
    /// Nothing came for a while; the link is trying to restore itself.
    Interrupted,
    /// It could not be restored or set up: only a new link helps.
    Failed(LinkError),
    /// The first picture was decoded.
    FirstVideoFrame,
    /// The first sound was received.
    FirstAudio,
    /// We send no pictures for now: the estimate is too low.
    VideoPaused,
    /// We send pictures again.
    VideoResumed,
    /// The other side sends no pictures for now.
    PicturesPaused(PauseReason),
    /// The other side sends pictures again.
    PicturesResumed,
    /// How all links of the other side do together.
    Strain(Strain),
    /// The other side takes our media in through the relay, and wants nothing here; or wants it again.
    Carried(bool),
    /// Sound came, the first after we wanted it here again.
    Sound,
    /// A picture was shown, the first after we wanted them here again.
    Picture,
    /// What is tried, and what this network lets through; when it changes, once a second at most.
    Ways(Ways),
    /// Figures, once a second.
    Stats(Box<LinkStats>),
}

/// Why a link failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No path between the two was found, or it was lost for good.
    #[error("no path to the other computer")]
    NoPath,
    /// DTLS ended with another certificate than the one in the sealed description.
    #[error("the connection is not with the participant who was named")]
    WrongParty,
    /// The other side's description cannot be used.
    #[error("the other side's description cannot be used: {0}")]
    BadDescription(String),
    /// Our own side could not be set up.
    #[error("the connection could not be set up: {0}")]
    Setup(String),
}

/// A running link. Dropping it ends its task, closes the connection and ends its threads.
#[derive(Debug)]
pub struct Link {
    orders: mpsc::Sender<Order>,
}

/// What a running link is given.
#[derive(Debug)]
enum Order {
    /// The other side said this.
    Signal(PeerMessage),
    /// To be said to the other side, beside the media.
    Pass(BesideMessage),
}

impl Link {
    /// Starts the link; must be called within a tokio runtime. When `events` is full, the link's
    /// control path waits; media does not.
    pub fn start(config: LinkConfig, events: mpsc::Sender<(ParticipantId, LinkEvent)>) -> Self {
        // The protocol's few descriptions and candidates; full means that the other side repeats.
        let (orders, queue) = mpsc::channel(64);
        #[expect(
            clippy::disallowed_methods,
            reason = "dropping the link closes its queue, on which the task says goodbye and ends"
        )]
        tokio::spawn(task::run(config, queue, events));
        Self { orders }
    }

    /// Hands over what the other participant said (descriptions and candidates). The queue holds 64;
    /// returns false if it is full or the link has ended.
    pub fn signal(&self, message: PeerMessage) -> bool {
        self.orders.try_send(Order::Signal(message)).is_ok()
    }

    /// Says something beside the media, if the other side can be reached that way now. Returns false
    /// if the queue of 64 is full or the link has ended.
    pub fn pass(&self, message: BesideMessage) -> bool {
        self.orders.try_send(Order::Pass(message)).is_ok()
    }
}
