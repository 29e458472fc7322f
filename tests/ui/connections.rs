//! How connections are doing, as the window tells it: on tiles, on cards and on the panel.

use std::time::Duration;

use egui::{Key, Modifiers, Rect, accesskit::Role, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use nonstop::{
    call::{Attempt, Cause, Obstacle, PauseReason, Quality, Side, Stage, Trying, View},
    config::Appearance,
};

use crate::scene::*;

const KEYS: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);

/// A call with that many others, a minute of figures for each.
fn measured(others: usize) -> View {
    let mut view = call(others);
    let minute = minute();
    change(&mut view, |person| person.history = minute.clone());
    view
}

/// Returns what each graph says to who cannot see it.
fn graphs(window: &Window) -> Vec<String> {
    window
        .harness
        .query_all_by_role(Role::Image)
        .filter_map(|node| node.accesskit_node().label())
        .collect()
}

#[test]
fn the_figures_open_with_keys_and_close_with_keys_and_button() {
    let mut window = Window::open(measured(1));
    assert!(!window.has("Close connections"));
    window.press(KEYS, Key::D);
    assert!(window.shows("Connections"));
    assert_eq!(window.commands(), [], "the microphone has the shorter keys");
    window.press(KEYS, Key::D);
    assert!(!window.has("Close connections"));
    window.press(KEYS, Key::D);
    window.click("Close connections");
    assert!(!window.has("Close connections"));
}

#[test]
fn the_figures_open_from_the_card_of_a_connection() {
    let mut window = Window::open(measured(2));
    window.click("Connection to Grace Hopper: good");
    window.click("Show the figures of Grace Hopper");
    assert!(window.has("Close connections"));
    assert!(
        !window.shows("Direct to Grace Hopper, 18 ms"),
        "the card is gone"
    );
}

#[test]
fn the_panel_says_the_verdict_first_and_then_every_figure() {
    let mut window = Window::open(measured(1));
    window.press(KEYS, Key::D);
    assert!(window.has("Ada Lovelace: Good"));
    for words in [
        "Direct to Ada Lovelace, 18 ms, over UDP",
        "To them 1280 × 720, 30 pictures a second",
        "From them 640 × 360, 25 pictures a second",
        "Your picture is encoded for them alone.",
        "Sent 1.9 Mb/s",
        "Target 2 Mb/s",
        "Estimate 2.4 Mb/s",
        "Round trip 18 ms",
        "Queue 3 ms",
        "To them 0 %",
        "From them 0.5 %",
    ] {
        assert!(window.shows(words), "{words}");
    }
    let graphs = graphs(&window);
    assert_eq!(graphs.len(), 3, "{graphs:?}");
    let rate = "Rate to them, with Ada Lovelace, last minute. \
        Sent 1.9 Mb/s, between 1.9 Mb/s and 1.9 Mb/s. \
        Target 2 Mb/s, between 2 Mb/s and 2 Mb/s. \
        Estimate 2.4 Mb/s, between 2.4 Mb/s and 2.4 Mb/s";
    assert_eq!(graphs[0], rate);
}

#[test]
fn links_that_share_an_encoder_say_so() {
    let mut window = Window::open(measured(2));
    window.press(KEYS, Key::D);
    assert!(window.shows("Your picture is encoded once for them and others."));
    assert!(!window.shows("Your picture is encoded for them alone."));
}

#[test]
fn there_are_no_graphs_while_the_panel_is_closed_or_folded() {
    let mut window = Window::open(measured(2));
    assert_eq!(graphs(&window).len(), 0);
    window.press(KEYS, Key::D);
    assert_eq!(graphs(&window).len(), 6);
    window.click("Ada Lovelace: Good");
    assert_eq!(graphs(&window).len(), 3);
    window.click("Ada Lovelace: Good");
    assert_eq!(graphs(&window).len(), 6);
    window.click("Close connections");
    assert_eq!(graphs(&window).len(), 0);
}

#[test]
fn the_panel_asks_for_one_paint_a_second() {
    let mut view = measured(3);
    change(&mut view, |person| person.picture = None);
    view.me.picture = None;
    let mut window = Window::open(view);
    window.press(KEYS, Key::D);
    // The tiles made room for the panel: their new size is told first.
    std::thread::sleep(Duration::from_millis(600));
    window.pass(Duration::from_secs(5));
    let outputs = &window.harness.output().viewport_output;
    let soonest = outputs.values().map(|output| output.repaint_delay).min();
    let soonest = soonest.expect("one window");
    assert!(soonest > Duration::from_millis(800), "{soonest:?}");
    assert!(soonest <= Duration::from_secs(1), "{soonest:?}");
}

#[test]
fn people_and_panel_share_a_wide_window_and_controls_stay_in_a_small_one() {
    for size in [
        vec2(360.0, 360.0),
        vec2(480.0, 800.0),
        vec2(860.0, 600.0),
        vec2(1920.0, 1080.0),
    ] {
        let mut window = Window::open_with(measured(4), None, size);
        window.press(KEYS, Key::D);
        let inside = Rect::from_min_size(egui::Pos2::ZERO, size).expand(0.5);
        let place = |label: &str| {
            let node = window.harness.query_by_label(label);
            node.unwrap_or_else(|| panic!("{label} in {size}")).rect()
        };
        let close = place("Close connections");
        assert!(inside.contains_rect(close), "{close} in {size}");
        for label in ["Turn microphone off", "Turn camera off", "Leave"] {
            let button = place(label);
            assert!(inside.contains_rect(button), "{label} {button} in {size}");
            assert!(!button.intersects(close));
        }
        let tiles = window.tiles().count();
        assert_eq!(tiles, if size.x < 852.0 { 0 } else { 5 }, "{size}");
        let unnamed = window.harness.unnamed_widgets();
        assert!(unnamed.is_empty(), "{size}: {unnamed:?}");
    }
}

#[test]
fn every_person_is_reached_with_the_keyboard() {
    let mut window = Window::open_with(measured(4), None, vec2(1280.0, 480.0));
    window.press(KEYS, Key::D);
    let mut reached = Vec::new();
    for _ in 0..40 {
        window.press(Modifiers::NONE, Key::Tab);
        let focused = window.harness.root().children_recursive().find(|node| {
            node.is_focused() && node.accesskit_node().role() == Role::DisclosureTriangle
        });
        if let Some(node) = focused {
            reached.extend(node.accesskit_node().label());
        }
    }
    for name in NAMES {
        let head = format!("{name}: Good");
        assert!(reached.contains(&head), "{name}: {reached:?}");
    }
}

#[test]
fn the_panel_shows_in_the_light_window_and_with_nobody_there() {
    let mut view = measured(1);
    view.settings.appearance = Appearance::Light;
    let mut window = Window::open(view);
    window.press(KEYS, Key::D);
    assert_eq!(graphs(&window).len(), 3);
    window.show(call(0));
    assert!(window.shows("Nobody else is here yet."));
}

#[test]
fn figures_that_are_not_known_are_said_to_be_unknown() {
    let mut view = call(1);
    change(&mut view, |person| {
        person.quality = Quality::Unknown;
    });
    let mut window = Window::open(view);
    window.press(KEYS, Key::D);
    assert!(window.has("Ada Lovelace: Not known yet"));
    assert_eq!(graphs(&window).len(), 0);
}

#[test]
fn a_connection_that_is_not_good_says_why_on_its_card() {
    let mut view = measured(1);
    change(&mut view, |person| {
        person.quality = Quality::Fair;
        person.cause = Some(Cause::Upload);
        person.side = Side::Theirs;
    });
    let mut window = Window::open(view);
    window.click("Connection to Ada Lovelace: slow");
    assert!(window.shows("Ada Lovelace's connection is slow, so your picture is sent smaller."));
    window.press(KEYS, Key::D);
    assert!(window.has("Ada Lovelace: Weak: their connection is slow"));
}

#[test]
fn a_tile_says_that_its_picture_is_paused_and_why() {
    let mut view = call(1);
    change(&mut view, |person| {
        person.video_paused = Some(PauseReason::SlowConnection);
        person.side = Side::Theirs;
    });
    let mut window = Window::open(view.clone());
    let tile = window.tiles().next().expect("a tile");
    assert_eq!(
        tile,
        "Ada Lovelace, Picture paused: their connection is too slow"
    );
    change(&mut view, |person| person.camera = false);
    window.show(view);
    let tile = window.tiles().next().expect("a tile");
    assert_eq!(tile, "Ada Lovelace, camera off");
}

#[test]
fn the_call_is_told_how_large_everybody_is_shown_and_once() {
    let mut window = Window::open(call(2));
    let told = window.viewed();
    assert_eq!(told.len(), 1, "{told:?}");
    let ids: Vec<u64> = told[0].iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 2]);
    for (_, size) in &told[0] {
        let place = f64::from(size.width) / f64::from(size.height);
        assert!((place - 16.0 / 9.0).abs() < 0.02, "{size}");
        assert!(size.width > 500, "{size}");
    }
    window.pass(Duration::from_secs(3));
    assert!(window.viewed().is_empty());
}

#[test]
fn a_hidden_window_says_that_nobody_is_shown() {
    let mut window = Window::open(call(1));
    let shown = window.viewed();
    window.minimise(true);
    assert_eq!(window.viewed(), [Vec::new()]);
    std::thread::sleep(Duration::from_millis(500));
    window.minimise(false);
    assert_eq!(window.viewed(), shown);
}

#[test]
fn a_tile_says_what_is_tried_and_what_is_in_the_way() {
    let mut view = call(1);
    let mut tile = |stage, trying, obstacle| {
        change(&mut view, |person| {
            person.stage = stage;
            person.picture = None;
            person.attempt = Attempt {
                trying,
                obstacle,
                ..Attempt::default()
            };
        });
        let window = Window::open(view.clone());
        let tile = window.tiles().next();
        tile.expect("a tile")
    };
    let connecting = Stage::Connecting;
    assert_eq!(
        tile(connecting, Some(Trying::Direct), None),
        "Ada Lovelace, Connecting directly…"
    );
    assert_eq!(
        tile(connecting, Some(Trying::RelayTls), None),
        "Ada Lovelace, Trying a relay over TLS…"
    );
    assert_eq!(
        tile(Stage::Failed, None, Some(Obstacle::OnlyTheWeb)),
        "Ada Lovelace, No way to Ada Lovelace yet. This network lets nothing but the web through, and the meeting server offers no relay over TLS."
    );
}

#[test]
fn the_card_says_the_way_and_whose_network_blocks_udp() {
    for (path, side, words) in [
        (
            "turn-udp",
            Side::Unknown,
            "To Ada Lovelace through a relay over UDP, 18 ms",
        ),
        (
            "turn-tcp",
            Side::Theirs,
            "Ada Lovelace's network blocks UDP.",
        ),
        ("turn-tls", Side::Ours, "This network blocks UDP."),
    ] {
        let mut view = call(1);
        change(&mut view, |person| {
            person.path = path.into();
            person.attempt.udp_blocked = side;
        });
        let mut window = Window::open(view);
        window.click("Connection to Ada Lovelace: good");
        assert!(window.shows(words), "{words}");
    }
}
