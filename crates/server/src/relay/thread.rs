//! The threads that pass media on: each owns a hub and its sockets.

use std::{
    cell::RefCell,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::{JoinSet, LocalSet, spawn_local},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    addresses::Addresses,
    client::Ground,
    config::RelayConfig,
    crowd::Crowd,
    hub::Hub,
    outlet::{Exit, Outlet, RelaySocket},
    signalling::{Answer, Fact},
};
use crate::{
    clock,
    datagrams::{self, Datagrams, Read, SLOT, receive},
    nap::Naps,
    turn::outward,
};

/// How many datagrams are read at once.
const BATCH: usize = quinn_udp::BATCH_SIZE;
/// How many facts may wait. When it is full, the relay is so far behind that whoever says more is
/// cut.
const FACTS: usize = 4096;
/// How many answers may wait in the channel. When it is full, they wait in the hub, and facts wait
/// as well.
pub(crate) const ANSWERS: usize = 4096;
/// How long it rests while much is passed on: as long as a sender takes for the packets of a picture,
/// which then leave together. Of 1 ms the forwarding delay was 0.8 ms shorter, and the CPU seconds a
/// Gbit a sixth more.
const NAP: Duration = Duration::from_millis(2);
/// Rest after a socket failed.
const PAUSE: Duration = Duration::from_millis(10);
/// How often other ports are tried where the usual one is taken.
const ATTEMPTS: usize = 16;

/// The way to the threads.
#[derive(Debug, Clone)]
pub(crate) struct RelayWay {
    /// One for each.
    facts: Vec<mpsc::Sender<Fact>>,
    crowd: Crowd,
}

impl RelayWay {
    /// Tells a fact to the thread that has the room, without waiting; false if too much waits already.
    pub(crate) fn tell(&self, fact: Fact) -> bool {
        let mut hasher = DefaultHasher::new();
        fact.room().hash(&mut hasher);
        let number = hasher.finish() as usize % self.facts.len().max(1);
        let facts = self.facts.get(number);
        facts.is_some_and(|facts| facts.try_send(fact).is_ok())
    }

    /// Returns how many connections there are.
    pub(crate) fn members(&self) -> usize {
        self.crowd.total()
    }
}

/// The running threads; they end when this is dropped.
pub(crate) struct Relay {
    way: RelayWay,
    stop: CancellationToken,
    stopped: Vec<oneshot::Receiver<()>>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

/// Opens the sockets of a relay, those of each thread: where it is told to, or beside the meeting
/// server's `listeners`, and the other threads' on the ports after that.
///
/// # Errors
/// Returns the address that cannot be had.
pub(crate) fn open_sockets(
    config: &RelayConfig,
    listeners: &[SocketAddr],
) -> Result<Vec<Vec<UdpSocket>>, (SocketAddr, io::Error)> {
    let threads = 0..config.threads.max(1);
    threads
        .map(|number| open_sockets_of(number, config, listeners))
        .collect()
}

fn open_sockets_of(
    number: u16,
    config: &RelayConfig,
    listeners: &[SocketAddr],
) -> Result<Vec<UdpSocket>, (SocketAddr, io::Error)> {
    let open = |addresses: &[SocketAddr]| {
        let open = |address: &SocketAddr| {
            datagrams::open(*address, datagrams::LISTENER_BUFFER).map_err(|cause| (*address, cause))
        };
        addresses.iter().map(open).collect::<Result<Vec<_>, _>>()
    };
    if !config.listen.is_empty() {
        let after = |address: &SocketAddr| match address.port() {
            0 => *address,
            port => SocketAddr::new(address.ip(), port.saturating_add(number)),
        };
        let listen: Vec<_> = config.listen.iter().map(after).collect();
        return open(&listen);
    }
    let mut ips: Vec<IpAddr> = Vec::new();
    for listener in listeners {
        if !ips.contains(&listener.ip()) {
            ips.push(listener.ip());
        }
    }
    let at = |port: u16| -> Vec<_> { ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect() };
    // TURN has the port itself, for packets that are no media: the one beside it is as easily told
    // to a firewall, and keeps the two apart.
    let usual = listeners
        .first()
        .and_then(|first| first.port().checked_add(1)?.checked_add(number));
    let mut opened = open(&at(usual.unwrap_or(0)));
    for _ in 0..ATTEMPTS {
        match &opened {
            Err((_, cause)) if cause.kind() == ErrorKind::AddrInUse => {}
            _ => break,
        }
        let free = ips.first().and_then(|ip| UdpSocket::bind((*ip, 0)).ok());
        let port = free.and_then(|socket| Some(socket.local_addr().ok()?.port()));
        opened = open(&at(port.unwrap_or(0)));
    }
    opened
}

impl Relay {
    /// Starts to pass media on through `sockets`, those of one thread after the other, and to answer
    /// into `answers`.
    ///
    /// # Errors
    /// Fails if the system gives no threads or random numbers.
    pub(crate) fn start(
        config: &RelayConfig,
        sockets: Vec<Vec<UdpSocket>>,
        answers: &mpsc::Sender<Answer>,
    ) -> io::Result<Self> {
        let outward = [
            outward(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
            outward(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
        ];
        let outward: Vec<_> = outward.into_iter().flatten().collect();
        let stop = CancellationToken::new();
        let ends_early = stop.clone().drop_guard();
        let crowds: Vec<_> = Crowd::of(sockets.len()).collect();
        let (mut ways, mut stopped) = (Vec::new(), Vec::new());
        for ((number, sockets), crowd) in sockets.into_iter().enumerate().zip(&crowds) {
            let bound = sockets.iter().map(UdpSocket::local_addr);
            let bound = bound.collect::<io::Result<Vec<_>>>()?;
            let thread = Thread {
                addresses: Addresses::new(bound, outward.clone(), config.external.clone()),
                config: config.clone(),
                sockets,
                crowd: crowd.clone(),
                answers: answers.clone(),
                stop: stop.clone(),
            };
            let (facts, ended) = thread.start(number)?;
            ways.push(facts);
            stopped.push(ended);
        }
        ends_early.disarm();
        let crowd = crowds.into_iter().next();
        let crowd = crowd.ok_or_else(|| io::Error::other("no thread"))?;
        Ok(Self {
            way: RelayWay { facts: ways, crowd },
            stop,
            stopped,
        })
    }

    /// Returns the way to it.
    pub(crate) fn way(&self) -> RelayWay {
        self.way.clone()
    }

    /// Ends it, and waits until its sockets are closed.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        for stopped in &mut self.stopped {
            let _ = stopped.await;
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a thread is given.
struct Thread {
    config: RelayConfig,
    addresses: Addresses,
    sockets: Vec<UdpSocket>,
    crowd: Crowd,
    answers: mpsc::Sender<Answer>,
    stop: CancellationToken,
}

impl Thread {
    /// Starts it, and returns the way to it and what tells when it has ended.
    fn start(self, number: usize) -> io::Result<(mpsc::Sender<Fact>, oneshot::Receiver<()>)> {
        let ground = Ground::new().ok_or_else(|| io::Error::other("no certificate"))?;
        let naps = Arc::new(Naps::new(NAP, clock::now()));
        let resting = Arc::clone(&naps);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || resting.rest())
            .build()?;
        let (facts, told) = mpsc::channel(FACTS);
        let (ended, stopped) = oneshot::channel();
        let serve = move || {
            let local = LocalSet::new();
            let (answers, stop) = (self.answers.clone(), self.stop.clone());
            let served = local.block_on(&runtime, async {
                let parts = self.parts(ground, naps)?;
                // A task, for to wake what is waited for here takes a system call.
                let _ = spawn_local(serve(parts, told, answers, stop)).await;
                Ok::<_, io::Error>(())
            });
            if let Err(cause) = served {
                warn!(%cause, "the relay ends");
            }
            // Sockets are closed with the tasks that read them.
            drop((local, runtime));
            let _ = ended.send(());
        };
        thread::Builder::new()
            .name(format!("relay {number}"))
            .spawn(serve)?;
        Ok((facts, stopped))
    }

    fn parts(self, ground: Ground, naps: Arc<Naps>) -> io::Result<Parts> {
        let sockets = self.sockets.into_iter().map(|socket| {
            let state = UdpSocketState::new((&socket).into())?;
            let address = socket.local_addr()?;
            let socket = Datagrams::new(socket)?;
            Ok(Rc::new(RelaySocket {
                socket,
                state,
                address,
            }))
        });
        let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
        let at: Vec<_> = sockets.iter().map(|socket| socket.address).collect();
        debug!("relaying media of large calls on UDP {at:?}");
        let outlet = Outlet::new(sockets.clone());
        let hub = Hub::new(self.config, self.addresses, self.crowd, ground, outlet);
        Ok(Parts { hub, sockets, naps })
    }
}

/// All that the tasks share; borrowed only between two waits.
struct World {
    hub: Hub,
    /// Where everything is read into.
    scratch: Vec<u8>,
    naps: Arc<Naps>,
    /// Until when the thread would sleep.
    armed: Option<Instant>,
    /// Wakes it earlier.
    wake: Rc<Notify>,
    answers: mpsc::Sender<Answer>,
}

type Shared = Rc<RefCell<World>>;

struct Parts {
    hub: Hub,
    sockets: Vec<Rc<RelaySocket>>,
    naps: Arc<Naps>,
}

/// Serves until told to stop.
async fn serve(
    parts: Parts,
    mut facts: mpsc::Receiver<Fact>,
    answers: mpsc::Sender<Answer>,
    stop: CancellationToken,
) {
    let wake = Rc::new(Notify::new());
    let world = Rc::new(RefCell::new(World {
        hub: parts.hub,
        scratch: vec![0; BATCH * SLOT],
        naps: parts.naps,
        armed: None,
        wake: Rc::clone(&wake),
        answers: answers.clone(),
    }));
    let mut tasks = JoinSet::new();
    for (number, socket) in (0..).zip(parts.sockets) {
        tasks.spawn_local(read(number, socket, Rc::clone(&world)));
    }
    loop {
        let (due, waiting) = world.borrow_mut().arm();
        tokio::select! {
            () = stop.cancelled() => return,
            permit = answers.reserve(), if waiting => match permit {
                Ok(permit) => {
                    if let Some(answer) = world.borrow_mut().hub.answers.pop_front() {
                        permit.send(answer);
                    }
                }
                // Nobody is there to be answered.
                Err(_) => return,
            },
            fact = facts.recv(), if !waiting => match fact {
                Some(fact) => {
                    let world = &mut *world.borrow_mut();
                    let now = clock::now();
                    world.hub.handle_fact(fact, now);
                    world.finish(now);
                }
                None => return,
            },
            () = sleep_until(due) => {
                let world = &mut *world.borrow_mut();
                world.finish(clock::now());
            }
            () = wake.notified() => {}
        }
    }
}

async fn read(number: u16, socket: Rc<RelaySocket>, world: Shared) {
    loop {
        let read = |raw: UdpSockRef<'_>| world.borrow_mut().read(number, &socket, raw);
        if let Err(cause) = socket.socket.receive(read).await {
            warn!(%cause, "a socket of the relay failed");
            sleep(PAUSE).await;
        }
    }
}

impl World {
    fn read(&mut self, number: u16, socket: &RelaySocket, raw: UdpSockRef<'_>) -> io::Result<Read> {
        let mut meta = [RecvMeta::default(); BATCH];
        let count = receive(&socket.state, raw, &mut self.scratch, &mut meta)?;
        self.naps.count(count);
        let now = clock::now();
        for (meta, slot) in meta[..count].iter().zip(self.scratch.chunks(SLOT)) {
            let exit = Exit {
                socket: number,
                local: meta.dst_ip.unwrap_or(socket.address.ip()),
            };
            for datagram in slot[..meta.len].chunks(meta.stride.max(1)) {
                self.hub.handle_datagram(meta.addr, exit, datagram, now);
            }
        }
        self.finish(now);
        let later = match (self.hub.poll_timeout(), self.armed) {
            (Some(due), Some(armed)) => due < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if later || !self.hub.answers.is_empty() {
            self.wake.notify_one();
        }
        Ok(if count < BATCH {
            Read::All
        } else {
            Read::Maybe
        })
    }

    /// Has everything done that is due or follows from what was taken in.
    fn finish(&mut self, now: Instant) {
        self.hub.handle_timeout(now);
        self.hub.finish(now);
        self.naps.count(self.hub.outlet.take_sent());
        while let Some(answer) = self.hub.answers.pop_front() {
            if let Err(cause) = self.answers.try_send(answer) {
                self.hub.answers.push_front(cause.into_inner());
                break;
            }
        }
        self.hub.crowd.set(self.hub.clients.len());
    }

    /// Returns until when to sleep, and whether answers wait.
    fn arm(&mut self) -> (Option<Instant>, bool) {
        self.armed = self.hub.poll_timeout();
        (self.armed, !self.hub.answers.is_empty())
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
