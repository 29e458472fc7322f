//! Joins many synthetic participants to a meeting and counts what arrives.
//!
//! ```text
//! main: options ─▶ threads, each with its share of the participants ─▶ report
//!        participant: WebSocket ─ signalling ─▶ endpoint: str0m ─ UDP ─▶ relay
//! ```
//! Everything runs on a few threads; each participant is one task with one socket.

mod clock;
mod endpoint;
mod histogram;
mod janus;
mod marking;
mod options;
mod packets;
mod participant;
mod player;
mod process;
mod reception;
mod recording;
mod report;
mod run;
mod scene;
mod socket;
mod transport;

use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,str0m=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    run::run(options::Options::parse())
}
