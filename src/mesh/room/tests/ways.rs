//! Other ways to the members than the server.

use super::*;

/// Everybody has a link that carries envelopes, and knows everybody.
fn with_channels(others: &[ParticipantId]) -> Scene {
    let mut scene = Scene::in_call_with(others);
    for &id in others {
        scene.link(id, LinkEvent::BesideOpened);
        scene.hear_state(id, others);
    }
    scene.wait(secs(30));
    scene
}

#[test]
fn the_ways_to_somebody_are_the_server_the_link_and_members_who_know_them() {
    let mut scene = with_channels(&[ANN, BOB, EVE]);
    let mut ways = Ways {
        server: true,
        own: true,
        flowing: true,
        through: vec![ANN, EVE],
    };
    assert_eq!(scene.room.ways(BOB), ways);
    scene.room.handle_away(BOB, scene.now);
    scene.link(BOB, LinkEvent::Interrupted);
    (ways.server, ways.flowing) = (false, false);
    assert_eq!(scene.room.ways(BOB), ways);
    // Whose own link is down, or who does not know them, passes nothing on.
    scene.link(ANN, LinkEvent::Interrupted);
    scene.hear_state(EVE, &[ANN]);
    ways.through.clear();
    assert_eq!(scene.room.ways(BOB), ways);
    scene.link(BOB, LinkEvent::Failed(LinkError::NoPath));
    assert_eq!(scene.room.ways(BOB), Ways::default());
    assert_eq!(
        scene.room.ways(ParticipantId::from_bits(1)),
        Ways::default()
    );
}

#[test]
fn without_a_server_everybody_is_still_told_about_us() {
    let mut scene = with_channels(&[ANN, BOB]);
    scene.room.handle_disconnected(scene.now);
    scene.effects();
    let me = Me {
        name: "Me".into(),
        microphone: false,
        camera: true,
    };
    scene.room.handle_described(me, scene.now);
    let timeline = scene.wait(secs(1));
    assert_eq!(states_to(&timeline, ANN), [secs(0)]);
    assert_eq!(states_to(&timeline, BOB), [secs(0)]);
}

#[test]
fn without_a_server_a_failed_link_is_set_up_anew_through_others() {
    let mut scene = with_channels(&[ANN, BOB]);
    scene.room.handle_disconnected(scene.now);
    scene.link(ANN, LinkEvent::Failed(LinkError::NoPath));
    scene.effects();
    let timeline = scene.wait(secs(2));
    let effects: Vec<_> = timeline.into_iter().map(|(_, effect)| effect).collect();
    assert_eq!(starts(&effects), [(ANN, true)]);

    let mut alone = with_channels(&[ANN]);
    alone.room.handle_disconnected(alone.now);
    alone.link(ANN, LinkEvent::Failed(LinkError::NoPath));
    alone.effects();
    let timeline = alone.wait(secs(10));
    let effects: Vec<_> = timeline.into_iter().map(|(_, effect)| effect).collect();
    assert_eq!(starts(&effects), [], "nobody could pass the offer on");
}

#[test]
fn whoever_is_heard_by_way_of_others_is_not_lost() {
    let mut scene = with_channels(&[ANN, BOB]);
    scene.room.handle_away(ANN, scene.now);
    scene.link(ANN, LinkEvent::Interrupted);
    scene.wait(secs(1));
    for _ in 0..10 {
        let state = PeerMessage::State(state("Ann", vec![]));
        scene
            .room
            .handle_message_beside(ANN, state.clone(), scene.now);
        assert_eq!(left(&scene.wait(secs(10))), []);
    }
    assert_eq!(
        left(&scene.wait(secs(10))).len(),
        1,
        "until they are silent"
    );
}

#[test]
fn nobody_is_met_on_the_word_of_an_envelope_beside_the_media() {
    let mut scene = with_channels(&[ANN]);
    let state = PeerMessage::State(state("Eve", vec![]));
    scene.room.handle_message_beside(EVE, state, scene.now);
    assert_eq!(scene.members(), [ANN]);
    assert_eq!(scene.effects(), []);
}

// Links.
