//! Choosing a microphone, a camera or a speaker.

use egui::{
    CornerRadius, Popup, Response, Sense, Stroke, StrokeKind, Ui, WidgetInfo, accesskit::Role,
    pos2, vec2,
};

use super::{
    desk::Desk,
    icons::Icon,
    theme::{self, TOKENS, space},
    widgets::{self, CONTROL_HEIGHT},
};
use crate::{
    call::{Command, DeviceLists},
    config::Settings,
};

/// Which device is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Device {
    /// The microphone.
    Microphone,
    /// The camera.
    Camera,
    /// The speaker.
    Speaker,
}

/// Something to choose: the word that the settings hold, and the words that a person reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// As in the settings and on the command line.
    pub(super) word: String,
    /// As shown.
    pub(super) label: String,
}

impl Device {
    /// Returns what it is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Microphone => "Microphone",
            Self::Camera => "Camera",
            Self::Speaker => "Speaker",
        }
    }

    /// Returns its icon.
    pub(super) const fn icon(self) -> Icon {
        match self {
            Self::Microphone => Icon::Microphone,
            Self::Camera => Icon::Camera,
            Self::Speaker => Icon::Speaker,
        }
    }

    /// Returns the word that `settings` hold for it.
    pub(super) fn chosen(self, settings: &Settings) -> &str {
        match self {
            Self::Microphone => &settings.microphone,
            Self::Camera => &settings.camera,
            Self::Speaker => &settings.speaker,
        }
    }

    /// Puts `word` into `settings`.
    pub(super) fn choose(self, settings: &mut Settings, word: String) {
        match self {
            Self::Microphone => settings.microphone = word,
            Self::Camera => settings.camera = word,
            Self::Speaker => settings.speaker = word,
        }
    }

    fn listed(self, lists: &DeviceLists) -> &[String] {
        match self {
            Self::Microphone => &lists.microphones,
            Self::Camera => &lists.cameras,
            Self::Speaker => &lists.speakers,
        }
    }

    /// Returns the words for the system's own choice.
    fn default_label(self, lists: &DeviceLists) -> &'static str {
        match (self, self.listed(lists).is_empty()) {
            (Self::Camera, true) => "No camera found",
            (Self::Camera, false) => "First camera",
            (Self::Microphone | Self::Speaker, _) => "System default",
        }
    }

    /// Returns the words for a choice.
    pub(super) fn label(self, word: &str, lists: &DeviceLists) -> String {
        match (word, self) {
            ("default", _) => self.default_label(lists).to_owned(),
            ("none", Self::Camera) => "No camera".to_owned(),
            ("none", Self::Microphone) => "No microphone".to_owned(),
            ("none", Self::Speaker) => "No sound".to_owned(),
            ("test-card", Self::Camera) => "Test card".to_owned(),
            ("tone", Self::Microphone) => "Test tone".to_owned(),
            (name, Self::Microphone | Self::Camera) if name.starts_with("file:") => {
                let path = std::path::Path::new(&name["file:".len()..]);
                path.file_name().map_or_else(
                    || name.to_owned(),
                    |file| format!("File {}", file.to_string_lossy()),
                )
            }
            (name, _) => name.to_owned(),
        }
    }

    /// Returns what there is to choose from, the present choice included even if it is unplugged.
    /// The test card and the tone stand in where nothing real is found.
    pub(super) fn choices(self, lists: &DeviceLists, chosen: &str) -> Vec<Choice> {
        let listed = self.listed(lists);
        let mut words = vec!["default"];
        words.extend(listed.iter().map(String::as_str));
        let stand_in = match self {
            Self::Camera => Some("test-card"),
            Self::Microphone => Some("tone"),
            Self::Speaker => None,
        };
        if let Some(word) = stand_in
            && (listed.is_empty() || chosen == word)
        {
            words.push(word);
        }
        words.push("none");
        let unplugged = !words.contains(&chosen);
        let mut choices: Vec<Choice> = words
            .into_iter()
            .map(|word| Choice {
                word: word.to_owned(),
                label: self.label(word, lists),
            })
            .collect();
        if unplugged {
            let mut label = self.label(chosen, lists);
            if !chosen.starts_with("file:") {
                label.push_str(" (not connected)");
            }
            let word = chosen.to_owned();
            choices.insert(1, Choice { word, label });
        }
        choices
    }
}

/// Shows the choice of a device as a field that opens a menu.
pub(super) fn picker_ui(ui: &mut Ui, device: Device, desk: &mut Desk<'_>, width: f32) {
    let (lists, settings) = (&desk.view.devices, desk.settings.current());
    let palette = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(width, CONTROL_HEIGHT), Sense::click());
    let chosen = device.chosen(settings);
    let label = device.label(chosen, lists);
    response.widget_info(|| {
        let name = format!("{}: {label}", device.name());
        WidgetInfo::labeled(Role::ComboBox, ui.is_enabled(), name)
    });
    let radius = CornerRadius::same(TOKENS.radius.control);
    let ground = if response.hovered() {
        palette.control
    } else {
        palette.surface_raised
    };
    let stroke = Stroke::new(1.0, palette.hairline);
    ui.painter()
        .rect(rect, radius, ground, stroke, StrokeKind::Inside);
    let left = pos2(rect.left() + 20.0, rect.center().y);
    widgets::paint_icon(
        ui.painter(),
        left,
        device.icon(),
        16.0,
        palette.text_subdued.into(),
    );
    let right = pos2(rect.right() - 18.0, rect.center().y);
    widgets::paint_icon(
        ui.painter(),
        right,
        Icon::Down,
        14.0,
        palette.text_subdued.into(),
    );
    let mut job =
        egui::text::LayoutJob::simple_singleline(label, theme::small(), palette.text.into());
    job.wrap = egui::text::TextWrapping::truncate_at_width((rect.width() - 68.0).max(8.0));
    let galley = ui.painter().layout_job(job);
    let at = pos2(rect.left() + 36.0, rect.center().y - galley.size().y / 2.0);
    ui.painter().galley(at, galley, palette.text.into());
    widgets::focus_ring(ui, &response, rect, radius);
    let picked = menu_ui(&response, device, lists, settings, width.max(240.0));
    take(desk, device, picked);
}

/// What became of a device's menu.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// The menu has just been opened: the lists may be old.
    pub(super) opened: bool,
    /// The word chosen anew.
    pub(super) word: Option<String>,
}

/// Shows the menu of a device's choices on a click on `response`.
pub(super) fn menu_ui(
    response: &Response,
    device: Device,
    lists: &DeviceLists,
    settings: &Settings,
    width: f32,
) -> Picked {
    let mut picked = Picked::default();
    let was_open = Popup::is_id_open(&response.ctx, Popup::default_response_id(response));
    let chosen = device.chosen(settings);
    Popup::menu(response)
        .width(width)
        .gap(space::SMALL)
        .accessible_name(device.name())
        .show(|ui| {
            ui.set_width(width);
            ui.spacing_mut().item_spacing.y = 2.0;
            for choice in device.choices(lists, chosen) {
                let chosen = choice.word == chosen;
                if widgets::menu_item_ui(ui, &choice.label, Role::MenuItemRadio, chosen).clicked() {
                    picked.word = Some(choice.word);
                    ui.close();
                }
            }
        });
    picked.opened = response.clicked() && !was_open;
    picked
}

/// Does what a menu of devices asked for.
pub(super) fn take(desk: &mut Desk<'_>, device: Device, picked: Picked) {
    if picked.opened {
        desk.send(Command::ListDevices);
    }
    if let Some(word) = picked.word {
        desk.change_settings(|settings| device.choose(settings, word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(device: Device, lists: &DeviceLists, chosen: &str) -> Vec<String> {
        let choices = device.choices(lists, chosen);
        choices.into_iter().map(|choice| choice.word).collect()
    }

    #[test]
    fn without_any_camera_the_test_card_stands_in() {
        let lists = DeviceLists::default();
        assert_eq!(
            words(Device::Camera, &lists, "default"),
            ["default", "test-card", "none"]
        );
        assert_eq!(Device::Camera.label("default", &lists), "No camera found");
    }

    #[test]
    fn an_unplugged_choice_stays_in_the_list_and_says_so() {
        let lists = DeviceLists {
            microphones: vec!["Headset".into()],
            ..DeviceLists::default()
        };
        let choices = Device::Microphone.choices(&lists, "Desk microphone");
        assert_eq!(choices[1].word, "Desk microphone");
        assert!(choices[1].label.ends_with("(not connected)"));
        assert_eq!(
            words(Device::Microphone, &lists, "Headset"),
            ["default", "Headset", "none"]
        );
    }

    #[test]
    fn a_file_is_shown_by_its_name() {
        let lists = DeviceLists::default();
        let label = Device::Camera.label("file:/somewhere/street.y4m", &lists);
        assert_eq!(label, "File street.y4m");
    }
}
