//! Who speaks: the one who dominates, and those who did before.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How many are remembered.
const MOST: usize = 8;

/// Changes are told at most so often.
const GAP: Duration = Duration::from_millis(300);

/// How long somebody must be louder than the one who dominates, and by how much (dB).
const LONGER: Duration = Duration::from_millis(300);
const MARGIN: f32 = 6.0;

/// Who is at least this active speaks; who is less has stopped. In dB above silence.
const SPEAKS: f32 = 60.0;
const STOPPED: f32 = 45.0;

/// How long the activity takes to follow the loudness, in seconds; and how fast it falls where nothing
/// comes (RFC 7587 section 3.1.3, DTX), in dB a second.
const CONSTANT: f32 = 0.24;
const DECAY: f32 = 60.0;

/// How active somebody is: the loudness, smoothed over a quarter of a second.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    smoothed: f32,
    heard: Option<Instant>,
}

/// Who spoke last.
#[derive(Debug, Default)]
pub(crate) struct Speakers {
    /// The newest first; the first dominates.
    list: VecDeque<usize>,
    challenger: Option<(usize, Instant)>,
    told: Option<Instant>,
    changed: bool,
}

impl Activity {
    pub(crate) fn hear(&mut self, loud: f32, now: Instant) {
        let elapsed = self.heard.map_or(0.02, |heard| {
            now.saturating_duration_since(heard).as_secs_f32()
        });
        let weight = (elapsed.min(0.06) / CONSTANT).min(1.0);
        let faded = if elapsed > 0.1 {
            self.at(now)
        } else {
            self.smoothed
        };
        self.smoothed = faded + (loud - faded) * weight;
        self.heard = Some(now);
    }

    fn at(&self, now: Instant) -> f32 {
        let Some(heard) = self.heard else {
            return 0.0;
        };
        let elapsed = now.saturating_duration_since(heard).as_secs_f32();
        (self.smoothed - DECAY * (elapsed - 0.1).max(0.0)).max(0.0)
    }
}

impl Speakers {
    /// Takes note that somebody was heard; `of` tells everybody's activity.
    pub(crate) fn hear<'a>(
        &mut self,
        who: usize,
        now: Instant,
        of: impl Fn(usize) -> Option<&'a Activity>,
    ) {
        let activity = |who: usize| of(who).map_or(0.0, |activity| activity.at(now));
        let active = activity(who);
        let dominant = self.list.front().copied();
        if dominant == Some(who) {
            return;
        }
        let against = dominant.map_or(0.0, activity);
        let stronger = active >= SPEAKS && (against < STOPPED || active > against + MARGIN);
        if !stronger {
            self.challenger
                .take_if(|(challenger, _)| *challenger == who);
            return;
        }
        let since = match self.challenger {
            Some((challenger, since)) if challenger == who => since,
            Some((challenger, _)) if activity(challenger) >= active => return,
            _ => now,
        };
        self.challenger = Some((who, since));
        let long = now.saturating_duration_since(since) >= LONGER;
        if long || against < STOPPED {
            self.challenger = None;
            self.list.retain(|other| *other != who);
            self.list.push_front(who);
            self.list.truncate(MOST);
            self.changed = true;
        }
    }

    /// Forgets somebody who left.
    pub(crate) fn remove(&mut self, who: usize) {
        let before = self.list.len();
        self.list.retain(|other| *other != who);
        self.challenger
            .take_if(|(challenger, _)| *challenger == who);
        self.changed |= self.list.len() != before;
    }

    /// Returns who dominates.
    pub(crate) fn dominant(&self) -> Option<usize> {
        self.list.front().copied()
    }

    /// Returns those who spoke last, the newest first.
    pub(crate) fn list(&self) -> impl Iterator<Item = usize> {
        self.list.iter().copied()
    }

    /// Returns when a change is to be told.
    pub(crate) fn due(&self) -> Option<Instant> {
        let told = self.told.filter(|_| self.changed)?;
        Some(told + GAP)
    }

    /// Whether a change is told now.
    pub(crate) fn tells(&mut self, now: Instant) -> bool {
        let early = self.told.is_some_and(|told| now < told + GAP);
        if !self.changed || early {
            return false;
        }
        self.changed = false;
        self.told = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Talk {
        now: Instant,
        speakers: Speakers,
        people: Vec<Activity>,
        told: usize,
    }

    impl Talk {
        fn new(people: usize) -> Self {
            Self {
                now: crate::testing::start(),
                speakers: Speakers::default(),
                people: (0..people).map(|_| Activity::default()).collect(),
                told: 0,
            }
        }

        fn hear(&mut self, loud: &[f32], millis: u64) {
            for _ in 0..millis / 20 {
                self.now += Duration::from_millis(20);
                for (who, loud) in loud.iter().enumerate() {
                    self.people[who].hear(*loud, self.now);
                    let people = &self.people;
                    self.speakers.hear(who, self.now, |who| people.get(who));
                }
                self.told += usize::from(self.speakers.tells(self.now));
            }
        }

        fn list(&self) -> Vec<usize> {
            self.speakers.list().collect()
        }
    }

    #[test]
    fn who_speaks_is_known_soon_and_a_cough_changes_nothing() {
        let mut talk = Talk::new(3);
        talk.hear(&[95.0, 0.0, 0.0], 300);
        assert_eq!(talk.list(), [0]);
        talk.hear(&[95.0, 110.0, 0.0], 200);
        assert_eq!(talk.list(), [0], "a cough");
        talk.hear(&[95.0, 0.0, 0.0], 1000);
        talk.hear(&[0.0, 0.0, 95.0], 1000);
        assert_eq!(talk.list(), [2, 0]);
        talk.hear(&[0.0, 0.0, 0.0], 5000);
        assert_eq!(talk.list(), [2, 0], "silence changes nothing");
        assert_eq!(talk.told, 2);
    }

    #[test]
    fn quick_changes_are_told_at_most_every_300_ms() {
        let mut talk = Talk::new(12);
        for turn in 0..50 {
            let mut loud = [0.0; 12];
            loud[turn % 12] = 120.0;
            talk.hear(&loud, 200);
        }
        assert!(talk.told <= 10_000 / 300 + 1, "{} times", talk.told);
        assert!(talk.list().len() <= MOST);
    }
}
