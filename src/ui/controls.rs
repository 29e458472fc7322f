//! The bars of a call: what it is called and how it goes on top, what one can do below.

use std::time::Duration;

use egui::{Align, CornerRadius, Layout, Rect, Stroke, StrokeKind, Ui, UiBuilder, pos2, vec2};

use super::{
    desk::Desk,
    devices::{self, Device},
    icons::Icon,
    path_card,
    shortcuts::Shortcut,
    theme::{self, space},
    widgets::{self, IconButton, Tone},
};
use crate::{
    call::{CallView, Command},
    clock,
};

/// Height of the control bar.
pub(super) const BAR_HEIGHT: f32 = 64.0;

/// What the bars ask of the screen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// Copy the link.
    pub(super) copy_link: bool,
    /// Open the settings.
    pub(super) settings: bool,
    /// Leave the call.
    pub(super) leave: bool,
    /// Fill the screen, or stop.
    pub(super) full_screen: bool,
    /// Show the figures of the connection to this participant.
    pub(super) figures: Option<u64>,
}

/// Shows the top bar in `rect`.
pub(super) fn top_bar_ui(ui: &mut Ui, rect: Rect, call: &CallView, asked: &mut Asked) {
    let palette = theme::palette(ui);
    let builder = UiBuilder::new()
        .max_rect(rect.shrink2(vec2(space::LARGE, 0.0)))
        .layout(Layout::right_to_left(Align::Center));
    ui.scope_builder(builder, |ui| {
        ui.spacing_mut().item_spacing.x = space::SMALL;
        let full = ui.input(|input| input.viewport().fullscreen.unwrap_or(false));
        let (icon, name) = if full {
            (Icon::SmallScreen, "Leave full screen")
        } else {
            (Icon::FullScreen, "Full screen")
        };
        let button = IconButton::new(icon, name).shortcut(Shortcut::FullScreen);
        asked.full_screen |= button.show(ui).clicked();
        path_ui(ui, call);
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            let elapsed = clock::now().saturating_duration_since(call.since);
            let time = egui::RichText::new(format!("· {}", duration(elapsed)))
                .color(palette.text_subdued)
                .font(theme::body());
            let room = egui::RichText::new(&call.room).font(theme::strong());
            let reserve = 76.0;
            ui.scope(|ui| {
                ui.set_max_width((ui.available_width() - reserve).max(40.0));
                ui.add(egui::Label::new(room).truncate());
            });
            ui.label(time);
        });
    });
}

/// Shows that the call is encrypted, and whether everybody is reached directly.
fn path_ui(ui: &mut Ui, call: &CallView) {
    let palette = theme::palette(ui);
    let paths = call.participants.iter().filter_map(path_card::relayed);
    let (direct, relayed) = paths.fold((0, 0), |(direct, relayed), through| {
        if through {
            (direct, relayed + 1)
        } else {
            (direct + 1, relayed)
        }
    });
    let (word, explanation) = match (direct, relayed) {
        (0, 0) => ("", ""),
        (_, 0) => ("direct", " They go straight to everybody."),
        (0, _) => (
            "relayed",
            " They go through a relay, which cannot read them.",
        ),
        (_, _) => (
            "partly relayed",
            " To some they go through a relay, which cannot read them.",
        ),
    };
    let group = UiBuilder::new().layout(Layout::right_to_left(Align::Center));
    let response = ui
        .scope_builder(group, |ui| {
            ui.spacing_mut().item_spacing.x = space::HAIR + 2.0;
            if !word.is_empty() && ui.available_width() > 160.0 {
                ui.label(
                    egui::RichText::new(word)
                        .font(theme::small())
                        .color(palette.text_subdued),
                );
            }
            let (lock, _) = ui.allocate_exact_size(vec2(16.0, 20.0), egui::Sense::hover());
            widgets::paint_icon(
                ui.painter(),
                lock.center(),
                Icon::Lock,
                14.0,
                palette.text_subdued.into(),
            );
        })
        .response;
    let words =
        format!("Sound and pictures are encrypted from your computer to theirs.{explanation}");
    widgets::explain(response, &words, None);
}

/// Returns how long a call has lasted, as people write it.
pub(super) fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Shows the control bar, centred at the bottom of `area`. Returns its place.
pub(super) fn control_bar_ui(
    ui: &mut Ui,
    area: Rect,
    desk: &mut Desk<'_>,
    copied: bool,
    asked: &mut Asked,
) -> Rect {
    let narrow = area.width() < 560.0;
    let (diameter, gap) = if narrow { (44.0, 6.0) } else { (48.0, 10.0) };
    let (chevron, leave) = (22.0, diameter * 1.4);
    let width = 4.0 * diameter + 2.0 * chevron + leave + 4.0 * gap + 2.0 * space::MEDIUM;
    let bar = Rect::from_min_size(
        pos2(
            area.center().x - width / 2.0,
            area.bottom() - space::MEDIUM - BAR_HEIGHT,
        ),
        vec2(width, BAR_HEIGHT),
    );
    let palette = theme::palette(ui);
    ui.painter().rect(
        bar,
        CornerRadius::same((BAR_HEIGHT / 2.0) as u8),
        palette.surface,
        Stroke::new(1.0, palette.hairline),
        StrokeKind::Inside,
    );
    let builder = UiBuilder::new()
        .max_rect(bar.shrink2(vec2(space::MEDIUM, 0.0)))
        .layout(Layout::left_to_right(Align::Center));
    ui.scope_builder(builder, |ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        microphone_ui(ui, desk, diameter);
        device_ui(ui, desk, Device::Microphone, chevron);
        ui.add_space(gap);
        camera_ui(ui, desk, diameter);
        device_ui(ui, desk, Device::Camera, chevron);
        ui.add_space(gap);
        let (icon, name) = if copied {
            (Icon::Check, "Link copied")
        } else {
            (Icon::Link, "Copy link")
        };
        let link = IconButton::new(icon, name)
            .tone(Tone::Plain)
            .diameter(diameter)
            .shortcut(Shortcut::Link);
        asked.copy_link |= link.show(ui).clicked();
        ui.add_space(gap);
        let settings = IconButton::new(Icon::Settings, "Settings")
            .tone(Tone::Plain)
            .diameter(diameter)
            .shortcut(Shortcut::Settings);
        asked.settings |= settings.show(ui).clicked();
        ui.add_space(gap);
        let leave = IconButton::new(Icon::Leave, "Leave")
            .tone(Tone::Danger)
            .diameter(diameter)
            .width(leave)
            .shortcut(Shortcut::Leave);
        asked.leave |= leave.show(ui).clicked();
    });
    bar
}

/// Shows the button that turns the microphone on and off.
pub(super) fn microphone_ui(ui: &mut Ui, desk: &Desk<'_>, diameter: f32) {
    let on = desk.view.me.microphone;
    let (icon, name, tone) = if on {
        (Icon::Microphone, "Turn microphone off", Tone::Plain)
    } else {
        (Icon::MicrophoneOff, "Turn microphone on", Tone::Danger)
    };
    let button = IconButton::new(icon, name)
        .tone(tone)
        .diameter(diameter)
        .shortcut(Shortcut::Microphone);
    if button.show(ui).clicked() {
        desk.send(Command::SetMicrophone(!on));
    }
}

/// Shows the button that turns the camera on and off.
pub(super) fn camera_ui(ui: &mut Ui, desk: &Desk<'_>, diameter: f32) {
    let on = desk.view.me.camera;
    let (icon, name) = if on {
        (Icon::Camera, "Turn camera off")
    } else {
        (Icon::CameraOff, "Turn camera on")
    };
    let button = IconButton::new(icon, name)
        .tone(Tone::Plain)
        .diameter(diameter)
        .shortcut(Shortcut::Camera);
    if button.show(ui).clicked() {
        desk.send(Command::SetCamera(!on));
    }
}

fn device_ui(ui: &mut Ui, desk: &mut Desk<'_>, device: Device, diameter: f32) {
    let name = match device {
        Device::Microphone => "Choose microphone",
        Device::Camera => "Choose camera",
        Device::Speaker => "Choose speaker",
    };
    let response = IconButton::new(Icon::Down, name)
        .diameter(diameter)
        .show(ui);
    let settings = desk.settings.current();
    let picked = devices::menu_ui(&response, device, &desk.view.devices, settings, 280.0);
    devices::take(desk, device, picked);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let text = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(text(0), "0:00");
        assert_eq!(text(724), "12:04");
        assert_eq!(text(3_600 + 61), "1:01:01");
    }
}
