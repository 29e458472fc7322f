//! The connection test, before anybody waits.

use nonstop_wire::MeetingLink;

use super::{Effect, Phase, State};
use crate::{
    call::{
        meeting::{meeting_beside, new_meeting_link},
        trial::Trial,
        words,
    },
    mesh::TrialNews,
};

impl State {
    /// Tests the way to the server of `link`, or else to that of the settings.
    pub(super) fn test_connection(&mut self, link: Option<&str>) {
        if !matches!(self.phase, Phase::Lobby) {
            return;
        }
        self.end_test();
        let meeting = link.and_then(|text| text.parse::<MeetingLink>().ok());
        let server = self.settings.server.as_deref().map(str::trim);
        let server = server.filter(|server| !server.is_empty());
        // A room of our own: nobody in the meeting is to see us come and go.
        let room = match (meeting, server) {
            (Some(meeting), _) => meeting_beside(&meeting),
            (None, Some(server)) => new_meeting_link(server),
            (None, None) => {
                self.trial = Some(Trial::nowhere());
                return;
            }
        };
        match room {
            Ok(link) => {
                self.trial = Some(Trial::new(link.host()));
                let proxy = self.settings.proxy.clone();
                self.effects.push_back(Effect::StartTrial { link, proxy });
            }
            Err(error) => self.say(words::not_tested(&error.to_string())),
        }
    }

    /// Takes in what the test found.
    pub(in crate::call) fn handle_trial(&mut self, news: TrialNews) {
        if let Some(trial) = &mut self.trial {
            trial.handle(news);
            self.changed = true;
        }
    }

    /// Stops the test; what was found stays.
    pub(super) fn stop_test(&mut self) {
        if let Some(trial) = self.trial.as_mut().filter(|trial| trial.running()) {
            trial.stop();
            self.effects.push_back(Effect::StopTrial);
        }
    }

    /// Stops the test and puts it away.
    pub(super) fn end_test(&mut self) {
        self.stop_test();
        self.trial = None;
    }
}
