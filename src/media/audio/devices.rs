//! The sound devices of this computer.

/// The sound devices as lists show them. `default` is always understood besides these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioDevices {
    /// Names of microphones.
    pub microphones: Vec<String>,
    /// Names of speakers.
    pub speakers: Vec<String>,
}

/// Lists the sound devices. May take seconds: not for the window's thread.
pub fn devices() -> AudioDevices {
    AudioDevices::default()
}
