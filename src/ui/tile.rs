//! One person's tile: their picture or initials, their name, and how they come through.

use std::{borrow::Cow, time::Duration};

use egui::{
    Align2, Color32, CornerRadius, Popup, Rect, Sense, Stroke, StrokeKind, Ui, WidgetInfo,
    accesskit::Role, pos2, vec2,
};

use super::{
    connection_words::{attempt_words, name_of, paused_words},
    desk::Desk,
    fields, grid,
    icons::Icon,
    path_card,
    theme::{self, TOKENS, space},
    video_paint::{self, Paintable},
    widgets,
};
use crate::{
    call::{Participant, SelfView, Stage},
    clock,
};

/// After that long without a new picture, a picture counts as standing still.
const STILL: Duration = Duration::from_secs(3);
/// A connection that is back sooner than this is not spoken of.
const BLINK: Duration = Duration::from_secs(1);
/// After that long, "Reconnecting…" is not enough.
const LONG: Duration = Duration::from_secs(10);

/// The widest that words on a tile become before they take another line.
const WORDS_WIDTH: f32 = 380.0;
/// What the name and the marks at the lower edge take.
const NAME_HEIGHT: f32 = 44.0;

/// What was asked for on a tile.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// The figures of the connection to them.
    pub(super) figures: bool,
    /// To pin them, or to take the pin off.
    pub(super) pin: bool,
}

/// Shows somebody else's tile at `rect`. Marks keep clear of `taken`, where something lies on top.
pub(super) fn participant_ui(
    ui: &mut Ui,
    rect: Rect,
    participant: &Participant,
    pinned: bool,
    desk: &mut Desk<'_>,
    taken: Option<Rect>,
) -> Answer {
    let mut answer = Answer::default();
    let name = name_of(participant);
    let picture = participant
        .picture
        .as_ref()
        .filter(|_| participant.camera)
        .and_then(|picture| desk.pictures.newest(ui.ctx(), picture, rect.width()));
    let words = state_words(ui, participant, picture.as_ref());
    let response = ui.interact(rect, ui.scope_id().with(participant.id), Sense::CLICK);
    let words = words.as_deref();
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Figure, true, describe(participant, pinned, words))
    });
    answer.pin |= response.double_clicked();

    paint_person(ui, rect, name, picture.as_ref(), words.is_some(), false);
    if let Some(words) = words {
        let below = if picture.is_some() { 0.0 } else { 0.34 };
        paint_words(ui, rect, words, below, taken);
    }
    let right = taken
        .filter(|taken| taken.intersects(lower_edge(rect)))
        .map_or(rect.right(), |taken| taken.left().max(rect.left() + 96.0));
    let corner = pos2(right, rect.bottom());
    let (marks, figures) = path_card::mark_ui(ui, corner, participant, rect.width());
    answer.figures |= figures;
    let room = marks.left() - rect.left() - space::LARGE;
    paint_name(ui, rect, name, !participant.microphone, room);
    outline(ui, &response, rect, participant.speaking);
    answer.pin |= pin_ui(ui, rect, participant, pinned, taken);
    menu_ui(&response, participant, pinned, &mut answer);
    answer
}

/// Shows the pin at the upper right of a tile, or at the left where the right is taken: always
/// while it holds, otherwise where the pointer or the keyboard is. Returns whether it was pressed.
fn pin_ui(
    ui: &mut Ui,
    rect: Rect,
    participant: &Participant,
    pinned: bool,
    taken: Option<Rect>,
) -> bool {
    let small = path_card::is_small(rect.width());
    let (size, inset) = if small {
        (24.0, 6.0)
    } else {
        (28.0, space::SMALL)
    };
    let corner = pos2(rect.right() - inset - size, rect.top() + inset);
    let mut place = Rect::from_min_size(corner, vec2(size, size));
    if taken.is_some_and(|taken| taken.intersects(place)) {
        place = place.translate(vec2(rect.left() + inset - place.left(), 0.0));
    }
    let id = ui.scope_id().with(("pin", participant.id));
    let response = ui.interact(place, id, Sense::click());
    let name = pin_words(participant, pinned);
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, pinned, &name));
    let near = ui.rect_contains_pointer(rect);
    if pinned || near || response.has_focus() {
        let picture = &TOKENS.picture;
        let shade = if response.hovered() { 0.95 } else { 0.8 };
        let radius = CornerRadius::same(TOKENS.radius.control - 2);
        ui.painter()
            .rect_filled(place, radius, picture.shade.opacity(shade));
        let icon = match pinned && response.hovered() {
            true => Icon::PinOff,
            false => Icon::Pin,
        };
        let ink = if pinned {
            picture.text
        } else {
            picture.text_subdued
        };
        widgets::paint_icon(ui.painter(), place.center(), icon, 14.0, ink.into());
        widgets::focus_ring(ui, &response, place, radius);
    }
    let pressed = response.clicked();
    widgets::explain(response, &name, None);
    pressed
}

/// Returns the words of what pins somebody, or takes the pin off.
pub(super) fn pin_words(participant: &Participant, pinned: bool) -> String {
    match pinned {
        true => format!("Unpin {}", name_of(participant)),
        false => format!("Pin {}", name_of(participant)),
    }
}

/// Shows the menu of a tile on a click of the other button.
fn menu_ui(
    response: &egui::Response,
    participant: &Participant,
    pinned: bool,
    answer: &mut Answer,
) {
    Popup::context_menu(response)
        .width(220.0)
        .accessible_name(name_of(participant).to_owned())
        .show(|ui| {
            ui.set_width(220.0);
            ui.spacing_mut().item_spacing.y = 2.0;
            let pin = pin_words(participant, pinned);
            let item = |ui: &mut Ui, words: &str| {
                widgets::menu_item_ui(ui, words, Role::MenuItem, false).clicked()
            };
            if item(ui, &pin) {
                answer.pin = true;
                ui.close();
            }
            if item(ui, "Show figures") {
                answer.figures = true;
                ui.close();
            }
        });
}

/// Shows one's own tile at `rect`. Returns whether it is to be hidden; where it cannot be
/// (`hideable`), that is not offered.
pub(super) fn own_ui(
    ui: &mut Ui,
    rect: Rect,
    me: &SelfView,
    desk: &mut Desk<'_>,
    hideable: bool,
) -> bool {
    let picture = me
        .picture
        .as_ref()
        .filter(|_| me.camera)
        .and_then(|picture| desk.pictures.newest(ui.ctx(), picture, rect.width()));
    let response = ui.interact(rect, ui.scope_id().with("me"), Sense::hover());
    response.widget_info(|| {
        let camera = if me.camera { "" } else { ", camera off" };
        let microphone = if me.microphone {
            ""
        } else {
            ", microphone off"
        };
        WidgetInfo::labeled(Role::Figure, true, format!("You{camera}{microphone}"))
    });
    paint_person(ui, rect, &me.name, picture.as_ref(), false, true);
    let room = rect.width() - space::LARGE;
    paint_name(ui, rect, "You", !me.microphone, room);
    let palette = theme::palette(ui);
    ui.painter().rect_stroke(
        rect,
        CornerRadius::same(TOKENS.radius.tile),
        Stroke::new(1.0, palette.hairline),
        StrokeKind::Inside,
    );
    hideable && hide_ui(ui, rect)
}

/// Shows what hides one's own tile at its upper right, where the pointer or the keyboard is.
/// Returns whether it was pressed.
fn hide_ui(ui: &mut Ui, rect: Rect) -> bool {
    let corner = pos2(rect.right() - 6.0 - 24.0, rect.top() + 6.0);
    let place = Rect::from_min_size(corner, vec2(24.0, 24.0));
    let response = ui.interact(place, ui.scope_id().with("hide me"), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Hide yourself"));
    if ui.rect_contains_pointer(rect) || response.has_focus() {
        let picture = &TOKENS.picture;
        let shade = if response.hovered() { 0.95 } else { 0.8 };
        let radius = CornerRadius::same(TOKENS.radius.control - 2);
        ui.painter()
            .rect_filled(place, radius, picture.shade.opacity(shade));
        let ink = picture.text_subdued.into();
        widgets::paint_icon(ui.painter(), place.center(), Icon::Close, 14.0, ink);
        widgets::focus_ring(ui, &response, place, radius);
    }
    let pressed = response.clicked();
    widgets::explain(response, "Hide yourself; the others go on seeing you", None);
    pressed
}

/// Paints a person's ground, and their picture or initials.
pub(super) fn paint_person(
    ui: &Ui,
    rect: Rect,
    name: &str,
    picture: Option<&Paintable>,
    dimmed: bool,
    mirrored: bool,
) {
    let palette = theme::palette(ui);
    let radius = TOKENS.radius.tile;
    ui.painter().rect_filled(rect, radius, palette.surface);
    let Some(picture) = picture else {
        let diameter = (rect.height() * 0.42).clamp(24.0, 144.0);
        fields::paint_avatar(ui, rect.center(), diameter, name);
        return;
    };
    let (place, part) = grid::fit(rect, picture.size);
    let rounded = if place == rect { radius } else { 0 };
    let tint = if dimmed {
        Color32::from_gray(96)
    } else {
        Color32::WHITE
    };
    video_paint::paint(
        ui.painter(),
        picture,
        (place, part),
        rounded,
        mirrored,
        tint,
    );
}

fn describe(participant: &Participant, pinned: bool, words: Option<&str>) -> String {
    let mut parts = vec![name_of(participant).to_owned()];
    if pinned {
        parts.push("pinned".into());
    }
    if !participant.camera {
        parts.push("camera off".into());
    }
    if !participant.microphone {
        parts.push("microphone off".into());
    }
    if participant.speaking {
        parts.push("speaking".into());
    }
    parts.extend(words.map(str::to_owned));
    parts.join(", ")
}

/// Returns the one line that says why the picture is not as it should be, if it is not.
fn state_words(
    ui: &Ui,
    participant: &Participant,
    picture: Option<&Paintable>,
) -> Option<Cow<'static, str>> {
    let now = clock::now();
    let after = |duration: Duration, elapsed: Duration| {
        let left = duration.saturating_sub(elapsed);
        if left > Duration::ZERO {
            ui.ctx().request_repaint_after(left);
        }
        left == Duration::ZERO
    };
    match participant.stage {
        Stage::Connecting | Stage::Failed => Some(attempt_words(participant)),
        Stage::Reconnecting { since } => {
            let elapsed = now.saturating_duration_since(since);
            if after(LONG, elapsed) {
                Some("Still trying to reach them.".into())
            } else if after(BLINK, elapsed) {
                Some("Reconnecting…".into())
            } else {
                None
            }
        }
        Stage::Connected => {
            if participant.camera
                && let Some(words) = paused_words(participant)
            {
                return Some(words.into());
            }
            let picture = picture?;
            let still = now.saturating_duration_since(picture.changed);
            after(STILL, still).then_some("Picture paused".into())
        }
    }
}

/// Paints words on a soft shade, `below` the centre by that share of the height, or higher where
/// they would lie on the name, and beside `taken`. On a small tile as much as two lines hold.
fn paint_words(ui: &Ui, rect: Rect, words: &str, below: f32, taken: Option<Rect>) {
    let picture = &TOKENS.picture;
    let lay_out = |room: Rect| {
        let small = room.height() < 180.0;
        let (font, beside) = match small {
            true => (theme::small(), 2.0 * space::MEDIUM),
            false => (theme::body(), 2.0 * space::WIDE),
        };
        let width = (room.width() - beside).min(WORDS_WIDTH);
        let ink = picture.text.into();
        let mut job = egui::text::LayoutJob::simple(words.to_owned(), font, ink, width);
        job.halign = egui::Align::Center;
        if small {
            job.wrap.max_rows = 2;
        }
        let galley = ui.painter().layout_job(job);
        let size = galley.size() + vec2(2.0 * space::MEDIUM, space::MEDIUM);
        let lowest = room.bottom() - NAME_HEIGHT - size.y / 2.0;
        let wanted = room.center().y + room.height() * below;
        let centre = pos2(room.center().x, wanted.min(lowest.max(room.center().y)));
        (galley, Rect::from_center_size(centre, size))
    };
    let (mut galley, mut ground) = lay_out(rect);
    if let Some(taken) = taken.filter(|taken| taken.intersects(ground)) {
        let left = rect.with_max_x(taken.left().max(rect.left() + 2.0 * NAME_HEIGHT));
        (galley, ground) = lay_out(left);
    }
    let centre = ground.center();
    ui.painter()
        .rect_filled(ground, TOKENS.radius.control, picture.shade.opacity(0.8));
    let top = pos2(centre.x, centre.y - galley.size().y / 2.0);
    ui.painter().galley(top, galley, picture.text.into());
}

/// Paints the name, and a mark where the microphone is off, at the lower left on a soft shade.
fn paint_name(ui: &Ui, rect: Rect, name: &str, muted: bool, room: f32) {
    let picture = &TOKENS.picture;
    let small = rect.width() < 260.0;
    let height = if small { 24.0 } else { 28.0 };
    let inset = if small { 6.0 } else { space::SMALL };
    let icon = if muted { 20.0 } else { 0.0 };
    let font = if small {
        theme::small()
    } else {
        theme::small_strong()
    };
    let room = (room - 2.0 * space::SMALL - icon).max(16.0);
    let lay_out = |name: String| {
        let ink = picture.text.into();
        let mut job = egui::text::LayoutJob::simple_singleline(name, font.clone(), ink);
        job.wrap = egui::text::TextWrapping::truncate_at_width(room);
        ui.painter().layout_job(job)
    };
    let mut galley = lay_out(name.to_owned());
    if galley.elided {
        galley = lay_out(shortened(name));
    }
    let size = vec2(galley.size().x + icon + 2.0 * space::SMALL, height);
    let corner = pos2(rect.left() + inset, rect.bottom() - inset - height);
    let ground = Rect::from_min_size(corner, size);
    ui.painter().rect_filled(
        ground,
        TOKENS.radius.control - 2,
        picture.shade.opacity(0.8),
    );
    if muted {
        let at = pos2(ground.left() + 15.0, ground.center().y);
        widgets::paint_icon(
            ui.painter(),
            at,
            Icon::MicrophoneOff,
            14.0,
            picture.danger.into(),
        );
    }
    let at = Align2::LEFT_CENTER.anchor_size(
        pos2(ground.left() + space::SMALL + icon, ground.center().y),
        galley.size(),
    );
    ui.painter().galley(at.min, galley, picture.text.into());
}

/// Returns a name with its last part cut to an initial: "Ada L."
fn shortened(name: &str) -> String {
    let mut parts = name.split_whitespace();
    let first = parts.next().unwrap_or_default();
    match parts.next_back().and_then(|last| last.chars().next()) {
        Some(initial) => format!("{first} {initial}."),
        None => name.to_owned(),
    }
}

/// Where names and marks lie.
fn lower_edge(rect: Rect) -> Rect {
    Rect::from_min_max(pos2(rect.center().x, rect.bottom() - NAME_HEIGHT), rect.max)
}

fn outline(ui: &Ui, response: &egui::Response, rect: Rect, speaking: bool) {
    let share = ui.ctx().animate_bool_with_time(
        response.id.with("speaking"),
        speaking,
        theme::times(ui).layout,
    );
    if share > 0.0 {
        let palette = theme::palette(ui);
        let stroke = Stroke::new(2.0, palette.accent.opacity(share));
        let radius = CornerRadius::same(TOKENS.radius.tile);
        ui.painter()
            .rect_stroke(rect, radius, stroke, StrokeKind::Middle);
    }
}
