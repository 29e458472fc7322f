//! FLOOR 4: the window. Paints a [`View`](crate::call::View), sends
//! [`Command`](crate::call::Command)s, nothing else.
//!
//! What it keeps for itself is about the window only: a draft in a field, an open panel, the
//! textures of the newest pictures.
//!
//! ```text
//! Reader<View> ──▶ App ──▶ lobby | meeting ──▶ tiles, bars, notices ──▶ screen
//!                   │         │         └── connections or people beside
//!                   │         └── settings panel on top
//! Commands ◀────────┴── buttons, shortcuts
//! ```

mod app;
mod clipboard;
mod connection_words;
mod controls;
mod desk;
mod devices;
mod diagnostics;
mod fields;
mod fold;
mod graph;
mod grid;
mod icons;
mod lobby;
mod meeting;
mod notices;
mod pager;
mod path_card;
mod people;
mod protection;
mod settings;
mod shortcuts;
mod stage;
mod theme;
mod tile;
mod tiles;
mod trial;
mod video_paint;
mod viewed;
mod wake;
mod widgets;

pub use app::{App, UiError, run, run_with_connections, run_with_settings};
pub use clipboard::Clipboard;
