//! Everybody on the stage: their tiles where the scene has them, one's own last.

use std::collections::HashMap;

use egui::{CornerRadius, Rect, Ui, UiBuilder, pos2, vec2};

use super::{
    controls::Asked,
    desk::Desk,
    grid,
    icons::Icon,
    shortcuts::Shortcut,
    stage::Scene,
    theme::{self, TOKENS, space},
    tile,
    widgets::{Button, Tone},
};
use crate::call::{CallView, Participant};

/// Shows everybody in the scene of a call, in which somebody may be pinned.
pub(super) fn people_ui(
    ui: &mut Ui,
    scene: &Scene,
    (call, pinned): (&CallView, Option<u64>),
    desk: &mut Desk<'_>,
    copied: bool,
    asked: &mut Asked,
) {
    let me = &desk.view.me;
    if call.participants.is_empty() {
        if let Some(rect) = grid::layout(scene.area, 1, space::SMALL).first() {
            tile::own_ui(ui, *rect, me, desk, false);
            alone_ui(ui, *rect, copied, asked);
        }
        return;
    }
    let on_top = scene.own.filter(|_| scene.own_on_top);
    let people = call.participants.iter();
    let by_id: HashMap<u64, &Participant> = people.map(|person| (person.id, person)).collect();
    for (id, rect) in scene.shown() {
        let Some(person) = by_id.get(&id) else {
            continue;
        };
        let is_pinned = pinned == Some(id);
        let answer = tile::participant_ui(ui, rect, person, is_pinned, desk, on_top);
        if answer.figures {
            asked.figures = Some(id);
        }
        if answer.pin {
            asked.pin = Some(id);
        }
    }
    if let Some(own) = scene.own
        && tile::own_ui(ui, own, me, desk, true)
    {
        desk.change_settings(|settings| settings.show_myself = false);
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
