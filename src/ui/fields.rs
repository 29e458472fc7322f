//! What shows or takes a text or a level: fields, meters, avatars, the mark of the application.

use egui::{
    Align2, Color32, CornerRadius, Frame, Id, Margin, Pos2, Rect, Response, Sense, Stroke,
    StrokeKind, TextEdit, Ui, Vec2, pos2, vec2,
};

use super::{
    icons::Icon,
    theme::{self, Colour, TOKENS, space},
    widgets::{self, CONTROL_HEIGHT},
};

/// A line of text to fill in.
#[derive(Debug)]
pub(super) struct Field<'a> {
    id: Id,
    label: &'a str,
    hint: &'a str,
    width: f32,
    limit: usize,
    labelled: bool,
    icon: Option<Icon>,
}

impl<'a> Field<'a> {
    /// Makes a field; the label stands above it and is its accessible name.
    pub(super) fn new(id: Id, label: &'a str) -> Self {
        Self {
            id,
            label,
            hint: "",
            width: f32::INFINITY,
            limit: 400,
            labelled: true,
            icon: None,
        }
    }

    /// Says what goes in while it is empty.
    pub(super) fn hint(mut self, hint: &'a str) -> Self {
        self.hint = hint;
        self
    }

    /// Makes it that wide.
    pub(super) fn width(mut self, width: f32) -> Self {
        self.width = width;
        self
    }

    /// Takes at most that many characters.
    pub(super) fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Puts an icon before what is filled in.
    pub(super) fn icon(mut self, icon: Icon) -> Self {
        self.icon = Some(icon);
        self
    }

    /// Leaves the label out of sight; it stays the accessible name.
    pub(super) fn without_label(mut self) -> Self {
        self.labelled = false;
        self
    }

    /// Shows it.
    pub(super) fn show(self, ui: &mut Ui, text: &mut String) -> Response {
        let palette = theme::palette(ui);
        if self.labelled {
            label_ui(ui, self.label);
        }
        let width = self.width.min(ui.available_width());
        let (rect, _) = ui.allocate_exact_size(vec2(width, CONTROL_HEIGHT), Sense::hover());
        let radius = CornerRadius::same(TOKENS.radius.control);
        let focused = ui.memory(|memory| memory.has_focus(self.id));
        let hovered = ui.rect_contains_pointer(rect);
        let stroke = if focused {
            Stroke::new(2.0, palette.accent)
        } else if hovered {
            Stroke::new(1.0, palette.text_subdued)
        } else {
            Stroke::new(1.0, palette.hairline)
        };
        ui.painter().rect(
            rect,
            radius,
            palette.surface_raised,
            stroke,
            StrokeKind::Inside,
        );
        let hint = egui::RichText::new(self.hint).color(palette.text_subdued);
        let mut inner = rect.shrink2(vec2(space::MEDIUM, 0.0));
        if let Some(icon) = self.icon {
            let at = pos2(inner.left() + 8.0, inner.center().y);
            let ink = palette.text_subdued.into();
            widgets::paint_icon(ui.painter(), at, icon, 16.0, ink);
            inner.min.x += 16.0 + space::SMALL;
        }
        let edit = TextEdit::singleline(text)
            .id(self.id)
            .font(theme::body())
            .hint_text(hint)
            .char_limit(self.limit)
            .frame(Frame::NONE)
            .margin(Margin::ZERO)
            .min_size(inner.size())
            .desired_width(inner.width())
            .align(egui::Align2::LEFT_CENTER);
        let place = egui::UiBuilder::new().max_rect(inner);
        ui.new_child(place).add(edit).accessible_name(self.label)
    }
}

/// Shows the words above a field or a group.
pub(super) fn label_ui(ui: &mut Ui, words: &str) {
    let palette = theme::palette(ui);
    ui.label(
        egui::RichText::new(words)
            .font(theme::small())
            .color(palette.text_subdued),
    );
    ui.add_space(-space::HAIR);
}

/// Paints a level, 0.0 to 1.0, as bars that fill from left to right.
pub(super) fn paint_meter(
    ui: &Ui,
    rect: Rect,
    level: f32,
    bars: usize,
    lit: Colour,
    unlit: Color32,
) {
    let width = rect.width() / (bars as f32 * 1.6 - 0.6);
    let share = perceived(level);
    for index in 0..bars {
        let left = rect.left() + index as f32 * width * 1.6;
        let bar = Rect::from_min_size(pos2(left, rect.top()), vec2(width, rect.height()));
        let this = (share * bars as f32 - index as f32).clamp(0.0, 1.0);
        ui.painter().rect_filled(bar, width / 2.0, unlit);
        if this > 0.0 {
            ui.painter()
                .rect_filled(bar, width / 2.0, lit.opacity(this));
        }
    }
}

/// Spreads the levels of speech over a meter: loudness is heard in ratios.
fn perceived(level: f32) -> f32 {
    level.clamp(0.0, 1.0).powf(0.5)
}

/// Paints somebody's initials on a colour taken from their name.
pub(super) fn paint_avatar(ui: &Ui, centre: Pos2, diameter: f32, name: &str) {
    let grounds = &TOKENS.avatars.grounds;
    let ground = grounds[hash(name) as usize % grounds.len()];
    ui.painter().circle_filled(centre, diameter / 2.0, ground);
    let initials = initials(name);
    if initials.is_empty() {
        let ink = TOKENS.picture.text.into();
        widgets::paint_icon(ui.painter(), centre, Icon::Person, diameter * 0.45, ink);
        return;
    }
    ui.painter().text(
        centre,
        Align2::CENTER_CENTER,
        initials,
        theme::display(diameter * 0.38),
        TOKENS.picture.text.into(),
    );
}

/// Returns the first letters of the first and the last word.
pub(super) fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| {
        let letter = word.chars().find(|letter| letter.is_alphanumeric())?;
        letter.to_uppercase().next()
    });
    match (words.next(), words.next_back()) {
        (Some(first), Some(last)) => format!("{first}{last}"),
        (Some(first), None) => first.to_string(),
        _ => String::new(),
    }
}

/// FNV-1a: the same colour for the same name on every computer.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Shows the mark of the application: one line without an end, joining two.
pub(super) fn mark_ui(ui: &mut Ui, height: f32) {
    let size = vec2(height * 1.75, height);
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    let palette = theme::palette(ui);
    let width = height * 0.26;
    let reach = rect.width() / 2.0 - width / 2.0;
    let point = |turn: f32| {
        let (sin, cos) = turn.sin_cos();
        let scale = reach / (1.0 + sin * sin);
        rect.center() + Vec2::new(cos * scale, 1.42 * sin * cos * scale)
    };
    let strand = |from: f32, to: f32| -> Vec<Pos2> {
        (0..=48)
            .map(|step| point(egui::lerp(from..=to, step as f32 / 48.0)))
            .collect()
    };
    let quarter = std::f32::consts::FRAC_PI_2;
    let stroke = Stroke::new(width, palette.accent);
    // The lower strand stops short of the crossing on both sides; the upper one goes through.
    let gap = 0.4;
    ui.painter()
        .line(strand(-quarter + gap, 3.0 * quarter - gap), stroke);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_are_of_the_first_and_the_last_word() {
        assert_eq!(initials("Ada Lovelace"), "AL");
        assert_eq!(initials("  grace brewster hopper "), "GH");
        assert_eq!(initials("élodie"), "É");
        assert_eq!(initials("(guest) x"), "GX");
        assert_eq!(initials(""), "");
    }
}
