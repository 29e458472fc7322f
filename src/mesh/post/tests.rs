//! One post at a time, and two that write to each other.

use nonstop_wire::{DescriptionKind, LinkSecret};

use super::*;
use crate::clock;

const ANN: ParticipantId = ParticipantId::from_bits(0xa);
const BOB: ParticipantId = ParticipantId::from_bits(0xb);
const EVE: ParticipantId = ParticipantId::from_bits(0xe);
const MAX: ParticipantId = ParticipantId::from_bits(0xf);

pub(super) fn post(me: ParticipantId) -> Post {
    let room = "room".parse().unwrap();
    let secret = LinkSecret::from_bytes([7; 16]);
    Post::new(me, MeetingKeys::derive(&secret, &room))
}

fn offer() -> PeerMessage {
    PeerMessage::Description {
        kind: DescriptionKind::Offer,
        sdp: "v=0".into(),
    }
}

fn candidate() -> PeerMessage {
    PeerMessage::Candidate {
        candidate: "candidate:1".into(),
        sdp_mid: None,
        sdp_mline_index: None,
        username_fragment: None,
    }
}

fn state() -> PeerMessage {
    PeerMessage::State(nonstop_wire::ParticipantState {
        name: "Ann".into(),
        microphone: true,
        camera: true,
        knows: Vec::new(),
        relay: false,
    })
}

/// Everything there can be.
fn all_ways() -> Ways {
    Ways {
        server: true,
        own: true,
        flowing: true,
        through: vec![EVE, MAX],
    }
}

fn without_server() -> Ways {
    Ways {
        server: false,
        ..all_ways()
    }
}

fn taken(parcels: &[Parcel]) -> Vec<Way> {
    parcels.iter().map(|parcel| parcel.way).collect()
}

fn sealed(parcels: &[Parcel]) -> &str {
    let first = &parcels.first().expect("there is a way").sealed;
    assert!(parcels.iter().all(|parcel| parcel.sealed == *first));
    first
}

const BESIDE: [Way; 3] = [Way::Beside(BOB), Way::Beside(EVE), Way::Beside(MAX)];

#[test]
fn while_the_server_is_there_it_carries_everything_alone() {
    let (mut ann, now) = (post(ANN), clock::now());
    for message in [offer(), candidate(), state()] {
        let parcels = ann.send(BOB, &message, [1; 24], &all_ways(), now);
        assert_eq!(taken(&parcels), [Way::Server]);
        assert_eq!((parcels[0].to, parcels[0].from), (BOB, ANN));
    }
}

#[test]
fn without_a_server_signals_take_every_other_way() {
    let (mut ann, now) = (post(ANN), clock::now());
    let parcels = ann.send(BOB, &offer(), [1; 24], &without_server(), now);
    assert_eq!(taken(&parcels), BESIDE);
    sealed(&parcels);
    assert_eq!(ann.poll_timeout(), None);
}

#[test]
fn without_a_server_a_state_takes_the_link_if_media_flows_there_and_a_goodbye_takes_all() {
    let (mut ann, now) = (post(ANN), clock::now());
    let mut ways = without_server();
    let parcels = ann.send(BOB, &state(), [1; 24], &ways, now);
    assert_eq!(taken(&parcels), BESIDE[..1]);
    ways.flowing = false;
    let parcels = ann.send(BOB, &state(), [1; 24], &ways, now);
    assert_eq!(taken(&parcels), BESIDE);
    let parcels = ann.send(BOB, &PeerMessage::Bye, [1; 24], &all_ways(), now);
    assert_eq!(parcels.len(), 4);
}

#[test]
fn what_has_no_way_is_left_to_the_server_for_later() {
    let (mut ann, now) = (post(ANN), clock::now());
    let parcels = ann.send(BOB, &offer(), [1; 24], &Ways::default(), now);
    assert_eq!(taken(&parcels), [Way::Server]);
    assert_eq!(ann.poll_timeout(), None);
}

#[test]
fn a_signal_without_effect_for_two_seconds_goes_every_other_way_unchanged() {
    let (mut ann, now) = (post(ANN), clock::now());
    let first = ann.send(BOB, &offer(), [1; 24], &all_ways(), now);
    ann.send(BOB, &candidate(), [2; 24], &all_ways(), now);
    assert_eq!(ann.poll_timeout(), Some(now + PATIENCE));
    let soon = now + PATIENCE - Duration::from_millis(1);
    assert_eq!(ann.handle_timeout(soon, |_| all_ways()), []);
    let late = ann.handle_timeout(now + PATIENCE, |_| all_ways());
    assert_eq!(taken(&late), [BESIDE, BESIDE].concat());
    assert_eq!(late[0].sealed, sealed(&first));
    assert_eq!(ann.poll_timeout(), None);
    // From now on every signal does, until the link stands.
    let parcels = ann.send(BOB, &offer(), [3; 24], &all_ways(), now + PATIENCE);
    assert_eq!(taken(&parcels), [&[Way::Server], &BESIDE[..]].concat());
    ann.handle_connected(BOB);
    let parcels = ann.send(BOB, &offer(), [4; 24], &all_ways(), now + PATIENCE);
    assert_eq!(taken(&parcels), [Way::Server]);
}

#[test]
fn an_answer_in_time_is_an_effect_and_so_is_a_link_that_stands() {
    let (mut ann, mut bob, now) = (post(ANN), post(BOB), clock::now());
    ann.send(BOB, &offer(), [1; 24], &all_ways(), now);
    let answer = bob.send(ANN, &offer(), [2; 24], &all_ways(), now);
    let opened = ann.open(BOB, sealed(&answer), Way::Server, now);
    assert_eq!(opened, Opened::Message(offer()));
    assert_eq!(ann.poll_timeout(), None);
    assert!(bob.poll_timeout().is_some());
    bob.handle_connected(ANN);
    assert_eq!(bob.poll_timeout(), None);
}

#[test]
fn what_comes_on_several_ways_counts_once_and_nobody_is_blamed() {
    for server_first in [true, false] {
        let (mut ann, mut bob, now) = (post(ANN), post(BOB), clock::now());
        let parcels = ann.send(BOB, &offer(), [1; 24], &without_server(), now);
        let sealed = sealed(&parcels);
        let mut ways = [Way::Server, Way::Beside(ANN), Way::Beside(EVE)];
        if !server_first {
            ways.reverse();
        }
        let opened = ways.map(|way| bob.open(ANN, sealed, way, now));
        let [first, rest @ ..] = opened;
        assert_eq!(first, Opened::Message(offer()));
        assert_eq!(rest, [Opened::Nothing, Opened::Nothing]);
        // Once more from the server is once too often.
        assert_eq!(bob.open(ANN, sealed, Way::Server, now), Opened::Replayed);
        let beside = bob.open(ANN, sealed, Way::Beside(EVE), now);
        assert_eq!(beside, Opened::Nothing);
    }
}

#[test]
fn what_does_not_open_is_blamed_on_the_server_only_if_it_brought_it() {
    let (mut ann, mut bob, now) = (post(ANN), post(BOB), clock::now());
    let parcels = ann.send(EVE, &offer(), [1; 24], &without_server(), now);
    for garbage in [sealed(&parcels), "", "AQ", "no base64 ß", &"A".repeat(99)] {
        let by = |way, bob: &mut Post| bob.open(ANN, garbage, way, now);
        assert_eq!(by(Way::Server, &mut bob), Opened::Forged);
        assert_eq!(by(Way::Beside(EVE), &mut bob), Opened::Nothing);
    }
    assert!(bob.conversations.is_empty(), "nothing is kept of it");
}

#[test]
fn an_envelope_is_passed_on_once_to_a_member_and_no_further() {
    let (mut eve, now) = (post(EVE), clock::now());
    let ways = without_server();
    let envelope = || "AQAA".to_owned();
    let passed = eve.pass_on(ANN, (BOB, ANN), envelope(), &ways, now);
    let passed = passed.expect("ann and bob have links to eve");
    assert_eq!((passed.way, passed.to), (Way::Beside(BOB), BOB));
    assert_eq!((passed.from, &*passed.sealed), (ANN, "AQAA"));
    // A second hop, back to its sender, to ourselves, and to somebody without a link.
    for (link, to, from) in [(ANN, MAX, BOB), (ANN, ANN, ANN), (ANN, EVE, ANN)] {
        assert_eq!(eve.pass_on(link, (to, from), envelope(), &ways, now), None);
    }
    let nowhere = Ways {
        own: false,
        ..all_ways()
    };
    let refused = eve.pass_on(ANN, (BOB, ANN), envelope(), &nowhere, now);
    assert_eq!(refused, None);
}

#[test]
fn nobody_can_have_much_passed_on_and_nobody_pays_for_another() {
    let (mut eve, start) = (post(EVE), clock::now());
    let ways = without_server();
    let description = "A".repeat(11_000);
    let mut passed = 0;
    // A flood for ten seconds.
    for millis in 0..10_000 {
        let now = start + Duration::from_millis(millis);
        let envelope = description.clone();
        passed += usize::from(eve.pass_on(ANN, (BOB, ANN), envelope, &ways, now).is_some());
    }
    assert!((20..=32).contains(&passed), "{passed} descriptions");
    let now = start + Duration::from_secs(10);
    let other = eve.pass_on(MAX, (BOB, MAX), description, &ways, now);
    assert!(other.is_some());
}
