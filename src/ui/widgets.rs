//! Buttons and switches, in our look. Each has an accessible name, a visible focus ring and a
//! tooltip with its shortcut.

use egui::{
    Align2, Color32, CornerRadius, Pos2, Rect, Response, Sense, Stroke, StrokeKind, Ui, WidgetInfo,
    accesskit::Role, pos2, vec2,
};

use super::{
    icons::Icon,
    shortcuts::Shortcut,
    theme::{self, Colour, TOKENS, space},
};

/// The widest that a tooltip becomes before it takes another line.
const TIP_WIDTH: f32 = 320.0;
/// Height of buttons and fields.
pub(super) const CONTROL_HEIGHT: f32 = 40.0;

/// What a button means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// The one primary action on a screen.
    Primary,
    /// Any other action.
    Plain,
    /// An action that steps back: no ground until it is pointed at.
    Quiet,
    /// Leave, or a microphone that is off.
    Danger,
}

struct Colours {
    ground: Colour,
    hovered: Colour,
    ink: Colour,
    /// How much of the ground shows while nothing points at the button.
    rest: f32,
}

impl Tone {
    fn colours(self, ui: &Ui) -> Colours {
        let palette = theme::palette(ui);
        let (ground, hovered, ink, rest) = match self {
            Self::Primary => (
                palette.accent_fill,
                palette.accent_fill_hovered,
                palette.on_accent,
                1.0,
            ),
            Self::Plain => (palette.control, palette.control_hovered, palette.text, 1.0),
            Self::Quiet => (palette.control, palette.control, palette.text, 0.0),
            Self::Danger => (
                palette.danger_fill,
                palette.danger_fill_hovered,
                palette.on_danger,
                1.0,
            ),
        };
        Colours {
            ground,
            hovered,
            ink,
            rest,
        }
    }
}

/// A button with words.
#[derive(Debug, Clone)]
pub(super) struct Button<'a> {
    text: &'a str,
    icon: Option<Icon>,
    tone: Tone,
    shortcut: Option<Shortcut>,
    width: Option<f32>,
    name: Option<&'a str>,
    small: bool,
}

impl<'a> Button<'a> {
    /// Makes a plain button.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            icon: None,
            tone: Tone::Plain,
            shortcut: None,
            width: None,
            name: None,
            small: false,
        }
    }

    /// Gives it a meaning.
    pub(super) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// Puts an icon before the words.
    pub(super) fn icon(mut self, icon: Icon) -> Self {
        self.icon = Some(icon);
        self
    }

    /// Names the keys that do the same, for the tooltip.
    pub(super) fn shortcut(mut self, shortcut: Shortcut) -> Self {
        self.shortcut = Some(shortcut);
        self
    }

    /// Makes it that wide.
    pub(super) fn width(mut self, width: f32) -> Self {
        self.width = Some(width);
        self
    }

    /// Gives it an accessible name that says more than its words.
    pub(super) fn name(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// Makes it lower, with smaller words.
    pub(super) fn small(mut self) -> Self {
        self.small = true;
        self
    }

    /// Shows it.
    pub(super) fn show(self, ui: &mut Ui) -> Response {
        let colours = self.tone.colours(ui);
        let (font, height, inset) = if self.small {
            (theme::small_strong(), 32.0, space::MEDIUM)
        } else {
            (theme::strong(), CONTROL_HEIGHT, space::LARGE)
        };
        let icon_width = if self.icon.is_some() {
            16.0 + space::SMALL
        } else {
            0.0
        };
        let available = ui.available_width();
        let mut job = egui::text::LayoutJob::simple_singleline(
            self.text.to_owned(),
            font,
            Color32::PLACEHOLDER,
        );
        let room = self.width.unwrap_or(available).min(available) - 2.0 * inset - icon_width;
        job.wrap = egui::text::TextWrapping::truncate_at_width(room.max(8.0));
        let galley = ui.painter().layout_job(job);
        let content = galley.size().x + icon_width;
        let size = vec2(self.width.unwrap_or(content + 2.0 * inset), height);
        let (rect, response) = ui.allocate_exact_size(size, Sense::click());
        let name = self.name.unwrap_or(self.text);
        response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), name));
        if ui.is_rect_visible(rect) {
            let radius = CornerRadius::same(TOKENS.radius.control);
            ground(ui, &response, rect, radius, &colours);
            let mut left = rect.center().x - content / 2.0;
            if let Some(icon) = self.icon {
                let at = pos2(left + 8.0, rect.center().y);
                paint_icon(ui.painter(), at, icon, 16.0, colours.ink.into());
                left += icon_width;
            }
            let at = pos2(left, rect.center().y - galley.size().y / 2.0);
            ui.painter().galley(at, galley, colours.ink.into());
            focus_ring(ui, &response, rect, radius);
        }
        let tip = self.name.unwrap_or_default();
        explain(response, tip, self.shortcut)
    }
}

/// A round button with an icon.
#[derive(Debug, Clone)]
pub(super) struct IconButton<'a> {
    icon: Icon,
    name: &'a str,
    tone: Tone,
    shortcut: Option<Shortcut>,
    diameter: f32,
    width: Option<f32>,
}

impl<'a> IconButton<'a> {
    /// Makes a quiet button; `name` is its accessible name and its tooltip.
    pub(super) fn new(icon: Icon, name: &'a str) -> Self {
        Self {
            icon,
            name,
            tone: Tone::Quiet,
            shortcut: None,
            diameter: 36.0,
            width: None,
        }
    }

    /// Gives it a meaning.
    pub(super) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// Names the keys that do the same, for the tooltip.
    pub(super) fn shortcut(mut self, shortcut: Shortcut) -> Self {
        self.shortcut = Some(shortcut);
        self
    }

    /// Makes it that large.
    pub(super) fn diameter(mut self, diameter: f32) -> Self {
        self.diameter = diameter;
        self
    }

    /// Makes it wider than high.
    pub(super) fn width(mut self, width: f32) -> Self {
        self.width = Some(width);
        self
    }

    /// Shows it.
    pub(super) fn show(self, ui: &mut Ui) -> Response {
        let size = vec2(self.width.unwrap_or(self.diameter), self.diameter);
        let (rect, response) = ui.allocate_exact_size(size, Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), self.name));
        if ui.is_rect_visible(rect) {
            let colours = self.tone.colours(ui);
            let radius = CornerRadius::same((self.diameter / 2.0).ceil() as u8);
            ground(ui, &response, rect, radius, &colours);
            let size = (self.diameter * 0.45).clamp(14.0, 22.0);
            let ink = colours.ink.into();
            paint_icon(ui.painter(), rect.center(), self.icon, size, ink);
            focus_ring(ui, &response, rect, radius);
        }
        explain(response, self.name, self.shortcut)
    }
}

/// Shows an on-off switch with words before it, across the width. Returns whether it was flipped.
pub(super) fn switch_ui(ui: &mut Ui, words: &str, on: &mut bool) -> bool {
    let size = vec2(ui.available_width(), 36.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    if response.clicked() {
        *on = !*on;
    }
    response.widget_info(|| WidgetInfo::selected(Role::Switch, ui.is_enabled(), *on, words));
    if ui.is_rect_visible(rect) {
        let palette = theme::palette(ui);
        let share = ui
            .ctx()
            .animate_bool_with_time(response.id, *on, theme::times(ui).hover);
        ui.painter().text(
            rect.left_center(),
            Align2::LEFT_CENTER,
            words,
            theme::body(),
            palette.text.into(),
        );
        let track =
            Rect::from_center_size(pos2(rect.right() - 20.0, rect.center().y), vec2(36.0, 20.0));
        let ground = palette.control_hovered.towards(palette.accent_fill, share);
        ui.painter().rect_filled(track, 10.0, ground);
        let knob = pos2(
            egui::lerp(track.left() + 10.0..=track.right() - 10.0, share),
            track.center().y,
        );
        let ink = palette.text.towards(palette.on_accent, share);
        ui.painter().circle_filled(knob, 7.0, ink);
        focus_ring(ui, &response, track.expand(2.0), CornerRadius::same(12));
    }
    response.clicked()
}

/// Shows one choice of several, side by side. Returns the one that was clicked.
pub(super) fn segments_ui<T: Copy + PartialEq>(
    ui: &mut Ui,
    current: T,
    choices: &[(T, &str)],
) -> Option<T> {
    let palette = theme::palette(ui);
    let size = vec2(ui.available_width(), CONTROL_HEIGHT);
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    let radius = CornerRadius::same(TOKENS.radius.control);
    ui.painter().rect_filled(rect, radius, palette.control);
    let width = rect.width() / choices.len() as f32;
    let mut clicked = None;
    for (index, (choice, words)) in choices.iter().enumerate() {
        let left = pos2(rect.left() + width * index as f32, rect.top());
        let part = Rect::from_min_size(left, vec2(width, rect.height())).shrink(3.0);
        let response = ui.interact(part, ui.scope_id().with(words), Sense::click());
        let selected = *choice == current;
        response.widget_info(|| {
            WidgetInfo::selected(Role::RadioButton, ui.is_enabled(), selected, words)
        });
        let inner = CornerRadius::same(TOKENS.radius.control - 2);
        if selected {
            ui.painter().rect_filled(part, inner, palette.accent_fill);
        } else if response.hovered() {
            ui.painter()
                .rect_filled(part, inner, palette.control_hovered);
        }
        let ink = if selected {
            palette.on_accent
        } else {
            palette.text
        };
        ui.painter().text(
            part.center(),
            Align2::CENTER_CENTER,
            words,
            theme::small_strong(),
            ink.into(),
        );
        focus_ring(ui, &response, part, inner);
        if response.clicked() {
            clicked = Some(*choice);
        }
    }
    clicked
}

/// Shows a line of a menu, with a tick where it is the present choice, or on.
pub(super) fn menu_item_ui(ui: &mut Ui, label: &str, role: Role, selected: bool) -> Response {
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 34.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(role, ui.is_enabled(), selected, label));
    let radius = CornerRadius::same(TOKENS.radius.control - 2);
    if response.hovered() || response.has_focus() {
        ui.painter().rect_filled(rect, radius, palette.control);
    }
    if selected {
        let at = pos2(rect.left() + 16.0, rect.center().y);
        paint_icon(ui.painter(), at, Icon::Check, 15.0, palette.accent.into());
    }
    let mut job = egui::text::LayoutJob::simple_singleline(
        label.to_owned(),
        theme::body(),
        palette.text.into(),
    );
    job.wrap = egui::text::TextWrapping::truncate_at_width(rect.width() - 44.0);
    let galley = ui.painter().layout_job(job);
    let at =
        Align2::LEFT_CENTER.anchor_size(pos2(rect.left() + 34.0, rect.center().y), galley.size());
    ui.painter().galley(at.min, galley, palette.text.into());
    response
}

/// Paints an icon centred at a point.
pub(super) fn paint_icon(
    painter: &egui::Painter,
    at: Pos2,
    icon: Icon,
    size: f32,
    colour: Color32,
) {
    painter.text(
        at,
        Align2::CENTER_CENTER,
        icon.glyph(),
        theme::icons(size),
        colour,
    );
}

/// Paints the ring that shows where the keyboard is.
pub(super) fn focus_ring(ui: &Ui, response: &Response, rect: Rect, radius: CornerRadius) {
    if response.has_focus() {
        let stroke = Stroke::new(2.0, theme::palette(ui).accent);
        let outside = rect.expand(2.0);
        ui.painter()
            .rect_stroke(outside, radius + 2, stroke, StrokeKind::Outside);
    }
}

/// Adds a tooltip: what it is, and the keys that do the same.
pub(super) fn explain(response: Response, words: &str, shortcut: Option<Shortcut>) -> Response {
    if words.is_empty() && shortcut.is_none() {
        return response;
    }
    response.on_hover_ui(|ui| {
        if shortcut.is_none() {
            ui.set_max_width(TIP_WIDTH);
            ui.label(egui::RichText::new(words).font(theme::small()));
            return;
        }
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = space::SMALL;
            if !words.is_empty() {
                ui.label(egui::RichText::new(words).font(theme::small()));
            }
            if let Some(shortcut) = shortcut {
                let keys = shortcut.text(ui.ctx());
                ui.label(egui::RichText::new(keys).font(theme::small()).weak());
            }
        });
    })
}

fn ground(ui: &Ui, response: &Response, rect: Rect, radius: CornerRadius, colours: &Colours) {
    let pointed = response.hovered() || response.is_pointer_button_down_on();
    let share = ui
        .ctx()
        .animate_bool_with_time(response.id, pointed, theme::times(ui).hover);
    let colour = colours.ground.towards(colours.hovered, share);
    let shown = egui::lerp(colours.rest..=1.0, share);
    let rect = if response.is_pointer_button_down_on() {
        rect.shrink(1.0)
    } else {
        rect
    };
    ui.painter()
        .rect_filled(rect, radius, colour.gamma_multiply(shown));
}
