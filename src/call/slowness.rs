//! Whose connection is slow, and when that is worth a notice. Pure: the time is an argument.
//!
//! One link alone cannot tell which of its two sides is slow; several can: where all of ours
//! suffer it is our side, where only some do it is theirs.
//!
//! ```text
//! Fine ── the same suffers for 5 s ─▶ Said ── 12 s, or all well for 3 s ─▶ Heard ── well for 30 s ─▶ Fine
//! ```

use std::time::{Duration, Instant};

use nonstop_wire::ParticipantId;

/// How long a connection must suffer before it is spoken of: hiccups heal before anybody has read
/// what is said about them.
const SPEAK_AFTER: Duration = Duration::from_secs(5);
/// A better moment this short does not end a slow spell.
const GAP: Duration = Duration::from_secs(3);
/// How long what is said stands at most; the mark on the tile says it for as long as it lasts.
const STANDS: Duration = Duration::from_secs(12);
/// How long a connection must be well before it is spoken of again.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Whose connection is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Slow {
    /// Ours: all links suffer, and there are several.
    Ours,
    /// That of this participant: other links do not suffer.
    Theirs(ParticipantId),
    /// The only link there is suffers, at one end or the other.
    Between(ParticipantId),
}

/// Returns whose connection is slow, from each link that is up and whether it suffers; the first
/// one that does, if several do and others do not.
pub(super) fn whose(links: impl Iterator<Item = (ParticipantId, bool)>) -> Option<Slow> {
    let (mut up, mut suffering, mut first) = (0, 0, None);
    for (id, suffers) in links {
        up += 1;
        if suffers {
            suffering += 1;
            first = first.or(Some(id));
        }
    }
    let first = first?;
    Some(match up {
        1 => Slow::Between(first),
        _ if suffering == up => Slow::Ours,
        _ => Slow::Theirs(first),
    })
}

/// Decides when to speak of a slow connection.
#[derive(Debug, Default)]
pub(super) struct SlowWatch {
    spell: Option<Spell>,
    heard: Vec<Heard>,
}

/// The same connection being slow, without a pause worth the name.
#[derive(Debug, Clone, Copy)]
struct Spell {
    slow: Slow,
    since: Instant,
    last: Instant,
}

/// Something that was said, and when it was last true.
#[derive(Debug, Clone, Copy)]
struct Heard {
    slow: Slow,
    said: Instant,
    last: Instant,
}

impl SlowWatch {
    /// Takes whose connection is slow now. Returns what is to be said about it as long as that
    /// is to stand on the screen: at most one thing.
    pub(super) fn update(&mut self, slow: Option<Slow>, now: Instant) -> Option<Slow> {
        self.follow(slow, now);
        self.heard.retain_mut(|heard| {
            if slow == Some(heard.slow) {
                heard.last = now;
            }
            now.saturating_duration_since(heard.last) < AGAIN_AFTER
        });
        let spell = self.spell?;
        let heard = self.heard.iter().find(|heard| heard.slow == spell.slow);
        let since = match heard {
            Some(heard) => heard.said,
            None if slow == Some(spell.slow)
                && now.saturating_duration_since(spell.since) >= SPEAK_AFTER =>
            {
                self.heard.push(Heard {
                    slow: spell.slow,
                    said: now,
                    last: now,
                });
                now
            }
            None => return None,
        };
        (now.saturating_duration_since(since) < STANDS).then_some(spell.slow)
    }

    fn follow(&mut self, slow: Option<Slow>, now: Instant) {
        match (&mut self.spell, slow) {
            (Some(spell), Some(slow)) if spell.slow == slow => spell.last = now,
            // What is over, or became something else, is believed after a moment only.
            (Some(spell), _) if now.saturating_duration_since(spell.last) < GAP => {}
            (spell, Some(slow)) => {
                *spell = Some(Spell {
                    slow,
                    since: now,
                    last: now,
                });
            }
            (spell, None) => *spell = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn id(number: u64) -> ParticipantId {
        ParticipantId::from_bits(number)
    }

    fn judged(links: &[(u64, bool)]) -> Option<Slow> {
        whose(
            links
                .iter()
                .map(|(number, suffers)| (id(*number), *suffers)),
        )
    }

    /// A watch in simulated time; remembers what stood on the screen in each second.
    struct Story {
        watch: SlowWatch,
        now: Instant,
    }

    impl Story {
        fn begin() -> Self {
            Self {
                watch: SlowWatch::default(),
                now: clock::now(),
            }
        }

        /// Lets that many seconds pass and returns what stood in each.
        fn pass(&mut self, slow: Option<Slow>, seconds: usize) -> Vec<Option<Slow>> {
            let second = |_| {
                let said = self.watch.update(slow, self.now);
                self.now += Duration::from_secs(1);
                said
            };
            (0..seconds).map(second).collect()
        }
    }

    #[test]
    fn which_side_is_slow_shows_from_how_many_links_suffer() {
        assert_eq!(judged(&[]), None);
        assert_eq!(judged(&[(1, false), (2, false)]), None);
        assert_eq!(judged(&[(1, true)]), Some(Slow::Between(id(1))));
        assert_eq!(
            judged(&[(1, false), (2, true), (3, false)]),
            Some(Slow::Theirs(id(2)))
        );
        assert_eq!(judged(&[(1, true), (2, true)]), Some(Slow::Ours));
    }

    #[test]
    fn a_hiccup_is_not_spoken_of_and_five_seconds_are() {
        let mut story = Story::begin();
        let slow = Some(Slow::Ours);
        assert_eq!(story.pass(slow, 5), [None; 5]);
        assert_eq!(story.pass(None, 5), [None; 5]);
        assert_eq!(story.pass(slow, 5), [None; 5]);
        assert_eq!(story.pass(slow, 1), [slow]);
    }

    #[test]
    fn one_good_second_in_a_slow_spell_changes_nothing() {
        let mut story = Story::begin();
        let slow = Some(Slow::Theirs(id(1)));
        story.pass(slow, 3);
        story.pass(None, 1);
        assert_eq!(story.pass(slow, 2), [None, slow]);
        assert_eq!(story.pass(None, 2), [slow; 2]);
        assert_eq!(story.pass(slow, 1), [slow]);
    }

    #[test]
    fn what_was_said_goes_by_itself_though_the_connection_stays_slow() {
        let mut story = Story::begin();
        let slow = Some(Slow::Ours);
        story.pass(slow, 5);
        let said = story.pass(slow, 60);
        let stood = said.iter().filter(|said| said.is_some()).count();
        assert_eq!(stood, STANDS.as_secs() as usize);
        assert_eq!(said[..stood], vec![slow; stood]);
    }

    #[test]
    fn it_goes_soon_after_the_connection_is_well() {
        let mut story = Story::begin();
        let slow = Some(Slow::Ours);
        story.pass(slow, 7);
        let said = story.pass(None, 10);
        assert_eq!(said[..2], [slow; 2]);
        assert_eq!(said[2..], [None; 8]);
    }

    #[test]
    fn a_connection_that_comes_and_goes_is_spoken_of_once() {
        let mut story = Story::begin();
        let slow = Some(Slow::Theirs(id(1)));
        let mut said = 0;
        for _ in 0..10 {
            let shown = story.pass(slow, 14);
            said += shown
                .windows(2)
                .filter(|two| two[0].is_none() && two[1].is_some())
                .count();
            story.pass(None, 10);
        }
        assert_eq!(said, 1);
        story.pass(None, 30);
        assert_eq!(
            story.pass(slow, 6)[5],
            slow,
            "a new spell after a long rest"
        );
    }

    #[test]
    fn only_one_thing_is_said_at_a_time() {
        let mut story = Story::begin();
        let (one, two) = (Some(Slow::Theirs(id(1))), Some(Slow::Theirs(id(2))));
        story.pass(one, 6);
        let said = story.pass(two, 12);
        assert_eq!(said[0], one, "not at once");
        assert_eq!(said.last(), Some(&two));
    }
}
