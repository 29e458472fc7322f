//! The choice: which pair carries the media, and which one would take over.
//!
//! ```text
//! nothing selected ─ direct pair works, or the head start of better ways is over ─▶ selected
//! selected ─ a better way works, and is to be trusted ─▶ selected (nominated anew)
//! selected ─ as good a way, clearly shorter ─▶ selected
//! ```
//!
//! The side that controls nominates. The other one sends on the best pair that it knows until it
//! hears a nomination, follows every one, and leaves the path on its own only when it is dead.

use std::time::{Duration, Instant};

use super::{AFTERLIFE, Agent, pair::Pair};
use crate::{Event, Path, Way};

/// At most so long from the first check a relayed pair waits for a better one.
const HEAD_START: Duration = Duration::from_millis(100);
/// So long it waits where a better path of the generation before still carries the media.
const HEAD_START_AFTER_RESTART: Duration = Duration::from_secs(2);
/// How long a path is kept before a shorter one of the same way may replace it; twice as long each
/// time, because a queue makes the path that is used look longer.
pub(super) const LENGTH_HOLD: Duration = Duration::from_secs(5);
const LENGTH_HOLD_LONGEST: Duration = Duration::from_secs(320);
/// So much shorter it must be, and a quarter.
const SHORTER: Duration = Duration::from_millis(10);

impl Agent {
    /// Looks whether another pair should be selected, and which one stands by.
    pub(super) fn choose(&mut self, now: Instant) {
        self.reconsider = None;
        let current = self.current().number;
        let selected = self.selected_index();
        match selected.filter(|&at| self.pairs[at].generation == current) {
            None => self.choose_first(now, selected),
            Some(at) => self.improve(now, at),
        }
        if self.selected.is_none() {
            // Of the generation before, then.
            let heir = self.heir(|_| true);
            if heir.is_some() {
                self.select(now, heir);
            }
        }
        self.tell_standby();
    }

    /// Chooses the first pair of a generation.
    fn choose_first(&mut self, now: Instant, before: Option<usize>) {
        let generation = self.current();
        let of_it = || {
            self.pairs
                .iter()
                .filter(|it| it.generation == generation.number)
        };
        let Some(best) = of_it()
            .filter(|it| it.works())
            .min_by_key(|it| (it.way, it.smoothed()))
        else {
            return;
        };
        let plausible = of_it().any(|it| it.is_plausible() && it.way < best.way);
        let head_start = match before.map(|at| &self.pairs[at]) {
            Some(before) if before.is_well() && before.way < best.way => HEAD_START_AFTER_RESTART,
            _ if best.way > Way::Direct && plausible => {
                HEAD_START.min(best.smoothed() * 3 / 2 + Duration::from_millis(20))
            }
            _ => Duration::ZERO,
        };
        let from = generation
            .started
            .map_or(now, |started| started + head_start);
        let best = self.index_of(best.id);
        if from <= now {
            self.select(now, best);
        } else {
            self.reconsider = Some(from);
        }
    }

    /// Chooses a better pair than the selected one, if we are to choose.
    fn improve(&mut self, now: Instant, at: usize) {
        let selected = &self.pairs[at];
        if !selected.works() {
            // Any other that has answered since this one does not.
            let since = selected.unanswered_since;
            let heir = self.heir(|it| it.answered > since);
            if since.is_some() && heir.is_some() {
                tracing::debug!("the path is lost");
                self.select(now, heir);
            }
            return;
        }
        if !self.config.controlling && self.current().nominated {
            return;
        }
        let others = || {
            self.pairs
                .iter()
                .filter(|it| it.generation == selected.generation && it.id != selected.id)
                .filter(|it| it.is_well())
        };
        let better = others()
            .filter(|it| it.way < selected.way)
            .filter_map(|it| Some((it.trusted_from()?, it)));
        let trusted = better.clone().filter(|(from, _)| *from <= now);
        let trusted = trusted.min_by_key(|(_, it)| (it.way, it.smoothed()));
        if let Some((_, pair)) = trusted {
            tracing::debug!(way = %pair.way, "a better way");
            let heir = self.index_of(pair.id);
            self.select(now, heir);
            return;
        }
        let next = better.map(|(from, _)| from).min();
        let held = self
            .selected_since
            .is_none_or(|since| now.saturating_duration_since(since) < self.length_hold);
        let shorter = others()
            .filter(|it| it.way == selected.way && !held && self.suspect.is_none())
            .filter(|it| it.trusted_from().is_some_and(|from| from <= now))
            .filter(|it| is_shorter(it, selected))
            .min_by_key(|it| it.length());
        let shorter = shorter.map(|it| it.id);
        self.reconsider = next;
        if let Some(heir) = shorter.and_then(|id| self.index_of(id)) {
            tracing::debug!("a shorter path");
            self.length_hold = (self.length_hold * 2).min(LENGTH_HOLD_LONGEST);
            self.select(now, Some(heir));
        }
    }

    /// Selects a pair, or none.
    pub(super) fn select(&mut self, now: Instant, at: Option<usize>) {
        if let Some(before) = self.selected_index() {
            self.pairs[before].nominating = None;
        }
        self.selected_since = Some(now);
        self.foreign = None;
        self.end_suspicion();
        self.tell_selected(at);
        let Some(at) = at else {
            return;
        };
        // The other side learns of it at once.
        self.pairs[at].urgent = true;
        if self.config.controlling {
            self.nominate(at);
        }
        let generation = self.pairs[at].generation;
        if generation == self.current().number {
            for it in &mut self.generations {
                if it.number != generation {
                    it.ends.get_or_insert(now + AFTERLIFE);
                }
            }
        }
        self.tell_standby();
    }

    /// Tells the other side, with every check until one is answered, that this pair is chosen.
    pub(super) fn nominate(&mut self, at: usize) {
        let number = self.pairs[at].generation;
        if let Some(generation) = self.generation_mut(number) {
            generation.nomination = generation.nomination.saturating_add(1);
            let nomination = generation.nomination;
            self.pairs[at].nominating = Some(nomination);
            self.pairs[at].urgent = true;
        }
    }

    /// Returns the best pair that works, but for the selected one and its like in another
    /// generation.
    pub(super) fn heir(&self, fits: impl Fn(&Pair) -> bool) -> Option<usize> {
        let selected = self.selected();
        (0..self.pairs.len())
            .filter(|&at| {
                let pair = &self.pairs[at];
                let same = selected.is_some_and(|it| pair.goes(it.base, it.remote));
                pair.works() && !same && fits(pair)
            })
            .min_by_key(|&at| {
                let pair = &self.pairs[at];
                (self.kinship(pair), !pair.is_well(), pair.smoothed())
            })
    }

    /// Orders pairs by how well they would stand in for the selected one: those of the current
    /// generation, from another base, by the better way, to another address come first.
    fn kinship(&self, pair: &Pair) -> (bool, bool, Way, bool) {
        let selected = self.selected();
        (
            pair.generation != self.current().number,
            selected.is_some_and(|it| it.base == pair.base),
            pair.way,
            selected.is_some_and(|it| it.remote.ip() == pair.remote.ip()),
        )
    }

    /// Notes where the media goes, and says so if that is news.
    pub(super) fn tell_selected(&mut self, at: Option<usize>) {
        let path = at.map(|at| (self.pairs[at].id, self.pairs[at].path()));
        let before = self.selected.as_ref().map(|it| &it.1);
        let news = !is_same(before, path.as_ref().map(|it| &it.1));
        self.selected = path;
        if news {
            let path = self.selected().cloned();
            tracing::debug!(?path, "selected");
            self.events.push_back(Event::Selected(path));
        }
    }

    /// Notes which path stands by, and says so if that is news. The one that does remains it while
    /// none is of a better kind.
    pub(super) fn tell_standby(&mut self) {
        let selected = self.selected();
        let mut heir = self
            .selected
            .as_ref()
            .and_then(|_| self.heir(|_| true))
            .map(|at| &self.pairs[at]);
        let before = self.standby.as_ref().and_then(|it| self.index_of(it.0));
        if let Some(before) = before.map(|at| &self.pairs[at])
            && before.works()
            && !selected.is_some_and(|it| before.goes(it.base, it.remote))
            && heir.is_some_and(|it| self.kinship(before) <= self.kinship(it))
        {
            heir = Some(before);
        }
        let path = heir.map(|it| (it.id, it.path()));
        let news = !is_same(
            self.standby.as_ref().map(|it| &it.1),
            path.as_ref().map(|it| &it.1),
        );
        self.standby = path;
        if news {
            let path = self.standby().cloned();
            self.events.push_back(Event::Standby(path));
        }
    }
}

fn is_shorter(pair: &Pair, selected: &Pair) -> bool {
    match (pair.length(), selected.length()) {
        (Some(length), Some(limit)) => length + SHORTER < limit && length * 4 < limit * 3,
        _ => false,
    }
}

/// Whether two paths are the same but for their round trip.
fn is_same(a: Option<&Path>, b: Option<&Path>) -> bool {
    let key = |path: &Path| (path.base, path.remote, path.way);
    a.map(key) == b.map(key)
}
