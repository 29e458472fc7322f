//! The messages about the relay as text: what is written here is what travels.

use nonstop_wire::*;

const ANN: ParticipantId = ParticipantId::from_bits(0x0123_4567_89ab_cdef);
const BOB: ParticipantId = ParticipantId::from_bits(0xb0b);

fn open() -> RelayOpen {
    RelayOpen {
        connection: 2,
        ufrag: "uFrg".to_owned(),
        password: "0123456789012345678901".to_owned(),
        fingerprint: "AA:BB".to_owned(),
        sound: 7,
        layers: vec![8, 9],
        payload_types: RelayPayloadTypes {
            sound: 111,
            pictures: 102,
            repair: 103,
        },
        extensions: RelayExtensions {
            audio_level: 1,
            transport_cc: 3,
            frame_marking: 5,
            newest_picture: Some(6),
        },
    }
}

fn refused(change: impl FnOnce(&mut RelayOpen)) -> DecodeError {
    let mut open = open();
    change(&mut open);
    let text = ClientMessage::RelayOpen(open).encode();
    ClientMessage::decode(&text).expect_err("it cannot be so")
}

#[test]
fn what_participants_say_about_the_relay_has_these_texts() {
    let messages = [
        (
            ClientMessage::RelayOpen(open()),
            r#"{"type":"relay_open","connection":2,"ufrag":"uFrg","password":"0123456789012345678901","fingerprint":"AA:BB","sound":7,"layers":[8,9],"payload_types":{"sound":111,"pictures":102,"repair":103},"extensions":{"audio_level":1,"transport_cc":3,"frame_marking":5,"newest_picture":6}}"#,
        ),
        (
            ClientMessage::RelayClose { connection: 2 },
            r#"{"type":"relay_close","connection":2}"#,
        ),
        (
            ClientMessage::Publish(Publish {
                sound: true,
                layers: vec![LayerSize {
                    width: 320,
                    height: 180,
                }],
                preferred: false,
            }),
            r#"{"type":"publish","sound":true,"layers":[{"width":320,"height":180}],"preferred":false}"#,
        ),
        (ClientMessage::Unpublish, r#"{"type":"unpublish"}"#),
        (
            ClientMessage::Watch(Watch {
                pictures: vec![Watched {
                    participant: ANN,
                    width: 426,
                    height: 240,
                }],
                deaf_to: vec![BOB],
                deaf: false,
                arriving: Some(800_000),
                loses: true,
            }),
            r#"{"type":"watch","pictures":[{"participant":"0123456789abcdef","width":426,"height":240}],"deaf_to":["0000000000000b0b"],"deaf":false,"arriving":800000,"loses":true}"#,
        ),
    ];
    for (message, text) in messages {
        assert_eq!(message.encode(), text);
        assert_eq!(ClientMessage::decode(text), Ok(message));
    }
    let least = r#"{"type":"watch","pictures":[]}"#;
    let watch = ClientMessage::Watch(Watch::default());
    assert_eq!(ClientMessage::decode(least), Ok(watch));
}

#[test]
fn what_the_server_says_about_the_relay_has_these_texts() {
    let messages = [
        (
            ServerMessage::Topology {
                topology: Topology::Relay,
            },
            r#"{"type":"topology","topology":"relay"}"#,
        ),
        (
            ServerMessage::RelayOpened(RelayOpened {
                connection: 2,
                ufrag: "uFrg".to_owned(),
                password: "pass".to_owned(),
                fingerprint: "AA:BB".to_owned(),
                addresses: vec!["192.0.2.1:444".parse().expect("an address")],
                padding_ssrc: 77,
            }),
            r#"{"type":"relay_opened","connection":2,"ufrag":"uFrg","password":"pass","fingerprint":"AA:BB","addresses":["192.0.2.1:444"],"padding_ssrc":77}"#,
        ),
        (
            ServerMessage::RelayClosed { connection: 2 },
            r#"{"type":"relay_closed","connection":2}"#,
        ),
        (
            ServerMessage::Published(Published {
                participant: ANN,
                sound: true,
                pictures: false,
                preferred: true,
                sound_ssrc: 1,
                pictures_ssrc: 2,
                repair_ssrc: 3,
            }),
            r#"{"type":"published","participant":"0123456789abcdef","sound":true,"pictures":false,"preferred":true,"sound_ssrc":1,"pictures_ssrc":2,"repair_ssrc":3}"#,
        ),
        (
            ServerMessage::Unpublished { participant: ANN },
            r#"{"type":"unpublished","participant":"0123456789abcdef"}"#,
        ),
        (
            ServerMessage::Wanted(Wanted {
                sound: true,
                layers: vec![true, false],
                redundancy: true,
            }),
            r#"{"type":"wanted","sound":true,"layers":[true,false],"redundancy":true}"#,
        ),
        (
            ServerMessage::Allotted {
                pictures: vec![
                    Allotted {
                        participant: ANN,
                        layer: Some(1),
                    },
                    Allotted {
                        participant: BOB,
                        layer: None,
                    },
                ],
            },
            r#"{"type":"allotted","pictures":[{"participant":"0123456789abcdef","layer":1},{"participant":"0000000000000b0b"}]}"#,
        ),
        (
            ServerMessage::Speakers {
                participants: vec![BOB, ANN],
            },
            r#"{"type":"speakers","participants":["0000000000000b0b","0123456789abcdef"]}"#,
        ),
    ];
    for (message, text) in messages {
        assert_eq!(message.encode(), text);
        assert_eq!(ServerMessage::decode(text), Ok(message));
    }
    let later = r#"{"type":"topology","topology":"tree"}"#;
    let unknown = ServerMessage::Topology {
        topology: Topology::Unknown,
    };
    assert_eq!(ServerMessage::decode(later), Ok(unknown));
}

#[test]
fn a_connection_that_contradicts_itself_is_refused() {
    assert_eq!(
        refused(|open| open.layers = vec![1, 2, 3, 4]),
        DecodeError::TooLong("layers")
    );
    assert_eq!(
        refused(|open| open.password = "x".repeat(257)),
        DecodeError::TooLong("relay_open")
    );
    let malformed = |error: DecodeError| matches!(error, DecodeError::Malformed(_));
    assert!(malformed(refused(|open| open.sound = 8)), "one of two");
    assert!(malformed(refused(|open| open.sound = 0)));
    assert!(malformed(refused(|open| open.payload_types.repair = 102)));
    assert!(malformed(refused(|open| open.payload_types.sound = 128)));
    assert!(malformed(refused(|open| open.extensions.transport_cc = 15)));
    assert!(malformed(refused(|open| open.extensions.transport_cc = 0)));
    assert!(malformed(refused(|open| open.extensions.audio_level = 3)));
}

#[test]
fn more_than_a_room_holds_is_refused() {
    let watched = Watched {
        participant: ANN,
        width: 1,
        height: 1,
    };
    let decode = |watch| ClientMessage::decode(&ClientMessage::Watch(watch).encode());
    let mut watch = Watch {
        pictures: vec![watched; 201],
        ..Watch::default()
    };
    assert_eq!(decode(watch.clone()), Err(DecodeError::TooLong("pictures")));
    watch.pictures = vec![Watched {
        width: 32_769,
        ..watched
    }];
    assert_eq!(decode(watch), Err(DecodeError::TooLong("width")));
    let speakers = ServerMessage::Speakers {
        participants: vec![ANN; 9],
    };
    assert_eq!(
        ServerMessage::decode(&speakers.encode()),
        Err(DecodeError::TooLong("participants"))
    );
}
