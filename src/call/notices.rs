//! The notices on a person's screen: at most one of each kind of trouble, a few of what passes.

use std::time::Instant;

use super::{Notice, NoticeAction, NoticeKind, NoticeLevel};

/// How many notices there are at most: whoever joins and leaves a hundred times must not fill the
/// screen. The oldest goes first.
const MOST: usize = 8;

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) level: NoticeLevel,
    pub(super) kind: NoticeKind,
    pub(super) text: String,
    pub(super) actions: Vec<NoticeAction>,
}

/// The notices, oldest first.
#[derive(Debug, Default)]
pub(super) struct Notices {
    posted: Vec<Posted>,
    ids: u64,
}

#[derive(Debug)]
struct Posted {
    notice: Notice,
    until: Option<Instant>,
}

impl Notices {
    /// Returns the notices as they are shown.
    pub(super) fn shown(&self) -> Vec<Notice> {
        self.posted.iter().map(|p| p.notice.clone()).collect()
    }

    /// Returns the kind of a notice.
    pub(super) fn kind(&self, id: u64) -> Option<NoticeKind> {
        let posted = self.posted.iter().find(|p| p.notice.id == id);
        posted.map(|p| p.notice.kind)
    }

    /// Adds a notice that goes by itself at `until`, or stays. Says nothing that already stands
    /// there. Returns the notice if it is new.
    pub(super) fn post(&mut self, words: Words, until: Option<Instant>) -> Option<Notice> {
        if self.posted.iter().any(|p| p.notice.text == words.text) {
            return None;
        }
        self.ids += 1;
        let notice = Notice {
            id: self.ids,
            level: words.level,
            kind: words.kind,
            text: words.text,
            actions: words.actions,
        };
        self.posted.push(Posted {
            notice: notice.clone(),
            until,
        });
        if self.posted.len() > MOST {
            self.posted.remove(0);
        }
        Some(notice)
    }

    /// Puts a notice in place of all others of its kind. Returns the notice if it is new.
    pub(super) fn replace(&mut self, words: Words) -> Option<Notice> {
        let (kind, text) = (words.kind, words.text.clone());
        self.posted
            .retain(|p| p.notice.kind != kind || p.notice.text == text);
        self.post(words, None)
    }

    /// Removes all of a kind.
    pub(super) fn clear(&mut self, kind: NoticeKind) {
        self.posted.retain(|p| p.notice.kind != kind);
    }

    /// Removes one.
    pub(super) fn dismiss(&mut self, id: u64) {
        self.posted.retain(|p| p.notice.id != id);
    }

    /// Removes what has stood long enough. Returns whether something went.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.posted.len();
        self.posted
            .retain(|p| p.until.is_none_or(|until| until > now));
        before != self.posted.len()
    }
}
