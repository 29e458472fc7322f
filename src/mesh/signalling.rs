//! The task that owns the WebSocket to the meeting server: connect, join, resume, back off.
//!
//! ```text
//! mesh ─ send ─▶ [ 64 ] ─▶ backlog (newest 256) ─▶ socket ─▶ server
//! mesh ◀─ news ◀─ [ 64 ] ◀───────────────────────── socket ◀─ server
//!
//! Connecting ──▶ Connected ──▶ waiting (0.5 s doubling to 3 s, or a knock) ──▶ Connecting …
//!     └─ refused, or never reached within 10 s: Ended
//! ```
//!
//! Only the first connection can end in a refusal: once we were in, the call goes on without the
//! server whatever it answers, and it is asked again.
//!
//! A message is written at most once: what may have been on its way when a connection broke is
//! not sent again, for its receiver would see a replay. Everything said through here is
//! repeated by those who say it.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use nonstop_wire::{
    ClientMessage, ErrorCode, PROTOCOL_VERSION, ParticipantId, RoomName, ServerMessage, Token,
    Welcome,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::Message;

pub(super) use self::socket::ConnectError;
use self::{
    backoff::Backoff,
    socket::{Socket, connect},
};
use super::{End, paths, proxy::Proxies};
use crate::clock;

mod backoff;
mod socket;
#[cfg(test)]
mod tests;

/// How long writing one message may take.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection must have lasted for the next one to be tried without growing waits.
const LASTED: Duration = Duration::from_secs(10);
/// The shortest time from one attempt to the next: networks that come and go knock often.
const KNOCK_PAUSE: Duration = Duration::from_secs(1);
/// How often the server is asked for a sign of life once it has been silent for long: one that was
/// started anew says at once that it does not know the connection.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// How long leaving may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);
/// How many messages are kept while the server is away. When there are more, the oldest goes:
/// the newest description of anything is worth most, and links repeat what they miss.
const BACKLOG: usize = 256;

/// Whom we join as, and where.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    /// The signalling address.
    pub(super) url: String,
    /// The room.
    pub(super) room: RoomName,
    /// What admits us.
    pub(super) admission: Token,
    /// Our own id.
    pub(super) me: ParticipantId,
    /// The proxies on the way.
    pub(super) proxies: Proxies,
}

/// How long a server is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long the first connection may take, all attempts together.
    pub(super) first: Duration,
    /// How long the server may be silent; it pings every 5 s.
    pub(super) silence: Duration,
    /// How long it has to answer when there was a knock: a connection through a network that is
    /// gone stays open in silence.
    pub(super) answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(10),
            silence: Duration::from_secs(15),
            answer: Duration::from_secs(3),
        }
    }
}

/// Joins once and leaves again, to see whether that works; returns when the welcome came. There is no limit on the time it takes
/// but that of one attempt.
///
/// # Errors
/// Names what went wrong, in words that a person can use.
pub(super) async fn look_in(seat: &Seat) -> Result<(Welcome, Instant), ConnectError> {
    let join = ClientMessage::Join {
        version: PROTOCOL_VERSION,
        room: seat.room.clone(),
        admission: seat.admission.clone(),
        participant: seat.me,
        resume: None,
    };
    let (socket, welcome) = connect(&seat.url, &seat.proxies, join).await?;
    let welcomed = clock::now();
    if timeout(LEAVE_LIMIT, take_leave(socket)).await.is_err() {
        tracing::debug!("the server did not take our leave in time");
    }
    Ok((welcome, welcomed))
}

/// What the server, or the way to it, has to tell.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// We are in the room, for the first time or again.
    Connected(Welcome),
    /// The server said something.
    Received(ServerMessage),
    /// The connection broke; it is being made again.
    Disconnected,
    /// The server does not take us back; it is being asked again.
    Refused(ErrorCode),
    /// It will not work.
    Ended(End),
}

enum Outgoing {
    Message(ClientMessage),
    Knock,
    Leave,
}

/// The running task. Dropping it breaks the connection without a word.
#[derive(Debug)]
pub(super) struct Signalling {
    outgoing: mpsc::Sender<Outgoing>,
    news: mpsc::Receiver<News>,
    tasks: JoinSet<()>,
}

impl Signalling {
    /// Starts connecting; must be called within a tokio runtime.
    pub(super) fn start(seat: Seat, patience: Patience) -> Self {
        // Full only while the task writes to a server that is slow: then the message is lost.
        let (outgoing, from_mesh) = mpsc::channel(64);
        // Full only while the mesh waits for its own listener: then the server waits, too.
        let (to_mesh, news) = mpsc::channel(64);
        let task = Task {
            seat,
            patience,
            resume: None,
            backlog: VecDeque::new(),
            from_mesh,
            to_mesh,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async {
            let Left = task.run().await;
        });
        Self {
            outgoing,
            news,
            tasks,
        }
    }

    /// Sends a message, or keeps it until the server is back. Returns whether there was room.
    pub(super) fn send(&self, message: ClientMessage) -> bool {
        self.outgoing.try_send(Outgoing::Message(message)).is_ok()
    }

    /// Tells that the network may have changed: a connection that is there is tried, one that is not
    /// is made at once.
    pub(super) fn knock(&self) {
        // Where the queue is full there is a knock in it, or words that try the connection as well.
        let _ = self.outgoing.try_send(Outgoing::Knock);
    }

    /// Returns the next news; none after [`News::Ended`]. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Sends what is still to be sent, says that we leave, and waits for the end: at most 1 s.
    pub(super) async fn leave(mut self) {
        let leaving = async {
            let _ = self.outgoing.send(Outgoing::Leave).await;
            // Whoever still has something to tell must not hold up the end.
            self.news.close();
            while self.tasks.join_next().await.is_some() {}
        };
        if timeout(LEAVE_LIMIT, leaving).await.is_err() {
            tracing::debug!("the server did not take our leave in time");
        }
    }
}

struct Task {
    seat: Seat,
    patience: Patience,
    resume: Option<Token>,
    backlog: VecDeque<ClientMessage>,
    from_mesh: mpsc::Receiver<Outgoing>,
    to_mesh: mpsc::Sender<News>,
}

/// We left, were refused, or nobody listens any more.
struct Left;

impl Task {
    async fn run(mut self) -> Left {
        let started = clock::now();
        let mut backoff = Backoff::new();
        loop {
            let (url, proxies) = (self.seat.url.clone(), self.seat.proxies.clone());
            let join = self.join();
            let attempt = connect(&url, &proxies, join);
            let soonest = clock::now() + KNOCK_PAUSE;
            match self.meanwhile(Box::pin(attempt), soonest).await {
                Err(left) => return left,
                // Knocked away: perhaps it was on a network that is gone.
                Ok(None) => continue,
                Ok(Some(Ok((socket, welcome)))) => {
                    self.resume = Some(welcome.resume.clone());
                    if let Err(left) = self.tell(News::Connected(welcome)).await {
                        return left;
                    }
                    let connected = clock::now();
                    if let Err(left) = self.converse(socket).await {
                        return left;
                    }
                    if clock::now().saturating_duration_since(connected) >= LASTED {
                        backoff = Backoff::new();
                    }
                    if let Err(left) = self.tell(News::Disconnected).await {
                        return left;
                    }
                }
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "the meeting server was not reached");
                    let tried = clock::now().saturating_duration_since(started);
                    // Once we were in, the call goes on without the server, whatever it says.
                    let in_call = self.resume.is_some();
                    let news = match (self.hopeless(&error, tried), &error) {
                        (Some(end), _) if !in_call => Some(News::Ended(end)),
                        (_, ConnectError::Refused(code)) if in_call => Some(News::Refused(*code)),
                        _ => None,
                    };
                    let over = matches!(news, Some(News::Ended(_)));
                    if let Some(news) = news
                        && (self.tell(news).await.is_err() || over)
                    {
                        return Left;
                    }
                }
            }
            let random = getrandom::u32().unwrap_or(u32::MAX);
            let again = clock::now() + backoff.next(random);
            let waiting = sleep_until(again.into());
            if let Err(left) = self.meanwhile(waiting, soonest).await {
                return left;
            }
        }
    }

    fn join(&self) -> ClientMessage {
        ClientMessage::Join {
            version: PROTOCOL_VERSION,
            room: self.seat.room.clone(),
            admission: self.seat.admission.clone(),
            participant: self.seat.me,
            resume: self.resume.clone(),
        }
    }

    /// Returns how it ends, where trying again cannot help or was tried for long enough.
    fn hopeless(&self, error: &ConnectError, tried: Duration) -> Option<End> {
        match error {
            ConnectError::Refused(code @ (ErrorCode::TooFast | ErrorCode::Unknown)) => {
                (tried >= self.patience.first).then_some(End::Refused(*code))
            }
            ConnectError::Refused(code) => Some(End::Refused(*code)),
            ConnectError::BadAddress | ConnectError::Roots(_) => Some(unreachable(error)),
            _ => (tried >= self.patience.first).then(|| unreachable(error)),
        }
    }

    async fn tell(&self, news: News) -> Result<(), Left> {
        self.to_mesh.send(news).await.map_err(|_| Left)
    }

    /// Waits for `future`, and meanwhile keeps what is to be sent. A knock ends it, but not before
    /// `soonest`.
    async fn meanwhile<F: Future>(
        &mut self,
        future: F,
        soonest: Instant,
    ) -> Result<Option<F::Output>, Left> {
        let mut future = pin!(future);
        let mut knocked = false;
        loop {
            tokio::select! {
                output = &mut future => return Ok(Some(output)),
                outgoing = self.from_mesh.recv() => match outgoing {
                    Some(Outgoing::Message(message)) => self.keep(message),
                    Some(Outgoing::Knock) => knocked = true,
                    Some(Outgoing::Leave) | None => return Err(Left),
                },
                () = sleep_until(soonest.into()), if knocked => return Ok(None),
            }
        }
    }

    fn keep(&mut self, message: ClientMessage) {
        if self.backlog.len() == BACKLOG {
            self.backlog.pop_front();
        }
        self.backlog.push_back(message);
    }

    /// Nobody listens any more: says what was to be said before we leave, if we do.
    async fn say_the_rest(&mut self, mut socket: Socket) {
        while let Ok(outgoing) = self.from_mesh.try_recv() {
            match outgoing {
                Outgoing::Message(message) if write(&mut socket, &message).await => {}
                Outgoing::Message(_) => return,
                Outgoing::Knock => {}
                Outgoing::Leave => return take_leave(socket).await,
            }
        }
    }

    /// Sends and receives until the connection breaks.
    async fn converse(&mut self, mut socket: Socket) -> Result<(), Left> {
        let heard = clock::now();
        let mut ask_at = heard + self.patience.silence * 2 / 5;
        let mut broken_at = heard + self.patience.silence;
        loop {
            while let Some(message) = self.backlog.pop_front() {
                if !write(&mut socket, &message).await {
                    return Ok(());
                }
            }
            tokio::select! {
                // 1. What we have to say is little, and a leave must not wait behind a flood.
                biased;
                outgoing = self.from_mesh.recv() => match outgoing {
                    Some(Outgoing::Message(message)) => self.keep(message),
                    Some(Outgoing::Knock) if is_stranded(&socket) => {
                        tracing::debug!("the address that the server was reached from is gone");
                        return Ok(());
                    }
                    Some(Outgoing::Knock) => {
                        ask_at = clock::now();
                        broken_at = broken_at.min(ask_at + self.patience.answer);
                    }
                    Some(Outgoing::Leave) => {
                        take_leave(socket).await;
                        return Err(Left);
                    }
                    None => return Err(Left),
                },
                // 2. What the server says, its pings included (answered while reading).
                frame = socket.next() => {
                    let heard = clock::now();
                    ask_at = heard + self.patience.silence * 2 / 5;
                    broken_at = heard + self.patience.silence;
                    match frame {
                        Some(Ok(Message::Text(text))) => match ServerMessage::decode(&text) {
                            Ok(message) => {
                                if self.tell(News::Received(message)).await.is_err() {
                                    self.say_the_rest(socket).await;
                                    return Err(Left);
                                }
                            }
                            Err(error) => tracing::debug!(%error, "the server said something else"),
                        },
                        Some(Ok(_)) => {}
                        Some(Err(error)) => {
                            tracing::debug!(%error, "the connection to the server broke");
                            return Ok(());
                        }
                        None => return Ok(()),
                    }
                }
                // 3. Nothing at all.
                () = sleep_until(broken_at.into()) => {
                    tracing::debug!("the server is silent");
                    return Ok(());
                }
                () = sleep_until(ask_at.into()) => {
                    ask_at = clock::now() + ASK_INTERVAL;
                    let asked = timeout(WRITE_LIMIT, socket.send(Message::Ping("?".into()))).await;
                    if !matches!(asked, Ok(Ok(()))) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Tells whether the network that a connection was made through is gone.
fn is_stranded(socket: &Socket) -> bool {
    let local = socket.get_ref().tcp().local_addr();
    local.is_ok_and(|local| {
        let ip = local.ip().to_canonical();
        paths::may_be_told(&ip) && !paths::usable().iter().any(|there| there.ip == ip)
    })
}

async fn write(socket: &mut Socket, message: &ClientMessage) -> bool {
    let written = timeout(WRITE_LIMIT, socket.send(Message::text(message.encode()))).await;
    matches!(written, Ok(Ok(())))
}

/// Says that we leave and reads until the server has closed, so that all of it arrives.
async fn take_leave(mut socket: Socket) {
    if write(&mut socket, &ClientMessage::Leave).await {
        let _ = socket.close(None).await;
        while let Some(Ok(_)) = socket.next().await {}
    }
}

fn unreachable(error: &ConnectError) -> End {
    End::Unreachable(format!("The meeting server could not be reached: {error}."))
}
