//! The call: the people on screen are the interface, everything else steps back.

use std::time::Duration;

use egui::{Align2, CornerRadius, Rect, Ui, accesskit, pos2, vec2};

use super::{
    controls::{self, Asked, BAR_HEIGHT},
    desk::Desk,
    diagnostics::{self, Diagnostics},
    icons::Icon,
    notices::{self, Notices},
    pager,
    people::{self, People},
    protection,
    shortcuts::Shortcut,
    stage::{Scene, Stage, Wishes},
    theme::{self, space},
    tiles,
    viewed::{Outcome, Viewed},
    widgets,
};
use crate::{
    call::{CallView, Command},
    clock,
    config::Layout,
};

/// The bars go when nobody has touched anything for that long, in seconds.
const BARS_STAY: f64 = 3.0;
/// How long "Link copied" stays, in seconds.
const COPIED_STAYS: f64 = 2.0;
/// A server that is back sooner than this is not spoken of.
const BLINK: Duration = Duration::from_secs(1);
/// After that long, "Reconnecting…" is not enough.
const LONG: Duration = Duration::from_secs(10);
/// While somebody speaks who may be brought into sight, that is decided this often.
const RESTLESS: Duration = Duration::from_millis(250);
/// Height of the top bar.
const TOP_BAR: f32 = 52.0;

/// What the window remembers about a call.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    touched: Option<f64>,
    copied: Option<f64>,
    diagnostics: Diagnostics,
    people: People,
    stage: Stage,
    viewed: Viewed,
}

impl Meeting {
    /// Opens the figures of all connections, or closes them.
    pub(super) fn toggle_diagnostics(&mut self) {
        self.diagnostics.toggle();
        if self.people.is_open() {
            self.people.toggle();
        }
    }

    /// Opens the list of people, or closes it. There is room for one panel.
    pub(super) fn toggle_people(&mut self) {
        self.people.toggle();
        if self.diagnostics.is_open() {
            self.diagnostics.toggle();
        }
    }

    fn show_figures(&mut self, participant: u64) {
        self.diagnostics.show(participant);
        if self.people.is_open() {
            self.people.toggle();
        }
    }

    fn panel_is_open(&self) -> bool {
        self.diagnostics.is_open() || self.people.is_open()
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
    shortcuts(ui, state, desk, &mut asked);
    let copied = state.copied.is_some_and(|at| now - at < COPIED_STAYS);
    let below = BAR_HEIGHT + 2.0 * space::MEDIUM;
    let (area, panel) = match state.panel_is_open() {
        true => diagnostics::part(whole, below),
        false => (whole, None),
    };
    // What lies under the panel is neither seen nor reached.
    let covered = panel.is_some_and(|panel| panel.intersects(area.shrink(1.0)));
    let line = protection::line(ui, area.width(), call);
    let own_row = line.as_ref().is_some_and(|line| !line.in_bar);
    let mut stage = Rect::from_min_max(
        pos2(area.left() + space::MEDIUM, area.top() + TOP_BAR),
        pos2(area.right() - space::MEDIUM, area.bottom() - below),
    );
    if own_row {
        stage.min.y += protection::LINE_HEIGHT;
    }
    let pager = pager::place(area, controls::bar_width(area.width()), below);
    let scene = arrange(state, stage, pager, call, desk);
    if !covered {
        let pinned = state.stage.pinned();
        tiles::people_ui(ui, &scene, (call, pinned), desk, copied, &mut asked);
    }
    if ui.input(|input| input.viewport().visible()) != Some(false) {
        // Also where the panel lies over them for a moment, whose closing must not find their
        // pictures gone.
        for (person, place) in scene.shown() {
            let pixels = ui.pixels_per_point();
            state.viewed.note(person, place.size(), pixels);
        }
        tell_sizes(ui, &mut state.viewed, desk);
    }
    if scene.restless {
        ui.ctx().request_repaint_after(RESTLESS);
    }

    let shown = bars_shown(ui, state, call, now);
    ui.scope(|ui| {
        ui.set_opacity(shown);
        let bar = Rect::from_min_size(area.min, vec2(area.width(), TOP_BAR));
        if !covered {
            controls::top_bar_ui(ui, bar, call, desk, &mut asked);
            if scene.page.of > 1 {
                let place = match pager {
                    pager::Place::Beside(place) => place,
                    pager::Place::Above => {
                        let low = stage.with_min_y(stage.bottom() - pager::HEIGHT);
                        low.translate(vec2(0.0, space::HAIR))
                    }
                };
                asked.turn += pager::pager_ui(ui, place, &scene.page);
            }
        }
        controls::control_bar_ui(ui, area, desk, copied, &mut asked);
    });
    // Stays where the bars go: a relayed call never looks like a direct one.
    if let Some(line) = line.filter(|_| !covered) {
        let top = if own_row { TOP_BAR } else { 0.0 };
        let height = if own_row {
            protection::LINE_HEIGHT - space::HAIR
        } else {
            TOP_BAR
        };
        let place = Rect::from_min_size(
            pos2(area.left(), area.top() + top),
            vec2(area.width(), height),
        );
        protection::line_ui(ui, place, line);
    }
    if shown > 0.0 {
        ui.ctx().request_repaint_after(Duration::from_secs(1));
    } else {
        ui.ctx().set_cursor_icon(egui::CursorIcon::None);
    }
    if let Some(panel) = panel {
        if state.diagnostics.is_open() {
            diagnostics::panel_ui(ui, panel, &mut state.diagnostics, call);
        } else {
            let people = (call, &desk.view.me);
            let pinned = state.stage.pinned();
            people::panel_ui(ui, panel, &mut state.people, people, pinned, &mut asked);
        }
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
        state.show_figures(participant);
    }
    if let Some(participant) = asked.pin {
        let pinned = state.stage.pinned() == Some(participant);
        state.stage.pin((!pinned).then_some(participant));
        ui.ctx().request_repaint();
    }
    if asked.people {
        state.toggle_people();
    }
    if asked.turn != 0 {
        state.stage.turn(asked.turn);
        ui.ctx().request_repaint();
    }
    if asked.leave {
        desk.send(Command::Leave);
    }
    if asked.full_screen {
        toggle_full_screen(ui);
    }
    asked.settings
}

fn shortcuts(ui: &Ui, state: &Meeting, desk: &mut Desk<'_>, asked: &mut Asked) {
    let pressed = |shortcut: Shortcut| shortcut.pressed(ui.ctx());
    let me = &desk.view.me;
    if pressed(Shortcut::Microphone) {
        desk.send(Command::SetMicrophone(!me.microphone));
    }
    if pressed(Shortcut::Camera) {
        desk.send(Command::SetCamera(!me.camera));
    }
    if desk.covered {
        return;
    }
    asked.copy_link |= pressed(Shortcut::Link);
    asked.leave |= pressed(Shortcut::Leave);
    asked.people |= pressed(Shortcut::People);
    if pressed(Shortcut::Layout) {
        desk.change_settings(|settings| {
            settings.layout = match settings.layout {
                Layout::Gallery => Layout::Speaker,
                Layout::Speaker => Layout::Gallery,
            };
        });
    }
    // The figures scroll with these keys.
    if !state.diagnostics.is_open() {
        asked.turn += isize::from(pressed(Shortcut::NextPage));
        asked.turn -= isize::from(pressed(Shortcut::PreviousPage));
    }
    if !ui.ctx().any_popup_open() && (state.people.is_open() || state.stage.pinned().is_some()) {
        match pressed(Shortcut::Escape) {
            true if state.people.is_open() => asked.people = true,
            true => asked.pin = state.stage.pinned(),
            false => {}
        }
    }
}

/// Fills the screen with the window, or stops doing so.
pub(super) fn toggle_full_screen(ui: &Ui) {
    let full = ui.input(|input| input.viewport().fullscreen.unwrap_or(false));
    ui.ctx()
        .send_viewport_cmd(egui::ViewportCommand::Fullscreen(!full));
}

/// Decides who is shown where on the stage, which gives way to a pager that has no other place.
fn arrange(
    state: &mut Meeting,
    stage: Rect,
    pager: pager::Place,
    call: &CallView,
    desk: &Desk<'_>,
) -> Scene {
    let settings = desk.settings.current();
    let wishes = Wishes {
        layout: settings.layout,
        own: settings.show_myself,
    };
    let people = &call.participants;
    let now = clock::now();
    let scene = state.stage.arrange(stage, people, wishes, now);
    if scene.page.of == 1 || pager != pager::Place::Above {
        return scene;
    }
    let above = stage.with_max_y(stage.bottom() - pager::HEIGHT);
    state.stage.arrange(above, people, wishes, now)
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
