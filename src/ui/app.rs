//! The window itself: opens it, wakes it when there is something new, hands out its area.

use std::sync::Arc;

use crate::{
    call::{Commands, View},
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
    eframe::run_native(
        "Nonstop",
        eframe::NativeOptions::default(),
        Box::new(|creation| {
            let context = creation.egui_ctx.clone();
            view.on_change(Arc::new(move || context.request_repaint()));
            Ok(Box::new(App::new(view, commands)))
        }),
    )?;
    Ok(())
}

/// What the window is between two paints.
#[derive(Debug)]
pub struct App {
    view: Reader<View>,
    #[expect(dead_code, reason = "the screens that send commands follow")]
    commands: Commands,
}

impl App {
    /// Makes the window's state.
    pub fn new(view: Reader<View>, commands: Commands) -> Self {
        Self { view, commands }
    }
}

impl eframe::App for App {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        let name = self.view.newest().map(|view| view.me.name);
        ui.label(name.unwrap_or_default());
    }
}
