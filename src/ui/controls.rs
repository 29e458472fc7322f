//! The bars of a call: what it is called and how it goes on top, what one can do below.

use std::time::Duration;

use egui::{
    Align, CornerRadius, Popup, Rect, Stroke, StrokeKind, Ui, UiBuilder, accesskit::Role, pos2,
    vec2,
};

use super::{
    desk::Desk,
    devices::{self, Device},
    icons::Icon,
    protection,
    shortcuts::Shortcut,
    theme::{self, space},
    widgets::{self, IconButton, Tone},
};
use crate::{
    call::{CallView, Command},
    clock,
    config::Layout,
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
    /// Pin this participant, or take the pin off them.
    pub(super) pin: Option<u64>,
    /// Turn that many pages forward, or back.
    pub(super) turn: isize,
    /// Open or close the list of people.
    pub(super) people: bool,
}

/// Shows the top bar in `rect`.
pub(super) fn top_bar_ui(
    ui: &mut Ui,
    rect: Rect,
    call: &CallView,
    desk: &mut Desk<'_>,
    asked: &mut Asked,
) {
    let palette = theme::palette(ui);
    let builder = UiBuilder::new()
        .max_rect(rect.shrink2(vec2(space::LARGE, 0.0)))
        .layout(egui::Layout::right_to_left(Align::Center));
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
        if !call.participants.is_empty() {
            layout_ui(ui, desk);
            let people = IconButton::new(Icon::People, "People").shortcut(Shortcut::People);
            asked.people |= people.show(ui).clicked();
        }
        protection::mark_ui(ui, call);
        ui.with_layout(egui::Layout::left_to_right(Align::Center), |ui| {
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

/// Shows the menu of how the others, and oneself, are laid out.
fn layout_ui(ui: &mut Ui, desk: &mut Desk<'_>) {
    let settings = desk.settings.current();
    let (layout, myself) = (settings.layout, settings.show_myself);
    let icon = match layout {
        Layout::Gallery => Icon::Gallery,
        Layout::Speaker => Icon::OneLarge,
    };
    let button = IconButton::new(icon, "Layout").shortcut(Shortcut::Layout);
    let response = button.show(ui);
    Popup::menu(&response)
        .width(220.0)
        .gap(space::SMALL)
        .accessible_name("Layout")
        .show(|ui| {
            ui.set_width(220.0);
            ui.spacing_mut().item_spacing.y = 2.0;
            let choices = [
                (Layout::Gallery, "Everybody alike"),
                (Layout::Speaker, "Speaker large"),
            ];
            for (choice, words) in choices {
                let chosen = choice == layout;
                if widgets::menu_item_ui(ui, words, Role::MenuItemRadio, chosen).clicked() {
                    desk.change_settings(|settings| settings.layout = choice);
                    ui.close();
                }
            }
            let words = "Show yourself";
            if widgets::menu_item_ui(ui, words, Role::MenuItemCheckBox, myself).clicked() {
                desk.change_settings(|settings| settings.show_myself = !myself);
                ui.close();
            }
        });
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

/// How large the parts of the control bar are.
struct Measures {
    diameter: f32,
    gap: f32,
    chevron: f32,
    leave: f32,
}

impl Measures {
    fn of(width: f32) -> Self {
        let (diameter, gap) = match width < 560.0 {
            true => (44.0, 6.0),
            false => (48.0, 10.0),
        };
        Self {
            diameter,
            gap,
            chevron: 22.0,
            leave: diameter * 1.4,
        }
    }
}

/// Returns how wide the control bar is in an area of that width.
pub(super) fn bar_width(width: f32) -> f32 {
    let Measures {
        diameter,
        gap,
        chevron,
        leave,
    } = Measures::of(width);
    4.0 * diameter + 2.0 * chevron + leave + 4.0 * gap + 2.0 * space::MEDIUM
}

/// Shows the control bar, centred at the bottom of `area`. Returns its place.
pub(super) fn control_bar_ui(
    ui: &mut Ui,
    area: Rect,
    desk: &mut Desk<'_>,
    copied: bool,
    asked: &mut Asked,
) -> Rect {
    let Measures {
        diameter,
        gap,
        chevron,
        leave,
    } = Measures::of(area.width());
    let width = bar_width(area.width());
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
        .layout(egui::Layout::left_to_right(Align::Center));
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
