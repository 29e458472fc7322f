//! The thread that owns the renditions: for each picture of the camera it decides who shares an
//! encoder, which of the encoders take the picture, and at which size.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    EncodeControl, Seat, Seats,
    grouping::{GroupId, Grouping, Wish},
    lock,
    worker::{Job, Worker},
};
use crate::{
    clock,
    latest::{Reader, Wait},
    media::{
        Size, VideoFrame,
        video::{
            ladder::{self, Ladder},
            pace::Pace,
            scale::Scaler,
            simulcast::Tempo,
        },
    },
};

/// How soon the thread notices that it shall end, at the latest.
const ATTENTION: Duration = Duration::from_millis(100);
/// Keyframes are large: requests within this time are answered by one.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);
/// Pictures over which load is averaged.
const WINDOW: u32 = 30;

/// Starts the thread.
pub(super) fn start(
    frames: Reader<VideoFrame>,
    seats: Seats,
    stop: Arc<AtomicBool>,
) -> io::Result<()> {
    let studio = Studio {
        seats,
        grouping: Grouping::new(),
        renditions: BTreeMap::new(),
        copies: Copies::default(),
    };
    thread::Builder::new()
        .name("renditions".to_owned())
        .spawn(move || studio.run(frames, &stop))?;
    Ok(())
}

struct Studio {
    seats: Seats,
    grouping: Grouping,
    renditions: BTreeMap<GroupId, Rendition>,
    copies: Copies,
}

/// One encoder and those who share it.
struct Rendition {
    worker: Worker,
    ladder: Ladder,
    /// In place of the ladder, for a layer of simulcast.
    tempo: Tempo,
    pace: Pace,
    load: Load,
    size: Option<Size>,
    last_keyframe: Option<Instant>,
}

/// A member that wants pictures.
type Active = (Arc<Seat>, EncodeControl);

impl Studio {
    fn run(mut self, mut frames: Reader<VideoFrame>, stop: &AtomicBool) {
        let mut seen = frames.version();
        while !stop.load(Ordering::Relaxed) {
            match frames.wait(ATTENTION) {
                Wait::New(frame) => {
                    let version = frames.version();
                    let missed = version.saturating_sub(seen + 1);
                    seen = version.max(seen);
                    self.picture(&frame, missed);
                }
                Wait::TimedOut => {}
                Wait::Closed => break,
            }
        }
    }

    /// Handles one new picture, before which `missed` others came and went unseen.
    fn picture(&mut self, frame: &VideoFrame, missed: u64) {
        let now = clock::now();
        for rendition in self.renditions.values_mut() {
            rendition.collect(now);
        }
        // Its members get another, as if they were new.
        self.renditions
            .retain(|_, rendition| !rendition.worker.is_dead());
        let active = self.active();
        self.group(&active, frame.size(), now);
        self.copies.clear();
        for group in self.grouping.groups() {
            let members: Vec<&Active> = active
                .iter()
                .filter(|(seat, _)| self.grouping.group(seat.member) == Some(group))
                .collect();
            let target = self.grouping.target(group);
            if let Some(rendition) = self.renditions.get_mut(&group) {
                let behind =
                    rendition.offer(frame, missed, target, &members, &mut self.copies, now);
                let shared = members.len() > behind.len() + 1;
                let needy = members
                    .iter()
                    .find(|(seat, _)| shared && seat.is_needy(now))
                    .map(|(seat, _)| Arc::clone(seat));
                for seat in behind.into_iter().chain(needy) {
                    tracing::debug!(member = seat.member, "leaves its rendition");
                    let mut standing = seat.standing();
                    standing.follows = false;
                    standing.asked = Default::default();
                    self.grouping.leave(seat.member, now);
                }
            }
        }
    }

    fn active(&self) -> Vec<Active> {
        let mut seats = lock(&self.seats);
        seats.retain(|seat| !seat.pictures.is_closed());
        let control = |seat: &Arc<Seat>| {
            let control = seat.control.newest().filter(|control| control.active)?;
            Some((Arc::clone(seat), control))
        };
        seats.iter().filter_map(control).collect()
    }

    /// Groups the members anew, and gives every group its encoder.
    fn group(&mut self, active: &[Active], source: Size, now: Instant) {
        let wish = |(seat, control): &Active| {
            let (size, most) = ladder::most(source, control.max_size);
            let target = control.target.min(most);
            let layer = control.layer;
            (
                seat.member,
                Wish {
                    target,
                    size,
                    layer,
                },
            )
        };
        let wishes: Vec<_> = active.iter().map(wish).collect();
        let renditions = &self.renditions;
        let rung = |group| renditions.get(&group).and_then(|one| one.size);
        self.grouping.plan(&wishes, rung, now);
        let groups = self.grouping.groups();
        for (seat, _) in active {
            let Some(group) = self.grouping.group(seat.member) else {
                continue;
            };
            if !self.renditions.contains_key(&group) {
                let before = seat.standing().encoder;
                if let Some(new) = self.open(before) {
                    self.renditions.insert(group, new);
                }
            }
            let Some(rendition) = self.renditions.get(&group) else {
                continue;
            };
            let mut standing = seat.standing();
            if standing.encoder != rendition.worker.number() {
                standing.encoder = rendition.worker.number();
                standing.follows = false;
                tracing::debug!(
                    member = seat.member,
                    encoder = standing.encoder,
                    "takes the pictures of this encoder"
                );
            }
        }
        self.renditions.retain(|group, _| groups.contains(group));
    }

    /// Makes a rendition that stands on the same rung as the encoder that its member had before.
    fn open(&self, before: u64) -> Option<Rendition> {
        let mut all = self.renditions.values();
        let origin = all.find(|rendition| rendition.worker.number() == before);
        let ladder = origin.map_or_else(Ladder::new, |origin| origin.ladder.clone());
        let worker = Worker::start()
            .inspect_err(|error| tracing::error!(%error, "no thread to encode on"))
            .ok()?;
        Some(Rendition {
            worker,
            ladder,
            tempo: Tempo::default(),
            pace: Pace::new(),
            load: Load::default(),
            size: None,
            last_keyframe: None,
        })
    }
}

impl Rendition {
    /// Learns what became of the last picture.
    fn collect(&mut self, now: Instant) {
        let Some(done) = self.worker.poll() else {
            return;
        };
        if done.keyframe {
            self.last_keyframe = Some(now);
        }
        if let Some(load) = self.load.add(done.spent, done.fps)
            && (self.ladder.load(load, now) | self.tempo.load(load, now))
        {
            tracing::info!(load, "encoding is too slow here: sending less");
        }
    }

    /// Encodes the picture for its members if it is due and there is room. Returns the members who
    /// cannot take it although others can.
    fn offer(
        &mut self,
        frame: &VideoFrame,
        missed: u64,
        target: nonstop_rate::Bitrate,
        members: &[&Active],
        copies: &mut Copies,
        now: Instant,
    ) -> Vec<Arc<Seat>> {
        // All want the same size, or they would not be together.
        let Some((_, control)) = members.first() else {
            return Vec::new();
        };
        // A moment of less is no reason for another size.
        let lasting = (members.iter().map(|(_, control)| control.lasting).min())
            .map_or(target, |lasting| lasting.max(target));
        let (source, max_size) = (frame.size(), control.max_size);
        let choice = match control.layer {
            true => self.tempo.choose(lasting, source, max_size, now),
            false => self.ladder.choose(lasting, source, max_size, now),
        };
        let bitrate = choice.bitrate.min(target);
        let Some(due) = self.pace.take(frame.captured(), choice.fps) else {
            return Vec::new();
        };
        let busy = self.worker.is_busy();
        let late = missed.min(due.overdue) + u64::from(busy);
        let free = members.iter().any(|(seat, _)| seat.is_free());
        for (seat, _) in members {
            seat.stats.modify(|stats| {
                stats.rung_fps = choice.fps;
                stats.skipped_slow += late;
                stats.skipped_queue += u64::from(!busy && !free);
            });
        }
        if busy || !free {
            return Vec::new();
        }
        let (takes, behind): (Vec<&&Active>, Vec<&&Active>) =
            members.iter().partition(|(seat, _)| seat.has_room());
        if self.size.replace(choice.size) != Some(choice.size) {
            self.load = Load::default();
        }
        let start = clock::now();
        let scaled = copies.of(frame, choice.size);
        let scaling = clock::now().saturating_duration_since(start);
        self.worker.give(Job {
            frame: scaled,
            captured: frame.captured(),
            target: bitrate,
            fps: due.fps,
            layered: control.layer,
            keyframe: self.keyframe_due(&takes, now),
            members: takes
                .iter()
                .map(|(seat, control)| (Arc::clone(seat), control.keyframe_requests))
                .collect(),
            scaling,
        });
        behind.iter().map(|(seat, _)| Arc::clone(seat)).collect()
    }

    /// Requests are each answered, several within a short time by one keyframe.
    fn keyframe_due(&self, members: &[&&Active], now: Instant) -> bool {
        let asked = members.iter().any(|(seat, control)| {
            let standing = seat.standing();
            !standing.follows || control.keyframe_requests > standing.answered
        });
        let paused = self
            .last_keyframe
            .is_some_and(|last| now.saturating_duration_since(last) < KEYFRAME_INTERVAL);
        asked && !paused
    }
}

/// The scaled copies of the newest picture, each made once.
#[derive(Default)]
struct Copies {
    scaler: Scaler,
    made: Vec<VideoFrame>,
}

impl Copies {
    fn clear(&mut self) {
        self.made.clear();
    }

    fn of(&mut self, frame: &VideoFrame, size: Size) -> VideoFrame {
        if let Some(copy) = self.made.iter().find(|copy| copy.size() == size) {
            return copy.clone();
        }
        let copy = self.scaler.scale(frame, size);
        self.made.push(copy.clone());
        copy
    }
}

/// How much of a picture's time encoding takes, averaged over [`WINDOW`] pictures.
#[derive(Debug, Default)]
struct Load {
    sum: f64,
    count: u32,
}

impl Load {
    /// Adds one picture; at the end of each window, returns the average.
    fn add(&mut self, spent: Duration, fps: f32) -> Option<f64> {
        self.sum += spent.as_secs_f64() * f64::from(fps);
        self.count += 1;
        (self.count >= WINDOW).then(|| {
            let load = self.sum / f64::from(self.count);
            *self = Self::default();
            load
        })
    }
}
