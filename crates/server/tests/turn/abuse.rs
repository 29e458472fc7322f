//! What strangers and bad clients may try, while honest ones are relayed beside them: nothing of
//! theirs is lost, and the program's memory stays bounded.

#![cfg(target_os = "linux")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use stun_types::message::MAGIC_COOKIE;

use crate::{
    independent::now,
    program::Program,
    raw::{Login, Raw},
    wire::{PATIENCE, Wire},
};

/// More than the program takes on.
const ATTEMPTED_ALLOCATIONS: usize = 10_500;
const MOST_ALLOCATIONS: &str = "10000";
/// How much larger the program may get: about twice what it did.
const GROWTH_LIMIT_KB: usize = 64 * 1024;
/// How long the server may take to get rid of a connection: its 30 s, and those of a busy machine.
const RIDDANCE: Duration = Duration::from_secs(60);

#[test]
fn bad_clients_disturb_nobody() {
    let program = Program::start(&[
        "--turn-max-allocations",
        MOST_ALLOCATIONS,
        "--turn-max-allocations-per-address",
        "1000000",
        // Where nobody else's sockets are put.
        "--turn-ports",
        "12000-32000",
    ]);
    let address = program.address;
    // Everything that it needs once is there.
    honest(Wire::udp(address), "first", &AtomicBool::new(true));
    let before = program.memory_kb("VmRSS");
    let over = AtomicBool::new(false);
    let exchanged = thread::scope(|scope| {
        let talking = [Wire::udp(address), Wire::tcp(address)].map(|wire| {
            let over = &over;
            scope.spawn(move || honest(wire, "ann", over))
        });
        let attacks: [fn(SocketAddr); 5] = [
            send_garbage,
            send_half_frames,
            never_read,
            forge,
            use_unbound_channels,
        ];
        let until_here = Over(&over);
        let attacks = attacks.map(|attack| scope.spawn(move || attack(address)));
        for attack in attacks {
            attack.join().expect("each attack ends as it should");
        }
        allocate_ten_thousand(address);
        drop(until_here);
        talking.map(|talking| talking.join().expect("nothing of theirs was lost"))
    });
    let peak = program.memory_kb("VmHWM");
    for (exchanged, slowest) in exchanged {
        println!("{exchanged} packets there and back, the slowest in {slowest:?}");
        assert!(exchanged > 500, "they were relayed all the time");
    }
    println!("memory {before} kB before, {peak} kB at most");
    assert!(
        peak < before + GROWTH_LIMIT_KB,
        "memory grew from {before} to {peak} kB"
    );
}

/// Ends the talking, also where an attack did not end as it should.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends a packet, waits until it came back, and so on; returns how many, and the slowest.
fn honest(wire: Wire, name: &str, over: &AtomicBool) -> (usize, Duration) {
    let mut raw = Raw::greet(wire, Login::of(name, 3600));
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(raw.allocate().code(), 0);
    assert_eq!(raw.bind(0x4000, peer.local_addr().unwrap()).code(), 0);
    let (mut exchanged, mut slowest) = (0_usize, Duration::ZERO);
    loop {
        let mut payload = [7; 1000];
        payload[..8].copy_from_slice(&exchanged.to_be_bytes());
        let sent = now();
        raw.say(0x4000, &payload);
        let mut bytes = [0; 2000];
        let (length, from) = peer.recv_from(&mut bytes).expect("it arrives");
        assert_eq!(bytes[..length], payload);
        peer.send_to(&payload, from).unwrap();
        let back = raw.next(PATIENCE).expect("it comes back");
        assert_eq!(back[4..], payload);
        slowest = slowest.max(sent.elapsed());
        exchanged += 1;
        if over.load(Ordering::Relaxed) {
            return (exchanged, slowest);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn noise(seed: usize, length: usize) -> Vec<u8> {
    let byte = |i: usize| (i.wrapping_add(seed).wrapping_mul(0x9e37_79b9) >> 11) as u8;
    (0..length).map(byte).collect()
}

/// What is nothing, or the beginning of something.
fn send_garbage(address: SocketAddr) {
    let mut socket = Wire::udp(address);
    for seed in 0..20_000 {
        let mut bytes = noise(seed * 31, seed % 1500);
        if seed % 3 == 0 && bytes.len() > 20 {
            // Almost a message.
            bytes[0] = (seed % 4) as u8;
            let length = (bytes.len() - 20) as u16 & !3;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            bytes.truncate(20 + usize::from(length));
        }
        let _ = socket.send(&bytes);
        if seed % 100 == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    for first in [0x00, 0x01, 0x02, 0x03] {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&[&[first][..], &[0xff; 1 << 16]].concat());
        ends(stream);
    }
}

/// Connections that begin a message and do not end it.
fn send_half_frames(address: SocketAddr) {
    let begin = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(&[0, 3, 0x07, 0xe8, 0x21, 0x12, 0xa4, 0x42])
            .unwrap();
        stream.write_all(&[7; 1000]).unwrap();
        stream
    };
    let streams: Vec<_> = (0..200).map(begin).collect();
    for stream in streams {
        ends(stream);
    }
}

fn ends(mut stream: TcpStream) {
    stream.set_read_timeout(Some(RIDDANCE)).unwrap();
    let mut bytes = vec![0; 1 << 16];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(cause) => {
                assert_eq!(
                    cause.kind(),
                    std::io::ErrorKind::ConnectionReset,
                    "it is ended"
                );
                return;
            }
        }
    }
}

/// Clients over TCP that are sent as much as they may be sent, and read nothing of it.
fn never_read(address: SocketAddr) {
    let deaf = |number: usize| {
        let mut raw = Raw::greet(
            Wire::tcp(address),
            Login::of(&format!("deaf{number}"), 3600),
        );
        let relayed = raw.allocate().relayed()[0];
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(raw.bind(0x4000, peer.local_addr().unwrap()).code(), 0);
        let until = now() + Duration::from_secs(25);
        while now() < until {
            for _ in 0..20 {
                let _ = peer.send_to(&[7; 1200], relayed);
            }
            thread::sleep(Duration::from_millis(10));
        }
        let Wire::Tcp(stream) = raw.wire else {
            unreachable!("it is a stream");
        };
        ends(stream);
    };
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || deaf(number));
        }
    });
}

/// Guesses passwords.
fn forge(address: SocketAddr) {
    let mut login = Login::of("eve", 3600);
    login.password = "guessed".to_owned();
    let mut raw = Raw::greet(Wire::udp(address), login);
    for _ in 0..2000 {
        assert_eq!(raw.allocate().code(), 401);
    }
    raw.login = Login::of("eve", -1);
    for _ in 0..2000 {
        assert_eq!(raw.allocate().code(), 401);
    }
}

/// Channels that were never bound, with and without an allocation.
fn use_unbound_channels(address: SocketAddr) {
    let mut raw = Raw::greet(Wire::udp(address), Login::of("mallory", 3600));
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    for allocated in [false, true] {
        if allocated {
            assert_eq!(raw.allocate().code(), 0);
            assert_eq!(raw.permit(peer.local_addr().unwrap()).code(), 0);
        }
        for number in 0x4000..0x4400 {
            raw.say(number, b"to nobody");
        }
    }
    assert!(peer.recv(&mut [0; 100]).is_err(), "nothing may arrive");
    assert_eq!(raw.bind(0x4000, peer.local_addr().unwrap()).code(), 0);
    raw.say(0x4000, b"to the peer");
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(peer.recv(&mut [0; 100]).unwrap(), 11);
}

/// As many as the server takes, and then some.
fn allocate_ten_thousand(address: SocketAddr) {
    let (mut granted, mut refused) = (0, 0);
    for number in 0..ATTEMPTED_ALLOCATIONS {
        let login = Login::of(&format!("p{number}"), 3600);
        // Each from an address of its own, for their sockets are closed and ports given again.
        let from = [127, 1, (number / 250) as u8, (number % 250) as u8 + 1];
        let mut raw = Raw::greet(Wire::udp_from(from.into(), address), login);
        match raw.allocate().code() {
            0 => granted += 1,
            508 => refused += 1,
            other => panic!("{other}"),
        }
    }
    println!("{granted} allocations granted, {refused} refused");
    // Fewer than the limit where the system lets a program open fewer files.
    assert!(granted > 400 && refused > 0, "{granted}, {refused}");
}

#[test]
fn neighbours_and_the_server_itself_are_not_to_be_reached() {
    let program = Program::start_strict(&[]);
    let mut raw = Raw::greet(Wire::udp(program.address), Login::of("eve", 3600));
    assert_eq!(raw.allocate().code(), 0);
    for peer in [
        "127.0.0.1:22",
        "127.9.9.9:22",
        "0.0.0.0:1",
        "10.0.0.1:80",
        "100.64.0.1:80",
        "169.254.169.254:80",
        "172.16.0.1:80",
        "192.168.1.1:80",
        "224.0.0.1:5353",
        "255.255.255.255:67",
    ] {
        let peer: SocketAddr = peer.parse().unwrap();
        assert_eq!(raw.permit(peer).code(), 403, "{peer}");
        assert_eq!(raw.bind(0x4000, peer).code(), 403, "{peer}");
    }
    assert_eq!(raw.permit(program.address).code(), 403);
    assert_eq!(raw.permit("192.0.2.1:9".parse().unwrap()).code(), 0);

    // Nor by the address that it has among its neighbours, if it has one.
    let somewhere = UdpSocket::bind("0.0.0.0:0").unwrap();
    if somewhere.connect("192.0.2.1:9").is_err() {
        return;
    }
    let own = somewhere.local_addr().unwrap().ip();
    let program = Program::start_strict(&["--turn-private-peers"]);
    let mut raw = Raw::greet(Wire::udp(program.address), Login::of("eve", 3600));
    assert_eq!(raw.allocate().code(), 0);
    for port in [22, 443, program.address.port()] {
        assert_eq!(raw.permit((own, port).into()).code(), 403, "{own}:{port}");
        assert_eq!(
            raw.bind(0x4000, (own, port).into()).code(),
            403,
            "{own}:{port}"
        );
    }
    assert_eq!(raw.permit("10.254.254.254:9".parse().unwrap()).code(), 0);
}
