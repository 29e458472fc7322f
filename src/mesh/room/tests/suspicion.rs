//! What an evil server may try.

use super::*;

#[test]
fn an_invented_participant_is_a_stranger_without_tile_or_link() {
    let mut scene = Scene::enter(&[EVE]);
    let timeline = scene.wait(secs(30));
    assert_eq!(suspicions(&timeline), [Suspicion::Stranger(EVE)]);
    assert!(scene.members().is_empty());
    let effects: Vec<_> = timeline.into_iter().map(|(_, effect)| effect).collect();
    assert_eq!(starts(&effects), []);
    let state = |effect: &Effect| match effect {
        Effect::Send { message, .. } => matches!(message, PeerMessage::State(_)),
        _ => true,
    };
    assert!(effects.iter().all(state), "no address goes to them");
}

#[test]
fn a_late_proof_is_still_a_proof() {
    let mut scene = Scene::enter(&[ANN]);
    scene.wait(secs(15));
    scene.hear_state(ANN, &[]);
    assert_eq!(scene.members(), [ANN]);
}

#[test]
fn somebody_who_cannot_be_heard_is_no_stranger() {
    let mut scene = Scene::enter(&[ANN, BOB]);
    scene.room.handle_away(ANN, scene.now);
    scene.wait(secs(5));
    scene.room.handle_disconnected(scene.now);
    assert_eq!(suspicions(&scene.wait(secs(60))), []);
}

#[test]
fn forged_and_replayed_messages_are_told_of_once() {
    let mut scene = Scene::in_call_with(&[ANN]);
    for _ in 0..3 {
        scene.room.handle_forged(ANN);
        scene.room.handle_replayed(ANN);
        scene.room.handle_forged(EVE);
    }
    let told = [Suspicion::Forged(ANN), Suspicion::Replayed(ANN)];
    assert_eq!(scene.effects(), told.map(Effect::Suspect));
}

#[test]
fn somebody_whom_others_keep_telling_of_is_hidden() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.hear_state(ANN, &[BOB]);
    assert_eq!(
        suspicions(&scene.wait(secs(20))),
        [],
        "one word may be out of date"
    );
    scene.hear_state(ANN, &[BOB]);
    assert_eq!(suspicions(&scene.wait(secs(1))), [Suspicion::Hidden(BOB)]);
}

#[test]
fn nobody_is_hidden_who_was_lost_or_left_or_came_a_little_later() {
    let mut scene = Scene::in_call_with(&[ANN, BOB]);
    scene.hear_state(ANN, &[BOB, EVE]);
    scene.wait(secs(2));
    scene.room.handle_joined(EVE, scene.now);
    scene.link(BOB, LinkEvent::Interrupted);
    scene
        .room
        .handle_left(BOB, DepartureReason::Lost, scene.now);
    let mut timeline = Vec::new();
    for _ in 0..4 {
        scene.hear_state(ANN, &[BOB, EVE]);
        timeline.extend(scene.wait(secs(3)));
    }
    assert_eq!(suspicions(&timeline), [Suspicion::Stranger(EVE)]);
}

#[test]
fn a_departure_that_others_keep_denying_is_hiding() {
    let mut scene = Scene::in_call_with(&[ANN, BOB]);
    scene.link(BOB, LinkEvent::Interrupted);
    scene
        .room
        .handle_left(BOB, DepartureReason::Left, scene.now);
    scene.hear_state(ANN, &[BOB]);
    assert_eq!(suspicions(&scene.wait(secs(6))), []);
    scene.hear_state(ANN, &[BOB]);
    assert_eq!(suspicions(&scene.wait(secs(1))), [Suspicion::Hidden(BOB)]);
}

#[test]
fn somebody_who_is_not_announced_is_met_all_the_same_and_the_server_suspected() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.hear_state(BOB, &[ANN]);
    assert_eq!(starts(&scene.effects()), [(BOB, false)]);
    let timeline = scene.wait(secs(20));
    assert_eq!(suspicions(&timeline), [Suspicion::Hidden(BOB)]);
    assert!(
        !states_to(&timeline, BOB).is_empty(),
        "they can learn of us, too"
    );
}

#[test]
fn a_message_that_overtakes_its_senders_arrival_is_no_ground_for_suspicion() {
    let mut scene = Scene::in_call_with(&[]);
    scene.hear_state(BOB, &[]);
    scene.wait(secs(1));
    scene.room.handle_joined(BOB, scene.now);
    assert_eq!(suspicions(&scene.wait(secs(20))), []);
    assert_eq!(scene.members(), [BOB]);
}

#[test]
fn a_connection_with_another_party_is_named_and_ended() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.link(ANN, LinkEvent::Failed(LinkError::WrongParty));
    let effects = scene.effects();
    assert!(effects.contains(&Effect::StopLink { id: ANN }));
    assert!(effects.contains(&Effect::Suspect(Suspicion::WrongParty(ANN))));
}

#[test]
fn a_server_that_invents_without_end_fills_nothing() {
    let mut scene = Scene::enter(&[]);
    for bits in 1..5_000 {
        scene
            .room
            .handle_joined(ParticipantId::from_bits(bits << 8), scene.now);
    }
    assert!(scene.room.people.len() <= MAX_PARTICIPANTS);
    for bits in 1..5_000 {
        let id = ParticipantId::from_bits(bits << 8);
        scene.room.handle_left(id, DepartureReason::Left, scene.now);
    }
    assert!(scene.room.people.is_empty() && scene.room.former.is_empty());
}
