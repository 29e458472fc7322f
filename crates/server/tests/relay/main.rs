//! The relay through real sockets, with participants on an ordinary WebRTC library.

mod abuse;
#[path = "../client/mod.rs"]
mod client;
mod handshake;
mod marked;
mod peer;
#[allow(dead_code, reason = "the tests of TURN use the rest")]
#[path = "../turn/program.rs"]
mod program;
#[allow(dead_code, reason = "the tests of TURN use the rest")]
#[path = "../turn/raw.rs"]
mod raw;
mod record;
#[allow(dead_code, reason = "the tests of TURN use the rest")]
#[path = "../turn/wire.rs"]
mod wire;
mod withheld;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use client::serve;
use nonstop_server::{Config, RelayConfig, Server, TurnConfig};
use nonstop_wire::{ClientMessage, ServerMessage};
use peer::{Order, Peer, SIZES, now};
use record::Packet;

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
    // It tells which picture left before it; datagrams keep their order here.
    let told = (sound.iter()).filter_map(|packet| Some((packet.at, packet.newest_picture?)));
    let told: Vec<_> = told.collect();
    assert!(told.len() >= 25 && told.is_sorted_by_key(|(_, number)| *number));
    assert!(told[told.len() - 1].1 >= told[0].1 + 10, "{told:?}");
    for (at, number) in told {
        let before = pictures.iter().rfind(|picture| picture.at <= at);
        assert!(before.is_some_and(|picture| picture.sequence >= u64::from(number)));
    }
    // Timestamps are the publisher's own, on every packet of a picture the same.
    assert!(
        sound
            .windows(2)
            .all(|pair| { pair[1].timestamp.wrapping_sub(pair[0].timestamp) % 960 == 0 })
    );
    assert!(pictures.iter().all(|packet| packet.timestamp % 3600 == 0));
    assert!(ann.record().streams.is_empty(), "nobody hears themselves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_survives_the_loss_of_any_of_its_datagrams() {
    let (_server, address) = relay().await;
    let mut peers = Vec::new();
    for (id, number) in (1..).zip(1..=6) {
        for (id, lost) in [(id, (Some(number), None)), (id + 100, (None, Some(number)))] {
            let peer = Peer::join(address, id).await;
            peer.order(Order::LoseOfHandshake(lost.0, lost.1)).await;
            peer.order(Order::Open { connection: 1 }).await;
            peers.push((lost, peer));
        }
    }
    let began = now();
    for (lost, peer) in &peers {
        let what = format!("connected without {lost:?}");
        peer.wait(&what, |heard| heard.connected).await;
        println!("{lost:?}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_share_threads_and_each_has_a_port_of_its_own() {
    let (_server, address) = serve(Config {
        relay: Some(RelayConfig {
            threads: 2,
            connections: 12,
            ..RelayConfig::default()
        }),
        ..Config::default()
    })
    .await;
    let mut rooms = Vec::new();
    for name in ["attic", "barn", "cellar", "den", "eaves", "foyer"] {
        let ann = Peer::connect_in(name, address, 1).await;
        let bob = Peer::connect_in(name, address, 2).await;
        ann.publish(true, 1).await;
        bob.wait("told", |heard| heard.published(1).is_some()).await;
        bob.watch(&[1], SIZES[0]).await;
        rooms.push((ann, bob));
    }
    let mut ports = std::collections::HashSet::new();
    for (ann, bob) in &rooms {
        bob.wait("given pictures", |heard| heard.pictures(1).len() >= 20)
            .await;
        let port = |peer: &Peer| peer.record().opened.as_ref().unwrap().addresses[0].port();
        assert_eq!(port(ann), port(bob));
        ports.insert(port(ann));
    }
    assert_eq!(ports.len(), 2);

    // As many as there may be are there, on both threads together.
    let late = Peer::join(address, 3).await;
    late.order(Order::Open { connection: 1 }).await;
    late.wait("refused", |heard| {
        let refused = ServerMessage::RelayClosed { connection: 1 };
        heard.messages.contains(&refused)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_are_lost_are_sent_again() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    ann.publish(true, 1).await;
    bob.wait("told", |heard| heard.published(1).is_some()).await;
    bob.order(Order::Lose(10)).await;
    bob.watch(&[1], SIZES[0]).await;
    bob.wait("given pictures", |heard| heard.pictures(1).len() >= 200)
        .await;

    // The last ones may still be on their way.
    let heard = bob.record();
    let mut pictures = heard.pictures(1).to_vec();
    pictures.sort_unstable_by_key(|packet| packet.sequence);
    assert!(heard.dropped >= 20, "{} lost", heard.dropped);
    assert!(without_gaps(&pictures[..180]), "all of them repaired");
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_never_came_are_asked_for_again_and_again() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    ann.order(Order::Withhold(10)).await;
    ann.publish(true, 1).await;
    bob.wait("told", |heard| heard.published(1).is_some()).await;
    bob.watch(&[1], SIZES[0]).await;
    bob.wait("given pictures", |heard| heard.pictures(1).len() >= 200)
        .await;

    // The last one may not have been asked for three times yet.
    let heard = ann.record();
    let (sent_late, withheld) = (heard.sent_late, heard.withheld);
    assert!(sent_late >= 18, "{sent_late} of {withheld}");
    let mut pictures = bob.record().pictures(1).to_vec();
    pictures.sort_unstable_by_key(|packet| packet.sequence);
    assert!(without_gaps(&pictures[..180]), "all of them came");
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_never_came_are_known_from_sound_alone() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    ann.publish(true, 1).await;
    bob.wait("told", |heard| heard.published(1).is_some()).await;
    bob.watch(&[1], SIZES[0]).await;
    bob.wait("given pictures", |heard| heard.pictures(1).len() >= 50)
        .await;

    // From now on each picture comes only because it was asked for.
    ann.order(Order::Withhold(1)).await;
    let seen = bob.record().pictures(1).len();
    bob.wait("given more", |heard| heard.pictures(1).len() >= seen + 60)
        .await;
    assert!(ann.record().sent_late >= 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_joiner_sees_a_picture_at_once() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    ann.publish(true, 3).await;
    bob.wait("told", |heard| heard.published(1).is_some()).await;
    bob.watch(&[1], SIZES[0]).await;
    bob.wait("given pictures", |heard| heard.pictures(1).len() >= 100)
        .await;

    let late = Peer::connect(address, 3).await;
    late.wait("told of those before", |heard| heard.published(1).is_some())
        .await;
    let asked = now();
    late.watch(&[1], SIZES[0]).await;
    late.wait("given pictures", |heard| !heard.pictures(1).is_empty())
        .await;
    let first = late.record().pictures(1)[0];
    assert!(first.marking.is_some_and(|marking| marking.independent));
    // Half a second is how often a keyframe may be asked for.
    let waited = first.at.saturating_duration_since(asked);
    assert!(waited < Duration::from_millis(900), "{waited:?}");
    let (mine, theirs) = (late.record().published(1), bob.record().published(1));
    assert_eq!(mine, theirs, "the same SSRCs for everybody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_link_takes_less_and_all_of_the_sound() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    let eve = Peer::connect(address, 3).await;
    ann.publish(true, 3).await;
    for peer in [&bob, &eve] {
        peer.wait("told", |heard| heard.published(1).is_some())
            .await;
        peer.watch(&[1], SIZES[2]).await;
    }
    let largest =
        |heard: &record::Record| heard.pictures(1).last().is_some_and(|last| last.layer == 2);
    for peer in [&bob, &eve] {
        peer.wait("given the largest layer", largest).await;
    }
    bob.order(Order::Squeeze(400_000)).await;
    let before = bob.record().sound(1).len();
    let squeezed = now();
    bob.wait("given the smallest layer", |heard| {
        heard.pictures(1).last().is_some_and(|last| last.layer == 0)
    })
    .await;
    let adapted = squeezed.elapsed();
    tokio::time::sleep(Duration::from_millis(3500)).await;

    assert!(largest(&eve.record()), "others are not concerned");
    let heard = bob.record();
    let sound = &heard.sound(1)[before..];
    let known = squeezed + adapted + Duration::from_secs(2);
    let late: Vec<_> = sound.iter().filter(|packet| packet.at > known).collect();
    let count = late.len();
    let (first, last) = (late[0], late[count - 1]);
    let sent = last.sequence - first.sequence + 1;
    assert!(adapted < Duration::from_secs(5), "{adapted:?}");
    assert_eq!(count as u64, sent, "sound is whole once the link is known");
    // Another layer begins with a keyframe, and without a gap in the sequence numbers.
    let pictures = heard.pictures(1);
    for pair in pictures.windows(2) {
        if pair[0].layer != pair[1].layer && pair[1].sequence == pair[0].sequence + 1 {
            let marking = pair[1].marking.unwrap();
            assert!(marking.independent && marking.start, "{pair:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_opened_again_in_place_of_the_old_one() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    ann.publish(true, 1).await;
    bob.wait("told", |heard| heard.published(1).is_some()).await;
    bob.watch(&[1], SIZES[0]).await;
    bob.wait("given pictures", |heard| heard.pictures(1).len() >= 20)
        .await;
    let before = bob.record().published(1).unwrap();

    // Of a publisher: the others watch on without being asked.
    ann.order(Order::Open { connection: 2 }).await;
    ann.wait("connected again", |heard| heard.connected).await;
    ann.publish(true, 1).await;
    bob.wait("told again", |heard| {
        let published = heard.published(1);
        published.is_some_and(|published| published.pictures_ssrc != before.pictures_ssrc)
    })
    .await;
    bob.wait("given pictures again", |heard| {
        heard.pictures(1).len() >= 20
    })
    .await;

    // Of a receiver, under a number that is not newer: nothing happens.
    let opened = bob.record().opened.clone();
    bob.order(Order::Say(ClientMessage::RelayClose { connection: 7 }))
        .await;
    bob.order(Order::Open { connection: 1 }).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bob.record().opened, opened);
    bob.order(Order::Open { connection: 2 }).await;
    bob.wait("connected again", |heard| heard.connected).await;
    bob.watch(&[1], SIZES[0]).await;
    let seen = bob.record().pictures(1).len();
    bob.wait("given pictures once more", |heard| {
        heard.pictures(1).len() >= seen + 20
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_goes_on_while_a_websocket_is_resumed() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    ann.publish(true, 1).await;
    bob.wait("told", |heard| heard.published(1).is_some()).await;
    bob.watch(&[1], SIZES[0]).await;
    bob.wait("given pictures", |heard| heard.pictures(1).len() >= 20)
        .await;
    let published = bob.record().published(1).unwrap();
    let count = |heard: &record::Record| heard.streams[&published.sound_ssrc].packets.len();
    ann.order(Order::Resume).await;
    bob.order(Order::Resume).await;
    bob.wait("told again", |heard| heard.published(1).is_some())
        .await;
    let heard = count(&bob.record());
    bob.wait("given sound on", |record| count(record) >= heard + 50)
        .await;
    assert_eq!(bob.record().published(1), Some(published.clone()));
    assert!(bob.record().connected && ann.record().connected);
    assert!(without_gaps(
        &bob.record().streams[&published.sound_ssrc].packets
    ));

    // Whoever leaves is gone here as well.
    ann.order(Order::Say(ClientMessage::Leave)).await;
    bob.wait("told of the end", |heard| heard.published(1).is_none())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_in_is_not_wanted() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    ann.publish(true, 3).await;
    bob.wait("told", |heard| heard.published(1).is_some()).await;
    bob.watch(&[1], SIZES[0]).await;
    ann.wait("wanted", |heard| {
        let wanted = heard.wanted();
        wanted.is_some_and(|wanted| wanted.sound && wanted.layers == [true, false, false])
    })
    .await;
    let deaf = nonstop_wire::Watch {
        deaf: true,
        ..nonstop_wire::Watch::default()
    };
    bob.order(Order::Say(ClientMessage::Watch(deaf))).await;
    ann.wait("no longer wanted", |heard| {
        let wanted = heard.wanted();
        wanted.is_some_and(|wanted| !wanted.sound && wanted.layers == [false; 3])
    })
    .await;
    bob.order(Order::Say(ClientMessage::RelayClose { connection: 1 }))
        .await;
    ann.order(Order::Say(ClientMessage::Unpublish)).await;
    let health = client::fetch(address, "/healthz").await;
    assert!(health.contains("\"relayed\":"), "{health}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_heard_where_packets_are_lost_is_asked_for_redundancy() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    ann.publish(true, 0).await;
    bob.wait("told", |heard| heard.published(1).is_some()).await;
    for loses in [false, true, false] {
        let watch = nonstop_wire::Watch {
            loses,
            ..nonstop_wire::Watch::default()
        };
        bob.order(Order::Say(ClientMessage::Watch(watch))).await;
        ann.wait("asked, or no longer", |heard| {
            let wanted = heard.wanted();
            wanted.is_some_and(|wanted| wanted.sound && wanted.redundancy == loses)
        })
        .await;
    }
    bob.wait("given sound meanwhile", |heard| !heard.sound(1).is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_left_alone() {
    let (_server, address) = relay().await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::connect(address, 2).await;
    ann.publish(true, 3).await;
    bob.wait("told", |heard| heard.published(1).is_some()).await;
    bob.watch(&[1], SIZES[2]).await;
    bob.wait("given pictures", |heard| heard.pictures(1).len() >= 100)
        .await;
    let deaf = nonstop_wire::Watch {
        deaf: true,
        ..nonstop_wire::Watch::default()
    };
    bob.order(Order::Say(ClientMessage::Watch(deaf))).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = bob.record().media;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let padding = bob.record().media - before;
    assert!(padding <= 10, "{padding} packets in 5 s that carry nothing");

    // It is there when it is needed again.
    let seen = bob.record().pictures(1).len();
    bob.watch(&[1], SIZES[0]).await;
    bob.wait("given pictures again", |heard| {
        heard.pictures(1).len() >= seen + 50
    })
    .await;
    assert!(without_gaps(bob.record().pictures(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_relay_says_so_and_answers_nothing() {
    let (_server, address) = serve(Config::default()).await;
    let ann = Peer::join(address, 1).await;
    assert!(!ann.record().welcome.as_ref().unwrap().relay);
    ann.order(Order::Open { connection: 1 }).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(ann.record().messages.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_when_a_call_outgrows_a_mesh() {
    let (_server, address) = serve(Config {
        relay: Some(RelayConfig::default()),
        mesh_limit: 2,
        ..Config::default()
    })
    .await;
    let ann = Peer::join(address, 1).await;
    let bob = Peer::join(address, 2).await;
    let eve = Peer::join(address, 3).await;
    for peer in [&ann, &bob] {
        peer.wait("told of the topology", |heard| {
            let topology = nonstop_wire::Topology::Relay;
            heard
                .messages
                .contains(&ServerMessage::Topology { topology })
        })
        .await;
    }
    let welcome = eve.record().welcome.clone().unwrap();
    assert!(welcome.relay && welcome.topology == nonstop_wire::Topology::Relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_udp_reaches_the_relay_through_turn() {
    let (_server, address) = serve(Config {
        relay: Some(RelayConfig::default()),
        turn: Some(TurnConfig {
            secret: Some(program::SECRET.to_owned()),
            ..TurnConfig::default()
        }),
        ..Config::default()
    })
    .await;
    let ann = Peer::connect(address, 1).await;
    let bob = Peer::join(address, 2).await;
    let tunnel = UdpSocket::bind("127.0.0.1:0").unwrap();
    bob.order(Order::GoVia(tunnel.local_addr().unwrap())).await;
    bob.order(Order::Open { connection: 1 }).await;
    bob.wait("answered", |heard| heard.opened.is_some()).await;
    let relay = bob.record().opened.as_ref().unwrap().addresses[0];
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let carrying = thread::spawn(move || carry(address, relay, &tunnel, &ended));
    bob.wait("connected through TURN", |heard| heard.connected)
        .await;

    ann.publish(true, 1).await;
    bob.wait("told", |heard| heard.published(1).is_some()).await;
    bob.watch(&[1], SIZES[0]).await;
    bob.wait("given pictures", |heard| heard.pictures(1).len() >= 50)
        .await;
    bob.publish(true, 0).await;
    ann.watch(&[], SIZES[0]).await;
    ann.wait("given sound", |heard| heard.sound(2).len() >= 50)
        .await;
    over.store(true, Ordering::Relaxed);
    carrying.join().unwrap();
}

/// Carries packets between a socket and the relay, over TURN on TCP.
fn carry(turn: SocketAddr, relay: SocketAddr, tunnel: &UdpSocket, over: &AtomicBool) {
    const CHANNEL: u16 = 0x4000;
    let mut raw = raw::Raw::greet(wire::Wire::tcp(turn), raw::Login::of("2", 3600));
    assert_eq!(raw.allocate().code(), 0);
    // Another port of the same computer is still none of TURN's business.
    let elsewhere = SocketAddr::new(relay.ip(), relay.port().wrapping_add(1));
    assert_eq!(raw.permit(elsewhere).code(), 403);
    assert_eq!(raw.bind(CHANNEL, relay).code(), 0);
    tunnel
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let mut bytes = [0; 2000];
    let mut client = None;
    while !over.load(Ordering::Relaxed) {
        // In turns, however much comes from one side.
        for _ in 0..16 {
            let Ok((length, from)) = tunnel.recv_from(&mut bytes) else {
                break;
            };
            client = Some(from);
            raw.say(CHANNEL, &bytes[..length]);
        }
        for _ in 0..16 {
            let Some(frame) = raw.next(Duration::from_millis(1)) else {
                break;
            };
            let length = usize::from(u16::from_be_bytes([frame[2], frame[3]]));
            if let Some(client) = client {
                let _ = tunnel.send_to(&frame[4..4 + length], client);
            }
        }
    }
}
