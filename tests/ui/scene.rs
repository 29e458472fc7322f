//! A window without a screen, and hand-made views to paint in it.

use std::time::{Duration, Instant};

use egui::{Key, Modifiers, Rect, Vec2, accesskit::Role, vec2};
use egui_kittest::{
    Harness,
    kittest::{NodeT, Queryable},
};
use nonstop::{
    call::{
        Attempt, CallView, Command, Commands, DeviceLists, History, Joining, LobbyView, Notice,
        NoticeAction, NoticeKind, NoticeLevel, Participant, Picture, Protection, Quality, Sample,
        Screen, SelfView, Side, Stage, View,
    },
    clock,
    config::{RecentMeeting, Settings},
    latest::Latest,
    media::{Size, VideoFrame},
    ui::{App, Clipboard},
};
use nonstop_rate::Bitrate;
use tokio::sync::mpsc;

pub(crate) const LINK: &str = "https://meet.example.org/standup#AAAAAAAAAAAAAAAAAAAAAA";
pub(crate) const SIZE: Vec2 = vec2(1280.0, 800.0);
pub(crate) const NAMES: [&str; 4] = ["Ada Lovelace", "Grace Hopper", "Katherine", "Hedy Lamarr"];

pub(crate) struct Window {
    pub(crate) harness: Harness<'static, App>,
    pub(crate) view: Latest<View>,
    pub(crate) arrived: mpsc::Receiver<Command>,
}

impl Window {
    pub(crate) fn open(view: View) -> Self {
        Self::open_with(view, None, SIZE)
    }

    pub(crate) fn open_with(mut view: View, clipboard: Option<&str>, size: Vec2) -> Self {
        view.settings.reduced_motion = true;
        let view = Latest::with(view);
        let reader = view.reader();
        let (commands, arrived) = Commands::channel();
        let clipboard = clipboard.map(Clipboard::holding);
        let harness = Harness::builder()
            .with_size(size)
            .with_os(egui::os::OperatingSystem::Nix)
            .with_step_dt(0.1)
            .build_eframe(move |creation| {
                let app = App::new(&creation.egui_ctx, reader, commands);
                match clipboard {
                    Some(clipboard) => app.with_clipboard(clipboard),
                    None => app,
                }
            });
        let mut window = Self {
            harness,
            view,
            arrived,
        };
        window.run();
        window
    }

    pub(crate) fn show(&mut self, mut view: View) {
        view.settings.reduced_motion = true;
        self.view.set(view);
        self.run();
    }

    /// Steps until what was just done is done: a click is a press, a release and their effect.
    pub(crate) fn run(&mut self) {
        self.harness.run_steps(4);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.harness.run_steps(time.as_millis() as usize / 100);
    }

    pub(crate) fn click(&mut self, label: &str) {
        self.harness
            .get_by(|node| {
                node.label().is_some_and(|found| found == label) && node.role() != Role::Label
            })
            .click();
        self.run();
    }

    pub(crate) fn fill(&mut self, label: &str, text: &str) {
        let field = self.harness.get_by_role_and_label(Role::TextInput, label);
        field.focus();
        self.run();
        self.harness
            .get_by_role_and_label(Role::TextInput, label)
            .type_text(text);
        self.run();
    }

    pub(crate) fn press(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.run();
    }

    pub(crate) fn shows(&self, words: &str) -> bool {
        self.harness.query_all_by_label(words).next().is_some()
            || self.harness.query_all_by_value(words).next().is_some()
    }

    pub(crate) fn has(&self, label: &str) -> bool {
        self.harness.query_by_label(label).is_some()
    }

    /// Returns what was asked for, but for how large people are shown, which any paint may tell.
    pub(crate) fn commands(&mut self) -> Vec<Command> {
        let mut commands = self.told();
        commands.retain(|command| !matches!(command, Command::Viewed(_)));
        commands
    }

    /// Returns what was told of how large people are shown.
    pub(crate) fn viewed(&mut self) -> Vec<Vec<(u64, Size)>> {
        let sizes = |command| match command {
            Command::Viewed(sizes) => Some(sizes),
            _ => None,
        };
        self.told().into_iter().filter_map(sizes).collect()
    }

    fn told(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.arrived.try_recv().ok()).collect()
    }

    pub(crate) fn minimise(&mut self, minimised: bool) {
        let viewports = &mut self.harness.input_mut().viewports;
        let viewport = viewports.get_mut(&egui::ViewportId::ROOT);
        viewport.expect("the window").minimized = Some(minimised);
        self.run();
    }

    pub(crate) fn copied(&self) -> bool {
        self.shows("Link copied")
    }

    pub(crate) fn tiles(&self) -> impl Iterator<Item = String> {
        self.harness
            .query_all_by_role(Role::Figure)
            .filter_map(|node| node.accesskit_node().label())
    }

    /// Returns the names and places of everything that can be clicked or filled in.
    pub(crate) fn controls(&self) -> Vec<(String, Rect)> {
        self.harness
            .root()
            .children_recursive()
            .filter(|node| egui::accessibility::is_input(node.accesskit_node().role()))
            .map(|node| {
                let name = node.accesskit_node().label().unwrap_or_default();
                (name, node.rect())
            })
            .collect()
    }
}

pub(crate) fn screens() -> Vec<(&'static str, View)> {
    let mut joining = lobby();
    joining.screen = Screen::Lobby(LobbyView {
        joining: Some(Joining::Joining {
            room: "standup".into(),
            host: "meet.example.org".into(),
        }),
        offered_link: None,
    });
    let mut noticed = call(3);
    noticed.notices = vec![notice(1, NoticeKind::Camera, NoticeLevel::Warning)];
    vec![
        ("lobby", lobby()),
        ("joining", joining),
        ("alone", call(0)),
        ("two", call(1)),
        ("five", call(4)),
        ("notices", noticed),
    ]
}

pub(crate) fn lobby() -> View {
    View {
        me: SelfView {
            name: "Emmy Noether".into(),
            picture: Some(still(1)),
            microphone: true,
            camera: true,
            level: 0.3,
        },
        devices: DeviceLists {
            cameras: vec!["Integrated camera".into(), "Desk camera".into()],
            microphones: vec!["Headset".into()],
            speakers: vec!["Headset".into()],
        },
        settings: Settings {
            name: "Emmy Noether".into(),
            recent: vec![RecentMeeting {
                room: "review".into(),
                link: LINK.replace("standup", "review"),
            }],
            ..Settings::default()
        },
        ..View::default()
    }
}

pub(crate) fn call(others: usize) -> View {
    let participants = NAMES
        .into_iter()
        .take(others)
        .zip(1..)
        .map(|(name, id)| Participant {
            id,
            name: name.into(),
            picture: Some(still(id + 1)),
            microphone: true,
            camera: true,
            level: 0.0,
            speaking: false,
            spoke_at: None,
            stage: Stage::Connected,
            attempt: Attempt::default(),
            path: "direct".into(),
            protection: Protection::EndToEnd,
            quality: Quality::Good,
            cause: None,
            side: Side::Unknown,
            video_paused: None,
            round_trip: Some(Duration::from_millis(18)),
            received: Some(Size::new(1280, 720)),
            history: History::default(),
        })
        .collect();
    View {
        screen: Screen::Call(CallView {
            room: "standup".into(),
            link: LINK.into(),
            since: ago(724),
            participants,
            reconnecting_since: None,
            protection: Protection::EndToEnd,
        }),
        ..lobby()
    }
}

pub(crate) fn change(view: &mut View, change: impl FnMut(&mut Participant)) {
    if let Screen::Call(call) = &mut view.screen {
        call.participants.iter_mut().for_each(change);
    }
}

pub(crate) fn notice(id: u64, kind: NoticeKind, level: NoticeLevel) -> Notice {
    Notice {
        id,
        level,
        kind,
        text: "Something happened. It means this.".into(),
        actions: vec![NoticeAction::TryAgain, NoticeAction::GoOn],
    }
}

pub(crate) fn still(stream: u64) -> Picture {
    let size = Size::new(64, 36);
    let frame = VideoFrame::new(size, vec![128; VideoFrame::bytes_for(size)], clock::now());
    Picture {
        stream,
        frames: Latest::with(frame).reader(),
    }
}

pub(crate) fn reconnecting(seconds: u64) -> Stage {
    Stage::Reconnecting {
        since: ago(seconds),
    }
}

/// Returns an instant that long ago; the clock of a computer just started may not reach that far.
pub(crate) fn ago(seconds: u64) -> Instant {
    let now = clock::now();
    now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now)
}

/// Returns a minute of a connection that carries 2.4 Mb/s, each second of it alike.
pub(crate) fn minute() -> History {
    let mut history = History::default();
    for second in (0..=60).rev() {
        history.push(Sample {
            estimate: Some(Bitrate::from_kbps(2_400)),
            target: Some(Bitrate::from_kbps(2_000)),
            video_sent: Some(Bitrate::from_kbps(1_868)),
            audio_sent: Some(Bitrate::from_kbps(32)),
            round_trip: Some(Duration::from_millis(18)),
            queue_delay: Some(Duration::from_millis(3)),
            loss_sent: Some(0.0),
            loss_received: Some(0.005),
            protocol: Some("udp"),
            sent_size: Some(Size::new(1280, 720)),
            sent_fps: Some(30.0),
            received_size: Some(Size::new(640, 360)),
            received_fps: Some(25.0),
            encoder_id: Some(1),
            ..Sample::unknown(ago(second))
        });
    }
    history
}
