//! What the relay of a meeting server decides: who gets which layer of whose pictures, whose sound is
//! passed on, when a keyframe is asked for, and when a call outgrows a mesh.
//!
//! Pure: no clock, no socket, no task. Time is an argument.
