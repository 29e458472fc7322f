//! The thread that relays: it owns the machine and every socket, and its tasks wait for packets.

use std::{
    cell::RefCell,
    fmt,
    io::{self, IoSliceMut, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    ops::RangeInclusive,
    rc::{Rc, Weak},
    sync::Arc,
    thread,
    time::Duration,
};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustls::ServerConnection;
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc, oneshot},
    task::{JoinSet, LocalSet, spawn_local},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{debug, warn};

use super::{
    allocation::{Client, Relay, Way},
    config::TurnConfig,
    frames::{self, LONGEST, LONGEST_OF_STRANGER},
    machine::{Machine, Now, Seed},
    socket::{Datagrams, Read},
    stream::{Stream, Tls},
    wires::{self, ListenerSocket, Wires},
};
use crate::{clock, doors::Pass};

type Ports = RangeInclusive<u16>;

/// How many datagrams are read at once.
const BATCH: usize = quinn_udp::BATCH_SIZE;
/// Room for one of them, or for many that the system put together. Not a power of two, so that
/// all of them are not in the same lines of the cache.
const SLOT: usize = 65_536 + 512;
/// How many connections may wait to be taken over. Beyond that they wait in the listener.
const ARRIVALS: usize = 64;
/// How often deadlines and stuck connections are looked for.
const ROUND: Duration = Duration::from_secs(1);
/// How long a connection may be without an allocation.
const IDLE: Duration = Duration::from_secs(30);
/// Rest after a socket failed.
const PAUSE: Duration = Duration::from_millis(10);

/// A connection on which TURN is spoken.
pub(crate) struct Arrival {
    pub(crate) tcp: std::net::TcpStream,
    pub(crate) tls: Option<ServerConnection>,
    pub(crate) pass: Arc<Pass>,
}

/// The way for connections to the thread.
#[derive(Clone)]
pub(crate) struct Arrivals(mpsc::Sender<Arrival>);

impl Arrivals {
    /// Hands a connection over; it ends if the thread has.
    pub(crate) async fn hand_over(&self, arrival: Arrival) {
        let _ = self.0.send(arrival).await;
    }
}

/// The running thread; it ends when this is dropped.
pub(crate) struct Turn {
    arrivals: Arrivals,
    stop: CancellationToken,
    stopped: oneshot::Receiver<()>,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

impl Turn {
    /// Starts to serve on `listeners`, with passwords made from `secret`.
    ///
    /// # Errors
    /// Fails if the system gives no thread, sockets or random numbers.
    pub(crate) fn start(
        config: TurnConfig,
        secret: String,
        listeners: Vec<UdpSocket>,
    ) -> io::Result<Self> {
        let mut seed = Seed {
            nonces: [0; 32],
            transactions: [0; 8],
        };
        getrandom::fill(&mut seed.nonces).map_err(io::Error::other)?;
        getrandom::fill(&mut seed.transactions).map_err(io::Error::other)?;
        let outward = [
            wires::outward(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
            wires::outward(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
        ];
        let ports: Ports = config.ports.clone();
        let machine = Machine::new(config, secret, outward, &seed);

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (arrivals, arriving) = mpsc::channel(ARRIVALS);
        let stop = CancellationToken::new();
        let (ended, stopped) = oneshot::channel();
        let stopping = stop.clone();
        let serve = move || {
            let local = LocalSet::new();
            let served = local.block_on(&runtime, async {
                let world = world(machine, listeners, ports)?;
                serve(world, arriving, stopping).await;
                Ok::<_, io::Error>(())
            });
            if let Err(cause) = served {
                warn!(%cause, "relaying ends");
            }
            // Sockets are closed with the tasks that read them.
            drop((local, runtime));
            let _ = ended.send(());
        };
        thread::Builder::new()
            .name("turn".to_owned())
            .spawn(serve)?;
        Ok(Self {
            arrivals: Arrivals(arrivals),
            stop,
            stopped,
        })
    }

    /// Returns the way for connections.
    pub(crate) fn arrivals(&self) -> Arrivals {
        self.arrivals.clone()
    }

    /// Ends it, and waits until its sockets are closed.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        let _ = (&mut self.stopped).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// All that the tasks share; borrowed only between two waits.
struct World {
    machine: Machine,
    wires: Wires,
    /// Where everything is read into.
    scratch: Vec<u8>,
    itself: Weak<RefCell<World>>,
}

type Shared = Rc<RefCell<World>>;

fn world(machine: Machine, listeners: Vec<UdpSocket>, ports: Ports) -> io::Result<Shared> {
    let listeners = listeners.into_iter().map(|socket| {
        let state = UdpSocketState::new((&socket).into())?;
        let address = socket.local_addr()?;
        let socket = Datagrams::new(socket)?;
        Ok(Rc::new(ListenerSocket {
            socket,
            state,
            address,
        }))
    });
    let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
    let wires = Wires::new(listeners, ports, clock::now())?;
    Ok(Rc::new_cyclic(|itself| {
        RefCell::new(World {
            machine,
            wires,
            scratch: vec![0; BATCH * SLOT],
            itself: itself.clone(),
        })
    }))
}

/// Serves until told to stop.
async fn serve(world: Shared, mut arriving: mpsc::Receiver<Arrival>, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    let listeners = world.borrow().wires.listeners.clone();
    for (number, listener) in (0..).zip(listeners) {
        tasks.spawn_local(read_listener(number, listener, Rc::clone(&world)));
    }
    let mut round = interval(ROUND);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_stream = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = round.tick() => world.borrow_mut().look_round(),
            Some(arrival) = arriving.recv() => {
                while tasks.try_join_next().is_some() {}
                next_stream += 1;
                match take_over(arrival, next_stream, &world) {
                    Ok(connection) => {
                        tasks.spawn_local(connection.serve());
                    }
                    Err(cause) => debug!(%cause, "a connection was not taken over"),
                }
            }
        }
    }
}

async fn read_listener(number: u16, listener: Rc<ListenerSocket>, world: Shared) {
    loop {
        let read = |socket: UdpSockRef<'_>| {
            let world = &mut *world.borrow_mut();
            world.read_listener(number, &listener, socket)
        };
        if let Err(cause) = listener.socket.receive(read).await {
            warn!(%cause, "a listener failed");
            sleep(PAUSE).await;
        }
    }
}

async fn read_relay(relay: Relay, socket: Rc<Datagrams>, world: Weak<RefCell<World>>) {
    loop {
        let read = |socket: UdpSockRef<'_>| match world.upgrade() {
            Some(world) => world.borrow_mut().read_relay(relay, socket),
            None => Ok(Read::All),
        };
        if let Err(cause) = socket.receive(read).await {
            debug!(%cause, "a relay socket failed");
            sleep(PAUSE).await;
        }
    }
}

impl World {
    fn read_listener(
        &mut self,
        number: u16,
        listener: &ListenerSocket,
        socket: UdpSockRef<'_>,
    ) -> io::Result<Read> {
        let mut meta = [RecvMeta::default(); BATCH];
        let count = receive(&listener.state, socket, &mut self.scratch, &mut meta)?;
        let now = self.set_now();
        for (meta, slot) in meta[..count].iter().zip(self.scratch.chunks(SLOT)) {
            let client = Client {
                way: Way::Listener(number),
                remote: meta.addr,
                local: meta.dst_ip.unwrap_or(listener.address.ip()),
            };
            for datagram in slot[..meta.len].chunks(meta.stride.max(1)) {
                self.machine
                    .handle_client(&client, datagram, now, &mut self.wires);
            }
        }
        self.finish();
        Ok(if count < BATCH {
            Read::All
        } else {
            Read::Maybe
        })
    }

    fn read_relay(&mut self, relay: Relay, socket: UdpSockRef<'_>) -> io::Result<Read> {
        let mut meta = [RecvMeta::default(); BATCH];
        let count = receive(&self.wires.plain, socket, &mut self.scratch, &mut meta)?;
        let now = self.set_now().instant;
        for (meta, slot) in meta[..count].iter().zip(self.scratch.chunks(SLOT)) {
            let payload = &slot[..meta.len];
            self.machine
                .handle_peer(relay, meta.addr, payload, now, &mut self.wires);
        }
        self.finish();
        Ok(if count < BATCH {
            Read::All
        } else {
            Read::Maybe
        })
    }

    /// Sends what came of something, and lets new relay sockets be read.
    fn finish(&mut self) {
        self.wires.flush();
        for (relay, socket) in self.wires.take_opened() {
            let reading = spawn_local(read_relay(relay, socket, self.itself.clone()));
            self.wires
                .keep_reading(relay, AbortOnDropHandle::new(reading));
        }
    }

    fn set_now(&mut self) -> Now {
        let now = Now {
            instant: clock::now(),
            unix: clock::unix_time(),
        };
        self.wires.set_now(now.instant);
        now
    }

    /// Ends what is over: allocations, connections that take nothing, and those without use.
    fn look_round(&mut self) {
        let now = self.set_now().instant;
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now, &mut self.wires);
        }
        let mut over = Vec::new();
        for (number, stream) in &mut self.wires.streams {
            let since = match self.machine.serves(&stream.client) {
                true => None,
                false => Some(stream.idle.unwrap_or(now)),
            };
            stream.idle = since;
            let idle = since.is_some_and(|since| now.saturating_duration_since(since) >= IDLE);
            if idle || stream.stuck(now) {
                over.push(*number);
            }
        }
        for number in over {
            self.wires.end_stream(number);
        }
        self.finish();
    }
}

/// Reads as many datagrams as there are room for into the slots of `scratch`.
fn receive(
    state: &UdpSocketState,
    socket: UdpSockRef<'_>,
    scratch: &mut [u8],
    meta: &mut [RecvMeta; BATCH],
) -> io::Result<usize> {
    let mut slots = scratch.chunks_mut(SLOT);
    let mut slots: [IoSliceMut<'_>; BATCH] =
        std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
    state.recv(socket, &mut slots, meta)
}

/// The receiving half of a connection.
struct Connection {
    number: u64,
    client: Client,
    tcp: Rc<TcpStream>,
    tls: Option<Tls>,
    /// The beginning of a frame whose rest is to come.
    begun: Vec<u8>,
    wake: Rc<Notify>,
    world: Shared,
    _pass: Arc<Pass>,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client closed it")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Frame(#[from] frames::NotAFrame),
}

fn take_over(arrival: Arrival, number: u64, world: &Shared) -> io::Result<Connection> {
    let Arrival { tcp, tls, pass } = arrival;
    let tcp = Rc::new(TcpStream::from_std(tcp)?);
    let tls = tls.map(|tls| Rc::new(RefCell::new(tls)));
    let client = Client {
        way: Way::Stream(number),
        remote: tcp.peer_addr()?,
        local: tcp.local_addr()?.ip(),
    };
    let stream = Stream::new(client, Rc::clone(&tcp), tls.clone(), clock::now());
    let wake = Rc::clone(&stream.wake);
    world.borrow_mut().wires.streams.insert(number, stream);
    Ok(Connection {
        number,
        client,
        tcp,
        tls,
        begun: Vec::new(),
        wake,
        world: Rc::clone(world),
        _pass: pass,
    })
}

impl Connection {
    async fn serve(mut self) {
        let end = self.converse().await;
        debug!(%end, "a connection ends");
        let world = &mut *self.world.borrow_mut();
        world.wires.end_stream(self.number);
        world.machine.handle_gone(&self.client, &mut world.wires);
        world.finish();
    }

    async fn converse(&mut self) -> End {
        // Behind the handshake of TLS the first message may have come already.
        if let Err(end) = self.handle(0) {
            return end;
        }
        loop {
            let pending = match self.world.borrow().wires.streams.get(&self.number) {
                Some(stream) => stream.pending(),
                None => return End::Closed,
            };
            let tcp = Rc::clone(&self.tcp);
            let read = tokio::select! {
                readable = tcp.readable() => readable.map_err(End::Io).and_then(|()| self.read()),
                writable = tcp.writable(), if pending => {
                    self.world.borrow_mut().wires.flush_stream(self.number);
                    writable.map_err(End::Io)
                }
                () = self.wake.notified() => Ok(()),
            };
            if let Err(end) = read {
                return end;
            }
        }
    }

    /// Reads what there is.
    fn read(&mut self) -> Result<(), End> {
        let begun = self.begun.len();
        let read = {
            let world = &mut *self.world.borrow_mut();
            let room = match self.tls {
                // Plain frames go on where the last one was cut.
                None => &mut world.scratch[begun..],
                Some(_) => &mut world.scratch[..],
            };
            match self.tcp.try_read(&mut room[..SLOT]) {
                Ok(0) => return Err(End::Closed),
                Ok(read) => read,
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(cause) => return Err(cause.into()),
            }
        };
        self.handle(read)
    }

    /// Handles `read` new bytes in the scratch space.
    fn handle(&mut self, read: usize) -> Result<(), End> {
        let world = Rc::clone(&self.world);
        let world = &mut *world.borrow_mut();
        match self.tls.clone() {
            None => self.take_frames(world, read)?,
            Some(tls) => {
                let sealed = world.scratch[..read].to_vec();
                let mut sealed = &sealed[..];
                loop {
                    let mut tls = tls.borrow_mut();
                    tls.read_tls(&mut sealed)?;
                    let state = tls.process_new_packets()?;
                    let mut left = state.plaintext_bytes_to_read();
                    while left > 0 {
                        let begun = self.begun.len();
                        let room = &mut world.scratch[begun..begun + left.min(SLOT)];
                        let opened = tls.reader().read(room)?;
                        left -= opened;
                        // Answers are sealed by the same connection only afterwards.
                        self.take_frames(world, opened)?;
                    }
                    if state.peer_has_closed() {
                        return Err(End::Closed);
                    }
                    if sealed.is_empty() {
                        break;
                    }
                }
            }
        }
        world.finish();
        Ok(())
    }

    /// Handles the frames in the scratch space: what was begun before, and `read` bytes more.
    fn take_frames(&mut self, world: &mut World, read: usize) -> Result<(), End> {
        let begun = self.begun.len();
        world.scratch[..begun].copy_from_slice(&self.begun);
        self.begun.clear();
        let now = world.set_now();
        let World {
            machine,
            wires,
            scratch,
            ..
        } = world;
        let mut rest = &scratch[..begun + read];
        loop {
            let longest = match machine.serves(&self.client) {
                true => LONGEST,
                false => LONGEST_OF_STRANGER,
            };
            match frames::take(&mut rest, longest)? {
                Some(frame) => machine.handle_client(&self.client, frame, now, wires),
                None => break,
            }
        }
        self.begun.extend_from_slice(rest);
        Ok(())
    }
}
