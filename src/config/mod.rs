//! What a person chose: the command line, and the settings that are remembered.

mod arguments;
mod file;
mod settings;

pub use arguments::{Arguments, CallArguments, Chosen, DemoArguments, ServeArguments};
pub use file::{Loaded, SettingsError, SettingsFile};
pub use settings::{Appearance, RecentMeeting, Settings};
