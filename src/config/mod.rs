//! What a person chose: the command line, and the settings that are remembered.

mod arguments;
mod file;
mod settings;

pub use arguments::{
    Arguments, CallArguments, CheckArguments, Chosen, DemoArguments, ServeArguments,
};
pub use file::{Loaded, SettingsError, SettingsFile};
pub use settings::{Appearance, Layout, RecentMeeting, Settings};

pub use crate::mesh::ProxyChoice;
