//! The window, driven by what a screen reader sees: every screen from hand-made views, every
//! control by its accessible name, and the commands that come out.

mod connections;
mod crowd;
mod scene;
mod trial;

use std::time::Duration;

use egui::{Key, Modifiers, Rect, accesskit::Role, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use nonstop::{
    call::{
        Command, Joining, LobbyView, Notice, NoticeAction, NoticeKind, NoticeLevel, Screen, Stage,
    },
    config::Appearance,
};

use scene::*;

#[test]
fn a_new_meeting_is_asked_for_by_button_and_by_keys() {
    let mut window = Window::open(lobby());
    window.click("New meeting");
    assert_eq!(window.commands(), [Command::NewMeeting]);
    window.press(Modifiers::COMMAND, Key::N);
    assert_eq!(window.commands(), [Command::NewMeeting]);
}

#[test]
fn the_name_is_kept_before_the_meeting_is_asked_for() {
    let mut view = lobby();
    view.settings.name.clear();
    let mut window = Window::open(view);
    window.fill("Your name", "Ada");
    window.press(Modifiers::COMMAND, Key::N);
    let commands = window.commands();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(matches!(&commands[0], Command::Settings(settings) if settings.name == "Ada"));
    assert_eq!(commands[1], Command::NewMeeting);
}

#[test]
fn a_whole_link_leads_to_its_meeting() {
    let mut window = Window::open(lobby());
    window.fill("Meeting link", &format!(" {LINK} "));
    assert!(window.shows("standup on meet.example.org"));
    window.click("Join");
    assert_eq!(window.commands(), [Command::Join(LINK.into())]);
}

#[test]
fn the_link_is_joined_with_enter_and_with_keys() {
    let mut window = Window::open(lobby());
    window.fill("Meeting link", LINK);
    window.press(Modifiers::NONE, Key::Enter);
    assert_eq!(window.commands(), [Command::Join(LINK.into())]);
    window.press(Modifiers::COMMAND, Key::Enter);
    assert_eq!(window.commands(), [Command::Join(LINK.into())]);
}

#[test]
fn a_link_without_its_secret_is_explained_and_not_joined() {
    let mut window = Window::open(lobby());
    window.fill("Meeting link", "https://meet.example.org/standup");
    window.click("Join");
    assert_eq!(window.commands(), []);
    assert!(
        window.shows(
            "This link is not complete: the part after # is missing. Ask for the link again."
        )
    );
}

#[test]
fn join_without_a_link_says_what_is_missing_and_goes_to_the_field() {
    let mut window = Window::open(lobby());
    window.click("Join");
    assert_eq!(window.commands(), []);
    assert!(window.shows("Paste the link that you were sent."));
    assert!(
        window
            .harness
            .get_by_role_and_label(Role::TextInput, "Meeting link")
            .is_focused()
    );
}

#[test]
fn a_link_on_the_clipboard_is_offered_and_never_joined_by_itself() {
    let mut window = Window::open_with(lobby(), Some(LINK), SIZE);
    assert!(window.shows("Join standup on meet.example.org?"));
    assert_eq!(window.commands(), []);
    window.click("Join standup");
    assert_eq!(window.commands(), [Command::Join(LINK.into())]);
    window.click("Do not join");
    assert!(!window.shows("Join standup on meet.example.org?"));
}

#[test]
fn other_text_on_the_clipboard_is_nobody_s_business() {
    let window = Window::open_with(lobby(), Some("a shopping list"), SIZE);
    assert!(window.harness.query_by_label("Do not join").is_none());
}

#[test]
fn the_link_of_the_meeting_just_left_is_not_offered() {
    let mut window = Window::open_with(call(1), Some(LINK), SIZE);
    window.show(lobby());
    assert!(!window.shows("Join standup on meet.example.org?"));
}

#[test]
fn a_link_from_the_command_line_stands_in_the_field() {
    let mut view = lobby();
    view.screen = Screen::Lobby(LobbyView {
        joining: None,
        offered_link: Some(LINK.into()),
    });
    let mut window = Window::open(view);
    assert_eq!(window.commands(), []);
    window.click("Join");
    assert_eq!(window.commands(), [Command::Join(LINK.into())]);
}

#[test]
fn a_recent_meeting_is_joined_again() {
    let mut window = Window::open(lobby());
    window.click("Join review again");
    let link = LINK.replace("standup", "review");
    assert_eq!(window.commands(), [Command::Join(link)]);
}

#[test]
fn joining_is_said_in_words_and_can_be_stopped() {
    let mut view = lobby();
    view.screen = Screen::Lobby(LobbyView {
        joining: Some(Joining::Joining {
            room: "standup".into(),
            host: "meet.example.org".into(),
        }),
        offered_link: None,
    });
    let mut window = Window::open(view);
    assert!(window.shows("Joining standup…"));
    window.click("Cancel");
    assert_eq!(window.commands(), [Command::Leave]);
    window.press(Modifiers::NONE, Key::Escape);
    assert_eq!(window.commands(), [Command::Leave]);
    window.press(Modifiers::COMMAND, Key::N);
    assert_eq!(window.commands(), [], "one thing at a time");
}

#[test]
fn the_lobby_says_how_the_camera_is() {
    let mut view = lobby();
    view.me.picture = None;
    let mut window = Window::open(view.clone());
    assert!(window.shows("Starting the camera…"));
    view.devices.cameras.clear();
    window.show(view.clone());
    assert!(window.shows("No camera found"));
    view.me.camera = false;
    window.show(view);
    assert!(window.shows("Your camera is off"));
}

#[test]
fn microphone_and_camera_are_switched_in_lobby_and_call() {
    for view in [lobby(), call(0), call(2)] {
        let mut window = Window::open(view.clone());
        window.click("Turn microphone off");
        window.click("Turn camera off");
        let off = [Command::SetMicrophone(false), Command::SetCamera(false)];
        assert_eq!(window.commands(), off);
        window.press(Modifiers::COMMAND, Key::D);
        window.press(Modifiers::COMMAND, Key::E);
        assert_eq!(window.commands(), off);
        let mut view = view;
        view.me.microphone = false;
        view.me.camera = false;
        window.show(view);
        window.click("Turn microphone on");
        window.click("Turn camera on");
        let on = [Command::SetMicrophone(true), Command::SetCamera(true)];
        assert_eq!(window.commands(), on);
    }
}

#[test]
fn a_device_is_chosen_from_its_menu() {
    let mut window = Window::open(lobby());
    window.click("Camera: First camera");
    assert_eq!(window.commands(), [Command::ListDevices]);
    window.click("Desk camera");
    let commands = window.commands();
    assert!(
        matches!(&commands[..], [Command::Settings(settings)] if settings.camera == "Desk camera"),
        "{commands:?}"
    );
    let mut window = Window::open(call(1));
    window.click("Choose microphone");
    window.click("Headset");
    assert!(matches!(
        &window.commands()[..],
        [Command::ListDevices, Command::Settings(settings)] if settings.microphone == "Headset"
    ));
}

#[test]
fn everybody_in_the_call_has_a_tile_with_their_name() {
    for others in 0..=4 {
        let window = Window::open(call(others));
        for name in &NAMES[..others] {
            let tiles = window.tiles().filter(|tile| tile.starts_with(name)).count();
            assert_eq!(tiles, 1, "{name} of {others}");
        }
        assert_eq!(window.tiles().filter(|tile| tile == "You").count(), 1);
        assert_eq!(window.tiles().count(), others + 1);
    }
}

#[test]
fn who_is_alone_is_told_to_send_the_link() {
    let mut window = Window::open(call(0));
    assert!(window.shows("Nobody else is here yet. Send them the link."));
    window.click("Copy meeting link");
    assert!(window.copied());
    assert!(window.shows("Link copied"));
    window.show(call(1));
    assert!(!window.shows("Nobody else is here yet. Send them the link."));
}

#[test]
fn the_link_is_copied_by_button_and_by_keys() {
    let mut window = Window::open(call(2));
    window.click("Copy link");
    assert!(window.copied());
    let mut window = Window::open(call(2));
    window.press(Modifiers::COMMAND, Key::L);
    assert!(window.copied());
}

#[test]
fn the_call_is_left_by_button_and_by_keys() {
    let mut window = Window::open(call(2));
    window.click("Leave");
    assert_eq!(window.commands(), [Command::Leave]);
    window.press(Modifiers::COMMAND, Key::W);
    assert_eq!(window.commands(), [Command::Leave]);
}

#[test]
fn tiles_say_what_is_wrong_in_words() {
    let states = [
        (Stage::Connecting, Some("Connecting…")),
        (Stage::Failed, Some("No connection. Still trying.")),
        (reconnecting(0), None),
        (reconnecting(3), Some("Reconnecting…")),
        (reconnecting(30), Some("Still trying to reach them.")),
        (Stage::Connected, None),
    ];
    for (stage, words) in states {
        let mut view = call(1);
        change(&mut view, |person| person.stage = stage);
        let window = Window::open(view);
        let tile = window.tiles().next().expect("a tile");
        let said = tile.strip_prefix("Ada Lovelace").expect("the name");
        assert_eq!(said.strip_prefix(", "), words, "{stage:?}");
    }
}

#[test]
fn tiles_say_what_is_off_and_who_speaks() {
    let mut view = call(1);
    change(&mut view, |person| {
        person.camera = false;
        person.microphone = false;
        person.speaking = true;
        person.name.clear();
    });
    let window = Window::open(view);
    let tile = window.tiles().next().expect("a tile");
    assert_eq!(tile, "Guest, camera off, microphone off, speaking");
}

#[test]
fn a_lost_server_is_spoken_of_only_when_it_lasts() {
    let words = |seconds| {
        let mut view = call(1);
        if let Screen::Call(call) = &mut view.screen {
            call.reconnecting_since = Some(ago(seconds));
        }
        let window = Window::open(view);
        (
            window.shows("Reconnecting…"),
            window.shows("Still trying. The others can hear each other."),
        )
    };
    assert_eq!(words(0), (false, false));
    assert_eq!(words(4), (true, false));
    assert_eq!(words(20), (false, true));
}

#[test]
fn the_path_card_opens_from_the_mark_on_a_tile() {
    let mut window = Window::open(call(1));
    window.click("Connection to Ada Lovelace: good");
    assert!(window.shows("Direct to Ada Lovelace, 18 ms"));
    assert!(window.shows("Picture 1280 × 720"));
}

#[test]
fn every_kind_of_notice_shows_its_words_and_its_actions_work() {
    let kinds = [
        NoticeKind::Camera,
        NoticeKind::Microphone,
        NoticeKind::Speaker,
        NoticeKind::Meeting,
        NoticeKind::Link,
        NoticeKind::Security,
        NoticeKind::Presence,
        NoticeKind::Connection,
        NoticeKind::Settings,
    ];
    let actions = [
        (NoticeAction::TryAgain, "Try again"),
        (NoticeAction::GoOn, "Go on"),
    ];
    for kind in kinds {
        for mut view in [lobby(), call(2)] {
            view.notices = vec![notice(7, kind, NoticeLevel::Warning)];
            let mut window = Window::open(view);
            assert!(window.shows("Something happened. It means this."));
            for (action, words) in actions {
                window.click(words);
                let act = Command::Act { notice: 7, action };
                assert_eq!(window.commands(), [act]);
            }
            window.click("Dismiss");
            assert_eq!(window.commands(), [Command::Dismiss(7)]);
            assert!(!window.shows("Something happened. It means this."));
        }
    }
}

#[test]
fn a_notice_leads_to_the_settings() {
    let mut view = call(1);
    view.notices = vec![Notice {
        actions: vec![NoticeAction::OpenSettings],
        ..notice(3, NoticeKind::Microphone, NoticeLevel::Error)
    }];
    let mut window = Window::open(view);
    window.click("Open settings…");
    assert!(window.shows("Settings"));
    assert!(window.commands().contains(&Command::Act {
        notice: 3,
        action: NoticeAction::OpenSettings
    }));
}

#[test]
fn information_goes_by_itself_and_warnings_stay() {
    let mut view = call(1);
    view.notices = vec![
        notice(1, NoticeKind::Presence, NoticeLevel::Information),
        Notice {
            text: "This stays.".into(),
            ..notice(2, NoticeKind::Camera, NoticeLevel::Warning)
        },
    ];
    let mut window = Window::open(view);
    window.pass(Duration::from_secs(4));
    assert!(window.shows("Something happened. It means this."));
    window.pass(Duration::from_secs(4));
    assert!(!window.shows("Something happened. It means this."));
    assert!(window.shows("This stays."));
    assert_eq!(window.commands(), [Command::Dismiss(1)]);
}

#[test]
fn settings_open_by_button_and_keys_and_close_with_escape() {
    for view in [lobby(), call(1)] {
        let mut window = Window::open(view);
        window.click("Settings");
        assert!(window.has("Close settings"));
        window.press(Modifiers::NONE, Key::Escape);
        assert!(!window.has("Close settings"));
        window.press(Modifiers::COMMAND, Key::Comma);
        assert!(window.has("Close settings"));
        window.press(Modifiers::COMMAND, Key::Comma);
        assert!(!window.has("Close settings"));
    }
}

#[test]
fn each_setting_comes_out_as_it_was_chosen() {
    let mut window = Window::open(lobby());
    window.click("Settings");
    assert_eq!(window.commands(), [Command::ListDevices]);
    for words in [
        "Take the speaker's echo out",
        "Take steady noise out",
        "Even out how loud you are",
        "Never show my address to others",
        "Reduce motion",
        "Light",
    ] {
        window.harness.get_by_label(words).scroll_to_me();
        window.run();
        window.click(words);
    }
    let last = window.commands().pop();
    let Some(Command::Settings(settings)) = last else {
        panic!("settings, not {last:?}");
    };
    assert!(!settings.echo_cancellation && !settings.noise_suppression);
    assert!(!settings.gain_control && !settings.reduced_motion);
    assert!(settings.hide_address);
    assert_eq!(settings.appearance, Appearance::Light);
    window.fill("Meeting server", "meet.example.org");
    window.press(Modifiers::NONE, Key::Escape);
    let server = window
        .commands()
        .into_iter()
        .find_map(|command| match command {
            Command::Settings(settings) => settings.server,
            _ => None,
        });
    assert_eq!(server.as_deref(), Some("meet.example.org"));
}

#[test]
fn a_light_window_is_light() {
    let mut view = lobby();
    view.settings.appearance = Appearance::Light;
    let window = Window::open(view);
    assert_eq!(window.harness.ctx.theme(), egui::Theme::Light);
}

#[test]
fn full_screen_is_asked_for_by_button_and_keys() {
    for press in [false, true] {
        let mut window = Window::open(call(1));
        if press {
            window.harness.key_down(Key::F11);
        } else {
            window.harness.get_by_label("Full screen").click();
        }
        let asked = (0..4).any(|_| {
            window.harness.step();
            let outputs = &window.harness.output().viewport_output;
            outputs.values().any(|output| {
                let full = egui::ViewportCommand::Fullscreen(true);
                output.commands.contains(&full)
            })
        });
        assert!(asked);
    }
}

#[test]
fn every_control_has_a_name_on_every_screen() {
    for (name, view) in screens() {
        let window = Window::open_with(view, Some(LINK), SIZE);
        let unnamed = window.harness.unnamed_widgets();
        assert!(unnamed.is_empty(), "{name}: {unnamed:?}");
        assert!(window.controls().len() >= 5, "{name}");
    }
}

#[test]
fn controls_of_a_call_neither_overlap_nor_leave_the_window() {
    let sizes = [
        vec2(360.0, 360.0),
        vec2(480.0, 800.0),
        vec2(720.0, 600.0),
        vec2(1280.0, 800.0),
        vec2(1920.0, 1080.0),
    ];
    for size in sizes {
        for others in 0..=4 {
            let window = Window::open_with(call(others), None, size);
            let inside = Rect::from_min_size(egui::Pos2::ZERO, size).expand(0.5);
            let controls = window.controls();
            for (index, (name, rect)) in controls.iter().enumerate() {
                assert!(inside.contains_rect(*rect), "{name} {rect} in {size}");
                for (other, place) in &controls[index + 1..] {
                    let apart = !rect.shrink(1.0).intersects(place.shrink(1.0));
                    assert!(apart, "{name} and {other}, {others} others, {size}");
                }
            }
        }
    }
}

#[test]
fn nothing_of_the_lobby_is_cut_off_at_the_sides() {
    for size in [
        vec2(360.0, 500.0),
        vec2(480.0, 800.0),
        vec2(720.0, 600.0),
        vec2(1920.0, 1080.0),
    ] {
        let mut view = lobby();
        view.notices = vec![notice(1, NoticeKind::Camera, NoticeLevel::Warning)];
        let window = Window::open_with(view, Some(LINK), size);
        for (name, rect) in window.controls() {
            assert!(
                rect.left() >= 0.0 && rect.right() <= size.x,
                "{name} {rect} in {size}"
            );
        }
    }
}

#[test]
fn a_window_in_which_nothing_happens_asks_for_no_paint() {
    let mut view = lobby();
    view.me.picture = None;
    let mut window = Window::open(view);
    window.pass(Duration::from_secs(5));
    let outputs = &window.harness.output().viewport_output;
    let soonest = outputs.values().map(|output| output.repaint_delay).min();
    assert!(soonest >= Some(Duration::from_secs(60)), "{soonest:?}");
}

#[test]
fn the_accessible_tree_of_a_call_reads_from_people_to_controls() {
    let window = Window::open(call(1));
    let lines: Vec<String> = window
        .harness
        .root()
        .children_recursive()
        .map(|node| node.accesskit_node())
        .filter_map(|node| Some(format!("{:?} {}", node.role(), node.label()?)))
        .filter(|line| !line.contains("12:0"))
        .collect();
    let expected = [
        "Figure Ada Lovelace",
        "Button Connection to Ada Lovelace: good",
        "Button Pin Ada Lovelace",
        "Figure You",
        "Button Hide yourself",
        "Button Full screen",
        "Button Layout",
        "Button People",
        "Button Turn microphone off",
        "Button Choose microphone",
        "Button Turn camera off",
        "Button Choose camera",
        "Button Copy link",
        "Button Settings",
        "Button Leave",
    ];
    let named: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| line.starts_with("Figure") || line.starts_with("Button"))
        .collect();
    assert_eq!(named, expected);
}
