//! What the relay of a meeting server decides: who gets which layer of whose pictures, whose sound is
//! passed on, when a keyframe is asked for, and when a call outgrows a mesh.
//!
//! Pure: no clock, no socket, no task. Time is an argument.

mod allotment;
mod event;
mod layer;
mod loudest;
mod marking;
mod meter;
mod numbers;
mod packet;
mod pictures;
mod publication;
mod room;
mod sound;
mod speakers;
mod stream;
#[cfg(test)]
mod testing;
mod topology;
mod window;

pub use event::Event;
pub use marking::FrameMarking;
pub use packet::{Forward, PicturePacket, SoundPacket};
pub use publication::{MAX_LAYERS, Member, Publication, Size, Watch};
pub use room::{Config, Room};
pub use topology::{Topology, TopologyWatch};
