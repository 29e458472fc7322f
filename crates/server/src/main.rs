//! `nonstop-server`: the meeting server as a program of its own.

mod settings;

use std::io::{self, IsTerminal};

use clap::Parser;
use nonstop_server::Server;
use tracing::info;
use tracing_subscriber::EnvFilter;

/// The codecs warn of each malformed message, which anybody on the internet may send.
const USUAL_LOG: &str = "info,stun_types=off,turn_types=off,str0m=error,is=off,dimpl=off";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL_LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();

    let config = settings::Arguments::parse().into_config()?;
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let server = Server::start(config).await?;
    let addresses = server.addresses().iter();
    let addresses: Vec<_> = addresses
        .map(|address| format!("{scheme}://{address}"))
        .collect();
    info!("listening on {}", addresses.join(" "));

    asked_to_stop().await?;
    info!("stopping");
    server.stop().await;
    Ok(())
}

/// Waits for Ctrl-C or, where there are such, the signal to terminate.
async fn asked_to_stop() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
