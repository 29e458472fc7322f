//! How somebody comes through: the mark at the lower right of their tile, and the card it opens.

use egui::{
    Color32, CornerRadius, Popup, Pos2, Rect, Sense, Ui, WidgetInfo, accesskit::Role, pos2, vec2,
};

use super::{
    icons::Icon,
    theme::{self, TOKENS, space},
    widgets,
};
use crate::call::{Participant, Quality, Stage};

/// Returns somebody's name, or a word for it until they said it.
pub(super) fn name_of(participant: &Participant) -> &str {
    let name = participant.name.trim();
    if name.is_empty() { "Guest" } else { name }
}

/// Tells whether packets go through a relay, where they flow at all.
pub(super) fn relayed(participant: &Participant) -> Option<bool> {
    match participant.path.as_str() {
        "" => None,
        path => Some(path != "direct"),
    }
}

/// Shows the mark with its lower right corner near `corner`. Returns the place it takes.
pub(super) fn mark_ui(ui: &mut Ui, corner: Pos2, participant: &Participant) -> Rect {
    let connected = participant.stage == Stage::Connected;
    let relayed = relayed(participant);
    if !connected || (participant.quality == Quality::Unknown && relayed.is_none()) {
        return Rect::from_min_max(corner, corner);
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
        quality_words(participant.quality)
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
    );
    if let Some(relayed) = relayed {
        let icon = if relayed { Icon::Relay } else { Icon::Direct };
        let at = pos2(rect.right() - 15.0, rect.center().y);
        widgets::paint_icon(ui.painter(), at, icon, 14.0, picture.text_subdued.into());
    }
    widgets::focus_ring(ui, &response, rect, radius);
    Popup::menu(&response)
        .width(260.0)
        .gap(space::SMALL)
        .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside)
        .layout(egui::Layout::top_down(egui::Align::Min))
        .accessible_name(name)
        .show(|ui| {
            let inside = egui::Frame::new().inner_margin(space::HAIR);
            inside.show(ui, |ui| card_ui(ui, participant));
        });
    rect
}

fn card_ui(ui: &mut Ui, participant: &Participant) {
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
    line(match participant.quality {
        Quality::Unknown => "How well it works is not known yet.".into(),
        Quality::Good => "The connection is good.".into(),
        Quality::Fair => "The connection is slow. The picture is smaller for it.".into(),
        Quality::Poor => "The connection is barely enough for sound.".into(),
    });
    if let Some(size) = participant.received {
        line(format!("Picture {} × {}", size.width, size.height));
    }
    line("Sound and pictures are encrypted from their computer to yours.".into());
}

/// Returns how packets travel, in words.
pub(super) fn path_words(participant: &Participant) -> String {
    let name = name_of(participant);
    let way = match participant.path.as_str() {
        "" => format!("Connected to {name}"),
        "direct" => format!("Direct to {name}"),
        "turn-tcp" => format!("To {name} through a relay over TCP"),
        "turn-tls" => format!("To {name} through a relay over TLS"),
        _ => format!("To {name} through a relay"),
    };
    match participant.round_trip {
        Some(time) => format!("{way}, {} ms", time.as_millis()),
        None => way,
    }
}

fn quality_words(quality: Quality) -> &'static str {
    match quality {
        Quality::Unknown => "not known yet",
        Quality::Good => "good",
        Quality::Fair => "slow",
        Quality::Poor => "poor",
    }
}

/// Three bars; how many are filled says it without the colour.
fn paint_quality(ui: &Ui, centre: Pos2, quality: Quality) {
    let picture = &TOKENS.picture;
    let (filled, colour) = match quality {
        Quality::Unknown => (0, picture.text_subdued),
        Quality::Good => (3, picture.good),
        Quality::Fair => (2, picture.warning),
        Quality::Poor => (1, picture.danger),
    };
    for bar in 0..3_u8 {
        let height = 5.0 + 4.0 * f32::from(bar);
        let left = centre.x - 8.0 + 6.0 * f32::from(bar);
        let rect = Rect::from_min_size(pos2(left, centre.y + 6.5 - height), vec2(4.0, height));
        let colour = if bar < filled {
            colour.into()
        } else {
            picture.text_subdued.opacity(0.4)
        };
        ui.painter().rect_filled(rect, 1.5, colour);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_path_is_said_in_words() {
        let mut participant = Participant {
            id: 1,
            name: "Ada".into(),
            picture: None,
            microphone: true,
            camera: true,
            level: 0.0,
            speaking: false,
            stage: Stage::Connected,
            path: "direct".into(),
            quality: Quality::Good,
            round_trip: Some(Duration::from_millis(18)),
            received: None,
        };
        assert_eq!(path_words(&participant), "Direct to Ada, 18 ms");
        participant.path = "turn-tcp".into();
        participant.name = "  ".into();
        participant.round_trip = None;
        assert_eq!(
            path_words(&participant),
            "To Guest through a relay over TCP"
        );
        assert_eq!(relayed(&participant), Some(true));
    }
}
