//! What a receiver is given of what it watches: [`allotment`](crate::allotment), with hysteresis.

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;

use super::{Notice, Room, Scratch, seat::Watched};
use crate::{
    allotment::{Step, is_better, share, share_out, total},
    stream::{Meanwhile, Share},
};

/// More is given only if it fits with so much to spare.
const HEADROOM: f64 = 1.15;

/// In one review not much more is added than this share of what there is: every layer begins with a
/// keyframe, and many at once would be a queue.
const STRIDE: f64 = 0.25;

/// Probing goes so far beyond what could be used, so that there can be headroom.
const PROBING: f64 = 1.25;

/// Sound is reserved this much at least where any may come.
const LEAST_SOUND: Bitrate = Bitrate::from_kbps(40);

impl Room {
    /// Shares out anew what a receiver's connection carries.
    pub(super) fn allot(&mut self, receiver: usize, now: Instant) {
        let Some(seat) = self.seats.get_mut(receiver).and_then(Option::as_mut) else {
            return;
        };
        let mut watched = std::mem::take(&mut seat.watched);
        let estimate = seat.estimate;
        let patience = Patience {
            paused: seat.caution.patience_of_paused(),
            shown: seat.caution.patience(),
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        self.rank(receiver, &mut watched, &mut scratch, now);

        let sound = self.sound_for(receiver);
        let budget = estimate.saturating_sub(sound);
        let change = scratch.decide(&mut watched, budget, patience, now);
        if let Some(seat) = self.seats[receiver].as_mut() {
            match change {
                Some(Change::Given) => seat.caution.give(now),
                Some(Change::Taken) => seat.caution.take(now),
                None => {}
            }
        }
        self.apply(receiver, &watched, &scratch, budget, now);
        self.tell(receiver, watched, &scratch, sound);
        self.scratch = scratch;
    }

    /// Ranks what is watched and published: who speaks, then the largest tiles, then as it was asked for.
    fn rank(
        &mut self,
        receiver: usize,
        watched: &mut [Watched],
        scratch: &mut Scratch,
        now: Instant,
    ) {
        let dominant = self.speakers.dominant();
        scratch.ranked.clear();
        for (index, item) in watched.iter().enumerate() {
            let publisher = item.seat.and_then(|seat| self.seats[seat].as_ref());
            if publisher.is_some_and(|publisher| publisher.pictures.published()) {
                scratch.ranked.push(index);
            }
        }
        scratch.ranked.sort_by_key(|index| {
            let item = &watched[*index];
            let speaks = item.seat == dominant && dominant != Some(receiver);
            (!speaks, std::cmp::Reverse(item.size.area()))
        });
        scratch.bids.clear();
        for index in &scratch.ranked {
            let item = &mut watched[*index];
            let publisher = item.seat.and_then(|seat| self.seats[seat].as_mut());
            let bid = publisher.map(|publisher| publisher.pictures.bid(item.size, now));
            let bid = bid.unwrap_or_default();
            if bid.most > item.most && item.step.is_some_and(|step| step == item.most) {
                // It had all that there was use for: what is new is the use, not the room.
                item.rising = now.checked_sub(Duration::from_secs(60));
            }
            item.most = bid.most;
            scratch.bids.push(bid);
        }
    }

    /// Returns what the sound that a receiver hears takes.
    fn sound_for(&self, receiver: usize) -> Bitrate {
        let heard = self.seats.iter().flatten();
        let mut heard = heard
            .filter_map(|seat| seat.sound.rate_for(receiver))
            .peekable();
        match heard.peek().is_some() {
            true => heard.sum::<Bitrate>().max(LEAST_SOUND),
            false => Bitrate::ZERO,
        }
    }

    /// Aims the streams at what was decided. Old layers go on until the new ones begin; where the old one
    /// is larger, as far as it fits beside the rest.
    fn apply(
        &mut self,
        receiver: usize,
        watched: &[Watched],
        scratch: &Scratch,
        budget: Bitrate,
        now: Instant,
    ) {
        let first = self.config.first_sequence;
        let Some(to) = self.seats[receiver].as_ref().map(|seat| seat.member) else {
            return;
        };
        let mut left = budget;
        // Whoever does not go down is counted first.
        for going_down in [false, true] {
            for (index, bid) in scratch.ranked.iter().zip(&scratch.bids) {
                let item = &watched[*index];
                let Some(publisher) = item.seat else { continue };
                let Some(seat) = self.seats[publisher].as_mut() else {
                    continue;
                };
                let step = item.step.unwrap_or_default();
                let wished = share(step);
                let target = wished.map(|wished| {
                    let layer = seat.pictures.flowing(wished.layer, now);
                    Share { layer, ..wished }
                });
                let stream = seat.pictures.stream_to(to, receiver, first);
                let upper = stream.has_upper();
                let larger = |layer: &u8| target.is_none_or(|target| *layer > target.layer);
                let old = stream.layer().filter(larger);
                if old.is_some() != going_down {
                    continue;
                }
                let meanwhile = match old {
                    None => {
                        left = left.saturating_sub(bid.cost(step));
                        Meanwhile::All
                    }
                    Some(_) if target.is_none() => Meanwhile::Nothing,
                    Some(layer) => seat.pictures.meanwhile(layer, upper, &mut left, now),
                };
                let hoped = wished.map(|wished| wished.layer);
                if seat.pictures.aim(receiver, target, hoped, meanwhile) {
                    self.review(publisher, now);
                }
            }
        }
    }

    /// Tells what changed for a receiver.
    fn tell(&mut self, receiver: usize, watched: Vec<Watched>, scratch: &Scratch, sound: Bitrate) {
        let Some(seat) = self.seats[receiver].as_mut() else {
            return;
        };
        let mut layers = Vec::with_capacity(scratch.ranked.len());
        let mut ranked = scratch.ranked.clone();
        ranked.sort_unstable();
        for index in ranked {
            let item = &watched[index];
            let share = item.step.and_then(share);
            layers.push((item.of, share.map(|share| share.layer)));
        }
        let most = scratch
            .bids
            .iter()
            .map(|bid| bid.cost(bid.most))
            .sum::<Bitrate>();
        // Sound alone is not worth probing for.
        let desired = match seat.watched.is_empty() && watched.is_empty() {
            true => Bitrate::ZERO,
            false => (most + sound).scale(PROBING),
        };
        let little = seat.desired.scale(0.1);
        let far = desired.saturating_sub(seat.desired) > little
            || seat.desired.saturating_sub(desired) > little
            || (desired == Bitrate::ZERO && seat.desired != Bitrate::ZERO);
        let steps = scratch.steps.as_slice();
        seat.allotted = total(&scratch.bids, steps) + sound;
        seat.watched = watched;
        let told = seat.layers != layers;
        seat.layers = layers;
        if far {
            seat.desired = desired;
            self.notice(Notice::Desired(receiver));
        }
        if told {
            self.notice(Notice::Allotted(receiver));
        }
    }
}

/// How long there must be room for more before it is given.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// To a picture that is paused.
    paused: Duration,
    /// To one that is shown.
    shown: Duration,
}

/// What a decision was forced to take, or could give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Given,
    Taken,
}

impl Scratch {
    /// Decides the step of each picture that is watched: down at once where it does not fit, up where it
    /// has fitted with headroom for as long as `patience`.
    fn decide(
        &mut self,
        watched: &mut [Watched],
        budget: Bitrate,
        patience: Patience,
        now: Instant,
    ) -> Option<Change> {
        share_out(budget, &self.bids, &mut self.fitting);
        share_out(budget.scale(1.0 / HEADROOM), &self.bids, &mut self.easy);
        self.steps.clear();
        let mut anew = false;
        for (place, index) in self.ranked.iter().enumerate() {
            let item = &watched[*index];
            anew |= item.step.is_none();
            let step = item.step.unwrap_or(self.fitting[place]);
            self.steps.push(step.min(item.most));
        }
        let mut change = None;
        if total(&self.bids, &self.steps) > budget {
            lower(&mut self.steps, &self.fitting);
            change = (!anew).then_some(Change::Taken);
        }
        let mut raised = self.steps.clone();
        let mut more = budget.scale(STRIDE);
        for (place, index) in self.ranked.iter().enumerate() {
            let item = &mut watched[*index];
            if self.easy[place] <= self.steps[place] {
                item.rising = None;
                continue;
            }
            let since = *item.rising.get_or_insert(now);
            let patience = match self.steps[place] {
                0 => patience.paused,
                _ => patience.shown,
            };
            if now.saturating_duration_since(since) < patience || more == Bitrate::ZERO {
                continue;
            }
            raised[place] = self.easy[place];
            let bid = &self.bids[place];
            let added = bid.cost(raised[place]) - bid.cost(self.steps[place]);
            more = more.saturating_sub(added);
        }
        if raised != self.steps {
            let taken = change.replace(Change::Given);
            if total(&self.bids, &raised) <= budget {
                self.steps = raised;
            } else if is_better(&self.easy, &self.steps) {
                // Others make room for what is more important.
                self.steps.clone_from(&self.easy);
            } else {
                change = taken;
            }
        }
        for (index, step) in self.ranked.iter().zip(&self.steps) {
            watched[*index].step = Some(*step);
        }
        change
    }
}

fn lower(steps: &mut [Step], to: &[Step]) {
    for (step, to) in steps.iter_mut().zip(to) {
        *step = (*step).min(*to);
    }
}
