//! Connections that are good, slow at one end, or slow at ours.

use nonstop_rate::Bitrate;
use nonstop_wire::Strain;

use super::*;
use crate::{
    call::{Cause, HISTORY_SPAN, Quality, Side, Trying},
    mesh::{LinkStats, Reach, RelayState, Ways},
};

const LOSSY: f32 = 0.2;

impl Story {
    /// A call with that many others, each connected.
    fn connected_with(names: &[&str]) -> Self {
        let mut story = Self::in_a_call(names.len());
        for (number, name) in (1..).zip(names) {
            story.comes(number, name);
            let connected = LinkNews::Connected {
                path: Path::Direct,
                after: SECOND,
            };
            story.news(number, connected);
        }
        story
    }

    fn news(&mut self, number: u64, event: LinkNews) {
        self.mesh(MeshEvent::Link {
            id: id(number),
            event,
        });
    }

    /// Lets seconds pass in which each link loses that share of what is sent.
    fn seconds(&mut self, seconds: usize, losses: &[f32]) {
        for _ in 0..seconds {
            for (number, loss) in (1..).zip(losses) {
                let stats = LinkStats {
                    loss_sent: Some(*loss),
                    target: Some(Bitrate::from_kbps(800)),
                    ..LinkStats::default()
                };
                self.news(number, LinkNews::Stats(Box::new(stats)));
            }
            self.passes(SECOND);
        }
    }
}

#[test]
fn the_last_minute_of_each_link_is_in_the_view() {
    let mut story = Story::connected_with(&["Grace", "Edsger"]);
    story.seconds(90, &[0.01, 0.02]);
    let people = story.people();
    for (person, loss) in people.iter().zip([0.01, 0.02]) {
        let samples = person.history.samples();
        assert!(samples.clone().count() >= 60);
        let oldest = samples.map(|sample| sample.at).min();
        assert!(oldest >= Some(story.now - HISTORY_SPAN - SECOND));
        let newest = person.history.newest().expect("figures came");
        assert_eq!(newest.loss_sent, Some(loss));
        assert_eq!(newest.target, Some(Bitrate::from_kbps(800)));
    }
}

/// What somebody with three links says, all of which carry too little towards them, or one.
fn theirs(down: u32) -> LinkNews {
    LinkNews::Strain(Strain {
        links: 3,
        up: 0,
        down,
    })
}

#[test]
fn one_slow_connection_of_several_is_theirs_where_they_say_so() {
    let mut story = Story::connected_with(&["Grace", "Edsger"]);
    story.news(1, theirs(3));
    story.seconds(10, &[LOSSY, 0.0]);
    assert_eq!(
        story.texts(),
        ["Grace's connection is slow. Pictures are smaller for it; sound goes first."]
    );
    let people = story.people();
    let told = |person: &Participant| (person.quality, person.cause, person.side);
    let slow = (Quality::Poor, Some(Cause::Loss), Side::Theirs);
    assert_eq!(told(&people[0]), slow);
    assert_eq!(told(&people[1]), (Quality::Good, None, Side::Unknown));
}

#[test]
fn a_connection_between_two_that_are_well_otherwise_is_nobody_s() {
    let mut story = Story::connected_with(&["Grace", "Edsger"]);
    story.news(1, theirs(1));
    story.seconds(10, &[LOSSY, 0.0]);
    assert!(story.texts()[0].starts_with("The connection to Grace is slow."));
    assert_eq!(story.people()[0].side, Side::Unknown);
}

#[test]
fn where_everybody_says_that_all_is_slow_nobody_is_blamed() {
    let mut story = Story::connected_with(&["Grace", "Edsger"]);
    story.news(1, theirs(3));
    story.news(2, theirs(3));
    story.seconds(10, &[LOSSY, LOSSY]);
    assert!(story.texts()[0].starts_with("All connections of this call are slow."));
}

#[test]
fn the_others_are_told_how_our_links_do_when_that_changes() {
    let mut story = Story::connected_with(&["Grace", "Edsger"]);
    story.collect();
    story.effects.clear();
    story.seconds(3, &[0.0, 0.0]);
    story.seconds(3, &[LOSSY, 0.0]);
    story.seconds(3, &[LOSSY, LOSSY]);
    story.collect();
    let told = story.effects.iter().filter_map(|effect| match effect {
        Effect::Strain(strain) => Some((strain.links, strain.up, strain.down)),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told, [(2, 0, 0), (2, 1, 0), (2, 2, 0)]);
}

#[test]
fn where_all_connections_are_slow_it_is_ours() {
    let mut story = Story::connected_with(&["Grace", "Edsger"]);
    story.seconds(10, &[LOSSY, LOSSY]);
    assert_eq!(story.notices().len(), 1);
    assert!(story.texts()[0].starts_with("Your upload is slow."));
    assert!(
        story
            .people()
            .iter()
            .all(|person| person.side == Side::Ours)
    );
}

#[test]
fn a_single_connection_does_not_tell_whose_it_is() {
    let mut story = Story::connected_with(&["Grace"]);
    story.seconds(10, &[LOSSY]);
    assert!(story.texts()[0].starts_with("The connection to Grace is slow."));
    assert_eq!(story.people()[0].side, Side::Unknown);
}

#[test]
fn a_hiccup_is_no_notice_and_a_notice_goes_by_itself() {
    let mut story = Story::connected_with(&["Grace"]);
    story.seconds(3, &[LOSSY]);
    story.seconds(10, &[0.0]);
    assert!(story.texts().is_empty());
    story.seconds(8, &[LOSSY]);
    assert_eq!(story.texts().len(), 1);
    story.seconds(5, &[0.0]);
    assert!(story.texts().is_empty());
}

#[test]
fn a_notice_put_away_stays_away_and_the_lobby_has_none() {
    let mut story = Story::connected_with(&["Grace"]);
    story.seconds(8, &[LOSSY]);
    let notice = story.notices().remove(0);
    assert_eq!(notice.kind, NoticeKind::Connection);
    story.command(Command::Dismiss(notice.id));
    story.seconds(20, &[LOSSY]);
    assert!(story.texts().is_empty());

    let mut story = Story::connected_with(&["Grace"]);
    story.seconds(8, &[LOSSY]);
    story.command(Command::Leave);
    assert!(story.texts().is_empty());
}

#[test]
fn a_connection_that_is_being_restored_says_nothing_of_the_others() {
    let mut story = Story::connected_with(&["Grace", "Edsger"]);
    story.news(2, LinkNews::Interrupted);
    story.seconds(10, &[LOSSY]);
    assert!(story.texts()[0].starts_with("The connection to Grace is slow."));
}

#[test]
fn a_hidden_window_does_not_mistake_missing_pictures_for_a_bad_connection() {
    let mut story = Story::connected_with(&["Grace"]);
    let still = LinkStats {
        received_size: Some(Size::new(1280, 720)),
        decoded_fps: Some(0.0),
        ..LinkStats::default()
    };
    let second = |story: &mut Story| {
        story.news(1, LinkNews::Stats(Box::new(still.clone())));
        story.passes(SECOND);
        story.people()[0].quality
    };
    assert_eq!(second(&mut story), Quality::Poor, "pictures are expected");
    story.command(Command::Viewed(Vec::new()));
    let hidden = (0..6).map(|_| second(&mut story)).last();
    assert_eq!(hidden, Some(Quality::Good));
}

#[test]
fn our_own_pause_counts_as_much_as_theirs_and_ends_with_the_first_picture() {
    let mut story = Story::connected_with(&["Grace"]);
    let sending = |kbps| LinkStats {
        video_sent: Some(Bitrate::from_kbps(kbps)),
        ..LinkStats::default()
    };
    let pass = |story: &mut Story, seconds: usize, kbps| {
        for _ in 0..seconds {
            story.news(1, LinkNews::Stats(Box::new(sending(kbps))));
            story.passes(SECOND);
        }
        story.people()[0].cause
    };
    story.news(1, LinkNews::VideoPaused);
    assert_eq!(pass(&mut story, 3, 0), Some(Cause::Paused));
    assert_eq!(pass(&mut story, 6, 300), None);
}

#[test]
fn that_udp_is_blocked_is_said_once_a_call() {
    let mut story = Story::connected_with(&["Grace", "Edsger"]);
    let ways = |udp| {
        LinkNews::Ways(Ways {
            checking: Vec::new(),
            reach: Reach {
                udp,
                relays: [
                    RelayState::Failed,
                    RelayState::NotOffered,
                    RelayState::Works,
                ],
            },
        })
    };
    story.news(1, LinkNews::PathChanged(Path::TurnTls));
    story.news(1, ways(None));
    assert!(story.texts().is_empty(), "not known yet");
    story.news(1, ways(Some(false)));
    let said = ["This network blocks UDP: connected through TLS. Expect less quality."];
    assert_eq!(story.texts(), said);
    story.news(2, LinkNews::PathChanged(Path::TurnTls));
    story.news(2, ways(Some(false)));
    assert_eq!(story.texts(), said);
    story.passes(13 * SECOND);
    story.news(2, ways(Some(false)));
    assert!(story.texts().is_empty());
    assert_eq!(story.people()[0].attempt.udp_blocked, Side::Ours);
}

#[test]
fn what_is_tried_to_reach_somebody_is_in_the_view() {
    let mut story = Story::in_a_call(1);
    story.comes(1, "Grace");
    story.news(
        1,
        LinkNews::Ways(Ways {
            checking: vec![Path::Direct, Path::TurnUdp],
            reach: Reach::default(),
        }),
    );
    assert_eq!(story.people()[0].attempt.trying, Some(Trying::Relay));
}
