//! One encoder on a thread of its own: a scaled picture in, the encoded one to all its members.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use nonstop_rate::Bitrate;

use super::Seat;
use crate::{
    clock,
    media::{
        EncodedVideo, VideoFrame,
        video::encoder::{EncodeError, Encoder},
    },
};

static ENCODERS: AtomicU64 = AtomicU64::new(1);

/// A picture to encode.
pub(super) struct Job {
    pub(super) frame: VideoFrame,
    pub(super) captured: Instant,
    pub(super) target: Bitrate,
    pub(super) fps: f32,
    /// Whether in two temporal layers.
    pub(super) layered: bool,
    pub(super) keyframe: bool,
    /// Who gets it, and how many requests for a keyframe each has made.
    pub(super) members: Vec<(Arc<Seat>, u64)>,
    /// How long scaling took.
    pub(super) scaling: Duration,
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    /// Time spent on it.
    pub(super) spent: Duration,
    pub(super) fps: f32,
    /// Whether it became a keyframe.
    pub(super) keyframe: bool,
}

/// An encode thread. It has one job at a time; dropping this ends it after the job.
pub(super) struct Worker {
    number: u64,
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
    busy: bool,
    dead: bool,
}

impl Worker {
    pub(super) fn start() -> io::Result<Self> {
        let number = ENCODERS.fetch_add(1, Ordering::Relaxed);
        // One job under way: full cannot be, for a busy worker is given none.
        let (jobs, queue) = sync_channel(1);
        let (told, done) = sync_channel(1);
        thread::Builder::new()
            .name(format!("encode {number}"))
            .spawn(move || run(number, &queue, &told))?;
        Ok(Self {
            number,
            jobs,
            done,
            busy: false,
            dead: false,
        })
    }

    /// Returns the encoder's number, unlike that of any other in this process.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns what became of the last job, once.
    pub(super) fn poll(&mut self) -> Option<Done> {
        match self.done.try_recv() {
            Ok(done) => {
                self.busy = false;
                Some(done)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.dead = true;
                None
            }
        }
    }

    /// Tells whether it has panicked: another must take its place.
    pub(super) fn is_dead(&self) -> bool {
        self.dead
    }

    /// Tells whether it is at work.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    pub(super) fn give(&mut self, job: Job) {
        self.busy = self.jobs.try_send(job).is_ok();
    }
}

fn run(number: u64, jobs: &Receiver<Job>, told: &SyncSender<Done>) {
    let mut encoder = None;
    while let Ok(job) = jobs.recv() {
        let start = clock::now();
        let size = job.frame.size();
        let result = encode(&mut encoder, &job);
        let spent = job.scaling + clock::now().saturating_duration_since(start);
        let mut keyframe = false;
        match result {
            Ok(Some(encoded)) => {
                keyframe = encoded.keyframe;
                let picture = EncodedVideo {
                    data: encoded.data,
                    keyframe,
                    marking: encoded.marking,
                    size,
                    captured: job.captured,
                    encode_time: spent,
                    encoder: number,
                };
                for (seat, requests) in &job.members {
                    seat.give(&picture, *requests);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, %size, "a picture was not encoded");
                encoder = None;
            }
        }
        let fps = job.fps;
        let done = Done {
            spent,
            fps,
            keyframe,
        };
        if told.send(done).is_err() {
            return;
        }
    }
}

fn encode(
    slot: &mut Option<Encoder>,
    job: &Job,
) -> Result<Option<crate::media::video::encoder::Encoded>, EncodeError> {
    let size = job.frame.size();
    let fits =
        |encoder: &mut Encoder| (encoder.size(), encoder.is_layered()) == (size, job.layered);
    let encoder = match slot.take_if(fits) {
        Some(encoder) => slot.insert(encoder),
        None => {
            tracing::debug!(%size, fps = job.fps, target = %job.target, "new encoder");
            slot.insert(match job.layered {
                true => Encoder::layered(size, job.fps, job.target)?,
                false => Encoder::new(size, job.fps, job.target)?,
            })
        }
    };
    encoder.set_target(job.target)?;
    // Small wavering is left alone: each change makes openh264 plan anew.
    if (encoder.fps() / job.fps - 1.0).abs() > 0.1 {
        encoder.set_fps(job.fps)?;
    }
    if job.keyframe {
        encoder.request_keyframe();
    }
    encoder.encode(&job.frame)
}
