//! One WebSocket: from `join` to the end.
//!
//! What comes in is parsed and slowed down here; what goes out waits in the outbox. A connection
//! that is silent, too fast or not of this protocol ends, and the reception is told.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use nonstop_wire::{ClientMessage, ErrorCode, ServerMessage, Token};
use tokio::time::{MissedTickBehavior, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::{
    bucket::Bucket,
    clock,
    config::Config,
    ice::{Announcement, Reached},
    outbox::{Pending, outbox},
    reception::{Fact, Line, Reception},
    relay::Said,
    rooms::{self, ConnectionId, Grant, Join},
};

/// What counts as one message against the rate: longer ones count as several.
const MESSAGE_UNIT: f64 = 4096.0;
/// How long the other side has to answer a closing handshake.
const GOODBYE: Duration = Duration::from_secs(1);

/// What every connection of a server shares.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) config: Config,
    /// What participants are told of the server's own TURN server.
    pub(crate) announcement: Option<Announcement>,
    pub(crate) reception: Reception,
    /// Cancelled when the server stops.
    pub(crate) stop: CancellationToken,
}

/// How a conversation ended.
#[derive(Debug)]
enum End {
    /// The other side is gone, or does not read or answer.
    Broken,
    /// The reception has nothing more to say.
    Dismissed,
    /// Something was refused.
    Refused(ServerMessage),
    /// The server stops.
    Stopping,
}

/// Serves one WebSocket until it ends.
pub(crate) async fn serve(mut socket: WebSocket, house: Arc<House>, reached: Reached) {
    let end = tokio::select! {
        () = house.stop.cancelled() => End::Stopping,
        end = converse(&mut socket, &house, &reached) => end,
    };
    debug!(?end, "connection ends");
    let (code, last_words) = match end {
        End::Broken => return,
        End::Dismissed => (close_code::NORMAL, None),
        End::Refused(message) => (close_code::POLICY, Some(message)),
        End::Stopping => (close_code::AWAY, None),
    };
    // Whoever does not take a goodbye is left without.
    let _ = timeout(GOODBYE, say_goodbye(&mut socket, code, last_words)).await;
}

async fn converse(socket: &mut WebSocket, house: &House, reached: &Reached) -> End {
    let greeting = timeout(house.config.timing.greeting, greeting(socket)).await;
    let join = match greeting {
        Ok(Ok(join)) => join,
        Ok(Err(end)) => return end,
        Err(_) => return refused(ErrorCode::NotJoined),
    };
    let Some(resume) = random_token() else {
        return End::Broken;
    };

    let limits = &house.config.limits;
    let (outbox, pending) = outbox(limits.queued_messages, limits.queued_bytes);
    let connection = house.reception.next_connection();
    let cut = CancellationToken::new();
    let unix_time = clock::unix_time();
    let ice_servers = match &house.announcement {
        Some(own) => own.servers_for(join.participant, unix_time, reached),
        None => house.config.ice.servers_for(join.participant, unix_time),
    };
    let grant = Grant {
        resume,
        ice_servers,
    };
    let line = Line {
        outbox,
        cut: cut.clone(),
    };
    let joining = Fact::Joining {
        connection,
        join,
        grant,
        line,
    };
    house.reception.tell(joining).await;

    let now = clock::now();
    let seated = Seated {
        connection,
        house,
        reached,
        pending,
        messages: Bucket::new(limits.messages, now),
        excess_since: None,
        heard: now,
    };
    let end = tokio::select! {
        () = cut.cancelled() => End::Broken,
        end = seated.converse(socket) => end,
    };
    house.reception.tell(Fact::Lost(connection)).await;
    end
}

/// Waits for the first message, which has to be `join`.
async fn greeting(socket: &mut WebSocket) -> Result<Join, End> {
    loop {
        match parse(socket.recv().await)? {
            Heard::Sign | Heard::Said(ClientMessage::Unknown) => {}
            Heard::Said(ClientMessage::Join {
                version: _,
                room,
                admission,
                participant,
                resume,
            }) => {
                return Ok(Join {
                    room,
                    admission,
                    participant,
                    resume,
                });
            }
            Heard::Said(_) => {
                return Err(refused(ErrorCode::NotJoined));
            }
        }
    }
}

/// A connection that sent `join`.
struct Seated<'a> {
    connection: ConnectionId,
    house: &'a House,
    reached: &'a Reached,
    pending: Pending,
    messages: Bucket,
    /// Since when it has been sending faster than allowed without a pause.
    excess_since: Option<Instant>,
    /// When there was a sign of life.
    heard: Instant,
}

impl Seated<'_> {
    async fn converse(mut self, socket: &mut WebSocket) -> End {
        let timing = &self.house.config.timing;
        let mut ping = tokio::time::interval(timing.ping);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let sent = tokio::select! {
                // 1. Pings, so that silence is noticed however busy the connection is.
                biased;
                _ = ping.tick() => {
                    if clock::now().saturating_duration_since(self.heard) >= timing.silence {
                        return End::Broken;
                    }
                    send(socket, Message::Ping(Vec::new().into()), timing.silence).await
                }
                // 2. What others wait to tell; it is what the outbox is cut for.
                text = self.pending.next() => match text {
                    Some(text) => send(socket, Message::Text(text), timing.silence).await,
                    None => return End::Dismissed,
                },
                // 3. What it says, as fast as it may.
                received = socket.recv() => {
                    self.heard = clock::now();
                    self.handle(received).await
                }
            };
            if let Err(end) = sent {
                return end;
            }
        }
    }

    async fn handle(&mut self, received: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let length = match &received {
            Some(Ok(Message::Text(text))) => text.len() as f64,
            _ => 0.0,
        };
        self.keep_pace(1.0 + length / MESSAGE_UNIT).await?;
        let connection = self.connection;
        let fact = match parse(received)? {
            Heard::Sign | Heard::Said(ClientMessage::Unknown) => return Ok(()),
            Heard::Said(ClientMessage::RelayOpen(open)) => Fact::Relaying {
                connection,
                said: Said::Open {
                    open,
                    reached: self.reached.address.ip(),
                },
            },
            Heard::Said(ClientMessage::RelayClose { connection: number }) => Fact::Relaying {
                connection,
                said: Said::Close { connection: number },
            },
            Heard::Said(ClientMessage::Publish(publish)) => Fact::Relaying {
                connection,
                said: Said::Publish(publish),
            },
            Heard::Said(ClientMessage::Unpublish) => Fact::Relaying {
                connection,
                said: Said::Unpublish,
            },
            Heard::Said(ClientMessage::Watch(watch)) => Fact::Relaying {
                connection,
                said: Said::Watch(watch),
            },
            Heard::Said(ClientMessage::Join { .. }) => return Err(refused(ErrorCode::Malformed)),
            Heard::Said(ClientMessage::Send { to, sealed }) => Fact::Sending {
                connection,
                to,
                sealed,
            },
            Heard::Said(ClientMessage::Leave) => Fact::Leaving(connection),
        };
        self.house.reception.tell(fact).await;
        Ok(())
    }

    /// Waits if there were too many messages; refuses if that went on for too long.
    async fn keep_pace(&mut self, cost: f64) -> Result<(), End> {
        let now = clock::now();
        let wait = self.messages.take(cost, now);
        if wait.is_zero() {
            self.excess_since = None;
            return Ok(());
        }
        let since = *self.excess_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= self.house.config.limits.excess {
            return Err(refused(ErrorCode::TooFast));
        }
        sleep(wait).await;
        Ok(())
    }
}

/// What a frame means.
enum Heard {
    /// A ping or a pong: somebody is there.
    Sign,
    Said(ClientMessage),
}

fn parse(received: Option<Result<Message, axum::Error>>) -> Result<Heard, End> {
    match received {
        None | Some(Ok(Message::Close(_))) => Err(End::Broken),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Heard::Sign),
        Some(Ok(Message::Binary(_))) => Err(refused(ErrorCode::Malformed)),
        Some(Ok(Message::Text(text))) => match ClientMessage::decode(&text) {
            Ok(message) => Ok(Heard::Said(message)),
            Err(error) => Err(End::Refused(ServerMessage::Error {
                code: error.code(),
                message: error.to_string(),
            })),
        },
        Some(Err(error)) => Err(match error.into_inner().downcast_ref() {
            Some(tungstenite::Error::Capacity(_)) => refused(ErrorCode::TooLong),
            Some(tungstenite::Error::Utf8(_) | tungstenite::Error::Protocol(_)) => {
                refused(ErrorCode::Malformed)
            }
            _ => End::Broken,
        }),
    }
}

/// Sends, but does not wait for longer than `patience` for somebody who does not read.
async fn send(socket: &mut WebSocket, message: Message, patience: Duration) -> Result<(), End> {
    match timeout(patience, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Broken),
    }
}

async fn say_goodbye(socket: &mut WebSocket, code: u16, last_words: Option<ServerMessage>) {
    if let Some(message) = last_words {
        let _ = socket.send(Message::Text(message.encode().into())).await;
    }
    let reason = Utf8Bytes::from_static("");
    let close = Message::Close(Some(CloseFrame { code, reason }));
    if socket.send(close).await.is_ok() {
        // Closing with unread data would reset the connection, and the last words with it.
        while let Some(Ok(_)) = socket.recv().await {}
    }
}

fn refused(code: ErrorCode) -> End {
    End::Refused(rooms::error(code))
}

fn random_token() -> Option<Token> {
    let mut bytes = [0; 32];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(Token::from_bytes(bytes)),
        Err(cause) => {
            error!(%cause, "no random numbers, so nobody can join");
            None
        }
    }
}
