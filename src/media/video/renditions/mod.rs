//! The encoders of one call, shared by links that want the same.
//!
//! ```text
//!                        ┌ grouping: which members share ┐
//! camera ═▶ [renditions] ┤ a rendition: ladder ─ pace ─ scale (once per size) ═▶ [encode n] ─┐
//!    ▲                   └ another                                            ═▶ [encode m] ─┤
//!    │ each member's control                                                                 │
//! member ◀═ its queue of encoded pictures ═══════════════════════════════════════════════════┘
//! ```
//! A member never waits for another. Its queue holds [`QUEUE`] pictures. As long as somebody's
//! queue is empty, the next picture is encoded, and those who are up to two pictures behind get it
//! into their queues; where everybody is behind, the picture is skipped before it is encoded. Who
//! is further behind than that leaves, and gets a rendition of its own that begins with a keyframe
//! when there is room for it. Alone in a rendition, this means: while a picture waits in the
//! queue, the next is skipped.
//!
//! A keyframe that one member asks for goes to all members of its rendition, at most one every
//! 300 ms; who asks again and again leaves, too. The rules of sharing are in `grouping.rs`.

mod grouping;
mod studio;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nonstop_rate::Bitrate;
use tokio::sync::mpsc;

use self::grouping::MemberId;
use crate::{
    clock,
    latest::{Latest, Reader},
    media::{EncodedVideo, Size, VideoFrame},
};

/// Encoded pictures that may wait for one member: 100 ms at 30 a second.
const QUEUE: usize = 3;
/// A member for whom so many keyframes were made in [`NEEDY_TIME`] is on a bad link, and the others
/// get better pictures without it.
const NEEDY: usize = 4;
const NEEDY_TIME: Duration = Duration::from_secs(6);

/// What a member wants encoded. The newest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeControl {
    /// What the encoder may spend.
    pub target: Bitrate,
    /// What it may spend for good: more than the target for a moment in which a queue drains. The
    /// size of pictures goes by it.
    pub lasting: Bitrate,
    /// The largest picture worth sending.
    pub max_size: Size,
    /// Counts requests for a keyframe: a larger number than before asks for one.
    pub keyframe_requests: u64,
    /// Whether to encode at all.
    pub active: bool,
    /// Whether this is a layer of simulcast: its size stays the largest, whatever the target, and its
    /// pictures are of two temporal layers.
    pub layer: bool,
}

/// What was done for a member so far; every figure counts from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EncodeStats {
    /// Size of the newest encoded picture.
    pub size: Option<Size>,
    /// Frame rate of the current rung.
    pub rung_fps: u32,
    /// Pictures encoded.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Pictures skipped because the queue behind the encoder was full.
    pub skipped_queue: u64,
    /// Pictures skipped because encoding took longer than the picture lasts.
    pub skipped_slow: u64,
    /// Bytes produced.
    pub bytes: u64,
    /// Time spent scaling and encoding, all pictures together, whoever else got them.
    pub busy: Duration,
}

/// The encoders of one call. Cheap to clone; the threads end when the last clone and the last
/// [`Member`] are dropped.
#[derive(Debug, Clone)]
pub struct Renditions {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    camera: Reader<VideoFrame>,
    seats: Seats,
    stop: Arc<AtomicBool>,
    started: Mutex<bool>,
    members: AtomicU64,
}

/// Everybody who takes part.
type Seats = Arc<Mutex<Vec<Arc<Seat>>>>;

impl Renditions {
    /// Makes the encoders of a call that shows `camera`. No thread runs until there is a member.
    pub fn new(camera: Reader<VideoFrame>) -> Self {
        Self {
            running: Arc::new(Running {
                camera,
                seats: Seats::default(),
                stop: Arc::new(AtomicBool::new(false)),
                started: Mutex::new(false),
                members: AtomicU64::new(0),
            }),
        }
    }

    /// Returns the size of the camera's newest picture, if there is one.
    pub fn source(&self) -> Option<Size> {
        self.running.camera.newest().map(|frame| frame.size())
    }

    /// Adds a member. Its queue holds [`QUEUE`] pictures; the module says what full means.
    ///
    /// # Errors
    /// Fails if the system gives no thread.
    pub fn join(&self, control: EncodeControl) -> io::Result<Member> {
        let running = &self.running;
        {
            let mut started = lock(&running.started);
            if !*started {
                let (seats, stop) = (Arc::clone(&running.seats), Arc::clone(&running.stop));
                studio::start(running.camera.clone(), seats, stop)?;
                *started = true;
            }
        }
        let control = Latest::with(control);
        let (sender, pictures) = mpsc::channel(QUEUE);
        let stats = Latest::new();
        let reader = stats.reader();
        lock(&running.seats).push(Arc::new(Seat {
            member: running.members.fetch_add(1, Ordering::Relaxed),
            control: control.reader(),
            pictures: sender,
            stats,
            standing: Mutex::default(),
        }));
        Ok(Member {
            control,
            pictures,
            stats: reader,
            _running: Arc::clone(running),
        })
    }
}

impl Drop for Running {
    /// Lets the threads end by themselves: they may be in the middle of a picture.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Somebody for whom pictures are encoded. Dropping it ends that.
#[derive(Debug)]
pub struct Member {
    /// What it wants.
    pub control: Latest<EncodeControl>,
    /// What it gets. After each keyframe every picture follows until the next one.
    pub pictures: mpsc::Receiver<EncodedVideo>,
    /// What was done for it.
    pub stats: Reader<EncodeStats>,
    _running: Arc<Running>,
}

/// A member, as the threads see it.
#[derive(Debug)]
struct Seat {
    member: MemberId,
    control: Reader<EncodeControl>,
    pictures: mpsc::Sender<EncodedVideo>,
    stats: Latest<EncodeStats>,
    standing: Mutex<Standing>,
}

/// Where a member stands. Moved to another rendition, it takes nothing more of the one before.
#[derive(Debug, Default)]
struct Standing {
    /// The encoder whose pictures it takes.
    encoder: u64,
    /// Whether it has had that encoder's last keyframe and everything since.
    follows: bool,
    /// The requests for a keyframe that were answered.
    answered: u64,
    /// When the last of them were, the newest first.
    asked: [Option<Instant>; NEEDY],
}

impl Seat {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        lock(&self.standing)
    }

    /// Tells whether there is room for another picture.
    fn has_room(&self) -> bool {
        self.pictures.capacity() > 0
    }

    /// Tells whether everything was taken.
    fn is_free(&self) -> bool {
        self.pictures.capacity() == QUEUE
    }

    /// Tells whether it has lately needed more keyframes than others should get for its sake.
    fn is_needy(&self, now: Instant) -> bool {
        let oldest = self.standing().asked[NEEDY - 1];
        oldest.is_some_and(|asked| now.saturating_duration_since(asked) < NEEDY_TIME)
    }

    /// Hands over a picture, if it belongs to what the member has; `requests` are those that a
    /// keyframe answers.
    fn give(&self, picture: &EncodedVideo, requests: u64) {
        let mut standing = self.standing();
        if standing.encoder != picture.encoder || !(standing.follows || picture.keyframe) {
            return;
        }
        standing.follows = self.pictures.try_send(picture.clone()).is_ok();
        if standing.follows && picture.keyframe {
            if requests > standing.answered {
                standing.asked.rotate_right(1);
                standing.asked[0] = Some(clock::now());
            }
            standing.answered = requests;
        }
        drop(standing);
        self.stats.modify(|stats| {
            stats.size = Some(picture.size);
            stats.frames += 1;
            stats.keyframes += u64::from(picture.keyframe);
            stats.bytes += picture.data.len() as u64;
            stats.busy += picture.encode_time;
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
