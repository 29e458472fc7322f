//! Calls in simulated time: the real controller and pacer, over simulated links.
//!
//! ```text
//! encoder, sound ─▶ sender (Controller, Pacer) ─▶ links ─▶ receiver ─▶ feedback ─▶ links ─▶ sender
//!                                        TCP flows ─┘
//! ```
//! Everything comes from a seed: the same seed gives the same run. Figures come from the log of
//! the bottleneck, not from the endpoints.

mod budget;
pub(crate) mod cases;
pub(crate) mod encoder;
pub(crate) mod figures;
pub(crate) mod packet;
pub(crate) mod receiver;
pub(crate) mod sender;
pub(crate) mod tcp;
pub(crate) mod world;
