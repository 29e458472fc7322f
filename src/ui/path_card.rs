//! How somebody comes through: the mark at the lower right of their tile, and the card it opens.

use egui::{
    Color32, CornerRadius, Popup, Pos2, Rect, Sense, Ui, WidgetInfo, accesskit::Role, pos2, vec2,
};

use super::{
    connection_words::{name_of, path_words, quality_word, reason, why_not_better},
    icons::Icon,
    shortcuts::Shortcut,
    theme::{self, Colour, TOKENS, space},
    widgets::{self, Button},
};
use crate::call::{Participant, Quality, Stage};

/// Tells whether packets go through a relay, where they flow at all.
pub(super) fn relayed(participant: &Participant) -> Option<bool> {
    match participant.path.as_str() {
        "" => None,
        path => Some(path != "direct"),
    }
}

/// Shows the mark with its lower right corner near `corner`. Returns the place it takes, and
/// whether the figures of this connection are asked for.
pub(super) fn mark_ui(ui: &mut Ui, corner: Pos2, participant: &Participant) -> (Rect, bool) {
    let connected = participant.stage == Stage::Connected;
    let relayed = relayed(participant);
    if !connected || (participant.quality == Quality::Unknown && relayed.is_none()) {
        return (Rect::from_min_max(corner, corner), false);
    }
    let width = if relayed.is_some() { 52.0 } else { 32.0 };
    let size = vec2(width, 28.0);
    let rect = Rect::from_min_size(corner - size - vec2(space::SMALL, space::SMALL), size);
    let response = ui.interact(
        rect,
        ui.scope_id().with(("connection", participant.id)),
        Sense::click(),
    );
    let name = format!(
        "Connection to {}: {}",
        name_of(participant),
        quality_word(participant.quality)
    );
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
    let picture = &TOKENS.picture;
    let shade = if response.hovered() { 0.95 } else { 0.8 };
    let radius = CornerRadius::same(TOKENS.radius.control - 2);
    ui.painter()
        .rect_filled(rect, radius, picture.shade.opacity(shade));
    paint_quality(
        ui,
        pos2(rect.left() + 16.0, rect.center().y),
        participant.quality,
        &Marks::picture(),
    );
    if let Some(relayed) = relayed {
        let icon = if relayed { Icon::Relay } else { Icon::Direct };
        let at = pos2(rect.right() - 15.0, rect.center().y);
        widgets::paint_icon(ui.painter(), at, icon, 14.0, picture.text_subdued.into());
    }
    widgets::focus_ring(ui, &response, rect, radius);
    let mut figures = false;
    Popup::menu(&response)
        .width(260.0)
        .gap(space::SMALL)
        .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside)
        .layout(egui::Layout::top_down(egui::Align::Min))
        .accessible_name(name)
        .show(|ui| {
            let inside = egui::Frame::new().inner_margin(space::HAIR);
            inside.show(ui, |ui| figures = card_ui(ui, participant));
        });
    if !Popup::is_any_open(ui.ctx()) {
        widgets::explain(response, &reason(participant), None);
    }
    (rect, figures)
}

/// Returns whether the figures are asked for.
fn card_ui(ui: &mut Ui, participant: &Participant) -> bool {
    let palette = theme::palette(ui);
    let subdued: Color32 = palette.text_subdued.into();
    ui.set_width(260.0);
    ui.label(egui::RichText::new(path_words(participant)).font(theme::strong()));
    let mut line = |words: String| {
        ui.label(
            egui::RichText::new(words)
                .font(theme::small())
                .color(subdued),
        );
    };
    if let Some(why) = why_not_better(participant) {
        line(why);
    }
    line(reason(participant));
    if let Some(size) = participant.received {
        line(format!("Picture {} × {}", size.width, size.height));
    }
    line("Sound and pictures are encrypted from their computer to yours.".into());
    ui.add_space(space::HAIR);
    let name = format!("Show the figures of {}", name_of(participant));
    let button = Button::new("Show figures")
        .name(&name)
        .shortcut(Shortcut::Connections)
        .small();
    let asked = button.show(ui).clicked();
    if asked {
        ui.close();
    }
    asked
}

/// The colours of a mark of quality.
pub(super) struct Marks {
    subdued: Colour,
    good: Colour,
    warning: Colour,
    danger: Colour,
}

impl Marks {
    /// Returns those that lie on a picture.
    fn picture() -> Self {
        let picture = &TOKENS.picture;
        Self {
            subdued: picture.text_subdued,
            good: picture.good,
            warning: picture.warning,
            danger: picture.danger,
        }
    }

    /// Returns those that lie on a panel.
    pub(super) fn panel(ui: &Ui) -> Self {
        let palette = theme::palette(ui);
        Self {
            subdued: palette.text_subdued,
            good: palette.good,
            warning: palette.warning,
            danger: palette.danger,
        }
    }
}

/// Three bars; how many are filled says it without the colour.
pub(super) fn paint_quality(ui: &Ui, centre: Pos2, quality: Quality, marks: &Marks) {
    let (filled, colour) = match quality {
        Quality::Unknown => (0, marks.subdued),
        Quality::Good => (3, marks.good),
        Quality::Fair => (2, marks.warning),
        Quality::Poor => (1, marks.danger),
    };
    for bar in 0..3_u8 {
        let height = 5.0 + 4.0 * f32::from(bar);
        let left = centre.x - 8.0 + 6.0 * f32::from(bar);
        let rect = Rect::from_min_size(pos2(left, centre.y + 6.5 - height), vec2(4.0, height));
        let colour = if bar < filled {
            colour.into()
        } else {
            marks.subdued.opacity(0.4)
        };
        ui.painter().rect_filled(rect, 1.5, colour);
    }
}
