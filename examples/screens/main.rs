//! Opens any screen with hand-made people, so that the look can be judged without a call:
//! `cargo run --example screens -- call3 light`. Without arguments it lists what there is. A call
//! has any number of people: `call49`, `call200 speaker relayed`. With `measure` it says once a
//! second how often it was painted, and what that cost.

mod crowd;
mod film;
mod measure;

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use nonstop::{
    call::{
        Attempt, CallView, Cause, Commands, DeviceLists, History, Joining, LobbyView, Mark, Notice,
        NoticeAction, NoticeKind, NoticeLevel, Obstacle, Participant, PauseReason, Protection,
        Quality, Sample, Screen, SelfView, Side, Stage, TrialStep, TrialView, Trying, View,
    },
    clock,
    config::{Appearance, Layout, RecentMeeting, Settings},
    latest::Latest,
    media::Size,
    ui,
};
use nonstop_rate::Bitrate;

const SCREENS: &str = "lobby lobby-new lobby-off lobby-joining lobby-notices trial trial-running \
    call-connecting call-relayed \
    call1 call2 call3 call4 call5 call-avatars call-trouble call-server call-slow notices settings \
    connections2 connections5 call6 call12 call25 call49 call200";
const LINK: &str = "https://meet.example.org/standup#AAAAAAAAAAAAAAAAAAAAAA";
const NAMES: [&str; 4] = ["Ada Lovelace", "Grace Hopper", "Katherine", "Hedy Lamarr"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|other| other == word);
    let Some(screen) = words.first() else {
        println!("screens: {SCREENS}\nadd: light speaker relayed measure");
        return ExitCode::FAILURE;
    };
    let Some(mut view) = view(screen) else {
        println!("no such screen; there are: {SCREENS}");
        return ExitCode::FAILURE;
    };
    if has("light") {
        view.settings.appearance = Appearance::Light;
    }
    if has("speaker") {
        view.settings.layout = Layout::Speaker;
    }
    if has("relayed") {
        relay(&mut view);
    }
    let (commands, _arrived) = Commands::channel();
    let mailbox = Latest::with(view.clone());
    let reader = mailbox.reader();
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(50));
            let phase = clock::since_start().as_secs_f32();
            let voice = (phase * 3.0).sin() * (phase * 8.1).sin();
            view.me.level = voice.abs() * 0.6;
            if let Screen::Call(call) = &mut view.screen {
                let others = call.participants.len();
                for (index, person) in call.participants.iter_mut().enumerate() {
                    let turn = (phase / 4.0) as usize * 7 % others.max(1);
                    let speaking = turn == index;
                    if person.speaking != speaking {
                        person.speaking = speaking;
                        person.spoke_at = Some(clock::now());
                    }
                }
            }
            mailbox.set(view.clone());
        }
    });
    if has("measure") {
        return measure::run(reader, commands);
    }
    let shown = match screen.as_str() {
        "settings" => ui::run_with_settings(reader, commands),
        "connections2" | "connections5" => ui::run_with_connections(reader, commands),
        _ => ui::run(reader, commands),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn view(screen: &str) -> Option<View> {
    let mut view = View {
        me: SelfView {
            name: "Emmy Noether".into(),
            picture: Some(film::film(0)),
            microphone: true,
            camera: true,
            level: 0.3,
        },
        devices: DeviceLists {
            cameras: vec!["Integrated Camera".into(), "Desk camera".into()],
            microphones: vec!["Headset".into(), "Built-in Audio Analog Stereo".into()],
            speakers: vec!["Headset".into()],
        },
        settings: Settings {
            name: "Emmy Noether".into(),
            recent: ["standup", "review", "friday-coffee"]
                .map(|room| RecentMeeting {
                    room: room.into(),
                    link: LINK.replace("standup", room),
                })
                .into(),
            ..Settings::default()
        },
        ..View::default()
    };
    match screen {
        "lobby" | "settings" => {}
        "lobby-new" => {
            view.me = SelfView {
                microphone: true,
                camera: true,
                ..SelfView::default()
            };
            view.devices = DeviceLists::default();
            view.settings = Settings::default();
        }
        "lobby-off" => {
            view.me.camera = false;
            view.me.microphone = false;
        }
        "lobby-joining" => {
            view.screen = Screen::Lobby(LobbyView {
                joining: Some(Joining::Joining {
                    room: "standup".into(),
                    host: "meet.example.org".into(),
                }),
                offered_link: None,
            });
        }
        "lobby-notices" => view.notices = notices(),
        "trial" => view.trial = Some(trial(false)),
        "trial-running" => view.trial = Some(trial(true)),
        "call-connecting" => {
            view.screen = call(4);
            let attempts = [
                (Stage::Connecting, Some(Trying::Direct), None),
                (Stage::Connecting, Some(Trying::Relay), None),
                (Stage::Connecting, Some(Trying::RelayTls), None),
                (Stage::Failed, None, Some(Obstacle::OnlyTheWeb)),
            ];
            let mut attempts = attempts.into_iter();
            change(&mut view, |person| {
                if let Some((stage, trying, obstacle)) = attempts.next() {
                    person.stage = stage;
                    person.picture = None;
                    person.attempt = Attempt {
                        trying,
                        obstacle,
                        ..Attempt::default()
                    };
                }
            });
        }
        "call-relayed" => {
            view.screen = call(1);
            change(&mut view, |person| {
                person.path = "turn-tls".into();
                person.attempt.udp_blocked = Side::Ours;
            });
            view.notices = vec![Notice {
                id: 1,
                level: NoticeLevel::Warning,
                kind: NoticeKind::Network,
                text: "This network blocks UDP: connected through TLS. Expect less quality.".into(),
                actions: Vec::new(),
            }];
        }
        "call1" => view.screen = call(0),
        "call2" | "connections2" => view.screen = call(1),
        "call3" => view.screen = call(2),
        "call4" => view.screen = call(3),
        "call5" | "connections5" => view.screen = call(4),
        "notices" => {
            view.screen = call(2);
            view.notices = notices();
        }
        "call-avatars" => {
            view.screen = call(4);
            view.me.camera = false;
            change(&mut view, |person| {
                person.camera = false;
                person.picture = None;
            });
        }
        "call-trouble" => {
            view.screen = call(4);
            let now = clock::now();
            let mut stages = [
                Stage::Connecting,
                Stage::Reconnecting { since: ago(now, 4) },
                Stage::Failed,
                Stage::Connected,
            ]
            .into_iter();
            change(&mut view, |person| {
                person.stage = stages.next().unwrap_or(Stage::Connected);
                person.quality = Quality::Poor;
                if person.stage == Stage::Connecting {
                    person.picture = None;
                }
            });
        }
        "call-slow" => {
            view.screen = call(4);
            if let Screen::Call(call) = &mut view.screen
                && let Some(person) = call.participants.last_mut()
            {
                person.video_paused = Some(PauseReason::SlowConnection);
                person.cause = Some(Cause::Paused);
            }
            view.notices = vec![Notice {
                id: 1,
                level: NoticeLevel::Warning,
                kind: NoticeKind::Connection,
                text: "Hedy Lamarr's connection is slow. Pictures are smaller for it; sound goes first."
                    .into(),
                actions: Vec::new(),
            }];
        }
        "call-server" => {
            view.screen = call(1);
            if let Screen::Call(call) = &mut view.screen {
                call.reconnecting_since = Some(ago(clock::now(), 2));
            }
        }
        other => view.screen = large_call(other)?,
    }
    Some(view)
}

/// Makes a call of that many people: "call49".
fn large_call(screen: &str) -> Option<Screen> {
    let people: usize = screen.strip_prefix("call")?.parse().ok()?;
    let Screen::Call(call) = call(0) else {
        return None;
    };
    let participants = crowd::crowd(people.saturating_sub(1).min(999));
    Some(Screen::Call(CallView {
        participants,
        ..call
    }))
}

/// Lets all media but that of the first come through the meeting server.
fn relay(view: &mut View) {
    if let Screen::Call(call) = &mut view.screen {
        call.protection = Protection::ToTheServer;
        for person in call.participants.iter_mut().skip(1) {
            person.path = "relay".into();
            person.protection = Protection::ToTheServer;
        }
    }
}

/// Makes a connection test that has found UDP blocked, or is on the way to it.
fn trial(running: bool) -> TrialView {
    let step = |mark, title, words: &str| TrialStep {
        mark,
        title,
        words: words.into(),
    };
    let speed = match running {
        true => step(Mark::Waiting, "Speed", "trying…"),
        false => step(
            Mark::Good,
            "Speed",
            "at least 2.1 Mbit/s up and down, through a relay over TLS",
        ),
    };
    TrialView {
        host: "meet.example.org".into(),
        running,
        mark: if running { Mark::Waiting } else { Mark::Fair },
        summary: match running {
            true => "Testing the way to meet.example.org…",
            false => "UDP is blocked here. Calls go through a relay over TLS; expect less quality.",
        }
        .into(),
        steps: vec![
            step(Mark::Good, "Meeting server", "reached in 45 ms"),
            step(Mark::Bad, "UDP", "blocked here: nothing comes back"),
            step(Mark::Bad, "Relay over UDP", "the relay did not answer"),
            step(Mark::Skipped, "Relay over TCP", "not offered by the meeting server"),
            step(Mark::Good, "Relay over TLS", "works, 51 ms"),
            speed,
        ],
        note: (!running).then_some("Measured in a loop: what is sent to the relay comes back to this computer. So it is the slower of the two directions, and both may carry more: the test sends little."),
    }
}

fn change(view: &mut View, change: impl FnMut(&mut Participant)) {
    if let Screen::Call(call) = &mut view.screen {
        call.participants.iter_mut().for_each(change);
    }
}

fn ago(now: Instant, seconds: u64) -> Instant {
    now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now)
}

fn call(others: usize) -> Screen {
    let qualities = [Quality::Good, Quality::Good, Quality::Fair, Quality::Poor];
    let causes = [None, None, Some(Cause::Upload), Some(Cause::Loss)];
    let paths = ["direct", "direct", "turn-udp", "turn-tcp"];
    let participants = NAMES
        .into_iter()
        .take(others)
        .enumerate()
        .map(|(index, name)| Participant {
            id: index as u64,
            name: name.into(),
            picture: Some(film::film(index as u64 + 1)),
            microphone: index != 1,
            camera: true,
            level: 0.0,
            speaking: false,
            spoke_at: None,
            stage: Stage::Connected,
            attempt: Attempt::default(),
            path: paths[index].into(),
            protection: Protection::EndToEnd,
            quality: qualities[index],
            cause: causes[index],
            side: if index > 1 {
                Side::Theirs
            } else {
                Side::Unknown
            },
            video_paused: None,
            round_trip: Some(Duration::from_millis(18 + 40 * index as u64)),
            received: Some(Size::new(1280, 720)),
            history: history(index),
        })
        .collect();
    Screen::Call(CallView {
        room: "standup".into(),
        link: LINK.into(),
        since: ago(clock::now(), 724),
        participants,
        reconnecting_since: None,
        protection: Protection::EndToEnd,
    })
}

/// Makes a minute of figures: a link that is fine, one with a hiccup, a narrow one, a lossy one.
fn history(index: usize) -> History {
    let now = clock::now();
    let mut history = History::default();
    for second in (0..=60_u64).rev() {
        let wave = (second as f64 * 0.7).sin() * (second as f64 * 0.23).cos();
        let dip = index == 1 && (18..30).contains(&second);
        let room = match index {
            0 => 3_100.0,
            1 if dip => 500.0 + 40.0 * (30.0 - second as f64),
            1 => 2_400.0,
            2 => 420.0,
            _ => 900.0,
        };
        let estimate = room * (1.0 + 0.06 * wave);
        let target = (0.88 * estimate - 40.0).min(2_500.0);
        let size = match target as u64 {
            0..600 => Size::new(480, 270),
            600..1_100 => Size::new(960, 540),
            _ => Size::new(1280, 720),
        };
        let kbps = |rate: f64| Some(Bitrate::from_kbps(rate as u64));
        let millis = |time: f64| Some(Duration::from_micros((time * 1e3) as u64));
        history.push(Sample {
            estimate: kbps(estimate),
            target: kbps(target),
            video_sent: kbps(target * (0.93 + 0.06 * wave)),
            audio_sent: kbps(32.0),
            round_trip: millis(18.0 + 40.0 * index as f64 + if dip { 90.0 } else { 3.0 * wave }),
            queue_delay: millis(if dip { 85.0 } else { 4.0 + 2.0 * wave }),
            loss_sent: Some(if dip { 0.04 } else { 0.0 }),
            loss_received: Some(if index == 3 {
                (0.06 + 0.04 * wave) as f32
            } else {
                0.0
            }),
            protocol: Some(if index == 3 { "tcp" } else { "udp" }),
            sent_size: Some(size),
            sent_fps: Some(30.0),
            received_size: Some(Size::new(1280, 720)),
            received_fps: Some(29.6),
            encoder_id: Some(if index < 2 { 1 } else { index as u64 }),
            ..Sample::unknown(ago(now, second))
        });
    }
    history
}

fn notices() -> Vec<Notice> {
    let notice = |id, level, kind, text: &str, actions: &[NoticeAction]| Notice {
        id,
        level,
        kind,
        text: text.into(),
        actions: actions.to_vec(),
    };
    vec![
        notice(
            1,
            NoticeLevel::Warning,
            NoticeKind::Camera,
            "Your camera is used by another application. Close it there, or go on without video.",
            &[NoticeAction::TryAgain, NoticeAction::GoOn],
        ),
        notice(
            2,
            NoticeLevel::Error,
            NoticeKind::Link,
            "This link is not complete: the part after # is missing. Ask for the link again.",
            &[],
        ),
        notice(
            3,
            NoticeLevel::Information,
            NoticeKind::Presence,
            "Hedy Lamarr left.",
            &[],
        ),
    ]
}
