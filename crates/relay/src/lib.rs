//! What the relay of a meeting server decides: who gets which layer of whose pictures, whose sound is
//! passed on, when a keyframe is asked for, and when a call outgrows a mesh.
//!
//! Pure: no clock, no socket, no task. Time is an argument.

mod event;
mod marking;
mod packet;
mod publication;
mod room;
mod topology;

pub use event::Event;
pub use marking::FrameMarking;
pub use packet::{Forward, PicturePacket, SoundPacket};
pub use publication::{MAX_LAYERS, Member, Publication, Size, Watch};
pub use room::{Config, Room};
pub use topology::{Topology, TopologyWatch};
