//! The immutable picture that the window paints, and the commands it sends back.
//!
//! Everything here is plain data in a person's terms: the window needs nothing else, and a test
//! can make any screen by hand.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Attempt, History, TrialView};
use crate::{
    config::Settings,
    latest::Reader,
    media::{Size, VideoFrame},
};

/// Everything there is to paint.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Lobby or call.
    pub screen: Screen,
    /// The person in front of this screen.
    pub me: SelfView,
    /// What a person should know or can act on, newest last.
    pub notices: Vec<Notice>,
    /// The devices there are to choose from.
    pub devices: DeviceLists,
    /// The settings as they are in force (and saved).
    pub settings: Settings,
    /// The connection test, while it is shown.
    pub trial: Option<TrialView>,
}

/// Which screen is shown.
#[derive(Debug, Clone)]
pub enum Screen {
    /// Before and between calls.
    Lobby(LobbyView),
    /// In a call.
    Call(CallView),
}

impl Default for Screen {
    fn default() -> Self {
        Self::Lobby(LobbyView::default())
    }
}

/// What only the lobby shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LobbyView {
    /// The meeting that is on its way, if one is.
    pub joining: Option<Joining>,
    /// A meeting link to start with (given on the command line): fills the field, and waits.
    pub offered_link: Option<String>,
}

/// A meeting on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joining {
    /// A new one is being opened.
    Opening {
        /// The server's name or address, or words for this computer.
        host: String,
    },
    /// One is being joined.
    Joining {
        /// The room's name.
        room: String,
        /// The server's name or address.
        host: String,
    },
}

/// The person in front of this screen.
#[derive(Debug, Clone, Default)]
pub struct SelfView {
    /// Their name.
    pub name: String,
    /// Their own picture, where the camera delivers.
    pub picture: Option<Picture>,
    /// Whether the microphone is on.
    pub microphone: bool,
    /// Whether the camera is on.
    pub camera: bool,
    /// Loudness of the microphone, 0.0 to 1.0, also while muted.
    pub level: f32,
}

/// Moving pictures. Two are equal if they are the same stream.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Tells streams apart: a new stream has a new number.
    pub stream: u64,
    /// The frames.
    pub frames: Reader<VideoFrame>,
}

impl PartialEq for Picture {
    fn eq(&self, other: &Self) -> bool {
        self.stream == other.stream
    }
}

/// The devices there are to choose from. Empty until they are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeviceLists {
    /// Names of cameras.
    pub cameras: Vec<String>,
    /// Names of microphones.
    pub microphones: Vec<String>,
    /// Names of speakers.
    pub speakers: Vec<String>,
}

/// A call.
#[derive(Debug, Clone)]
pub struct CallView {
    /// The room's name.
    pub room: String,
    /// The whole meeting link, for "Copy link".
    pub link: String,
    /// When we joined.
    pub since: Instant,
    /// The others, in the order they came.
    pub participants: Vec<Participant>,
    /// Since when the meeting server cannot be reached, if it cannot.
    pub reconnecting_since: Option<Instant>,
    /// How sound and pictures are protected, at their weakest: ours and those of the others.
    pub protection: Protection,
}

/// From where to where sound and pictures are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// From one computer to the other: nobody on the way can see or hear.
    #[default]
    EndToEnd,
    /// To the meeting server's relay, and from it: the relay could see and hear.
    ToTheServer,
}

/// Somebody else in the call.
#[derive(Debug, Clone, PartialEq)]
pub struct Participant {
    /// Tells participants apart.
    pub id: u64,
    /// Their name; empty until they said it.
    pub name: String,
    /// Their picture, once there is one and while their camera is on.
    pub picture: Option<Picture>,
    /// Whether their microphone is on.
    pub microphone: bool,
    /// Whether their camera is on.
    pub camera: bool,
    /// How loud they are now, 0.0 to 1.0.
    pub level: f32,
    /// Whether they are speaking (smoothed: does not flicker).
    pub speaking: bool,
    /// When they last began or ceased to speak, where they did.
    pub spoke_at: Option<Instant>,
    /// How the connection to them is.
    pub stage: Stage,
    /// What is tried to reach them, and what is in the way.
    pub attempt: Attempt,
    /// How packets travel: "direct", "turn-udp", …, "relay"; empty until connected.
    pub path: String,
    /// How what comes from them is protected.
    pub protection: Protection,
    /// How good the connection is.
    pub quality: Quality,
    /// Why it is not better, where it is not good.
    pub cause: Option<Cause>,
    /// Which side is slow, where the connection is.
    pub side: Side,
    /// Why no pictures come from them although their camera is on, where they said so.
    pub video_paused: Option<PauseReason>,
    /// Round trip, where known.
    pub round_trip: Option<Duration>,
    /// Size of the received picture.
    pub received: Option<Size>,
    /// The figures of the last minute.
    pub history: History,
}

/// How the connection to somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Being set up.
    Connecting,
    /// Media flows.
    Connected,
    /// Nothing comes through since then; being restored.
    Reconnecting {
        /// Since when.
        since: Instant,
    },
    /// Could not be set up or restored; goes on trying.
    Failed,
}

/// How good a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quality {
    /// Not known yet.
    #[default]
    Unknown,
    /// Nothing to notice.
    Good,
    /// A smaller or slower picture.
    Fair,
    /// Barely enough for sound.
    Poor,
}

/// Why a connection is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The connection is too slow for any picture.
    Paused,
    /// Little gets through from us to them.
    Upload,
    /// Little gets through from them to us.
    Download,
    /// Packets get lost.
    Loss,
    /// Packets wait on the way: something else fills the connection.
    Queue,
    /// Packets take long.
    Delay,
    /// Their picture comes slowly or stops, although nothing is wrong on the way.
    Stutter,
}

/// At which end a connection is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// One link alone does not tell.
    #[default]
    Unknown,
    /// Ours: all our links suffer.
    Ours,
    /// Theirs: other links do not suffer.
    Theirs,
}

/// Why a camera that is on sends no pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// The connection is too slow for pictures and sound; sound goes first.
    SlowConnection,
}

/// Something a person should know or can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Tells notices apart.
    pub id: u64,
    /// How much it matters.
    pub level: NoticeLevel,
    /// What it is about.
    pub kind: NoticeKind,
    /// What happened, what it means, what to do: one or two short sentences.
    pub text: String,
    /// What can be done about it, most likely first.
    pub actions: Vec<NoticeAction>,
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeLevel {
    /// Good to know; goes by itself.
    Information,
    /// Something does not work as it should.
    Warning,
    /// Something a person asked for did not happen.
    Error,
}

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// The camera is missing, busy, unplugged or not permitted.
    Camera,
    /// The microphone, likewise, or silent.
    Microphone,
    /// The speaker, likewise.
    Speaker,
    /// A meeting could not be opened or joined, or ended.
    Meeting,
    /// A link is not one, or not complete.
    Link,
    /// The server did what an honest one does not.
    Security,
    /// Somebody joined or left.
    Presence,
    /// A connection is slow.
    Connection,
    /// This network lets little through.
    Network,
    /// The meeting server's relay cannot be reached.
    Relay,
    /// Settings could not be saved or read.
    Settings,
}

/// What can be done about a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeAction {
    /// Try the device or the join again.
    TryAgain,
    /// Go on without.
    GoOn,
    /// Open the settings.
    OpenSettings,
}

/// What the window asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Open a new meeting: on the server in the settings, or on this computer where there is none.
    NewMeeting,
    /// Join the meeting of this link (text as pasted).
    Join(String),
    /// Leave the call, or stop joining.
    Leave,
    /// Test the way to the server of this meeting link (text as pasted), or to the one in the
    /// settings where there is no link.
    TestConnection(Option<String>),
    /// Stop the connection test; what was found stays on the screen.
    StopTest,
    /// Put the connection test away.
    EndTest,
    /// Turn the microphone on or off.
    SetMicrophone(bool),
    /// Turn the camera on or off.
    SetCamera(bool),
    /// Take these settings into force and remember them.
    Settings(Box<Settings>),
    /// List the devices again.
    ListDevices,
    /// Do something about a notice.
    Act {
        /// The notice.
        notice: u64,
        /// What to do.
        action: NoticeAction,
    },
    /// Put a notice away.
    Dismiss(u64),
    /// How large the pictures of the others are shown, in physical pixels; who is not named is not
    /// visible. Worth sending when it changes.
    Viewed(Vec<(u64, Size)>),
}
