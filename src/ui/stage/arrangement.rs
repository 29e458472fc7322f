//! Where everybody is shown: tiles of one size, or one large and the others in a strip beside or
//! below. Pure geometry.

use egui::{Rect, Vec2, vec2};

use super::super::grid::{self, ASPECT};

/// With more others than this, one's own tile takes a place among theirs: in the corner it would
/// hide somebody.
const OWN_IN_CORNER: usize = 4;
/// How wide a tile of the strip is, at least and at most, in points.
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

/// Where the others are beside a large one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Strip {
    area: Rect,
    /// Whether they stand one below the other.
    column: bool,
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
        let tile = (area.width() * STRIP_SHARE).clamp(*STRIP.start(), *STRIP.end());
        let tile = vec2(tile, tile / ASPECT).min(area.size() / 2.0);
        // What a large tile cannot use because of its shape makes the strip wider.
        let unused = area.width() - gap - area.height() * ASPECT;
        let width = tile.x.max(unused.min(*STRIP.end() * 1.25));
        let (left, right) = area.split_left_right_at_x(area.right() - width);
        let (top, bottom) = area.split_top_bottom_at_y(area.bottom() - tile.y);
        let left = left.with_max_x(left.right() - gap);
        let top = top.with_max_y(top.bottom() - gap);
        let size = |part: Rect| part.width().min(part.height() * ASPECT);
        let (large, strip) = match size(left) >= size(top) {
            true => (
                left,
                Strip {
                    area: right,
                    column: true,
                },
            ),
            false => (
                top,
                Strip {
                    area: bottom,
                    column: false,
                },
            ),
        };
        let whole = strip.capacity(gap);
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
    fn tile(&self) -> Vec2 {
        let width = self.area.width().min(self.area.height() * ASPECT);
        vec2(width, width / ASPECT)
    }

    /// From one tile to the next.
    fn step(&self, gap: f32) -> Vec2 {
        match self.column {
            true => vec2(0.0, self.tile().y + gap),
            false => vec2(self.tile().x + gap, 0.0),
        }
    }

    fn capacity(&self, gap: f32) -> usize {
        let along = |size: Vec2| if self.column { size.y } else { size.x };
        let fit = (along(self.area.size()) + gap + 0.5) / along(self.step(gap));
        fit.max(1.0) as usize
    }

    /// Returns the places of `count` tiles, in the middle.
    fn layout(&self, count: usize, gap: f32) -> Vec<Rect> {
        let (tile, step) = (self.tile(), self.step(gap));
        let whole = tile + step * count.saturating_sub(1) as f32;
        let corner = self.area.center() - whole / 2.0;
        (0..count)
            .map(|index| Rect::from_min_size(corner + step * index as f32, tile))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use egui::{Pos2, pos2};

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
