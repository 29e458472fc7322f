//! The one task that owns the rooms. Connections tell it facts and it tells them what to send.
//!
//! ```text
//! connection ── Fact ──▶ reception: Rooms ── Effect ──▶ outbox of each connection
//! ```
//!
//! It never waits for a connection: one whose outbox is full is cut.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use axum::extract::ws::Utf8Bytes;
use nonstop_wire::ParticipantId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    clock,
    outbox::Outbox,
    rooms::{ConnectionId, Effect, Grant, Join, Rooms},
};

/// How many facts may wait. When it is full, connections wait, and with them whoever sends.
const FACTS: usize = 1024;

/// What a connection has to say.
#[derive(Debug)]
pub(crate) enum Fact {
    /// Somebody wants to join.
    Joining {
        connection: ConnectionId,
        join: Join,
        grant: Grant,
        line: Line,
    },
    /// A payload is to be passed on.
    Sending {
        connection: ConnectionId,
        to: ParticipantId,
        sealed: String,
    },
    /// Somebody leaves on purpose.
    Leaving(ConnectionId),
    /// A connection ended.
    Lost(ConnectionId),
    /// Somebody asks how many rooms and participants there are.
    Counting(oneshot::Sender<(usize, usize)>),
}

/// How to reach a connection.
#[derive(Debug)]
pub(crate) struct Line {
    /// What it is to send; when dropped, the connection sends what waits and ends.
    pub(crate) outbox: Outbox,
    /// Ends the connection at once.
    pub(crate) cut: CancellationToken,
}

/// The way to the task.
#[derive(Debug)]
pub(crate) struct Reception {
    facts: mpsc::Sender<Fact>,
    connections: AtomicU64,
}

impl Reception {
    /// Makes the way to the task, and the task's end of it.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Fact>) {
        let (facts, receiver) = mpsc::channel(FACTS);
        let connections = AtomicU64::new(0);
        (Self { facts, connections }, receiver)
    }

    /// Returns an id that no connection had before.
    pub(crate) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells a fact; waits while the queue is full. Once the server has stopped, nobody listens.
    pub(crate) async fn tell(&self, fact: Fact) {
        let _ = self.facts.send(fact).await;
    }

    /// Returns how many rooms there are and how many participants, or `None` once the server
    /// has stopped.
    pub(crate) async fn census(&self) -> Option<(usize, usize)> {
        let (answer, counted) = oneshot::channel();
        self.tell(Fact::Counting(answer)).await;
        counted.await.ok()
    }
}

/// Serves until all ways to it are gone.
pub(crate) async fn receive(rooms: Rooms, mut facts: mpsc::Receiver<Fact>) {
    let mut desk = Desk {
        rooms,
        lines: HashMap::new(),
    };
    loop {
        let timeout = desk.rooms.poll_timeout();
        let effects = tokio::select! {
            // 1. Seats that are over: due even while facts keep coming.
            biased;
            () = sleep_until(timeout) => desk.rooms.handle_timeout(clock::now()),
            // 2. Whatever connections say.
            fact = facts.recv() => match fact {
                Some(fact) => desk.handle(fact),
                None => return,
            },
        };
        desk.perform(effects);
    }
}

struct Desk {
    rooms: Rooms,
    lines: HashMap<ConnectionId, Line>,
}

impl Desk {
    fn handle(&mut self, fact: Fact) -> Vec<Effect> {
        match fact {
            Fact::Joining {
                connection,
                join,
                grant,
                line,
            } => {
                self.lines.insert(connection, line);
                self.rooms.handle_join(connection, join, grant)
            }
            Fact::Sending {
                connection,
                to,
                sealed,
            } => self.rooms.handle_send(connection, to, sealed),
            Fact::Leaving(connection) => self.rooms.handle_leave(connection),
            Fact::Lost(connection) => {
                self.lines.remove(&connection);
                self.rooms.handle_lost(connection, clock::now())
            }
            Fact::Counting(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.rooms.census());
                Vec::new()
            }
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Tell(connections, message) => {
                    let text = Utf8Bytes::from(message.encode());
                    for connection in connections {
                        effects.extend(self.tell(connection, text.clone()));
                    }
                }
                Effect::Close(connection) => {
                    self.lines.remove(&connection);
                }
            }
        }
    }

    /// Puts a text into a connection's outbox, or cuts the connection if it is full.
    fn tell(&mut self, connection: ConnectionId, text: Utf8Bytes) -> Vec<Effect> {
        match self.lines.get(&connection) {
            Some(line) if !line.outbox.push(text) => {
                debug!(connection = connection.0, "too slow: cut");
                line.cut.cancel();
                self.lines.remove(&connection);
                self.rooms.handle_lost(connection, clock::now())
            }
            _ => Vec::new(),
        }
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
