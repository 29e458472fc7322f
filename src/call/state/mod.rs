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

mod meeting;
mod own;
mod relay;
mod trial;

use std::{collections::VecDeque, time::Instant};

use nonstop_wire::{MeetingLink, ParticipantId, Strain, Topology};

pub(super) use self::own::audio_config;
use super::{
    CallView, Command, DeviceLists, Happening, Joining, LobbyView, NoticeKind, Participant,
    Picture, Screen, SelfView, Side, View,
    notices::{Notices, Words},
    person::{LEVEL_STEP, Person},
    slowness::{self, Slow, SlowWatch, Witness},
    trial::Trial,
    words,
};
use crate::{
    config::{Settings, SettingsError},
    latest::Reader,
    media::{
        Size, VideoFrame, VideoSource,
        audio::{AudioConfig, AudioState},
        video::CaptureState,
    },
    mesh::{Me, MeshEvent, ProxyChoice},
};

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
        /// Whether the others must not learn our address.
        hide_address: bool,
        /// The proxy on the way out.
        proxy: ProxyChoice,
    },
    /// Tell everybody how we are.
    Describe(Me),
    /// Tell the others how large they are shown; who is not named is not.
    View(Vec<(ParticipantId, Size)>),
    /// Test the way to the server of this link, which leads to a room that nobody uses;
    /// [`State::handle_trial`] takes what is found.
    StartTrial {
        /// Where to.
        link: MeetingLink,
        /// The proxy on the way out.
        proxy: ProxyChoice,
    },
    /// Stop the test.
    StopTrial,
    /// Tell the others how all our links do together.
    Strain(Strain),
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
    trial: Option<Trial>,
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
    slow: SlowWatch,
    said_slow: Option<Slow>,
    /// Whether it was said that this network blocks UDP.
    said_blocked: bool,
    /// How the media of the call travels.
    topology: Topology,
    /// Whether our own media goes to somebody through the relay.
    sent_through_relay: bool,
    /// Who spoke last through the relay, the newest first.
    speakers: Vec<ParticipantId>,
    /// What the others were told last of how our links do.
    told_strain: Strain,
    /// What the window said last of how large the others are shown.
    viewed: Option<Vec<(ParticipantId, Size)>>,
}

impl Call {
    /// Returns what is known of the links that are up.
    fn witnesses(&self) -> Vec<Witness> {
        self.people.iter().filter_map(Person::witness).collect()
    }

    fn participants(&self) -> Vec<Participant> {
        let found = slowness::find(&self.witnesses());
        let side = |id| found.sides.iter().find(|(slow, _)| *slow == id);
        let participant = |person: &Person| Participant {
            side: side(person.id()).map_or(Side::Unknown, |(_, side)| *side),
            ..person.participant()
        };
        self.people.iter().map(participant).collect()
    }
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
            trial: None,
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
        // What the window shows changes nothing in what there is to paint.
        self.changed |= !matches!(command, Command::Viewed(_));
        match command {
            Command::NewMeeting => self.new_meeting(),
            Command::Join(text) => self.join(&text, now),
            Command::Leave => self.leave(),
            Command::TestConnection(link) => self.test_connection(link.as_deref()),
            Command::StopTest => self.stop_test(),
            Command::EndTest => self.end_test(),
            Command::SetMicrophone(on) => self.set_microphone(on),
            Command::SetCamera(on) => self.set_camera(on),
            Command::Settings(settings) => self.take_settings(*settings),
            Command::ListDevices => self.effects.push_back(Effect::ListDevices),
            Command::Act { notice, action } => self.act(notice, action, now),
            Command::Dismiss(notice) => self.notices.dismiss(notice),
            Command::Viewed(sizes) => self.viewed(&sizes),
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
            MeshEvent::Refused(code) => self.say(words::refused_again(code)),
            MeshEvent::Reconnected { resumed } => {
                self.notices.clear(NoticeKind::Meeting);
                self.happenings
                    .push_back(Happening::Reconnected { resumed });
                if let Some(call) = self.call_mut() {
                    call.reconnecting_since = None;
                }
            }
            MeshEvent::ParticipantJoined { id, picture, voice } => {
                self.came(id, picture, voice, now);
            }
            MeshEvent::ParticipantDescribed { id, state } => self.described(id, state, now),
            MeshEvent::ParticipantLeft { id, lost } => self.left(id, lost, now),
            MeshEvent::Link { id, event } => self.link_news(id, event, now),
            MeshEvent::Speakers(speakers) => self.speakers(speakers, now),
            MeshEvent::Topology(topology) => self.topology(topology),
            MeshEvent::SentThroughRelay(sent) => self.sent_through_relay(sent),
            MeshEvent::RelayUnreachable(unreachable) => self.relay_unreachable(unreachable),
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
        self.watch_slowness(now);
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
            trial: self.trial.as_ref().map(Trial::view),
        }
    }

    fn screen(&self) -> Screen {
        let joining = match &self.phase {
            Phase::InCall(call) => {
                return Screen::Call(CallView {
                    room: call.link.room().to_string(),
                    link: call.link.reveal(),
                    since: call.since,
                    participants: call.participants(),
                    reconnecting_since: call.reconnecting_since,
                    protection: call.protection(),
                });
            }
            Phase::Lobby => None,
            Phase::Opening { place, .. } => Some(Joining::Opening {
                host: place.clone(),
            }),
            Phase::Joining(call) => Some(Joining::Joining {
                room: call.link.room().to_string(),
                host: call.link.host().to_owned(),
            }),
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

#[cfg(test)]
mod tests;
