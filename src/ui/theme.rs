//! How the window looks, by meaning: colours, radii, type and times, read once from `assets/theme.toml`.
//!
//! No other file of the window names a colour.

use std::sync::{Arc, LazyLock};

use egui::{
    Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Stroke, TextStyle, Theme,
    Visuals,
};
use serde::{Deserialize, Deserializer, de::Error as _};

/// The colours of the dark or the light window.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Palette {
    pub(super) canvas: Colour,
    pub(super) surface: Colour,
    pub(super) surface_raised: Colour,
    pub(super) control: Colour,
    pub(super) control_hovered: Colour,
    pub(super) hairline: Colour,
    pub(super) text: Colour,
    pub(super) text_subdued: Colour,
    pub(super) accent: Colour,
    pub(super) accent_fill: Colour,
    pub(super) accent_fill_hovered: Colour,
    pub(super) on_accent: Colour,
    pub(super) danger: Colour,
    pub(super) danger_fill: Colour,
    pub(super) danger_fill_hovered: Colour,
    pub(super) on_danger: Colour,
    pub(super) warning: Colour,
    pub(super) good: Colour,
    pub(super) graph_second: Colour,
    pub(super) backdrop: Colour,
}

/// The colours of what lies on pictures.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OnPicture {
    pub(super) shade: Colour,
    pub(super) text: Colour,
    pub(super) text_subdued: Colour,
    pub(super) danger: Colour,
    pub(super) warning: Colour,
    pub(super) good: Colour,
}

/// The grounds of avatars.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Avatars {
    /// One of these is taken by name.
    pub(super) grounds: Vec<Colour>,
}

/// How round corners are, in points.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Radii {
    /// Of tiles, panels and cards.
    pub(super) tile: u8,
    /// Of buttons and fields.
    pub(super) control: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextSizes {
    small: f32,
    body: f32,
    heading: f32,
    title: f32,
}

/// How long changes take, in seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Times {
    /// What the pointer touches.
    pub(super) hover: f32,
    /// What appears, goes or moves.
    pub(super) layout: f32,
}

/// All tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    /// The dark window.
    pub(super) dark: Palette,
    /// The light window.
    pub(super) light: Palette,
    /// On pictures.
    pub(super) picture: OnPicture,
    /// Avatars.
    pub(super) avatars: Avatars,
    /// Corners.
    pub(super) radius: Radii,
    text: TextSizes,
    time: Times,
}

/// A colour of the tokens; opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour(pub(super) Color32);

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Color32::from_hex(&text)
            .map(Self)
            .map_err(|_| D::Error::custom("a colour is #RRGGBB"))
    }
}

impl From<Colour> for Color32 {
    fn from(colour: Colour) -> Self {
        colour.0
    }
}

impl Colour {
    /// Returns the colour let through by that much, 0.0 (invisible) to 1.0.
    pub(super) fn opacity(self, opacity: f32) -> Color32 {
        self.0.gamma_multiply(opacity)
    }

    /// Returns a colour between this and `other`.
    pub(super) fn towards(self, other: Self, share: f32) -> Color32 {
        self.0.lerp_to_gamma(other.0, share)
    }
}

/// The tokens.
pub(super) static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    toml::from_str(include_str!("../../assets/theme.toml")).expect("the embedded theme is tested")
});

/// Steps of empty space, in points.
pub(super) mod space {
    /// Between things that are one thing.
    pub(in crate::ui) const HAIR: f32 = 4.0;
    /// Between parts of a control.
    pub(in crate::ui) const SMALL: f32 = 8.0;
    /// Between controls.
    pub(in crate::ui) const MEDIUM: f32 = 12.0;
    /// Between groups.
    pub(in crate::ui) const LARGE: f32 = 16.0;
    /// Around a page.
    pub(in crate::ui) const WIDE: f32 = 24.0;
    /// Between parts of a page.
    pub(in crate::ui) const HUGE: f32 = 32.0;
}

/// Returns the colours that `ui` is painted in.
pub(super) fn palette(ui: &egui::Ui) -> &'static Palette {
    palette_of(ui.visuals().dark_mode)
}

fn palette_of(dark: bool) -> &'static Palette {
    if dark { &TOKENS.dark } else { &TOKENS.light }
}

/// Returns how long changes take: no time at all with reduced motion.
pub(super) fn times(ui: &egui::Ui) -> Times {
    if ui.style().animation_time > 0.0 {
        TOKENS.time
    } else {
        Times {
            hover: 0.0,
            layout: 0.0,
        }
    }
}

/// Font of notes and labels.
pub(super) fn small() -> FontId {
    FontId::proportional(TOKENS.text.small)
}

/// Font of everything without a reason for another.
pub(super) fn body() -> FontId {
    FontId::proportional(TOKENS.text.body)
}

/// Font of buttons and names.
pub(super) fn strong() -> FontId {
    FontId::new(TOKENS.text.body, semibold())
}

/// Font of names on small tiles and of headings within a panel.
pub(super) fn small_strong() -> FontId {
    FontId::new(TOKENS.text.small, semibold())
}

/// Font of headings.
pub(super) fn heading() -> FontId {
    FontId::new(TOKENS.text.heading, semibold())
}

/// Font of a page's title.
pub(super) fn title() -> FontId {
    FontId::new(TOKENS.text.title, semibold())
}

/// Font of initials and other display text.
pub(super) fn display(size: f32) -> FontId {
    FontId::new(size, semibold())
}

/// Font of icons.
pub(super) fn icons(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name("icons".into()))
}

fn semibold() -> FontFamily {
    FontFamily::Name("semibold".into())
}

/// Gives `context` our fonts and both looks.
pub(super) fn install(context: &egui::Context) {
    context.set_fonts(fonts());
    for (theme, dark) in [(Theme::Dark, true), (Theme::Light, false)] {
        context.style_mut_of(theme, |style| dress(style, dark));
    }
}

/// Lets things move, or not.
pub(super) fn set_motion(context: &egui::Context, reduced: bool) {
    let time = if reduced { 0.0 } else { TOKENS.time.hover };
    context.all_styles_mut(|style| style.animation_time = time);
}

fn fonts() -> FontDefinitions {
    let faces: [(&str, &'static [u8]); 3] = [
        (
            "inter",
            include_bytes!("../../assets/fonts/Inter-Regular.otf"),
        ),
        (
            "inter-semibold",
            include_bytes!("../../assets/fonts/Inter-SemiBold.otf"),
        ),
        ("lucide", include_bytes!("../../assets/fonts/lucide.ttf")),
    ];
    let mut fonts = FontDefinitions::empty();
    for (name, bytes) in faces {
        fonts
            .font_data
            .insert(name.to_owned(), Arc::new(FontData::from_static(bytes)));
    }
    let families = [
        (FontFamily::Proportional, "inter"),
        (FontFamily::Monospace, "inter"),
        (semibold(), "inter-semibold"),
        (FontFamily::Name("icons".into()), "lucide"),
    ];
    for (family, face) in families {
        fonts.families.insert(family, vec![face.to_owned()]);
    }
    fonts
}

fn dress(style: &mut egui::Style, dark: bool) {
    let palette = palette_of(dark);
    style.text_styles = [
        (TextStyle::Small, small()),
        (TextStyle::Body, body()),
        (TextStyle::Button, strong()),
        (TextStyle::Heading, heading()),
        (TextStyle::Monospace, body()),
    ]
    .into();
    style.animation_time = TOKENS.time.hover;
    style.interaction.selectable_labels = false;
    style.interaction.tooltip_delay = 0.35;
    style.spacing.item_spacing = egui::vec2(space::SMALL, space::SMALL);
    style.spacing.scroll = egui::style::ScrollStyle::floating();
    style.visuals = visuals(dark, palette);
}

fn visuals(dark: bool, palette: &Palette) -> Visuals {
    let mut visuals = if dark {
        Visuals::dark()
    } else {
        Visuals::light()
    };
    let control = CornerRadius::same(TOKENS.radius.control);
    let panel = CornerRadius::same(TOKENS.radius.tile);
    let hairline = Stroke::new(1.0, palette.hairline);
    visuals.override_text_color = Some(palette.text.into());
    visuals.weak_text_color = Some(palette.text_subdued.into());
    visuals.hyperlink_color = palette.accent.into();
    visuals.panel_fill = palette.canvas.into();
    visuals.window_fill = palette.surface_raised.into();
    visuals.window_stroke = hairline;
    visuals.window_corner_radius = panel;
    visuals.menu_corner_radius = panel;
    visuals.extreme_bg_color = palette.surface.into();
    visuals.text_edit_bg_color = Some(Color32::TRANSPARENT);
    visuals.selection.bg_fill = palette.accent.opacity(0.35);
    visuals.selection.stroke = Stroke::new(1.0, palette.accent);
    visuals.text_cursor.stroke = Stroke::new(2.0, palette.accent);
    visuals.warn_fg_color = palette.warning.into();
    visuals.error_fg_color = palette.danger.into();
    visuals.interact_cursor = None;
    let shadow = egui::Shadow {
        offset: [0, 6],
        blur: 24,
        spread: 0,
        color: palette.backdrop.opacity(if dark { 0.5 } else { 0.16 }),
    };
    visuals.popup_shadow = shadow;
    visuals.window_shadow = shadow;
    let widgets = &mut visuals.widgets;
    for widget in [
        &mut widgets.noninteractive,
        &mut widgets.inactive,
        &mut widgets.hovered,
        &mut widgets.active,
        &mut widgets.open,
    ] {
        widget.corner_radius = control;
        widget.bg_stroke = hairline;
        widget.fg_stroke = Stroke::new(1.0, palette.text);
        widget.bg_fill = palette.control.into();
        widget.weak_bg_fill = palette.control.into();
        widget.expansion = 0.0;
    }
    visuals
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Colour {
        /// Returns the contrast with `other` as WCAG 2 defines it: 1 (none) to 21.
        fn contrast(self, other: Self) -> f32 {
            let (one, two) = (self.luminance(), other.luminance());
            (one.max(two) + 0.05) / (one.min(two) + 0.05)
        }

        fn luminance(self) -> f32 {
            let linear = |channel: u8| {
                let share = f32::from(channel) / 255.0;
                if share <= 0.040_45 {
                    share / 12.92
                } else {
                    ((share + 0.055) / 1.055).powf(2.4)
                }
            };
            0.2126 * linear(self.0.r()) + 0.7152 * linear(self.0.g()) + 0.0722 * linear(self.0.b())
        }
    }

    /// WCAG 2 level AA: 4.5 for words, 3 for marks and outlines.
    #[test]
    fn words_and_marks_have_the_contrast_of_level_aa() {
        for palette in [&TOKENS.dark, &TOKENS.light] {
            let grounds = [palette.canvas, palette.surface, palette.surface_raised];
            for ground in grounds {
                for words in [palette.text, palette.text_subdued, palette.danger] {
                    assert!(words.contrast(ground) >= 4.5, "{words:?} on {ground:?}");
                }
                for mark in [
                    palette.accent,
                    palette.warning,
                    palette.good,
                    palette.graph_second,
                ] {
                    assert!(mark.contrast(ground) >= 3.0, "{mark:?} on {ground:?}");
                }
            }
            for (words, ground) in [
                (palette.text, palette.control),
                (palette.text, palette.control_hovered),
                (palette.on_accent, palette.accent_fill),
                (palette.on_accent, palette.accent_fill_hovered),
                (palette.on_danger, palette.danger_fill),
                (palette.on_danger, palette.danger_fill_hovered),
            ] {
                assert!(words.contrast(ground) >= 4.5, "{words:?} on {ground:?}");
            }
        }
        let picture = &TOKENS.picture;
        for words in [picture.text, picture.text_subdued, picture.danger] {
            assert!(words.contrast(picture.shade) >= 4.5);
        }
        for ground in &TOKENS.avatars.grounds {
            assert!(picture.text.contrast(*ground) >= 4.5, "{ground:?}");
        }
    }
}
