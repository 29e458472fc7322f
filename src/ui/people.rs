//! The list of people: everybody by name, with search, at the side of the call.
//!
//! Only the rows in sight are painted. The search field keeps the keyboard: what is typed looks
//! for names, the arrows walk through what was found, Enter pins.

use std::time::Duration;

use egui::{
    Align, Align2, CornerRadius, Id, Key, Layout, Margin, Modifiers, Rect, ScrollArea, Sense, Ui,
    UiBuilder, WidgetInfo, accesskit::Role, pos2, vec2,
};

use super::{
    connection_words::{name_of, verdict},
    controls::Asked,
    fields::{self, Field},
    fold::{fold, holds},
    icons::Icon,
    path_card,
    shortcuts::Shortcut,
    theme::{self, TOKENS, space},
    tile,
    widgets::{self, IconButton},
};
use crate::call::{CallView, Participant, Protection, SelfView};

/// Height of a row.
const ROW: f32 = 44.0;
/// How much of a pin shows in a row that is not looked at.
const PIN_AT_REST: f32 = 0.4;
/// While somebody speaks, the mark beside their name follows this often.
const FOLLOW: Duration = Duration::from_millis(250);

/// What the window remembers about the list.
#[derive(Debug, Default)]
pub(super) struct People {
    open: bool,
    sought: String,
    /// The row that the arrows have reached, among those found.
    cursor: Option<usize>,
    /// The row that was last brought into sight.
    followed: Option<usize>,
    /// How far the list is scrolled, in points.
    offset: f32,
    /// The list has just been opened: the field takes the keyboard.
    opened: bool,
}

impl People {
    /// Opens or closes the list.
    pub(super) fn toggle(&mut self) {
        *self = Self {
            open: !self.open,
            opened: !self.open,
            ..Self::default()
        };
    }

    /// Tells whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }
}

/// Returns those whose names hold what is sought, by name.
fn found<'a>(people: &'a [Participant], sought: &str) -> Vec<&'a Participant> {
    let sought = fold(sought);
    let mut named: Vec<(String, &Participant)> = people
        .iter()
        .filter(|person| holds(name_of(person), &sought))
        .map(|person| (fold(name_of(person)), person))
        .collect();
    named.sort_by(|(one, a), (other, b)| (one, a.id).cmp(&(other, b.id)));
    named.into_iter().map(|(_, person)| person).collect()
}

/// Shows the list at `area`.
pub(super) fn panel_ui(
    ui: &mut Ui,
    area: Rect,
    state: &mut People,
    (call, me): (&CallView, &SelfView),
    pinned: Option<u64>,
    asked: &mut Asked,
) {
    let palette = theme::palette(ui);
    let place = area.shrink(space::SMALL);
    ui.painter().rect(
        place,
        CornerRadius::same(TOKENS.radius.tile),
        palette.surface,
        egui::Stroke::new(1.0, palette.hairline),
        egui::StrokeKind::Inside,
    );
    let builder = UiBuilder::new()
        .id_salt("people")
        .max_rect(place.shrink(1.0))
        .layout(Layout::top_down(Align::Min));
    ui.scope_builder(builder, |ui| {
        ui.spacing_mut().item_spacing = vec2(space::SMALL, 0.0);
        title_ui(ui, call.participants.len() + 1, asked);
        let found = found(&call.participants, &state.sought);
        let pressed = keys(ui, state, found.len());
        let before = state.sought.clone();
        search_ui(ui, state);
        if state.sought != before {
            state.cursor = (!state.sought.trim().is_empty()).then_some(0);
        }
        if pressed && let Some(person) = state.cursor.and_then(|at| found.get(at)) {
            asked.pin = Some(person.id);
        }
        rows_ui(ui, state, &found, (me, pinned), asked);
    });
    if call.participants.iter().any(|person| person.speaking) {
        ui.ctx().request_repaint_after(FOLLOW);
    }
}

fn title_ui(ui: &mut Ui, count: usize, asked: &mut Asked) {
    let palette = theme::palette(ui);
    let margin = Margin {
        left: space::LARGE as i8,
        right: space::SMALL as i8,
        top: space::SMALL as i8,
        bottom: 0,
    };
    egui::Frame::new().inner_margin(margin).show(ui, |ui| {
        let size = vec2(ui.available_width(), 40.0);
        ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
            ui.label(egui::RichText::new("People").font(theme::heading()));
            let count = egui::RichText::new(count.to_string());
            ui.label(count.font(theme::body()).color(palette.text_subdued));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let close = IconButton::new(Icon::Close, "Close people").shortcut(Shortcut::People);
                asked.people |= close.show(ui).clicked();
            });
        });
    });
}

/// Takes the keys that walk through the list. Returns whether the row there is to be pinned.
fn keys(ui: &Ui, state: &mut People, count: usize) -> bool {
    let field = Id::unique("people search");
    if !ui.memory(|memory| memory.has_focus(field)) {
        return false;
    }
    let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
    let (up, down) = (pressed(Key::ArrowUp), pressed(Key::ArrowDown));
    let last = count.checked_sub(1);
    state.cursor = match (state.cursor.and_then(|at| Some(at.min(last?))), up, down) {
        (None, false, true) => last.map(|_| 0),
        (Some(at), false, true) => Some((at + 1).min(last.unwrap_or(0))),
        (Some(at), true, false) => at.checked_sub(1),
        (at, _, _) => at,
    };
    state.cursor.is_some() && pressed(Key::Enter)
}

fn search_ui(ui: &mut Ui, state: &mut People) {
    let margin = Margin::symmetric(space::LARGE as i8, space::SMALL as i8);
    egui::Frame::new().inner_margin(margin).show(ui, |ui| {
        let id = Id::unique("people search");
        if std::mem::take(&mut state.opened) {
            ui.memory_mut(|memory| memory.request_focus(id));
        }
        let field = Field::new(id, "Search people").hint("Search").limit(64);
        let field = field.icon(Icon::Search);
        field.without_label().show(ui, &mut state.sought);
    });
}

fn rows_ui(
    ui: &mut Ui,
    state: &mut People,
    found: &[&Participant],
    (me, pinned): (&SelfView, Option<u64>),
    asked: &mut Asked,
) {
    // Oneself stands first while nothing is sought.
    let own = usize::from(state.sought.trim().is_empty());
    if found.is_empty() && own == 0 {
        let words = egui::RichText::new("Nobody here has such a name.");
        let margin = Margin::symmetric(space::LARGE as i8, space::SMALL as i8);
        let frame = egui::Frame::new().inner_margin(margin);
        frame.show(ui, |ui| ui.label(words.font(theme::small()).weak()));
        return;
    }
    let mut area = ScrollArea::vertical().auto_shrink([false, false]);
    if state.cursor != std::mem::replace(&mut state.followed, state.cursor)
        && let Some(cursor) = state.cursor
    {
        let (top, seen) = ((cursor + own) as f32 * ROW, ui.available_height());
        let offset = state.offset.clamp((top + ROW - seen).max(0.0), top);
        area = area.vertical_scroll_offset(offset);
    }
    let shown = area.show_rows(ui, ROW, found.len() + own, |ui, rows| {
        for row in rows {
            match row.checked_sub(own) {
                None => own_row_ui(ui, me),
                Some(at) => {
                    let person = found[at];
                    let is_pinned = pinned == Some(person.id);
                    if row_ui(ui, person, is_pinned, state.cursor == Some(at)) {
                        asked.pin = Some(person.id);
                    }
                }
            }
        }
    });
    state.offset = shown.state.clamped_offset().y;
}

fn own_row_ui(ui: &mut Ui, me: &SelfView) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    let name = match me.name.trim() {
        "" => "You".to_owned(),
        name => format!("{name} (you)"),
    };
    response.widget_info(|| {
        WidgetInfo::labeled(Role::ListItem, true, said(&name, me.microphone, me.camera))
    });
    let right = rect.right() - space::LARGE;
    let right = marks_ui(ui, rect, right, me.microphone, me.camera);
    name_ui(ui, rect, right, (&me.name, &name), false);
}

/// Shows somebody's row. Returns whether the pin is to change.
fn row_ui(ui: &mut Ui, person: &Participant, pinned: bool, reached: bool) -> bool {
    let palette = theme::palette(ui);
    let size = vec2(ui.available_width(), ROW);
    let (rect, response) = ui.allocate_exact_size(size, Sense::CLICK);
    let name = name_of(person);
    response.widget_info(|| {
        WidgetInfo::selected(Role::ListItem, true, reached, describe(person, pinned))
    });
    if reached || response.hovered() {
        let ground = rect.shrink2(vec2(space::SMALL, 1.0));
        ui.painter()
            .rect_filled(ground, TOKENS.radius.control, palette.control);
    }
    let place = Rect::from_center_size(
        pos2(rect.right() - space::LARGE - 14.0, rect.center().y),
        vec2(28.0, 28.0),
    );
    let builder = UiBuilder::new().id_salt(person.id).max_rect(place);
    let mut corner = ui.new_child(builder);
    if !(pinned || reached || ui.rect_contains_pointer(rect)) {
        corner.set_opacity(PIN_AT_REST);
    }
    let words = tile::pin_words(person, pinned);
    let icon = if pinned { Icon::PinOff } else { Icon::Pin };
    let button = IconButton::new(icon, &words).diameter(28.0);
    let pressed = button.show(&mut corner).clicked();
    let mut right = place.left() - space::SMALL;
    let mark = pos2(right - 9.0, rect.center().y);
    if person.protection == Protection::ToTheServer {
        let warning = palette.warning.into();
        widgets::paint_icon(ui.painter(), mark, Icon::Server, 14.0, warning);
        right -= 24.0;
    }
    let mark = pos2(right - 9.0, rect.center().y);
    path_card::paint_quality(ui, mark, person.quality, &path_card::Marks::panel(ui));
    right -= 28.0;
    let right = marks_ui(ui, rect, right, person.microphone, person.camera);
    name_ui(ui, rect, right, (name, name), person.speaking);
    pressed || response.double_clicked()
}

/// Shows what is off, ending at `right`. Returns what is left of the row.
fn marks_ui(ui: &Ui, rect: Rect, mut right: f32, microphone: bool, camera: bool) -> f32 {
    let palette = theme::palette(ui);
    let off = [
        (microphone, Icon::MicrophoneOff, palette.danger),
        (camera, Icon::CameraOff, palette.text_subdued),
    ];
    for (on, icon, ink) in off {
        if !on {
            let at = pos2(right - 8.0, rect.center().y);
            widgets::paint_icon(ui.painter(), at, icon, 14.0, ink.into());
        }
        right -= 22.0;
    }
    right
}

fn name_ui(ui: &Ui, rect: Rect, right: f32, (person, name): (&str, &str), speaking: bool) {
    let palette = theme::palette(ui);
    let avatar = pos2(rect.left() + space::LARGE + 14.0, rect.center().y);
    fields::paint_avatar(ui, avatar, 28.0, person);
    if speaking {
        let stroke = egui::Stroke::new(2.0, palette.accent);
        ui.painter().circle_stroke(avatar, 16.0, stroke);
    }
    let left = avatar.x + 14.0 + space::MEDIUM;
    let ink = palette.text.into();
    let mut job = egui::text::LayoutJob::simple_singleline(name.to_owned(), theme::body(), ink);
    let room = (right - left - space::HAIR).max(16.0);
    job.wrap = egui::text::TextWrapping::truncate_at_width(room);
    let galley = ui.painter().layout_job(job);
    let at = Align2::LEFT_CENTER.anchor_size(pos2(left, rect.center().y), galley.size());
    ui.painter().galley(at.min, galley, ink);
}

fn describe(person: &Participant, pinned: bool) -> String {
    let mut words = said(name_of(person), person.microphone, person.camera);
    if person.speaking {
        words.push_str(", speaking");
    }
    if pinned {
        words.push_str(", pinned");
    }
    if person.protection == Protection::ToTheServer {
        words.push_str(", through the meeting server");
    }
    format!("{words}, connection: {}", verdict(person))
}

fn said(name: &str, microphone: bool, camera: bool) -> String {
    let mut words = name.to_owned();
    if !microphone {
        words.push_str(", microphone off");
    }
    if !camera {
        words.push_str(", camera off");
    }
    words
}
