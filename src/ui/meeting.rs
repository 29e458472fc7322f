//! The call: the people on screen are the interface, everything else steps back.

use std::time::Duration;

use egui::{Align2, CornerRadius, Rect, Ui, UiBuilder, accesskit, pos2, vec2};

use super::{
    controls::{self, Asked, BAR_HEIGHT},
    desk::Desk,
    diagnostics::{self, Diagnostics},
    grid,
    icons::Icon,
    notices::{self, Notices},
    shortcuts::Shortcut,
    theme::{self, TOKENS, space},
    tile,
    viewed::{Outcome, Viewed},
    widgets::{self, Button, Tone},
};
use crate::{
    call::{CallView, Command},
    clock,
};

/// The bars go when nobody has touched anything for that long, in seconds.
const BARS_STAY: f64 = 3.0;
/// How long "Link copied" stays, in seconds.
const COPIED_STAYS: f64 = 2.0;
/// A server that is back sooner than this is not spoken of.
const BLINK: Duration = Duration::from_secs(1);
/// After that long, "Reconnecting…" is not enough.
const LONG: Duration = Duration::from_secs(10);
/// Height of the top bar.
const TOP_BAR: f32 = 52.0;

/// What the window remembers about a call.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    touched: Option<f64>,
    copied: Option<f64>,
    diagnostics: Diagnostics,
    viewed: Viewed,
}

impl Meeting {
    /// Opens the figures of all connections, or closes them.
    pub(super) fn toggle_diagnostics(&mut self) {
        self.diagnostics.toggle();
    }

    /// The window is hidden. Returns what to tell the call about it, if anything.
    pub(super) fn hidden(&mut self) -> Option<Command> {
        let told = self.viewed.hidden(clock::since_start());
        told.then(|| Command::Viewed(Vec::new()))
    }
}

/// Shows the call in `area`. Returns whether the settings are asked for.
pub(super) fn meeting_ui(
    ui: &mut Ui,
    whole: Rect,
    state: &mut Meeting,
    notices: &mut Notices,
    call: &CallView,
    desk: &mut Desk<'_>,
) -> bool {
    let now = ui.input(|input| input.time);
    let mut asked = Asked::default();
    shortcuts(ui, desk, &mut asked);
    let copied = state.copied.is_some_and(|at| now - at < COPIED_STAYS);
    let below = BAR_HEIGHT + 2.0 * space::MEDIUM;
    let (area, panel) = match state.diagnostics.is_open() {
        true => diagnostics::part(whole, below),
        false => (whole, None),
    };
    // What lies under the panel is neither seen nor reached.
    let covered = panel.is_some_and(|panel| panel.intersects(area.shrink(1.0)));
    let stage = Rect::from_min_max(
        pos2(area.left() + space::MEDIUM, area.top() + TOP_BAR),
        pos2(area.right() - space::MEDIUM, area.bottom() - below),
    );
    if !covered {
        people_ui(ui, stage, call, desk, copied, &mut asked);
    }
    if ui.input(|input| input.viewport().visible()) != Some(false) {
        note_sizes(ui, stage, call, &mut state.viewed);
        tell_sizes(ui, &mut state.viewed, desk);
    }

    let shown = bars_shown(ui, state, call, now);
    ui.scope(|ui| {
        ui.set_opacity(shown);
        let bar = Rect::from_min_size(area.min, vec2(area.width(), TOP_BAR));
        if !covered {
            controls::top_bar_ui(ui, bar, call, &mut asked);
        }
        controls::control_bar_ui(ui, area, desk, copied, &mut asked);
    });
    if shown > 0.0 {
        ui.ctx().request_repaint_after(Duration::from_secs(1));
    } else {
        ui.ctx().set_cursor_icon(egui::CursorIcon::None);
    }
    if let Some(panel) = panel {
        diagnostics::panel_ui(ui, panel, &mut state.diagnostics, call);
    }
    server_ui(ui, area, call);
    let below_bar = Rect::from_min_max(
        pos2(area.left(), area.top() + TOP_BAR + space::HAIR),
        area.max,
    );
    asked.settings |= notices::overlay_ui(ui, notices, desk, below_bar);

    if asked.copy_link {
        ui.ctx().copy_text(call.link.clone());
        state.copied = Some(now);
    }
    if let Some(at) = state.copied.filter(|_| copied) {
        ui.ctx()
            .request_repaint_after_secs((at + COPIED_STAYS - now) as f32);
    }
    // Who is alone reads it on the card with the link.
    if copied && !call.participants.is_empty() {
        let at = pos2(
            area.center().x,
            area.bottom() - BAR_HEIGHT - 2.0 * space::MEDIUM - 8.0,
        );
        said_ui(ui, at, Align2::CENTER_BOTTOM, Icon::Check, "Link copied");
    }
    if let Some(participant) = asked.figures {
        state.diagnostics.show(participant);
    }
    if asked.leave {
        desk.send(Command::Leave);
    }
    if asked.full_screen {
        toggle_full_screen(ui);
    }
    asked.settings
}

fn shortcuts(ui: &Ui, desk: &Desk<'_>, asked: &mut Asked) {
    let me = &desk.view.me;
    if Shortcut::Microphone.pressed(ui.ctx()) {
        desk.send(Command::SetMicrophone(!me.microphone));
    }
    if Shortcut::Camera.pressed(ui.ctx()) {
        desk.send(Command::SetCamera(!me.camera));
    }
    if desk.covered {
        return;
    }
    asked.copy_link |= Shortcut::Link.pressed(ui.ctx());
    asked.leave |= Shortcut::Leave.pressed(ui.ctx());
}

/// Fills the screen with the window, or stops doing so.
pub(super) fn toggle_full_screen(ui: &Ui) {
    let full = ui.input(|input| input.viewport().fullscreen.unwrap_or(false));
    ui.ctx()
        .send_viewport_cmd(egui::ViewportCommand::Fullscreen(!full));
}

fn people_ui(
    ui: &mut Ui,
    stage: Rect,
    call: &CallView,
    desk: &mut Desk<'_>,
    copied: bool,
    asked: &mut Asked,
) {
    let gap = space::SMALL;
    let me = &desk.view.me;
    if call.participants.is_empty() {
        if let Some(rect) = grid::layout(stage, 1, gap).first() {
            tile::own_ui(ui, *rect, me, desk);
            alone_ui(ui, *rect, copied, asked);
        }
        return;
    }
    let places = grid::layout(stage, call.participants.len(), gap);
    let own = grid::own_tile(stage, &places, space::MEDIUM);
    for (participant, rect) in call.participants.iter().zip(places) {
        if tile::participant_ui(ui, rect, participant, desk, Some(own)) {
            asked.figures = Some(participant.id);
        }
    }
    tile::own_ui(ui, own, me, desk);
}

/// Notes how large everybody is shown: also where the panel lies over them for a moment, whose
/// closing must not find their pictures gone.
fn note_sizes(ui: &Ui, stage: Rect, call: &CallView, viewed: &mut Viewed) {
    let places = grid::layout(stage, call.participants.len(), space::SMALL);
    for (participant, place) in call.participants.iter().zip(places) {
        viewed.note(participant.id, place.size(), ui.pixels_per_point());
    }
}

/// Tells the call how large everybody is shown, where that changed.
fn tell_sizes(ui: &Ui, viewed: &mut Viewed, desk: &Desk<'_>) {
    match viewed.painted(clock::since_start()) {
        Outcome::Nothing => {}
        Outcome::Wait(time) => ui.ctx().request_repaint_after(time),
        Outcome::Tell(sizes) => {
            if !desk.send(Command::Viewed(sizes)) {
                viewed.refused();
            }
        }
    }
}

/// Says that nobody else is here yet, and what to do about it.
fn alone_ui(ui: &mut Ui, rect: Rect, copied: bool, asked: &mut Asked) {
    let palette = theme::palette(ui);
    let width = (rect.width() - 2.0 * space::LARGE).min(400.0);
    let height = 108.0;
    let card = Rect::from_center_size(
        pos2(
            rect.center().x,
            rect.bottom() - height / 2.0 - (rect.height() * 0.08).max(space::SMALL),
        ),
        vec2(width, height),
    );
    ui.painter().rect_filled(
        card,
        CornerRadius::same(TOKENS.radius.tile),
        palette.surface_raised.opacity(0.94),
    );
    let builder = UiBuilder::new()
        .max_rect(card.shrink(space::MEDIUM))
        .layout(egui::Layout::top_down(egui::Align::Center));
    ui.scope_builder(builder, |ui| {
        ui.add_space(space::HAIR);
        ui.label("Nobody else is here yet. Send them the link.");
        ui.add_space(space::HAIR);
        let (icon, words) = if copied {
            (Icon::Check, "Link copied")
        } else {
            (Icon::Link, "Copy link")
        };
        let button = Button::new(words)
            .icon(icon)
            .tone(Tone::Primary)
            .name("Copy meeting link")
            .shortcut(Shortcut::Link)
            .width(180.0);
        asked.copy_link |= button.show(ui).clicked();
    });
}

/// Returns how visible the bars are: they go when nobody touches anything.
fn bars_shown(ui: &Ui, state: &mut Meeting, call: &CallView, now: f64) -> f32 {
    let touched = ui.input(|input| {
        input.pointer.delta() != egui::Vec2::ZERO
            || input.pointer.any_down()
            || input.events.iter().any(|event| {
                matches!(
                    event,
                    egui::Event::Key { .. }
                        | egui::Event::Touch { .. }
                        | egui::Event::AccessKitActionRequest(_)
                )
            })
    });
    let busy = ui.ctx().any_popup_open() || call.participants.is_empty();
    if touched || busy || state.touched.is_none() {
        state.touched = Some(now);
    }
    let left = state.touched.unwrap_or(now) + BARS_STAY - now;
    if left > 0.0 {
        ui.ctx().request_repaint_after_secs(left as f32);
    }
    let id = ui.scope_id().with("bars");
    ui.ctx()
        .animate_bool_with_time(id, left > 0.0, theme::times(ui).layout)
}

/// Says that the meeting server is out of reach, while it is.
fn server_ui(ui: &mut Ui, area: Rect, call: &CallView) {
    let Some(since) = call.reconnecting_since else {
        return;
    };
    let elapsed = clock::now().saturating_duration_since(since);
    let words = if elapsed >= LONG {
        "Still trying. The others can hear each other."
    } else if elapsed >= BLINK {
        "Reconnecting…"
    } else {
        ""
    };
    for step in [BLINK, LONG] {
        if let Some(left) = step.checked_sub(elapsed) {
            ui.ctx().request_repaint_after(left);
        }
    }
    if !words.is_empty() {
        let at = pos2(area.center().x, area.top() + space::SMALL);
        said_ui(ui, at, Align2::CENTER_TOP, Icon::Unreachable, words);
    }
}

/// Shows one line of words on a card of its own, over everything.
fn said_ui(ui: &mut Ui, at: egui::Pos2, align: Align2, icon: Icon, words: &str) {
    let palette = theme::palette(ui);
    let galley =
        ui.painter()
            .layout_no_wrap(words.to_owned(), theme::small_strong(), palette.text.into());
    let size = galley.size() + vec2(24.0 + 2.0 * space::LARGE, 2.0 * space::SMALL + 4.0);
    let rect = align.anchor_size(at, size);
    let response = ui.interact(
        rect,
        ui.scope_id().with(("said", words)),
        egui::Sense::hover(),
    );
    response.widget_info(|| egui::WidgetInfo::labeled(accesskit::Role::Status, true, words));
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_live(accesskit::Live::Polite);
    });
    ui.painter().rect(
        rect,
        CornerRadius::same((size.y / 2.0) as u8),
        palette.surface_raised,
        egui::Stroke::new(1.0, palette.hairline),
        egui::StrokeKind::Inside,
    );
    let middle = rect.center().y;
    let mark = pos2(rect.left() + space::LARGE + 8.0, middle);
    widgets::paint_icon(ui.painter(), mark, icon, 16.0, palette.accent.into());
    let text = pos2(
        rect.left() + space::LARGE + 24.0,
        middle - galley.size().y / 2.0,
    );
    ui.painter().galley(text, galley, palette.text.into());
}
