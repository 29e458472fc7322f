//! The one task that owns the rooms. Connections tell it facts and it tells them what to send.
//!
//! ```text
//! connection ── Fact ──▶ reception: Rooms ── Effect ──▶ outbox of each connection
//!                            │    ▲
//!                            ▼    │
//!                            relay, if there is one
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
    relay::{self, Answer, RelayWay, Said},
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
    /// Somebody says something that is for the relay.
    Relaying {
        connection: ConnectionId,
        said: Said,
    },
    /// Somebody leaves on purpose.
    Leaving(ConnectionId),
    /// A connection ended.
    Lost(ConnectionId),
    /// Somebody asks how much there is.
    Counting(oneshot::Sender<Census>),
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) rooms: usize,
    pub(crate) participants: usize,
    /// Connections to the relay.
    pub(crate) relayed: usize,
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

    /// Returns how much there is, or `None` once the server has stopped.
    pub(crate) async fn census(&self) -> Option<Census> {
        let (answer, counted) = oneshot::channel();
        self.tell(Fact::Counting(answer)).await;
        counted.await.ok()
    }
}

/// Serves until all ways to it are gone.
pub(crate) async fn receive(
    rooms: Rooms,
    mut facts: mpsc::Receiver<Fact>,
    relay: Option<RelayWay>,
    mut answers: mpsc::Receiver<Answer>,
) {
    let mut desk = Desk {
        rooms,
        lines: HashMap::new(),
        relay,
    };
    loop {
        let timeout = desk.rooms.poll_timeout();
        let effects = tokio::select! {
            // 1. Seats that are over: due even while facts keep coming.
            biased;
            () = sleep_until(timeout) => desk.rooms.handle_timeout(clock::now()),
            // 2. What the relay answers: less than what makes it answer.
            Some(answer) = answers.recv() => desk.pass_on(answer),
            // 3. Whatever connections say.
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
    relay: Option<RelayWay>,
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
                self.rooms
                    .handle_join(connection, join, grant, clock::now())
            }
            Fact::Sending {
                connection,
                to,
                sealed,
            } => self.rooms.handle_send(connection, to, sealed),
            Fact::Relaying { connection, said } => self.ask_relay(connection, said),
            Fact::Leaving(connection) => self.rooms.handle_leave(connection, clock::now()),
            Fact::Lost(connection) => {
                self.lines.remove(&connection);
                self.rooms.handle_lost(connection, clock::now())
            }
            Fact::Counting(answer) => {
                // Whoever asked may have gone.
                let (rooms, participants) = self.rooms.census();
                let relayed = self.relay.as_ref().map_or(0, RelayWay::members);
                let _ = answer.send(Census {
                    rooms,
                    participants,
                    relayed,
                });
                Vec::new()
            }
        }
    }

    /// Hands on to the relay what somebody said. Whoever asks more of it than it takes in is cut.
    fn ask_relay(&mut self, connection: ConnectionId, said: Said) -> Vec<Effect> {
        let seat = self.rooms.seat(connection).cloned();
        let (Some(relay), Some((room, participant))) = (&self.relay, seat) else {
            return Vec::new();
        };
        let fact = relay::Fact::Said {
            room,
            participant,
            said,
        };
        match relay.tell(fact) {
            true => Vec::new(),
            false => self.cut(connection),
        }
    }

    /// Tells participants what the relay has to say; whoever is away is reminded on return.
    fn pass_on(&mut self, answer: Answer) -> Vec<Effect> {
        let connection = |participant| self.rooms.connection(&answer.room, participant);
        let to: Vec<_> = answer.to.iter().copied().filter_map(connection).collect();
        match to.is_empty() {
            true => Vec::new(),
            false => vec![Effect::Tell(to, answer.message)],
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
                // If the relay cannot be told, it notices the silence.
                Effect::GiveUp(room, participant) => {
                    if let Some(relay) = &self.relay {
                        relay.tell(relay::Fact::Gone { room, participant });
                    }
                }
                Effect::Remind(room, participant) => {
                    if let Some(relay) = &self.relay {
                        relay.tell(relay::Fact::Back { room, participant });
                    }
                }
            }
        }
    }

    /// Puts a text into a connection's outbox, or cuts the connection if it is full.
    fn tell(&mut self, connection: ConnectionId, text: Utf8Bytes) -> Vec<Effect> {
        match self.lines.get(&connection) {
            Some(line) if !line.outbox.push(text) => self.cut(connection),
            _ => Vec::new(),
        }
    }

    fn cut(&mut self, connection: ConnectionId) -> Vec<Effect> {
        debug!(connection = connection.0, "too slow: cut");
        if let Some(line) = self.lines.remove(&connection) {
            line.cut.cancel();
        }
        self.rooms.handle_lost(connection, clock::now())
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
