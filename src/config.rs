//! What a person chose: the command line, and the settings that are remembered.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The settings that are remembered from one start to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The person's name.
    pub name: String,
    /// The chosen camera, in the words of the command line.
    pub camera: String,
    /// The chosen microphone, likewise.
    pub microphone: String,
    /// The chosen speaker, likewise.
    pub speaker: String,
    /// Whether the microphone is on when a call begins.
    pub microphone_on: bool,
    /// Whether the camera is on when a call begins.
    pub camera_on: bool,
    /// Whether the speaker's sound is taken out of the microphone's.
    pub echo_cancellation: bool,
    /// Whether steady noise is taken out.
    pub noise_suppression: bool,
    /// Whether loudness is evened out.
    pub gain_control: bool,
    /// The meeting server, or none to host meetings on this computer.
    pub server: Option<String>,
    /// Names of the rooms joined last, newest first, each with its whole link.
    pub recent: Vec<RecentMeeting>,
    /// Whether the window is dark, light, or as the system is.
    pub appearance: Appearance,
    /// Whether pictures and panels change without motion.
    pub reduced_motion: bool,
}

/// A meeting that was joined before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentMeeting {
    /// The room's name.
    pub room: String,
    /// The whole link, secret included: the file is readable by its owner only.
    pub link: String,
}

/// How the window looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Appearance {
    /// As the system is.
    System,
    /// Dark.
    #[default]
    Dark,
    /// Light.
    Light,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: String::new(),
            camera: "default".into(),
            microphone: "default".into(),
            speaker: "default".into(),
            microphone_on: true,
            camera_on: true,
            echo_cancellation: true,
            noise_suppression: true,
            gain_control: true,
            server: None,
            recent: Vec::new(),
            appearance: Appearance::default(),
            reduced_motion: false,
        }
    }
}

/// The file where settings are remembered.
#[derive(Debug, Clone)]
pub struct SettingsFile(PathBuf);

impl SettingsFile {
    /// Names the file.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }
}
