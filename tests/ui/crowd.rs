//! Calls of many: pages, pins, who speaks, the list of people, and how relayed media is told of.

use std::{collections::HashSet, time::Duration};

use egui::{Key, Modifiers, Rect, Vec2, accesskit::Role, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use nonstop::{
    call::{Command, Protection, Screen, View},
    config::{Appearance, Layout},
};

use crate::scene::*;

/// A call with that many others, called Guest 1, Guest 2 and so on.
fn crowd(others: u64) -> View {
    let mut view = call(1);
    if let Screen::Call(call) = &mut view.screen {
        let first = call.participants[0].clone();
        call.participants = (1..=others)
            .map(|id| {
                let mut person = first.clone();
                person.id = id;
                person.name = format!("Guest {id}");
                person.picture = Some(still(id + 1));
                person
            })
            .collect();
    }
    view
}

fn relayed(mut view: View, all: bool) -> View {
    change(&mut view, |person| {
        if all || person.id > 1 {
            person.path = "relay".into();
            person.protection = Protection::ToTheServer;
        }
    });
    if let Screen::Call(call) = &mut view.screen {
        call.protection = Protection::ToTheServer;
    }
    view
}

/// Returns whom the call was told last to be shown.
fn asked_for(window: &mut Window) -> Vec<u64> {
    let last = window.viewed().pop().expect("it was told");
    last.into_iter().map(|(id, _)| id).collect()
}

/// Lets the half second pass that lies between two tellings of who is shown.
fn settle(window: &mut Window) {
    std::thread::sleep(Duration::from_millis(520));
    window.run();
}

#[test]
fn only_those_on_the_page_are_asked_for_and_pages_turn_with_keys_and_buttons() {
    let mut window = Window::open(crowd(199));
    assert!(window.shows("Page 1 of 6"));
    let first = asked_for(&mut window);
    assert_eq!(first, (1..=35).collect::<Vec<_>>());
    settle(&mut window);
    window.press(Modifiers::NONE, Key::PageDown);
    settle(&mut window);
    assert!(window.shows("Page 2 of 6"));
    assert_eq!(asked_for(&mut window), (36..=70).collect::<Vec<_>>());
    window.click("Next page");
    assert!(window.shows("Page 3 of 6"));
    window.click("Previous page");
    window.press(Modifiers::NONE, Key::PageUp);
    assert!(window.shows("Page 1 of 6"));
    window.press(Modifiers::NONE, Key::PageUp);
    assert!(window.shows("Page 1 of 6"));
    settle(&mut window);
    assert_eq!(asked_for(&mut window), first);
}

#[test]
fn a_large_screen_shows_forty_nine_tiles_and_a_small_window_few() {
    let tiles = |size: Vec2| Window::open_with(crowd(199), None, size).tiles().count();
    assert_eq!(tiles(vec2(1920.0, 1080.0)), 49);
    assert_eq!(tiles(vec2(3840.0, 2160.0)), 49);
    assert_eq!(tiles(vec2(640.0, 480.0)), 6);
    assert!(tiles(vec2(360.0, 360.0)) <= 3);
}

#[test]
fn controls_of_a_crowd_neither_overlap_nor_leave_the_window_and_have_names() {
    for size in [
        vec2(360.0, 360.0),
        vec2(480.0, 800.0),
        vec2(640.0, 480.0),
        vec2(1280.0, 800.0),
        vec2(1920.0, 1080.0),
    ] {
        for layout in [Layout::Gallery, Layout::Speaker] {
            for (others, relay) in [(2, false), (8, true), (199, true)] {
                let mut view = crowd(others);
                view.settings.layout = layout;
                if relay {
                    view = relayed(view, true);
                }
                let window = Window::open_with(view, None, size);
                let inside = Rect::from_min_size(egui::Pos2::ZERO, size).expand(0.5);
                let unnamed = window.harness.unnamed_widgets();
                assert!(unnamed.is_empty(), "{size}: {unnamed:?}");
                let controls = window.controls();
                for (index, (name, rect)) in controls.iter().enumerate() {
                    assert!(inside.contains_rect(*rect), "{name} {rect} in {size}");
                    for (other, place) in &controls[index + 1..] {
                        let apart = !rect.shrink(1.0).intersects(place.shrink(1.0));
                        assert!(apart, "{name} and {other}, {others} {layout:?} {size}");
                    }
                }
            }
        }
    }
}

#[test]
fn somebody_is_pinned_by_button_and_by_double_click_and_the_pin_comes_off() {
    let mut window = Window::open(crowd(12));
    window.click("Pin Guest 5");
    assert!(window.tiles().any(|tile| tile == "Guest 5, pinned"));
    let place = |window: &Window, label: &str| window.harness.get_by_label(label).rect();
    let large = place(&window, "Guest 5, pinned");
    assert!(large.width() > 3.0 * place(&window, "Guest 1").width());
    window.click("Unpin Guest 5");
    assert!(!window.tiles().any(|tile| tile.contains("pinned")));
    let middle = place(&window, "Guest 7").center();
    window.harness.hover_at(middle);
    for pressed in [true, false, true, false] {
        window.harness.event(egui::Event::PointerButton {
            pos: middle,
            button: egui::PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        });
    }
    window.run();
    assert!(window.tiles().any(|tile| tile == "Guest 7, pinned"));
    window.press(Modifiers::NONE, Key::Escape);
    assert!(!window.tiles().any(|tile| tile.contains("pinned")));
}

#[test]
fn whoever_is_pinned_is_asked_for_large_whatever_the_page() {
    let mut window = Window::open(crowd(199));
    window.click("Pin Guest 3");
    settle(&mut window);
    window.press(Modifiers::NONE, Key::PageDown);
    settle(&mut window);
    let told = window.viewed().pop().expect("it was told");
    assert_eq!(told[0].0, 3);
    assert!(
        told.iter()
            .skip(1)
            .all(|(_, size)| size.width * 3 < told[0].1.width)
    );
    let once: HashSet<u64> = told.iter().map(|(id, _)| *id).collect();
    assert_eq!(once.len(), told.len());
}

#[test]
fn the_layout_and_one_s_own_tile_are_chosen_from_a_menu_and_by_keys_and_remembered() {
    let mut window = Window::open(crowd(8));
    window.click("Layout");
    window.click("Speaker large");
    let remembered = |commands: Vec<Command>| match commands.last() {
        Some(Command::Settings(settings)) => (settings.layout, settings.show_myself),
        other => panic!("settings, not {other:?}"),
    };
    assert_eq!(remembered(window.commands()), (Layout::Speaker, true));
    window.press(Modifiers::COMMAND, Key::G);
    assert_eq!(remembered(window.commands()), (Layout::Gallery, true));
    window.click("Hide yourself");
    assert_eq!(remembered(window.commands()), (Layout::Gallery, false));
    assert!(!window.tiles().any(|tile| tile == "You"));
    window.click("Layout");
    window.click("Show yourself");
    assert!(window.tiles().any(|tile| tile == "You"));
}

#[test]
fn the_list_holds_everybody_and_paints_only_what_is_in_sight() {
    let mut window = Window::open(crowd(199));
    window.press(Modifiers::COMMAND, Key::P);
    assert!(window.shows("People") && window.shows("200"));
    let rows = window.harness.query_all_by_role(Role::ListItem).count();
    assert!((5..30).contains(&rows), "{rows}");
    assert!(window.has("Emmy Noether (you)"));
    window.press(Modifiers::NONE, Key::Escape);
    assert!(!window.has("Close people"));
    window.click("People");
    window.click("Close people");
    assert!(!window.has("Search people"));
}

#[test]
fn names_are_found_as_they_are_typed_and_pinned_with_the_keyboard() {
    let mut view = crowd(199);
    change(&mut view, |person| {
        if person.id == 150 {
            person.name = "Žofie Ångström".into();
            person.microphone = false;
        }
    });
    let mut window = Window::open(view);
    window.press(Modifiers::COMMAND, Key::P);
    window.fill("Search people", "angs zof");
    let rows: Vec<String> = window
        .harness
        .query_all_by_role(Role::ListItem)
        .filter_map(|node| node.accesskit_node().label())
        .collect();
    assert_eq!(rows, ["Žofie Ångström, microphone off, connection: Good"]);
    window.press(Modifiers::NONE, Key::Enter);
    assert!(
        window
            .tiles()
            .any(|tile| tile.starts_with("Žofie Ångström, pinned"))
    );
    window.fill("Search people", "xx");
    assert!(window.shows("Nobody here has such a name."));
}

#[test]
fn arrows_walk_through_the_whole_list() {
    let mut window = Window::open(crowd(60));
    window.press(Modifiers::COMMAND, Key::P);
    for _ in 0..40 {
        window.press(Modifiers::NONE, Key::ArrowDown);
    }
    window.press(Modifiers::NONE, Key::Enter);
    // By name, "Guest 10" comes before "Guest 2": the fortieth is Guest 45.
    assert!(window.tiles().any(|tile| tile == "Guest 45, pinned"));
    assert!(
        window.has("Guest 45, pinned, connection: Good"),
        "it is in sight"
    );
}

#[test]
fn relayed_media_is_said_in_words_on_the_card_and_by_its_mark() {
    let whole = "This call goes through the meeting server: encrypted on the way to it and from it, not from end to end";
    let partly = "Some of this call goes through the meeting server: encrypted on the way to it and from it, not from end to end";
    for appearance in [Appearance::Dark, Appearance::Light] {
        for size in [vec2(360.0, 500.0), vec2(640.0, 480.0), SIZE] {
            let mut view = crowd(3);
            view.settings.appearance = appearance;
            let direct = Window::open_with(view.clone(), None, size);
            assert!(!direct.has(whole) && !direct.has(partly));
            assert!(direct.has("Connection to Guest 1: good"));
            assert!(Window::open_with(relayed(view.clone(), true), None, size).has(whole));
            assert!(Window::open_with(relayed(view, false), None, size).has(partly));
        }
    }
    let mut window = Window::open(relayed(crowd(3), false));
    window.click("Connection to Guest 2: good, through the meeting server");
    assert!(window.shows("To Guest 2 through the meeting server, 18 ms"));
    let words = "Sound and pictures are encrypted on the way to the meeting server and from it, not from end to end: the server could see and hear.";
    assert!(window.shows(words));
}

#[test]
fn the_line_about_the_relay_stays_when_the_bars_go() {
    let mut window = Window::open(relayed(crowd(3), true));
    window.pass(Duration::from_secs(10));
    assert!(window.has("This call goes through the meeting server: encrypted on the way to it and from it, not from end to end"));
}

#[test]
fn the_figures_of_a_crowd_are_folded_until_they_are_asked_for() {
    let mut view = crowd(60);
    let minute = minute();
    change(&mut view, |person| person.history = minute.clone());
    let mut window = Window::open(view);
    window.press(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::D);
    let graphs = |window: &Window| window.harness.query_all_by_role(Role::Image).count();
    assert_eq!(graphs(&window), 0);
    window.click("Guest 2: Good");
    assert_eq!(graphs(&window), 3);
    window.press(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::D);
    window.click("Connection to Guest 30: good");
    window.click("Show the figures of Guest 30");
    assert!(graphs(&window) >= 3);
    assert!(window.has("Guest 30: Good"));
}
