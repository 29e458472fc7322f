//! The session as a pure machine: commands, events and the time go in; effects, entries of the
//! diary and the [`View`] come out. No clock, task, socket or device in here.
//!
//! ```text
//! Command ───▶ handle_command ─┐
//! MeshEvent ─▶ handle_mesh ────┤            ┌─▶ poll_effect ───▶ the driver does it
//! devices ───▶ handle_camera … ┼─▶ [State] ─┼─▶ poll_happening ▶ the diary
//! results ───▶ handle_opened … ┤            └─▶ poll_view ─────▶ the window
//! time ──────▶ handle_tick ────┘
//! ```
//!
//! After every input the others' idea of us is compared with the truth, so that no path through
//! the machine can forget to tell them that a microphone or camera went off.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nonstop_wire::{MeetingLink, ParticipantId};

use super::{
    CallView, Command, DeviceLists, Happening, LobbyView, NoticeAction, NoticeKind, Picture,
    Screen, SelfView, View,
    notices::{Notices, Words},
    person::{LEVEL_STEP, Person},
    words,
};
use crate::{
    config::{RecentMeeting, Settings, SettingsError},
    latest::Reader,
    media::{
        AudioSource, DeviceTrouble, VideoFrame, VideoSource,
        audio::{AudioConfig, AudioState, Processing},
        video::CaptureState,
    },
    mesh::{End, LinkNews, Me, MeshEvent},
};

/// How long what is only good to know stays on the screen.
const PASSING: Duration = Duration::from_secs(5);
/// What somebody is called who gave no name.
const NAMELESS: &str = "Guest";

/// Something the driver must do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Open this source of pictures in place of the one that is open.
    OpenCamera(VideoSource),
    /// Release the camera.
    CloseCamera,
    /// Use these sound devices.
    ConfigureAudio(AudioConfig),
    /// Mute or unmute.
    SetMicrophone(bool),
    /// List the devices; [`State::handle_devices`] takes the result.
    ListDevices,
    /// Save the settings; [`State::handle_saved`] takes the result.
    Save(Box<Settings>),
    /// Open a meeting; [`State::handle_opened`] takes the result, with this number.
    OpenMeeting {
        /// Tells attempts apart.
        attempt: u64,
        /// The server, or none to host it here.
        server: Option<String>,
    },
    /// Join a meeting.
    Join {
        /// The meeting.
        link: MeetingLink,
        /// Ourselves.
        me: Me,
    },
    /// Tell everybody how we are.
    Describe(Me),
    /// Leave the meeting, with a goodbye.
    Leave,
}

/// A new meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opened {
    /// Its link.
    pub(super) link: MeetingLink,
    /// Whether it can be joined from this computer only.
    pub(super) only_here: bool,
}

/// The session.
#[derive(Debug)]
pub(super) struct State {
    settings: Settings,
    phase: Phase,
    offered_link: Option<String>,
    microphone_on: bool,
    camera_on: bool,
    camera: Option<CaptureState>,
    own_frames: Reader<VideoFrame>,
    own_stream: u64,
    audio: AudioState,
    level: f32,
    devices: DeviceLists,
    notices: Notices,
    retry: Option<Command>,
    described: Option<Me>,
    attempts: u64,
    streams: u64,
    effects: VecDeque<Effect>,
    happenings: VecDeque<Happening>,
    changed: bool,
}

#[derive(Debug)]
enum Phase {
    Lobby,
    Opening { attempt: u64, place: String },
    Joining(Call),
    InCall(Call),
}

#[derive(Debug)]
struct Call {
    link: MeetingLink,
    since: Instant,
    others_at_first: usize,
    seen: usize,
    people: Vec<Person>,
    reconnecting_since: Option<Instant>,
}

impl State {
    /// Makes a session in the lobby. `own_frames` is where our own pictures are seen, whichever
    /// camera is open; `offered_link` waits in the lobby.
    pub(super) fn new(
        settings: Settings,
        trouble: Option<&SettingsError>,
        offered_link: Option<String>,
        own_frames: Reader<VideoFrame>,
    ) -> Self {
        let mut state = Self {
            phase: Phase::Lobby,
            offered_link,
            microphone_on: settings.microphone_on,
            camera_on: settings.camera_on,
            camera: None,
            own_frames,
            own_stream: 0,
            audio: AudioState::default(),
            level: 0.0,
            devices: DeviceLists::default(),
            notices: Notices::default(),
            retry: None,
            described: None,
            attempts: 0,
            streams: 0,
            effects: VecDeque::new(),
            happenings: VecDeque::new(),
            changed: true,
            settings,
        };
        if let Some(trouble) = trouble {
            state.say(words::settings(trouble));
        }
        let microphone = Effect::SetMicrophone(state.microphone_on);
        state.effects.push_back(microphone);
        state.open_or_close_camera();
        state
    }

    /// Takes what the person asks for.
    pub(super) fn handle_command(&mut self, command: Command, now: Instant) {
        self.changed = true;
        match command {
            Command::NewMeeting => self.new_meeting(),
            Command::Join(text) => self.join(&text, now),
            Command::Leave => self.leave(),
            Command::SetMicrophone(on) => self.set_microphone(on),
            Command::SetCamera(on) => self.set_camera(on),
            Command::Settings(settings) => self.take_settings(*settings),
            Command::ListDevices => self.effects.push_back(Effect::ListDevices),
            Command::Act { notice, action } => self.act(notice, action, now),
            Command::Dismiss(notice) => self.notices.dismiss(notice),
        }
        self.describe();
    }

    /// Takes what the mesh has to tell.
    pub(super) fn handle_mesh(&mut self, event: MeshEvent, now: Instant) {
        self.changed = true;
        match event {
            MeshEvent::Joined { me, others } => self.joined(me, others, now),
            MeshEvent::Ended(end) => self.ended(end),
            MeshEvent::Suspicious(suspicion) => {
                let name = self.name_of(words::suspect(&suspicion));
                self.happenings
                    .push_back(Happening::Suspicion(suspicion.clone()));
                self.post(words::suspicion(&suspicion, &name), None);
            }
            MeshEvent::Reconnecting => {
                self.happenings.push_back(Happening::Reconnecting);
                if let Some(call) = self.call_mut() {
                    call.reconnecting_since.get_or_insert(now);
                }
            }
            MeshEvent::Reconnected { resumed } => {
                self.happenings
                    .push_back(Happening::Reconnected { resumed });
                if let Some(call) = self.call_mut() {
                    call.reconnecting_since = None;
                }
            }
            MeshEvent::ParticipantJoined { id, picture, voice } => {
                self.happenings
                    .push_back(Happening::ParticipantJoined { id });
                let picture = Picture {
                    stream: self.next_stream(),
                    frames: picture,
                };
                if let Some(call) = self.call_mut() {
                    call.people.retain(|person| person.id() != id);
                    let newcomer = call.seen >= call.others_at_first;
                    call.seen += 1;
                    let person = Person::new(id, newcomer, picture, voice, now);
                    call.people.push(person);
                }
            }
            MeshEvent::ParticipantDescribed { id, state } => self.described(id, state, now),
            MeshEvent::ParticipantLeft { id, lost } => self.left(id, lost, now),
            MeshEvent::Link { id, event } => self.link_news(id, event, now),
        }
        self.describe();
    }

    /// Takes how the camera is now.
    pub(super) fn handle_camera(&mut self, camera: CaptureState) {
        if self.camera.as_ref() == Some(&camera) {
            return;
        }
        self.changed = true;
        match &camera {
            CaptureState::Opening => {}
            CaptureState::Running { .. } => {
                self.notices.clear(NoticeKind::Camera);
                self.own_stream = self.next_stream();
            }
            CaptureState::Failed(trouble) => self.say(words::camera(trouble)),
        }
        self.camera = Some(camera);
        self.describe();
    }

    /// Takes how the sound devices are now.
    pub(super) fn handle_audio(&mut self, audio: AudioState) {
        let level = audio.microphone_level;
        if (level - self.level).abs() >= LEVEL_STEP {
            self.level = level;
            self.changed = true;
        }
        let microphone_news = audio.microphone_trouble != self.audio.microphone_trouble;
        let speaker_news = audio.speaker_trouble != self.audio.speaker_trouble;
        self.audio = audio;
        if microphone_news {
            self.changed = true;
            self.show_microphone_trouble();
        }
        if speaker_news {
            self.changed = true;
            match &self.audio.speaker_trouble {
                Some(trouble) => self.say(words::speaker(trouble)),
                None => self.notices.clear(NoticeKind::Speaker),
            }
        }
        self.describe();
    }

    /// Takes the devices there are.
    pub(super) fn handle_devices(&mut self, devices: DeviceLists) {
        self.changed |= self.devices != devices;
        self.devices = devices;
    }

    /// Takes what came of saving the settings.
    pub(super) fn handle_saved(&mut self, result: Result<(), SettingsError>) {
        if let Err(error) = result {
            self.changed = true;
            self.say(words::settings(&error));
        }
    }

    /// Takes what came of opening a meeting: its link, or why not.
    pub(super) fn handle_opened(
        &mut self,
        attempt: u64,
        result: Result<Opened, String>,
        now: Instant,
    ) {
        if !matches!(self.phase, Phase::Opening { attempt: current, .. } if current == attempt) {
            return;
        }
        self.changed = true;
        match result {
            Ok(opened) => {
                if opened.only_here {
                    self.say(words::nobody_else_can_reach());
                }
                self.enter(opened.link, now);
            }
            Err(why) => {
                self.phase = Phase::Lobby;
                self.say(words::not_opened(&why));
            }
        }
        self.describe();
    }

    /// Looks at meters and at what passes with time.
    pub(super) fn handle_tick(&mut self, now: Instant) {
        let mut changed = self.notices.expire(now);
        if let Some(call) = self.call_mut() {
            for person in &mut call.people {
                changed |= person.handle_tick(now);
            }
        }
        self.changed |= changed;
    }

    /// Returns the next thing to do.
    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Returns the next thing that happened.
    pub(super) fn poll_happening(&mut self) -> Option<Happening> {
        self.happenings.pop_front()
    }

    /// Returns what is to be painted, if it changed since the last time.
    pub(super) fn poll_view(&mut self) -> Option<View> {
        std::mem::take(&mut self.changed).then(|| self.view())
    }

    fn view(&self) -> View {
        View {
            screen: self.screen(),
            me: SelfView {
                name: self.settings.name.clone(),
                picture: self.own_picture(),
                microphone: self.microphone_on,
                camera: self.camera_on,
                level: self.level,
            },
            notices: self.notices.shown(),
            devices: self.devices.clone(),
            settings: self.settings.clone(),
        }
    }

    fn screen(&self) -> Screen {
        let joining = match &self.phase {
            Phase::InCall(call) => {
                return Screen::Call(CallView {
                    room: call.link.room().to_string(),
                    link: call.link.reveal(),
                    since: call.since,
                    participants: call.people.iter().map(Person::participant).collect(),
                    reconnecting_since: call.reconnecting_since,
                });
            }
            Phase::Lobby => None,
            Phase::Opening { place, .. } => Some(place.clone()),
            Phase::Joining(call) => Some(format!("{} on {}", call.link.room(), call.link.host())),
        };
        Screen::Lobby(LobbyView {
            joining,
            offered_link: self.offered_link.clone(),
        })
    }

    fn own_picture(&self) -> Option<Picture> {
        matches!(self.camera, Some(CaptureState::Running { .. })).then(|| Picture {
            stream: self.own_stream,
            frames: self.own_frames.clone(),
        })
    }

    fn new_meeting(&mut self) {
        self.leave();
        self.retry = Some(Command::NewMeeting);
        self.attempts += 1;
        let server = self.settings.server.clone();
        let server = server.filter(|server| !server.trim().is_empty());
        let place = server.as_deref().unwrap_or("this computer").to_owned();
        self.phase = Phase::Opening {
            attempt: self.attempts,
            place,
        };
        self.effects.push_back(Effect::OpenMeeting {
            attempt: self.attempts,
            server,
        });
    }

    fn join(&mut self, text: &str, now: Instant) {
        self.notices.clear(NoticeKind::Link);
        match text.parse::<MeetingLink>() {
            Ok(link) => {
                self.leave();
                self.retry = Some(Command::Join(text.to_owned()));
                self.enter(link, now);
            }
            Err(error) => self.say(words::link(&error)),
        }
    }

    fn enter(&mut self, link: MeetingLink, now: Instant) {
        let me = self.me();
        self.described = Some(me.clone());
        self.phase = Phase::Joining(Call {
            link: link.clone(),
            since: now,
            others_at_first: 0,
            seen: 0,
            people: Vec::new(),
            reconnecting_since: None,
        });
        self.effects.push_back(Effect::Join { link, me });
    }

    /// Leaves whatever is going on, for the lobby.
    fn leave(&mut self) {
        let before = std::mem::replace(&mut self.phase, Phase::Lobby);
        self.described = None;
        self.notices.clear(NoticeKind::Link);
        self.notices.clear(NoticeKind::Meeting);
        self.notices.clear(NoticeKind::Presence);
        match before {
            Phase::Lobby | Phase::Opening { .. } => {}
            Phase::Joining(_) => self.effects.push_back(Effect::Leave),
            Phase::InCall(_) => {
                self.effects.push_back(Effect::Leave);
                self.happenings.push_back(Happening::Ended(End::Left));
            }
        }
    }

    fn joined(&mut self, me: ParticipantId, others: usize, now: Instant) {
        let Phase::Joining(mut call) = std::mem::replace(&mut self.phase, Phase::Lobby) else {
            return;
        };
        let after = now.saturating_duration_since(call.since);
        call.since = now;
        call.others_at_first = others;
        self.offered_link = None;
        self.settings.remember(RecentMeeting {
            room: call.link.room().to_string(),
            link: call.link.reveal(),
        });
        self.phase = Phase::InCall(call);
        self.save();
        self.happenings
            .push_back(Happening::Joined { me, others, after });
    }

    fn ended(&mut self, end: End) {
        let host = self.call_mut().map(|call| call.link.host().to_owned());
        self.phase = Phase::Lobby;
        self.described = None;
        self.notices.clear(NoticeKind::Presence);
        match &end {
            End::Left => {}
            End::Refused(code) => self.say(words::refused(*code)),
            End::Unreachable(_) => self.say(words::unreachable(&host.unwrap_or_default())),
        }
        self.happenings.push_back(Happening::Ended(end));
    }

    fn described(
        &mut self,
        id: ParticipantId,
        state: nonstop_wire::ParticipantState,
        now: Instant,
    ) {
        let Some(person) = self.person_mut(id) else {
            return;
        };
        let first = !person.described;
        let (microphone, camera) = (state.microphone, state.camera);
        person.describe(state);
        let announced = first && person.newcomer;
        let name = self.name_of(id);
        if announced {
            self.post(words::joined(&name), Some(now + PASSING));
        }
        self.happenings.push_back(Happening::ParticipantDescribed {
            id,
            name,
            microphone,
            camera,
        });
    }

    fn left(&mut self, id: ParticipantId, lost: bool, now: Instant) {
        let described = self.person_mut(id).is_some_and(|person| person.described);
        let name = self.name_of(id);
        if described {
            self.post(words::left(&name, lost), Some(now + PASSING));
        }
        if let Some(call) = self.call_mut() {
            call.people.retain(|person| person.id() != id);
        }
        self.happenings
            .push_back(Happening::ParticipantLeft { id, name, lost });
    }

    fn link_news(&mut self, id: ParticipantId, news: LinkNews, now: Instant) {
        if let Some(person) = self.person_mut(id) {
            person.handle_news(&news, now);
        }
        self.happenings.push_back(Happening::Link { id, news });
    }

    fn set_microphone(&mut self, on: bool) {
        self.microphone_on = on;
        self.effects.push_back(Effect::SetMicrophone(on));
        self.show_microphone_trouble();
        if self.in_lobby() && self.settings.microphone_on != on {
            self.settings.microphone_on = on;
            self.save();
        }
    }

    fn set_camera(&mut self, on: bool) {
        if on && self.camera_source() == VideoSource::None {
            self.say(words::no_camera_chosen());
            return;
        }
        if self.camera_on != on {
            self.camera_on = on;
            self.open_or_close_camera();
        }
        if self.in_lobby() && self.settings.camera_on != on {
            self.settings.camera_on = on;
            self.save();
        }
    }

    fn take_settings(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        let now = &self.settings;
        if audio_config(&before) != audio_config(now) {
            let config = audio_config(now);
            self.effects.push_back(Effect::ConfigureAudio(config));
        }
        let (camera_on, microphone_on) = (now.camera_on, now.microphone_on);
        if before.camera != now.camera {
            self.open_or_close_camera();
        }
        if before.microphone_on != microphone_on && self.in_lobby() {
            self.set_microphone(microphone_on);
        }
        if before.camera_on != camera_on && self.in_lobby() {
            self.set_camera(camera_on);
        }
        if before != self.settings {
            self.save();
        }
    }

    fn act(&mut self, notice: u64, action: NoticeAction, now: Instant) {
        let kind = self.notices.kind(notice);
        self.notices.dismiss(notice);
        match (action, kind) {
            (NoticeAction::TryAgain, Some(NoticeKind::Camera)) => self.open_or_close_camera(),
            (NoticeAction::TryAgain, Some(NoticeKind::Microphone | NoticeKind::Speaker)) => {
                let config = audio_config(&self.settings);
                self.effects.push_back(Effect::ConfigureAudio(config));
            }
            (NoticeAction::TryAgain, Some(NoticeKind::Meeting)) if self.in_lobby() => {
                if let Some(command) = self.retry.clone() {
                    self.handle_command(command, now);
                }
            }
            (NoticeAction::GoOn, Some(NoticeKind::Camera)) => self.set_camera(false),
            _ => {}
        }
    }

    fn open_or_close_camera(&mut self) {
        self.notices.clear(NoticeKind::Camera);
        self.camera = None;
        let effect = match self.camera_source() {
            VideoSource::None => Effect::CloseCamera,
            _ if !self.camera_on => Effect::CloseCamera,
            source => Effect::OpenCamera(source),
        };
        self.effects.push_back(effect);
    }

    /// A silent microphone is worth a word only while it should be heard.
    fn show_microphone_trouble(&mut self) {
        match &self.audio.microphone_trouble {
            Some(DeviceTrouble::Silent) | None if !self.microphone_on => {
                self.notices.clear(NoticeKind::Microphone);
            }
            Some(trouble) => self.say(words::microphone(trouble)),
            None => self.notices.clear(NoticeKind::Microphone),
        }
    }

    fn camera_source(&self) -> VideoSource {
        let Ok(source) = self.settings.camera.parse();
        source
    }

    /// Returns what the others should believe of us.
    fn me(&self) -> Me {
        let name = self.settings.name.trim();
        let name = if name.is_empty() { NAMELESS } else { name };
        let silent = audio_config(&self.settings).microphone == AudioSource::None
            || self.audio.microphone_trouble.is_some();
        Me {
            name: name.to_owned(),
            microphone: self.microphone_on && !silent,
            camera: matches!(self.camera, Some(CaptureState::Running { .. })),
        }
    }

    fn describe(&mut self) {
        let me = self.me();
        if self.described.as_ref().is_some_and(|before| *before != me) {
            self.described = Some(me.clone());
            self.effects.push_back(Effect::Describe(me));
        }
    }

    fn say(&mut self, words: Words) {
        if let Some(notice) = self.notices.replace(words) {
            self.happenings.push_back(Happening::Notice(notice));
        }
    }

    fn post(&mut self, words: Words, until: Option<Instant>) {
        if let Some(notice) = self.notices.post(words, until) {
            self.happenings.push_back(Happening::Notice(notice));
        }
    }

    fn save(&mut self) {
        let settings = Box::new(self.settings.clone());
        self.effects.push_back(Effect::Save(settings));
    }

    fn next_stream(&mut self) -> u64 {
        self.streams += 1;
        self.streams
    }

    fn in_lobby(&self) -> bool {
        !matches!(self.phase, Phase::InCall(_))
    }

    fn call_mut(&mut self) -> Option<&mut Call> {
        match &mut self.phase {
            Phase::Joining(call) | Phase::InCall(call) => Some(call),
            Phase::Lobby | Phase::Opening { .. } => None,
        }
    }

    fn person_mut(&mut self, id: ParticipantId) -> Option<&mut Person> {
        let people = &mut self.call_mut()?.people;
        people.iter_mut().find(|person| person.id() == id)
    }

    fn name_of(&mut self, id: ParticipantId) -> String {
        let name = self.person_mut(id).map_or("", |person| person.name());
        if name.is_empty() { "Somebody" } else { name }.to_owned()
    }
}

/// Returns the sound devices that these settings choose.
pub(super) fn audio_config(settings: &Settings) -> AudioConfig {
    let (Ok(microphone), Ok(speaker)) = (settings.microphone.parse(), settings.speaker.parse());
    AudioConfig {
        microphone,
        speaker,
        processing: Processing {
            echo_cancellation: settings.echo_cancellation,
            noise_suppression: settings.noise_suppression,
            gain_control: settings.gain_control,
        },
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
