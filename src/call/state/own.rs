//! Our own side: devices, settings, and what the others are told of us.

use std::time::Instant;

use super::{Effect, State};
use crate::{
    call::{NoticeAction, NoticeKind, words},
    config::Settings,
    media::{
        AudioSink, AudioSource, DeviceTrouble, VideoSource,
        audio::{AudioConfig, Processing},
        video::CaptureState,
    },
    mesh::Me,
};

/// What somebody is called who gave no name.
const NAMELESS: &str = "Guest";

impl State {
    pub(super) fn set_microphone(&mut self, on: bool) {
        self.microphone_on = on;
        self.effects.push_back(Effect::SetMicrophone(on));
        self.show_microphone_trouble();
        if self.in_lobby() && self.settings.microphone_on != on {
            self.settings.microphone_on = on;
            self.save();
        }
    }

    pub(super) fn set_camera(&mut self, on: bool) {
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

    pub(super) fn take_settings(&mut self, mut settings: Settings) {
        // The window's copy may be older than the last join: that list is the session's own.
        settings.recent.clone_from(&self.settings.recent);
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

    pub(super) fn act(&mut self, notice: u64, action: NoticeAction, now: Instant) {
        let kind = self.notices.kind(notice);
        self.notices.dismiss(notice);
        match (action, kind) {
            (NoticeAction::TryAgain, Some(NoticeKind::Camera)) => self.open_or_close_camera(),
            (NoticeAction::TryAgain, Some(NoticeKind::Microphone | NoticeKind::Speaker)) => {
                self.open_audio_again(kind);
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

    pub(super) fn open_or_close_camera(&mut self) {
        self.notices.clear(NoticeKind::Camera);
        self.camera = None;
        let effect = match self.camera_source() {
            VideoSource::None => Effect::CloseCamera,
            _ if !self.camera_on => Effect::CloseCamera,
            source => Effect::OpenCamera(source),
        };
        self.effects.push_back(effect);
    }

    /// Closes the device that is in trouble, so that choosing it opens it anew.
    fn open_audio_again(&mut self, kind: Option<NoticeKind>) {
        let config = audio_config(&self.settings);
        let mut without = config.clone();
        match kind {
            Some(NoticeKind::Microphone) => without.microphone = AudioSource::None,
            _ => without.speaker = AudioSink::None,
        }
        for config in [without, config] {
            self.effects.push_back(Effect::ConfigureAudio(config));
        }
    }

    /// A silent microphone is worth a word only while it should be heard.
    pub(super) fn show_microphone_trouble(&mut self) {
        match &self.audio.microphone_trouble {
            Some(DeviceTrouble::Silent) | None if !self.microphone_on => {
                self.notices.clear(NoticeKind::Microphone);
            }
            Some(trouble) => self.say(words::microphone(trouble)),
            None => self.notices.clear(NoticeKind::Microphone),
        }
    }

    pub(super) fn camera_source(&self) -> VideoSource {
        let Ok(source) = self.settings.camera.parse();
        source
    }

    /// Returns what the others should believe of us.
    pub(super) fn me(&self) -> Me {
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

    pub(super) fn describe(&mut self) {
        let me = self.me();
        if self.described.as_ref().is_some_and(|before| *before != me) {
            self.described = Some(me.clone());
            self.effects.push_back(Effect::Describe(me));
        }
    }
}

/// Returns the sound devices that these settings choose.
pub(in crate::call) fn audio_config(settings: &Settings) -> AudioConfig {
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
