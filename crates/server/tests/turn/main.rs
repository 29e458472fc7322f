//! The TURN server through real sockets, as clients see it that know nothing of it.

mod abuse;
#[path = "../client/mod.rs"]
mod client;
mod independent;
mod program;
mod raw;
mod wire;

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use independent::Independent;
use program::{Program, certificate};
use raw::{Login, Raw};
use stun_types::{
    attribute::{AttributeStaticType, RawAttribute, XorMappedAddress},
    message::{BINDING, Message, MessageWrite, MessageWriteVec},
};
use turn_client_proto::types::AddressFamily;
use turn_types::{
    attribute::{
        AdditionalAddressFamily, ChannelNumber, Data, DontFragment, EvenPort, Lifetime,
        RequestedAddressFamily, RequestedTransport, ReservationToken, XorPeerAddress,
    },
    message::{ALLOCATE, CHANNEL_BIND, CONNECT, CREATE_PERMISSION, REFRESH, SEND},
};
use wire::{PATIENCE, Wire};

/// Where nothing may be sent, and nothing ever is.
const NOWHERE: &str = "203.0.113.1:9";

#[test]
fn an_independent_client_relays_over_udp_tcp_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (arguments, trusted) = certificate(folder.path());
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let program = Program::start(&arguments);
    let address = program.address;
    let wires: [(&str, Wire); 4] = [
        ("udp", Wire::udp(address)),
        ("tcp", Wire::tcp(address)),
        ("tls", Wire::tls(address, &trusted, None)),
        (
            "tls with a name",
            Wire::tls(address, &trusted, Some("stun.turn")),
        ),
    ];
    for (name, wire) in wires {
        let login = Login::of(name, 3600);
        let mut client = Independent::allocate(wire, &login, &[AddressFamily::IPV4]).unwrap();
        let relayed = client.relayed[0];
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let peer_address = peer.local_addr().unwrap();
        let mut bytes = [0; 2000];

        assert!(client.permit(peer_address.ip()), "{name}");
        for bound in [false, true] {
            if bound {
                assert!(client.bind(peer_address), "{name}");
            }
            // Over streams this client does not pad, so only what needs no padding.
            for length in [0, 4, 1200] {
                let payload = vec![length as u8; length];
                client.send(peer_address, &payload);
                let (received, from) = peer.recv_from(&mut bytes).unwrap();
                assert_eq!(
                    (&bytes[..received], from),
                    (&payload[..], relayed),
                    "{name}"
                );
                peer.send_to(&payload, relayed).unwrap();
                assert_eq!(
                    client.receive(PATIENCE),
                    Some((peer_address, payload)),
                    "{name}"
                );
            }
        }

        let wire = client.delete();
        peer.send_to(b"late", relayed).unwrap();
        let mut raw = Raw::greet(wire, login);
        assert_eq!(
            raw.request(REFRESH, &[]).code(),
            437,
            "{name}: nothing is left"
        );
    }
}

#[test]
fn a_stranger_may_ask_for_its_address_and_nothing_more() {
    let program = Program::start(&[]);
    let mut raw = Raw::greet(Wire::udp(program.address), Login::of("ann", 3600));
    let request = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
    let answer = raw.exchange(&request);
    let message = answer.message();
    let mapped = message.attribute::<XorMappedAddress>().unwrap();
    assert_eq!(mapped.addr(message.transaction_id()), raw.wire.local());

    for method in [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND, CONNECT] {
        let request = Message::builder_request(method, MessageWriteVec::new()).finish();
        assert_eq!(raw.exchange(&request).code(), 401, "{method}");
    }
}

#[test]
fn credentials_are_checked_in_every_way() {
    let program = Program::start(&[]);
    let greet = |login: Login| Raw::greet(Wire::udp(program.address), login);
    let code = |login: Login| greet(login).allocate().code();
    assert_eq!(code(Login::of("ann", 3600)), 0);
    assert_eq!(code(Login::named(&(raw::unix_time() + 100).to_string())), 0);
    assert_eq!(code(Login::of("ann", -1)), 401, "expired");
    assert_eq!(code(Login::named("ann")), 401, "no time");
    assert_eq!(
        code(Login::named("99999999999999999999:ann")),
        401,
        "no time"
    );
    let mut forged = Login::of("ann", 3600);
    forged.password = "guessed".to_owned();
    assert_eq!(code(forged), 401, "forged");
    let mut longer = Login::of("ann", 3600);
    longer.username = Login::of("ann", 7200).username;
    assert_eq!(code(longer), 401, "made to last longer");

    let mut raw = greet(Login::of("ann", 3600));
    let good = std::mem::replace(&mut raw.nonce, "stale".to_owned());
    assert_eq!(raw.allocate().code(), 438);
    raw.nonce = good;
    raw.realm = "elsewhere".to_owned();
    assert_eq!(raw.allocate().code(), 401);
    raw.realm = "nonstop".to_owned();
    let mut tampered = raw.signed(ALLOCATE, &[&RequestedTransport::new(17)]);
    tampered[8] ^= 1;
    assert_eq!(raw.exchange(&tampered).code(), 401);
    assert_eq!(raw.allocate().code(), 0);

    // Somebody else's nonce.
    let mut other = greet(Login::of("bob", 3600));
    other.nonce.clone_from(&raw.nonce);
    assert_eq!(other.allocate().code(), 438);
    // Somebody else on the same way.
    raw.login = Login::of("bob", 3600);
    assert_eq!(raw.request(REFRESH, &[]).code(), 441);
    assert_eq!(raw.permit(NOWHERE.parse().unwrap()).code(), 441);
    assert_eq!(raw.bind(0x4000, NOWHERE.parse().unwrap()).code(), 441);
    assert_eq!(raw.allocate().code(), 437);
}

#[test]
fn an_allocation_ends_when_its_credential_does() {
    let program = Program::start(&[]);
    let mut raw = Raw::greet(Wire::udp(program.address), Login::of("ann", 3));
    let lifetime =
        |answer: raw::Answer| answer.message().attribute::<Lifetime>().unwrap().seconds();
    let allocated = raw.allocate_for(3600);
    assert_eq!(allocated.code(), 0);
    assert!(
        lifetime(allocated) <= 63,
        "the rest of the credential, and a minute"
    );
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(raw.request(REFRESH, &[]).code(), 401);
    assert_eq!(
        raw.request(REFRESH, &[&Lifetime::new(0)]).code(),
        0,
        "it may still be given up"
    );
}

#[test]
fn requests_that_cannot_be_granted_are_refused_by_name() {
    let program = Program::start(&["--turn-max-allocations-per-participant", "2"]);
    let greet = |name: &str| Raw::greet(Wire::udp(program.address), Login::of(name, 3600));
    let udp = RequestedTransport::new(17);
    let mut raw = greet("ann");
    let v4 = RawAttribute::new(AdditionalAddressFamily::TYPE, &[1, 0, 0, 0]);
    let v6 = AdditionalAddressFamily::new(AddressFamily::IPV6);
    let first_v6 = RequestedAddressFamily::new(AddressFamily::IPV6);
    assert_eq!(raw.request(ALLOCATE, &[]).code(), 400, "no transport");
    assert_eq!(
        raw.request(ALLOCATE, &[&RequestedTransport::new(6)]).code(),
        442
    );
    assert_eq!(
        raw.request(ALLOCATE, &[&udp, &DontFragment::new()]).code(),
        420
    );
    assert_eq!(raw.request(ALLOCATE, &[&udp, &v4]).code(), 400);
    assert_eq!(raw.request(ALLOCATE, &[&udp, &first_v6, &v6]).code(), 400);
    let token = ReservationToken::new(1);
    assert_eq!(raw.request(ALLOCATE, &[&udp, &token]).code(), 508);
    assert_eq!(
        raw.request(ALLOCATE, &[&udp, &token, &EvenPort::new(false)])
            .code(),
        400
    );
    assert_eq!(
        raw.request(ALLOCATE, &[&udp, &EvenPort::new(true)]).code(),
        508
    );
    assert_eq!(raw.request(REFRESH, &[]).code(), 437);
    assert_eq!(raw.permit(NOWHERE.parse().unwrap()).code(), 437);
    assert_eq!(raw.request(CONNECT, &[]).code(), 400);

    let allocated = raw.request(ALLOCATE, &[&udp, &EvenPort::new(false)]);
    assert_eq!(allocated.code(), 0);
    assert_eq!(allocated.relayed()[0].port() % 2, 0);
    assert_eq!(raw.allocate().code(), 437);
    assert_eq!(greet("ann").allocate().code(), 0);
    assert_eq!(greet("ann").allocate().code(), 486, "a third one");
    assert_eq!(greet("bob").allocate().code(), 0);

    let nowhere: SocketAddr = NOWHERE.parse().unwrap();
    assert_eq!(raw.request(CREATE_PERMISSION, &[]).code(), 400);
    assert_eq!(raw.permit("[2001:db8::1]:9".parse().unwrap()).code(), 443);
    assert_eq!(raw.bind(0x3fff, nowhere).code(), 400);
    assert_eq!(raw.bind(0x7fff, nowhere).code(), 400);
    assert_eq!(
        raw.request(CHANNEL_BIND, &[&ChannelNumber::new(0x4000)])
            .code(),
        400
    );
    assert_eq!(raw.bind(0x4000, nowhere).code(), 0);
    assert_eq!(raw.bind(0x4000, nowhere).code(), 0, "again");
    assert_eq!(
        raw.bind(0x4001, nowhere).code(),
        400,
        "bound by another number"
    );
    assert_eq!(
        raw.bind(0x4000, "203.0.113.9:9".parse().unwrap()).code(),
        400,
        "in use"
    );
}

#[test]
fn the_same_request_again_is_answered_alike() {
    let program = Program::start(&[]);
    let mut raw = Raw::greet(Wire::udp(program.address), Login::of("ann", 3600));
    let request = raw.signed(ALLOCATE, &[&RequestedTransport::new(17)]);
    let (first, second) = (raw.exchange(&request), raw.exchange(&request));
    assert_eq!(first.code(), 0);
    assert_eq!(first.relayed(), second.relayed());
}

#[test]
fn two_relayed_clients_reach_each_other_and_only_with_permission() {
    let program = Program::start(&[]);
    let greet = |name: &str| Raw::greet(Wire::udp(program.address), Login::of(name, 3600));
    let (mut ann, mut bob) = (greet("ann"), greet("bob"));
    let (at_ann, at_bob) = (ann.allocate().relayed()[0], bob.allocate().relayed()[0]);
    assert_eq!(ann.bind(0x4000, at_bob).code(), 0);
    ann.say(0x4000, b"too early");
    assert_eq!(bob.next(Duration::from_millis(300)), None);
    assert_eq!(bob.bind(0x4001, at_ann).code(), 0);
    for number in 0..100_u8 {
        ann.say(0x4000, &[number; 1000]);
        let frame = bob.next(PATIENCE).unwrap();
        assert_eq!(
            (&frame[..4], &frame[4..]),
            (&[0x40, 1, 3, 0xe8][..], &[number; 1000][..])
        );
    }
}

#[test]
fn one_allocation_can_have_both_families() {
    let program = Program::start(&["--turn-relay-ip", "::1,127.0.0.1", "--turn-peer", "::1"]);
    let families = [AddressFamily::IPV4, AddressFamily::IPV6];
    let login = Login::of("ann", 3600);
    let wire = Wire::udp(program.address);
    let mut client = Independent::allocate(wire, &login, &families).unwrap();
    assert!(
        client.relayed.iter().any(SocketAddr::is_ipv6),
        "{:?}",
        client.relayed
    );
    assert!(
        client.relayed.iter().any(SocketAddr::is_ipv4),
        "{:?}",
        client.relayed
    );
    let peer = UdpSocket::bind("[::1]:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = peer.local_addr().unwrap();
    assert!(client.bind(address));
    client.send(address, b"hello");
    let mut bytes = [0; 10];
    let (length, from) = peer.recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes[..length], from.is_ipv6()), (&b"hello"[..], true));
    peer.send_to(b"you", from).unwrap();
    assert_eq!(client.receive(PATIENCE), Some((address, b"you".to_vec())));
}

#[test]
fn channel_data_is_padded_in_streams_however_they_are_cut() {
    let program = Program::start(&[]);
    let mut raw = Raw::greet(Wire::tcp(program.address), Login::of("ann", 3600));
    assert_eq!(raw.allocate().code(), 0);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(raw.bind(0x4000, peer.local_addr().unwrap()).code(), 0);
    let stream: Vec<u8> = (1..9_u8)
        .flat_map(|length| {
            let mut frame = [&[0x40, 0, 0, length][..], &vec![length; length.into()]].concat();
            frame.resize(frame.len().next_multiple_of(4), 0);
            frame
        })
        .collect();
    for step in [1, 3, stream.len()] {
        for part in stream.chunks(step) {
            raw.wire.send(part).unwrap();
        }
        for length in 1..9_u8 {
            let mut bytes = [0; 100];
            let (received, from) = peer.recv_from(&mut bytes).unwrap();
            assert_eq!(bytes[..received], vec![length; length.into()]);
            peer.send_to(&bytes[..received], from).unwrap();
            let frame = raw.next(PATIENCE).unwrap();
            assert_eq!(frame[4..], vec![length; length.into()]);
        }
    }
}

#[test]
fn send_indications_reach_whom_they_may() {
    let program = Program::start(&[]);
    let mut raw = Raw::greet(Wire::tcp(program.address), Login::of("ann", 3600));
    assert_eq!(raw.allocate().code(), 0);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let to = XorPeerAddress::new(peer.local_addr().unwrap(), 0.into());
    let send = |raw: &mut Raw, payload: &[u8]| {
        let mut indication = Message::builder_indication(SEND, MessageWriteVec::new());
        stun_types::message::MessageWriteExt::add_attribute(&mut indication, &to).unwrap();
        let data = Data::new(payload);
        stun_types::message::MessageWriteExt::add_attribute(&mut indication, &data).unwrap();
        raw.wire.send(&indication.finish()).unwrap();
    };
    send(&mut raw, b"too early");
    assert!(peer.recv(&mut [0; 100]).is_err());
    assert_eq!(raw.permit(peer.local_addr().unwrap()).code(), 0);
    send(&mut raw, b"now");
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 100];
    assert_eq!(peer.recv(&mut bytes).unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_are_told_of_the_server_and_can_use_what_they_are_told() {
    let program = Program::start(&[]);
    let address = program.address;
    let (_client, welcome) = client::Client::join(address, "standup", 7).await;
    let [stun, turn] = &welcome.ice_servers[..] else {
        panic!("{:?}", welcome.ice_servers);
    };
    assert_eq!(stun.urls, [format!("stun:{address}")]);
    let urls = ["udp", "tcp"].map(|transport| format!("turn:{address}?transport={transport}"));
    assert_eq!(turn.urls, urls);
    assert!(
        turn.username.ends_with(":0000000000000007"),
        "{}",
        turn.username
    );
    let login = Login {
        username: turn.username.clone(),
        password: turn.credential.clone(),
    };
    for wire in [Wire::udp(address), Wire::tcp(address)] {
        assert_eq!(Raw::greet(wire, login.clone()).allocate().code(), 0);
    }
    // HTTP goes on beside it.
    assert!(client::fetch(address, "/healthz").await.contains("\"ok\""));
}
