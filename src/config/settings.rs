//! The settings that are remembered from one start to the next.

use serde::{Deserialize, Serialize};

use crate::mesh::ProxyChoice;

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
    /// Whether others never learn our network address: every connection then goes through a
    /// relay. In force from the next call.
    pub hide_address: bool,
    /// The HTTP proxy on the way out: an URL, `none`, or empty for what the environment names.
    /// In force from the next call.
    pub proxy: ProxyChoice,
    /// Names of the rooms joined last, newest first, each with its whole link.
    pub recent: Vec<RecentMeeting>,
    /// Whether the window is dark, light, or as the system is.
    pub appearance: Appearance,
    /// Whether pictures and panels change without motion.
    pub reduced_motion: bool,
    /// How the people in a call are laid out.
    pub layout: Layout,
    /// Whether one's own picture is shown in a call.
    pub show_myself: bool,
}

/// How many meetings are remembered.
const MOST_RECENT: usize = 5;

impl Settings {
    /// Puts a meeting first in the list of those that were joined last, once.
    pub fn remember(&mut self, meeting: RecentMeeting) {
        self.recent.retain(|other| other.link != meeting.link);
        self.recent.insert(0, meeting);
        self.recent.truncate(MOST_RECENT);
    }
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

/// How the people in a call are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Everybody alike.
    #[default]
    Gallery,
    /// Whoever speaks large, the others small.
    Speaker,
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
            hide_address: false,
            proxy: ProxyChoice::default(),
            recent: Vec::new(),
            appearance: Appearance::default(),
            reduced_motion: false,
            layout: Layout::default(),
            show_myself: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meeting(room: &str) -> RecentMeeting {
        RecentMeeting {
            room: room.into(),
            link: format!("https://meet.example.org/{room}#AAAAAAAAAAAAAAAAAAAAAA"),
        }
    }

    #[test]
    fn the_last_five_meetings_are_remembered_once_each_newest_first() {
        let mut settings = Settings::default();
        for room in ["a", "b", "c", "a", "d", "e", "f"] {
            settings.remember(meeting(room));
        }
        let rooms: Vec<_> = settings.recent.iter().map(|m| m.room.as_str()).collect();
        assert_eq!(rooms, ["f", "e", "d", "a", "c"]);
    }

    #[test]
    fn a_file_of_another_version_keeps_what_it_knows() {
        let text = "name = \"Ada\"\nfrom_the_future = 7\ncamera_on = false\n";
        let settings: Settings = toml::from_str(text).expect("unknown fields are no error");
        assert_eq!(settings.name, "Ada");
        assert!(!settings.camera_on && settings.microphone_on);
    }
}
