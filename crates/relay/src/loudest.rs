//! Whose sound is passed on: the loudest few, by the levels that the senders measure (RFC 6464).
//!
//! A place is given to whoever is audible while one is free; then to whoever is audible when somebody
//! has been silent for 2 s; then to whoever is louder than the quietest of those who have a place. Nobody
//! loses a place without another taking it.

use std::time::{Duration, Instant};

/// How long somebody who has become silent keeps a place, so that no words are cut.
const HOLD: Duration = Duration::from_secs(2);

/// How much louder than somebody who has a place one must be to take it, in dB.
const MARGIN: f32 = 3.0;

/// What is at least this loud is audible: -60 dBov.
const AUDIBLE: f32 = 67.0;

/// What is no voice counts so much less, in dB.
const NO_VOICE: f32 = 20.0;

/// Who says nothing of a level is taken for audible, and quieter than those who say.
const UNKNOWN: f32 = AUDIBLE;

/// How fast the loudness of a voice follows it down, in dB a second.
const DECAY: f32 = 5.0;

/// Those who have a place.
#[derive(Debug)]
pub(crate) struct Loudest {
    places: usize,
    holders: Vec<usize>,
}

/// How loud somebody's voice is, in dB above silence (127 less the level): it rises at once, falls slowly,
/// and does not fall in pauses.
#[derive(Debug, Default)]
pub(crate) struct Loudness {
    voice: f32,
    audible: Option<Instant>,
}

/// Returns how loud a packet is, in dB above silence.
pub(crate) fn loudness(level: Option<u8>, voice: bool) -> f32 {
    let Some(level) = level else {
        return UNKNOWN;
    };
    let loud = 127.0 - f32::from(level.min(127));
    if voice {
        loud
    } else {
        (loud - NO_VOICE).max(0.0)
    }
}

impl Loudness {
    /// Takes in how loud a packet is.
    pub(crate) fn hear(&mut self, loud: f32, now: Instant) {
        if loud < AUDIBLE {
            return;
        }
        let fallen = self.audible.map_or(0.0, |audible| {
            let elapsed = now.saturating_duration_since(audible).min(HOLD);
            self.voice - DECAY * elapsed.as_secs_f32()
        });
        self.voice = loud.max(fallen);
        self.audible = Some(now);
    }

    /// Returns how loud the voice is now, in dB above silence; zero where it is silent.
    pub(crate) fn level(&self, now: Instant) -> f32 {
        let heard = self.audible.filter(|_| !self.is_silent(now));
        heard.map_or(0.0, |at| {
            self.voice - DECAY * now.saturating_duration_since(at).as_secs_f32()
        })
    }

    fn is_silent(&self, now: Instant) -> bool {
        let long = |at: Instant| now.saturating_duration_since(at) >= HOLD;
        self.audible.is_none_or(long)
    }
}

impl Loudest {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places,
            holders: Vec::new(),
        }
    }

    /// Whether a packet of `who` is passed on: `loud` is its loudness, `of` tells those of others.
    pub(crate) fn admits<'a>(
        &mut self,
        who: usize,
        loud: f32,
        now: Instant,
        of: impl Fn(usize) -> Option<&'a Loudness>,
    ) -> bool {
        if self.holders.contains(&who) {
            return true;
        }
        if loud < AUDIBLE {
            return false;
        }
        if self.holders.len() < self.places {
            self.holders.push(who);
            return true;
        }
        let mut given: Option<(usize, bool, f32)> = None;
        for (place, holder) in self.holders.iter().enumerate() {
            let loudness = of(*holder);
            let silent = loudness.is_none_or(|loudness| loudness.is_silent(now));
            let level = loudness.map_or(0.0, |loudness| loudness.voice);
            let better = given.is_none_or(|(_, was_silent, least)| {
                (silent && !was_silent) || (silent == was_silent && level < least)
            });
            if better {
                given = Some((place, silent, level));
            }
        }
        match given {
            Some((place, silent, level)) if silent || loud > level + MARGIN => {
                self.holders[place] = who;
                true
            }
            _ => false,
        }
    }

    /// Frees the place of somebody who publishes no sound any more.
    pub(crate) fn remove(&mut self, who: usize) {
        self.holders.retain(|holder| *holder != who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Hall {
        now: Instant,
        loudest: Loudest,
        people: Vec<Loudness>,
    }

    impl Hall {
        fn new(people: usize) -> Self {
            Self {
                now: crate::testing::start(),
                loudest: Loudest::new(6),
                people: (0..people).map(|_| Loudness::default()).collect(),
            }
        }

        /// 20 ms in which each has a level; returns who is passed on.
        fn hear(&mut self, levels: &[u8]) -> Vec<usize> {
            self.now += Duration::from_millis(20);
            let mut heard = Vec::new();
            for (who, level) in levels.iter().enumerate() {
                let loud = loudness(Some(*level), *level < 60);
                self.people[who].hear(loud, self.now);
                let people = &self.people;
                let of = |who: usize| people.get(who);
                if self.loudest.admits(who, loud, self.now, of) {
                    heard.push(who);
                }
            }
            heard
        }
    }

    #[test]
    fn somebody_louder_is_heard_with_the_first_packet() {
        let mut hall = Hall::new(8);
        let mut levels = [40, 40, 40, 40, 40, 50, 127, 127];
        for _ in 0..100 {
            assert_eq!(hall.hear(&levels), [0, 1, 2, 3, 4, 5]);
        }
        levels[7] = 30;
        assert!(hall.hear(&levels).contains(&7));
        assert_eq!(hall.hear(&levels), [0, 1, 2, 3, 4, 7]);
    }

    #[test]
    fn a_pause_of_less_than_two_seconds_costs_no_place() {
        let mut hall = Hall::new(8);
        let mut levels = [30, 40, 40, 40, 40, 40, 127, 127];
        for _ in 0..100 {
            hall.hear(&levels);
        }
        levels[0] = 127;
        for _ in 0..50 {
            hall.hear(&levels);
        }
        levels[6] = 55;
        for _ in 0..49 {
            assert!(hall.hear(&levels).contains(&0), "for 2 s");
        }
        for _ in 0..10 {
            hall.hear(&levels);
        }
        let heard = hall.hear(&levels);
        assert!(!heard.contains(&0) && heard.contains(&6), "after 2 s");
    }

    #[test]
    fn alike_voices_do_not_push_each_other_out() {
        let mut hall = Hall::new(12);
        let mut changes = 0;
        let mut before = Vec::<usize>::new();
        let mut noise = 7_u32;
        for _ in 0..500 {
            let mut levels = [0; 12];
            for level in &mut levels {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *level = 35 + (noise >> 24) as u8 % 12;
            }
            let heard = hall.hear(&levels);
            changes += heard.iter().filter(|who| !before.contains(who)).count();
            before = heard;
        }
        assert!(changes <= 20, "{changes} changes in 10 s");
    }

    #[test]
    fn noise_counts_less_than_voice() {
        assert!(loudness(Some(30), false) < loudness(Some(45), true));
        assert!(loudness(None, false) >= AUDIBLE);
        assert_eq!(loudness(Some(255), false), 0.0);
    }
}
