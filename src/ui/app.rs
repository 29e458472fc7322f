//! The window itself: opens it, wakes it when there is something new, hands its area to a screen.

use egui::{Context, ThemePreference, Ui, ViewportCommand};

use super::{
    clipboard::Clipboard,
    desk::{Desk, Draft},
    lobby::{self, Lobby},
    meeting::{self, Meeting},
    notices::Notices,
    settings::{self, SettingsPanel},
    shortcuts::Shortcut,
    theme,
    video_paint::Pictures,
    wake::Wake,
};
use crate::{
    call::{Command, Commands, Screen, View},
    config::Appearance,
    latest::Reader,
};

/// Why there is no window.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// The system gave no window, or took it away.
    #[error("no window could be opened: {0}")]
    NoWindow(#[from] eframe::Error),
}

/// Opens the window and stays until it is closed. Must be called on the main thread.
///
/// # Errors
/// Fails if the system has no display or gives no window.
pub fn run(view: Reader<View>, commands: Commands) -> Result<(), UiError> {
    open(view, commands, Opened::Screen)
}

/// Opens the window with the settings open in it, and stays until it is closed.
///
/// # Errors
/// Fails if the system has no display or gives no window.
pub fn run_with_settings(view: Reader<View>, commands: Commands) -> Result<(), UiError> {
    open(view, commands, Opened::Settings)
}

/// Opens the window with the figures of all connections open in the call, and stays until it is
/// closed.
///
/// # Errors
/// Fails if the system has no display or gives no window.
pub fn run_with_connections(view: Reader<View>, commands: Commands) -> Result<(), UiError> {
    open(view, commands, Opened::Connections)
}

/// What is open in a new window.
enum Opened {
    Screen,
    Settings,
    Connections,
}

fn open(view: Reader<View>, commands: Commands, opened: Opened) -> Result<(), UiError> {
    let viewport = egui::ViewportBuilder::default()
        .with_title("Nonstop")
        .with_app_id("nonstop")
        .with_inner_size([1180.0, 740.0])
        .with_min_inner_size([360.0, 360.0])
        .with_icon(icon());
    let options = eframe::NativeOptions {
        viewport,
        centered: true,
        ..eframe::NativeOptions::default()
    };
    eframe::run_native(
        "Nonstop",
        options,
        Box::new(|creation| {
            let context = creation.egui_ctx.clone();
            let found = context.clone();
            let clipboard = Clipboard::system(move || found.request_repaint());
            let mut app = App::new(&context, view, commands).with_clipboard(clipboard);
            match opened {
                Opened::Screen => {}
                Opened::Settings => app.open_settings(),
                Opened::Connections => app.open_connections(),
            }
            Ok(Box::new(app))
        }),
    )?;
    Ok(())
}

fn icon() -> egui::IconData {
    let png = include_bytes!("../../assets/icon/nonstop-128.png");
    eframe::icon_data::from_png_bytes(png).expect("the embedded icon is tested")
}

/// What the window is between two paints.
#[derive(Debug)]
pub struct App {
    mailbox: Reader<View>,
    view: View,
    commands: Commands,
    wake: Wake,
    pictures: Pictures,
    settings: Draft,
    clipboard: Option<Clipboard>,
    lobby: Lobby,
    meeting: Meeting,
    notices: Notices,
    panel: Option<SettingsPanel>,
    connections_wanted: bool,
    dressed: Option<(Appearance, bool)>,
}

impl App {
    /// Makes the window's state, and dresses `context` in our look.
    pub fn new(context: &Context, view: Reader<View>, commands: Commands) -> Self {
        theme::install(context);
        let wake = Wake::new(context.clone());
        view.on_change(wake.change());
        Self {
            mailbox: view,
            view: View::default(),
            commands,
            pictures: Pictures::new(wake.clone()),
            wake,
            settings: Draft::default(),
            clipboard: None,
            lobby: Lobby::default(),
            meeting: Meeting::default(),
            notices: Notices::default(),
            panel: None,
            connections_wanted: false,
            dressed: None,
        }
    }

    /// Opens the figures of all connections when the next call begins.
    pub fn open_connections(&mut self) {
        self.connections_wanted = true;
    }

    /// Has links on that clipboard offered in the lobby.
    pub fn with_clipboard(mut self, clipboard: Clipboard) -> Self {
        self.clipboard = Some(clipboard);
        self
    }

    /// Opens the settings.
    pub fn open_settings(&mut self) {
        self.panel = Some(SettingsPanel::default());
    }

    fn follow(&mut self, context: &Context) {
        if let Some(view) = self.mailbox.take_new() {
            let (was, is) = (&self.view.screen, &view.screen);
            if matches!(was, Screen::Lobby(_)) && matches!(is, Screen::Call(_)) {
                self.meeting = Meeting::default();
                if std::mem::take(&mut self.connections_wanted) {
                    self.meeting.toggle_diagnostics();
                }
            }
            self.view = view;
        }
        self.settings.follow(&self.view.settings);
        let settings = self.settings.current();
        let dress = (settings.appearance, settings.reduced_motion);
        if self.dressed != Some(dress) {
            self.dressed = Some(dress);
            context.set_theme(match dress.0 {
                Appearance::System => ThemePreference::System,
                Appearance::Dark => ThemePreference::Dark,
                Appearance::Light => ThemePreference::Light,
            });
            theme::set_motion(context, dress.1);
        }
    }

    /// Paints the window.
    pub fn paint(&mut self, ui: &mut Ui) {
        self.wake.painted();
        self.follow(ui.ctx());
        let toggled = self.shortcuts(ui);
        let area = ui.max_rect();
        ui.painter().rect_filled(area, 0, theme::palette(ui).canvas);
        let mut desk = Desk {
            view: &self.view,
            settings: &mut self.settings,
            pictures: &mut self.pictures,
            commands: &self.commands,
            covered: self.panel.is_some() || self.view.trial.is_some(),
        };
        let mut settings_wanted = match &self.view.screen {
            Screen::Lobby(lobby) => lobby::lobby_ui(
                ui,
                area,
                (&mut self.lobby, &mut self.notices, self.clipboard.as_ref()),
                lobby,
                &mut desk,
            ),
            Screen::Call(call) => {
                self.lobby.joined(&call.link);
                meeting::meeting_ui(
                    ui,
                    area,
                    &mut self.meeting,
                    &mut self.notices,
                    call,
                    &mut desk,
                )
            }
        };
        settings_wanted |= toggled;
        if settings_wanted && self.panel.is_none() {
            self.panel = Some(SettingsPanel::default());
            desk.send(Command::ListDevices);
        } else if toggled && let Some(mut panel) = self.panel.take() {
            settings::commit(&mut panel, &mut desk);
        }
        if let Some(panel) = &mut self.panel
            && !settings::settings_ui(ui, panel, &mut desk)
        {
            self.panel = None;
        }
        self.pictures.forget_unused();
    }

    /// Does what keys ask of the window itself. Returns whether the settings are to open or close.
    fn shortcuts(&mut self, ui: &Ui) -> bool {
        // Before its shorter sister, which would take it for its own.
        let connections = Shortcut::Connections.pressed(ui.ctx());
        if connections && matches!(self.view.screen, Screen::Call(_)) {
            self.meeting.toggle_diagnostics();
        }
        if Shortcut::FullScreen.pressed(ui.ctx()) {
            meeting::toggle_full_screen(ui);
        }
        if Shortcut::Quit.pressed(ui.ctx()) {
            ui.ctx().send_viewport_cmd(ViewportCommand::Close);
        }
        Shortcut::Settings.pressed(ui.ctx())
    }
}

impl eframe::App for App {
    /// Called also while the window is hidden, when nothing is painted.
    fn logic(&mut self, context: &Context, _frame: &mut eframe::Frame) {
        let hidden = context.input(|input| input.viewport().visible()) == Some(false);
        if hidden && let Some(command) = self.meeting.hidden() {
            self.commands.send(command);
        }
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.paint(ui);
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_embedded_icon_can_be_read() {
        assert_eq!(super::icon().width, 128);
    }
}
