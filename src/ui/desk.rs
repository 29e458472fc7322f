//! What every screen works with while it is painted: the view, the commands, the settings in hand.

use std::time::{Duration, Instant};

use crate::{
    call::{Command, Commands, View},
    clock,
    config::Settings,
};

use super::video_paint::Pictures;

/// What a screen is given.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    /// What there is to paint.
    pub(super) view: &'a View,
    /// The settings in hand.
    pub(super) settings: &'a mut Draft,
    /// The moving pictures.
    pub(super) pictures: &'a mut Pictures,
    /// The way to ask for something.
    pub(super) commands: &'a Commands,
    /// Whether a panel lies over the screen, which then leaves the keys alone.
    pub(super) covered: bool,
}

impl Desk<'_> {
    /// Asks for something. Returns whether somebody will hear it.
    pub(super) fn send(&self, command: Command) -> bool {
        let sent = self.commands.send(command);
        if !sent {
            tracing::warn!("a command was refused: the queue is full, or nobody is listening");
        }
        sent
    }

    /// Changes the settings, and asks for them to be taken into force.
    pub(super) fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) {
        if let Some(command) = self.settings.change(change) {
            self.send(command);
        }
    }
}

/// The settings in hand: as in the view, with what was changed here and has not come back yet.
#[derive(Debug, Default)]
pub(super) struct Draft {
    current: Settings,
    sent: Option<Instant>,
}

/// How long a change made here may take to come back in a view.
const ROUND: Duration = Duration::from_millis(500);

impl Draft {
    /// Returns the settings.
    pub(super) fn current(&self) -> &Settings {
        &self.current
    }

    /// Takes over the settings of a new view, except right after a change made here, whose
    /// coming back would otherwise undo the change after it.
    pub(super) fn follow(&mut self, settings: &Settings) {
        let waiting = self
            .sent
            .is_some_and(|sent| clock::now().saturating_duration_since(sent) < ROUND);
        if *settings == self.current {
            self.sent = None;
        } else if !waiting {
            self.current = settings.clone();
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Settings)) -> Option<Command> {
        let before = self.current.clone();
        change(&mut self.current);
        (self.current != before).then(|| {
            self.sent = Some(clock::now());
            Command::Settings(Box::new(self.current.clone()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_not_undone_by_an_older_view() {
        let mut draft = Draft::default();
        let old = Settings::default();
        draft.follow(&old);
        assert!(
            draft
                .change(|settings| settings.name = "Ada".into())
                .is_some()
        );
        draft.follow(&old);
        assert_eq!(draft.current().name, "Ada");
    }

    #[test]
    fn what_changes_nothing_is_not_sent() {
        assert!(Draft::default().change(|_| {}).is_none());
    }
}
