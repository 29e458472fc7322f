use super::*;

const ROOM: &str = "standup";
const ANN: u64 = 1;
const BOB: u64 = 2;

#[test]
fn the_newcomer_learns_of_everybody_and_everybody_of_the_newcomer() {
    let mut server = Scene::new();
    assert_eq!(server.join(ANN), [told(ANN, welcome(ANN, false, &[]))]);
    assert_eq!(
        server.join(BOB),
        [
            told(BOB, welcome(BOB, false, &[ANN])),
            told(
                ANN,
                ServerMessage::Joined {
                    participant: id(BOB)
                }
            ),
        ]
    );
    assert_eq!(server.rooms.census(), (1, 2));
}

#[test]
fn a_payload_reaches_its_receiver_and_nobody_else() {
    let mut server = Scene::with(&[ANN, BOB, 3]);
    let sent = server
        .rooms
        .handle_send(connection(ANN), id(BOB), "AQ".to_owned());
    let (from, sealed) = (id(ANN), "AQ".to_owned());
    assert_eq!(sent, [told(BOB, ServerMessage::Message { from, sealed })]);

    let sent = server
        .rooms
        .handle_send(connection(ANN), id(9), "AQ".to_owned());
    assert_eq!(sent, [told(ANN, error(ErrorCode::NoSuchParticipant))]);
    server.rooms.handle_lost(connection(BOB), server.now);
    let sent = server
        .rooms
        .handle_send(connection(ANN), id(BOB), "AQ".to_owned());
    assert_eq!(sent, []);
}

#[test]
fn a_call_that_outgrows_a_mesh_is_relayed_until_it_fits_again_for_a_while() {
    let mut server = Scene::relayed(2);
    server.join(ANN);
    server.join(BOB);
    let third = server.join(3);
    let topology = |topology| ServerMessage::Topology { topology };
    let everybody = |message| Effect::Tell(vec![connection(ANN), connection(BOB)], message);
    let Effect::Tell(_, ServerMessage::Welcome(welcome)) = &third[0] else {
        panic!("{third:?}");
    };
    assert!(welcome.relay);
    assert_eq!(welcome.topology, Topology::Relay);
    assert_eq!(third.last(), Some(&everybody(topology(Topology::Relay))));

    let left = server.rooms.handle_leave(connection(3), server.now);
    assert_eq!(
        left[1],
        Effect::GiveUp(ROOM.parse().unwrap(), id(3)),
        "{left:?}"
    );
    let changes = server.rooms.poll_timeout().unwrap();
    assert_eq!(changes, server.now + Duration::from_secs(30));
    server.now = changes;
    let changed = server.rooms.handle_timeout(changes);
    assert_eq!(changed, [everybody(topology(Topology::Mesh))]);
    assert_eq!(server.rooms.poll_timeout(), None);
}

#[test]
fn rooms_do_not_hear_each_other() {
    let mut server = Scene::with(&[ANN]);
    let elsewhere = Join {
        room: "review".parse().unwrap(),
        ..join(BOB)
    };
    let joined = server
        .rooms
        .handle_join(connection(BOB), elsewhere, grant(BOB), server.now);
    assert_eq!(joined, [told(BOB, welcome(BOB, false, &[]))]);
    let sent = server
        .rooms
        .handle_send(connection(ANN), id(BOB), String::new());
    assert_eq!(sent, [told(ANN, error(ErrorCode::NoSuchParticipant))]);
    assert_eq!(
        server.rooms.handle_leave(connection(BOB), server.now),
        [Effect::Close(connection(BOB))]
    );
    assert_eq!(server.rooms.census(), (1, 1));
}

#[test]
fn whoever_leaves_is_gone_at_once_and_the_last_one_closes_the_room() {
    let mut server = Scene::with(&[ANN, BOB]);
    let reason = DepartureReason::Left;
    assert_eq!(
        server.rooms.handle_leave(connection(BOB), server.now),
        [
            Effect::Close(connection(BOB)),
            told(
                ANN,
                ServerMessage::Left {
                    participant: id(BOB),
                    reason
                }
            ),
        ]
    );
    // The connection's end, which follows, says nothing new.
    assert_eq!(server.rooms.handle_lost(connection(BOB), server.now), []);
    server.rooms.handle_leave(connection(ANN), server.now);
    assert_eq!(server.rooms.census(), (0, 0));

    // A forgotten room can be opened by whoever comes first, with any token.
    let stranger = Join {
        admission: token(99),
        ..join(3)
    };
    let joined = server
        .rooms
        .handle_join(connection(3), stranger, grant(3), server.now);
    assert_eq!(joined, [told(3, welcome(3, false, &[]))]);
}

#[test]
fn a_wrong_admission_token_opens_nothing() {
    let mut server = Scene::with(&[ANN]);
    let stranger = Join {
        admission: token(99),
        ..join(BOB)
    };
    let refused = server
        .rooms
        .handle_join(connection(BOB), stranger, grant(BOB), server.now);
    assert_eq!(refused, refusal(connection(BOB), ErrorCode::NotAdmitted));
    assert_eq!(server.rooms.census(), (1, 1));

    // Nor does a known resume token without it.
    let thief = Join {
        admission: token(99),
        ..resume(ANN)
    };
    let refused = server
        .rooms
        .handle_join(connection(3), thief, grant(3), server.now);
    assert_eq!(refused, refusal(connection(3), ErrorCode::NotAdmitted));
}

#[test]
fn a_broken_connection_is_away_and_then_back() {
    let mut server = Scene::with(&[ANN, BOB]);
    let away = ServerMessage::Away {
        participant: id(BOB),
    };
    assert_eq!(
        server.rooms.handle_lost(connection(BOB), server.now),
        [told(ANN, away)]
    );

    server.now += Duration::from_secs(59);
    assert_eq!(server.rooms.handle_timeout(server.now), []);
    let joined = server
        .rooms
        .handle_join(connection(7), resume(BOB), grant(99), server.now);
    let back = ServerMessage::Back {
        participant: id(BOB),
    };
    // The token of the seat stays the same: its welcome may have been lost on the way.
    assert_eq!(
        joined,
        [told(7, welcome(BOB, true, &[ANN])), told(ANN, back)]
    );

    server.now += Duration::from_secs(600);
    assert_eq!(server.rooms.poll_timeout(), None);
    assert_eq!(server.rooms.handle_timeout(server.now), []);
}

#[test]
fn whoever_does_not_come_back_in_time_is_lost() {
    let mut server = Scene::with(&[ANN, BOB]);
    server.rooms.handle_lost(connection(BOB), server.now);
    let until = server.now + Duration::from_secs(60);
    assert_eq!(server.rooms.poll_timeout(), Some(until));
    let reason = DepartureReason::Lost;
    let left = ServerMessage::Left {
        participant: id(BOB),
        reason,
    };
    assert_eq!(server.rooms.handle_timeout(until), [told(ANN, left)]);

    let late = server
        .rooms
        .handle_join(connection(7), resume(BOB), grant(BOB), server.now);
    assert_eq!(late[0], told(7, welcome(BOB, false, &[ANN])));
}

#[test]
fn a_room_whose_people_all_broke_off_is_kept_for_a_while_and_then_forgotten() {
    let mut server = Scene::with(&[ANN, BOB]);
    server.rooms.handle_lost(connection(ANN), server.now);
    server.now += Duration::from_secs(1);
    server.rooms.handle_lost(connection(BOB), server.now);
    assert_eq!(server.rooms.census(), (1, 2));
    assert_eq!(
        server
            .rooms
            .handle_timeout(server.now + Duration::from_secs(60)),
        []
    );
    assert_eq!(server.rooms.census(), (0, 0));
    assert_eq!(server.rooms.poll_timeout(), None);
}

#[test]
fn a_newer_connection_takes_the_seat_over_without_others_noticing() {
    let mut server = Scene::with(&[ANN, BOB]);
    let joined = server
        .rooms
        .handle_join(connection(7), resume(BOB), grant(BOB), server.now);
    let mut expected = vec![told(7, welcome(BOB, true, &[ANN]))];
    expected.extend(refusal(connection(BOB), ErrorCode::Replaced));
    assert_eq!(joined, expected);
    // The old connection's end does not disturb the new one.
    assert_eq!(server.rooms.handle_lost(connection(BOB), server.now), []);
    let sent = server
        .rooms
        .handle_send(connection(7), id(ANN), String::new());
    assert!(matches!(&sent[..], [Effect::Tell(to, _)] if *to == [connection(ANN)]));
}

#[test]
fn an_id_in_use_needs_its_resume_token() {
    let mut server = Scene::with(&[ANN, BOB]);
    for attempt in [
        join(BOB),
        Join {
            resume: Some(token(50)),
            ..join(BOB)
        },
    ] {
        let refused =
            server
                .rooms
                .handle_join(connection(7), attempt.clone(), grant(7), server.now);
        assert_eq!(refused, refusal(connection(7), ErrorCode::IdTaken));
        server.rooms.handle_lost(connection(BOB), server.now);
    }
}

#[test]
fn an_unknown_resume_token_makes_a_new_seat_that_it_takes_again() {
    let mut server = Scene::new();
    let joined = server
        .rooms
        .handle_join(connection(ANN), resume(ANN), grant(5), server.now);
    assert_eq!(joined, [told(ANN, welcome(ANN, false, &[]))]);
    // The welcome was lost on its way, and the server does not know it yet.
    let again = server
        .rooms
        .handle_join(connection(7), resume(ANN), grant(6), server.now);
    assert_eq!(again[0], told(7, welcome(ANN, true, &[])));
}

#[test]
fn a_newcomer_learns_who_is_away() {
    let mut server = Scene::with(&[ANN, BOB]);
    server.rooms.handle_lost(connection(ANN), server.now);
    assert_eq!(
        server.join(3),
        [
            told(3, welcome(3, false, &[ANN, BOB])),
            told(
                3,
                ServerMessage::Away {
                    participant: id(ANN)
                }
            ),
            told(BOB, ServerMessage::Joined { participant: id(3) }),
        ]
    );
}

#[test]
fn rooms_and_participants_have_a_limit() {
    let mut config = Config::default();
    config.limits.rooms = 2;
    config.limits.participants = 3;
    let mut server = Scene {
        rooms: Rooms::new(&config),
        ..Scene::new()
    };
    for participant in 1..=3 {
        server.join(participant);
    }
    assert_eq!(server.join(4), refusal(connection(4), ErrorCode::RoomFull));
    for (room, code) in [("b", None), ("c", Some(ErrorCode::ServerFull))] {
        let join = Join {
            room: room.parse().unwrap(),
            ..join(9)
        };
        let effects = server
            .rooms
            .handle_join(connection(9), join, grant(9), server.now);
        match code {
            Some(code) => assert_eq!(effects, refusal(connection(9), code)),
            None => assert_eq!(effects, [told(9, welcome(9, false, &[]))]),
        }
    }
    assert_eq!(server.rooms.census(), (2, 4));
}

/// A server whose participant N is on connection N and has resume token N.
struct Scene {
    rooms: Rooms,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            rooms: Rooms::new(&Config::default()),
            now: crate::clock::now(),
        }
    }

    fn relayed(mesh_limit: usize) -> Self {
        let config = Config {
            relay: Some(crate::RelayConfig::default()),
            mesh_limit,
            ..Config::default()
        };
        Self {
            rooms: Rooms::new(&config),
            ..Self::new()
        }
    }

    fn with(participants: &[u64]) -> Self {
        let mut scene = Self::new();
        for &participant in participants {
            scene.join(participant);
        }
        scene
    }

    fn join(&mut self, participant: u64) -> Vec<Effect> {
        let (join, grant) = (join(participant), grant(participant));
        self.rooms
            .handle_join(connection(participant), join, grant, self.now)
    }
}

fn id(participant: u64) -> ParticipantId {
    ParticipantId::from_bits(participant)
}

fn connection(number: u64) -> ConnectionId {
    ConnectionId(number)
}

fn token(number: u64) -> Token {
    Token::from_bytes([u8::try_from(number).unwrap(); 32])
}

fn join(participant: u64) -> Join {
    Join {
        room: ROOM.parse().unwrap(),
        admission: token(100),
        participant: id(participant),
        resume: None,
    }
}

fn resume(participant: u64) -> Join {
    Join {
        resume: Some(token(participant)),
        ..join(participant)
    }
}

fn grant(participant: u64) -> Grant {
    Grant {
        resume: token(participant),
        ice_servers: Vec::new(),
    }
}

fn welcome(participant: u64, resumed: bool, others: &[u64]) -> ServerMessage {
    ServerMessage::Welcome(Welcome {
        version: PROTOCOL_VERSION,
        resume: token(participant),
        resumed,
        participants: others.iter().copied().map(id).collect(),
        ice_servers: Vec::new(),
        mesh_limit: 5,
        topology: nonstop_wire::Topology::Mesh,
        relay: false,
    })
}

fn told(number: u64, message: ServerMessage) -> Effect {
    Effect::Tell(vec![connection(number)], message)
}
