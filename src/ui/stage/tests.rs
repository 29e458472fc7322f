//! Stories of a stage: who is shown while people come, go, speak and are pinned.

use std::time::Duration;

use egui::{Pos2, vec2};

use super::*;
use crate::{
    call::{Attempt, History, Protection, Quality, Side},
    clock,
};

const SECOND: Duration = Duration::from_secs(1);

/// A stage, people in front of it, and a clock that the story moves.
struct Story {
    stage: Stage,
    people: Vec<Participant>,
    wishes: Wishes,
    area: Rect,
    now: Instant,
}

impl Story {
    /// 1256 x 660 points hold 36 tiles, one's own among them.
    fn with(people: u64) -> Self {
        Self {
            stage: Stage::default(),
            people: (1..=people).map(somebody).collect(),
            wishes: Wishes {
                layout: Layout::Gallery,
                own: true,
            },
            area: Rect::from_min_size(Pos2::ZERO, vec2(1_256.0, 660.0)),
            now: clock::now() + 600 * SECOND,
        }
    }

    fn paint(&mut self) -> Scene {
        (self.stage).arrange(self.area, &self.people, self.wishes, self.now)
    }

    fn tiles(&mut self) -> Vec<u64> {
        self.paint().tiles.iter().map(|(id, _)| *id).collect()
    }

    fn large(&mut self) -> Option<u64> {
        self.paint().large.map(|(id, _)| id)
    }

    /// Lets exactly this one speak for that long, painted twenty times a second.
    fn speaks(&mut self, who: u64, time: Duration) {
        for person in &mut self.people {
            let speaking = person.id == who;
            if person.speaking != speaking {
                person.speaking = speaking;
                person.spoke_at = Some(self.now);
            }
        }
        let end = self.now + time;
        while self.now < end {
            self.now += SECOND / 20;
            self.paint();
        }
    }

    fn leaves(&mut self, who: u64) {
        self.people.retain(|person| person.id != who);
    }
}

fn somebody(id: u64) -> Participant {
    Participant {
        id,
        name: format!("Guest {id}"),
        picture: None,
        microphone: true,
        camera: true,
        level: 0.0,
        speaking: false,
        spoke_at: None,
        stage: crate::call::Stage::Connected,
        attempt: Attempt::default(),
        path: "direct".into(),
        protection: Protection::EndToEnd,
        quality: Quality::Good,
        cause: None,
        side: Side::Unknown,
        video_paused: None,
        round_trip: None,
        received: None,
        history: History::default(),
    }
}

#[test]
fn two_hundred_people_are_asked_for_a_page_at_a_time_and_nobody_is_left_out() {
    let mut story = Story::with(199);
    let pages = story.paint().page.of;
    assert_eq!(pages, 6, "35 others a page");
    let mut seen = Vec::new();
    for _ in 0..pages {
        let shown: Vec<u64> = story.paint().shown().map(|(id, _)| id).collect();
        assert!(shown.len() <= 49);
        seen.extend(shown);
        story.stage.turn(1);
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=199).collect::<Vec<_>>());
}

#[test]
fn a_page_stands_still_while_people_come_and_go_elsewhere() {
    let mut story = Story::with(120);
    story.stage.turn(1);
    let before = story.tiles();
    story.people.push(somebody(500));
    story.leaves(110);
    story.people.push(somebody(501));
    assert_eq!(story.tiles(), before);
    story.leaves(before[4]);
    let after = story.tiles();
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(one, other)| one != other);
    assert_eq!(moved.count(), 1, "only the empty seat was taken");
}

#[test]
fn whoever_speaks_on_another_page_is_brought_into_sight_and_all_others_stay() {
    let mut story = Story::with(120);
    let before = story.tiles();
    story.speaks(77, SECOND);
    assert_eq!(story.tiles(), before, "one word moves nobody");
    story.speaks(77, 2 * SECOND);
    let after = story.tiles();
    assert!(after.contains(&77));
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(one, other)| one != other);
    assert_eq!(moved.count(), 1);
}

#[test]
fn the_speaker_is_large_and_changes_places_with_the_one_before() {
    let mut story = Story::with(30);
    story.wishes.layout = Layout::Speaker;
    assert_eq!(story.large(), Some(1), "nobody has spoken yet");
    story.speaks(2, 4 * SECOND);
    assert_eq!(story.large(), Some(2));
    let before = story.tiles();
    let three = before.iter().position(|id| *id == 3).expect("in sight");
    story.speaks(3, 4 * SECOND);
    assert_eq!(story.large(), Some(3));
    let after = story.tiles();
    assert_eq!(after[three], 2);
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(one, other)| one != other);
    assert_eq!(moved.count(), 1);
}

#[test]
fn the_speaker_before_stays_in_sight_where_the_next_comes_from_another_page() {
    let mut story = Story::with(30);
    story.wishes.layout = Layout::Speaker;
    story.speaks(2, 4 * SECOND);
    assert!(!story.tiles().contains(&28));
    story.speaks(28, 4 * SECOND);
    assert_eq!(story.large(), Some(28));
    assert!(story.tiles().contains(&2));
}

#[test]
fn a_pin_outranks_the_speaker_in_every_layout_and_goes_with_who_is_pinned() {
    for layout in [Layout::Gallery, Layout::Speaker] {
        let mut story = Story::with(12);
        story.wishes.layout = layout;
        story.stage.pin(Some(5));
        story.speaks(2, 10 * SECOND);
        assert_eq!(story.large(), Some(5));
        assert!(!story.tiles().contains(&5), "once is enough");
        story.leaves(5);
        let large = match layout {
            Layout::Gallery => None,
            Layout::Speaker => Some(2),
        };
        assert_eq!(story.large(), large);
        assert_eq!(story.stage.pinned(), None);
    }
}

#[test]
fn one_other_is_shown_alike_in_every_layout() {
    let mut story = Story::with(1);
    let gallery = story.paint();
    story.wishes.layout = Layout::Speaker;
    story.stage.pin(Some(1));
    assert_eq!(story.paint().tiles, gallery.tiles);
    assert_eq!(gallery.tiles.len(), 1);
}

#[test]
fn one_s_own_tile_can_be_hidden_which_makes_room_for_another() {
    let mut story = Story::with(120);
    assert!(story.paint().own.is_some());
    assert_eq!(story.tiles().len(), 35);
    story.wishes.own = false;
    assert!(story.paint().own.is_none());
    assert_eq!(story.tiles().len(), 36);
}

#[test]
fn whatever_happens_everybody_shown_is_there_once_and_within_the_window() {
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = move |bound: u64| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        chance % bound
    };
    let mut story = Story::with(60);
    let mut next = 1_000;
    for _ in 0..3_000 {
        story.now += Duration::from_millis(below(400));
        match below(12) {
            0 => {
                story.people.push(somebody(next));
                next += 1;
            }
            1 if !story.people.is_empty() => {
                let at = below(story.people.len() as u64) as usize;
                story.people.remove(at);
            }
            2 => story.stage.turn(below(5) as isize - 2),
            3 => story.stage.pin((below(2) == 0).then(|| below(80))),
            4 => {
                story.wishes.layout = match below(2) {
                    0 => Layout::Gallery,
                    _ => Layout::Speaker,
                };
                story.wishes.own = below(2) == 0;
            }
            5 => {
                let size = vec2(150.0 + below(3_000) as f32, 120.0 + below(1_500) as f32);
                story.area = Rect::from_min_size(Pos2::ZERO, size);
            }
            _ if !story.people.is_empty() => {
                let at = below(story.people.len() as u64) as usize;
                story.people[at].speaking ^= true;
                story.people[at].spoke_at = Some(story.now);
                story.people[at].camera = below(3) > 0;
            }
            _ => {}
        }
        let scene = story.paint();
        let mut shown: Vec<u64> = scene.shown().map(|(id, _)| id).collect();
        assert!(shown.len() <= 49);
        assert_eq!(shown.is_empty(), story.people.is_empty());
        let there = |id: &u64| story.people.iter().any(|person| person.id == *id);
        assert!(shown.iter().all(there));
        let count = shown.len();
        shown.sort_unstable();
        shown.dedup();
        assert_eq!(shown.len(), count, "once each");
        let inside = story.area.expand(1.0);
        assert!(scene.shown().all(|(_, place)| inside.contains_rect(place)));
    }
}
