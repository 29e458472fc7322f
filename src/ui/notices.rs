//! Notices: cards that say what happened and what can be done about it.

use std::collections::{HashMap, HashSet};

use egui::{Align, CornerRadius, Frame, Layout, Margin, Rect, Stroke, Ui, UiBuilder, accesskit};

use super::{
    desk::Desk,
    icons::Icon,
    theme::{self, TOKENS, space},
    widgets::{self, Button, IconButton, Tone},
};
use crate::call::{Command, Notice, NoticeAction, NoticeLevel};

/// How long information stays, in seconds.
const INFORMATION_STAYS: f64 = 6.0;
/// How many cards are shown at once: the newest.
const SHOWN: usize = 3;

/// What the window remembers about notices.
#[derive(Debug, Default)]
pub(super) struct Notices {
    since: HashMap<u64, f64>,
    gone: HashSet<u64>,
}

impl Notices {
    /// Shows the newest notices, one below the other, at most `width` wide.
    /// Returns whether the settings are asked for.
    pub(super) fn stack_ui(&mut self, ui: &mut Ui, desk: &Desk<'_>, width: f32) -> bool {
        let now = ui.input(|input| input.time);
        let notices = &desk.view.notices;
        self.since
            .retain(|id, _| notices.iter().any(|notice| notice.id == *id));
        self.gone
            .retain(|id| notices.iter().any(|notice| notice.id == *id));
        self.expire(ui, desk, now);
        let mut settings_wanted = false;
        let open = notices
            .iter()
            .filter(|notice| !self.gone.contains(&notice.id));
        let first = open.clone().count().saturating_sub(SHOWN);
        let shown: Vec<&Notice> = open.skip(first).collect();
        for notice in shown {
            let answer = ui.push_id(notice.id, |ui| card_ui(ui, notice, width)).inner;
            match answer {
                Some(Answer::Dismiss) => {
                    self.gone.insert(notice.id);
                    desk.send(Command::Dismiss(notice.id));
                }
                Some(Answer::Act(action)) => {
                    settings_wanted |= action == NoticeAction::OpenSettings;
                    let notice = notice.id;
                    desk.send(Command::Act { notice, action });
                }
                None => {}
            }
        }
        settings_wanted
    }

    /// Tells whether there is anything to show.
    pub(super) fn any(&self, desk: &Desk<'_>) -> bool {
        let notices = &desk.view.notices;
        notices.iter().any(|notice| !self.gone.contains(&notice.id))
    }

    fn expire(&mut self, ui: &Ui, desk: &Desk<'_>, now: f64) {
        for notice in &desk.view.notices {
            if notice.level != NoticeLevel::Information || self.gone.contains(&notice.id) {
                continue;
            }
            let since = *self.since.entry(notice.id).or_insert(now);
            let left = since + INFORMATION_STAYS - now;
            if left <= 0.0 {
                self.gone.insert(notice.id);
                desk.send(Command::Dismiss(notice.id));
            } else {
                ui.ctx().request_repaint_after_secs(left as f32);
            }
        }
    }
}

enum Answer {
    Act(NoticeAction),
    Dismiss,
}

fn card_ui(ui: &mut Ui, notice: &Notice, width: f32) -> Option<Answer> {
    let palette = theme::palette(ui);
    let (icon, colour, name) = match notice.level {
        NoticeLevel::Information => (Icon::Information, palette.accent, "Information"),
        NoticeLevel::Warning => (Icon::Warning, palette.warning, "Warning"),
        NoticeLevel::Error => (Icon::Error, palette.danger, "Error"),
    };
    let mut answer = None;
    let group = UiBuilder::new()
        .accessibility_role(accesskit::Role::Alert)
        .accessibility_label(name);
    ui.scope_builder(group, |ui| {
        Frame::new()
            .fill(palette.surface_raised.into())
            .stroke(Stroke::new(1.0, palette.hairline))
            .corner_radius(CornerRadius::same(TOKENS.radius.tile))
            .inner_margin(Margin::same(space::MEDIUM as i8))
            .show(ui, |ui| {
                let inner = width - 2.0 * space::MEDIUM - 2.0;
                ui.set_width(inner);
                let text_width = inner - 28.0 - 32.0;
                ui.horizontal_top(|ui| {
                    ui.spacing_mut().item_spacing = egui::vec2(space::SMALL, space::SMALL);
                    let (mark, _) =
                        ui.allocate_exact_size(egui::vec2(20.0, 22.0), egui::Sense::hover());
                    widgets::paint_icon(ui.painter(), mark.center(), icon, 18.0, colour.into());
                    ui.vertical(|ui| {
                        ui.set_width(text_width);
                        ui.add_space(1.0);
                        ui.add(egui::Label::new(&notice.text).wrap());
                        if !notice.actions.is_empty() {
                            ui.horizontal_wrapped(|ui| {
                                for (index, action) in notice.actions.iter().enumerate() {
                                    let tone = if index == 0 { Tone::Plain } else { Tone::Quiet };
                                    let button = Button::new(words(*action)).tone(tone).small();
                                    if button.show(ui).clicked() {
                                        answer = Some(Answer::Act(*action));
                                    }
                                }
                            });
                        }
                    });
                    ui.with_layout(Layout::right_to_left(Align::TOP), |ui| {
                        let close = IconButton::new(Icon::Close, "Dismiss").diameter(24.0);
                        if close.show(ui).clicked() {
                            answer = Some(Answer::Dismiss);
                        }
                    });
                });
            });
    });
    answer
}

/// Returns the words on an action's button.
pub(super) fn words(action: NoticeAction) -> &'static str {
    match action {
        NoticeAction::TryAgain => "Try again",
        NoticeAction::GoOn => "Go on",
        NoticeAction::OpenSettings => "Open settings…",
    }
}

/// Shows notices over a call, below its top bar. Returns whether the settings are asked for.
pub(super) fn overlay_ui(ui: &mut Ui, notices: &mut Notices, desk: &Desk<'_>, area: Rect) -> bool {
    if !notices.any(desk) {
        return false;
    }
    let width = (area.width() - 2.0 * space::LARGE).min(420.0);
    let corner = egui::pos2(area.right() - space::LARGE - width, area.top());
    egui::Area::new(ui.scope_id().with("notices"))
        .order(egui::Order::Middle)
        .fixed_pos(corner)
        .show(ui.ctx(), |ui| {
            ui.set_width(width);
            notices.stack_ui(ui, desk, width)
        })
        .inner
}
