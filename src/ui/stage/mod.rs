//! Who is shown, where and how large: decided here, once a paint, from who is there, who speaks
//! and what was asked for. Pure; painting follows it, and so does what is asked of the network:
//! whoever is not in the [`Scene`] is not watched.
//!
//! ```text
//! who is there ──▶ seats (nobody jumps) ──┐
//! who speaks ───▶ speaker, attend ────────┼─▶ [Stage::arrange] ──▶ Scene: large, page, own
//! pin, layout, page, size of the window ──┘
//! ```

mod arrangement;
mod pages;
mod seats;
mod speaker;

use std::{collections::HashMap, time::Instant};

use egui::Rect;

pub(super) use self::pages::Page;
use self::{
    arrangement::Room,
    pages::Pages,
    seats::{Guest, Seats},
    speaker::Speaker,
};
use super::theme::space;
use crate::{call::Participant, config::Layout};

/// What is remembered of a call's stage from paint to paint.
#[derive(Debug, Default)]
pub(super) struct Stage {
    seats: Seats,
    pages: Pages,
    speaker: Speaker,
    pinned: Option<u64>,
    large: Option<u64>,
}

/// What a person has chosen about the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wishes {
    /// How the others are laid out.
    pub(super) layout: Layout,
    /// Whether one's own tile is shown.
    pub(super) own: bool,
}

/// Who is shown, and where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scene {
    /// The whole stage.
    pub(super) area: Rect,
    /// Whoever is shown large, where anybody is.
    pub(super) large: Option<(u64, Rect)>,
    /// The others on the page.
    pub(super) tiles: Vec<(u64, Rect)>,
    /// One's own tile, where it is shown.
    pub(super) own: Option<Rect>,
    /// Whether one's own tile may lie on another.
    pub(super) own_on_top: bool,
    /// The page that is shown.
    pub(super) page: Page,
    /// Whether somebody else may soon be shown although nothing new happens.
    pub(super) restless: bool,
}

impl Scene {
    /// Returns everybody who is shown, the large one first.
    pub(super) fn shown(&self) -> impl Iterator<Item = (u64, Rect)> + '_ {
        self.large.iter().chain(&self.tiles).copied()
    }
}

impl Stage {
    /// Pins that person, or nobody: whoever is pinned is shown large, whoever speaks.
    pub(super) fn pin(&mut self, person: Option<u64>) {
        self.pinned = person;
    }

    /// Returns who is pinned.
    pub(super) fn pinned(&self) -> Option<u64> {
        self.pinned
    }

    /// Turns that many pages forward, or back.
    pub(super) fn turn(&mut self, pages: isize) {
        self.pages.turn(pages);
    }

    /// Arranges everybody in `area`.
    pub(super) fn arrange(
        &mut self,
        area: Rect,
        people: &[Participant],
        wishes: Wishes,
        now: Instant,
    ) -> Scene {
        let guests: Vec<Guest> = people.iter().map(guest).collect();
        let by_id: HashMap<u64, Guest> = guests.iter().map(|guest| (guest.id, *guest)).collect();
        let find = |id: u64| by_id.get(&id).copied();
        self.seats.follow(people.iter().map(|person| person.id));
        self.pinned = self.pinned.filter(|id| find(*id).is_some());
        let before = self.large.filter(|id| find(*id).is_some());
        let speaker = self.speaker.update(&guests, now);
        let large = match wishes.layout {
            _ if self.pinned.is_some() => self.pinned,
            Layout::Speaker => speaker
                .or(before)
                .or(self.seats.line(None).first().copied()),
            Layout::Gallery => None,
        };
        // One other is as large as can be without that.
        let large = large.filter(|_| people.len() > 1);
        let room = match large {
            Some(_) => Room::one_large(area, wishes.own, space::SMALL),
            None => Room::gallery(area, people.len(), wishes.own, space::SMALL),
        };
        if let (Some(before), Some(large)) = (before, large)
            && before != large
        {
            self.hand_over(before, large, room.capacity, &find, now);
        }
        self.large = large;

        let mut line = self.seats.line(large);
        let page = self.pages.page(line.len(), room.capacity);
        if self.seats.attend(&line, page.shown.clone(), find, now) {
            line = self.seats.line(large);
        }
        let places = room.places(page.shown.len());
        let on_page = line[page.shown.clone()].iter().copied();
        let hidden = page.of > 1 || wishes.layout == Layout::Speaker;
        Scene {
            area,
            large: large.zip(places.large),
            tiles: on_page.zip(places.tiles).collect(),
            own: places.own,
            own_on_top: places.own_on_top,
            page,
            restless: hidden && guests.iter().any(|guest| guest.speaking),
        }
    }

    /// Lets `large` be shown in place of `before`, who takes a seat on the page: nobody else there
    /// moves, but for one who makes room where `large` comes from another page.
    fn hand_over(
        &mut self,
        before: u64,
        large: u64,
        capacity: usize,
        find: &impl Fn(u64) -> Option<Guest>,
        now: Instant,
    ) {
        let line = self.seats.line(Some(before));
        let page = self.pages.page(line.len(), capacity).shown;
        let on_page = &line[page];
        if !on_page.contains(&large) {
            let guests: Vec<Guest> = on_page.iter().filter_map(|id| find(*id)).collect();
            let least = seats::least_active(&guests, now).or(on_page.last().copied());
            if let Some(least) = least {
                self.seats.exchange(large, least);
            }
        }
        self.seats.exchange(before, large);
    }
}

fn guest(person: &Participant) -> Guest {
    Guest {
        id: person.id,
        speaking: person.speaking,
        spoke_at: person.spoke_at,
        camera: person.camera,
    }
}

#[cfg(test)]
mod tests;
