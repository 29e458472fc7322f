//! Somebody's pictures on their way to one receiver: one stream of one layer after the other.
//!
//! ```text
//!            target = 1, keyframe of 1 asked for              keyframe of 1 comes
//! layer 0 ───────────────────────────────────────────────▶│ layer 1 ─────────▶
//!                                                          └ numbered on, no gap
//! ```
//! A layer begins with a keyframe, and ends after a picture. Of the pictures above the base temporal
//! layer each is passed on whole or not at all. The one exception is a picture whose first packets have
//! not come: what is missing may belong to the picture before, so its numbers are reserved; then it is
//! passed on, and no reserved number stays empty for good.

use std::time::{Duration, Instant};

use crate::{
    Member,
    layer::{Arrival, KEYFRAME_GAP, Kind, Next},
    numbers::Numbers,
};

/// A keyframe may begin a layer although its first packets are still missing, if so many at most.
const MISSING_START: u64 = 32;

/// A receiver that asks for keyframes again and again is heard more and more rarely, down to this.
const RAREST_REQUEST: Duration = Duration::from_secs(2);

/// What of a layer a receiver is allotted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) layer: u8,
    /// Whether pictures above the base temporal layer are passed on.
    pub(crate) upper: bool,
}

/// What happens to the old layer until the allotted one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Meanwhile {
    /// It goes on as it is.
    #[default]
    All,
    /// Only its base temporal layer goes on.
    Base,
    /// It stops after the picture.
    Nothing,
}

/// A stream of pictures to one receiver.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) to: Member,
    /// The receiver's place.
    pub(crate) seat: usize,
    /// What is to be passed on.
    target: Option<Share>,
    /// A larger layer that would be passed on if the sender sent it.
    pub(crate) hoped: Option<u8>,
    meanwhile: Meanwhile,
    watched: bool,
    stale: bool,
    /// The layer that is passed on, if any.
    layer: Option<u8>,
    /// Whether pictures above the base temporal layer are being passed on.
    upper: bool,
    /// TL0PICIDX of the last base picture that was passed on.
    base: u8,
    /// Whether the last packet passed on did not end its picture.
    unfinished: bool,
    /// The newest packet of the layer.
    last: u64,
    entry: Entry,
    /// The packet of the layer before that would have been its next.
    tail: Option<(u8, u64)>,
    numbers: Numbers,
    requested: Option<Instant>,
    patience: Duration,
}

/// Where the layer that is passed on began.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// The first number left for the head of its keyframe, where the head was missing.
    reserved: u64,
    /// The first packet that was passed on, and its timestamp.
    sequence: u64,
    timestamp: u32,
}

/// What goes out for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) number: u64,
    pub(crate) restart: bool,
}

impl Stream {
    pub(crate) fn new(to: Member, seat: usize, first: u64) -> Self {
        Self {
            to,
            seat,
            target: None,
            hoped: None,
            meanwhile: Meanwhile::All,
            watched: true,
            stale: false,
            layer: None,
            upper: false,
            base: 0,
            unfinished: false,
            last: 0,
            entry: Entry::default(),
            tail: None,
            numbers: Numbers::new(first),
            requested: None,
            patience: KEYFRAME_GAP,
        }
    }

    /// Says what is to be passed on, and what until then.
    pub(crate) fn aim(&mut self, target: Option<Share>, meanwhile: Meanwhile) {
        self.watched = true;
        self.target = target;
        self.meanwhile = meanwhile;
    }

    /// Ends the stream where it is; it may begin again with a keyframe.
    pub(crate) fn cut(&mut self) {
        self.end();
    }

    /// Says that nobody watches any more: the stream ends after this picture.
    pub(crate) fn leave(&mut self) {
        self.aim(None, Meanwhile::Nothing);
        self.hoped = None;
        self.watched = false;
        self.stale = false;
    }

    /// Forgets what was sent, if nobody has watched since the last but one of these calls. Returns whether
    /// there is more to forget later.
    pub(crate) fn tidy(&mut self) -> bool {
        if self.watched {
            return false;
        }
        let stale = std::mem::replace(&mut self.stale, true);
        if stale && self.layer.is_none() {
            self.numbers.forget();
            return false;
        }
        true
    }

    pub(crate) fn target(&self) -> Option<Share> {
        self.target
    }

    /// Returns the layer that is passed on.
    pub(crate) fn layer(&self) -> Option<u8> {
        self.layer
    }

    /// Whether pictures above the base temporal layer are passed on.
    pub(crate) fn has_upper(&self) -> bool {
        self.upper
    }

    /// Whether packets of a layer matter.
    pub(crate) fn listens(&self, layer: u8) -> bool {
        self.layer == Some(layer) || self.target.is_some_and(|target| target.layer == layer)
    }

    /// Returns the layer whose keyframe is waited for.
    pub(crate) fn awaited(&self) -> Option<u8> {
        let target = self.target?.layer;
        (self.layer != Some(target)).then_some(target)
    }

    /// Whether a request for a keyframe is heard: the first at once, then every 500 ms, and more rarely
    /// the longer it goes on.
    pub(crate) fn hear_request(&mut self, now: Instant) -> bool {
        let Some(requested) = self.requested else {
            self.requested = Some(now);
            return true;
        };
        let pause = now.saturating_duration_since(requested);
        if pause < self.patience {
            return false;
        }
        self.patience = match pause > 2 * RAREST_REQUEST {
            true => KEYFRAME_GAP,
            false => (self.patience * 2).min(RAREST_REQUEST),
        };
        self.requested = Some(now);
        true
    }

    /// Returns how a packet of a layer goes out, if it does.
    pub(crate) fn pass(&mut self, layer: u8, arrival: &Arrival) -> Option<Passed> {
        let next = match &arrival.kind {
            Kind::Next(next) => next,
            Kind::Late => return self.pass_late(layer, arrival),
        };
        if self.layer == Some(layer) {
            if !next.apart && !self.stops(arrival, next) {
                return self.go_on(layer, arrival, next);
            }
            if self.watched && self.unfinished && next.missing > 0 {
                // What is missing is left numbers, as if the stream went on.
                self.numbers.close(arrival.sequence);
                self.layer = None;
            }
            self.end();
        }
        self.begin(layer, arrival, next)
    }

    fn begin(&mut self, layer: u8, arrival: &Arrival, next: &Next) -> Option<Passed> {
        let target = self.target.filter(|target| target.layer == layer)?;
        let marking = &arrival.marking;
        let near = (1..=MISSING_START).contains(&next.missing) && next.previous_ended;
        let reachable = marking.start || near;
        if !(next.begins && marking.independent && marking.temporal == 0 && reachable) {
            return None;
        }
        self.end();
        let missing = if marking.start { 0 } else { next.missing };
        self.layer = Some(layer);
        self.upper = target.upper;
        self.entry = Entry {
            reserved: arrival.sequence - missing,
            sequence: arrival.sequence,
            timestamp: arrival.timestamp,
        };
        self.numbers.open(layer, self.entry.reserved);
        self.passed(arrival, true)
    }

    fn go_on(&mut self, layer: u8, arrival: &Arrival, next: &Next) -> Option<Passed> {
        let open = self.numbers.is_open();
        let (reserves, passes) = match next.begins {
            false => (open, open),
            true => {
                let all = self.upper;
                let wanted = self.wants(layer, arrival);
                let start = arrival.marking.start;
                let tail = open && !next.previous_ended;
                let head = wanted && !start;
                let reserves = tail || head || !next.only_upper || (all && self.upper);
                (reserves, wanted || (next.missing > 0 && reserves && !start))
            }
        };
        if next.missing > 0 {
            let from = arrival.sequence - next.missing;
            match reserves {
                true if !open => self.numbers.open(layer, from),
                false => self.numbers.close(from),
                true => {}
            }
        }
        self.last = arrival.sequence;
        if !passes {
            self.numbers.close(arrival.sequence);
            self.unfinished = false;
            return None;
        }
        if !self.numbers.is_open() {
            self.numbers.open(layer, arrival.sequence);
        }
        self.passed(arrival, false)
    }

    /// Whether a picture that begins is to be passed on. Pictures above the base temporal layer are taken
    /// up after the base picture that they need.
    fn wants(&mut self, layer: u8, arrival: &Arrival) -> bool {
        let allowed = match self.target {
            Some(target) if target.layer == layer => target.upper,
            _ => self.meanwhile == Meanwhile::All,
        };
        self.upper &= allowed;
        let marking = &arrival.marking;
        if marking.temporal == 0 {
            return true;
        }
        let needs_base_only = marking.base_sync || marking.temporal == 1;
        self.upper |= allowed && needs_base_only && marking.tl0_picture == self.base;
        self.upper
    }

    fn passed(&mut self, arrival: &Arrival, restart: bool) -> Option<Passed> {
        self.last = arrival.sequence;
        self.unfinished = !arrival.ends;
        if arrival.marking.temporal == 0 {
            self.base = arrival.marking.tl0_picture;
        }
        let number = self.numbers.number(arrival.sequence)?;
        Some(Passed { number, restart })
    }

    /// A late packet gets the number that was left for it. What was reserved for the head of a keyframe
    /// is for that alone, and so is what was left for the end of a picture.
    fn pass_late(&self, layer: u8, arrival: &Arrival) -> Option<Passed> {
        let number = self.numbers.late(layer, arrival.sequence)?;
        let entry = &self.entry;
        let before_keyframe = (entry.reserved..entry.sequence).contains(&arrival.sequence)
            && self.layer == Some(layer)
            && (arrival.timestamp != entry.timestamp || !arrival.marking.independent);
        let no_end = self.tail == Some((layer, arrival.sequence)) && !arrival.ends;
        (!before_keyframe && !no_end).then_some(Passed {
            number,
            restart: false,
        })
    }

    /// Whether a layer that is not the allotted one ends here. Not between two pictures that both miss
    /// packets, because nobody knows which belong to the first.
    fn stops(&self, arrival: &Arrival, next: &Next) -> bool {
        let other = self.target.map(|target| target.layer) != self.layer;
        let unclear = self.unfinished && next.missing > 0 && !arrival.marking.start;
        next.begins && !unclear && other && self.meanwhile == Meanwhile::Nothing
    }

    /// Ends the layer after its newest packet. A picture of which packets are missing by then is followed
    /// by a gap, so that no receiver takes it for a whole one.
    fn end(&mut self) {
        let Some(layer) = self.layer.take() else {
            return;
        };
        let end = self.last.saturating_add(1);
        self.numbers.close(end);
        if std::mem::take(&mut self.unfinished) {
            self.numbers.leave_one(layer, end);
            self.tail = Some((layer, end));
        }
    }
}

#[cfg(test)]
mod tests;
