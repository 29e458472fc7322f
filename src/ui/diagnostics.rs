//! How every connection is doing: for each person a verdict in words, what is sent and received,
//! and small graphs of the last minute.
//!
//! The panel stands beside the people where the window is wide, and over them where it is not.
//! It costs nothing while it is closed. Open, it asks for a paint once a second; pictures that move
//! beside it paint the whole window anyway.

use std::{collections::HashSet, time::Duration};

use egui::{
    Align, CornerRadius, Key, Layout, Margin, Rect, ScrollArea, Sense, Ui, UiBuilder, WidgetInfo,
    accesskit::Role, vec2,
};

use super::{
    connection_words::{name_of, path_words, verdict},
    graph::{self, Series, Shape, Unit},
    icons::Icon,
    path_card,
    shortcuts::Shortcut,
    theme::{self, TOKENS, space},
    widgets::{self, IconButton},
};
use crate::{
    call::{CallView, Participant, Sample},
    clock,
    media::Size,
};

/// How wide the panel is beside the people.
const WIDTH: f32 = 372.0;
/// With more people than this, figures are folded away until they are asked for: graphs of two hundred
/// would be slow to paint, and nobody reads them.
const UNFOLDED: usize = 9;
/// Beside the panel there must be this much left for the people; else it lies over them.
const LEAST_STAGE: f32 = 480.0;

/// What the window remembers about the panel.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    open: bool,
    /// Those who are folded where the others are not, or the other way round.
    turned: HashSet<u64>,
    sought: Option<u64>,
}

impl Diagnostics {
    /// Opens the panel at that person.
    pub(super) fn show(&mut self, participant: u64) {
        self.open = true;
        self.sought = Some(participant);
    }

    /// Opens or closes the panel.
    pub(super) fn toggle(&mut self) {
        self.open = !self.open;
    }

    /// Tells whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Tells whether somebody's figures are folded away, among so many people.
    fn folded(&self, participant: u64, people: usize) -> bool {
        (people > UNFOLDED) != self.turned.contains(&participant)
    }

    /// Folds somebody's figures away, or shows them.
    fn turn(&mut self, participant: u64) {
        if !self.turned.remove(&participant) {
            self.turned.insert(participant);
        }
    }
}

/// Parts `area` between the people and the panel. Where there is no room for both, the people keep
/// it all and the panel lies over them, but for the lowest part, which has the controls.
pub(super) fn part(area: Rect, controls: f32) -> (Rect, Option<Rect>) {
    let left = area.width() - WIDTH;
    if left < LEAST_STAGE {
        let (panel, _) = area.split_top_bottom_at_y(area.bottom() - controls);
        return (area, Some(panel));
    }
    let (stage, panel) = area.split_left_right_at_x(area.left() + left);
    (stage, Some(panel))
}

/// Shows the panel at `area`.
pub(super) fn panel_ui(ui: &mut Ui, area: Rect, state: &mut Diagnostics, call: &CallView) {
    let palette = theme::palette(ui);
    let place = area.shrink(space::SMALL);
    let radius = CornerRadius::same(TOKENS.radius.tile);
    ui.painter().rect(
        place,
        radius,
        palette.surface,
        egui::Stroke::new(1.0, palette.hairline),
        egui::StrokeKind::Inside,
    );
    let builder = UiBuilder::new()
        .id_salt("connections")
        .max_rect(place.shrink(1.0))
        .layout(Layout::top_down(Align::Min));
    ui.scope_builder(builder, |ui| {
        ui.spacing_mut().item_spacing = vec2(space::SMALL, space::HAIR);
        title_ui(ui, state);
        let people = &call.participants;
        ScrollArea::vertical()
            .auto_shrink([false, false])
            .show(ui, |ui| {
                turn_pages(ui, place.height());
                let margin = Margin {
                    left: space::LARGE as i8,
                    right: space::LARGE as i8,
                    top: 0,
                    bottom: space::LARGE as i8,
                };
                egui::Frame::new().inner_margin(margin).show(ui, |ui| {
                    if people.is_empty() {
                        note_ui(ui, "Nobody else is here yet.");
                        return;
                    }
                    note_ui(ui, "The graphs show the last minute; now is at the right.");
                    for participant in people {
                        ui.push_id(participant.id, |ui| {
                            person_ui(ui, state, call, participant);
                        });
                    }
                });
            });
    });
    ui.ctx().request_repaint_after(Duration::from_secs(1));
}

fn title_ui(ui: &mut Ui, state: &mut Diagnostics) {
    let margin = Margin {
        left: space::LARGE as i8,
        right: space::SMALL as i8,
        top: space::SMALL as i8,
        bottom: 0,
    };
    egui::Frame::new().inner_margin(margin).show(ui, |ui| {
        let size = vec2(ui.available_width(), 40.0);
        ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
            ui.label(egui::RichText::new("Connections").font(theme::heading()));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let close = IconButton::new(Icon::Close, "Close connections")
                    .shortcut(Shortcut::Connections);
                if close.show(ui).clicked() {
                    state.open = false;
                }
            });
        });
    });
}

/// Lets the keyboard scroll, a page at a time.
fn turn_pages(ui: &Ui, page: f32) {
    let turned = ui.input(|input| {
        let pressed = |key| f32::from(u8::from(input.key_pressed(key)));
        pressed(Key::PageUp) - pressed(Key::PageDown)
    });
    if turned != 0.0 {
        ui.scroll_with_delta(vec2(0.0, turned * page * 0.8));
    }
}

fn person_ui(ui: &mut Ui, state: &mut Diagnostics, call: &CallView, participant: &Participant) {
    let (id, people) = (participant.id, call.participants.len());
    if state.sought == Some(id) && state.folded(id, people) {
        state.turn(id);
    }
    let head = head_ui(ui, participant, state.folded(id, people));
    if state.sought == Some(id) {
        state.sought = None;
        head.scroll_to_me(Some(Align::Min));
    }
    if head.clicked() {
        state.turn(id);
    }
    if state.folded(id, people) {
        return;
    }
    let newest = participant.history.newest();
    note_ui(ui, &way(participant, newest));
    let Some(newest) = newest else {
        return;
    };
    note_ui(
        ui,
        &format!("To them {}", picture(newest.sent_size, newest.sent_fps)),
    );
    note_ui(
        ui,
        &format!(
            "From them {}",
            picture(newest.received_size, newest.received_fps)
        ),
    );
    if let Some(words) = encoder_words(call, participant) {
        note_ui(ui, words);
    }
    let about = format!("with {}", name_of(participant));
    let now = now_of(call);
    for graph in graphs(participant, call, now) {
        ui.add_space(space::HAIR);
        let series: Vec<Series> = graph.series.into_iter().flatten().collect();
        graph::graph_ui(ui, graph.title, &about, graph.unit, &series);
    }
}

/// Shows a person's name, their mark of quality and the verdict; a click folds the rest away.
fn head_ui(ui: &mut Ui, participant: &Participant, folded: bool) -> egui::Response {
    let palette = theme::palette(ui);
    ui.add_space(space::SMALL);
    let size = vec2(ui.available_width(), 44.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let (name, verdict) = (name_of(participant), verdict(participant));
    response.widget_info(|| {
        let words = format!("{name}: {verdict}");
        WidgetInfo::selected(Role::DisclosureTriangle, ui.is_enabled(), !folded, words)
    });
    if ui.is_rect_visible(rect) {
        let top = [rect.left_top(), rect.right_top()];
        ui.painter()
            .line_segment(top, egui::Stroke::new(1.0, palette.hairline));
        let middle = rect.center().y + 2.0;
        let mark = egui::pos2(rect.left() + 9.0, middle);
        path_card::paint_quality(ui, mark, participant.quality, &path_card::Marks::panel(ui));
        let text = |at: f32, words: &str, font, colour: theme::Colour| {
            let room = rect.width() - 28.0 - 24.0;
            let mut job =
                egui::text::LayoutJob::simple_singleline(words.to_owned(), font, colour.into());
            job.wrap = egui::text::TextWrapping::truncate_at_width(room);
            let galley = ui.painter().layout_job(job);
            let corner = egui::pos2(rect.left() + 28.0, at - galley.size().y / 2.0);
            ui.painter().galley(corner, galley, colour.into());
        };
        text(middle - 9.0, name, theme::strong(), palette.text);
        text(middle + 9.0, &verdict, theme::small(), palette.text_subdued);
        let arrow = egui::pos2(rect.right() - 10.0, middle);
        let icon = if folded { Icon::Right } else { Icon::Down };
        widgets::paint_icon(ui.painter(), arrow, icon, 16.0, palette.text_subdued.into());
        widgets::focus_ring(ui, &response, rect.shrink(2.0), CornerRadius::same(6));
    }
    response
}

fn note_ui(ui: &mut Ui, words: &str) {
    let palette = theme::palette(ui);
    let words = egui::RichText::new(words)
        .font(theme::small())
        .color(palette.text_subdued);
    ui.add(egui::Label::new(words).wrap());
}

fn way(participant: &Participant, newest: Option<&Sample>) -> String {
    let way = path_words(participant);
    match newest.and_then(|sample| sample.protocol) {
        // A path that names its protocol already says it.
        Some("udp") if !participant.path.ends_with("udp") => format!("{way}, over UDP"),
        _ => way,
    }
}

fn picture(size: Option<Size>, fps: Option<f32>) -> String {
    match (size, fps) {
        (Some(size), Some(fps)) if fps >= 0.5 => {
            format!(
                "{} × {}, {fps:.0} pictures a second",
                size.width, size.height
            )
        }
        _ => "no picture".into(),
    }
}

/// Says whether others get the very same picture from us.
fn encoder_words(call: &CallView, participant: &Participant) -> Option<&'static str> {
    let encoder = |one: &Participant| one.history.newest()?.encoder_id;
    let ours = encoder(participant)?;
    let others = call
        .participants
        .iter()
        .filter(|one| one.id != participant.id);
    let shared = others.filter_map(encoder).any(|id| id == ours);
    Some(if shared {
        "Your picture is encoded once for them and others."
    } else {
        "Your picture is encoded for them alone."
    })
}

/// Returns the second that the graphs end at, counted from when we joined: they move once a second.
fn now_of(call: &CallView) -> u64 {
    clock::now().saturating_duration_since(call.since).as_secs() + 1
}

struct Graph {
    title: &'static str,
    unit: Unit,
    series: [Option<Series>; 3],
}

fn graphs(participant: &Participant, call: &CallView, now: u64) -> [Graph; 3] {
    let series = |name, meaning, shape, figure: fn(&Sample) -> Option<f64>| {
        let point = |sample: &Sample| {
            let since = sample.at.saturating_duration_since(call.since);
            Some([since.as_secs_f64() - now as f64, figure(sample)?])
        };
        Some(Series {
            name,
            meaning,
            shape,
            points: participant.history.samples().filter_map(point).collect(),
            now: participant.history.newest().and_then(figure),
        })
    };
    [
        Graph {
            title: "Rate to them",
            unit: Unit::Rate,
            series: [
                series(
                    "Sent",
                    "Pictures and sound that you send.",
                    Shape::Filled,
                    |sample| Some(sample.sent()?.as_f64()),
                ),
                series(
                    "Target",
                    "What your picture is made to fit.",
                    Shape::Plain,
                    |sample| Some(sample.target?.as_f64()),
                ),
                series(
                    "Estimate",
                    "What the network is believed to carry to them.",
                    Shape::Dashed,
                    |sample| Some(sample.estimate?.as_f64()),
                ),
            ],
        },
        Graph {
            title: "Delay",
            unit: Unit::Milliseconds,
            series: [
                series(
                    "Round trip",
                    "How long it takes to them and back.",
                    Shape::Filled,
                    |sample| Some(millis(sample.round_trip?)),
                ),
                series(
                    "Queue",
                    "How long packets wait on their way to them.",
                    Shape::Plain,
                    |sample| Some(millis(sample.queue_delay?)),
                ),
                None,
            ],
        },
        Graph {
            title: "Loss",
            unit: Unit::Percent,
            series: [
                series(
                    "To them",
                    "Part of what you send that does not arrive.",
                    Shape::Filled,
                    |sample| Some(f64::from(sample.loss_sent?) * 100.0),
                ),
                series(
                    "From them",
                    "Part of what they send that does not arrive.",
                    Shape::Plain,
                    |sample| Some(f64::from(sample.loss_received?) * 100.0),
                ),
                None,
            ],
        },
    ]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
