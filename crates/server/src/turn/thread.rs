//! The thread that relays: it owns the machine and every socket, and its tasks wait for packets.

use std::{
    cell::RefCell,
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    ops::RangeInclusive,
    rc::{Rc, Weak},
    sync::Arc,
    thread,
    time::Duration,
};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinSet, LocalSet, spawn_local},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{debug, info, warn};

use super::{
    allocation::{Client, Relay, Way},
    config::TurnConfig,
    connection::{Arrival, take_over},
    machine::{Machine, Now, Seed},
    wires::{self, ListenerSocket, Wires},
};
use crate::{
    clock,
    datagrams::{Datagrams, Read, SLOT, receive},
    nap::Naps,
};

type Ports = RangeInclusive<u16>;

/// How many datagrams of clients are read at once.
const BATCH: usize = quinn_udp::BATCH_SIZE;
/// The same for a relay socket, which has the packets of one client: a video frame and some sound.
const RELAY_BATCH: usize = 8;
/// How many connections may wait to be taken over. Beyond that they wait in the listener.
const ARRIVALS: usize = 64;
/// How often deadlines and stuck connections are looked for.
const ROUND: Duration = Duration::from_secs(1);
/// How long a connection may be without an allocation.
const IDLE: Duration = Duration::from_secs(30);
/// How long it rests while much is relayed: a tenth of the five milliseconds within which senders
/// pace a video frame.
const NAP: Duration = Duration::from_micros(500);
/// Rest after a socket failed.
const PAUSE: Duration = Duration::from_millis(10);

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
        mut config: TurnConfig,
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
        if let Some(files) = open_files()
            && files / 2 < config.limits.allocations
        {
            // The rest is for connections: whoever is relayed must not keep others from joining.
            config.limits.allocations = files / 2;
            let most = config.limits.allocations;
            info!("relaying for at most {most} allocations, as only {files} files may be open");
        }
        let ports: Ports = config.ports.clone();
        let machine = Machine::new(config, secret, outward, &seed);

        let naps = Arc::new(Naps::new(NAP, clock::now()));
        let resting = Arc::clone(&naps);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || resting.rest())
            .build()?;
        let (arrivals, arriving) = mpsc::channel(ARRIVALS);
        let stop = CancellationToken::new();
        let (ended, stopped) = oneshot::channel();
        let stopping = stop.clone();
        let serve = move || {
            let local = LocalSet::new();
            let served = local.block_on(&runtime, async {
                let world = world(machine, listeners, ports, naps)?;
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
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) wires: Wires,
    /// Where everything is read into.
    pub(super) scratch: Vec<u8>,
    pub(super) naps: Arc<Naps>,
    itself: Weak<RefCell<World>>,
}

pub(super) type Shared = Rc<RefCell<World>>;

fn world(
    machine: Machine,
    listeners: Vec<UdpSocket>,
    ports: Ports,
    naps: Arc<Naps>,
) -> io::Result<Shared> {
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
            naps,
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
        self.naps.count(count);
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
        let mut meta = [RecvMeta::default(); RELAY_BATCH];
        let count = receive(&self.wires.plain, socket, &mut self.scratch, &mut meta)?;
        self.naps.count(count);
        let now = self.set_now().instant;
        for (meta, slot) in meta[..count].iter().zip(self.scratch.chunks(SLOT)) {
            let payload = &slot[..meta.len];
            self.machine
                .handle_peer(relay, meta.addr, payload, now, &mut self.wires);
        }
        self.finish();
        Ok(if count < RELAY_BATCH {
            Read::All
        } else {
            Read::Maybe
        })
    }

    /// Sends what came of something, and lets new relay sockets be read.
    pub(super) fn finish(&mut self) {
        self.wires.flush();
        for (relay, socket) in self.wires.take_opened() {
            let reading = spawn_local(read_relay(relay, socket, self.itself.clone()));
            self.wires
                .keep_reading(relay, AbortOnDropHandle::new(reading));
        }
    }

    /// Reads the clock for what is handled next.
    pub(super) fn set_now(&mut self) -> Now {
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

/// Returns how many files the system lets this program have open, where it can be told.
fn open_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
