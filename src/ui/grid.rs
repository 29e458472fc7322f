//! Where tiles lie: pure geometry.
//!
//! Tiles keep 16:9 and are as large as the area allows; the last row is centred. A tile's place
//! follows from its index and the count alone, so a picture stays where it is while nobody comes
//! or goes.

use egui::{Pos2, Rect, Vec2, pos2, vec2};

/// Width to height of a tile.
pub(super) const ASPECT: f32 = 16.0 / 9.0;

/// Returns the places of `count` tiles in `area`, row by row, with `gap` between them.
pub(super) fn layout(area: Rect, count: usize, gap: f32) -> Vec<Rect> {
    if count == 0 || area.width() <= 0.0 || area.height() <= 0.0 {
        return Vec::new();
    }
    let (columns, tile) = (1..=count)
        .map(|columns| (columns, largest_tile(area.size(), count, columns, gap)))
        .fold((1, Vec2::ZERO), |best, next| {
            if next.1.x > best.1.x + 0.5 {
                next
            } else {
                best
            }
        });
    let rows = count.div_ceil(columns);
    let height = rows as f32 * (tile.y + gap) - gap;
    let top = area.center().y - height / 2.0;
    (0..count)
        .map(|index| {
            let (row, column) = (index / columns, index % columns);
            let in_row = columns.min(count - row * columns);
            let width = in_row as f32 * (tile.x + gap) - gap;
            let corner = pos2(
                area.center().x - width / 2.0 + column as f32 * (tile.x + gap),
                top + row as f32 * (tile.y + gap),
            );
            Rect::from_min_size(corner, tile)
        })
        .collect()
}

fn largest_tile(area: Vec2, count: usize, columns: usize, gap: f32) -> Vec2 {
    let rows = count.div_ceil(columns);
    let room = |length: f32, parts: usize| (length - gap * (parts - 1) as f32) / parts as f32;
    let width = room(area.x, columns).min(room(area.y, rows) * ASPECT);
    vec2(width.max(1.0), (width / ASPECT).max(1.0))
}

/// Returns the place of one's own small tile in the lower right corner of `area`: flush where it
/// lies beside the tiles of the others, inset where it lies on one.
pub(super) fn own_tile(area: Rect, others: &[Rect], gap: f32) -> Rect {
    let width = (area.width() * 0.2)
        .clamp(128.0, 260.0)
        .min(area.height() * 0.35 * ASPECT);
    let size = vec2(width, width / ASPECT);
    let flush = Rect::from_min_size(area.max - size, size);
    if !others.iter().any(|tile| tile.intersects(flush)) {
        return flush;
    }
    let corner = others
        .iter()
        .fold(area.min, |corner, tile| corner.max(tile.max));
    Rect::from_min_size(corner - size - Vec2::splat(gap), size)
}

/// How a picture of `picture` size lies in `tile`: the place it takes, and the part of it to show
/// there (0 to 1 each way). Cropped only if it is nearly of the tile's shape, fitted otherwise.
pub(super) fn fit(tile: Rect, picture: Vec2) -> (Rect, Rect) {
    let whole = Rect::from_min_max(Pos2::ZERO, pos2(1.0, 1.0));
    let ratio = (picture.x / picture.y) / (tile.width() / tile.height());
    if !ratio.is_finite() || ratio <= 0.0 {
        return (tile, whole);
    }
    if (0.87..=1.15).contains(&ratio) {
        let part = if ratio > 1.0 {
            vec2(1.0 / ratio, 1.0)
        } else {
            vec2(1.0, ratio)
        };
        return (tile, Rect::from_center_size(whole.center(), part));
    }
    let size = if ratio > 1.0 {
        vec2(tile.width(), tile.height() / ratio)
    } else {
        vec2(tile.width() * ratio, tile.height())
    };
    (Rect::from_center_size(tile.center(), size), whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes() -> impl Iterator<Item = Vec2> {
        let widths = [320.0, 480.0, 720.0, 1280.0, 1920.0, 3840.0];
        let heights = [240.0, 600.0, 800.0, 1080.0, 2160.0];
        widths
            .into_iter()
            .flat_map(move |width| heights.map(|height| vec2(width, height)))
    }

    #[test]
    fn tiles_are_equal_whole_and_apart_at_any_size_and_count() {
        for size in sizes() {
            let area = Rect::from_min_size(pos2(10.0, 20.0), size);
            for count in 1..=9 {
                let tiles = layout(area, count, 8.0);
                assert_eq!(tiles.len(), count);
                for (index, tile) in tiles.iter().enumerate() {
                    assert!(area.expand(0.5).contains_rect(*tile), "{size} {count}");
                    assert!((tile.width() / tile.height() - ASPECT).abs() < 0.01);
                    assert!((tile.width() - tiles[0].width()).abs() < 0.01);
                    for other in &tiles[index + 1..] {
                        let apart = tile.max.x + 7.5 < other.min.x
                            || tile.max.y + 7.5 < other.min.y
                            || other.max.x + 7.5 < tile.min.x;
                        assert!(apart, "{size} {count}: {tile} {other}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_other_number_of_columns_makes_larger_tiles() {
        for size in sizes() {
            for count in 1..=9 {
                let area = Rect::from_min_size(Pos2::ZERO, size);
                let width = layout(area, count, 8.0)[0].width();
                for columns in 1..=count {
                    assert!(largest_tile(size, count, columns, 8.0).x <= width + 0.5);
                }
            }
        }
    }

    #[test]
    fn the_last_row_is_centred_and_one_tile_fills_what_it_can() {
        let area = Rect::from_min_size(Pos2::ZERO, vec2(1280.0, 720.0));
        assert!((layout(area, 1, 8.0)[0].width() - 1280.0).abs() < 0.01);
        let three = layout(area, 3, 8.0);
        assert!((three[0].top() - three[1].top()).abs() < 0.01);
        assert!(three[2].top() > three[0].bottom());
        assert!((three[2].center().x - area.center().x).abs() < 0.01);
    }

    #[test]
    fn rows_and_columns_follow_the_shape_of_the_window() {
        let wide = layout(Rect::from_min_size(Pos2::ZERO, vec2(1800.0, 500.0)), 2, 8.0);
        let tall = layout(Rect::from_min_size(Pos2::ZERO, vec2(480.0, 800.0)), 2, 8.0);
        assert!((wide[0].top() - wide[1].top()).abs() < 0.01);
        assert!((tall[0].left() - tall[1].left()).abs() < 0.01);
    }

    #[test]
    fn pictures_are_cropped_only_if_nearly_of_the_same_shape() {
        let tile = Rect::from_min_size(Pos2::ZERO, vec2(160.0, 90.0));
        let (place, part) = fit(tile, vec2(640.0, 400.0));
        assert_eq!(place, tile);
        assert!(part.height() < 1.0 && part.width() == 1.0);
        let (place, part) = fit(tile, vec2(640.0, 480.0));
        assert!((place.width() - 120.0).abs() < 0.01 && place.height() == 90.0);
        assert_eq!(part, Rect::from_min_max(Pos2::ZERO, pos2(1.0, 1.0)));
        let (place, _) = fit(tile, vec2(90.0, 160.0));
        assert!(tile.contains_rect(place));
    }

    #[test]
    fn the_own_tile_keeps_off_the_edges_of_the_tile_it_lies_on() {
        let area = Rect::from_min_size(Pos2::ZERO, vec2(1280.0, 660.0));
        let one = layout(area, 1, 8.0);
        assert_eq!(
            own_tile(area, &one, 12.0).max,
            one[0].max - Vec2::splat(12.0)
        );
        let two = layout(area, 2, 8.0);
        assert_eq!(own_tile(area, &two, 12.0).max, area.max);
    }

    #[test]
    fn no_area_holds_no_tiles() {
        assert!(layout(Rect::NOTHING, 3, 8.0).is_empty());
        assert!(layout(Rect::EVERYTHING, 0, 8.0).is_empty());
    }
}
