//! The one task that owns the session: a short loop that carries facts into [`State`] and does
//! what it asks for.

use std::{collections::VecDeque, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Command, DeviceLists, Entry, SessionConfig, View,
    camera::Camera,
    hosting::Hosting,
    meeting::new_meeting_link,
    state::{Effect, Opened, State, audio_config},
};
use crate::{
    clock,
    config::{Settings, SettingsError},
    latest::{Latest, Reader},
    media::audio::{Audio, AudioState},
    mesh::{Mesh, MeshCommand, MeshConfig, MeshEvent, ProxyChoice, Trial, TrialConfig, TrialNews},
};

/// How often meters are looked at: twenty times a second looks steady, and a view painted more
/// often than that would cost more than it shows.
const TICK: Duration = Duration::from_millis(50);
/// How long a goodbye may take before the meeting is left without one.
const GOODBYE: Duration = Duration::from_secs(2);

/// The session's task.
pub(super) struct Driver {
    state: State,
    config: SessionConfig,
    view: Latest<View>,
    commands: mpsc::Receiver<Command>,
    stop: CancellationToken,
    camera: Camera,
    audio: Audio,
    audio_state: Reader<AudioState>,
    mesh: Option<Mesh>,
    events: Option<mpsc::Receiver<MeshEvent>>,
    to_say: VecDeque<MeshCommand>,
    hosting: Option<Hosting>,
    trial: Option<Trial>,
    work: JoinSet<Done>,
    to_save: Option<Settings>,
    saving: bool,
}

/// What came of something that takes time.
enum Done {
    Devices(Option<DeviceLists>),
    Saved(Option<Result<(), SettingsError>>),
    Opened {
        attempt: u64,
        result: Result<Opened, String>,
        hosting: Option<Box<Hosting>>,
    },
    Left,
}

/// What woke the loop.
enum Fact {
    Stop,
    Command(Option<Command>),
    Said,
    Mesh(Option<MeshEvent>),
    Trial(Option<TrialNews>),
    Done(Done),
    Tick,
}

impl Driver {
    pub(super) fn new(
        config: SessionConfig,
        view: Latest<View>,
        commands: mpsc::Receiver<Command>,
        stop: CancellationToken,
    ) -> Self {
        let camera = Camera::new(config.max_size);
        let audio = Audio::start(audio_config(&config.settings));
        let audio_state = audio.state();
        let state = State::new(
            config.settings.clone(),
            config.settings_trouble.as_ref(),
            config.offered_link.clone(),
            camera.frames(),
        );
        Self {
            state,
            config,
            view,
            commands,
            stop,
            camera,
            audio,
            audio_state,
            mesh: None,
            events: None,
            to_say: VecDeque::new(),
            hosting: None,
            trial: None,
            work: JoinSet::new(),
            to_save: None,
            saving: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            self.do_effects();
            self.tell_diary().await;
            if let Some(view) = self.state.poll_view() {
                self.view.set(view);
            }
            let fact = tokio::select! {
                biased;
                // 1. The end comes before everything that it makes pointless.
                () = self.stop.cancelled() => Fact::Stop,
                // 2. A person waits for what they asked for.
                command = self.commands.recv() => Fact::Command(command),
                // 3. What we say to the mesh goes out before more is heard of it; while its queue
                //    is full the loop goes on, so that neither waits for the other for ever.
                () = say(&self.mesh, &mut self.to_say) => Fact::Said,
                // 4. What the mesh has to tell.
                event = hear(&mut self.events) => Fact::Mesh(event),
                // 5. A dozen words of a test.
                news = find(&mut self.trial) => Fact::Trial(news),
                // 6. What was begun earlier is done.
                Some(done) = self.work.join_next(), if !self.work.is_empty() => match done {
                    Ok(done) => Fact::Done(done),
                    Err(_) => continue,
                },
                // 7. Meters can wait: the others come seldom enough not to starve them.
                _ = tick.tick() => Fact::Tick,
            };
            if !self.handle(fact) {
                break;
            }
        }
        self.finish().await;
    }

    /// Carries a fact into the state. Returns whether the session goes on.
    fn handle(&mut self, fact: Fact) -> bool {
        let now = clock::now();
        match fact {
            Fact::Stop | Fact::Command(None) => return false,
            Fact::Command(Some(command)) => self.state.handle_command(command, now),
            Fact::Said => {}
            Fact::Mesh(Some(event)) => {
                let over = matches!(event, MeshEvent::Ended(_));
                self.state.handle_mesh(event, now);
                if over {
                    self.forget_mesh();
                }
            }
            Fact::Mesh(None) => {
                self.forget_mesh();
                let end = crate::mesh::End::Unreachable("the mesh is gone".to_owned());
                self.state.handle_mesh(MeshEvent::Ended(end), now);
            }
            Fact::Trial(news) => {
                if matches!(news, None | Some(TrialNews::Over)) {
                    self.trial = None;
                }
                self.state.handle_trial(news.unwrap_or(TrialNews::Over));
            }
            Fact::Done(done) => self.handle_done(done),
            Fact::Tick => {
                if let Some(camera) = self.camera.news() {
                    self.state.handle_camera(camera);
                }
                if let Some(audio) = self.audio_state.take_new() {
                    self.state.handle_audio(audio);
                }
                self.state.handle_tick(now);
            }
        }
        true
    }

    fn handle_done(&mut self, done: Done) {
        match done {
            Done::Devices(Some(devices)) => self.state.handle_devices(devices),
            Done::Devices(None) | Done::Left => {}
            Done::Saved(result) => {
                self.saving = false;
                if let Some(result) = result {
                    self.state.handle_saved(result);
                }
                self.save_next();
            }
            Done::Opened {
                attempt,
                result,
                hosting,
            } => {
                if self.hosting.is_none() {
                    self.hosting = hosting.map(|hosting| *hosting);
                }
                self.state.handle_opened(attempt, result, clock::now());
            }
        }
    }

    fn do_effects(&mut self) {
        while let Some(effect) = self.state.poll_effect() {
            match effect {
                Effect::OpenCamera(source) => self.camera.open(source),
                Effect::CloseCamera => self.camera.close(),
                Effect::ConfigureAudio(config) => self.audio.configure(config),
                Effect::SetMicrophone(on) => self.audio.set_microphone_on(on),
                Effect::ListDevices => self.list_devices(),
                Effect::Save(settings) => {
                    self.to_save = Some(*settings);
                    self.save_next();
                }
                Effect::OpenMeeting { attempt, server } => self.open_meeting(attempt, server),
                Effect::Join {
                    link,
                    me,
                    hide_address,
                    proxy,
                } => self.join(link, me, hide_address, proxy),
                Effect::Describe(me) => {
                    // Only the newest description matters.
                    (self.to_say).retain(|word| !matches!(word, MeshCommand::Describe(_)));
                    self.to_say.push_back(MeshCommand::Describe(me));
                }
                Effect::View(sizes) => {
                    (self.to_say).retain(|word| !matches!(word, MeshCommand::View(_)));
                    self.to_say.push_back(MeshCommand::View(sizes));
                }
                Effect::StartTrial { link, proxy } => {
                    self.trial = Some(Trial::start(TrialConfig { link, proxy }));
                }
                Effect::StopTrial => self.trial = None,
                Effect::Strain(strain) => {
                    (self.to_say).retain(|word| !matches!(word, MeshCommand::Strain(_)));
                    self.to_say.push_back(MeshCommand::Strain(strain));
                }
                Effect::Leave => self.leave(),
            }
        }
    }

    fn list_devices(&mut self) {
        let listed = on_thread("devices", super::list_devices);
        self.work.spawn(async { Done::Devices(listed.await.ok()) });
    }

    /// Saves the newest settings, one file at a time.
    fn save_next(&mut self) {
        let Some(file) = self.config.memory.clone() else {
            self.to_save = None;
            return;
        };
        if self.saving {
            return;
        }
        if let Some(settings) = self.to_save.take() {
            self.saving = true;
            let saved = on_thread("settings", move || file.save(&settings));
            self.work.spawn(async { Done::Saved(saved.await.ok()) });
        }
    }

    fn open_meeting(&mut self, attempt: u64, server: Option<String>) {
        let opened = move |result: Result<Opened, String>, hosting| Done::Opened {
            attempt,
            result,
            hosting,
        };
        if let Some(server) = server {
            let link = new_meeting_link(&server).map_err(|error| error.to_string());
            let result = link.map(|link| Opened {
                link,
                only_here: false,
            });
            self.work.spawn(async move { opened(result, None) });
        } else if let Some(hosting) = &self.hosting {
            let result = hosting.open().map_err(|error| error.to_string());
            self.work.spawn(async move { opened(result, None) });
        } else {
            self.work.spawn(async move {
                match Hosting::start().await {
                    Ok(hosting) => {
                        let result = hosting.open().map_err(|error| error.to_string());
                        opened(result, Some(Box::new(hosting)))
                    }
                    Err(error) => opened(Err(error.to_string()), None),
                }
            });
        }
    }

    fn join(
        &mut self,
        link: nonstop_wire::MeetingLink,
        me: crate::mesh::Me,
        hide_address: bool,
        proxy: ProxyChoice,
    ) {
        let (mesh, events) = Mesh::join(MeshConfig {
            link,
            path: self.config.path,
            relay_only: hide_address,
            proxy,
            max_bitrate: self.config.max_bitrate,
            max_size: self.config.max_size,
            record: self.config.record.clone(),
            camera: self.camera.frames(),
            audio: self.audio.clone(),
            me,
        });
        self.forget_mesh();
        self.mesh = Some(mesh);
        self.events = Some(events);
    }

    fn forget_mesh(&mut self) {
        self.mesh = None;
        self.events = None;
        self.to_say.clear();
    }

    /// Says goodbye beside the loop: the lobby is there at once.
    fn leave(&mut self) {
        let (Some(mesh), Some(mut events)) = (self.mesh.take(), self.events.take()) else {
            return;
        };
        self.to_say.clear();
        self.work.spawn(async move {
            let goodbye = async {
                mesh.command(MeshCommand::Leave).await;
                while let Some(event) = events.recv().await {
                    if matches!(event, MeshEvent::Ended(_)) {
                        break;
                    }
                }
            };
            if timeout(GOODBYE, goodbye).await.is_err() {
                tracing::debug!("left without a goodbye");
            }
            Done::Left
        });
    }

    async fn tell_diary(&mut self) {
        while let Some(happening) = self.state.poll_happening() {
            if let Some(diary) = &self.config.diary {
                let at = clock::now();
                let _ = diary.send(Entry { at, happening }).await;
            }
        }
    }

    /// Leaves, releases the devices, and waits for what was begun.
    async fn finish(mut self) {
        self.state.handle_command(Command::Leave, clock::now());
        self.do_effects();
        self.camera.close();
        self.tell_diary().await;
        let rest = async {
            while let Some(done) = self.work.join_next().await {
                if let Ok(Done::Saved(_)) = done {
                    self.saving = false;
                    self.save_next();
                }
            }
        };
        let _ = timeout(GOODBYE + TICK, rest).await;
    }
}

/// Hands the next word to the mesh; never returns while there is nothing to say.
async fn say(mesh: &Option<Mesh>, words: &mut VecDeque<MeshCommand>) {
    if let (Some(mesh), Some(command)) = (mesh, words.front().cloned()) {
        mesh.command(command).await;
        words.pop_front();
    } else {
        std::future::pending::<()>().await;
    }
}

/// Waits for the mesh's next event; never returns while there is no mesh.
async fn hear(events: &mut Option<mpsc::Receiver<MeshEvent>>) -> Option<MeshEvent> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for what the test finds next; never returns while there is none.
async fn find(trial: &mut Option<Trial>) -> Option<TrialNews> {
    match trial {
        Some(trial) => trial.next().await,
        None => std::future::pending().await,
    }
}

/// Does slow work on a named thread, whose result nobody has to wait for at the end.
fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || {
        let _ = sender.send(work());
    });
    if let Err(error) = started {
        tracing::warn!(%error, name, "no thread");
    }
    receiver
}
