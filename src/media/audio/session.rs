//! One opening of a device, on a thread of its own, and the keeper that opens it again.
//!
//! ```text
//!             open              sound              silent for 2 s, error, thread ended
//! Keeper: Opening ─▶ Running(end of a ring) ─▶ … ─▶ Resting 2 s ─▶ Opening
//! ```
//!
//! The thread finds the device, opens it, and holds it until it is told to let go, or the
//! device fails. It may hang in a driver for ever: then it is left behind, and nothing waits
//! for it. The engine never touches a device, only the ring that the callbacks fill or empty.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use cpal::{BufferSize, Device, ErrorKind, Stream, traits::StreamTrait};

use super::devices::{self, Direction, Format};
use crate::{clock, media::DeviceTrouble};

/// A device that gives no sign of life for so long does not work.
const SILENT: Duration = Duration::from_secs(2);
/// Opening may take longer than that: a Bluetooth device wakes up.
const OPENING: Duration = Duration::from_secs(6);
/// Time between attempts.
const REST: Duration = Duration::from_secs(2);
/// How often a thread that holds a device looks up.
const LOOK: Duration = Duration::from_millis(100);
/// Once a second, the chosen device is looked for in the sound server's list.
const LOOKS_A_LISTING: u32 = 10;
/// With so many xruns in [`SILENT`], callbacks are too short for this device or computer.
const STUMBLES: u64 = 8;
/// Time for a thread to let its device go.
const HANDOVER: Duration = Duration::from_millis(300);
/// Callback sizes to try, in 48 kHz samples: a size that is too small for a device may give no
/// callback and no error at all.
const PERIODS: [u32; 4] = [480, 960, 1920, 4800];
/// With so many threads left hanging in a driver, no more are started until one ends.
const LEFT_BEHIND: usize = 4;

/// What a callback and the engine tell each other besides sound.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Callbacks so far.
    pub(super) callbacks: AtomicU64,
    /// Frames of the longest callback.
    pub(super) longest: AtomicUsize,
    /// Times the driver lost sound because we came too late.
    pub(super) xruns: AtomicU64,
    /// Times the speaker found too little.
    pub(super) underruns: AtomicU64,
    /// How long sound is on its way inside the device and its driver.
    pub(super) latency_micros: AtomicU64,
}

/// What a device's callback shares with the engine.
#[derive(Debug)]
pub(super) struct Running<E> {
    /// The engine's end of the ring.
    pub(super) end: E,
    /// The device's sample rate.
    pub(super) rate: u32,
    pub(super) signs: Arc<Signs>,
    seen: u64,
    seen_at: Instant,
    /// When xruns were last looked at, and how many there were.
    stumbles: (Instant, u64),
}

/// Makes a stream, and the engine's end of its ring.
pub(super) type Build<E> =
    fn(&Device, Format, Arc<Signs>, Failures) -> Result<(Stream, E), cpal::Error>;

/// Where a device's errors go. Holds one: the first that counts ends the session.
pub(super) type Failures = SyncSender<cpal::Error>;

enum State<E> {
    Opening(Session<E>),
    Running(Session<E>, Running<E>),
    Resting { until: Instant },
}

struct Session<E> {
    started: Instant,
    events: Receiver<Result<Running<E>, DeviceTrouble>>,
    /// Dropping it lets the device go.
    _hold: SyncSender<()>,
}

/// Keeps a chosen device open as well as that is possible.
///
/// A device chosen by name is never replaced by another: a person who chose a headset wants
/// neither the room's microphone open nor the loudspeaker on. The default device is whatever
/// the system says it is at each attempt.
pub(super) struct Keeper<E> {
    name: Option<String>,
    direction: Direction,
    build: Build<E>,
    state: State<E>,
    /// Which of [`PERIODS`] is tried.
    period: usize,
    trouble: Option<DeviceTrouble>,
    /// Whether it worked once.
    worked: bool,
    /// Threads that have not ended yet.
    threads: Arc<AtomicUsize>,
}

impl<E: Send + 'static> Keeper<E> {
    /// Starts to open a device.
    pub(super) fn open(
        name: Option<String>,
        direction: Direction,
        build: Build<E>,
        now: Instant,
    ) -> Self {
        Self {
            name,
            direction,
            build,
            state: State::Resting { until: now },
            period: 0,
            trouble: None,
            worked: false,
            threads: Arc::default(),
        }
    }

    /// Returns what is wrong.
    pub(super) fn trouble(&self) -> Option<DeviceTrouble> {
        self.trouble.clone()
    }

    /// Moves on, and returns the running device, if it is. Never blocks.
    pub(super) fn poll(&mut self, now: Instant) -> Option<&mut Running<E>> {
        let state = std::mem::replace(&mut self.state, State::Resting { until: now });
        self.state = self.next(state, now);
        match &mut self.state {
            State::Running(_, running) => Some(running),
            _ => None,
        }
    }

    fn next(&mut self, state: State<E>, now: Instant) -> State<E> {
        match state {
            State::Resting { until } if now < until => State::Resting { until },
            State::Resting { .. } => self.start(now),
            State::Opening(session) => match session.events.try_recv() {
                Ok(Ok(running)) => State::Running(session, running),
                Ok(Err(trouble)) => self.rest(trouble, now),
                Err(TryRecvError::Disconnected) => self.rest(died(), now),
                Err(TryRecvError::Empty) if now - session.started > OPENING => {
                    self.try_longer_periods();
                    self.rest(DeviceTrouble::Silent, now)
                }
                Err(TryRecvError::Empty) => State::Opening(session),
            },
            State::Running(session, mut running) => match session.events.try_recv() {
                Ok(Err(trouble)) => self.rest(trouble, now),
                Err(TryRecvError::Disconnected) => self.rest(died(), now),
                Ok(Ok(_)) | Err(TryRecvError::Empty) => {
                    let callbacks = running.signs.callbacks.load(Ordering::Relaxed);
                    if callbacks != running.seen {
                        running.seen = callbacks;
                        running.seen_at = now;
                        self.worked = true;
                        self.trouble = None;
                    } else if running.silent_for(now) > SILENT {
                        if callbacks == 0 {
                            self.try_longer_periods();
                        }
                        return self.rest(DeviceTrouble::Silent, now);
                    }
                    if running.stumbles(now) && self.period + 1 < PERIODS.len() {
                        self.try_longer_periods();
                        tracing::debug!(direction = ?self.direction, "longer callbacks");
                        let until = now + HANDOVER;
                        return State::Resting { until };
                    }
                    State::Running(session, running)
                }
            },
        }
    }

    fn start(&mut self, now: Instant) -> State<E> {
        if self.threads.load(Ordering::Relaxed) >= LEFT_BEHIND {
            return State::Resting { until: now + REST };
        }
        let (event, events) = sync_channel(2);
        let (hold, held) = sync_channel(0);
        let (name, direction, build) = (self.name.clone(), self.direction, self.build);
        let period = PERIODS[self.period];
        let threads = Arc::clone(&self.threads);
        threads.fetch_add(1, Ordering::Relaxed);
        let spawned = thread::Builder::new()
            .name(match direction {
                Direction::Input => "microphone".into(),
                Direction::Output => "speaker".into(),
            })
            .spawn(move || {
                let outcome = hold_open(name.as_deref(), direction, build, period, &event, &held);
                threads.fetch_sub(1, Ordering::Relaxed);
                if let Err(trouble) = outcome {
                    // The engine is told unless it has let go already.
                    let _ = event.try_send(Err(trouble));
                }
            });
        match spawned {
            Ok(_) => State::Opening(Session {
                started: now,
                events,
                _hold: hold,
            }),
            Err(error) => {
                self.threads.fetch_sub(1, Ordering::Relaxed);
                self.rest(DeviceTrouble::Other(error.to_string()), now)
            }
        }
    }

    fn rest(&mut self, trouble: DeviceTrouble, now: Instant) -> State<E> {
        // What was there and cannot be found any more was unplugged.
        let trouble = match trouble {
            DeviceTrouble::Missing if self.worked => DeviceTrouble::Unplugged,
            trouble => trouble,
        };
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::info!(direction = ?self.direction, %trouble, "a sound device does not work");
        }
        self.trouble = Some(trouble);
        State::Resting { until: now + REST }
    }

    fn try_longer_periods(&mut self) {
        self.period = (self.period + 1) % PERIODS.len();
    }
}

impl<E> Running<E> {
    /// Returns how long ago the last sign of life was.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.seen_at)
    }

    fn stumbles(&mut self, now: Instant) -> bool {
        let (at, before) = self.stumbles;
        if now.saturating_duration_since(at) < SILENT {
            return false;
        }
        let xruns = self.signs.xruns.load(Ordering::Relaxed);
        self.stumbles = (now, xruns);
        xruns - before >= STUMBLES
    }

    /// Returns how long sound is on its way inside the device and its driver.
    pub(super) fn latency(&self) -> Duration {
        Duration::from_micros(self.signs.latency_micros.load(Ordering::Relaxed))
    }
}

impl Signs {
    /// Sorts an error of a running stream: what ends it goes to `failures`.
    pub(super) fn note_error(&self, error: cpal::Error, failures: &Failures) {
        match error.kind() {
            ErrorKind::Xrun => {
                self.xruns.fetch_add(1, Ordering::Relaxed);
            }
            // Sound goes on: without a favoured thread, or on another default device.
            ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged => {}
            _ => {
                // Full: another error is on its way and says as much.
                let _ = failures.try_send(error);
            }
        }
    }
}

impl<E> fmt::Debug for Keeper<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("name", &self.name)
            .field("direction", &self.direction)
            .field("trouble", &self.trouble)
            .finish_non_exhaustive()
    }
}

fn died() -> DeviceTrouble {
    DeviceTrouble::Other("its thread has ended".into())
}

/// Opens the device and holds it until `held` ends or the device fails.
fn hold_open<E>(
    name: Option<&str>,
    direction: Direction,
    build: Build<E>,
    period: u32,
    event: &SyncSender<Result<Running<E>, DeviceTrouble>>,
    held: &Receiver<()>,
) -> Result<(), DeviceTrouble> {
    let found = devices::find(name, direction)?;
    let period = period.max(found.shortest_period());
    let (failures, failed) = sync_channel(1);
    let signs = Arc::new(Signs::default());
    let (stream, end, rate) = open(&found.device, direction, build, period, &signs, &failures)?;
    let now = clock::now();
    let running = Running {
        end,
        rate,
        signs,
        seen: 0,
        seen_at: now,
        stumbles: (now, 0),
    };
    if event.try_send(Ok(running)).is_err() {
        return Ok(());
    }
    // May hang where nothing comes from the device; the keeper then sees it silent.
    stream.play().map_err(|e| devices::trouble(&e, true))?;
    for look in 1.. {
        match held.recv_timeout(LOOK) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Ok(error) = failed.try_recv() {
            return Err(devices::trouble(&error, true));
        }
        if look % LOOKS_A_LISTING == 0 && found.is_replaced() {
            return Err(DeviceTrouble::Unplugged);
        }
    }
    Ok(())
}

fn open<E>(
    device: &Device,
    direction: Direction,
    build: Build<E>,
    period: u32,
    signs: &Arc<Signs>,
    failures: &Failures,
) -> Result<(Stream, E, u32), DeviceTrouble> {
    let mut first_error = None;
    for format in devices::formats(device, direction) {
        let rate = format.config.sample_rate;
        let frames = (u64::from(period) * u64::from(rate) / 48_000) as u32;
        for buffer_size in [BufferSize::Fixed(frames), BufferSize::Default] {
            let mut format = format;
            format.config.buffer_size = buffer_size;
            match build(device, format, Arc::clone(signs), failures.clone()) {
                Ok((stream, end)) => {
                    tracing::debug!(?direction, ?format, "a sound device is open");
                    return Ok((stream, end, rate));
                }
                Err(error) => {
                    tracing::debug!(?direction, ?format, %error, "a format does not work");
                    let format_only = matches!(
                        error.kind(),
                        ErrorKind::UnsupportedConfig | ErrorKind::InvalidInput
                    );
                    if !format_only {
                        return Err(devices::trouble(&error, false));
                    }
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    Err(first_error.map_or(DeviceTrouble::Missing, |e| devices::trouble(&e, false)))
}
