//! How the call is protected, as the top bar says it: a lock while everything is encrypted from one
//! computer to the other, and a line that stays on the screen while anything passes through the
//! meeting server readable.

use std::sync::Arc;

use egui::{Align, Galley, Layout, Pos2, Rect, Sense, Ui, UiBuilder, WidgetInfo, accesskit, vec2};

use super::{
    icons::Icon,
    path_card::Way,
    theme::{self, space},
    widgets,
};
use crate::call::{CallView, Protection};

/// The line, from whole to short: the first that there is room for.
const WHOLE: [&str; 3] = [
    "This call goes through the meeting server: encrypted on the way to it and from it, not from end to end",
    "Through the meeting server: not encrypted from end to end",
    "Not encrypted from end to end",
];
/// The line where something goes straight all the same.
const PARTLY: [&str; 3] = [
    "Some of this call goes through the meeting server: encrypted on the way to it and from it, not from end to end",
    "Partly through the meeting server: not all is encrypted from end to end",
    "Not all is encrypted from end to end",
];
/// What it means.
const MEANING: &str = "The meeting server could see and hear what passes through it.";
/// Height of the line where it has a row of its own.
pub(super) const LINE_HEIGHT: f32 = 26.0;
/// What the mark before the words takes.
const MARK: f32 = 22.0;
/// A line beside the title and the buttons of the top bar keeps that far from the middle of
/// neither: what those take at each side.
const BESIDE: f32 = 270.0;

/// The line, laid out.
#[derive(Debug)]
pub(super) struct Line {
    /// The whole of it.
    said: &'static str,
    galley: Arc<Galley>,
    /// Whether it stands in the top bar, between what is at its sides.
    pub(super) in_bar: bool,
}

/// Lays out what there is to say about protection in `width`, if there is anything.
pub(super) fn line(ui: &Ui, width: f32, call: &CallView) -> Option<Line> {
    if call.protection == Protection::EndToEnd {
        return None;
    }
    let palette = theme::palette(ui);
    let lay_out = |words: &str| {
        ui.painter()
            .layout_no_wrap(words.to_owned(), theme::small(), palette.text.into())
    };
    let ways: Vec<Way> = call.participants.iter().filter_map(Way::of).collect();
    let lines = match ways.iter().all(|way| *way == Way::Server) {
        true => WHOLE,
        false => PARTLY,
    };
    let said = lines[0];
    let whole = lay_out(said);
    if whole.size().x + MARK <= width - 2.0 * BESIDE {
        let in_bar = true;
        return Some(Line {
            said,
            galley: whole,
            in_bar,
        });
    }
    let room = width - 2.0 * space::LARGE - MARK;
    let fits = |galley: &Arc<Galley>| galley.size().x <= room;
    let galley = lines.iter().map(|words| lay_out(words)).find(fits);
    Some(Line {
        said,
        galley: galley.unwrap_or_else(|| lay_out(lines[2])),
        in_bar: false,
    })
}

/// Shows the line in the middle of `rect`.
pub(super) fn line_ui(ui: &mut Ui, rect: Rect, line: Line) {
    let palette = theme::palette(ui);
    let size = line.galley.size() + vec2(MARK, 0.0);
    let place = Rect::from_center_size(rect.center(), size);
    let id = ui.scope_id().with("protection");
    let response = ui.interact(place, id, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(accesskit::Role::Status, true, line.said));
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_live(accesskit::Live::Polite);
    });
    let mark = Pos2::new(place.left() + 7.0, place.center().y);
    let warning = palette.warning.into();
    widgets::paint_icon(ui.painter(), mark, Icon::Server, 14.0, warning);
    let text = Pos2::new(place.left() + MARK, place.top());
    ui.painter().galley(text, line.galley, palette.text.into());
    widgets::explain(response, MEANING, None);
}

/// Shows with a lock and a word how everybody is reached, unless there is a line to say about it.
pub(super) fn mark_ui(ui: &mut Ui, call: &CallView) {
    if call.protection != Protection::EndToEnd {
        return;
    }
    let palette = theme::palette(ui);
    let (word, explanation) = words(call);
    let group = UiBuilder::new().layout(Layout::right_to_left(Align::Center));
    let response = ui
        .scope_builder(group, |ui| {
            ui.spacing_mut().item_spacing.x = space::HAIR + 2.0;
            if !word.is_empty() && ui.available_width() > 260.0 {
                let words = egui::RichText::new(word)
                    .font(theme::small())
                    .color(palette.text_subdued);
                ui.label(words);
            }
            let (mark, _) = ui.allocate_exact_size(vec2(16.0, 20.0), Sense::hover());
            let ink = palette.text_subdued.into();
            widgets::paint_icon(ui.painter(), mark.center(), Icon::Lock, 14.0, ink);
        })
        .response;
    widgets::explain(response, &explanation, None);
}

/// Returns a word for the ways in use, and what it means.
fn words(call: &CallView) -> (&'static str, String) {
    let any = |way| {
        call.participants
            .iter()
            .any(|one| Way::of(one) == Some(way))
    };
    let (word, ending) = match (any(Way::Direct), any(Way::Relayed)) {
        (false, false) => ("", ""),
        (true, false) => ("direct", " They go straight to everybody."),
        (false, true) => (
            "relayed",
            " They go through a relay, which cannot read them.",
        ),
        (true, true) => (
            "partly relayed",
            " To some they go through a relay, which cannot read them.",
        ),
    };
    let explanation =
        format!("Sound and pictures are encrypted from your computer to theirs.{ending}");
    (word, explanation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_claims_more_than_there_is_and_each_is_shorter() {
        for line in WHOLE.into_iter().chain(PARTLY) {
            assert!(line.to_lowercase().contains("from end to end"), "{line}");
            assert!(line.to_lowercase().contains("not "), "{line}");
        }
        for lines in [WHOLE, PARTLY] {
            assert!(lines.windows(2).all(|pair| pair[1].len() < pair[0].len()));
        }
    }
}
