//! Every message as text: what is written here is what travels.

use nonstop_wire::*;

const ANN: ParticipantId = ParticipantId::from_bits(0x0123_4567_89ab_cdef);
const BOB: ParticipantId = ParticipantId::from_bits(0xb0b);
const TOKEN: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";

fn token() -> Token {
    Token::from_bytes([2; 32])
}

#[test]
fn client_messages_have_these_texts() {
    let room: RoomName = "standup".parse().unwrap();
    let join = |resume| ClientMessage::Join {
        version: 1,
        room: room.clone(),
        admission: token(),
        participant: ANN,
        resume,
    };
    for (message, text) in [
        (
            join(None),
            format!(
                r#"{{"type":"join","version":1,"room":"standup","admission":"{TOKEN}","participant":"0123456789abcdef"}}"#
            ),
        ),
        (
            join(Some(token())),
            format!(
                r#"{{"type":"join","version":1,"room":"standup","admission":"{TOKEN}","participant":"0123456789abcdef","resume":"{TOKEN}"}}"#
            ),
        ),
        (
            ClientMessage::Send {
                to: BOB,
                sealed: "AQ".to_owned(),
            },
            r#"{"type":"send","to":"0000000000000b0b","sealed":"AQ"}"#.to_owned(),
        ),
        (ClientMessage::Leave, r#"{"type":"leave"}"#.to_owned()),
    ] {
        assert_eq!(message.encode(), text);
        assert_eq!(ClientMessage::decode(&text), Ok(message));
    }
}

#[test]
fn server_messages_have_these_texts() {
    let welcome = |ice_servers| {
        ServerMessage::Welcome(Welcome {
            version: 1,
            resume: token(),
            resumed: false,
            participants: vec![BOB],
            ice_servers,
            mesh_limit: 5,
            topology: Topology::Mesh,
            relay: false,
        })
    };
    let turn = IceServer {
        urls: vec!["turn:turn.example.org:3478".to_owned()],
        username: "1800000000:0123456789abcdef".to_owned(),
        credential: "c2VjcmV0".to_owned(),
    };
    let stun = IceServer {
        urls: vec!["stun:stun.example.org".to_owned()],
        username: String::new(),
        credential: String::new(),
    };
    for (message, text) in [
        (
            welcome(vec![stun, turn]),
            format!(r#"{{"type":"welcome","version":1,"resume":"{TOKEN}","resumed":false,"participants":["0000000000000b0b"],"ice_servers":[{{"urls":["stun:stun.example.org"]}},{{"urls":["turn:turn.example.org:3478"],"username":"1800000000:0123456789abcdef","credential":"c2VjcmV0"}}],"mesh_limit":5,"topology":"mesh","relay":false}}"#),
        ),
        (
            ServerMessage::Joined { participant: BOB },
            r#"{"type":"joined","participant":"0000000000000b0b"}"#.to_owned(),
        ),
        (
            ServerMessage::Away { participant: BOB },
            r#"{"type":"away","participant":"0000000000000b0b"}"#.to_owned(),
        ),
        (
            ServerMessage::Back { participant: BOB },
            r#"{"type":"back","participant":"0000000000000b0b"}"#.to_owned(),
        ),
        (
            ServerMessage::Left { participant: BOB, reason: DepartureReason::Lost },
            r#"{"type":"left","participant":"0000000000000b0b","reason":"lost"}"#.to_owned(),
        ),
        (
            ServerMessage::Message { from: BOB, sealed: "AQ".to_owned() },
            r#"{"type":"message","from":"0000000000000b0b","sealed":"AQ"}"#.to_owned(),
        ),
        (
            ServerMessage::Error {
                code: ErrorCode::NotAdmitted,
                message: "this link does not open this room".to_owned(),
            },
            r#"{"type":"error","code":"not_admitted","message":"this link does not open this room"}"#
                .to_owned(),
        ),
    ] {
        assert_eq!(message.encode(), text);
        assert_eq!(ServerMessage::decode(&text), Ok(message));
    }
}

#[test]
fn peer_messages_have_these_texts() {
    let candidate = |sdp_mid, sdp_mline_index, username_fragment| PeerMessage::Candidate {
        candidate: "candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host".to_owned(),
        sdp_mid,
        sdp_mline_index,
        username_fragment,
    };
    for (message, text) in [
        (
            PeerMessage::Description {
                kind: DescriptionKind::Offer,
                sdp: "v=0\r\n".to_owned(),
            },
            r#"{"type":"description","kind":"offer","sdp":"v=0\r\n"}"#,
        ),
        (
            PeerMessage::Description {
                kind: DescriptionKind::Answer,
                sdp: "v=0\r\n".to_owned(),
            },
            r#"{"type":"description","kind":"answer","sdp":"v=0\r\n"}"#,
        ),
        (
            candidate(None, None, None),
            r#"{"type":"candidate","candidate":"candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host"}"#,
        ),
        (
            candidate(Some("0".to_owned()), Some(0), Some("uFrg".to_owned())),
            r#"{"type":"candidate","candidate":"candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host","sdp_mid":"0","sdp_mline_index":0,"username_fragment":"uFrg"}"#,
        ),
        (
            PeerMessage::State(ParticipantState {
                name: "Zoë 🦊".to_owned(),
                microphone: true,
                camera: false,
                knows: vec![BOB],
                relay: true,
            }),
            r#"{"type":"state","name":"Zoë 🦊","microphone":true,"camera":false,"knows":["0000000000000b0b"],"relay":true}"#,
        ),
        (PeerMessage::Bye, r#"{"type":"bye"}"#),
    ] {
        assert_eq!(message.encode(), text);
        assert_eq!(PeerMessage::decode(text.as_bytes()), Ok(message));
    }
}

#[test]
fn unknown_messages_fields_and_codes_are_not_fatal() {
    let unknown = r#"{"type":"dance","steps":[1,{"left":true}]}"#;
    assert_eq!(ClientMessage::decode(unknown), Ok(ClientMessage::Unknown));
    assert_eq!(ServerMessage::decode(unknown), Ok(ServerMessage::Unknown));
    assert_eq!(
        PeerMessage::decode(unknown.as_bytes()),
        Ok(PeerMessage::Unknown)
    );

    let more = r#"{"type":"leave","mood":{"happy":[true]}}"#;
    assert_eq!(ClientMessage::decode(more), Ok(ClientMessage::Leave));
    let more = r#"{"type":"bye","wave":1}"#;
    assert_eq!(PeerMessage::decode(more.as_bytes()), Ok(PeerMessage::Bye));
    assert_eq!(
        ServerMessage::decode(r#"{"type":"error","code":"eclipse","message":""}"#),
        Ok(ServerMessage::Error {
            code: ErrorCode::Unknown,
            message: String::new()
        })
    );
    assert_eq!(
        ServerMessage::decode(
            r#"{"type":"left","participant":"0000000000000b0b","reason":"bored"}"#
        ),
        Ok(ServerMessage::Left {
            participant: BOB,
            reason: DepartureReason::Unknown
        })
    );
}

#[test]
fn another_version_is_named_even_if_its_join_is_not_understood() {
    let text = r#"{"type":"join","version":2,"ticket":"x"}"#;
    assert_eq!(ClientMessage::decode(text), Err(DecodeError::Version(2)));
    let text = format!(
        r#"{{"type":"join","version":7,"room":"r","admission":"{TOKEN}","participant":"{ANN}"}}"#
    );
    assert_eq!(ClientMessage::decode(&text), Err(DecodeError::Version(7)));
}

#[test]
fn what_is_no_message_is_malformed() {
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep_field = format!(r#"{{"type":"leave","x":{deep}}}"#);
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "7",
        "\"join\"",
        r#"{"type":7}"#,
        r#"{"type":"send"}"#,
        r#"{"type":"send","to":"x","sealed":""}"#,
        r#"{"type":"send","to":"0000000000000b0b","sealed":7}"#,
        r#"{"type":"join","version":1,"room":"R","admission":"","participant":""}"#,
        r#"{"type":"join","version":"1"}"#,
        r#"{"type":"leave"} x"#,
        &deep,
        &deep_field,
    ] {
        let decoded = ClientMessage::decode(text);
        assert!(
            matches!(decoded, Err(DecodeError::Malformed(_))),
            "{decoded:?}"
        );
    }
}

#[test]
fn what_is_over_a_limit_is_refused() {
    let send = |length| {
        ClientMessage::Send {
            to: BOB,
            sealed: "A".repeat(length),
        }
        .encode()
    };
    assert!(ClientMessage::decode(&send(MAX_SEALED)).is_ok());
    assert_eq!(
        ClientMessage::decode(&send(MAX_SEALED + 1)),
        Err(DecodeError::TooLong("sealed"))
    );
    assert_eq!(
        ClientMessage::decode(&send(MAX_MESSAGE)),
        Err(DecodeError::TooLong("the message"))
    );

    let message = |length| {
        ServerMessage::Message {
            from: BOB,
            sealed: "A".repeat(length),
        }
        .encode()
    };
    assert!(ServerMessage::decode(&message(MAX_SEALED)).is_ok());
    assert_eq!(
        ServerMessage::decode(&message(MAX_SEALED + 1)),
        Err(DecodeError::TooLong("sealed"))
    );

    let welcome = |others: usize, urls: usize, url: usize, mesh_limit| {
        let server = IceServer {
            urls: vec!["u".repeat(url); urls],
            username: String::new(),
            credential: String::new(),
        };
        ServerMessage::decode(
            &ServerMessage::Welcome(Welcome {
                version: 1,
                resume: token(),
                resumed: false,
                participants: vec![BOB; others],
                ice_servers: vec![server],
                mesh_limit,
                topology: Topology::Mesh,
                relay: false,
            })
            .encode(),
        )
    };
    assert!(welcome(200, 16, 512, 200).is_ok());
    assert_eq!(
        welcome(201, 1, 1, 5),
        Err(DecodeError::TooLong("participants"))
    );
    assert_eq!(welcome(1, 17, 1, 5), Err(DecodeError::TooLong("urls")));
    assert_eq!(
        welcome(1, 1, 513, 5),
        Err(DecodeError::TooLong("ice_servers"))
    );
    assert_eq!(
        welcome(1, 1, 1, 201),
        Err(DecodeError::TooLong("mesh_limit"))
    );
}

#[test]
fn peer_messages_keep_their_limits() {
    let decode = |message: PeerMessage| PeerMessage::decode(message.encode().as_bytes());
    let description = |length| PeerMessage::Description {
        kind: DescriptionKind::Offer,
        sdp: "a".repeat(length),
    };
    assert!(decode(description(MAX_SDP)).is_ok());
    assert_eq!(
        decode(description(MAX_SDP + 1)),
        Err(DecodeError::TooLong("sdp"))
    );
    assert_eq!(
        decode(description(MAX_PEER_MESSAGE)),
        Err(DecodeError::TooLong("the message"))
    );

    let candidate = |line: usize, mid: usize| PeerMessage::Candidate {
        candidate: "a".repeat(line),
        sdp_mid: Some("a".repeat(mid)),
        sdp_mline_index: None,
        username_fragment: None,
    };
    assert!(decode(candidate(MAX_CANDIDATE, MAX_ICE_FIELD)).is_ok());
    assert_eq!(
        decode(candidate(MAX_CANDIDATE + 1, 1)),
        Err(DecodeError::TooLong("candidate"))
    );
    assert_eq!(
        decode(candidate(1, MAX_ICE_FIELD + 1)),
        Err(DecodeError::TooLong("candidate"))
    );

    let state = |name: String, knows| {
        PeerMessage::State(ParticipantState {
            name,
            microphone: true,
            camera: true,
            knows: vec![BOB; knows],
            relay: false,
        })
    };
    assert!(decode(state("🦊".repeat(64), 200)).is_ok());
    assert_eq!(
        decode(state("🦊".repeat(65), 0)),
        Err(DecodeError::TooLong("name"))
    );
    assert_eq!(
        decode(state(String::new(), 201)),
        Err(DecodeError::TooLong("knows"))
    );
    for name in ["a\nb", "a\u{202e}b", "\u{0}"] {
        let decoded = decode(state(name.to_owned(), 0));
        assert!(
            matches!(decoded, Err(DecodeError::Malformed(_))),
            "{name:?}"
        );
    }
}

#[test]
fn a_tidied_name_is_accepted() {
    for (typed, name) in [
        ("  Ann  ", "Ann"),
        ("Ann\tLee\u{202e}", "AnnLee"),
        ("", ""),
        (&"🦊".repeat(70), &"🦊".repeat(64)),
    ] {
        assert_eq!(tidy_name(typed), name);
        let state = ParticipantState {
            name: tidy_name(typed),
            microphone: false,
            camera: false,
            knows: Vec::new(),
            relay: false,
        };
        let message = PeerMessage::State(state);
        assert_eq!(
            PeerMessage::decode(message.encode().as_bytes()),
            Ok(message)
        );
    }
}

#[test]
fn messages_beside_the_media_have_these_texts() {
    let wanted = |width, height, paused| BesideMessage::Wanted {
        width,
        height,
        paused,
        deaf: false,
    };
    let video = |paused, reason| BesideMessage::Video { paused, reason };
    for (message, text) in [
        (
            BesideMessage::Hello {
                version: BESIDE_VERSION,
            },
            r#"{"kind":"hello","version":1}"#,
        ),
        (
            wanted(640, 360, false),
            r#"{"kind":"wanted","width":640,"height":360,"paused":false,"deaf":false}"#,
        ),
        (
            video(true, Some(PauseReason::Bandwidth)),
            r#"{"kind":"video","paused":true,"reason":"bandwidth"}"#,
        ),
        (video(false, None), r#"{"kind":"video","paused":false}"#),
        (
            BesideMessage::Strain(Strain {
                links: 3,
                up: 1,
                down: 0,
            }),
            r#"{"kind":"strain","links":3,"up":1,"down":0}"#,
        ),
        (
            BesideMessage::Envelope {
                to: ParticipantId::from_bits(0xb),
                from: ParticipantId::from_bits(0xa),
                sealed: "AQAA".to_owned(),
            },
            r#"{"kind":"envelope","to":"000000000000000b","from":"000000000000000a","sealed":"AQAA"}"#,
        ),
    ] {
        assert_eq!(message.encode(), text);
        assert_eq!(BesideMessage::decode(text.as_bytes()), Ok(message));
    }
}

#[test]
fn what_is_new_beside_the_media_is_ignored_and_what_is_too_much_refused() {
    let decode = |text: &str| BesideMessage::decode(text.as_bytes());
    for (text, message) in [
        (r#"{"kind":"wave","hand":["left"]}"#, BesideMessage::Unknown),
        (
            r#"{"kind":"wanted","width":2,"height":4,"depth":6}"#,
            BesideMessage::Wanted {
                width: 2,
                height: 4,
                paused: false,
                deaf: false,
            },
        ),
        (
            r#"{"kind":"video","paused":true,"reason":"moonlight"}"#,
            BesideMessage::Video {
                paused: true,
                reason: Some(PauseReason::Unknown),
            },
        ),
    ] {
        assert_eq!(decode(text), Ok(message));
    }
    for text in [
        "",
        "[]",
        r#"{"kind":7}"#,
        r#"{"kind":"wanted","width":-1,"height":2}"#,
        r#"{"kind":"wanted","width":1.5,"height":2}"#,
        r#"{"kind":"wanted","width":99999,"height":2}"#,
        r#"{"kind":"strain","links":201,"up":0,"down":0}"#,
        r#"{"kind":"strain","links":2,"up":3,"down":0}"#,
        r#"{"kind":"strain","links":2,"up":0}"#,
    ] {
        assert!(decode(text).is_err(), "{text}");
    }
    let long = format!(
        r#"{{"kind":"hello","version":1,"x":"{}"}}"#,
        "x".repeat(MAX_BESIDE)
    );
    assert_eq!(decode(&long), Err(DecodeError::TooLong("the message")));
}
