//! How somebody comes through: the mark at the lower right of their tile, and the card it opens.

use egui::{
    Color32, CornerRadius, Popup, Pos2, Rect, Sense, Ui, WidgetInfo, accesskit::Role, pos2, vec2,
};

use super::{
    connection_words::{
        name_of, path_words, protection_words, quality_word, reason, why_not_better,
    },
    icons::Icon,
    shortcuts::Shortcut,
    theme::{self, Colour, TOKENS, space},
    widgets::{self, Button},
};
use crate::call::{Participant, Protection, Quality, Stage};

/// A tile narrower than this has little room for marks, in points.
const SMALL: f32 = 240.0;
/// A tile narrower than this has room for one mark.
const TINY: f32 = 160.0;

/// Tells whether a tile that wide has room only for what matters most.
pub(super) fn is_small(wide: f32) -> bool {
    wide < SMALL
}

/// How what comes from somebody travels, as its mark shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Straight.
    Direct,
    /// Through a relay that passes on what it cannot read.
    Relayed,
    /// Through the meeting server, which could see and hear.
    Server,
}

impl Way {
    /// Returns the way of somebody's media, where it flows at all.
    pub(super) fn of(participant: &Participant) -> Option<Self> {
        match (participant.protection, participant.path.as_str()) {
            (Protection::ToTheServer, _) => Some(Self::Server),
            (Protection::EndToEnd, "") => None,
            (Protection::EndToEnd, "direct") => Some(Self::Direct),
            (Protection::EndToEnd, _) => Some(Self::Relayed),
        }
    }

    const fn icon(self) -> Icon {
        match self {
            Self::Direct => Icon::Direct,
            Self::Relayed => Icon::Relay,
            Self::Server => Icon::Server,
        }
    }
}

/// Shows the mark with its lower right corner near `corner`, reduced to what matters on a tile that
/// is only `wide` points wide. Returns the place it takes, and whether the figures of this connection are asked for.
pub(super) fn mark_ui(
    ui: &mut Ui,
    corner: Pos2,
    participant: &Participant,
    wide: f32,
) -> (Rect, bool) {
    let (small, tiny) = (is_small(wide), wide < TINY);
    let connected = participant.stage == Stage::Connected;
    let way = Way::of(participant);
    let quality = participant.quality;
    if !connected || (quality == Quality::Unknown && way.is_none()) {
        return (Rect::from_min_max(corner, corner), false);
    }
    // A connection that is fine needs no bars where there is little room; where there is hardly
    // any, only what is worth most is shown.
    let weak = matches!(quality, Quality::Fair | Quality::Poor);
    let server = way == Some(Way::Server);
    let bars = !small || way.is_none() || weak && !(tiny && server);
    let shown_way = way.filter(|_| !(tiny && weak && !server));
    let (height, inset) = if small {
        (24.0, 6.0)
    } else {
        (28.0, space::SMALL)
    };
    let width = match (bars, shown_way) {
        (true, Some(_)) => 52.0,
        (true, None) => 32.0,
        (false, _) => 26.0,
    };
    let size = vec2(width, height);
    let rect = Rect::from_min_size(corner - size - vec2(inset, inset), size);
    let response = ui.interact(
        rect,
        ui.scope_id().with(("connection", participant.id)),
        Sense::click(),
    );
    let through = match way {
        Some(Way::Server) => ", through the meeting server",
        _ => "",
    };
    let name = format!(
        "Connection to {}: {}{through}",
        name_of(participant),
        quality_word(quality)
    );
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
    let picture = &TOKENS.picture;
    let shade = if response.hovered() { 0.95 } else { 0.8 };
    let radius = CornerRadius::same(TOKENS.radius.control - 2);
    ui.painter()
        .rect_filled(rect, radius, picture.shade.opacity(shade));
    if bars {
        let at = pos2(rect.left() + 16.0, rect.center().y);
        paint_quality(ui, at, quality, &Marks::picture());
    }
    if let Some(way) = shown_way {
        let right = if bars { 15.0 } else { width / 2.0 };
        let at = pos2(rect.right() - right, rect.center().y);
        let colour = match way {
            Way::Server => picture.warning,
            Way::Direct | Way::Relayed => picture.text_subdued,
        };
        widgets::paint_icon(ui.painter(), at, way.icon(), 14.0, colour.into());
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
    line(protection_words(participant.protection).into());
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
