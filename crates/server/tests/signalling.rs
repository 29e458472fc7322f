//! Joining, talking, breaking off and coming back, through real sockets.

mod client;

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use client::{Client, PATIENCE, id, join, serve};
use nonstop_server::{Config, IceConfig, Rate, Server, StartError, Timing, TlsFiles};
use nonstop_wire::{
    ClientMessage, DepartureReason, ErrorCode, IceServer, MAX_SEALED, ServerMessage, Token,
};
use tokio::time::timeout;

#[tokio::test]
async fn two_people_meet_talk_and_leave() {
    let (_server, address) = serve(Config::default()).await;
    let (mut ann, welcome) = Client::join(address, "standup", 1).await;
    assert_eq!(welcome.participants, []);
    assert!(!welcome.resumed);
    let (mut bob, welcome) = Client::join(address, "standup", 2).await;
    assert_eq!(welcome.participants, [id(1)]);
    assert_eq!(
        ann.next().await,
        Some(ServerMessage::Joined { participant: id(2) })
    );

    bob.say(1, &"A".repeat(MAX_SEALED)).await;
    let sealed = "A".repeat(MAX_SEALED);
    assert_eq!(
        ann.next().await,
        Some(ServerMessage::Message {
            from: id(2),
            sealed
        })
    );
    ann.say(3, "AQ").await;
    assert_refused(&mut ann, ErrorCode::NoSuchParticipant).await;
    ann.text(r#"{"type":"from_the_future"}"#).await;
    ann.say(2, "AQ").await;
    let sealed = "AQ".to_owned();
    assert_eq!(
        bob.next().await,
        Some(ServerMessage::Message {
            from: id(1),
            sealed
        })
    );

    bob.send(&ClientMessage::Leave).await;
    assert_eq!(bob.next().await, None);
    let reason = DepartureReason::Left;
    assert_eq!(
        ann.next().await,
        Some(ServerMessage::Left {
            participant: id(2),
            reason
        })
    );
}

#[tokio::test]
async fn payloads_arrive_in_order() {
    let (_server, address) = serve(Config::default()).await;
    let (mut ann, _) = Client::join(address, "standup", 1).await;
    let (mut bob, _) = Client::join(address, "standup", 2).await;
    ann.next().await;
    for number in 0..300 {
        bob.say(1, &number.to_string()).await;
    }
    for number in 0..300 {
        let sealed = number.to_string();
        assert_eq!(
            ann.next().await,
            Some(ServerMessage::Message {
                from: id(2),
                sealed
            })
        );
    }
}

#[tokio::test]
async fn a_broken_connection_resumes_within_the_window() {
    let (_server, address) = serve(Config::default()).await;
    let (mut ann, _) = Client::join(address, "standup", 1).await;
    let (bob, welcome) = Client::join(address, "standup", 2).await;
    ann.next().await;
    drop(bob);
    assert_eq!(
        ann.next().await,
        Some(ServerMessage::Away { participant: id(2) })
    );

    let mut bob = Client::connect(address).await;
    let resumed = bob
        .enter(join("standup", 2, Some(welcome.resume.clone())))
        .await;
    assert!(resumed.resumed);
    assert_eq!(resumed.resume, welcome.resume);
    assert_eq!(resumed.participants, [id(1)]);
    assert_eq!(
        ann.next().await,
        Some(ServerMessage::Back { participant: id(2) })
    );
}

#[tokio::test]
async fn whoever_does_not_resume_is_lost() {
    let (_server, address) = serve(hasty()).await;
    let (mut ann, _) = Client::join(address, "standup", 1).await;
    let (bob, _) = Client::join(address, "standup", 2).await;
    ann.next().await;
    drop(bob);
    assert_eq!(
        ann.next().await,
        Some(ServerMessage::Away { participant: id(2) })
    );
    let reason = DepartureReason::Lost;
    assert_eq!(
        ann.next().await,
        Some(ServerMessage::Left {
            participant: id(2),
            reason
        })
    );
}

#[tokio::test]
async fn a_newer_connection_takes_over() {
    let (_server, address) = serve(Config::default()).await;
    let (mut ann, _) = Client::join(address, "standup", 1).await;
    let (mut old, welcome) = Client::join(address, "standup", 2).await;
    ann.next().await;
    let mut new = Client::connect(address).await;
    assert!(
        new.enter(join("standup", 2, Some(welcome.resume)))
            .await
            .resumed
    );
    assert_refused(&mut old, ErrorCode::Replaced).await;
    assert_eq!(old.next().await, None);
    new.say(1, "AQ").await;
    let sealed = "AQ".to_owned();
    assert_eq!(
        ann.next().await,
        Some(ServerMessage::Message {
            from: id(2),
            sealed
        })
    );
}

#[tokio::test]
async fn a_restart_on_the_same_port_lets_everybody_join_again() {
    let (server, address) = serve(Config::default()).await;
    let (mut ann, welcome) = Client::join(address, "standup", 1).await;
    drop(server);
    let restarted = Server::start(Config {
        listen: vec![address],
        ..Config::default()
    })
    .await;
    let _restarted = restarted.expect("the port is free at once");
    assert_eq!(ann.next().await, None);

    let mut ann = Client::connect(address).await;
    let again = ann
        .enter(join("standup", 1, Some(welcome.resume.clone())))
        .await;
    assert!(!again.resumed);
    // The seat is new and the token is the old one: were this welcome lost, it would still fit.
    assert_eq!(again.resume, welcome.resume);
}

#[tokio::test]
async fn stopping_says_goodbye() {
    let (server, address) = serve(Config::default()).await;
    let (mut ann, _) = Client::join(address, "standup", 1).await;
    let (ended, ()) = tokio::join!(ann.next(), server.stop());
    assert_eq!(ended, None);
    assert!(Client::try_connect(address).await.is_err());
}

#[tokio::test]
async fn refusals_are_named() {
    let (_server, address) = serve(hasty()).await;
    let (_ann, _) = Client::join(address, "standup", 1).await;
    let wrong_token = Token::from_bytes([2; 32]).reveal();
    let right = join("standup", 2, None).encode();
    for (text, code) in [
        (join("standup", 1, None).encode(), ErrorCode::IdTaken),
        (
            right.replace(&Token::from_bytes([1; 32]).reveal(), &wrong_token),
            ErrorCode::NotAdmitted,
        ),
        (
            right.replace("\"version\":1", "\"version\":2"),
            ErrorCode::Version,
        ),
        (right.replace("standup", "Not A Room"), ErrorCode::Malformed),
        (r#"{"type":"leave"}"#.to_owned(), ErrorCode::NotJoined),
        ("hello".to_owned(), ErrorCode::Malformed),
    ] {
        let mut client = Client::connect(address).await;
        client.text(&text).await;
        assert_refused(&mut client, code).await;
        assert_eq!(client.next().await, None, "{text}");
    }
    let mut silent = Client::connect(address).await;
    assert_refused(&mut silent, ErrorCode::NotJoined).await;
}

#[tokio::test]
async fn joining_twice_is_refused() {
    let (_server, address) = serve(Config::default()).await;
    let (mut ann, _) = Client::join(address, "standup", 1).await;
    ann.send(&join("standup", 1, None)).await;
    assert_refused(&mut ann, ErrorCode::Malformed).await;
    assert_eq!(ann.next().await, None);
}

#[tokio::test]
async fn participants_are_told_of_the_ice_servers() {
    let server = IceServer {
        urls: vec!["turn:turn.example.org".to_owned()],
        username: String::new(),
        credential: String::new(),
    };
    let ice = IceConfig {
        servers: vec![server],
        turn_secret: Some("north".to_owned()),
    };
    let (_server, address) = serve(Config {
        ice,
        ..Config::default()
    })
    .await;
    let (_ann, welcome) = Client::join(address, "standup", 1).await;
    assert_eq!(welcome.ice_servers[0].urls, ["turn:turn.example.org"]);
    assert!(
        welcome.ice_servers[0]
            .username
            .ends_with(":0000000000000001")
    );
}

#[tokio::test]
async fn it_listens_on_several_addresses_and_says_which_it_cannot_take() {
    let listen = vec![
        "127.0.0.1:0".parse().unwrap(),
        "127.0.0.2:0".parse().unwrap(),
    ];
    let server = Server::start(Config {
        listen,
        ..Config::default()
    })
    .await
    .unwrap();
    let &[first, second] = server.addresses() else {
        panic!("two addresses")
    };
    let (_ann, _) = Client::join(first, "standup", 1).await;
    let (_bob, welcome) = Client::join(second, "standup", 2).await;
    assert_eq!(welcome.participants, [id(1)]);

    let taken = Server::start(Config {
        listen: vec![first],
        ..Config::default()
    })
    .await;
    assert!(matches!(taken, Err(StartError::Listen { address, .. }) if address == first));
}

#[tokio::test]
async fn it_speaks_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |text: String| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    let certificate = file(certified.cert.pem());
    let key = file(certified.signing_key.serialize_pem());
    let tls = TlsFiles {
        certificate: certificate.path().into(),
        key: key.path().into(),
    };
    let (_server, address) = serve(Config {
        tls: Some(tls.clone()),
        ..Config::default()
    })
    .await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trusted = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let url = format!("wss://localhost:{}/signalling", address.port());
    let mut ann = Client::connect_tls(&url, Arc::new(trusted)).await;
    let welcome = ann.enter(join("standup", 1, None)).await;
    assert_eq!(welcome.participants, []);
    assert!(
        Client::try_connect(address).await.is_err(),
        "plain HTTP is not answered"
    );

    for (certificate, key) in [(&tls.key, &tls.key), (&tls.certificate, &tls.certificate)] {
        let tls = TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let started = Server::start(Config {
            tls: Some(tls),
            ..Config::default()
        })
        .await;
        assert!(matches!(started, Err(StartError::Tls(_))), "{started:?}");
    }
}

#[tokio::test]
async fn a_connection_without_a_sign_of_life_is_away() {
    let (_server, address) = serve(hasty()).await;
    let (mut ann, _) = Client::join(address, "standup", 1).await;
    let (bob, _) = Client::join(address, "standup", 2).await;
    ann.next().await;
    // Bob's socket stays open, but nobody reads it, so nobody answers pings; Ann's is read.
    assert_eq!(
        ann.next().await,
        Some(ServerMessage::Away { participant: id(2) })
    );
    let reason = DepartureReason::Lost;
    assert_eq!(
        ann.next().await,
        Some(ServerMessage::Left {
            participant: id(2),
            reason
        })
    );
    drop(bob);
}

#[tokio::test]
async fn whoever_reads_too_slowly_is_cut_and_the_others_go_on() {
    let mut config = Config::default();
    config.limits.messages = Rate {
        burst: 1e6,
        per_second: 1e6,
    };
    let (_server, address) = serve(config).await;
    let (mut ann, _) = Client::join(address, "standup", 1).await;
    let (deaf, _) = Client::join(address, "standup", 2).await;
    let (mut eve, _) = Client::join(address, "standup", 3).await;
    // 64 MB: more than any system holds back for a connection, and more than the queue.
    let sealed = "A".repeat(MAX_SEALED);
    for _ in 0..64 * 1024 * 1024 / MAX_SEALED {
        ann.say(2, &sealed).await;
    }
    ann.say(3, "AQ").await;
    assert_eq!(
        eve.next().await,
        Some(ServerMessage::Away { participant: id(2) })
    );
    let sealed = "AQ".to_owned();
    assert_eq!(
        eve.next().await,
        Some(ServerMessage::Message {
            from: id(1),
            sealed
        })
    );
    drop(deaf);
}

async fn assert_refused(client: &mut Client, expected: ErrorCode) {
    match timeout(PATIENCE, client.next()).await.unwrap() {
        Some(ServerMessage::Error { code, .. }) => assert_eq!(code, expected),
        other => panic!("{other:?} in place of {expected:?}"),
    }
}

/// A server that waits for nobody for long.
fn hasty() -> Config {
    Config {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        timing: Timing {
            greeting: Duration::from_secs(2),
            ping: Duration::from_millis(500),
            silence: Duration::from_secs(3),
            resume_window: Duration::from_millis(500),
        },
        ..Config::default()
    }
}
