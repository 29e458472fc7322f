//! `nonstop call`: a participant without a window, on the same floor as the window.
//!
//! ```text
//! arguments ─▶ Session ─▶ diary ─▶ lines for a person (stdout, stderr)
//!                              └─▶ lines for a program (--stats)
//! ```

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use nonstop_wire::{ParticipantId, Topology};
use tokio::sync::mpsc;

use crate::{
    call::{Command, Entry, Happening, NoticeKind, NoticeLevel, Session, SessionConfig},
    clock,
    config::{CallArguments, Settings},
    mesh::{End, LinkNews},
    stats, stop,
};

/// Why a call without a window failed.
#[derive(Debug, thiserror::Error)]
pub enum HeadlessError {
    /// The file for figures cannot be written.
    #[error("figures cannot be written to {}: {error}", path.display())]
    Stats {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The folder for recordings cannot be written.
    #[error("recordings cannot be written to {}: {error}", path.display())]
    Record {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The meeting could not be joined, or ended without us.
    #[error("{0}")]
    NotInTheMeeting(String),
}

/// Takes part until told to end; must be called within a tokio runtime.
///
/// # Errors
/// Fails where a file cannot be written or the meeting cannot be joined.
pub async fn call(arguments: CallArguments) -> Result<(), HeadlessError> {
    let mut log = arguments.stats.as_deref().map(Log::open).transpose()?;
    if let Some(folder) = &arguments.record {
        prepare_recordings(folder)?;
    }
    // What the session has to tell in a second is a handful; when the queue is full it waits.
    let (sender, mut diary) = mpsc::channel(256);
    let session = Session::start(SessionConfig {
        path: arguments.path,
        max_bitrate: arguments.max_bitrate,
        max_size: arguments.max_size,
        record: arguments.record.clone(),
        diary: Some(sender),
        ..SessionConfig::new(settings(&arguments))
    });
    let link = arguments.link.reveal();
    session.commands().send(Command::Join(link));

    let mut reporter = Reporter::new(arguments.link.room().to_string());
    let end = stop::requested(arguments.end_with_stdin);
    tokio::pin!(end);
    let mut time_is_up = None;
    let outcome = loop {
        let entry = tokio::select! {
            entry = diary.recv() => entry,
            () = &mut end => break Ok(()),
            () = elapsed(time_is_up) => break Ok(()),
        };
        let Some(entry) = entry else {
            let why = "the call ended unexpectedly".to_owned();
            break Err(HeadlessError::NotInTheMeeting(why));
        };
        if matches!(entry.happening, Happening::Joined { .. }) {
            time_is_up = arguments.duration.map(|duration| entry.at + duration);
        }
        write(&mut log, &entry);
        reporter.tell(&entry.happening);
        match entry.happening {
            Happening::Ended(End::Left) => break Ok(()),
            Happening::Ended(_) => {
                let why = reporter.last_words();
                break Err(HeadlessError::NotInTheMeeting(why));
            }
            _ => {}
        }
    };
    let rest = async {
        while let Some(entry) = diary.recv().await {
            write(&mut log, &entry);
            reporter.tell(&entry.happening);
        }
    };
    tokio::join!(session.finish(), rest);
    outcome
}

fn settings(arguments: &CallArguments) -> Settings {
    Settings {
        name: arguments.name.clone(),
        camera: arguments.camera.to_string(),
        microphone: arguments.microphone.to_string(),
        speaker: arguments.speaker.to_string(),
        hide_address: arguments.hide_address,
        proxy: arguments.proxy.clone(),
        ..Settings::default()
    }
}

/// Waits until an instant, or for ever where there is none.
async fn elapsed(instant: Option<std::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// Makes the folder and tries whether it can be written, so that a mistake shows at the start.
fn prepare_recordings(folder: &Path) -> Result<(), HeadlessError> {
    let probe = folder.join(".nonstop-probe");
    fs::create_dir_all(folder)
        .and_then(|()| File::create(&probe))
        .and_then(|_| fs::remove_file(&probe))
        .map_err(|error| HeadlessError::Record {
            path: folder.to_owned(),
            error,
        })
}

/// The file of `--stats`.
#[derive(Debug)]
struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    fn open(path: &Path) -> Result<Self, HeadlessError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        match file {
            Ok(file) => Ok(Self {
                file,
                path: path.to_owned(),
            }),
            Err(error) => Err(HeadlessError::Stats {
                path: path.to_owned(),
                error,
            }),
        }
    }

    /// Writes a line at once and whole, so that whoever reads along never sees half of one.
    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let line = stats::line(entry, clock::start()) + "\n";
        self.file.write_all(line.as_bytes())
    }
}

/// Writes a line; a file that can no longer be written is said once, and the call goes on.
fn write(log: &mut Option<Log>, entry: &Entry) {
    if let Some(open) = log
        && let Err(error) = open.write(entry)
    {
        eprintln!(
            "Figures can no longer be written to {}: {error}.",
            open.path.display()
        );
        *log = None;
    }
}

/// Tells a person at a terminal what happens.
#[derive(Debug)]
struct Reporter {
    room: String,
    names: HashMap<ParticipantId, String>,
    last_words: Option<String>,
}

impl Reporter {
    fn new(room: String) -> Self {
        Self {
            room,
            names: HashMap::new(),
            last_words: None,
        }
    }

    fn tell(&mut self, happening: &Happening) {
        if let Some(line) = self.line(happening) {
            // Whoever closed our output does not want to read it: the call goes on.
            let _ = writeln!(io::stdout(), "{line}");
        }
        if let Happening::Notice(notice) = happening
            && notice.kind != NoticeKind::Presence
        {
            if notice.kind == NoticeKind::Meeting && notice.level == NoticeLevel::Error {
                self.last_words = Some(notice.text.clone());
            } else {
                let _ = writeln!(io::stderr(), "{}", notice.text);
            }
        }
    }

    /// Returns why the meeting ended, as a person was told.
    fn last_words(&mut self) -> String {
        let words = self.last_words.take();
        words.unwrap_or_else(|| "the meeting ended".to_owned())
    }

    fn line(&mut self, happening: &Happening) -> Option<String> {
        Some(match happening {
            Happening::Joined { others, .. } => {
                let others = match others {
                    0 => "nobody else is here yet".to_owned(),
                    1 => "one other is here".to_owned(),
                    others => format!("{others} others are here"),
                };
                format!("Joined {}; {others}.", self.room)
            }
            Happening::ParticipantDescribed { id, name, .. } => {
                self.names.insert(*id, name.clone());
                return None;
            }
            Happening::Link { id, news } => {
                let name = self.name(*id);
                match news {
                    LinkNews::Connected { path, after } => {
                        format!("Connected to {name} ({path}, {}).", seconds(*after))
                    }
                    LinkNews::PathChanged(path) => format!("Now {path} to {name}."),
                    LinkNews::Interrupted => format!("Connection to {name} interrupted."),
                    LinkNews::FirstVideoFrame { after } => {
                        format!("First picture of {name} ({}).", seconds(*after))
                    }
                    LinkNews::VideoPaused => {
                        format!("The connection to {name} is too weak for pictures; sound goes on.")
                    }
                    LinkNews::VideoResumed => format!("Pictures go to {name} again."),
                    LinkNews::PicturesPaused(_) => format!("{name} sends no pictures at present."),
                    LinkNews::PicturesResumed => format!("{name} sends pictures again."),
                    LinkNews::FirstAudio { .. }
                    | LinkNews::Strain(_)
                    | LinkNews::Ways(_)
                    | LinkNews::Stats(_) => {
                        return None;
                    }
                }
            }
            Happening::ParticipantLeft { id, name, lost } => {
                self.names.remove(id);
                let how = if *lost { "was lost" } else { "left" };
                format!("{name} {how}.")
            }
            Happening::Reconnecting => "Meeting server lost; reconnecting.".to_owned(),
            Happening::Reconnected { .. } => "Meeting server is back.".to_owned(),
            Happening::TopologyChanged(Topology::Relay) => {
                "The call goes through the meeting server now: encrypted on the way to it and from it, not from end to end."
                    .to_owned()
            }
            Happening::TopologyChanged(Topology::Mesh) => {
                "The call goes straight from one computer to the other again.".to_owned()
            }
            Happening::Ended(End::Left) => format!("Left {}.", self.room),
            Happening::ParticipantJoined { .. }
            | Happening::TopologyChanged(Topology::Unknown)
            | Happening::Suspicion(_)
            | Happening::Notice(_)
            | Happening::Ended(_) => return None,
        })
    }

    fn name(&self, id: ParticipantId) -> String {
        let name = self.names.get(&id);
        name.cloned().unwrap_or_else(|| "somebody".to_owned())
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
