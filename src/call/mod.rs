//! FLOOR 3: the call as its user knows it.
//!
//! One task owns everything that can change: it folds the window's [`Command`]s and the mesh's
//! events into a [`View`], the immutable picture that the window paints.

//!
//! ```text
//! window, command line ── Command ─▶ ┌────────┐ ─▶ Latest<View> ─▶ window
//! mesh ────────────── MeshEvent ─▶ │ driver │ ─▶ diary ────────▶ command line
//! camera, microphone ──── state ─▶ │  State │ ─▶ mesh, devices, settings file
//!                                  └────────┘
//! ```

use std::{path::PathBuf, time::Duration};

use nonstop_rate::Bitrate;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    config::{Settings, SettingsError, SettingsFile},
    latest::{Latest, Reader},
    media::{Size, audio, video},
    mesh::PathPolicy,
};

mod attempt;
mod camera;
mod diary;
mod driver;
mod history;
mod hosting;
mod invitation;
mod meeting;
mod notices;
mod person;
mod quality;
mod slowness;
mod state;
mod trial;
mod view;
mod words;

pub use attempt::{Attempt, Obstacle, Trying};
pub use diary::{Entry, Happening};
pub use history::{HISTORY_SPAN, History, Sample};
pub use invitation::Invitation;
pub use meeting::{MeetingError, meeting_beside, new_meeting_link};
pub(crate) use trial::Trial;
pub use trial::{Mark, RelayReport, TrialReport, TrialStep, TrialView};
pub use view::{
    CallView, Cause, Command, DeviceLists, Joining, LobbyView, Notice, NoticeAction, NoticeKind,
    NoticeLevel, Participant, PauseReason, Picture, Protection, Quality, Screen, SelfView, Side,
    Stage, View,
};

/// How long a session may take to end: a goodbye, and settings on their way to the disk.
const LONGEST_END: Duration = Duration::from_secs(4);
/// The largest picture that is captured and sent where nothing else is said.
const USUAL_SIZE: Size = Size::new(1280, 720);

/// Asks the system which devices there are. May take seconds: not for the window's thread.
pub fn list_devices() -> DeviceLists {
    let audio = audio::devices();
    let cameras = video::cameras();
    DeviceLists {
        cameras: cameras.into_iter().map(|camera| camera.name).collect(),
        microphones: audio.microphones,
        speakers: audio.speakers,
    }
}

/// Everything a session is told at the start.
#[derive(Debug)]
pub struct SessionConfig {
    /// The settings to begin with.
    pub settings: Settings,
    /// Where settings are remembered, if anywhere.
    pub memory: Option<SettingsFile>,
    /// Why remembered settings are not in force, if they are not.
    pub settings_trouble: Option<SettingsError>,
    /// A meeting link that waits in the lobby.
    pub offered_link: Option<String>,
    /// Which paths packets may take.
    pub path: PathPolicy,
    /// The most to send to each participant.
    pub max_bitrate: Option<Bitrate>,
    /// The largest picture to capture and send.
    pub max_size: Size,
    /// Where to record each participant, if anywhere.
    pub record: Option<PathBuf>,
    /// Where to tell what happens, if anybody wants to know. When it is full, the session waits.
    pub diary: Option<mpsc::Sender<Entry>>,
}

impl SessionConfig {
    /// Makes the usual configuration with these settings: nothing is remembered or recorded.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            memory: None,
            settings_trouble: None,
            offered_link: None,
            path: PathPolicy::Auto,
            max_bitrate: None,
            max_size: USUAL_SIZE,
            record: None,
            diary: None,
        }
    }
}

/// The running application behind the window (or behind the command line). Dropping it leaves
/// the call at once, without a goodbye, and releases the devices.
#[derive(Debug)]
pub struct Session {
    view: Latest<View>,
    commands: Commands,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Session {
    /// Starts the session's task; must be called within a tokio runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "the handle beside it ends the task"
    )]
    pub fn start(config: SessionConfig) -> Self {
        let view = Latest::new();
        let stop = CancellationToken::new();
        let (commands, arriving) = Commands::channel();
        let driver = driver::Driver::new(config, view.clone(), arriving, stop.clone());
        Self {
            view,
            commands,
            stop,
            task: AbortOnDropHandle::new(tokio::spawn(driver.run())),
        }
    }

    /// Returns a reader of what there is to paint.
    pub fn view(&self) -> Reader<View> {
        self.view.reader()
    }

    /// Returns the way to tell the session something.
    pub fn commands(&self) -> Commands {
        self.commands.clone()
    }

    /// Leaves the call with a goodbye, saves what is to be remembered and releases the devices.
    /// A diary must be read meanwhile.
    pub async fn finish(self) {
        self.stop.cancel();
        if timeout(LONGEST_END, self.task).await.is_err() {
            tracing::debug!("the session was ended before it was ready to");
        }
    }
}

/// The window's way to the session. Never blocks.
#[derive(Debug, Clone)]
pub struct Commands(mpsc::Sender<Command>);

impl Commands {
    /// Makes a way to send commands and the end where they arrive. Holds 64.
    pub fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), receiver)
    }

    /// Sends a command. The queue holds 64, far more than a person can fill; beyond that the
    /// command is refused (false).
    pub fn send(&self, command: Command) -> bool {
        self.0.try_send(command).is_ok()
    }
}
