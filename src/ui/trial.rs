//! The connection test, on a panel over the lobby: one sentence first, then what was tried.

use egui::{Id, Modal, ScrollArea, Ui, pos2};

use super::{
    desk::Desk,
    icons::Icon,
    shortcuts::Shortcut,
    theme::{self, Colour, TOKENS, space},
    widgets::{self, Button, IconButton, Tone},
};
use crate::call::{Command, Mark, TrialStep, TrialView};

/// Width of the column of marks.
const MARKS: f32 = 28.0;

/// Shows the panel. `link` is the meeting link whose server is tested, if there is one.
pub(super) fn trial_ui(ui: &Ui, trial: &TrialView, link: Option<&str>, desk: &Desk<'_>) {
    let palette = theme::palette(ui);
    let screen = ui.ctx().content_rect();
    let width = (screen.width() - 2.0 * space::LARGE).min(480.0);
    let height = (screen.height() - 2.0 * space::WIDE).min(640.0);
    let frame = egui::Frame::new()
        .fill(palette.surface.into())
        .stroke(egui::Stroke::new(1.0, palette.hairline))
        .corner_radius(TOKENS.radius.tile)
        .inner_margin(egui::Margin {
            left: space::WIDE as i8,
            right: space::LARGE as i8,
            top: space::LARGE as i8,
            bottom: space::LARGE as i8,
        });
    let inside = width - space::WIDE - space::LARGE;
    let modal = Modal::new(Id::unique("connection test"))
        .backdrop_color(palette.backdrop.opacity(0.6))
        .frame(frame)
        .show(ui.ctx(), |ui| {
            ui.set_width(inside);
            ui.spacing_mut().item_spacing.y = space::SMALL;
            let closed = header_ui(ui);
            ScrollArea::vertical()
                .max_height(height - 140.0)
                .auto_shrink([false, true])
                .show(ui, |ui| found_ui(ui, trial));
            ui.add_space(space::SMALL);
            actions_ui(ui, trial, link, desk);
            closed
        });
    if modal.inner || modal.should_close() {
        desk.send(Command::EndTest);
    }
}

/// Returns whether the panel is to close.
fn header_ui(ui: &mut Ui) -> bool {
    let size = egui::vec2(ui.available_width(), 36.0);
    let row = egui::Layout::left_to_right(egui::Align::Center);
    ui.allocate_ui_with_layout(size, row, |ui| {
        ui.label(egui::RichText::new("Connection test").font(theme::heading()));
        let right = egui::Layout::right_to_left(egui::Align::Center);
        ui.with_layout(right, |ui| {
            let close = IconButton::new(Icon::Close, "Close connection test");
            close.shortcut(Shortcut::Escape).show(ui).clicked()
        })
        .inner
    })
    .inner
}

fn found_ui(ui: &mut Ui, trial: &TrialView) {
    let palette = theme::palette(ui);
    let summary = egui::RichText::new(&trial.summary).font(theme::strong());
    ui.add(egui::Label::new(summary).wrap());
    ui.add_space(space::HAIR);
    for step in &trial.steps {
        step_ui(ui, step);
    }
    if let Some(note) = trial.note {
        ui.add_space(space::HAIR);
        let note = egui::RichText::new(note)
            .font(theme::small())
            .color(palette.text_subdued);
        ui.add(egui::Label::new(note).wrap());
    }
}

/// Shows one line: a mark, what was tried, what came of it.
fn step_ui(ui: &mut Ui, step: &TrialStep) {
    let palette = theme::palette(ui);
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        let size = egui::vec2(MARKS, 20.0);
        let (place, _) = ui.allocate_exact_size(size, egui::Sense::hover());
        paint_mark(ui, pos2(place.left() + 9.0, place.center().y), step.mark);
        let mut line = egui::text::LayoutJob::default();
        let format = |font, colour: Colour| egui::TextFormat::simple(font, colour.into());
        let title = format!("{}: ", step.title);
        line.append(&title, 0.0, format(theme::strong(), palette.text));
        line.append(
            &step.words,
            0.0,
            format(theme::body(), palette.text_subdued),
        );
        ui.add(egui::Label::new(line).wrap());
    });
}

/// Paints how something turned out: a shape each, besides the colour.
fn paint_mark(ui: &Ui, at: egui::Pos2, mark: Mark) {
    let palette = theme::palette(ui);
    let (icon, colour) = match mark {
        Mark::Good => (Icon::Check, palette.good),
        Mark::Fair => (Icon::Warning, palette.warning),
        Mark::Bad => (Icon::Error, palette.danger),
        Mark::Waiting => {
            let ring = egui::Stroke::new(1.5, palette.text_subdued);
            ui.painter().circle_stroke(at, 5.0, ring);
            return;
        }
        Mark::Skipped => {
            let line = [pos2(at.x - 5.0, at.y), pos2(at.x + 5.0, at.y)];
            let stroke = egui::Stroke::new(1.5, palette.text_subdued);
            ui.painter().line_segment(line, stroke);
            return;
        }
    };
    widgets::paint_icon(ui.painter(), at, icon, 16.0, colour.into());
}

fn actions_ui(ui: &mut Ui, trial: &TrialView, link: Option<&str>, desk: &Desk<'_>) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::SMALL;
        if trial.running {
            if Button::new("Stop").small().show(ui).clicked() {
                desk.send(Command::StopTest);
            }
        } else if !trial.host.is_empty() {
            let again = Button::new("Test again").tone(Tone::Plain).small();
            if again.show(ui).clicked() {
                desk.send(Command::TestConnection(link.map(str::to_owned)));
            }
        }
    });
}
