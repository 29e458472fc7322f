//! The settings, on a panel over whatever is on screen. What is changed is in force at once.

use egui::{Id, Modal, ScrollArea, Ui};

use super::{
    desk::Desk,
    devices::{self, Device},
    fields::{self, Field},
    icons::Icon,
    shortcuts::Shortcut,
    theme::{self, TOKENS, space},
    widgets::{self, IconButton},
};
use crate::config::{Appearance, ProxyChoice};

/// What the window remembers while the settings are open.
#[derive(Debug, Default)]
pub(super) struct SettingsPanel {
    name: Option<String>,
    server: Option<String>,
    proxy: Option<String>,
}

/// Shows the panel. Returns whether it stays open.
pub(super) fn settings_ui(ui: &Ui, panel: &mut SettingsPanel, desk: &mut Desk<'_>) -> bool {
    let palette = theme::palette(ui);
    let screen = ui.ctx().content_rect();
    let width = (screen.width() - 2.0 * space::LARGE).min(480.0);
    let height = (screen.height() - 2.0 * space::WIDE).min(760.0);
    let mut open = true;
    let frame = egui::Frame::new()
        .fill(palette.surface.into())
        .stroke(egui::Stroke::new(1.0, palette.hairline))
        .corner_radius(TOKENS.radius.tile);
    let modal = Modal::new(Id::unique("settings"))
        .backdrop_color(palette.backdrop.opacity(0.6))
        .frame(frame)
        .show(ui.ctx(), |ui| {
            ui.set_width(width);
            ui.spacing_mut().item_spacing.y = space::SMALL;
            egui::Frame::new()
                .inner_margin(egui::Margin {
                    left: space::WIDE as i8,
                    right: space::LARGE as i8,
                    top: space::LARGE as i8,
                    bottom: space::SMALL as i8,
                })
                .show(ui, |ui| {
                    let size = egui::vec2(ui.available_width(), 36.0);
                    let row = egui::Layout::left_to_right(egui::Align::Center);
                    ui.allocate_ui_with_layout(size, row, |ui| {
                        ui.label(egui::RichText::new("Settings").font(theme::heading()));
                        let right = egui::Layout::right_to_left(egui::Align::Center);
                        ui.with_layout(right, |ui| {
                            let close = IconButton::new(Icon::Close, "Close settings")
                                .shortcut(Shortcut::Escape);
                            open &= !close.show(ui).clicked();
                        });
                    });
                });
            ScrollArea::vertical()
                .max_height(height - 72.0)
                .min_scrolled_height(height - 72.0)
                .auto_shrink([false, true])
                .show(ui, |ui| {
                    egui::Frame::new()
                        .inner_margin(egui::Margin {
                            left: space::WIDE as i8,
                            right: space::WIDE as i8,
                            top: 0,
                            bottom: space::WIDE as i8,
                        })
                        .show(ui, |ui| groups_ui(ui, panel, desk));
                });
        });
    open &= !modal.should_close();
    if !open {
        commit(panel, desk);
    }
    open
}

fn groups_ui(ui: &mut Ui, panel: &mut SettingsPanel, desk: &mut Desk<'_>) {
    let name = panel
        .name
        .get_or_insert_with(|| desk.settings.current().name.clone());
    let field = Field::new(Id::unique("settings name"), "Your name").hint("As the others see it");
    if field.limit(64).show(ui, name).lost_focus() {
        commit(panel, desk);
    }

    group_ui(ui, "Devices");
    for device in [Device::Microphone, Device::Camera, Device::Speaker] {
        fields::label_ui(ui, device.name());
        let width = ui.available_width();
        devices::picker_ui(ui, device, desk, width);
        if device == Device::Microphone {
            level_ui(ui, desk);
        }
    }

    group_ui(ui, "Sound");
    let settings = desk.settings.current();
    let (mut echo, mut noise, mut gain) = (
        settings.echo_cancellation,
        settings.noise_suppression,
        settings.gain_control,
    );
    let mut changed = widgets::switch_ui(ui, "Take the speaker's echo out", &mut echo);
    changed |= widgets::switch_ui(ui, "Take steady noise out", &mut noise);
    changed |= widgets::switch_ui(ui, "Even out how loud you are", &mut gain);
    if changed {
        desk.change_settings(|settings| {
            settings.echo_cancellation = echo;
            settings.noise_suppression = noise;
            settings.gain_control = gain;
        });
    }

    group_ui(ui, "Meetings");
    let server = panel
        .server
        .get_or_insert_with(|| desk.settings.current().server.clone().unwrap_or_default());
    let field = Field::new(Id::unique("settings server"), "Meeting server").hint("This computer");
    if field.show(ui, server).lost_focus() {
        commit(panel, desk);
    }
    note_ui(
        ui,
        "Where new meetings are opened. Left empty, this computer opens them for its own network.",
    );

    group_ui(ui, "Network");
    let mut hidden = desk.settings.current().hide_address;
    if widgets::switch_ui(ui, "Never show my address to others", &mut hidden) {
        desk.change_settings(|settings| settings.hide_address = hidden);
    }
    note_ui(
        ui,
        "Everything then goes through a relay, which is slower. In force from the next call.",
    );
    let proxy = panel
        .proxy
        .get_or_insert_with(|| desk.settings.current().proxy.clone().into());
    let field = Field::new(Id::unique("settings proxy"), "Proxy").hint("As the system says");
    let entered = field.show(ui, proxy).lost_focus();
    let fits = proxy.parse::<ProxyChoice>().is_ok();
    if entered {
        commit(panel, desk);
    }
    note_ui(
        ui,
        match fits {
            true => "Such as http://proxy.example.org:3128, or none. In force from the next call.",
            false => {
                "This is no proxy. Write http://, a name and a port; or none; or leave it empty."
            }
        },
    );

    group_ui(ui, "Window");
    let choices = [
        (Appearance::Dark, "Dark"),
        (Appearance::Light, "Light"),
        (Appearance::System, "As the system"),
    ];
    let appearance = desk.settings.current().appearance;
    if let Some(chosen) = widgets::segments_ui(ui, appearance, &choices) {
        desk.change_settings(|settings| settings.appearance = chosen);
    }
    let mut reduced = desk.settings.current().reduced_motion;
    if widgets::switch_ui(ui, "Reduce motion", &mut reduced) {
        desk.change_settings(|settings| settings.reduced_motion = reduced);
    }
}

fn group_ui(ui: &mut Ui, title: &str) {
    ui.add_space(space::MEDIUM);
    ui.label(egui::RichText::new(title).font(theme::strong()));
}

fn note_ui(ui: &mut Ui, words: &str) {
    let palette = theme::palette(ui);
    let words = egui::RichText::new(words)
        .font(theme::small())
        .color(palette.text_subdued);
    ui.add(egui::Label::new(words).wrap());
}

fn level_ui(ui: &mut Ui, desk: &Desk<'_>) {
    let palette = theme::palette(ui);
    let size = egui::vec2(ui.available_width(), 6.0);
    let (rect, _) = ui.allocate_exact_size(size, egui::Sense::hover());
    let level = desk.view.me.level;
    fields::paint_meter(ui, rect, level, 32, palette.good, palette.control.into());
    ui.add_space(space::HAIR);
}

/// Takes what stands in the fields into the settings.
pub(super) fn commit(panel: &mut SettingsPanel, desk: &mut Desk<'_>) {
    let name = panel.name.as_deref().map(|name| name.trim().to_owned());
    let server = panel.server.as_deref().map(|server| {
        let server = server.trim();
        (!server.is_empty()).then(|| server.to_owned())
    });
    // What cannot be understood stays in the field, and what was in force stays so.
    let proxy = panel.proxy.as_deref().and_then(|proxy| proxy.parse().ok());
    desk.change_settings(|settings| {
        if let Some(proxy) = proxy {
            settings.proxy = proxy;
        }
        if let Some(name) = name {
            settings.name = name;
        }
        if let Some(server) = server {
            settings.server = server;
        }
    });
}
