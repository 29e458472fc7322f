//! The connection test in the lobby, and the settings of the network.

use egui::{Key, Modifiers, Rect, vec2};
use egui_kittest::kittest::Queryable;
use nonstop::{
    call::{Command, Mark, TrialStep, TrialView, View},
    config::{Appearance, ProxyChoice},
};

use crate::scene::*;

fn step(mark: Mark, title: &'static str, words: &str) -> TrialStep {
    TrialStep {
        mark,
        title,
        words: words.into(),
    }
}

/// A lobby over which a test stands that found UDP blocked, or still goes on.
fn tested(running: bool) -> View {
    let (mark, summary) = match running {
        true => (Mark::Waiting, "Testing the way to meet.example.org…"),
        false => (
            Mark::Fair,
            "UDP is blocked here. Calls go through a relay over TLS; expect less quality.",
        ),
    };
    View {
        trial: Some(TrialView {
            host: "meet.example.org".into(),
            running,
            mark,
            summary: summary.into(),
            steps: vec![
                step(Mark::Good, "Meeting server", "reached in 45 ms"),
                step(Mark::Bad, "UDP", "blocked here: nothing comes back"),
                step(Mark::Bad, "Relay over UDP", "the relay did not answer"),
                step(
                    Mark::Skipped,
                    "Relay over TCP",
                    "not offered by the meeting server",
                ),
                step(Mark::Good, "Relay over TLS", "works, 51 ms"),
                step(Mark::Waiting, "Speed", "trying…"),
            ],
            note: Some("Measured in a loop."),
        }),
        ..lobby()
    }
}

#[test]
fn the_test_is_asked_for_with_the_link_in_the_field_or_without() {
    let mut window = Window::open(lobby());
    window.click("Test my connection");
    assert_eq!(window.commands(), [Command::TestConnection(None)]);
    window.fill("Meeting link", "https://meet.example.org/standup");
    window.click("Test my connection");
    assert_eq!(
        window.commands(),
        [Command::TestConnection(None)],
        "no whole link"
    );
    let mut window = Window::open(lobby());
    window.fill("Meeting link", LINK);
    window.click("Test my connection");
    assert_eq!(
        window.commands(),
        [Command::TestConnection(Some(LINK.into()))]
    );
}

#[test]
fn what_was_found_stands_there_in_words_the_summary_first() {
    let window = Window::open(tested(false));
    let lines = [
        "UDP is blocked here. Calls go through a relay over TLS; expect less quality.",
        "Meeting server: reached in 45 ms",
        "UDP: blocked here: nothing comes back",
        "Relay over UDP: the relay did not answer",
        "Relay over TCP: not offered by the meeting server",
        "Relay over TLS: works, 51 ms",
        "Measured in a loop.",
    ];
    let mut above = f32::NEG_INFINITY;
    for line in lines {
        assert!(window.shows(line), "{line}");
        let top = window.harness.get_by_label(line).rect().top();
        assert!(top > above, "{line}");
        above = top;
    }
}

#[test]
fn a_running_test_is_stopped_and_one_that_is_over_is_done_again() {
    let mut window = Window::open(tested(true));
    assert!(!window.has("Test again"));
    window.click("Stop");
    assert_eq!(window.commands(), [Command::StopTest]);
    window.show(tested(false));
    assert!(!window.has("Stop"));
    window.click("Test again");
    assert_eq!(window.commands(), [Command::TestConnection(None)]);
}

#[test]
fn the_test_is_put_away_by_button_and_by_key_and_leaves_the_lobby_alone() {
    let mut window = Window::open(tested(true));
    window.press(Modifiers::COMMAND, Key::N);
    assert_eq!(window.commands(), [], "the lobby is covered");
    window.click("Close connection test");
    assert_eq!(window.commands(), [Command::EndTest]);
    window.press(Modifiers::NONE, Key::Escape);
    assert_eq!(window.commands(), [Command::EndTest]);
    window.show(lobby());
    assert!(!window.has("Close connection test"));
}

#[test]
fn the_test_fits_every_window_and_every_control_has_a_name() {
    for appearance in [Appearance::Dark, Appearance::Light] {
        for size in [vec2(360.0, 360.0), vec2(480.0, 800.0), SIZE] {
            let mut view = tested(false);
            view.settings.appearance = appearance;
            let window = Window::open_with(view, None, size);
            let inside = Rect::from_min_size(egui::Pos2::ZERO, size).expand(0.5);
            for label in ["Close connection test", "Test again"] {
                let place = window.harness.get_by_label(label).rect();
                assert!(inside.contains_rect(place), "{label} {place} in {size}");
            }
            let unnamed = window.harness.unnamed_widgets();
            assert!(unnamed.is_empty(), "{size}: {unnamed:?}");
        }
    }
}

#[test]
fn a_proxy_is_taken_over_when_it_is_one() {
    let proxies = |window: &mut Window| -> Vec<ProxyChoice> {
        let proxy = |command| match command {
            Command::Settings(settings) => Some(settings.proxy),
            _ => None,
        };
        window.commands().into_iter().filter_map(proxy).collect()
    };
    let mut window = Window::open(lobby());
    window.click("Settings");
    window.fill("Proxy", "socks5://proxy.example");
    assert!(
        window.shows(
            "This is no proxy. Write http://, a name and a port; or none; or leave it empty."
        )
    );
    window.press(Modifiers::NONE, Key::Escape);
    assert_eq!(proxies(&mut window), []);

    let mut window = Window::open(lobby());
    window.click("Settings");
    window.fill("Proxy", "http://proxy.example:3128");
    window.press(Modifiers::NONE, Key::Escape);
    let expected: ProxyChoice = "http://proxy.example:3128".parse().unwrap();
    assert_eq!(proxies(&mut window), [expected]);
}
