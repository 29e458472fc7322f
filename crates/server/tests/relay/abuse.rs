//! Those who mean no good: others must not notice.

use std::{net::UdpSocket, time::Duration};

use nonstop_wire::{ClientMessage, ServerMessage};

use crate::{
    peer::{Order, Peer, SIZES, now},
    relay, without_gaps,
};

/// Two who talk, and how what one sent came to the other while something else went on.
struct Talk {
    ann: Peer,
    bob: Peer,
}

impl Talk {
    async fn begin(address: std::net::SocketAddr) -> Self {
        let ann = Peer::connect(address, 1).await;
        let bob = Peer::connect(address, 2).await;
        ann.publish(true, 1).await;
        bob.wait("told", |heard| heard.published(1).is_some()).await;
        bob.watch(&[1], SIZES[0]).await;
        bob.wait("given pictures", |heard| heard.pictures(1).len() >= 50)
            .await;
        Self { ann, bob }
    }

    /// Nothing was lost, and nothing was held up.
    async fn assert_undisturbed(&self) {
        let heard = self.bob.record().sound(1).len();
        self.bob
            .wait("given sound on", |record| {
                record.sound(1).len() >= heard + 25
            })
            .await;
        let record = self.bob.record();
        assert!(without_gaps(record.sound(1)) && without_gaps(record.pictures(1)));
        let gaps = record
            .sound(1)
            .windows(2)
            .map(|pair| pair[1].at - pair[0].at);
        let longest = gaps.max().unwrap_or_default();
        // As long as a machine that runs many tests at once may hold anything up.
        assert!(longest < Duration::from_millis(1000), "{longest:?}");
        assert!(self.ann.record().connected && record.connected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_from_strangers_disturbs_nobody() {
    let (_server, address) = relay().await;
    let talk = Talk::begin(address).await;
    let opened = talk.ann.record().opened.clone().unwrap();
    let to = opened.addresses[0];
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut seed = 1_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..10_000_usize {
        let length = (random() % 1400) as usize;
        let mut packet: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        if let Some(first) = packet.first_mut() {
            // Each kind that there is: STUN, DTLS, RTP, RTCP, TURN channels, anything.
            *first = [0, 1, 22, 23, 128, 129, 0x40, *first][round % 8];
        }
        if round % 8 == 0 && packet.len() > 60 {
            // A Binding request that knows the name but not the password.
            packet[1] = 1;
            let name = format!("{}:x", opened.ufrag);
            packet[20..24].copy_from_slice(&[0, 6, 0, name.len() as u8]);
            packet[24..24 + name.len()].copy_from_slice(name.as_bytes());
        }
        let _ = stranger.send_to(&packet, to);
        if round % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    talk.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_packets_from_a_participants_own_place_disturb_not_even_them() {
    let (_server, address) = relay().await;
    let talk = Talk::begin(address).await;
    let mut packet = [0_u8; 200];
    for round in 0..2000_u32 {
        for (index, byte) in packet.iter_mut().enumerate() {
            *byte = (round.wrapping_mul(2_654_435_761) >> (index % 24)) as u8;
        }
        packet[0] = [20, 21, 22, 23, 25, 128, 144, 191][round as usize % 8];
        packet[1] = [200, 201, 205, 206, 111, 96, 254, 253][(round / 8) as usize % 8];
        let length = (round as usize * 7) % packet.len() + 1;
        let raw = packet[..length].to_vec();
        talk.ann.order(Order::Raw(raw)).await;
    }
    talk.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_sends_100_megabits_disturbs_nobody() {
    let (_server, address) = relay().await;
    let talk = Talk::begin(address).await;
    let flood = Peer::connect(address, 3).await;
    flood.publish(true, 3).await;
    let to = flood.record().opened.as_ref().unwrap().addresses[0];
    // From its place, so that the relay takes it for a participant's.
    let begun = now();
    let packet = vec![0x80; 1200];
    let mut sent = 0_u64;
    while begun.elapsed() < Duration::from_secs(2) {
        let due = begun.elapsed().as_millis() as u64 * 100_000 / 8 / 1200;
        while sent < due {
            flood.send_now(&packet, to);
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(sent > 15_000, "{sent}");
    talk.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_for_keyframes_a_second_are_a_few() {
    let (_server, address) = relay().await;
    let talk = Talk::begin(address).await;
    let asked = talk.ann.record().keyframes_asked;
    let begun = now();
    while begun.elapsed() < Duration::from_secs(2) {
        talk.bob.order(Order::AskForKeyframe { of: 1 }).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let asked = talk.ann.record().keyframes_asked - asked;
    assert!((1..=6).contains(&asked), "{asked}");
    talk.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_is_none_is_refused() {
    let (_server, address) = relay().await;
    let ann = Peer::join(address, 1).await;
    let open = |fingerprint: &str, connection| nonstop_wire::RelayOpen {
        connection,
        ufrag: "abcd".to_owned(),
        password: "x".repeat(22),
        fingerprint: fingerprint.to_owned(),
        sound: 1,
        layers: vec![2],
        payload_types: nonstop_wire::RelayPayloadTypes {
            sound: 111,
            pictures: 96,
            repair: 97,
        },
        extensions: nonstop_wire::RelayExtensions {
            audio_level: 1,
            transport_cc: 2,
            frame_marking: 3,
            newest_picture: None,
        },
    };
    for (connection, fingerprint) in [(1, ""), (2, "zz:yy"), (3, "+1:+2"), (4, &"00:".repeat(32))] {
        let message = ClientMessage::RelayOpen(open(fingerprint, connection));
        ann.order(Order::Say(message)).await;
        let closed = ServerMessage::RelayClosed { connection };
        ann.wait("refused", |heard| heard.messages.contains(&closed))
            .await;
    }
}
