//! A call that outgrows a mesh, and shrinks again.

use nonstop_wire::Topology;

use super::*;
use crate::mesh::room::RelayedNews;

const CAT: ParticipantId = ParticipantId::from_bits(0xc);
const DAN: ParticipantId = ParticipantId::from_bits(0xd);
const OTHERS: [ParticipantId; 4] = [ANN, BOB, CAT, DAN];

impl Scene {
    /// A mesh of five on a server with a relay, to which there is a way.
    fn five() -> Self {
        let mut scene = Self::outside();
        let mut welcome = welcome(&OTHERS, false);
        welcome.relay = true;
        scene.room.handle_welcome(&welcome, scene.now);
        for id in OTHERS {
            scene.hear_relayed_state(id);
            scene.link(id, LinkEvent::Connected(Path::Direct));
        }
        scene.room.handle_relay_up(scene.now);
        for id in OTHERS {
            scene.room.handle_published(id, false, scene.now);
        }
        scene.effects();
        scene
    }

    /// A sixth came, everybody takes the relay, and links were let go.
    fn six() -> Self {
        let mut scene = Self::five();
        scene.topology(Topology::Relay);
        scene.room.handle_joined(EVE, scene.now);
        for id in OTHERS {
            scene.through_relay(id);
            scene.link(id, LinkEvent::Carried(true));
        }
        scene.wait(secs(10));
        scene
    }

    /// Somebody with a way to the relay describes themselves.
    fn hear_relayed_state(&mut self, from: ParticipantId) {
        let mut state = state("them", vec![ParticipantId::from_bits(ME)]);
        state.relay = true;
        self.hear(from, PeerMessage::State(state));
    }

    fn topology(&mut self, topology: Topology) {
        self.room.handle_topology(topology, self.now);
    }

    fn through_relay(&mut self, id: ParticipantId) {
        self.room.handle_relayed(id, RelayedNews::Sound, self.now);
        self.room.handle_relayed(id, RelayedNews::Picture, self.now);
    }

    fn straight(&mut self, id: ParticipantId) {
        self.link(id, LinkEvent::Sound);
        self.link(id, LinkEvent::Picture);
    }
}

fn carries(effects: &[Effect]) -> Vec<(ParticipantId, bool, bool)> {
    let carry = |effect: &Effect| match effect {
        Effect::Carry { id, taken, carried } => Some((*id, *taken, *carried)),
        _ => None,
    };
    effects.iter().filter_map(carry).collect()
}

fn news(effects: &[Effect], of: ParticipantId) -> Vec<LinkNews> {
    let news = |effect: &Effect| match effect {
        Effect::News { id, news } if *id == of => Some(news.clone()),
        _ => None,
    };
    effects.iter().filter_map(news).collect()
}

fn stops(timeline: &[(Duration, Effect)]) -> Vec<(Duration, ParticipantId)> {
    let stop = |(at, effect): &(Duration, Effect)| match effect {
        Effect::StopLink { id } => Some((*at, *id)),
        _ => None,
    };
    timeline.iter().filter_map(stop).collect()
}

fn everything(timeline: Vec<(Duration, Effect)>) -> Vec<Effect> {
    timeline.into_iter().map(|(_, effect)| effect).collect()
}

#[test]
fn a_way_to_the_relay_is_kept_from_three_on_and_told() {
    let mut scene = Scene::outside();
    let mut welcome = welcome(&[ANN], false);
    welcome.relay = true;
    scene.room.handle_welcome(&welcome, scene.now);
    scene.hear_state(ANN, &[]);
    assert!(!scene.effects().contains(&Effect::OpenRelay));
    scene.room.handle_joined(BOB, scene.now);
    let effects = scene.effects();
    assert!(effects.contains(&Effect::OpenRelay));
    let told = |effect: &Effect| match effect {
        Effect::Send {
            message: PeerMessage::State(state),
            ..
        } => state.relay,
        _ => false,
    };
    assert!(effects.iter().any(told), "{effects:?}");
    scene.room.handle_relay_up(scene.now);
    assert_eq!(scene.effects(), [Effect::Publish { preferred: false }]);
    scene.room.handle_joined(EVE, scene.now);
    assert!(!scene.effects().contains(&Effect::OpenRelay), "only one");
}

#[test]
fn links_are_let_go_once_the_relay_carries_both_ways() {
    let mut scene = Scene::five();
    scene.topology(Topology::Relay);
    let effects = scene.effects();
    assert_eq!(effects[0], Effect::Topology(Topology::Relay));
    assert_eq!(carries(&effects), OTHERS.map(|id| (id, true, false)));
    assert!(news(&effects, ANN).is_empty(), "it still comes straight");
    scene.room.handle_joined(EVE, scene.now);
    assert_eq!(stops(&scene.wait(secs(10))), [], "nothing has come yet");

    scene.through_relay(ANN);
    assert_eq!(carries(&scene.effects()), [], "both go on for a moment");
    let effects = everything(scene.wait(secs(1)));
    assert_eq!(carries(&effects), [(ANN, true, true)]);
    assert!(news(&effects, ANN).contains(&LinkNews::PathChanged(Path::Relay)));
    assert_eq!(stops(&scene.wait(secs(10))), [], "they still need it");
    scene.link(ANN, LinkEvent::Carried(true));
    let timeline = scene.wait(secs(10));
    assert_eq!(stops(&timeline), [(secs(3), ANN)]);
    assert!(
        news(&everything(timeline), ANN).is_empty(),
        "nobody notices"
    );
    assert_eq!(starts(&everything(scene.wait(secs(60)))), []);
}

#[test]
fn back_in_a_mesh_links_are_taken_up_before_the_relay_is_let_go() {
    let mut scene = Scene::six();
    scene
        .room
        .handle_left(EVE, DepartureReason::Left, scene.now);
    let effects = scene.effects();
    // Of two, the smaller id offers: theirs are all smaller than ours.
    assert_eq!(starts(&effects), OTHERS.map(|id| (id, false)));
    scene.topology(Topology::Mesh);
    assert_eq!(carries(&scene.effects()), []);
    scene.link(ANN, LinkEvent::Connected(Path::Direct));
    let effects = scene.effects();
    assert_eq!(carries(&effects), [(ANN, true, false)]);
    assert!(news(&effects, ANN).is_empty());
    scene.straight(ANN);
    assert_eq!(carries(&scene.effects()), [], "both go on for a moment");
    let effects = everything(scene.wait(secs(1)));
    assert_eq!(carries(&effects), [(ANN, false, false)]);
    assert_eq!(news(&effects, ANN), [LinkNews::PathChanged(Path::Direct)]);
}

#[test]
fn while_few_still_take_the_relay_links_stand_by_for_its_end() {
    let mut scene = Scene::six();
    scene
        .room
        .handle_left(EVE, DepartureReason::Left, scene.now);
    assert_eq!(starts(&scene.effects()).len(), 4);
    for id in OTHERS {
        scene.link(id, LinkEvent::Connected(Path::Direct));
        scene.link(id, LinkEvent::Carried(true));
    }
    let timeline = scene.wait(secs(20));
    assert_eq!(stops(&timeline), []);
    assert_eq!(carries(&everything(timeline)), []);
    scene.room.handle_relay_down(scene.now);
    let effects = scene.effects();
    assert_eq!(carries(&effects), OTHERS.map(|id| (id, false, false)));
    assert_eq!(news(&effects, ANN), [LinkNews::PathChanged(Path::Direct)]);
}

#[test]
fn a_newcomer_to_a_relayed_call_makes_no_links() {
    let mut scene = Scene::outside();
    let mut welcome = welcome(&[ANN, BOB, CAT, DAN, EVE], false);
    welcome.relay = true;
    welcome.topology = Topology::Relay;
    scene.room.handle_welcome(&welcome, scene.now);
    scene.hear_relayed_state(ANN);
    let effects = scene.effects();
    assert!(effects.contains(&Effect::Joined { others: 5 }));
    assert!(effects.contains(&Effect::OpenRelay));
    assert_eq!(starts(&effects), []);
    scene.room.handle_relay_up(scene.now);
    scene.room.handle_published(ANN, false, scene.now);
    let effects = scene.effects();
    assert_eq!(carries(&effects), [(ANN, true, true)]);
    let connected = |news: &LinkNews| {
        matches!(
            news,
            LinkNews::Connected {
                path: Path::Relay,
                ..
            }
        )
    };
    assert!(news(&effects, ANN).iter().any(connected));
}

#[test]
fn who_has_no_way_to_the_relay_keeps_links_and_is_told() {
    let mut scene = Scene::outside();
    let mut welcome = welcome(&[ANN, BOB, CAT, DAN, EVE], false);
    welcome.relay = true;
    welcome.topology = Topology::Relay;
    scene.room.handle_welcome(&welcome, scene.now);
    scene.hear_relayed_state(ANN);
    // Bob says that he has none.
    scene.hear_state(BOB, &[]);
    assert_eq!(starts(&scene.effects()), [(BOB, false)]);
    let timeline = scene.wait(secs(12));
    let at = |wanted: &dyn Fn(&Effect) -> bool| {
        timeline
            .iter()
            .find(|(_, effect)| wanted(effect))
            .map(|(at, _)| *at)
    };
    let link = at(&|effect| matches!(effect, Effect::StartLink { id, .. } if *id == ANN));
    assert_eq!(link, Some(secs(5)), "our own way was not found");
    assert_eq!(
        at(&|effect| *effect == Effect::RelayUnreachable(true)),
        Some(secs(10))
    );
    scene.room.handle_relay_up(scene.now);
    assert!(scene.effects().contains(&Effect::RelayUnreachable(false)));
}

#[test]
fn without_a_server_nothing_is_said_of_the_way_to_the_relay() {
    let mut scene = Scene::five();
    scene.room.handle_relay_down(scene.now);
    scene.room.handle_disconnected(scene.now);
    let mut timeline = scene.wait(secs(30));
    let mut welcome = welcome(&[ANN, BOB, CAT, DAN], false);
    welcome.relay = true;
    scene.room.handle_welcome(&welcome, scene.now);
    timeline.extend(scene.wait(secs(9)));
    let warned = |(_, effect): &(_, Effect)| *effect == Effect::RelayUnreachable(true);
    assert!(!timeline.iter().any(warned));
    assert!(scene.wait(secs(2)).iter().any(warned));
}

#[test]
fn one_who_publishes_for_want_of_uplink_is_taken_in_so_in_a_mesh() {
    let mut scene = Scene::five();
    scene.room.handle_published(ANN, true, scene.now);
    assert_eq!(carries(&scene.effects()), [(ANN, true, false)]);
    scene.through_relay(ANN);
    let effects = everything(scene.wait(secs(1)));
    assert_eq!(carries(&effects), [(ANN, true, true)]);
    scene.link(ANN, LinkEvent::Carried(true));
    assert_eq!(stops(&scene.wait(secs(60))), [], "our media goes straight");
    scene.room.handle_published(ANN, false, scene.now);
    scene.straight(ANN);
    let all = carries(&everything(scene.wait(secs(1))));
    assert_eq!(all, [(ANN, true, false), (ANN, false, false)]);

    scene.room.handle_starving(true, scene.now);
    assert_eq!(scene.effects(), [Effect::Publish { preferred: true }]);
    scene.room.handle_starving(false, scene.now);
    assert_eq!(scene.effects(), [Effect::Publish { preferred: false }]);
}

#[test]
fn a_relay_that_dies_interrupts_and_one_that_stays_away_is_replaced_by_links() {
    let mut scene = Scene::six();
    scene.room.handle_relay_down(scene.now);
    let effects = scene.effects();
    assert_eq!(carries(&effects), OTHERS.map(|id| (id, false, false)));
    assert_eq!(news(&effects, ANN), [LinkNews::Interrupted]);
    // It is back soon: nothing is made meanwhile.
    let timeline = scene.wait(secs(2));
    assert_eq!(starts(&everything(timeline)), []);
    scene.room.handle_relay_up(scene.now);
    scene.room.handle_published(ANN, false, scene.now);
    let effects = scene.effects();
    assert_eq!(carries(&effects), [(ANN, true, true)]);
    assert!(matches!(
        news(&effects, ANN)[..],
        [LinkNews::Connected {
            path: Path::Relay,
            ..
        }]
    ));
    // It stays away: links.
    scene.room.handle_relay_down(scene.now);
    let timeline = scene.wait(secs(6));
    assert_eq!(starts(&everything(timeline)).len(), 4);
}

#[test]
fn a_relayed_member_is_not_lost_with_their_way_to_the_server_but_leaves_at_once() {
    let mut scene = Scene::six();
    scene.room.handle_away(ANN, scene.now);
    assert_eq!(left(&scene.wait(secs(30))), []);
    scene
        .room
        .handle_left(BOB, DepartureReason::Left, scene.now);
    assert_eq!(left(&scene.wait(secs(0))), [(secs(0), BOB, false)]);
}

#[test]
fn a_server_that_forgot_us_does_not_make_a_mesh_of_a_large_call() {
    let mut scene = Scene::five();
    scene.topology(Topology::Relay);
    scene.room.handle_joined(EVE, scene.now);
    scene.hear_relayed_state(EVE);
    for id in OTHERS {
        scene.through_relay(id);
        scene.link(id, LinkEvent::Carried(true));
    }
    scene.wait(secs(10));
    scene.room.handle_relay_down(scene.now);
    scene.room.handle_disconnected(scene.now);
    scene.effects();
    let mut again = welcome(&[ANN], false);
    again.relay = true;
    scene.room.handle_welcome(&again, scene.now);
    let effects = scene.effects();
    assert_eq!(starts(&effects), []);
    assert!(!effects.contains(&Effect::Topology(Topology::Mesh)));
}

#[test]
fn in_a_large_room_little_is_said() {
    let crowd: Vec<_> = (100..250).map(ParticipantId::from_bits).collect();
    let mut scene = Scene::outside();
    let mut welcome = welcome(&crowd, false);
    welcome.relay = true;
    welcome.topology = Topology::Relay;
    scene.room.handle_welcome(&welcome, scene.now);
    for &id in &crowd {
        scene.hear_relayed_state(id);
    }
    scene.room.handle_relay_up(scene.now);
    scene.wait(secs(5));
    let timeline = scene.wait(secs(150));
    let states = timeline.iter().filter_map(|(_, effect)| match effect {
        Effect::Send {
            to,
            message: PeerMessage::State(state),
        } => Some((to, state)),
        _ => None,
    });
    let states: Vec<_> = states.collect();
    assert!(states.len() <= 2 * 3 * crowd.len(), "{}", states.len());
    for (to, state) in &states {
        assert!(state.knows.contains(to));
        assert!(state.knows.len() <= 16, "{}", state.knows.len());
    }
}
