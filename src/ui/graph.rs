//! A small graph of the last minute: one scale, up to three lines, the figures of now below it.
//!
//! What a line is shows from its shape as well as from its colour, and stands in words below.
//!
//! ```text
//! Rate                                    title
//! 2.5 Mb/s ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄     scale: a round figure over the largest
//!     ___/▔▔▔▔▔▔▔\____/▔▔▔▔▔▔▔▔▔▔
//! ▬ Sent 1.9  ▬ Target 2.1  ┅ Estimate 2.4 Mb/s
//! ```

use egui::{Color32, Rect, Sense, Stroke, Ui, WidgetInfo, accesskit::Role, pos2, vec2};
use egui_plot::{HLine, Line, LineStyle, Plot, PlotPoint, PlotPoints};

use super::{
    theme::{self, Colour, TOKENS, space},
    widgets,
};

/// How high a graph is.
const HEIGHT: f32 = 64.0;
/// The scale ends a little over its round figure, which has a line and a word.
const OVER: f64 = 1.12;
/// How far a graph looks back, in seconds.
const REACH: f64 = 60.0;
/// Figures further apart than this, in seconds, are not joined: something was missing between.
const GAP: f64 = 2.5;

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The main figure: a line on its own ground.
    Filled,
    /// A second figure.
    Plain,
    /// A bound.
    Dashed,
}

impl Shape {
    fn colour(self, ui: &Ui) -> Colour {
        let palette = theme::palette(ui);
        match self {
            Self::Filled => palette.accent,
            Self::Plain => palette.graph_second,
            Self::Dashed => palette.text_subdued,
        }
    }

    fn style(self) -> LineStyle {
        match self {
            Self::Filled | Self::Plain => LineStyle::Solid,
            Self::Dashed => LineStyle::Dashed { length: 5.0 },
        }
    }
}

/// One figure over time.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// What it is, in a word or two.
    pub(super) name: &'static str,
    /// What it is, in a sentence.
    pub(super) meaning: &'static str,
    /// How it is drawn.
    pub(super) shape: Shape,
    /// Seconds from now (negative) and the figure, oldest first.
    pub(super) points: Vec<[f64; 2]>,
    /// The figure now.
    pub(super) now: Option<f64>,
}

/// What figures are measured in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unit {
    /// Bits a second.
    Rate,
    /// Milliseconds.
    Milliseconds,
    /// Hundredths.
    Percent,
}

/// A unit at a scale that suits the largest figure, the same for all lines of a graph.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    top: f64,
    part: f64,
    name: &'static str,
}

impl Unit {
    /// The least that a scale shows: what is smaller than this is not worth a look.
    fn least(self) -> f64 {
        match self {
            Self::Rate => 100e3,
            Self::Milliseconds => 50.0,
            Self::Percent => 5.0,
        }
    }

    fn scale(self, largest: f64) -> Scale {
        let top = round_up(largest.max(self.least()));
        let (part, name) = match self {
            Self::Rate if top >= 1e6 => (1e6, " Mb/s"),
            Self::Rate => (1e3, " kb/s"),
            Self::Milliseconds => (1.0, " ms"),
            Self::Percent => (1.0, " %"),
        };
        Scale { top, part, name }
    }
}

impl Scale {
    fn text(self, figure: f64) -> String {
        let figure = figure / self.part;
        let digits = usize::from(figure < 9.95 && figure.fract().abs() > 0.04);
        format!("{figure:.digits$}{}", self.name)
    }
}

/// Returns the next round figure: a person reads 1, 1.5, 2, 3, 4, 5, 6, 8 at a glance.
fn round_up(figure: f64) -> f64 {
    let decade = 10_f64.powf(figure.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let reached = steps.iter().find(|step| **step * decade >= figure * 0.999);
    reached.unwrap_or(&10.0) * decade
}

/// Shows a graph with its title and its legend; `about` completes the accessible name.
pub(super) fn graph_ui(ui: &mut Ui, title: &str, about: &str, unit: Unit, series: &[Series]) {
    let palette = theme::palette(ui);
    ui.label(
        egui::RichText::new(title)
            .font(theme::small_strong())
            .color(palette.text),
    );
    let figures = series.iter().flat_map(|series| &series.points);
    let largest = figures.map(|[_, figure]| *figure).fold(0.0, f64::max);
    let scale = unit.scale(largest);
    plot_ui(ui, title, about, scale, series);
    legend_ui(ui, scale, series);
}

fn plot_ui(ui: &mut Ui, title: &str, about: &str, scale: Scale, series: &[Series]) {
    let palette = theme::palette(ui);
    let plot = Plot::new((title, about))
        .height(HEIGHT)
        .show_axes(false)
        .show_grid(false)
        .show_background(false)
        .show_crosshair(false)
        .show_x(false)
        .show_y(false)
        .allow_zoom(false)
        .allow_drag(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .allow_double_click_reset(false)
        .allow_axis_zoom_drag(false)
        .label_formatter(|_| None)
        .set_margin_fraction(egui::Vec2::ZERO)
        .sense(Sense::hover());
    let width = ui.available_width();
    let ground = Rect::from_min_size(ui.cursor().min, vec2(width, HEIGHT));
    ui.painter()
        .rect_filled(ground, TOKENS.radius.control, palette.surface_raised);
    let lines: Vec<Line<'_>> = series.iter().flat_map(|one| lines(ui, one)).collect();
    let shown = plot.show(ui, |plot| {
        plot.set_plot_bounds_x(-REACH..=0.0);
        plot.set_plot_bounds_y(0.0..=scale.top * OVER);
        for share in [0.5, 1.0] {
            let line = HLine::new("", scale.top * share)
                .stroke(Stroke::new(1.0, palette.hairline))
                .allow_hover(false);
            plot.hline(line);
        }
        for line in lines {
            plot.line(line);
        }
    });
    let response = shown.response;
    let name = accessible(title, about, scale, series);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &name));
    let top = shown
        .transform
        .position_from_point(&PlotPoint::new(-REACH, scale.top));
    let galley = ui.painter().layout_no_wrap(
        scale.text(scale.top),
        theme::small(),
        palette.text_subdued.into(),
    );
    let place = Rect::from_min_size(pos2(top.x + space::HAIR, top.y - 1.0), galley.size());
    ui.painter()
        .rect_filled(place, 0, palette.surface_raised.opacity(0.8));
    ui.painter()
        .galley(place.min, galley, palette.text_subdued.into());
}

/// Returns one line for each stretch without a gap.
fn lines(ui: &Ui, series: &Series) -> Vec<Line<'static>> {
    let colour: Color32 = series.shape.colour(ui).into();
    let line = |points: &[[f64; 2]]| {
        let line = Line::new(series.name, PlotPoints::from(points.to_vec()))
            .stroke(Stroke::new(1.5, colour))
            .style(series.shape.style())
            .allow_hover(false);
        match series.shape {
            Shape::Filled => line.fill(0.0).fill_alpha(0.16),
            Shape::Plain | Shape::Dashed => line,
        }
    };
    stretches(&series.points).map(line).collect()
}

fn stretches(points: &[[f64; 2]]) -> impl Iterator<Item = &[[f64; 2]]> {
    points
        .chunk_by(|one, next| next[0] - one[0] <= GAP)
        .filter(|stretch| !stretch.is_empty())
}

fn legend_ui(ui: &mut Ui, scale: Scale, series: &[Series]) {
    let palette = theme::palette(ui);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(space::HAIR, 0.0);
        for (index, one) in series.iter().enumerate() {
            if index > 0 {
                ui.add_space(space::SMALL);
            }
            let (mark, _) = ui.allocate_exact_size(vec2(14.0, 18.0), Sense::hover());
            paint_mark(ui, mark, one.shape);
            let words = egui::RichText::new(entry(one, scale))
                .font(theme::small())
                .color(palette.text_subdued);
            let response = ui.add(egui::Label::new(words).extend());
            widgets::explain(response, one.meaning, None);
        }
    });
}

fn entry(series: &Series, scale: Scale) -> String {
    match series.now {
        Some(figure) => format!("{} {}", series.name, scale.text(figure)),
        None => format!("{} not known", series.name),
    }
}

fn paint_mark(ui: &Ui, place: Rect, shape: Shape) {
    let colour: Color32 = shape.colour(ui).into();
    let (left, right) = (place.left_center(), place.right_center());
    match shape {
        Shape::Filled => {
            let bar = Rect::from_center_size(place.center(), vec2(14.0, 8.0));
            ui.painter().rect_filled(bar, 2, colour.gamma_multiply(0.3));
            let top = bar.top() + 1.0;
            let line = [pos2(bar.left(), top), pos2(bar.right(), top)];
            ui.painter().line_segment(line, Stroke::new(2.0, colour));
        }
        Shape::Plain => {
            ui.painter()
                .line_segment([left, right], Stroke::new(2.0, colour));
        }
        Shape::Dashed => {
            let stroke = Stroke::new(2.0, colour);
            let dashes = egui::Shape::dashed_line(&[left, right], stroke, 4.0, 3.0);
            ui.painter().extend(dashes);
        }
    }
}

/// Returns what a graph says to who cannot see it: for each line now, least and most.
fn accessible(title: &str, about: &str, scale: Scale, series: &[Series]) -> String {
    let mut name = format!("{title}, {about}, last minute");
    for one in series {
        let figures = || one.points.iter().map(|[_, figure]| *figure);
        let least = figures().fold(f64::INFINITY, f64::min);
        let most = figures().fold(f64::NEG_INFINITY, f64::max);
        name.push_str(". ");
        name.push_str(&entry(one, scale));
        if least <= most {
            let (least, most) = (scale.text(least), scale.text(most));
            name.push_str(&format!(", between {least} and {most}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_figure_over_the_largest() {
        for (figure, round) in [(50.0, 50.0), (51.0, 60.0), (130.0, 150.0), (2.4e6, 3e6)] {
            assert!((round_up(figure) - round).abs() < round * 1e-9, "{figure}");
        }
        for figure in 1..10_000 {
            let figure = f64::from(figure);
            let round = round_up(figure);
            assert!(
                round >= figure * 0.999 && round <= figure * 1.51,
                "{figure}"
            );
        }
    }

    #[test]
    fn all_lines_of_a_graph_have_one_unit() {
        let scale = Unit::Rate.scale(2.4e6);
        assert_eq!(scale.text(2.4e6), "2.4 Mb/s");
        assert_eq!(scale.text(300e3), "0.3 Mb/s");
        let scale = Unit::Rate.scale(300e3);
        assert_eq!(scale.text(300e3), "300 kb/s");
        assert_eq!(scale.text(31.6e3), "32 kb/s");
        assert_eq!(Unit::Percent.scale(0.0).text(0.5), "0.5 %");
        assert_eq!(Unit::Milliseconds.scale(0.0).text(18.0), "18 ms");
    }

    #[test]
    fn a_line_has_no_stroke_where_figures_are_missing() {
        let points = [
            [-10.0, 1.0],
            [-9.0, 2.0],
            [-4.0, 3.0],
            [-3.0, 1.0],
            [-2.0, 1.0],
        ];
        let lengths: Vec<usize> = stretches(&points).map(<[_]>::len).collect();
        assert_eq!(lengths, [2, 3]);
        assert_eq!(stretches(&[]).count(), 0);
    }

    #[test]
    fn a_graph_is_told_in_words() {
        let series = Series {
            name: "Sent",
            meaning: "",
            shape: Shape::Filled,
            points: vec![[-2.0, 100e3], [-1.0, 300e3]],
            now: Some(300e3),
        };
        let name = accessible("Rate", "to Ada", Unit::Rate.scale(300e3), &[series]);
        let expected = "Rate, to Ada, last minute. Sent 300 kb/s, between 100 kb/s and 300 kb/s";
        assert_eq!(name, expected);
    }
}
