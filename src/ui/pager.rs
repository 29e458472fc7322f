//! Turning pages: two buttons and "Page 2 of 5" between them, where not everybody is shown at once.

use egui::{Align2, Rect, Sense, Ui, UiBuilder, WidgetInfo, accesskit, pos2, vec2};

use super::{
    icons::Icon,
    shortcuts::Shortcut,
    stage::Page,
    theme::{self, space},
    widgets::IconButton,
};

/// Height of a pager.
pub(super) const HEIGHT: f32 = 36.0;
/// Width of a button.
const BUTTON: f32 = 32.0;
/// Width of a pager that says "Page 2 of 5".
const WHOLE: f32 = 2.0 * BUTTON + 112.0;
/// Width of a pager that says "2 of 5".
const SHORT: f32 = 2.0 * BUTTON + 64.0;

/// Where the pager goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// Beside the controls, at this rectangle.
    Beside(Rect),
    /// Above them, where nothing else has room: the stage gives way.
    Above,
}

/// Returns where a pager goes in `area`, at whose lower edge the controls are `controls` wide and
/// `height` high, margins included.
pub(super) fn place(area: Rect, controls: f32, height: f32) -> Place {
    let room = (area.width() - controls) / 2.0 - space::LARGE - space::MEDIUM;
    let width = match room {
        room if room >= WHOLE => WHOLE,
        room if room >= SHORT => SHORT,
        _ => return Place::Above,
    };
    let middle = area.bottom() - height / 2.0;
    let left = pos2(area.left() + space::LARGE + width / 2.0, middle);
    Place::Beside(Rect::from_center_size(left, vec2(width, HEIGHT)))
}

/// Shows the pager in the middle of `rect`. Returns how many pages to turn.
pub(super) fn pager_ui(ui: &mut Ui, rect: Rect, page: &Page) -> isize {
    let whole = rect.width() >= WHOLE;
    let rect = Rect::from_center_size(rect.center(), vec2(rect.width().min(WHOLE), HEIGHT));
    let mut turn = 0;
    let mut button = |centre, icon, name, shortcut, enabled: bool, by| {
        let place = Rect::from_center_size(centre, vec2(BUTTON, BUTTON));
        let builder = UiBuilder::new().max_rect(place);
        ui.scope_builder(builder, |ui| {
            ui.add_enabled_ui(enabled, |ui| {
                let button = IconButton::new(icon, name).diameter(BUTTON);
                if button.shortcut(shortcut).show(ui).clicked() {
                    turn += by;
                }
            });
        });
    };
    let (left, right) = (
        rect.left_center() + vec2(BUTTON / 2.0, 0.0),
        rect.right_center() - vec2(BUTTON / 2.0, 0.0),
    );
    let (first, last) = (page.number == 0, page.number + 1 == page.of);
    let previous = Shortcut::PreviousPage;
    button(left, Icon::Left, "Previous page", previous, !first, -1);
    button(
        right,
        Icon::Right,
        "Next page",
        Shortcut::NextPage,
        !last,
        1,
    );
    let palette = theme::palette(ui);
    let short = format!("{} of {}", page.number + 1, page.of);
    let words = format!("Page {short}");
    let response = ui.interact(rect, ui.scope_id().with("page"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(accesskit::Role::Status, true, &words));
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_live(accesskit::Live::Polite);
    });
    ui.painter().text(
        rect.center(),
        Align2::CENTER_CENTER,
        if whole { words } else { short },
        theme::small_strong(),
        palette.text.into(),
    );
    turn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_stands_beside_the_controls_where_there_is_room() {
        let place = |width| {
            let area = Rect::from_min_size(egui::Pos2::ZERO, vec2(width, 600.0));
            place(area, 367.0, 88.0)
        };
        let width = |place| match place {
            Place::Beside(rect) => rect.width(),
            Place::Above => 0.0,
        };
        assert!(width(place(1_280.0)) > width(place(700.0)));
        assert!(width(place(700.0)) > 0.0);
        assert_eq!(place(480.0), Place::Above);
        if let Place::Beside(rect) = place(800.0) {
            assert!(rect.right() < (800.0 - 367.0) / 2.0);
        }
    }
}
