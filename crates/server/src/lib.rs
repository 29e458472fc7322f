//! The meeting server: introduces people to each other and passes on what they sealed.
//!
//! ```text
//!            doors (how many)          connection (join, pace, silence)
//! listener ──────┴──────▶ http ──────────────┴──────────────▶ reception: rooms (pure)
//!     │                     └─▶ pages, health                      └─▶ outbox of each connection
//!     ├─▶ turn: a thread that carries packets for those without a direct path
//!     └─▶ relay: a thread that passes media on in calls that outgrow a mesh
//! ```
//!
//! It never sees what is in a sealed payload, keeps nothing on disk, and of a room's admission
//! token only the hash. The same code runs as `nonstop-server` and inside the application, for
//! meetings that are hosted on the user's own computer. `docs/protocol.md` is what it speaks.

mod bucket;
mod clock;
mod config;
mod connection;
mod datagrams;
mod doors;
mod http;
mod ice;
mod listener;
mod nap;
mod outbox;
mod pages;
mod reception;
mod relay;
mod rooms;
mod server;
mod slab;
mod tls;
mod turn;

pub use config::{Config, Limits, Rate, Timing, TlsFiles};
pub use ice::IceConfig;
pub use relay::RelayConfig;
pub use server::{Server, StartError};
pub use tls::TlsError;
pub use turn::{ExternalAddress, Network, PublicHost, TurnConfig, TurnLimits, UnfitSetting};
