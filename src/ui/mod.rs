//! FLOOR 4: the window. Paints a [`View`](crate::call::View), sends
//! [`Command`](crate::call::Command)s, nothing else.
//!
//! What it keeps for itself is about the window only: a draft in a field, an open panel, the
//! textures of the newest pictures.
//!
//! ```text
//! Reader<View> ──▶ App ──▶ lobby | meeting ──▶ screen
//!                   │
//! Commands ◀────────┘  (buttons, shortcuts)
//! ```

mod app;

pub use app::{App, UiError, run};
