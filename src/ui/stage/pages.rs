//! Pages: how many tiles one holds, and which of them is shown. Pure.

use std::ops::Range;

use egui::{Vec2, vec2};

/// The most tiles on a page, whatever the screen: seven by seven.
pub(super) const MOST: usize = 49;
/// The smallest tile worth looking at, in points: a face and half of a name.
const LEAST: Vec2 = vec2(176.0, 99.0);

/// Returns how many tiles of a readable size fit into `area` with `gap` between them: 1 to 49.
pub(super) fn capacity(area: Vec2, gap: f32) -> usize {
    let fit = |length: f32, least: f32| ((length + gap) / (least + gap)).max(1.0) as usize;
    (fit(area.x, LEAST.x) * fit(area.y, LEAST.y)).min(MOST)
}

/// Where one is among the pages.
///
/// What is remembered is a person's place in the line, not a number of a page: when a window
/// changes its size, and by that how many a page holds, the same people stay in view.
#[derive(Debug, Default)]
pub(super) struct Pages {
    first: usize,
    turned: isize,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ui) struct Page {
    /// Which, from 0.
    pub(in crate::ui) number: usize,
    /// How many there are, at least 1.
    pub(in crate::ui) of: usize,
    /// Whom it shows: places in the line.
    pub(in crate::ui) shown: Range<usize>,
}

impl Pages {
    /// Turns that many pages forward, or back.
    pub(super) fn turn(&mut self, pages: isize) {
        self.turned += pages;
    }

    /// Returns the page to show of a line of `count`, where a page holds `capacity`.
    pub(super) fn page(&mut self, count: usize, capacity: usize) -> Page {
        let capacity = capacity.max(1);
        let of = count.div_ceil(capacity).max(1);
        let here = (self.first / capacity).min(of - 1);
        let turned = std::mem::take(&mut self.turned);
        let number = here.saturating_add_signed(turned).min(of - 1);
        if number != self.first / capacity {
            self.first = number * capacity;
        }
        let first = number * capacity;
        Page {
            number,
            of,
            shown: first..(first + capacity).min(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_one_tile_in_the_smallest_window_and_seven_by_seven_on_a_large_screen() {
        assert_eq!(capacity(vec2(200.0, 110.0), 8.0), 1);
        assert_eq!(capacity(vec2(0.0, 0.0), 8.0), 1);
        assert_eq!(capacity(vec2(616.0, 340.0), 8.0), 9);
        assert_eq!(capacity(vec2(1896.0, 940.0), 8.0), 49);
        assert_eq!(capacity(vec2(3816.0, 2020.0), 8.0), 49);
        for width in (100..4_000).step_by(37) {
            for height in (60..2_200).step_by(41) {
                let held = capacity(vec2(width as f32, height as f32), 8.0);
                assert!((1..=49).contains(&held));
            }
        }
    }

    #[test]
    fn every_place_is_on_one_page_and_pages_end_where_people_do() {
        for count in 0..=200 {
            for capacity in 1..=49 {
                let mut pages = Pages::default();
                let mut next = 0;
                let of = pages.page(count, capacity).of;
                for number in 0..of {
                    let page = pages.page(count, capacity);
                    assert_eq!((page.number, page.of), (number, of));
                    assert_eq!(page.shown.start, next);
                    assert!(page.shown.len() <= capacity);
                    next = page.shown.end;
                    pages.turn(1);
                }
                assert_eq!(next, count);
                assert_eq!(
                    pages.page(count, capacity).number,
                    of - 1,
                    "there is no more"
                );
            }
        }
    }

    #[test]
    fn a_page_before_the_first_is_the_first() {
        let mut pages = Pages::default();
        pages.turn(-3);
        assert_eq!(pages.page(100, 9).number, 0);
        pages.turn(1);
        assert_eq!(pages.page(100, 9).number, 1);
    }

    #[test]
    fn a_window_that_changes_its_size_goes_on_showing_the_same_people() {
        let mut pages = Pages::default();
        pages.page(200, 9);
        pages.turn(4);
        assert_eq!(pages.page(200, 9).shown, 36..45);
        assert!(pages.page(200, 25).shown.contains(&36));
        assert!(pages.page(200, 2).shown.contains(&36));
        assert_eq!(pages.page(200, 9).shown, 36..45, "and back");
    }

    #[test]
    fn when_people_leave_the_last_page_that_there_is_stays() {
        let mut pages = Pages::default();
        pages.turn(10);
        assert_eq!(pages.page(100, 9).shown, 90..99);
        assert_eq!(pages.page(20, 9).shown, 18..20);
        assert_eq!(
            pages.page(0, 9),
            Page {
                number: 0,
                of: 1,
                shown: 0..0
            }
        );
    }
}
