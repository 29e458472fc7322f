//! The ways on which packets reach other participants.

pub(crate) mod relay;
