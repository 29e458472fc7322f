//! Scenarios in simulated time: facts go in, effects come out.

mod anything;
mod relay;
mod suspicion;
mod ways;

use nonstop_wire::{DescriptionKind, IceServer, MAX_PARTICIPANTS, ParticipantState};

use super::{person::LinkState, *};
use crate::mesh::{
    LinkNews, Path,
    link::{LinkError, LinkEvent},
    post::Ways,
};

const ME: u64 = 0x10;
const ANN: ParticipantId = ParticipantId::from_bits(0xa);
const BOB: ParticipantId = ParticipantId::from_bits(0xb);
const EVE: ParticipantId = ParticipantId::from_bits(0xe);

/// A room at a simulated time.
struct Scene {
    room: Room,
    now: Instant,
}

impl Scene {
    /// Enters a room in which `others` are.
    fn enter(others: &[ParticipantId]) -> Self {
        let mut scene = Self::outside();
        scene
            .room
            .handle_welcome(&welcome(others, false), scene.now);
        scene
    }

    fn outside() -> Self {
        let me = Me {
            name: "Me".into(),
            microphone: true,
            camera: true,
        };
        Self {
            room: Room::new(ParticipantId::from_bits(ME), me),
            now: crate::clock::now(),
        }
    }

    /// Enters a room, meets `others`, and has a link to each that media flows through.
    fn in_call_with(others: &[ParticipantId]) -> Self {
        let mut scene = Self::enter(others);
        for &id in others {
            scene.hear_state(id, &[]);
        }
        for &id in others {
            scene.link(id, LinkEvent::Connected(Path::Direct));
        }
        scene.effects();
        scene
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.room.poll_effect()).collect()
    }

    /// Lets time pass, waking the room exactly when it asks for it. Returns what it wants done,
    /// with the time since the start of this wait.
    fn wait(&mut self, time: Duration) -> Vec<(Duration, Effect)> {
        let (start, end) = (self.now, self.now + time);
        let mut timeline = Vec::new();
        for _ in 0..10_000 {
            timeline.extend(
                self.effects()
                    .into_iter()
                    .map(|effect| (self.now - start, effect)),
            );
            match self.room.poll_timeout() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => {
                    self.now = end;
                    return timeline;
                }
            }
            self.room.handle_timeout(self.now);
        }
        panic!("the room asks to be woken without end");
    }

    fn hear(&mut self, from: ParticipantId, message: PeerMessage) {
        self.room.handle_message(from, message, self.now);
    }

    fn hear_state(&mut self, from: ParticipantId, others: &[ParticipantId]) {
        let mut knows = others.to_vec();
        knows.push(ParticipantId::from_bits(ME));
        self.hear(from, PeerMessage::State(state("them", knows)));
    }

    fn link(&mut self, id: ParticipantId, event: LinkEvent) {
        let number = self.number(id).expect("there is a link");
        self.room.handle_link(id, number, event, self.now);
    }

    fn number(&self, id: ParticipantId) -> Option<LinkNumber> {
        match self.room.people.get(&id)?.member()?.link {
            LinkState::Running(number) => Some(number),
            LinkState::Waiting { .. } | LinkState::Unneeded => None,
        }
    }

    fn members(&self) -> Vec<ParticipantId> {
        let members = self
            .room
            .people
            .iter()
            .filter(|(_, person)| person.member().is_some());
        members.map(|(id, _)| *id).collect()
    }
}

fn welcome(others: &[ParticipantId], resumed: bool) -> Welcome {
    Welcome {
        version: 1,
        resume: nonstop_wire::Token::from_bytes([0; 32]),
        resumed,
        participants: others.to_vec(),
        ice_servers: Vec::<IceServer>::new(),
        mesh_limit: 5,
        topology: nonstop_wire::Topology::Mesh,
        relay: false,
    }
}

fn state(name: &str, knows: Vec<ParticipantId>) -> ParticipantState {
    ParticipantState {
        name: name.into(),
        microphone: true,
        camera: true,
        knows,
        relay: false,
    }
}

fn description(kind: DescriptionKind, session: u64) -> PeerMessage {
    let sdp = format!("v=0\r\no=- {session} 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
    PeerMessage::Description { kind, sdp }
}

fn starts(effects: &[Effect]) -> Vec<(ParticipantId, bool)> {
    let start = |effect: &Effect| match effect {
        Effect::StartLink { id, initiator, .. } => Some((*id, *initiator)),
        _ => None,
    };
    effects.iter().filter_map(start).collect()
}

fn suspicions(timeline: &[(Duration, Effect)]) -> Vec<Suspicion> {
    let suspicion = |(_, effect): &(Duration, Effect)| match effect {
        Effect::Suspect(suspicion) => Some(suspicion.clone()),
        _ => None,
    };
    timeline.iter().filter_map(suspicion).collect()
}

fn left(timeline: &[(Duration, Effect)]) -> Vec<(Duration, ParticipantId, bool)> {
    let left = |(at, effect): &(Duration, Effect)| match effect {
        Effect::MemberLeft { id, lost } => Some((*at, *id, *lost)),
        _ => None,
    };
    timeline.iter().filter_map(left).collect()
}

fn states_to(timeline: &[(Duration, Effect)], whom: ParticipantId) -> Vec<Duration> {
    let sent = |(at, effect): &(Duration, Effect)| match effect {
        Effect::Send {
            to,
            message: PeerMessage::State(_),
        } if *to == whom => Some(*at),
        _ => None,
    };
    timeline.iter().filter_map(sent).collect()
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// Joining.

#[test]
fn the_newcomer_offers_to_everybody_who_was_there() {
    let mut scene = Scene::enter(&[ANN, BOB]);
    let effects = scene.effects();
    assert_eq!(effects[0], Effect::Joined { others: 2 });
    assert_eq!(
        starts(&effects),
        [],
        "nobody has proved to hold the secret yet"
    );
    scene.hear_state(ANN, &[]);
    scene.hear_state(BOB, &[]);
    assert_eq!(starts(&scene.effects()), [(ANN, true), (BOB, true)]);
}

#[test]
fn those_who_were_there_wait_for_the_newcomers_offer() {
    let mut scene = Scene::enter(&[]);
    scene.room.handle_joined(ANN, scene.now);
    scene.hear_state(ANN, &[]);
    let effects = scene.effects();
    assert_eq!(starts(&effects), [(ANN, false)]);
    assert!(effects.contains(&Effect::MemberJoined { id: ANN }));
}

#[test]
fn an_offer_proves_the_secret_as_well_as_a_description_of_oneself() {
    let mut scene = Scene::enter(&[]);
    scene.room.handle_joined(ANN, scene.now);
    scene.effects();
    let offer = description(DescriptionKind::Offer, 7);
    scene.hear(ANN, offer.clone());
    let effects = scene.effects();
    assert_eq!(starts(&effects), [(ANN, false)], "one link, not two");
    assert!(effects.ends_with(&[Effect::Signal {
        id: ANN,
        message: offer
    }]));
}

#[test]
fn we_describe_ourselves_until_the_other_knows_us_and_steadily_after() {
    let mut scene = Scene::enter(&[ANN]);
    let timeline = scene.wait(secs(7));
    assert_eq!(states_to(&timeline, ANN), [secs(0), secs(3), secs(6)]);
    scene.hear_state(ANN, &[]);
    let timeline = scene.wait(secs(22));
    assert_eq!(states_to(&timeline, ANN).len(), 3, "{timeline:?}");
    // Or the two would go on telling each other as if they had just met.
    let names_them = |effect: &Effect| match effect {
        Effect::Send {
            message: PeerMessage::State(state),
            ..
        } => state.knows.contains(&ANN),
        _ => true,
    };
    assert!(timeline.iter().all(|(_, effect)| names_them(effect)));
}

#[test]
fn whoever_does_not_know_us_yet_is_told_again_soon() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.wait(secs(12));
    scene.hear(ANN, PeerMessage::State(state("Ann", vec![])));
    let timeline = scene.wait(secs(4));
    assert!(!states_to(&timeline, ANN).is_empty(), "{timeline:?}");
}

#[test]
fn a_change_is_told_at_once_and_repeated() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.wait(secs(25));
    let me = Me {
        name: "Me".into(),
        microphone: false,
        camera: true,
    };
    scene.room.handle_described(me, scene.now);
    let sent = states_to(&scene.wait(secs(3)), ANN);
    assert_eq!(sent, [secs(0), secs(2)]);
}

#[test]
fn a_member_is_described_only_when_a_person_would_see_a_difference() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.hear_state(ANN, &[BOB]);
    assert!(
        !scene
            .effects()
            .iter()
            .any(|effect| matches!(effect, Effect::Described { .. }))
    );
    scene.hear(ANN, PeerMessage::State(state("Ann", vec![])));
    assert!(
        scene
            .effects()
            .iter()
            .any(|effect| matches!(effect, Effect::Described { .. }))
    );
}

#[test]
fn a_full_room_is_refused_before_anybody_hears_of_us() {
    let others: Vec<_> = (1..=5).map(ParticipantId::from_bits).collect();
    let mut scene = Scene::enter(&others);
    let timeline = scene.wait(secs(1));
    let effects: Vec<_> = timeline.into_iter().map(|(_, effect)| effect).collect();
    assert_eq!(effects, [Effect::Refuse(ErrorCode::RoomFull)]);
}

#[test]
fn a_seat_that_is_kept_for_somebody_who_crashed_does_not_fill_the_room() {
    let others: Vec<_> = (1..=5).map(ParticipantId::from_bits).collect();
    let mut scene = Scene::enter(&others);
    scene.room.handle_away(others[2], scene.now);
    assert_eq!(scene.effects()[0], Effect::Joined { others: 4 });
    let timeline = scene.wait(secs(30));
    assert!(!suspicions(&timeline).contains(&Suspicion::Stranger(others[2])));
}

// Leaving.

#[test]
fn whoever_leaves_is_removed_at_once() {
    let mut scene = Scene::in_call_with(&[ANN, BOB]);
    scene.link(ANN, LinkEvent::Interrupted);
    scene
        .room
        .handle_left(ANN, DepartureReason::Left, scene.now);
    let effects = scene.effects();
    assert!(effects.contains(&Effect::StopLink { id: ANN }));
    assert!(effects.contains(&Effect::MemberLeft {
        id: ANN,
        lost: false
    }));
    assert_eq!(scene.members(), [BOB]);
}

#[test]
fn whom_only_the_server_says_to_have_left_stays_as_long_as_media_flows() {
    let mut scene = Scene::in_call_with(&[ANN, BOB]);
    scene
        .room
        .handle_left(ANN, DepartureReason::Left, scene.now);
    let timeline = scene.wait(secs(60));
    assert_eq!(left(&timeline), []);
    assert_eq!(suspicions(&timeline), [Suspicion::Hidden(ANN)]);
    scene.link(ANN, LinkEvent::Interrupted);
    assert_eq!(left(&scene.wait(secs(1))), [(secs(0), ANN, false)]);
    assert_eq!(scene.members(), [BOB]);
}

#[test]
fn a_sealed_goodbye_counts_even_if_the_server_says_nothing() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.hear(ANN, PeerMessage::Bye);
    assert!(scene.effects().contains(&Effect::MemberLeft {
        id: ANN,
        lost: false
    }));
    scene.hear_state(ANN, &[]);
    scene.room.handle_joined(ANN, scene.now);
    scene.hear_state(ANN, &[]);
    assert!(
        scene.members().is_empty(),
        "nobody comes back from a goodbye under the same id"
    );
}

#[test]
fn we_say_goodbye_to_every_member_and_to_nobody_else() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.room.handle_joined(EVE, scene.now);
    scene.effects();
    scene.room.handle_leave();
    assert_eq!(
        scene.effects(),
        [Effect::Send {
            to: ANN,
            message: PeerMessage::Bye
        }]
    );
}

// Crashes.

#[test]
fn a_crash_is_noticed_within_six_seconds() {
    let mut scene = Scene::in_call_with(&[ANN]);
    // The server sees the connection break at once, the link after 1.5 s.
    scene.room.handle_away(ANN, scene.now);
    scene.wait(Duration::from_millis(1_500));
    scene.link(ANN, LinkEvent::Interrupted);
    let timeline = scene.wait(secs(10));
    let [(after, ANN, true)] = left(&timeline)[..] else {
        panic!("{timeline:?}");
    };
    assert!(after + Duration::from_millis(1_500) < secs(6), "{after:?}");
}

#[test]
fn whoever_loses_the_server_but_not_us_stays() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.room.handle_away(ANN, scene.now);
    assert_eq!(left(&scene.wait(secs(59))), []);
    scene
        .room
        .handle_left(ANN, DepartureReason::Lost, scene.now);
    assert_eq!(left(&scene.wait(secs(600))), []);
    scene.link(ANN, LinkEvent::Interrupted);
    assert_eq!(left(&scene.wait(secs(10))).len(), 1);
}

#[test]
fn a_short_break_of_both_server_and_media_is_forgiven() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.room.handle_away(ANN, scene.now);
    scene.link(ANN, LinkEvent::Interrupted);
    scene.wait(secs(2));
    scene.link(ANN, LinkEvent::Connected(Path::Direct));
    assert_eq!(left(&scene.wait(secs(30))), []);
    scene.room.handle_back(ANN, scene.now);
    assert_eq!(left(&scene.wait(secs(30))), []);
}

#[test]
fn whoever_was_lost_and_comes_back_is_met_anew() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.link(ANN, LinkEvent::Interrupted);
    scene.room.handle_away(ANN, scene.now);
    assert_eq!(left(&scene.wait(secs(5))).len(), 1);
    scene.room.handle_back(ANN, scene.now);
    let timeline = scene.wait(secs(1));
    assert_eq!(
        states_to(&timeline, ANN),
        [secs(0)],
        "they learn that we are still here"
    );
    scene.hear_state(ANN, &[]);
    let effects = scene.effects();
    assert!(effects.contains(&Effect::MemberJoined { id: ANN }));
    assert_eq!(starts(&effects), [(ANN, true)]);
}

#[test]
fn without_a_server_whoever_is_silent_for_15_seconds_is_lost() {
    let mut scene = Scene::in_call_with(&[ANN, BOB]);
    scene.room.handle_disconnected(scene.now);
    scene.link(ANN, LinkEvent::Interrupted);
    let timeline = scene.wait(secs(60));
    assert_eq!(left(&timeline), [(secs(15), ANN, true)]);
    assert_eq!(scene.members(), [BOB]);
}

// The server goes away and comes back.

#[test]
fn resuming_changes_nothing_about_links() {
    let mut scene = Scene::in_call_with(&[ANN, BOB]);
    scene.room.handle_disconnected(scene.now);
    assert_eq!(scene.effects(), [Effect::Reconnecting]);
    scene.wait(secs(20));
    scene
        .room
        .handle_welcome(&welcome(&[ANN, BOB], true), scene.now);
    let effects = scene.effects();
    assert_eq!(effects[0], Effect::Reconnected { resumed: true });
    assert_eq!(starts(&effects), []);
    assert_eq!(left(&scene.wait(secs(120))), []);
}

#[test]
fn a_restart_of_the_server_loses_nobody_whom_media_reaches() {
    let mut scene = Scene::in_call_with(&[ANN, BOB]);
    scene.room.handle_disconnected(scene.now);
    scene.wait(secs(5));
    scene.room.handle_welcome(&welcome(&[], false), scene.now);
    let timeline = scene.wait(secs(3));
    scene.room.handle_joined(ANN, scene.now);
    let later = scene.wait(secs(600));
    assert_eq!((left(&timeline), left(&later)), (vec![], vec![]));
    assert_eq!(scene.members(), [ANN, BOB]);
}

#[test]
fn after_a_restart_whoever_neither_comes_back_nor_sends_media_is_lost() {
    let mut scene = Scene::in_call_with(&[ANN, BOB]);
    scene.room.handle_disconnected(scene.now);
    scene
        .room
        .handle_welcome(&welcome(&[ANN], false), scene.now);
    scene.link(BOB, LinkEvent::Interrupted);
    scene.link(ANN, LinkEvent::Interrupted);
    let timeline = scene.wait(secs(300));
    assert_eq!(left(&timeline), [(secs(60), BOB, true)]);
}

#[test]
fn a_newcomer_who_came_while_we_were_away_is_met() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.room.handle_disconnected(scene.now);
    scene
        .room
        .handle_welcome(&welcome(&[ANN, BOB], true), scene.now);
    scene.hear_state(BOB, &[ANN]);
    assert_eq!(starts(&scene.effects()), [(BOB, true)]);
}

#[test]
fn whoever_left_while_we_were_away_is_removed_when_media_ends() {
    let mut scene = Scene::in_call_with(&[ANN, BOB]);
    scene.room.handle_disconnected(scene.now);
    scene.room.handle_welcome(&welcome(&[ANN], true), scene.now);
    assert_eq!(left(&scene.wait(secs(5))), []);
    scene.link(BOB, LinkEvent::Interrupted);
    let timeline = scene.wait(secs(5));
    assert_eq!(left(&timeline).len(), 1, "{timeline:?}");
}

#[test]
fn a_refusal_to_take_us_back_is_told_once_and_ends_nothing() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.room.handle_disconnected(scene.now);
    scene.effects();
    for code in [
        ErrorCode::RoomFull,
        ErrorCode::RoomFull,
        ErrorCode::NotAdmitted,
    ] {
        scene.room.handle_refused(code);
    }
    let told = [ErrorCode::RoomFull, ErrorCode::NotAdmitted].map(Effect::Refused);
    assert_eq!(scene.effects(), told);
    assert_eq!(left(&scene.wait(secs(600))), []);
    scene.room.handle_welcome(&welcome(&[], false), scene.now);
    scene.room.handle_disconnected(scene.now);
    scene.effects();
    scene.room.handle_refused(ErrorCode::NotAdmitted);
    assert_eq!(scene.effects(), told[1..], "another outage");
}

// Ways besides the server.

#[test]
fn a_failed_link_is_set_up_anew_with_growing_waits() {
    let mut scene = Scene::in_call_with(&[ANN]);
    let mut waits = Vec::new();
    for _ in 0..4 {
        scene.link(ANN, LinkEvent::Failed(LinkError::NoPath));
        let timeline = scene.wait(secs(40));
        let start = timeline
            .iter()
            .find(|(_, effect)| matches!(effect, Effect::StartLink { .. }));
        waits.push(start.expect("a new link starts").0.as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8]);
    assert_eq!(
        scene.members(),
        [ANN],
        "present at the server, so still a participant"
    );
}

#[test]
fn what_an_earlier_link_tells_is_ignored() {
    let mut scene = Scene::in_call_with(&[ANN]);
    let old = scene.number(ANN).expect("running");
    scene.link(ANN, LinkEvent::Failed(LinkError::NoPath));
    scene.wait(secs(2));
    scene
        .room
        .handle_link(ANN, old, LinkEvent::Connected(Path::Direct), scene.now);
    assert_eq!(scene.effects(), []);
}

#[test]
fn a_new_session_of_theirs_gets_a_new_link_of_ours() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.hear(ANN, description(DescriptionKind::Offer, 1));
    scene.effects();
    scene.hear(ANN, description(DescriptionKind::Offer, 1));
    assert_eq!(
        starts(&scene.effects()),
        [],
        "negotiating again is the link's own matter"
    );
    scene.hear(ANN, description(DescriptionKind::Offer, 2));
    let effects = scene.effects();
    assert_eq!(starts(&effects), [(ANN, false)]);
    scene.hear(ANN, description(DescriptionKind::Offer, 1));
    assert_eq!(
        scene.effects(),
        [],
        "what comes too late from the old session counts no more"
    );
}

#[test]
fn an_answer_from_another_session_does_not_reach_the_link() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.hear(ANN, description(DescriptionKind::Answer, 1));
    assert_eq!(scene.effects().len(), 1);
    scene.hear(ANN, description(DescriptionKind::Answer, 2));
    assert_eq!(scene.effects(), []);
}

#[test]
fn the_first_picture_and_sound_are_told_once_with_the_time_they_took() {
    let mut scene = Scene::in_call_with(&[ANN]);
    scene.wait(secs(2));
    scene.effects();
    scene.link(ANN, LinkEvent::FirstVideoFrame);
    scene.link(ANN, LinkEvent::FirstVideoFrame);
    let news = LinkNews::FirstVideoFrame { after: secs(2) };
    assert_eq!(scene.effects(), [Effect::News { id: ANN, news }]);
}

// An evil server.
