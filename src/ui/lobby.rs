//! The lobby: how one looks and sounds, and the way into a meeting.

use egui::{Align, Id, Layout, Rect, ScrollArea, Sense, Ui, UiBuilder, pos2, vec2};

use super::{
    clipboard::Clipboard,
    controls,
    desk::Desk,
    devices::{self, Device},
    fields::{self, Field},
    icons::Icon,
    notices::Notices,
    shortcuts::Shortcut,
    theme::{self, TOKENS, space},
    tile, trial,
    widgets::{self, Button, IconButton, Tone},
};
use crate::call::{Command, Invitation, Joining, LobbyView};

/// Below that width the two columns become one.
const STACKS_BELOW: f32 = 720.0;
/// Width of the two switches on the preview.
const SWITCHES: f32 = 2.0 * 48.0 + space::MEDIUM;
/// How many recent meetings are offered.
const RECENT: usize = 4;

/// What the window remembers about the lobby.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    name: Option<String>,
    link: String,
    offered: Option<String>,
    refused: Option<String>,
    tried: bool,
    focused: bool,
    body: Option<f32>,
    own_links: Vec<String>,
}

impl Lobby {
    /// Notes that a meeting was joined: its link is not offered again.
    pub(super) fn joined(&mut self, link: &str) {
        if !self.own_links.iter().any(|own| own == link) {
            self.own_links.push(link.to_owned());
        }
        self.link.clear();
        self.tried = false;
    }

    /// Returns what stands in the field, if it is a whole link.
    fn whole_link(&self) -> Option<String> {
        let link = self.link.trim();
        Invitation::read(link).ok().map(|_| link.to_owned())
    }

    fn offer(&self, clipboard: Option<&Clipboard>) -> Option<(String, Invitation)> {
        let text = clipboard?.text()?;
        let link = text.trim();
        let known = self.refused.as_deref() == Some(link)
            || self.own_links.iter().any(|own| own == link)
            || self.link.trim() == link;
        if known {
            return None;
        }
        let invitation = Invitation::read(link).ok()?;
        Some((link.to_owned(), invitation))
    }
}

fn link_field() -> Id {
    Id::unique("meeting link")
}

/// Shows the lobby in `area`. Returns whether the settings are asked for.
pub(super) fn lobby_ui(
    ui: &mut Ui,
    area: Rect,
    (state, notices, clipboard): (&mut Lobby, &mut Notices, Option<&Clipboard>),
    lobby: &LobbyView,
    desk: &mut Desk<'_>,
) -> bool {
    watch(ui, state, clipboard, lobby);
    shortcuts(ui, state, lobby, desk);
    let mut settings_wanted = false;
    let wide = area.width() >= STACKS_BELOW;
    let margin = if wide { space::HUGE } else { space::LARGE };
    let most = if wide {
        (area.width() * 0.68).max(1120.0)
    } else {
        520.0
    };
    let width = (area.width() - 2.0 * margin).min(most).floor();
    ScrollArea::vertical()
        .auto_shrink([false, false])
        .show(ui, |ui| {
            let header = Rect::from_min_size(ui.cursor().min, vec2(area.width(), 64.0));
            ui.allocate_rect(header, Sense::hover());
            settings_wanted |= header_ui(ui, header.shrink2(vec2(margin, 0.0)));
            let left = (area.center().x - width / 2.0).floor();
            let room = area.height() - header.height() - space::LARGE;
            let above = state
                .body
                .map_or(0.0, |body| ((room - body) * 0.42).max(0.0).floor());
            if state.body.is_none() {
                ui.ctx()
                    .request_discard("the height of the lobby is not known");
            }
            let top = header.bottom() + above;
            let column = Rect::from_min_size(pos2(left, top), vec2(width, f32::INFINITY));
            let body = ui.scope_builder(UiBuilder::new().max_rect(column), |ui| {
                ui.set_width(width);
                if notices.any(desk) {
                    settings_wanted |= notices.stack_ui(ui, desk, width);
                    ui.add_space(space::MEDIUM);
                }
                if wide {
                    columns_ui(ui, width, state, clipboard, lobby, desk);
                } else {
                    looks_ui(ui, width, desk);
                    ui.add_space(space::LARGE);
                    way_in_ui(ui, state, clipboard, lobby, desk);
                }
            });
            state.body = Some(body.response.rect.height());
            ui.add_space(space::LARGE);
        });
    if let Some(test) = &desk.view.trial {
        trial::trial_ui(ui, test, state.whole_link().as_deref(), desk);
    }
    settings_wanted
}

fn header_ui(ui: &mut Ui, rect: Rect) -> bool {
    let builder = UiBuilder::new()
        .max_rect(rect)
        .layout(Layout::left_to_right(Align::Center));
    ui.scope_builder(builder, |ui| {
        fields::mark_ui(ui, 16.0);
        ui.label(egui::RichText::new("nonstop").font(theme::heading()));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let settings = IconButton::new(Icon::Settings, "Settings").diameter(40.0);
            settings.shortcut(Shortcut::Settings).show(ui).clicked()
        })
        .inner
    })
    .inner
}

fn columns_ui(
    ui: &mut Ui,
    width: f32,
    state: &mut Lobby,
    clipboard: Option<&Clipboard>,
    lobby: &LobbyView,
    desk: &mut Desk<'_>,
) {
    let gap = if width > 900.0 { 56.0 } else { space::HUGE };
    let right = (width * 0.36).clamp(300.0, 380.0).floor();
    let left = width - right - gap;
    let top = ui.cursor().min;
    let place = |x: f32, width: f32| {
        let rect = Rect::from_min_size(pos2(top.x + x, top.y), vec2(width, f32::INFINITY));
        UiBuilder::new().max_rect(rect)
    };
    let looks = ui.scope_builder(place(0.0, left), |ui| looks_ui(ui, left, desk));
    ui.scope_builder(place(left + gap, right), |ui| {
        ui.set_width(right);
        let preview = left / super::grid::ASPECT;
        let height_of_form = 330.0;
        ui.add_space(((preview - height_of_form) * 0.5).max(0.0).floor());
        way_in_ui(ui, state, clipboard, lobby, desk);
    });
    ui.expand_to_include_rect(looks.response.rect);
}

/// Shows the preview with the switches on it, and the choice of devices below.
fn looks_ui(ui: &mut Ui, width: f32, desk: &mut Desk<'_>) {
    let size = vec2(width, (width / super::grid::ASPECT).floor());
    let rect = Rect::from_min_size(ui.cursor().min, size);
    ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
        ui.set_min_size(size);
        preview_ui(ui, rect, desk);
    });
    ui.add_space(space::HAIR);
    let devices = [Device::Microphone, Device::Camera, Device::Speaker];
    if width < 460.0 {
        for device in devices {
            devices::picker_ui(ui, device, desk, width);
        }
        return;
    }
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::SMALL;
        let each = ((width - 2.0 * space::SMALL) / 3.0).floor();
        for device in devices {
            devices::picker_ui(ui, device, desk, each);
        }
    });
}

fn preview_ui(ui: &mut Ui, rect: Rect, desk: &mut Desk<'_>) {
    let me = &desk.view.me;
    let picture = me
        .picture
        .as_ref()
        .filter(|_| me.camera)
        .and_then(|picture| desk.pictures.newest(ui.ctx(), picture, rect.width()));
    let words = preview_words(desk, picture.is_some());
    let response = ui.interact(rect, ui.scope_id().with("preview"), Sense::hover());
    response.widget_info(|| {
        let label = words.unwrap_or("Your picture, as in a mirror");
        egui::WidgetInfo::labeled(egui::accesskit::Role::Figure, true, label)
    });
    let lifted = rect.translate(vec2(0.0, -rect.height() * 0.06));
    if picture.is_some() {
        tile::paint_person(ui, rect, &me.name, picture.as_ref(), false, true);
    } else {
        let palette = theme::palette(ui);
        ui.painter()
            .rect_filled(rect, TOKENS.radius.tile, palette.surface);
        let diameter = (rect.height() * 0.34).clamp(48.0, 128.0);
        let centre = lifted.center() - vec2(0.0, 14.0);
        fields::paint_avatar(ui, centre, diameter, &me.name);
        ui.painter().text(
            centre + vec2(0.0, diameter / 2.0 + 22.0),
            egui::Align2::CENTER_CENTER,
            words.unwrap_or_default(),
            theme::body(),
            palette.text_subdued.into(),
        );
    }
    let palette = theme::palette(ui);
    ui.painter().rect_stroke(
        rect,
        TOKENS.radius.tile,
        egui::Stroke::new(1.0, palette.hairline),
        egui::StrokeKind::Inside,
    );
    voice_ui(ui, rect, desk);
    let bar = Rect::from_center_size(
        pos2(rect.center().x, rect.bottom() - 40.0),
        vec2(SWITCHES, 48.0),
    );
    let builder = UiBuilder::new()
        .max_rect(bar)
        .layout(Layout::left_to_right(Align::Center));
    ui.scope_builder(builder, |ui| {
        ui.spacing_mut().item_spacing.x = space::MEDIUM;
        controls::microphone_ui(ui, desk, 48.0);
        controls::camera_ui(ui, desk, 48.0);
    });
}

fn preview_words(desk: &Desk<'_>, shown: bool) -> Option<&'static str> {
    let me = &desk.view.me;
    let chosen = &desk.settings.current().camera;
    if shown {
        None
    } else if !me.camera {
        Some("Your camera is off")
    } else if chosen == "none" {
        Some("No camera is chosen")
    } else if chosen == "default" && desk.view.devices.cameras.is_empty() {
        Some("No camera found")
    } else {
        Some("Starting the camera…")
    }
}

/// Shows how loud the microphone is, at the lower left of the preview.
fn voice_ui(ui: &mut Ui, rect: Rect, desk: &Desk<'_>) {
    let me = &desk.view.me;
    let picture = &TOKENS.picture;
    // What is left beside the two switches in the middle.
    let room = rect.width() / 2.0 - SWITCHES / 2.0 - 2.0 * space::MEDIUM;
    let width = if me.microphone { room.min(124.0) } else { 40.0 };
    let corner = pos2(rect.left() + space::MEDIUM, rect.bottom() - 40.0 - 16.0);
    let ground = Rect::from_min_size(corner, vec2(width, 32.0));
    let response = ui.interact(ground, ui.scope_id().with("level"), Sense::hover());
    response.widget_info(|| {
        let words = if me.microphone {
            "Microphone level"
        } else {
            "Microphone off"
        };
        egui::WidgetInfo::labeled(egui::accesskit::Role::Meter, true, words)
    });
    ui.painter()
        .rect_filled(ground, TOKENS.radius.control, picture.shade.opacity(0.8));
    let at = pos2(ground.left() + 18.0, ground.center().y);
    if !me.microphone {
        let off = Icon::MicrophoneOff;
        widgets::paint_icon(ui.painter(), at, off, 16.0, picture.danger.into());
        return;
    }
    widgets::paint_icon(
        ui.painter(),
        at,
        Icon::Microphone,
        16.0,
        picture.text.into(),
    );
    let meter = Rect::from_min_max(
        pos2(ground.left() + 34.0, ground.center().y - 6.0),
        pos2(ground.right() - space::MEDIUM, ground.center().y + 6.0),
    );
    let unlit = picture.text.opacity(0.22);
    let bars = (meter.width() / 8.0) as usize;
    fields::paint_meter(ui, meter, me.level, bars, picture.good, unlit);
}

/// Shows the name, and the ways into a meeting.
fn way_in_ui(
    ui: &mut Ui,
    state: &mut Lobby,
    clipboard: Option<&Clipboard>,
    lobby: &LobbyView,
    desk: &mut Desk<'_>,
) {
    if let Some(joining) = &lobby.joining {
        joining_ui(ui, joining, desk);
        return;
    }
    ui.spacing_mut().item_spacing.y = space::SMALL;
    ui.label(egui::RichText::new("Good to see you").font(theme::title()));
    ui.add_space(space::SMALL);
    let name = state
        .name
        .get_or_insert_with(|| desk.settings.current().name.clone());
    let field = Field::new(Id::unique("your name"), "Your name").hint("As the others see it");
    let response = field.limit(64).show(ui, name);
    if !response.has_focus() && !response.lost_focus() {
        name.clone_from(&desk.settings.current().name);
    }
    if response.lost_focus() {
        keep_name(state, desk);
    }
    ui.add_space(space::LARGE);
    let width = ui.available_width();
    let new = Button::new("New meeting")
        .icon(Icon::Plus)
        .tone(Tone::Primary)
        .shortcut(Shortcut::NewMeeting)
        .width(width);
    if new.show(ui).clicked() {
        open_new(state, desk);
    }
    ui.add_space(space::HAIR);
    fields::label_ui(ui, "or paste a meeting link");
    let mut join = false;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::SMALL;
        let field = Field::new(link_field(), "Meeting link").hint("https://…");
        let response = field
            .without_label()
            .width(width - 84.0 - space::SMALL)
            .show(ui, &mut state.link);
        if response.changed() {
            state.tried = false;
        }
        let entered =
            response.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
        let button = Button::new("Join").shortcut(Shortcut::Join).width(84.0);
        join = button.show(ui).clicked() || (entered && !state.link.trim().is_empty());
    });
    if join {
        join_link(ui, state, desk);
    }
    verdict_ui(ui, state);
    offer_ui(ui, state, clipboard, desk);
    recent_ui(ui, state, desk);
    ui.add_space(space::HAIR);
    ui.horizontal(|ui| {
        // Its words stand in line with everything above.
        ui.add_space(-space::MEDIUM);
        let test = Button::new("Test my connection").tone(Tone::Quiet).small();
        if test.show(ui).clicked() {
            desk.send(Command::TestConnection(state.whole_link()));
        }
    });
}

/// Says where the pasted link leads, or what is wrong with it.
fn verdict_ui(ui: &mut Ui, state: &Lobby) {
    let link = state.link.trim();
    if link.is_empty() && !state.tried {
        return;
    }
    let palette = theme::palette(ui);
    let (words, colour) = match Invitation::read(link) {
        Ok(invitation) => (
            format!("{} on {}", invitation.room, invitation.host),
            palette.text_subdued,
        ),
        Err(_) if link.is_empty() => (
            "Paste the link that you were sent.".to_owned(),
            palette.danger,
        ),
        Err(error) if state.tried || link.len() > 12 => (error.to_string(), palette.danger),
        Err(_) => return,
    };
    let words = egui::RichText::new(words)
        .font(theme::small())
        .color(colour);
    ui.add(egui::Label::new(words).wrap());
}

/// Offers the meeting of a link that lies on the clipboard.
fn offer_ui(ui: &mut Ui, state: &mut Lobby, clipboard: Option<&Clipboard>, desk: &mut Desk<'_>) {
    let Some((link, invitation)) = state.offer(clipboard) else {
        return;
    };
    let palette = theme::palette(ui);
    ui.add_space(space::HAIR);
    egui::Frame::new()
        .fill(palette.surface.into())
        .stroke(egui::Stroke::new(1.0, palette.hairline))
        .corner_radius(TOKENS.radius.control)
        .inner_margin(egui::Margin {
            left: space::MEDIUM as i8,
            right: space::HAIR as i8,
            top: space::HAIR as i8,
            bottom: space::HAIR as i8,
        })
        .show(ui, |ui| {
            let size = vec2(ui.available_width(), 36.0);
            ui.allocate_ui_with_layout(size, Layout::right_to_left(Align::Center), |ui| {
                ui.spacing_mut().item_spacing.x = space::HAIR;
                let refuse = IconButton::new(Icon::Close, "Do not join").diameter(28.0);
                if refuse.show(ui).clicked() {
                    state.refused = Some(link.clone());
                }
                let name = format!("Join {}", invitation.room);
                let join = Button::new("Join").name(&name).small();
                if join.show(ui).clicked() {
                    keep_name(state, desk);
                    desk.send(Command::Join(link.clone()));
                }
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                    let words = format!("Join {} on {}?", invitation.room, invitation.host);
                    let words = egui::RichText::new(words).font(theme::small());
                    ui.add(egui::Label::new(words).truncate());
                });
            });
        });
}

fn recent_ui(ui: &mut Ui, state: &mut Lobby, desk: &mut Desk<'_>) {
    let recent: Vec<_> = desk
        .settings
        .current()
        .recent
        .iter()
        .take(RECENT)
        .cloned()
        .collect();
    if recent.is_empty() {
        return;
    }
    ui.add_space(space::HAIR);
    fields::label_ui(ui, "Recent");
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(space::SMALL, space::SMALL);
        for meeting in recent {
            let name = format!("Join {} again", meeting.room);
            let button = Button::new(&meeting.room)
                .icon(Icon::Recent)
                .name(&name)
                .small();
            if button.show(ui).clicked() {
                keep_name(state, desk);
                desk.send(Command::Join(meeting.link));
            }
        }
    });
}

fn joining_ui(ui: &mut Ui, joining: &Joining, desk: &Desk<'_>) {
    let palette = theme::palette(ui);
    let (words, place) = match joining {
        Joining::Opening { host } => ("Opening a meeting…".to_owned(), host),
        Joining::Joining { room, host } => (format!("Joining {room}…"), host),
    };
    ui.add(egui::Label::new(egui::RichText::new(words).font(theme::title())).wrap());
    ui.add_space(space::HAIR);
    let place = egui::RichText::new(format!("on {place}")).color(palette.text_subdued);
    ui.add(egui::Label::new(place).truncate());
    ui.add_space(space::MEDIUM);
    let (track, _) = ui.allocate_exact_size(vec2(ui.available_width(), 4.0), Sense::hover());
    ui.painter().rect_filled(track, 2, palette.control);
    if theme::times(ui).layout > 0.0 {
        let turn = ui.input(|input| input.time * 0.7).fract() as f32;
        let centre = egui::lerp(-0.2..=1.2, egui::emath::easing::quadratic_in_out(turn));
        let (from, to) = ((centre - 0.2).max(0.0), (centre + 0.2).min(1.0));
        if to > from {
            let lit = Rect::from_min_max(
                pos2(track.left() + from * track.width(), track.top()),
                pos2(track.left() + to * track.width(), track.bottom()),
            );
            ui.painter().rect_filled(lit, 2, palette.accent);
        }
        ui.ctx().request_repaint_after_secs(1.0 / 30.0);
    }
    ui.add_space(space::LARGE);
    let cancel = Button::new("Cancel").shortcut(Shortcut::Escape);
    if cancel.show(ui).clicked() {
        desk.send(Command::Leave);
    }
}

fn shortcuts(ui: &Ui, state: &mut Lobby, lobby: &LobbyView, desk: &mut Desk<'_>) {
    let me = &desk.view.me;
    if Shortcut::Microphone.pressed(ui.ctx()) {
        desk.send(Command::SetMicrophone(!me.microphone));
    }
    if Shortcut::Camera.pressed(ui.ctx()) {
        desk.send(Command::SetCamera(!me.camera));
    }
    if desk.covered {
        return;
    }
    if lobby.joining.is_some() {
        if !ui.ctx().any_popup_open() && Shortcut::Escape.pressed(ui.ctx()) {
            desk.send(Command::Leave);
        }
        return;
    }
    if Shortcut::Link.pressed(ui.ctx()) {
        ui.memory_mut(|memory| memory.request_focus(link_field()));
    }
    if Shortcut::NewMeeting.pressed(ui.ctx()) {
        open_new(state, desk);
    }
    if Shortcut::Join.pressed(ui.ctx()) {
        join_link(ui, state, desk);
    }
}

fn open_new(state: &mut Lobby, desk: &mut Desk<'_>) {
    keep_name(state, desk);
    desk.send(Command::NewMeeting);
}

/// Joins the meeting of the link in the field, if it is a whole link.
fn join_link(ui: &Ui, state: &mut Lobby, desk: &mut Desk<'_>) {
    state.tried = true;
    if Invitation::read(state.link.trim()).is_ok() {
        keep_name(state, desk);
        desk.send(Command::Join(state.link.trim().to_owned()));
    } else {
        ui.memory_mut(|memory| memory.request_focus(link_field()));
    }
}

fn keep_name(state: &Lobby, desk: &mut Desk<'_>) {
    if let Some(name) = &state.name {
        let name = name.trim().to_owned();
        desk.change_settings(|settings| settings.name = name);
    }
}

/// Takes up a link from the command line, and has the clipboard read when the window comes up.
fn watch(ui: &Ui, state: &mut Lobby, clipboard: Option<&Clipboard>, lobby: &LobbyView) {
    if lobby.offered_link.is_some() && state.offered != lobby.offered_link {
        state.offered.clone_from(&lobby.offered_link);
        state.link = lobby.offered_link.clone().unwrap_or_default();
    }
    let focused = ui.input(|input| input.focused);
    if focused
        && !state.focused
        && let Some(clipboard) = clipboard
    {
        clipboard.refresh();
    }
    state.focused = focused;
}
