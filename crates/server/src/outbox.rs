//! What waits to be sent to one participant: bounded in messages and in bytes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::mpsc;

/// Makes a queue that holds `messages` and `bytes`.
pub(crate) fn outbox(messages: usize, bytes: usize) -> (Outbox, Pending) {
    let (sender, receiver) = mpsc::channel(messages.max(1));
    let waiting = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox {
        sender,
        waiting: Arc::clone(&waiting),
        bytes,
    };
    (outbox, Pending { receiver, waiting })
}

/// The end into which messages are put.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: mpsc::Sender<Utf8Bytes>,
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Outbox {
    /// Puts a message in, without waiting; returns false if the queue is full.
    pub(crate) fn push(&self, text: Utf8Bytes) -> bool {
        let length = text.len();
        let waiting = self.waiting.fetch_add(length, Ordering::Relaxed);
        waiting + length <= self.bytes && self.sender.try_send(text).is_ok()
    }
}

/// The end from which the connection takes messages.
#[derive(Debug)]
pub(crate) struct Pending {
    receiver: mpsc::Receiver<Utf8Bytes>,
    waiting: Arc<AtomicUsize>,
}

impl Pending {
    /// Waits for a message; `None` after the last one, when the connection is to be closed.
    pub(crate) async fn next(&mut self) -> Option<Utf8Bytes> {
        let text = self.receiver.recv().await?;
        self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_queue_is_full_by_messages_or_by_bytes() {
        let (outbox, mut pending) = outbox(3, 10);
        assert!(outbox.push("1234".into()));
        assert!(outbox.push("5678".into()));
        assert_eq!(pending.next().await.as_deref(), Some("1234"));
        assert!(outbox.push("9".into()));
        assert!(outbox.push("0".into()));
        assert!(!outbox.push("1".into()));
        let (outbox, _pending) = super::outbox(3, 10);
        assert!(!outbox.push("12345678901".into()));
    }
}
