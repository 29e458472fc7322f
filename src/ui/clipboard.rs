//! The system's clipboard, read on a thread of its own: whoever holds the clipboard answers when
//! it likes, and the window must not wait for it.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use crate::latest::{Latest, Reader};

/// What lies on the clipboard.
#[derive(Debug)]
pub struct Clipboard {
    ask: SyncSender<()>,
    text: Reader<String>,
}

impl Clipboard {
    /// Starts the thread, which ends when this is dropped. Without a clipboard nothing is ever
    /// found on it.
    pub fn system(found: impl Fn() + Send + Sync + 'static) -> Self {
        let text = Latest::new();
        let reader = text.reader();
        // One question can wait; while it does, another would bring the same answer.
        let (ask, asked) = sync_channel(1);
        let started = thread::Builder::new()
            .name("clipboard".into())
            .spawn(move || {
                let mut clipboard = match arboard::Clipboard::new() {
                    Ok(clipboard) => clipboard,
                    Err(error) => {
                        tracing::debug!(%error, "no clipboard");
                        return;
                    }
                };
                while asked.recv().is_ok() {
                    if let Ok(content) = clipboard.get_text() {
                        text.set(content);
                        found();
                    }
                }
            });
        if let Err(error) = started {
            tracing::warn!(%error, "the clipboard is not watched");
        }
        Self { ask, text: reader }
    }

    /// Makes a clipboard on which that text lies.
    pub fn holding(text: &str) -> Self {
        Self {
            ask: sync_channel(1).0,
            text: Latest::with(text.to_owned()).reader(),
        }
    }

    /// Has the clipboard read again.
    pub fn refresh(&self) {
        // Full: it is about to be read anyway. Closed: there is no clipboard.
        let _ = self.ask.try_send(());
    }

    /// Returns what was found on it last.
    pub fn text(&self) -> Option<String> {
        self.text.newest()
    }
}
