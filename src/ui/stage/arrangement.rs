//! Where everybody is shown: tiles of one size, or one large and the others in a strip beside or
//! below. Pure geometry.

use egui::{Rect, Vec2, pos2, vec2};

use super::super::grid::{self, ASPECT};

/// With more others than this, one's own tile takes a place among theirs: in the corner it would
/// hide somebody.
const OWN_IN_CORNER: usize = 4;
/// How wide a tile of the strip is where it is narrow, in points: at least and at most.
const STRIP: std::ops::RangeInclusive<f32> = 128.0..=240.0;
/// How much of the stage's width a tile of the strip takes.
const STRIP_SHARE: f32 = 0.17;

/// How much room there is for the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Room {
    area: Rect,
    gap: f32,
    kind: Kind,
    /// How many others are shown at once, besides a large one.
    pub(super) capacity: usize,
    own: Own,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Gallery,
    /// One large in the first area, the others in the strip.
    OneLarge(Rect, Strip),
}

/// Where the others are beside or below a large one: rows of tiles of one size.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Strip {
    area: Rect,
    tile: Vec2,
    columns: usize,
    rows: usize,
}

/// Where one's own tile goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Hidden,
    Corner,
    Among,
}

/// Where everybody is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Places {
    /// The large tile, where there is one.
    pub(super) large: Option<Rect>,
    /// The others.
    pub(super) tiles: Vec<Rect>,
    /// One's own tile, where it is shown.
    pub(super) own: Option<Rect>,
    /// Whether one's own tile may lie on another.
    pub(super) own_on_top: bool,
}

impl Room {
    /// Returns the room that `area` has for tiles of one size, of `others` people and one's own
    /// where that is shown.
    pub(super) fn gallery(area: Rect, others: usize, own: bool, gap: f32) -> Self {
        let whole = super::pages::capacity(area.size(), gap);
        let own = match own {
            false => Own::Hidden,
            true if others <= OWN_IN_CORNER || whole < 4 => Own::Corner,
            true => Own::Among,
        };
        let capacity = whole - usize::from(own == Own::Among);
        Self {
            area,
            gap,
            kind: Kind::Gallery,
            capacity,
            own,
        }
    }

    /// Returns the room that `area` has besides one large tile: a strip at the right or below,
    /// whichever leaves the large tile larger.
    pub(super) fn one_large(area: Rect, own: bool, gap: f32) -> Self {
        let width = (area.width() * STRIP_SHARE).clamp(*STRIP.start(), *STRIP.end());
        let tile = vec2(width, width / ASPECT).min(area.size() / 2.0);
        let beside = (area.width() - tile.x - gap).min(area.height() * ASPECT);
        let above = (area.height() - tile.y - gap).min(area.width() / ASPECT);
        // What a large tile cannot use because of its shape, the strip has.
        let (large, strip) = match beside >= above * ASPECT {
            true => {
                let (left, right) = area.split_left_right_at_x(area.left() + beside);
                let right = right.with_min_x(right.left() + gap);
                let columns = fitting(right.width(), tile.x, gap);
                let width = part(right.width(), columns, gap).min(right.height() * ASPECT);
                (left, Strip::new(right, vec2(width, width / ASPECT), gap))
            }
            false => {
                let (top, bottom) = area.split_top_bottom_at_y(area.top() + above);
                let bottom = bottom.with_min_y(bottom.top() + gap);
                let rows = fitting(bottom.height(), tile.y, gap);
                let height = part(bottom.height(), rows, gap).min(bottom.width() / ASPECT);
                (top, Strip::new(bottom, vec2(height * ASPECT, height), gap))
            }
        };
        // With the large one, no more than a page of equals holds.
        let whole = (strip.columns * strip.rows).min(super::pages::MOST - 1);
        let own = match own {
            false => Own::Hidden,
            true if whole < 2 => Own::Corner,
            true => Own::Among,
        };
        Self {
            area,
            gap,
            kind: Kind::OneLarge(large, strip),
            capacity: whole - usize::from(own == Own::Among),
            own,
        }
    }

    /// Returns the places of `shown` others, at most as many as there is room for.
    pub(super) fn places(&self, shown: usize) -> Places {
        let shown = shown.min(self.capacity);
        let among = usize::from(self.own == Own::Among);
        let (large, mut tiles) = match self.kind {
            Kind::Gallery => (None, grid::layout(self.area, shown + among, self.gap)),
            Kind::OneLarge(large, strip) => {
                let large = grid::layout(large, 1, self.gap).pop();
                (large, strip.layout(shown + among, self.gap))
            }
        };
        let own = match self.own {
            Own::Hidden => None,
            Own::Among => tiles.pop(),
            Own::Corner => {
                let under: Vec<Rect> = tiles.iter().copied().chain(large).collect();
                Some(grid::own_tile(self.area, &under, self.gap + 4.0))
            }
        };
        Places {
            large,
            tiles,
            own,
            own_on_top: self.own == Own::Corner,
        }
    }
}

impl Strip {
    fn new(area: Rect, tile: Vec2, gap: f32) -> Self {
        Self {
            area,
            tile,
            columns: fitting(area.width(), tile.x, gap),
            rows: fitting(area.height(), tile.y, gap),
        }
    }

    /// Returns the places of `count` tiles, in the middle.
    fn layout(&self, count: usize, gap: f32) -> Vec<Rect> {
        let step = self.tile + Vec2::splat(gap);
        let extent = |tiles: usize, step: f32| tiles as f32 * step - gap;
        let rows = count.div_ceil(self.columns);
        let top = self.area.center().y - extent(rows, step.y) / 2.0;
        (0..count)
            .map(|index| {
                let (row, column) = (index / self.columns, index % self.columns);
                let in_row = self.columns.min(count - row * self.columns);
                let left = self.area.center().x - extent(in_row, step.x) / 2.0;
                let corner = vec2(column as f32, row as f32) * step;
                Rect::from_min_size(pos2(left, top) + corner, self.tile)
            })
            .collect()
    }
}

/// How many parts of a length fit into a whole, at least one.
fn fitting(whole: f32, part: f32, gap: f32) -> usize {
    // Half a point of grace: what was made to fit does.
    ((whole + gap + 0.5) / (part + gap)).max(1.0) as usize
}

/// How long each of so many parts of a whole is.
fn part(whole: f32, parts: usize, gap: f32) -> f32 {
    (whole - gap * (parts - 1) as f32) / parts as f32
}

#[cfg(test)]
mod tests {
    use egui::Pos2;

    use super::*;

    const GAP: f32 = 8.0;

    fn stages() -> impl Iterator<Item = Rect> {
        let widths = [220.0, 336.0, 616.0, 1256.0, 1896.0, 3416.0];
        let heights = [160.0, 220.0, 340.0, 660.0, 940.0, 1900.0];
        let sizes = widths
            .into_iter()
            .flat_map(move |width| heights.map(|height| vec2(width, height)));
        sizes.map(|size| Rect::from_min_size(pos2(12.0, 52.0), size))
    }

    fn check(area: Rect, places: &Places) {
        let mut rects: Vec<Rect> = places.tiles.iter().copied().chain(places.large).collect();
        if !places.own_on_top {
            rects.extend(places.own);
        }
        for (index, rect) in rects.iter().enumerate() {
            assert!(area.expand(0.6).contains_rect(*rect), "{rect} in {area}");
            let shape = rect.width() / rect.height();
            assert!((shape - ASPECT).abs() < 0.02, "{rect} in {area}");
            for other in &rects[index + 1..] {
                let apart = !rect.shrink(0.5).intersects(other.shrink(0.5));
                assert!(apart, "{rect} and {other} in {area}");
            }
        }
        if let Some(own) = places.own {
            assert!(area.expand(0.6).contains_rect(own), "{own} in {area}");
        }
    }

    #[test]
    fn nobody_is_hidden_by_another_at_any_size_and_count() {
        for area in stages() {
            for own in [true, false] {
                for others in 1..=49 {
                    let room = Room::gallery(area, others, own, GAP);
                    let shown = others.min(room.capacity);
                    let places = room.places(others);
                    assert_eq!(places.tiles.len(), shown);
                    assert_eq!(places.own.is_some(), own);
                    check(area, &places);
                    let room = Room::one_large(area, own, GAP);
                    let places = room.places(others);
                    assert_eq!(places.tiles.len(), others.min(room.capacity));
                    assert!(places.large.is_some());
                    check(area, &places);
                }
            }
        }
    }

    #[test]
    fn the_large_one_is_much_larger_than_the_others() {
        for area in stages().filter(|area| area.width() > 500.0 && area.height() > 300.0) {
            let places = Room::one_large(area, true, GAP).places(5);
            let large = places.large.expect("a large one").width();
            for tile in places.tiles {
                assert!(large > 1.6 * tile.width(), "{large} and {tile} in {area}");
            }
        }
    }

    #[test]
    fn the_strip_stands_at_the_right_of_a_wide_window_and_lies_below_in_a_tall_one() {
        let strip = |size| {
            let area = Rect::from_min_size(Pos2::ZERO, size);
            let places = Room::one_large(area, false, GAP).places(3);
            let large = places.large.expect("a large one");
            (
                places.tiles[0].left() > large.right(),
                places.tiles[0].top() > large.bottom(),
            )
        };
        assert_eq!(strip(vec2(1_256.0, 660.0)), (true, false));
        assert_eq!(strip(vec2(456.0, 660.0)), (false, true));
    }

    #[test]
    fn a_tall_window_has_several_rows_below_the_large_one_and_no_gap_between() {
        let area = Rect::from_min_size(Pos2::ZERO, vec2(456.0, 660.0));
        let room = Room::one_large(area, false, GAP);
        assert!(room.capacity >= 9, "{}", room.capacity);
        let places = room.places(room.capacity);
        let large = places.large.expect("a large one");
        assert!((large.width() - 456.0).abs() < 0.5);
        assert!(places.tiles[0].top() - large.bottom() < 3.0 * GAP);
    }

    #[test]
    fn a_large_screen_shows_forty_nine_at_once_one_s_own_among_them() {
        let area = Rect::from_min_size(Pos2::ZERO, vec2(1_896.0, 940.0));
        let room = Room::gallery(area, 199, true, GAP);
        assert_eq!(room.capacity, 48);
        let places = room.places(48);
        assert_eq!(places.tiles.len(), 48);
        assert!(places.tiles[0].width() > 200.0);
        assert_eq!(Room::gallery(area, 199, false, GAP).capacity, 49);
    }

    #[test]
    fn few_people_leave_the_corner_to_one_s_own_tile() {
        let area = Rect::from_min_size(Pos2::ZERO, vec2(1_256.0, 660.0));
        assert!(Room::gallery(area, 4, true, GAP).places(4).own_on_top);
        assert!(!Room::gallery(area, 5, true, GAP).places(5).own_on_top);
    }
}
