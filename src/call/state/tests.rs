//! Scenarios of the session, each a short story in facts, effects and what is painted.

use std::time::Duration;

use nonstop_wire::{ErrorCode, ParticipantState};

use super::*;
use crate::{
    call::{Notice, NoticeAction, NoticeLevel, Participant, Stage},
    clock,
    latest::Latest,
    media::{AudioSource, DeviceTrouble, Size},
    mesh::{End, LinkNews, Path, Suspicion},
};

mod connection;
mod relay;
mod trial;

const LINK: &str = "https://meet.example.org/standup#AAAAAAAAAAAAAAAAAAAAAA";
const SECOND: Duration = Duration::from_secs(1);

/// A session and a clock that the story moves.
struct Story {
    state: State,
    now: Instant,
    effects: Vec<Effect>,
}

impl Story {
    fn begin(settings: Settings) -> Self {
        let frames = Latest::new().reader();
        let mut story = Self {
            state: State::new(settings, None, None, frames),
            now: clock::now(),
            effects: Vec::new(),
        };
        story.collect();
        story
    }

    fn in_a_call(others: usize) -> Self {
        let mut story = Self::begin(Settings {
            name: "Ada".into(),
            ..Settings::default()
        });
        story.camera_runs();
        story.command(Command::Join(LINK.into()));
        story.mesh(MeshEvent::Joined { me: id(99), others });
        story.effects.clear();
        story
    }

    fn command(&mut self, command: Command) {
        self.state.handle_command(command, self.now);
        self.collect();
    }

    fn mesh(&mut self, event: MeshEvent) {
        self.state.handle_mesh(event, self.now);
        self.collect();
    }

    fn camera(&mut self, camera: CaptureState) {
        self.state.handle_camera(camera);
        self.collect();
    }

    fn camera_runs(&mut self) {
        self.camera(CaptureState::Running {
            name: "camera".into(),
            size: Size::new(1280, 720),
        });
    }

    fn audio(&mut self, change: impl FnOnce(&mut AudioState)) {
        let mut audio = AudioState::default();
        change(&mut audio);
        self.state.handle_audio(audio);
        self.collect();
    }

    fn comes(&mut self, number: u64, name: &str) {
        self.mesh(MeshEvent::ParticipantJoined {
            id: id(number),
            picture: Latest::new().reader(),
            voice: Latest::new().reader(),
        });
        let state = ParticipantState {
            name: name.into(),
            microphone: true,
            camera: true,
            knows: Vec::new(),
            relay: false,
        };
        self.mesh(MeshEvent::ParticipantDescribed {
            id: id(number),
            state,
        });
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.state.handle_tick(self.now);
    }

    fn collect(&mut self) {
        while let Some(effect) = self.state.poll_effect() {
            self.effects.push(effect);
        }
    }

    fn notices(&self) -> Vec<Notice> {
        self.state.view().notices
    }

    fn texts(&self) -> Vec<String> {
        self.notices().into_iter().map(|n| n.text).collect()
    }

    fn people(&self) -> Vec<Participant> {
        match self.state.view().screen {
            Screen::Call(call) => call.participants,
            Screen::Lobby(_) => Vec::new(),
        }
    }

    fn described(&self) -> Option<&Me> {
        self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Describe(me) | Effect::Join { me, .. } => Some(me),
            _ => None,
        })
    }

    fn in_lobby(&self) -> bool {
        matches!(self.state.view().screen, Screen::Lobby(_))
    }

    fn happened(&mut self) -> Vec<Happening> {
        std::iter::from_fn(|| self.state.poll_happening()).collect()
    }
}

fn id(number: u64) -> ParticipantId {
    ParticipantId::from_bits(number)
}

#[test]
fn joining_shows_the_lobby_until_the_meeting_is_there_and_remembers_it() {
    let mut story = Story::begin(Settings::default());
    story.command(Command::Join(LINK.into()));
    let Screen::Lobby(lobby) = story.state.view().screen else {
        panic!("not there yet");
    };
    let expected = Joining::Joining {
        room: "standup".into(),
        host: "meet.example.org".into(),
    };
    assert_eq!(lobby.joining, Some(expected));
    let joins =
        |effect: &Effect| matches!(effect, Effect::Join { link, .. } if link.reveal() == LINK);
    assert!(story.effects.iter().any(joins));

    story.mesh(MeshEvent::Joined {
        me: id(1),
        others: 0,
    });
    let Screen::Call(call) = story.state.view().screen else {
        panic!("in the call");
    };
    assert_eq!((call.room.as_str(), call.link.as_str()), ("standup", LINK));
    let Some(Effect::Save(settings)) = story.effects.last() else {
        panic!("{:?}", story.effects);
    };
    assert_eq!(settings.recent[0].link, LINK);
}

#[test]
fn a_link_that_is_none_is_said_and_goes_when_another_is_tried() {
    let mut story = Story::begin(Settings::default());
    let incomplete = LINK.split('#').next().unwrap();
    story.command(Command::Join(incomplete.into()));
    let notices = story.notices();
    assert_eq!(notices[0].kind, NoticeKind::Link);
    assert!(notices[0].text.contains("the part after # is missing"));
    assert!(
        !story
            .effects
            .iter()
            .any(|e| matches!(e, Effect::Join { .. }))
    );
    story.command(Command::Join(LINK.into()));
    assert!(story.notices().is_empty());
}

#[test]
fn leaving_is_at_once_and_says_goodbye() {
    let mut story = Story::in_a_call(0);
    story.comes(1, "Grace");
    story.command(Command::Leave);
    assert!(story.in_lobby());
    assert_eq!(story.effects, [Effect::Leave]);
    assert!(story.notices().is_empty(), "who came no longer matters");
    assert_eq!(story.happened().last(), Some(&Happening::Ended(End::Left)));
}

#[test]
fn who_hides_their_address_joins_hidden() {
    for hidden in [false, true] {
        let mut story = Story::begin(Settings {
            hide_address: hidden,
            ..Settings::default()
        });
        story.command(Command::Join(LINK.into()));
        let joins = |effect: &Effect| matches!(effect, Effect::Join { hide_address, .. } if *hide_address == hidden);
        assert!(story.effects.iter().any(joins), "{:?}", story.effects);
    }
}

#[test]
fn a_refusal_leads_back_to_the_lobby_with_its_reason_and_can_be_tried_again() {
    let mut story = Story::begin(Settings::default());
    story.command(Command::Join(LINK.into()));
    story.mesh(MeshEvent::Ended(End::Refused(ErrorCode::RoomFull)));
    assert!(story.in_lobby());
    let notice = story.notices().remove(0);
    assert_eq!(notice.level, NoticeLevel::Error);
    assert!(notice.text.starts_with("The meeting is full."));
    story.effects.clear();
    story.command(Command::Act {
        notice: notice.id,
        action: NoticeAction::TryAgain,
    });
    assert!(matches!(story.effects[..], [Effect::Join { .. }]));
    assert!(story.notices().is_empty());
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let mut story = Story::begin(Settings::default());
    story.command(Command::Join(LINK.into()));
    story.mesh(MeshEvent::Ended(End::Unreachable("os error 111".into())));
    let text = &story.texts()[0];
    assert!(
        text.contains("meet.example.org cannot be reached"),
        "{text}"
    );
    assert!(!text.contains("111"), "no codes: {text}");
}

#[test]
fn a_new_meeting_is_opened_and_then_joined() {
    let mut story = Story::begin(Settings::default());
    story.effects.clear();
    story.command(Command::NewMeeting);
    let opens = Effect::OpenMeeting {
        attempt: 1,
        server: None,
    };
    assert_eq!(story.effects, [opens]);
    let opened = Opened {
        link: LINK.parse().unwrap(),
        only_here: false,
    };
    story.state.handle_opened(1, Ok(opened), story.now);
    story.collect();
    assert!(matches!(story.effects.last(), Some(Effect::Join { .. })));
}

#[test]
fn a_meeting_that_opens_after_the_person_thought_better_of_it_is_not_joined() {
    let mut story = Story::begin(Settings::default());
    story.command(Command::NewMeeting);
    story.command(Command::Leave);
    story.effects.clear();
    let opened = Opened {
        link: LINK.parse().unwrap(),
        only_here: false,
    };
    story.state.handle_opened(1, Ok(opened), story.now);
    story.collect();
    assert!(story.effects.is_empty() && story.in_lobby());
}

#[test]
fn a_camera_that_fails_is_said_told_to_others_and_heals_by_itself() {
    let mut story = Story::in_a_call(0);
    assert!(story.state.view().me.picture.is_some());
    story.camera(CaptureState::Failed(DeviceTrouble::Unplugged));
    let view = story.state.view();
    assert!(view.me.picture.is_none() && view.me.camera);
    assert_eq!(view.notices[0].kind, NoticeKind::Camera);
    assert!(!story.described().unwrap().camera);
    assert!(!story.in_lobby(), "the call goes on");

    story.camera_runs();
    assert!(story.notices().is_empty());
    assert!(story.described().unwrap().camera);
}

#[test]
fn a_busy_camera_can_be_tried_again_or_done_without() {
    let mut story = Story::in_a_call(0);
    story.camera(CaptureState::Failed(DeviceTrouble::Busy));
    let notice = story.notices().remove(0);
    assert_eq!(notice.actions, [NoticeAction::TryAgain, NoticeAction::GoOn]);
    story.effects.clear();
    story.command(Command::Act {
        notice: notice.id,
        action: NoticeAction::TryAgain,
    });
    assert_eq!(story.effects, [Effect::OpenCamera(VideoSource::Default)]);
    story.camera(CaptureState::Failed(DeviceTrouble::Busy));
    let notice = story.notices().remove(0);
    story.effects.clear();
    story.command(Command::Act {
        notice: notice.id,
        action: NoticeAction::GoOn,
    });
    assert_eq!(story.effects, [Effect::CloseCamera]);
    assert!(story.notices().is_empty() && !story.state.view().me.camera);
}

#[test]
fn a_notice_that_was_put_away_stays_away_until_something_else_happens() {
    let mut story = Story::in_a_call(0);
    story.camera(CaptureState::Failed(DeviceTrouble::Busy));
    let notice = story.notices().remove(0);
    story.command(Command::Dismiss(notice.id));
    story.camera(CaptureState::Failed(DeviceTrouble::Busy));
    assert!(story.notices().is_empty());
    story.camera(CaptureState::Failed(DeviceTrouble::Missing));
    assert_eq!(story.notices().len(), 1);
}

#[test]
fn turning_the_camera_off_releases_it_and_tells_the_others() {
    let mut story = Story::in_a_call(0);
    story.command(Command::SetCamera(false));
    assert_eq!(story.effects[0], Effect::CloseCamera);
    assert!(!story.described().unwrap().camera);
    assert!(story.state.view().me.picture.is_none());
    let saved = |effect: &Effect| matches!(effect, Effect::Save(_));
    assert!(
        !story.effects.iter().any(saved),
        "a call changes no defaults"
    );
}

#[test]
fn the_others_are_told_of_a_microphone_that_is_off_or_gone() {
    let mut story = Story::in_a_call(0);
    story.command(Command::SetMicrophone(false));
    assert_eq!(story.effects[0], Effect::SetMicrophone(false));
    assert!(!story.described().unwrap().microphone);
    story.command(Command::SetMicrophone(true));
    assert!(story.described().unwrap().microphone);
    story.audio(|audio| audio.microphone_trouble = Some(DeviceTrouble::Unplugged));
    assert!(!story.described().unwrap().microphone);
    assert!(story.texts()[0].starts_with("Your microphone was unplugged"));
    story.audio(|_| ());
    assert!(story.described().unwrap().microphone);
    assert!(story.notices().is_empty());
}

#[test]
fn a_silent_microphone_is_worth_a_word_only_while_it_is_on() {
    let mut story = Story::in_a_call(0);
    story.command(Command::SetMicrophone(false));
    story.audio(|audio| audio.microphone_trouble = Some(DeviceTrouble::Silent));
    assert!(story.notices().is_empty());
    story.command(Command::SetMicrophone(true));
    assert_eq!(story.notices()[0].kind, NoticeKind::Microphone);
}

#[test]
fn trying_a_microphone_again_opens_it_anew_and_leaves_the_speaker_alone() {
    let mut story = Story::in_a_call(0);
    story.audio(|audio| audio.microphone_trouble = Some(DeviceTrouble::Busy));
    let notice = story.notices().remove(0).id;
    story.effects.clear();
    let action = NoticeAction::TryAgain;
    story.command(Command::Act { notice, action });
    let [
        Effect::ConfigureAudio(without),
        Effect::ConfigureAudio(with),
    ] = &story.effects[..]
    else {
        panic!("{:?}", story.effects);
    };
    assert_eq!(without.microphone, AudioSource::None);
    assert_eq!(with.microphone, AudioSource::Default);
    assert_eq!(without.speaker, with.speaker);
}

#[test]
fn who_comes_and_goes_is_said_for_five_seconds_but_not_who_was_there() {
    let mut story = Story::in_a_call(1);
    story.comes(1, "Grace");
    assert!(story.texts().is_empty());
    story.comes(2, "Edsger");
    assert_eq!(story.texts(), ["Edsger joined."]);
    story.passes(6 * SECOND);
    assert!(story.texts().is_empty());
    let lost = true;
    story.mesh(MeshEvent::ParticipantLeft { id: id(1), lost });
    assert_eq!(story.texts(), ["Grace's connection was lost."]);
    let names: Vec<_> = story.people().into_iter().map(|p| p.name).collect();
    assert_eq!(names, ["Edsger"]);
}

#[test]
fn a_crowd_at_the_door_does_not_fill_the_screen() {
    let mut story = Story::in_a_call(0);
    for number in 1..=40 {
        story.comes(number, &format!("Guest {number}"));
    }
    assert!(story.notices().len() <= 8);
    assert_eq!(story.people().len(), 40);
}

#[test]
fn a_link_that_connects_and_breaks_shows_on_the_tile() {
    let mut story = Story::in_a_call(0);
    story.comes(1, "Grace");
    let news = |event| MeshEvent::Link { id: id(1), event };
    story.mesh(news(LinkNews::Connected {
        path: Path::Direct,
        after: SECOND,
    }));
    assert_eq!(story.people()[0].stage, Stage::Connected);
    story.mesh(news(LinkNews::Interrupted));
    let since = story.now;
    assert_eq!(story.people()[0].stage, Stage::Reconnecting { since });
}

#[test]
fn a_lost_server_shows_and_ends_nothing() {
    let mut story = Story::in_a_call(0);
    story.comes(1, "Grace");
    story.mesh(MeshEvent::Reconnecting);
    let since = story.now;
    story.passes(SECOND);
    story.mesh(MeshEvent::Reconnecting);
    let Screen::Call(call) = story.state.view().screen else {
        panic!("the call goes on");
    };
    assert_eq!(call.reconnecting_since, Some(since));
    assert_eq!(call.participants.len(), 1);
    story.mesh(MeshEvent::Reconnected { resumed: true });
    let Screen::Call(call) = story.state.view().screen else {
        panic!("the call goes on");
    };
    assert_eq!(call.reconnecting_since, None);
}

#[test]
fn a_suspicion_says_whom_it_is_about_and_stays() {
    let mut story = Story::in_a_call(0);
    story.comes(1, "Grace");
    story.passes(6 * SECOND);
    for _ in 0..2 {
        story.mesh(MeshEvent::Suspicious(Suspicion::WrongParty(id(1))));
    }
    story.passes(60 * SECOND);
    let notices = story.notices();
    assert_eq!(notices.len(), 1, "said once");
    assert_eq!(notices[0].kind, NoticeKind::Security);
    assert!(notices[0].text.contains("Grace"));
}

#[test]
fn settings_take_effect_where_they_differ_and_are_saved() {
    let mut story = Story::in_a_call(0);
    let mut settings = story.state.view().settings;
    settings.speaker = "Headphones".into();
    settings.name = "Ada L".into();
    story.command(Command::Settings(Box::new(settings.clone())));
    let config = audio_config(&settings);
    let saved = Effect::Save(Box::new(settings.clone()));
    assert_eq!(story.effects[..2], [Effect::ConfigureAudio(config), saved]);
    assert_eq!(story.described().unwrap().name, "Ada L");
    story.effects.clear();
    story.command(Command::Settings(Box::new(settings)));
    assert!(story.effects.is_empty(), "nothing changed");
}

#[test]
fn settings_from_before_the_last_join_do_not_forget_it() {
    let mut story = Story::in_a_call(0);
    let stale = Settings {
        gain_control: false,
        ..Settings::default()
    };
    story.command(Command::Settings(Box::new(stale)));
    let settings = story.state.view().settings;
    assert_eq!(settings.recent[0].link, LINK);
    assert!(!settings.gain_control);
}

#[test]
fn choosing_no_camera_releases_it_and_choosing_one_opens_it() {
    let mut story = Story::in_a_call(0);
    let mut settings = story.state.view().settings;
    settings.camera = "none".into();
    story.command(Command::Settings(Box::new(settings.clone())));
    assert_eq!(story.effects[0], Effect::CloseCamera);
    story.effects.clear();
    settings.camera = "test-card".into();
    story.command(Command::Settings(Box::new(settings)));
    assert_eq!(story.effects[0], Effect::OpenCamera(VideoSource::TestCard));
}

#[test]
fn what_is_chosen_in_the_lobby_is_how_the_next_call_begins() {
    let mut story = Story::begin(Settings::default());
    story.effects.clear();
    story.command(Command::SetCamera(false));
    let Some(Effect::Save(settings)) = story.effects.last() else {
        panic!("{:?}", story.effects);
    };
    assert!(!settings.camera_on);
}

#[test]
fn a_meter_that_hardly_moves_paints_nothing() {
    let mut story = Story::in_a_call(0);
    story.state.poll_view();
    story.audio(|audio| audio.microphone_level = 0.005);
    assert!(story.state.poll_view().is_none());
    story.audio(|audio| audio.microphone_level = 0.5);
    let view = story.state.poll_view().expect("the meter moved");
    assert!((view.me.level - 0.5).abs() < f32::EPSILON);
}

#[test]
fn settings_that_cannot_be_read_or_saved_are_said() {
    let broken = SettingsError::Broken("/home/ada/settings.toml.broken".into());
    let frames = Latest::new().reader();
    let state = State::new(Settings::default(), Some(&broken), None, frames);
    let notice = state.view().notices.remove(0);
    assert_eq!(notice.kind, NoticeKind::Settings);
    assert!(notice.text.contains("settings.toml.broken"));
    let mut story = Story::begin(Settings::default());
    let full = SettingsError::Unsaved("no space left".into());
    story.state.handle_saved(Err(full));
    assert!(story.texts()[0].contains("could not be saved"));
}

#[test]
fn what_the_window_shows_is_told_once_and_repaints_nothing() {
    let mut story = Story::in_a_call(1);
    story.comes(1, "Bob");
    story.effects.clear();
    story.state.poll_view();
    let size = Size::new(640, 360);
    for _ in 0..2 {
        story.command(Command::Viewed(vec![(id(1).bits(), size)]));
    }
    assert_eq!(story.effects, [Effect::View(vec![(id(1), size)])]);
    assert!(story.state.poll_view().is_none());
    story.command(Command::Viewed(Vec::new()));
    assert_eq!(story.effects.last(), Some(&Effect::View(Vec::new())));
}
