//! Against our own server, with the credentials that it gives to those who join.

use nonstop_server::{Config, Server, TurnConfig};
use nonstop_wire::{ParticipantId, Token};
use tokio::time::sleep;

use super::*;
use crate::mesh::{
    proxy::Proxies,
    signalling::{News, Patience, Seat, Signalling},
};

#[tokio::test]
async fn whoever_joins_can_relay_with_what_the_welcome_says() {
    let turn = TurnConfig {
        peers: vec!["127.0.0.0/8".parse().unwrap()],
        ..TurnConfig::default()
    };
    let server = Server::start(Config {
        turn: Some(turn),
        ..Config::default()
    });
    let server = server.await.unwrap();
    let seat = Seat {
        url: format!("ws://{}/signalling", server.addresses()[0]),
        room: "room".parse().unwrap(),
        admission: Token::from_bytes([9; 32]),
        me: ParticipantId::from_bits(1),
        proxies: Proxies::default(),
    };
    let mut signalling = Signalling::start(seat, Patience::default());
    let news = timeout(LONG, signalling.next()).await.unwrap();
    let Some(News::Connected(welcome)) = news else {
        panic!("{news:?}");
    };
    let named = welcome.ice_servers.iter();
    let relays: Vec<_> = named.flat_map(RelayServer::from_ice_server).collect();
    let protocols: Vec<_> = relays.iter().map(|relay| relay.protocol).collect();
    assert_eq!(protocols, [RelayProtocol::Udp, RelayProtocol::Tcp]);
    for relay in &relays {
        let mut one = Tried::start(config(relay.clone()));
        let mut other = Tried::start(config(relays[0].clone()));
        let (here, there) = (one.allocated().await, other.allocated().await);
        other.relay.permit(here.ip());
        // The relay lets nothing through before it has heard of that.
        sleep(Duration::from_millis(100)).await;
        for length in 1..=41_u8 {
            let packet = [vec![0x80], vec![length; usize::from(length)]].concat();
            assert!(one.relay.send(there, &packet, Class::Audio));
            assert!(other.arrival().await.packet == packet, "{relay:?}");
            assert!(other.relay.send(here, &packet, Class::Video));
            assert!(one.arrival().await.packet == packet, "{relay:?}");
        }
        one.relay.check();
        assert!(one.relay.send(there, b"\x80", Class::Audio));
        other.arrival().await;
        assert!(one.events.try_recv().is_err(), "nothing was lost");
    }
    let mut stranger = config(relays[0].clone());
    stranger.server.credential = "guess".to_owned();
    let error = Tried::start(stranger).failed().await;
    assert_eq!(error, RelayError::Credentials);
    signalling.leave().await;
    server.stop().await;
}
