//! A meeting server that speaks the protocol and does not keep its promises.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{SinkExt, StreamExt};
use nonstop_wire::{
    ClientMessage, DepartureReason, LinkSecret, MESH_LIMIT, MeetingLink, PROTOCOL_VERSION,
    ParticipantId, ServerMessage, Token, Welcome,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

/// A sealed message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) from: ParticipantId,
    pub(crate) to: ParticipantId,
    pub(crate) sealed: String,
}

/// What it does to messages.
pub(crate) type Trick = Box<dyn FnMut(Passed) -> Vec<Passed> + Send>;

/// Tells whether the first hears nothing of the second, both numbered as they came.
pub(crate) type Hides = fn(usize, usize) -> bool;

/// The server; ends when dropped.
pub(crate) struct EvilServer {
    link: MeetingLink,
    house: Arc<Mutex<House>>,
    _tasks: JoinSet<()>,
}

struct House {
    guests: BTreeMap<ParticipantId, mpsc::Sender<ServerMessage>>,
    arrivals: Vec<ParticipantId>,
    trick: Trick,
    hides: Hides,
    passed: Vec<Passed>,
}

impl EvilServer {
    /// Starts a server that plays `trick` with messages, and is honest about who is there.
    pub(crate) async fn start(trick: impl FnMut(Passed) -> Vec<Passed> + Send + 'static) -> Self {
        Self::start_hiding(trick, |_, _| false).await
    }

    /// Starts a server that also hides people from each other.
    pub(crate) async fn start_hiding(
        trick: impl FnMut(Passed) -> Vec<Passed> + Send + 'static,
        hides: Hides,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let room = "evil".parse().unwrap();
        let link = MeetingLink::new(&host, false, room, LinkSecret::random().unwrap()).unwrap();
        let house = Arc::new(Mutex::new(House {
            guests: BTreeMap::new(),
            arrivals: Vec::new(),
            trick: Box::new(trick),
            hides,
            passed: Vec::new(),
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept_all(listener, Arc::clone(&house)));
        Self {
            link,
            house,
            _tasks: tasks,
        }
    }

    /// Returns the link to its room.
    pub(crate) fn link(&self) -> &MeetingLink {
        &self.link
    }

    /// Says something to somebody.
    pub(crate) fn say(&self, to: ParticipantId, message: ServerMessage) {
        self.lock().say(to, message);
    }

    /// Delivers something that was passed on, or never said.
    pub(crate) fn deliver(&self, message: Passed) {
        self.lock().deliver(message);
    }

    /// Returns everything that participants gave it to pass on.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        self.lock().passed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, House> {
        self.house.lock().unwrap()
    }
}

impl fmt::Debug for EvilServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EvilServer")
    }
}

impl House {
    fn say(&mut self, to: ParticipantId, message: ServerMessage) {
        if let Some(guest) = self.guests.get(&to) {
            guest.try_send(message).expect("participants read");
        }
    }

    fn deliver(&mut self, Passed { from, to, sealed }: Passed) {
        self.say(to, ServerMessage::Message { from, sealed });
    }

    fn hidden(&self, id: ParticipantId, from: ParticipantId) -> bool {
        let place = |id| self.arrivals.iter().position(|other| *other == id);
        match (place(from), place(id)) {
            (Some(from), Some(id)) => (self.hides)(from, id),
            _ => false,
        }
    }

    fn enter(&mut self, id: ParticipantId, guest: mpsc::Sender<ServerMessage>) {
        self.arrivals.push(id);
        let here: Vec<_> = self.guests.keys().copied().collect();
        let seen = here
            .iter()
            .copied()
            .filter(|other| !self.hidden(*other, id));
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            resume: Token::from_bytes([0; 32]),
            resumed: false,
            participants: seen.collect(),
            ice_servers: Vec::new(),
            mesh_limit: MESH_LIMIT,
            topology: nonstop_wire::Topology::Mesh,
            relay: false,
        };
        self.guests.insert(id, guest);
        self.say(id, ServerMessage::Welcome(welcome));
        for other in here {
            if !self.hidden(id, other) {
                self.say(other, ServerMessage::Joined { participant: id });
            }
        }
    }

    fn pass(&mut self, message: Passed) {
        self.passed.push(message.clone());
        for message in (self.trick)(message) {
            self.deliver(message);
        }
    }

    fn leave(&mut self, id: ParticipantId) {
        if self.guests.remove(&id).is_none() {
            return;
        }
        let others: Vec<_> = self.guests.keys().copied().collect();
        for other in others {
            let reason = DepartureReason::Left;
            let participant = id;
            self.say(
                other,
                ServerMessage::Left {
                    participant,
                    reason,
                },
            );
        }
    }
}

async fn accept_all(listener: TcpListener, house: Arc<Mutex<House>>) {
    let mut guests = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        guests.spawn(serve(stream, Arc::clone(&house)));
    }
}

async fn serve(stream: TcpStream, house: Arc<Mutex<House>>) {
    let mut socket = accept_async(stream).await.unwrap();
    let (guest, mut words) = mpsc::channel(4096);
    let mut me = None;
    loop {
        tokio::select! {
            frame = socket.next() => {
                let Some(Ok(frame)) = frame else {
                    break;
                };
                let Message::Text(text) = frame else {
                    continue;
                };
                let mut house = house.lock().unwrap();
                match (ClientMessage::decode(&text).unwrap(), me) {
                    (ClientMessage::Join { participant, .. }, None) => {
                        me = Some(participant);
                        house.enter(participant, guest.clone());
                    }
                    (ClientMessage::Send { to, sealed }, Some(from)) => {
                        house.pass(Passed { from, to, sealed });
                    }
                    (ClientMessage::Leave, Some(_)) => break,
                    _ => {}
                }
            }
            word = words.recv() => {
                let word = word.expect("the guest's own sender is here");
                if socket.send(Message::text(word.encode())).await.is_err() {
                    break;
                }
            }
        }
    }
    if let Some(me) = me {
        house.lock().unwrap().leave(me);
    }
}
