//! The task of one relay: reach it, allocate, carry packets, and begin again when it is lost.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    time::{sleep, sleep_until, timeout},
};

use super::{
    Class, Inbox, RelayConfig, RelayError, RelayEvent, RelayFigures, RelayId, RelayProtocol,
    client::{Client, Event, Sent},
    queue::Queue,
    request::Credentials,
    stream, udp,
};
use crate::clock;

/// For how long a stream may take until there is an allocation.
const ATTEMPT: Duration = Duration::from_secs(10);
/// After what time no further attempt is made at a relay that was never there.
const ENOUGH: Duration = Duration::from_secs(9);
/// The longest wait between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The first wait between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What the relay's task and whoever sends share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Something waits to be written into the stream.
    pub(super) filled: Notify,
    /// Something was asked for, so that another time may be due next.
    asked: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// The conversation, while there is an allocation.
    client: Option<Client>,
    way: Way,
    figures: RelayFigures,
    /// Where frames are made, so that none is allocated for each packet.
    scratch: Vec<u8>,
}

/// Where frames go.
#[derive(Debug, Default)]
enum Way {
    #[default]
    Nowhere,
    Datagrams(Arc<tokio::net::UdpSocket>),
    Stream(Queue),
}

impl Inner {
    /// Sends what the conversation itself has to say. Returns whether there was anything.
    fn flush(&mut self, now: Instant) -> bool {
        let said = self.say(now);
        let Some(client) = &mut self.client else {
            return said;
        };
        let kept: Vec<_> = std::iter::from_fn(|| client.poll_kept()).collect();
        for waiting in kept {
            self.send(waiting.to, &waiting.packet, waiting.class, now);
        }
        said
    }

    fn say(&mut self, now: Instant) -> bool {
        let Some(client) = &mut self.client else {
            return false;
        };
        let mut said = false;
        while let Some(message) = client.poll_transmit() {
            said = true;
            match &mut self.way {
                Way::Nowhere => {}
                // What the system has no room for is sent again when no answer comes.
                Way::Datagrams(socket) => drop(socket.try_send(&message)),
                Way::Stream(queue) => queue.push_request(message, now),
            }
        }
        said
    }

    /// Returns whether the packet was taken, and whether something was asked for because of it.
    fn send(&mut self, to: SocketAddr, packet: &[u8], class: Class, now: Instant) -> (bool, bool) {
        let Some(client) = &mut self.client else {
            return (false, false);
        };
        self.scratch.clear();
        let sent = client.send(to, packet, class, &mut self.scratch, now);
        // A permission is asked for before what needs it.
        let asked = self.say(now);
        let taken = match (sent, &mut self.way) {
            (Sent::Refused, _) | (_, Way::Nowhere) => false,
            (Sent::Ready, Way::Datagrams(socket)) => {
                let taken = socket.try_send(&self.scratch).is_ok();
                self.figures.sent += u64::from(taken);
                taken
            }
            (Sent::Ready, Way::Stream(queue)) => {
                let frame = std::mem::take(&mut self.scratch);
                return (queue.push(class, frame, now), asked);
            }
        };
        if !taken {
            self.figures.count_dropped(class);
        }
        (taken, asked)
    }

    /// Returns what happened: until when the allocation lasts, if that is new, and why it is
    /// gone, if it is.
    fn news(&mut self) -> (Option<Instant>, Option<RelayError>) {
        let (mut expires, mut over) = (None, None);
        let client = self.client.iter_mut();
        for event in client.flat_map(|client| std::iter::from_fn(|| client.poll_event())) {
            match event {
                Event::Over(error) => over = Some(error),
                Event::Expires(at) => expires = Some(at),
                Event::Allocated { .. } => {}
            }
        }
        (expires, over)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(&self, to: SocketAddr, packet: &[u8], class: Class, now: Instant) -> bool {
        let mut inner = self.lock();
        let (taken, asked) = inner.send(to, packet, class, now);
        let stream = matches!(inner.way, Way::Stream(_));
        drop(inner);
        self.wake(stream, asked);
        taken
    }

    pub(super) fn permit(&self, peer: IpAddr, now: Instant) {
        self.with_client(now, |client| client.permit(peer, now));
    }

    pub(super) fn check(&self, now: Instant) {
        self.with_client(now, |client| client.check(now));
    }

    fn with_client(&self, now: Instant, act: impl FnOnce(&mut Client)) {
        let mut inner = self.lock();
        if let Some(client) = &mut inner.client {
            act(client);
        }
        let asked = inner.flush(now);
        drop(inner);
        self.wake(asked, asked);
    }

    fn wake(&self, filled: bool, asked: bool) {
        if filled {
            self.filled.notify_one();
        }
        if asked {
            self.asked.notify_one();
        }
    }

    pub(super) fn figures(&self, now: Instant) -> RelayFigures {
        let inner = self.lock();
        match &inner.way {
            Way::Stream(queue) => inner.figures.plus(queue.figures(now)),
            _ => inner.figures,
        }
    }

    /// Gives the allocation back, as far as that needs no waiting: a stream's end does it, too.
    pub(super) fn farewell(&self, now: Instant) {
        let mut inner = self.lock();
        let message = inner
            .client
            .as_mut()
            .and_then(|client| client.farewell(now));
        if let (Some(message), Way::Datagrams(socket)) = (message, &inner.way) {
            drop(socket.try_send(&message));
        }
        inner.client = None;
        inner.way = Way::Nowhere;
    }

    /// From now on, packets go over `socket`.
    pub(super) fn use_datagrams(&self, client: Client, socket: Arc<tokio::net::UdpSocket>) {
        let mut inner = self.lock();
        inner.client = Some(client);
        inner.way = Way::Datagrams(socket);
    }

    /// From now on, packets go into a queue.
    pub(super) fn use_stream(&self, client: Client) {
        let mut inner = self.lock();
        inner.client = Some(client);
        inner.way = Way::Stream(Queue::default());
    }

    /// Takes the next frame out of the queue.
    pub(super) fn pop(&self, now: Instant) -> Option<Vec<u8>> {
        match &mut self.lock().way {
            Way::Stream(queue) => queue.pop(now),
            _ => None,
        }
    }

    /// Hands what came to the conversation, and a packet in it to the inbox.
    ///
    /// # Errors
    /// The allocation is gone.
    pub(super) fn received(
        &self,
        input: &[u8],
        now: Instant,
        id: RelayId,
        inbox: &dyn Inbox,
    ) -> Result<(), RelayError> {
        let mut inner = self.lock();
        let Some(client) = &mut inner.client else {
            return Ok(());
        };
        let delivery = client.handle_input(input, now);
        let said = inner.flush(now);
        let (expires, over) = inner.news();
        // The inbox may send an answer at once.
        drop(inner);
        self.wake(said, said);
        if let Some(delivery) = delivery {
            let packet = &input[delivery.packet];
            inbox.arrived(id, delivery.relayed, delivery.from, packet, now);
        }
        if let Some(at) = expires {
            inbox.told(id, RelayEvent::Expires { at });
        }
        over.map_or(Ok(()), Err)
    }

    /// Does what is due. Returns when to come again.
    ///
    /// # Errors
    /// The allocation is gone.
    fn due(&self, now: Instant) -> Result<Option<Instant>, RelayError> {
        let mut inner = self.lock();
        if let Some(client) = &mut inner.client {
            client.handle_timeout(now);
        }
        let said = inner.flush(now);
        let next = inner.client.as_ref().and_then(Client::poll_timeout);
        let (_, over) = inner.news();
        drop(inner);
        self.wake(said, false);
        over.map_or(Ok(next), Err)
    }

    /// The allocation is gone, whatever the reason. Returns what the next one can start from.
    fn lost(&self) -> Option<Credentials> {
        let mut inner = self.lock();
        if let Way::Stream(queue) = &mut inner.way {
            queue.clear();
            let queued = queue.figures(clock::now());
            inner.figures = inner.figures.plus(queued);
        }
        inner.way = Way::Nowhere;
        inner.client.take().map(|client| client.credentials())
    }
}

/// An allocation that was just made.
#[derive(Debug)]
pub(super) struct Allocated {
    pub(super) relayed: Vec<SocketAddr>,
    pub(super) mapped: Option<SocketAddr>,
    pub(super) round_trip: Duration,
}

/// Starts a conversation with fresh numbers.
pub(super) fn converse(credentials: Credentials, stream: bool) -> Client {
    Client::start(credentials, stream, random, clock::now())
}

fn random() -> u128 {
    let mut bytes = [0; 16];
    // Without random numbers the system has, an answer could be guessed; it could not be read.
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::warn!(%error, "the system gives no random numbers");
        bytes[..8].copy_from_slice(&clock::since_start().as_nanos().to_be_bytes()[8..]);
    }
    // A transaction has 96 bits.
    u128::from_be_bytes(bytes) >> 32
}

/// Reads the events of a conversation that has no allocation yet.
///
/// # Errors
/// There will be none.
pub(super) fn allocated(client: &mut Client) -> Result<Option<Allocated>, RelayError> {
    match client.poll_event() {
        Some(Event::Allocated {
            relayed,
            mapped,
            round_trip,
        }) => Ok(Some(Allocated {
            relayed,
            mapped,
            round_trip,
        })),
        Some(Event::Over(error)) => Err(error),
        Some(Event::Expires(_)) | None => Ok(None),
    }
}

/// Runs one relay until it has failed for good.
pub(super) async fn run(
    id: RelayId,
    config: RelayConfig,
    shared: Arc<Shared>,
    inbox: Arc<dyn Inbox>,
) {
    let started = clock::now();
    let server = &config.server;
    let mut credentials = Credentials::new(&server.username, &server.credential);
    let mut pause = FIRST_PAUSE;
    let mut was_there = false;
    loop {
        let begun = clock::now();
        let outcome = once(id, &config, &shared, inbox.as_ref(), &credentials).await;
        let Attempt { reached, error } = outcome;
        if let Some(known) = shared.lost() {
            credentials = known;
        }
        was_there |= reached;
        tracing::debug!(?id, %error, reached, "the relay is not there");
        if reached {
            inbox.told(id, RelayEvent::Lost(error));
            let lasted = clock::now().saturating_duration_since(begun);
            if lasted >= LONGEST_PAUSE {
                pause = FIRST_PAUSE;
                continue;
            }
        } else {
            let tried = clock::now().saturating_duration_since(started);
            let enough = !was_there && (is_stubborn(&error) || tried + pause >= ENOUGH);
            if is_final(&error) || enough {
                return inbox.told(id, RelayEvent::Failed(error));
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns whether trying again cannot help.
fn is_final(error: &RelayError) -> bool {
    matches!(
        error,
        RelayError::Credentials | RelayError::Refused { .. } | RelayError::NotARelay(_)
    )
}

/// Returns whether trying again soon cannot help, though after a change of networks it might.
fn is_stubborn(error: &RelayError) -> bool {
    use crate::mesh::proxy::ProxyError::{Credentials, NotAProxy, Refused};
    matches!(
        error,
        RelayError::Tls(_) | RelayError::Proxy(Credentials | NotAProxy | Refused(_))
    )
}

/// How one attempt ended.
struct Attempt {
    /// Whether there was an allocation.
    reached: bool,
    error: RelayError,
}

async fn once(
    id: RelayId,
    config: &RelayConfig,
    shared: &Shared,
    inbox: &dyn Inbox,
    credentials: &Credentials,
) -> Attempt {
    let mut reached = false;
    let allocated = |allocated: Allocated, local: Option<SocketAddr>| {
        tracing::debug!(?id, round_trip = ?allocated.round_trip, "the relay is there");
        inbox.told(
            id,
            RelayEvent::Allocated {
                relayed: allocated.relayed,
                mapped: allocated.mapped,
                local,
                round_trip: allocated.round_trip,
            },
        );
    };
    let outcome = match config.server.protocol {
        RelayProtocol::Udp => {
            async {
                let (client, socket, found) = udp::allocate(config, credentials).await?;
                shared.use_datagrams(client, Arc::clone(&socket));
                reached = true;
                allocated(found, socket.local_addr().ok());
                udp::carry(&socket, shared, id, inbox).await
            }
            .await
        }
        RelayProtocol::Tcp | RelayProtocol::Tls => {
            async {
                let made = timeout(ATTEMPT, stream::allocate(config, credentials)).await;
                let (client, made, found) = made.unwrap_or(Err(RelayError::NoAnswer))?;
                shared.use_stream(client);
                reached = true;
                allocated(found, made.local());
                stream::carry(made, shared, id, inbox).await
            }
            .await
        }
    };
    let error = match outcome {
        Ok(never) => match never {},
        Err(error) => error,
    };
    Attempt { reached, error }
}

/// Does what is due, for as long as the allocation lives.
///
/// # Errors
/// The allocation is gone.
pub(super) async fn keep_alive(shared: &Shared) -> Result<Infallible, RelayError> {
    loop {
        let now = clock::now();
        let next = shared.due(now)?.unwrap_or(now + LONGEST_PAUSE);
        tokio::select! {
            () = sleep_until(next.into()) => {}
            () = shared.asked.notified() => {}
        }
    }
}
