//! Connections to the relay of our own server, in one process, over real sockets on loopback.

mod guest;

use nonstop_server::{Config, RelayConfig, Server, TurnConfig};
use tokio::time::{sleep, timeout};

use self::guest::{Guest, Loss};
use super::*;
use crate::{clock, mesh::PathPolicy};

/// Long enough for the busiest computer.
const PATIENCE: Duration = Duration::from_secs(40);
const SMALL: Size = Size::new(160, 90);
const LARGE: Size = Size::new(1280, 720);
const HIDDEN: Size = Size::new(0, 0);

async fn server(listen: &str) -> Server {
    let turn = TurnConfig {
        peers: vec!["127.0.0.0/8".parse().expect("a network")],
        ..TurnConfig::default()
    };
    let config = Config {
        listen: vec![listen.parse().expect("an address")],
        relay: Some(RelayConfig::default()),
        turn: Some(turn),
        ..Config::default()
    };
    Server::start(config).await.expect("loopback is there")
}

fn everything() -> Option<Offer> {
    Some(Offer {
        sound: true,
        pictures: true,
        preferred: false,
    })
}

/// Two guests, of whom the first publishes.
async fn two(server: &Server) -> (Guest, Guest) {
    let address = server.addresses()[0];
    let mut one = Guest::join(1, address, PathPolicy::Auto);
    let mut two = Guest::join(2, address, PathPolicy::Auto);
    one.until("up", |seen| seen.up > 0).await;
    two.until("up", |seen| seen.up > 0).await;
    one.relayed.publish(everything());
    two.until("published", |seen| !seen.published.is_empty())
        .await;
    (one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_publishes_the_other_sees_and_hears() {
    let server = server("127.0.0.1:0").await;
    let (one, mut two) = two(&server).await;
    let started = clock::now();
    two.take(&one, SMALL, true);
    two.until("seen and heard", |seen| seen.picture > 0 && seen.sound > 0)
        .await;
    println!("seen and heard after {:?}", started.elapsed());
    two.until("figures", |seen| {
        seen.stats.as_ref().is_some_and(|stats| {
            stats.path == Some(Path::Relay)
                && stats.decoded_fps.is_some_and(|fps| fps > 5.0)
                && stats.round_trip_time.is_some()
                && stats.capture_to_display.is_some()
        })
    })
    .await;
    println!("{:?}", two.seen.stats);
    let size = two.newest().expect("a picture is shown").size();
    assert_eq!(size, Size::new(320, 180));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_a_picture_large_gets_a_larger_layer_and_nobody_watching_ends_encoding() {
    let server = server("127.0.0.1:0").await;
    let (mut one, mut two) = two(&server).await;
    two.take(&one, SMALL, true);
    two.until("a picture", |seen| seen.picture > 0).await;
    one.until("one layer", |seen| seen.uplink.sent == [true, false, false])
        .await;
    two.take(&one, LARGE, true);
    let larger = async {
        while two.newest().is_none_or(|frame| frame.size().width < 640) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, larger).await.expect("a larger layer");
    two.take(&one, HIDDEN, false);
    one.until("nothing sent", |seen| {
        let sent = seen.uplink.video_sent + seen.uplink.audio_sent;
        seen.uplink.sent == [false; 3] && sent == Bitrate::ZERO
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_was_restarted_is_used_again() {
    let first = server("127.0.0.1:0").await;
    let address = first.addresses()[0];
    let (one, mut two) = two(&first).await;
    two.take(&one, SMALL, true);
    two.until("seen and heard", |seen| seen.picture > 0 && seen.sound > 0)
        .await;
    let gone = clock::now();
    drop(first);
    sleep(Duration::from_millis(300)).await;
    let second = server(&address.to_string()).await;
    two.until("down and up", |seen| seen.down > 0 && seen.up > 1)
        .await;
    let up = gone.elapsed();
    two.until("seen and heard again", |seen| {
        seen.picture > 1 && seen.sound > 1
    })
    .await;
    let back = gone.elapsed();
    println!("up after {up:?}, seen and heard after {back:?}");
    assert!(back < Duration::from_secs(5), "{up:?}, {back:?}");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_survives_the_loss_of_any_of_its_datagrams() {
    let server = server("127.0.0.1:0").await;
    let address = server.addresses()[0];
    let losses = (1..=6).flat_map(|n| [Loss(Some(n), None), Loss(None, Some(n))]);
    let began = clock::now();
    let mut guests: Vec<_> = (1..)
        .zip(losses)
        .map(|(id, loss)| {
            let guest = Guest::join_past(id, address, PathPolicy::Auto, Some(loss));
            (loss, guest)
        })
        .collect();
    while !guests.is_empty() {
        // What is not repeated in time is begun anew after 12 s.
        assert!(began.elapsed() < Duration::from_secs(11), "never up");
        sleep(Duration::from_millis(10)).await;
        guests.retain_mut(|(loss, guest)| {
            guest.drain();
            if guest.seen.up > 0 {
                println!("{loss:?}: up after {:?}", began.elapsed());
            }
            guest.seen.up == 0
        });
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_udp_the_way_goes_through_turn() {
    let server = server("127.0.0.1:0").await;
    let address = server.addresses()[0];
    let only = PathPolicy::Only(Path::TurnTcp);
    let mut one = Guest::join(1, address, PathPolicy::Auto);
    let mut two = Guest::join(2, address, only);
    two.until("up", |seen| seen.up > 0).await;
    assert_eq!(two.seen.way, Some(Path::TurnTcp));
    one.until("up", |seen| seen.up > 0).await;
    one.relayed.publish(everything());
    two.until("published", |seen| !seen.published.is_empty())
        .await;
    two.take(&one, SMALL, true);
    two.until("seen and heard", |seen| seen.picture > 0 && seen.sound > 0)
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_says_next_to_nothing() {
    let server = server("127.0.0.1:0").await;
    let (mut one, _two) = two(&server).await;
    let before = one.packets();
    let started = clock::now();
    sleep(Duration::from_secs(10)).await;
    one.drain();
    let (out, took) = (one.packets() - before, started.elapsed());
    println!("{out} packets in {took:?}");
    assert!(out <= 40, "{out} packets in {took:?}");
    assert_eq!(one.seen.down, 0);
    server.stop().await;
}
