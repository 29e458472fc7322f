//! The connection test in the lobby.

use super::*;

#[test]
fn a_test_begins_with_the_pasted_link_or_the_server_of_the_settings_in_a_room_of_its_own() {
    let mut story = Story::begin(Settings {
        server: Some("https://settings.example.org".into()),
        ..Settings::default()
    });
    let started = |story: &mut Story| {
        let found = story.effects.drain(..).find_map(|effect| match effect {
            Effect::StartTrial { link, .. } => Some(link),
            _ => None,
        });
        found.expect("a test was started")
    };
    story.command(Command::TestConnection(Some(LINK.into())));
    let link = started(&mut story);
    assert_eq!(link.host(), "meet.example.org");
    assert_ne!(link.room().as_str(), "standup", "nobody there notices");
    story.command(Command::TestConnection(None));
    assert_eq!(started(&mut story).host(), "settings.example.org");
    let view = story.state.view().trial.expect("a test is shown");
    assert!(view.running);
    assert_eq!(view.host, "settings.example.org");
}

#[test]
fn a_test_without_a_server_says_what_is_missing() {
    let mut story = Story::begin(Settings::default());
    story.effects.clear();
    story.command(Command::TestConnection(None));
    let view = story.state.view().trial.expect("words");
    assert!(!view.running);
    assert!(
        view.summary
            .starts_with("There is no meeting server to test with.")
    );
    assert_eq!(story.effects, []);
}

#[test]
fn a_test_is_stopped_put_away_and_ended_by_a_meeting() {
    let mut story = Story::begin(Settings::default());
    let stops = |story: &Story| {
        let stops = story.effects.iter();
        stops.filter(|effect| **effect == Effect::StopTrial).count()
    };
    story.command(Command::TestConnection(Some(LINK.into())));
    story.command(Command::StopTest);
    assert_eq!(stops(&story), 1);
    assert!(story.state.view().trial.is_some_and(|trial| !trial.running));
    story.command(Command::EndTest);
    assert!(story.state.view().trial.is_none());
    assert_eq!(stops(&story), 1, "it was over");
    story.command(Command::TestConnection(Some(LINK.into())));
    story.command(Command::Join(LINK.into()));
    assert_eq!(stops(&story), 2);
    assert!(story.state.view().trial.is_none());
    story.command(Command::TestConnection(Some(LINK.into())));
    assert!(story.state.view().trial.is_none(), "not while joining");
}
