//! FLOOR 2: the other participants. Commands in, events out; owns every link.
//!
//! ```text
//!            ┌───────────────── mesh task ─────────────────┐
//! commands ─▶│ Room (pure) ── what must be done ──▶ driver │─▶ events
//!            │      ▲                                 │    │
//!            └──────┼─────────────────────────────────┼────┘
//!      opened messages, link events             seal, send, start
//!                   │                                 ▼
//!      Signalling (one WebSocket) ◀───────▶ meeting server
//!      Link (one a participant)   ◀───────▶ the other computer
//! ```
//!
//! What comes from the server is believed about presence only: a participant exists for the
//! call once a message of theirs opened, which takes the meeting's secret. Everything that
//! participants say to each other is sealed here on its way to the signalling, and opened on
//! its way to the room.

mod dial;
mod driver;
pub mod link;
mod news;
mod paths;
pub mod peer;
mod post;
mod proxy;
mod recording;
pub mod relayed;
mod room;
mod signalling;
pub mod time_base;
mod tls;
mod trial;
pub mod uplink;

pub use driver::{Me, Mesh, MeshConfig};
pub use link::LinkStats;
pub use news::{End, LinkNews, MeshCommand, MeshEvent, Suspicion};
pub use paths::{Path, PathPolicy, Reach, RelayState, Ways};
pub use proxy::{NoProxy, Proxy, ProxyChoice};
pub use trial::{Offers, Trial, TrialConfig, TrialNews};
