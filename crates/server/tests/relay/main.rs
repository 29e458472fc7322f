//! The relay through real sockets, with participants on an ordinary WebRTC library.

#[path = "../client/mod.rs"]
mod client;
mod peer;

use std::net::SocketAddr;

use client::serve;
use nonstop_server::{Config, RelayConfig, Server};
use peer::{Packet, Peer, SIZES};

async fn relay() -> (Server, SocketAddr) {
    serve(Config {
        relay: Some(RelayConfig::default()),
        ..Config::default()
    })
    .await
}

fn without_gaps(packets: &[Packet]) -> bool {
    let mut sequences: Vec<_> = packets.iter().map(|packet| packet.sequence).collect();
    sequences.sort_unstable();
    sequences.dedup();
    sequences.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_pictures_reach_whoever_watches() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    ann.publish(true, 3).await;
    bob.wait("told of the publication", |heard| {
        heard.published(1).is_some()
    })
    .await;
    bob.watch(&[1], SIZES[0]).await;
    ann.wait("wanted", |heard| {
        let wanted = heard.wanted();
        wanted.is_some_and(|wanted| wanted.sound && wanted.layers.contains(&true))
    })
    .await;
    bob.wait("given pictures", |heard| heard.pictures(1).len() >= 50)
        .await;
    bob.wait("given sound", |heard| heard.sound(1).len() >= 50)
        .await;
    let published = bob.record().published(1).unwrap();
    bob.wait("told what time it is", |heard| {
        heard.reports.contains_key(&published.sound_ssrc)
            && heard.reports.contains_key(&published.pictures_ssrc)
    })
    .await;

    let heard = bob.record();
    let (pictures, sound) = (heard.pictures(1), heard.sound(1));
    assert!(without_gaps(pictures) && without_gaps(sound));
    let first = pictures[0].marking.expect("marked");
    assert!(first.start && first.independent, "begins with a keyframe");
    assert!(sound.iter().all(|packet| packet.level == Some(-30)));
    assert!(sound[0].marker, "a talk spurt begins");
    // Timestamps are the publisher's own, on every packet of a picture the same.
    assert!(
        sound
            .windows(2)
            .all(|pair| { pair[1].timestamp.wrapping_sub(pair[0].timestamp) % 960 == 0 })
    );
    assert!(pictures.iter().all(|packet| packet.timestamp % 3600 == 0));
    assert!(ann.record().streams.is_empty(), "nobody hears themselves");
}
