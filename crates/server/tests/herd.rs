//! Everybody comes back at once: a server that is restarted with an empty memory while many
//! participants of one room wait for it, each with waits of its own.

mod client;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use client::{Client, id, join, serve};
use futures_util::StreamExt;
use nonstop_server::{Config, Server};
use nonstop_wire::{ClientMessage, ErrorCode, ServerMessage};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

const PEOPLE: u64 = 200;
/// What a participant waits at most between two attempts, and at least half of it.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_are_back_within_five_seconds_of_a_restart() {
    let (server, address) = serve(Config::default()).await;
    let (told, mut news) = mpsc::channel(1024);
    let mut people = JoinSet::new();
    for number in 1..=PEOPLE {
        people.spawn(take_part(address, number, told.clone()));
    }
    for _ in 0..PEOPLE {
        let (_, resumed) = news.recv().await.unwrap();
        assert!(!resumed);
    }

    drop(server);
    // Long enough for all to be in the middle of their longest waits.
    sleep(LONGEST_WAIT).await;
    let config = Config {
        listen: vec![address],
        ..Config::default()
    };
    let server = restart(config).await;
    let returned = now();
    let mut last = returned;
    for _ in 0..PEOPLE {
        let back = timeout(Duration::from_secs(30), news.recv()).await;
        let (at, resumed) = back.expect("everybody comes back").unwrap();
        assert!(!resumed, "its memory is empty");
        last = last.max(at);
    }
    let took = last - returned;
    assert!(took <= Duration::from_secs(5), "the last after {took:?}");

    // They have their ids and their room again: whoever has another link is not let in, and
    // whoever comes is told of all.
    let mut stranger = Client::connect(address).await;
    let ClientMessage::Join {
        room, participant, ..
    } = join("standup", PEOPLE + 1, None)
    else {
        unreachable!("that is what it makes");
    };
    let admission = nonstop_wire::Token::from_bytes([2; 32]);
    stranger
        .send(&ClientMessage::Join {
            version: 1,
            room,
            admission,
            participant,
            resume: None,
        })
        .await;
    match stranger.next().await {
        Some(ServerMessage::Error { code, .. }) => assert_eq!(code, ErrorCode::NotAdmitted),
        other => panic!("let in: {other:?}"),
    }
    people.abort_all();
    drop(server);
}

/// Joins, and comes back whenever the connection breaks. Tells when it is in.
async fn take_part(address: SocketAddr, number: u64, told: mpsc::Sender<(Instant, bool)>) {
    let mut resume = None;
    let mut random = number;
    loop {
        if let Ok(mut client) = Client::try_connect(address).await {
            client.send(&join("standup", number, resume.clone())).await;
            // Others who come back at the same time are told of first, or not at all.
            while let Some(Ok(frame)) = client.socket.next().await {
                let Ok(text) = frame.into_text() else {
                    continue;
                };
                match ServerMessage::decode(&text) {
                    Ok(ServerMessage::Welcome(welcome)) => {
                        assert!(!welcome.participants.contains(&id(number)));
                        if let Some(before) = &resume {
                            assert_eq!(*before, welcome.resume, "the token stays the same");
                        }
                        resume = Some(welcome.resume);
                        let _ = told.send((now(), welcome.resumed)).await;
                    }
                    Ok(ServerMessage::Error { code, .. }) => panic!("refused: {code:?}"),
                    _ => {}
                }
            }
        }
        // A linear congruential generator (Knuth): the same waits in each run.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let share = (random >> 40) as f64 / f64::from(1 << 24);
        sleep(LONGEST_WAIT.mul_f64(0.5 + share / 2.0)).await;
    }
}

/// The port is free as soon as the old server's task has ended.
async fn restart(config: Config) -> Server {
    for _ in 0..200 {
        if let Ok(server) = Server::start(config.clone()).await {
            return server;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the port stays taken");
}

#[expect(clippy::disallowed_methods, reason = "tests have no clock file")]
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
