//! What is known of one member.

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;

use crate::{
    MAX_LAYERS, Member, Size, allotment::Step, layer::Demand, loudest::Loudness,
    pictures::Pictures, sound::Sound, speakers::Activity,
};

/// How long there must be room for more before more is given.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Where giving more has proven wrong time and again, it is waited longer, up to this.
const MOST_PATIENCE: Duration = Duration::from_secs(12);

/// What is taken away so soon after something was given proves it wrong; so long without that, and it is
/// forgotten.
const WRONG: Duration = Duration::from_secs(5);
const FORGOTTEN: Duration = Duration::from_secs(30);

/// Where redundancy made voices take too much, it is not tried again so soon.
const NARROW_PAUSE: Duration = Duration::from_secs(15);

/// A member, who publishes and receives.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) member: Member,
    // As a publisher.
    pub(super) pictures: Pictures,
    pub(super) sound: Sound,
    pub(super) loudness: Loudness,
    pub(super) activity: Activity,
    pub(super) heard: Demand,
    /// Whether somebody who hears it loses packets, and has room for redundancy.
    pub(super) redundancy: Demand,
    /// What it was told last is wanted.
    pub(super) wanted: Wanted,
    // As a receiver.
    pub(super) estimate: Bitrate,
    pub(super) watched: Vec<Watched>,
    pub(super) deaf: bool,
    pub(super) deaf_to: Vec<Member>,
    /// Whether it misses packets.
    pub(super) loses: bool,
    pub(super) aid: Aid,
    /// Whether its connection is too narrow for all voices.
    pub(super) narrow: bool,
    /// What it is given takes so much, sound included.
    pub(super) allotted: Bitrate,
    /// What it was told last: the layers, and what it could use.
    pub(super) layers: Vec<(Member, Option<u8>)>,
    pub(super) desired: Bitrate,
    pub(super) caution: Caution,
}

/// What of a publication is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    pub(super) sound: bool,
    pub(super) layers: [bool; MAX_LAYERS],
    pub(super) redundancy: bool,
}

/// Whether a receiver who loses packets is helped by redundancy in what it hears.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Aid {
    helps: bool,
    /// When its connection last became too narrow for it.
    narrowed: Option<Instant>,
}

/// Somebody whose pictures are watched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched {
    pub(super) of: Member,
    pub(super) size: Size,
    pub(super) seat: Option<usize>,
    /// What is given; none before anything was decided.
    pub(super) step: Option<Step>,
    /// The most that there was use for.
    pub(super) most: Step,
    /// Since when there has been room for more.
    pub(super) rising: Option<Instant>,
}

/// How long a receiver waits before it is given more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caution {
    patience: Duration,
    given: Option<Instant>,
    taken: Option<Instant>,
}

impl Seat {
    pub(super) fn new(member: Member, estimate: Bitrate) -> Self {
        Self {
            member,
            pictures: Pictures::default(),
            sound: Sound::default(),
            loudness: Loudness::default(),
            activity: Activity::default(),
            heard: Demand::default(),
            redundancy: Demand::default(),
            wanted: Wanted::default(),
            estimate,
            watched: Vec::new(),
            deaf: true,
            deaf_to: Vec::new(),
            loses: false,
            aid: Aid::default(),
            narrow: false,
            allotted: Bitrate::ZERO,
            layers: Vec::new(),
            desired: Bitrate::ZERO,
            caution: Caution {
                patience: PATIENCE,
                given: None,
                taken: None,
            },
        }
    }
}

impl Watched {
    pub(super) fn new(of: Member, size: Size, seat: Option<usize>) -> Self {
        Self {
            of,
            size,
            seat,
            step: None,
            most: 0,
            rising: None,
        }
    }
}

impl Aid {
    /// Looks at a receiver: whether it loses packets, what `voices` take of the `budget` for them, and
    /// whether its connection is too narrow for all of them. With redundancy voices take up to two and
    /// a quarter times as much (three times 24 kb/s instead of 32).
    pub(super) fn look(
        &mut self,
        lossy: bool,
        voices: Bitrate,
        budget: Bitrate,
        narrow: bool,
        now: Instant,
    ) {
        let fits = voices.scale(2.25) <= budget;
        let soon = |at: Instant| now.saturating_duration_since(at) < NARROW_PAUSE;
        if self.helps {
            self.helps = lossy && !narrow;
            if narrow {
                self.narrowed = Some(now);
            }
        } else {
            self.helps = lossy && fits && !self.narrowed.is_some_and(soon);
        }
    }

    pub(super) fn helps(&self) -> bool {
        self.helps
    }
}

impl Caution {
    /// Returns how long there must be room for more before more is given.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Returns how long there must be room before a paused picture is given: not at all where nothing
    /// had to be taken lately, for whoever has just come wants to see everybody.
    pub(super) fn patience_of_paused(&self) -> Duration {
        match self.taken {
            None => Duration::ZERO,
            Some(_) => self.patience,
        }
    }

    pub(super) fn give(&mut self, now: Instant) {
        self.given = Some(now);
        let long = |taken: Instant| now.saturating_duration_since(taken) >= FORGOTTEN;
        if self.taken.is_none_or(long) {
            self.patience = PATIENCE;
            self.taken = None;
        }
    }

    pub(super) fn take(&mut self, now: Instant) {
        self.taken = Some(now);
        let soon = |given: Instant| now.saturating_duration_since(given) < WRONG;
        if self.given.take().is_some_and(soon) {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
        }
    }
}
