//! Two sessions, as two windows would have them: one opens a meeting that its own process hosts,
//! the other joins by the link that the first shows. Everything behind the window is real.

use std::{thread, time::Duration};

use nonstop::{
    call::{
        CallView, Command, Commands, NoticeAction, NoticeKind, Participant, Screen, Session,
        SessionConfig, View,
    },
    clock,
    config::{Settings, SettingsFile},
    latest::{Reader, Wait},
};
use tokio::runtime::Runtime;

/// However loaded this computer is, nothing here takes longer.
const LONGEST: Duration = Duration::from_secs(90);

#[test]
fn two_people_meet_in_a_meeting_that_one_of_them_hosts() {
    let runtime = Runtime::new().unwrap();
    let ada = Window::open(&runtime, "Ada", None);
    let grace = Window::open(&runtime, "Grace", None);

    ada.send(Command::NewMeeting);
    let link = ada.call(|call| Some(call.link.clone()));
    grace.send(Command::Join(link));
    let seen = |participant: &Participant| participant.picture.is_some();
    ada.sees("Grace", seen);
    grace.sees("Ada", seen);
    ada.notice(NoticeKind::Presence, "Grace joined.");
    ada.sees("Grace", |grace| grace.level > 0.3 && grace.speaking);

    grace.send(Command::SetCamera(false));
    ada.sees("Grace", |grace| !grace.camera && grace.picture.is_none());
    grace.send(Command::SetCamera(true));
    ada.sees("Grace", seen);
    grace.send(Command::SetMicrophone(false));
    ada.sees("Grace", |grace| !grace.microphone && !grace.speaking);

    grace.send(Command::Leave);
    grace.until(|view| matches!(view.screen, Screen::Lobby(_)).then_some(()));
    ada.notice(NoticeKind::Presence, "Grace left.");
    ada.call(|call| call.participants.is_empty().then_some(()));

    // The host may leave too: whoever has the link still finds the meeting.
    ada.send(Command::Leave);
    let room = grace.until(|view| Some(view.settings.recent.first()?.clone()));
    grace.send(Command::Join(room.link));
    grace.call(|call| (call.room == room.room).then_some(()));
}

#[test]
fn a_camera_that_cannot_be_opened_is_said_and_another_heals_it() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let memory = SettingsFile::at(folder.path().join("settings.toml"));
    let missing = format!("file:{}", folder.path().join("none.y4m").display());
    let ada = Window::open(&runtime, "Ada", Some(memory.clone()));
    ada.until(|view| view.me.picture.clone());
    let mut settings = ada.until(|view| Some(view.settings.clone()));
    settings.camera = missing;
    ada.send(Command::Settings(Box::new(settings.clone())));
    let notice = ada.until(|view| {
        let camera = view.notices.iter().find(|n| n.kind == NoticeKind::Camera);
        camera.cloned()
    });
    assert!(notice.actions.contains(&NoticeAction::GoOn));
    ada.until(|view| view.me.picture.is_none().then_some(()));

    settings.camera = "test-card".into();
    ada.send(Command::Settings(Box::new(settings.clone())));
    ada.until(|view| view.me.picture.clone().filter(|_| view.notices.is_empty()));
    runtime.block_on(ada.session.finish());
    assert_eq!(memory.load().settings, settings);
}

/// A session and somebody who looks at it.
struct Window {
    session: Session,
    view: Reader<View>,
    commands: Commands,
}

impl Window {
    fn open(runtime: &Runtime, name: &str, memory: Option<SettingsFile>) -> Self {
        let settings = Settings {
            name: name.into(),
            camera: "test-card".into(),
            microphone: "tone".into(),
            speaker: "none".into(),
            ..Settings::default()
        };
        let session = runtime.block_on(async {
            Session::start(SessionConfig {
                memory,
                ..SessionConfig::new(settings)
            })
        });
        Self {
            view: session.view(),
            commands: session.commands(),
            session,
        }
    }

    fn send(&self, command: Command) {
        assert!(self.commands.send(command));
    }

    /// Looks until there is what `find` looks for.
    fn until<T>(&self, find: impl Fn(&View) -> Option<T>) -> T {
        let mut view = self.view.clone();
        let deadline = clock::now() + LONGEST;
        loop {
            if let Some(found) = view.newest().as_ref().and_then(&find) {
                return found;
            }
            assert!(clock::now() < deadline, "it stays at {:#?}", view.newest());
            if matches!(view.wait(Duration::from_millis(100)), Wait::Closed) {
                thread::sleep(Duration::from_millis(100));
            }
        }
    }

    fn call<T>(&self, find: impl Fn(&CallView) -> Option<T>) -> T {
        self.until(|view| match &view.screen {
            Screen::Call(call) => find(call),
            Screen::Lobby(_) => None,
        })
    }

    fn sees(&self, name: &str, what: impl Fn(&Participant) -> bool) {
        self.call(|call| {
            let mut people = call.participants.iter();
            people.find(|p| p.name == name && what(p)).map(|_| ())
        });
    }

    fn notice(&self, kind: NoticeKind, text: &str) {
        self.until(|view| {
            let mut notices = view.notices.iter();
            let found = notices.find(|n| n.kind == kind && n.text == text);
            found.map(|_| ())
        });
    }
}
