//! What the relay says.

use nonstop_rate::Bitrate;

use crate::{MAX_LAYERS, Member};

/// What a room wants done or told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Ask a publisher for a keyframe of a layer (a PLI on the layer's SSRC).
    RequestKeyframe {
        /// Of whom.
        of: Member,
        /// Which layer, from 0.
        layer: u8,
    },
    /// Tell a publisher what of its publication is taken in.
    Wanted {
        /// Whom to tell.
        of: Member,
        /// Whether somebody listens.
        sound: bool,
        /// For each layer, whether somebody is given it or is about to be. A layer wanted anew begins
        /// with a keyframe.
        layers: [bool; MAX_LAYERS],
        /// Whether packets of its sound should carry earlier sound (RFC 2198): somebody who hears it
        /// loses packets.
        redundancy: bool,
    },
    /// Tell a receiver which layer of each picture it watches is passed on.
    Allotted {
        /// Whom to tell.
        to: Member,
        /// The pictures that are published, in the order in which they are watched; no layer where the
        /// receiver's connection carries too little.
        pictures: Vec<(Member, Option<u8>)>,
    },
    /// Tell everybody who spoke last, the newest first; at most 8.
    Speakers(Vec<Member>),
    /// What a receiver could use: how far it is worth probing its connection.
    Desired {
        /// Which receiver.
        to: Member,
        /// At this rate it gets everything it watches, in the sizes it shows.
        bitrate: Bitrate,
    },
}
