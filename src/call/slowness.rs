//! Whose connection is slow, and when that is worth a notice. Pure: the time is an argument.
//!
//! One link alone cannot tell which of its two sides is slow. Several can, and so can the other
//! side's: each side tells the others how many of its links suffer (`strain` of
//! docs/protocol.md). What a link carries upward for us it carries downward for them.
//!
//! | This link suffers, and | Their links | Then it is |
//! | --- | --- | --- |
//! | all of ours do | not all suffer | ours |
//! | all of ours do | all of everybody's suffer | everybody's |
//! | others of ours do not, or there are none | all suffer | theirs |
//! | others of ours do not | some do not | between us |
//! | at least two others of ours do not | not told, or only this one | theirs: nothing else is left |
//!
//! ```text
//! Fine ── the same suffers for 5 s ─▶ Said ── 12 s, or all well for 3 s ─▶ Heard ── well for 30 s ─▶ Fine
//! ```

use std::time::{Duration, Instant};

use nonstop_wire::{ParticipantId, Strain};

use super::{Side, quality::Suffering};

/// How long a connection must suffer before it is spoken of: hiccups heal before anybody has read
/// what is said about them.
const SPEAK_AFTER: Duration = Duration::from_secs(5);
/// A better moment this short does not end a slow spell.
const GAP: Duration = Duration::from_secs(3);
/// How long what is said stands at most; the mark on the tile says it for as long as it lasts.
const STANDS: Duration = Duration::from_secs(12);
/// How long a connection must be well before it is spoken of again.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How many links of ours must be well before one that is not is put down to a side that says
/// nothing: with one, it could as well be the way between.
const CLEARED_BY: usize = 2;

/// Whose connection is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Slow {
    /// Ours: all links suffer, and there are several.
    Ours,
    /// That of this participant, by their own account, or because nothing else is left.
    Theirs(ParticipantId),
    /// This link suffers, and neither end can be blamed for it.
    Between(ParticipantId),
    /// All links of everybody suffer.
    Everybodys,
}

/// What both ends know of a link that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witness {
    /// The other.
    pub(super) id: ParticipantId,
    /// In which directions the link suffers.
    pub(super) suffering: Suffering,
    /// How all their links do, if they said so.
    pub(super) theirs: Option<Strain>,
}

/// Whose connection is slow, all in all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Finding {
    /// The worst of it.
    pub(super) slow: Option<Slow>,
    /// In which directions, where it is ours.
    pub(super) ours: Suffering,
    /// At which end, for each link that suffers.
    pub(super) sides: Vec<(ParticipantId, Side)>,
}

/// What the other side says of its own links in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// All of several suffer.
    All,
    /// Some of several do not.
    NotAll,
    /// Nothing, or there is only the one between us.
    None,
}

/// Returns how all our links do together, to be told the others.
pub(super) fn strain(links: &[Witness]) -> Strain {
    let count = |suffers: fn(&Suffering) -> bool| {
        let links = links.iter().filter(|link| suffers(&link.suffering));
        links.count() as u32
    };
    Strain {
        links: links.len() as u32,
        up: count(|suffering| suffering.up),
        down: count(|suffering| suffering.down),
    }
}

/// Finds whose connection is slow, from all links that are up.
pub(super) fn find(links: &[Witness]) -> Finding {
    let up = one_way(links, |suffering| suffering.up, |theirs| theirs.down);
    let down = one_way(links, |suffering| suffering.down, |theirs| theirs.up);
    let ours = Suffering {
        up: up.iter().any(|(_, slow)| *slow == Slow::Ours),
        down: down.iter().any(|(_, slow)| *slow == Slow::Ours),
    };
    let all = [up, down].concat();
    let slow = (all.iter().map(|(_, slow)| *slow)).min_by_key(|slow| match slow {
        Slow::Ours => 0,
        Slow::Theirs(_) => 1,
        Slow::Everybodys => 2,
        Slow::Between(_) => 3,
    });
    let side = |(id, slow): &(ParticipantId, Slow)| match slow {
        Slow::Ours => Some((*id, Side::Ours)),
        Slow::Theirs(_) => Some((*id, Side::Theirs)),
        Slow::Between(_) | Slow::Everybodys => None,
    };
    Finding {
        slow,
        ours,
        sides: all.iter().filter_map(side).collect(),
    }
}

/// Judges each link that suffers in one direction.
fn one_way(
    links: &[Witness],
    suffers: fn(&Suffering) -> bool,
    at_their_end: fn(&Strain) -> u32,
) -> Vec<(ParticipantId, Slow)> {
    let word = |link: &Witness| match &link.theirs {
        Some(theirs) if theirs.links >= 2 && at_their_end(theirs) >= theirs.links => Word::All,
        Some(theirs) if theirs.links >= 2 => Word::NotAll,
        _ => Word::None,
    };
    let slow = links.iter().filter(|link| suffers(&link.suffering));
    let slow: Vec<&Witness> = slow.collect();
    let well = links.len() - slow.len();
    let everybody = slow.iter().all(|link| word(link) == Word::All);
    let judge = |link: &&Witness| {
        let id = link.id;
        let slow = match (well, word(link)) {
            (0, Word::All) if links.len() == 1 => Slow::Theirs(id),
            (0, _) if links.len() == 1 => Slow::Between(id),
            (0, _) if everybody => Slow::Everybodys,
            (0, _) => Slow::Ours,
            (_, Word::All) => Slow::Theirs(id),
            (_, Word::NotAll) => Slow::Between(id),
            (CLEARED_BY.., Word::None) => Slow::Theirs(id),
            (_, Word::None) => Slow::Between(id),
        };
        (id, slow)
    };
    slow.iter().map(judge).collect()
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

    const WELL: Suffering = Suffering {
        up: false,
        down: false,
    };
    const UP: Suffering = Suffering {
        up: true,
        down: false,
    };
    const DOWN: Suffering = Suffering {
        up: false,
        down: true,
    };

    /// Links to participants 1, 2, 3 …: how each suffers, and what the other says of its own
    /// links (how many there are, and how many suffer up and down).
    fn links(links: &[(Suffering, Option<[u32; 3]>)]) -> Vec<Witness> {
        let witness = |(number, (suffering, theirs)): (u64, &(Suffering, Option<[u32; 3]>))| {
            let strain = |[links, up, down]: [u32; 3]| Strain { links, up, down };
            Witness {
                id: id(number),
                suffering: *suffering,
                theirs: theirs.map(strain),
            }
        };
        (1..).zip(links).map(witness).collect()
    }

    fn judged(these: &[(Suffering, Option<[u32; 3]>)]) -> Option<Slow> {
        find(&links(these)).slow
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
    fn nothing_is_slow_where_nothing_suffers_and_one_link_does_not_tell() {
        assert_eq!(judged(&[]), None);
        assert_eq!(judged(&[(WELL, None), (WELL, Some([2, 1, 1]))]), None);
        let between = Some(Slow::Between(id(1)));
        assert_eq!(judged(&[(UP, None)]), between);
        assert_eq!(judged(&[(UP, Some([1, 0, 1]))]), between);
    }

    #[test]
    fn a_single_link_is_judged_by_the_other_links_of_the_other_side() {
        assert_eq!(judged(&[(UP, Some([3, 0, 1]))]), Some(Slow::Between(id(1))));
        assert_eq!(judged(&[(UP, Some([3, 0, 3]))]), Some(Slow::Theirs(id(1))));
    }

    #[test]
    fn where_all_of_ours_suffer_it_is_ours_unless_everybody_suffers() {
        let theirs_are_well = Some([2, 0, 1]);
        let theirs_suffer = Some([2, 0, 2]);
        assert_eq!(judged(&[(UP, None), (UP, None)]), Some(Slow::Ours));
        assert_eq!(
            judged(&[(UP, theirs_are_well), (UP, theirs_suffer)]),
            Some(Slow::Ours)
        );
        assert_eq!(
            judged(&[(UP, theirs_suffer), (UP, theirs_suffer)]),
            Some(Slow::Everybodys)
        );
    }

    #[test]
    fn it_is_theirs_when_their_side_agrees() {
        let agrees = Some([2, 0, 2]);
        let others = Some([2, 0, 1]);
        assert_eq!(
            judged(&[(WELL, others), (UP, agrees)]),
            Some(Slow::Theirs(id(2)))
        );
        assert_eq!(
            judged(&[(WELL, others), (UP, others)]),
            Some(Slow::Between(id(2))),
            "their other link is well, and so is ours"
        );
    }

    #[test]
    fn it_is_theirs_when_nothing_else_is_left() {
        let silent = (UP, None);
        assert_eq!(judged(&[(WELL, None), silent]), Some(Slow::Between(id(2))));
        assert_eq!(
            judged(&[(WELL, None), (WELL, None), silent]),
            Some(Slow::Theirs(id(3)))
        );
    }

    #[test]
    fn what_is_up_for_us_is_down_for_them() {
        let only_up = Some([2, 2, 0]);
        let cases = [(UP, Slow::Between(id(2))), (DOWN, Slow::Theirs(id(2)))];
        for (suffering, expected) in cases {
            let slow = judged(&[(WELL, None), (suffering, only_up)]);
            assert_eq!(slow, Some(expected), "{suffering:?}");
        }
    }

    #[test]
    fn the_directions_of_ours_are_told_apart() {
        let both = find(&links(&[(UP, None), (UP, None)]));
        assert_eq!(both.ours, UP);
        assert_eq!(both.sides, [(id(1), Side::Ours), (id(2), Side::Ours)]);
        let mixed = find(&links(&[(UP, None), (DOWN, None)]));
        assert_eq!(mixed.ours, WELL, "no direction suffers on all of them");
    }

    #[test]
    fn the_others_are_told_how_many_of_ours_suffer() {
        let told = strain(&links(&[
            (UP, None),
            (DOWN, None),
            (WELL, None),
            (UP, None),
        ]));
        let expected = Strain {
            links: 4,
            up: 2,
            down: 1,
        };
        assert_eq!(told, expected);
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
