//! The real program against everything that a stranger on the internet may try, while two
//! people talk: every word of theirs arrives, and the program's memory stays bounded.

#![cfg(target_os = "linux")]

mod client;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use client::{Client, fetch, id, join};
use futures_util::{SinkExt, StreamExt};
use nonstop_wire::{ClientMessage, ErrorCode, MAX_MESSAGE, MAX_SEALED, ServerMessage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

/// How long one exchange between the two who talk may take on a machine that is busy with the
/// attack itself.
const WORD_LIMIT: Duration = Duration::from_secs(10);
/// How long the server may take to get rid of somebody: twice its 15 s of silence.
const RIDDANCE: Duration = Duration::from_secs(40);
/// How much larger the program may get: several times the 7 MB that it took. It must not grow
/// with the length of an attack.
const GROWTH_LIMIT_KB: usize = 48 * 1024;

const ATTEMPTED_ROOMS: u64 = 10_000;
const MOST_ROOMS: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_clients_disturb_nobody() {
    let program = Program::start();
    let address = program.address;
    let talk = Talk::start(address).await;
    let before = program.memory_kb("VmRSS");

    let mut attacks = JoinSet::new();
    attacks.spawn(send_what_is_no_message(address));
    attacks.spawn(send_what_is_no_request(address));
    attacks.spawn(flood(address));
    attacks.spawn(never_read(address));
    attacks.spawn(say_nothing(address));
    while let Some(ended) = attacks.join_next().await {
        ended.expect("each attack ends as it should");
    }
    // Last, for it fills the server, and the others need rooms.
    open_ten_thousand_rooms(address).await;

    let words = talk.end().await;
    let peak = program.memory_kb("VmHWM");
    let health = fetch(address, "/healthz").await;
    assert!(health.contains("\"status\":\"ok\""), "{health}");
    println!("{words} words exchanged; memory {before} kB before, {peak} kB at most");
    assert!(words > 50, "they talked all the time: {words}");
    assert!(
        peak < before + GROWTH_LIMIT_KB,
        "memory grew from {before} to {peak} kB"
    );
}

/// Not messages of the protocol: each is refused by name and ends its connection.
async fn send_what_is_no_message(address: SocketAddr) {
    let deep = "[".repeat(MAX_MESSAGE - 100);
    let texts = [
        "",
        "hello",
        "null",
        "[]",
        "{}",
        "{\"type\":7}",
        "{\"type\":\"join\"}",
        "{\"type\":\"join\",\"version\":1,\"room\":[],\"admission\":{},\"participant\":1e99}",
        "\u{0}\u{ffff}",
        &deep,
    ];
    let noise: Vec<u8> = (0..4096_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect();
    let not_utf8 = Frame::message(noise.clone(), OpCode::Data(Data::Text), true);
    let reserved = Frame::message(noise.clone(), OpCode::Data(Data::Reserved(3)), true);
    let mut messages: Vec<_> = texts.into_iter().map(Message::text).collect();
    messages.push(Message::binary(noise));
    messages.push(Message::Frame(not_utf8));
    messages.push(Message::Frame(reserved));
    for (number, message) in messages.into_iter().enumerate() {
        for joined in [false, true] {
            let mut client = Client::connect(address).await;
            if joined {
                let room = format!("malformed-{number}");
                client.enter(join(&room, 1, None)).await;
            }
            let sent = client.socket.send(message.clone()).await;
            assert!(sent.is_ok(), "{sent:?}");
            match client.next().await {
                Some(ServerMessage::Error { code, .. }) => assert_eq!(code, ErrorCode::Malformed),
                other => panic!("{other:?} to {message:?}"),
            }
            assert_eq!(client.next().await, None);
        }
    }

    // Too long: refused by its announced length, so that most of it is never read.
    let mut client = Client::connect(address).await;
    let sent = client
        .socket
        .send(Message::text("x".repeat(64 << 20)))
        .await;
    let refused = client.next().await;
    let named = matches!(
        refused,
        Some(ServerMessage::Error {
            code: ErrorCode::TooLong,
            ..
        })
    );
    assert!(named || sent.is_err(), "{sent:?} {refused:?}");
    let mut client = Client::connect(address).await;
    let announced = [0x81, 0xff, 0, 0, 0, 0x10, 0, 0, 0, 0, 1, 2, 3, 4];
    raw(&mut client)
        .write_all(&announced)
        .await
        .expect("the server reads");
    match client.next().await {
        Some(ServerMessage::Error { code, .. }) => assert_eq!(code, ErrorCode::TooLong),
        other => panic!("{other:?}"),
    }
}

/// Not even requests, or requests without end.
async fn send_what_is_no_request(address: SocketAddr) {
    let endless_header = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1 << 20));
    let many_headers = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(100_000));
    let requests: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x00\x00\x00\r\n\r\n",
        b"POST /signalling HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n",
        endless_header.as_bytes(),
        many_headers.as_bytes(),
    ];
    for request in requests {
        let mut stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        // The server may close before it has all of it.
        let _ = stream.write_all(request).await;
        wait_for_end(stream).await;
    }

    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let trickle = async {
        stream.write_all(b"GET /").await?;
        loop {
            sleep(Duration::from_millis(500)).await;
            stream.write_all(b"a").await?;
        }
    };
    let ended: Result<std::io::Result<()>, _> = timeout(RIDDANCE, trickle).await;
    assert!(
        matches!(ended, Ok(Err(_))),
        "a request must not take for ever"
    );
}

/// Opens rooms and breaks off, so that each is kept for a while: the server fills, and no more.
async fn open_ten_thousand_rooms(address: SocketAddr) {
    let (next, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut visitors = JoinSet::new();
    for _ in 0..16 {
        let (next, refused) = (Arc::clone(&next), Arc::clone(&refused));
        visitors.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed) as u64;
                if number >= ATTEMPTED_ROOMS {
                    return;
                }
                let mut client = Client::connect(address).await;
                client
                    .send(&join(&format!("room-{number}"), number, None))
                    .await;
                match client.next().await {
                    Some(ServerMessage::Welcome(_)) => {}
                    Some(ServerMessage::Error { code, .. }) => {
                        assert_eq!(code, ErrorCode::ServerFull);
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    while let Some(ended) = visitors.join_next().await {
        ended.expect("each attempt is answered");
    }
    let refused = refused.load(Ordering::Relaxed);
    assert!(
        refused > 0 && refused >= ATTEMPTED_ROOMS as usize / 2,
        "{refused} were refused"
    );
}

/// Sends as fast as it can: slowed down, then refused.
async fn flood(address: SocketAddr) {
    let mut floods = JoinSet::new();
    for number in 0..4 {
        floods.spawn(async move {
            let (client, _) = Client::join(address, "flood", number).await;
            let (mut sink, mut stream) = client.socket.split();
            let ping = number % 2 == 0;
            let message = match ping {
                true => Message::Ping(vec![7; 100].into()),
                false => Message::text(
                    ClientMessage::Send {
                        to: id(number),
                        sealed: "A".repeat(100),
                    }
                    .encode(),
                ),
            };
            let sending = async { while sink.send(message.clone()).await.is_ok() {} };
            let receiving = async {
                let mut refusal = None;
                while let Some(Ok(received)) = stream.next().await {
                    if let Message::Text(text) = received
                        && let Ok(ServerMessage::Error { code, .. }) = ServerMessage::decode(&text)
                    {
                        refusal = Some(code);
                    }
                }
                refusal
            };
            let ended = timeout(RIDDANCE, async { tokio::join!(sending, receiving) }).await;
            let ((), refusal) = ended.expect("a flood is ended");
            // The last words may be lost: the flood itself resets the connection.
            assert!(
                matches!(refusal, None | Some(ErrorCode::TooFast)),
                "{refusal:?}"
            );
        });
    }
    while let Some(ended) = floods.join_next().await {
        ended.expect("each flood is ended");
    }
}

/// Joins, is sent as much as may be sent, and reads nothing.
async fn never_read(address: SocketAddr) {
    let mut pairs = JoinSet::new();
    for number in 0..20 {
        pairs.spawn(async move {
            let room = format!("deaf-{number}");
            let (mut sender, _) = Client::join(address, &room, 1).await;
            let (deaf, _) = Client::join(address, &room, 2).await;
            let sealed = "A".repeat(MAX_SEALED);
            let cut = async {
                let mut sent = 0;
                loop {
                    tokio::select! {
                        () = sleep(Duration::from_millis(350)), if sent < 100 => {
                            sender.say(2, &sealed).await;
                            sent += 1;
                        }
                        told = sender.next() => match told {
                            Some(ServerMessage::Away { participant }) => {
                                assert_eq!(participant, id(2));
                                return;
                            }
                            Some(ServerMessage::Joined { .. }) => {}
                            other => panic!("{other:?}"),
                        },
                    }
                }
            };
            timeout(RIDDANCE, cut)
                .await
                .expect("whoever does not read is cut");
            drop(deaf);
        });
    }
    while let Some(ended) = pairs.join_next().await {
        ended.expect("each sender is told");
    }
}

/// Connects and says nothing, with and without a WebSocket.
async fn say_nothing(address: SocketAddr) {
    let mut silent = JoinSet::new();
    for _ in 0..100 {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        silent.spawn(wait_for_end(stream));
        let mut client = Client::connect(address).await;
        silent.spawn(async move {
            match client.next().await {
                Some(ServerMessage::Error { code, .. }) => assert_eq!(code, ErrorCode::NotJoined),
                other => panic!("{other:?}"),
            }
        });
    }
    while let Some(ended) = silent.join_next().await {
        ended.expect("each silence is ended");
    }
}

async fn wait_for_end(mut stream: TcpStream) {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let ended = timeout(RIDDANCE, stream.read_to_end(&mut answer)).await;
    assert!(
        ended.is_ok(),
        "the server keeps a connection that is good for nothing"
    );
    assert!(answer.len() < 4096);
}

fn raw(client: &mut Client) -> &mut TcpStream {
    match client.socket.get_mut() {
        tokio_tungstenite::MaybeTlsStream::Plain(stream) => stream,
        _ => panic!("these connections are plain"),
    }
}

/// Two people who talk until told to stop: one says a number, the other says it again.
struct Talk {
    stop: Arc<AtomicBool>,
    talking: JoinSet<usize>,
}

impl Talk {
    async fn start(address: SocketAddr) -> Self {
        let (mut ann, _) = Client::join(address, "standup", 1).await;
        let (mut bob, _) = Client::join(address, "standup", 2).await;
        assert_eq!(
            ann.next().await,
            Some(ServerMessage::Joined { participant: id(2) })
        );
        let stop = Arc::new(AtomicBool::new(false));
        let mut talking = JoinSet::new();
        let asked = Arc::clone(&stop);
        talking.spawn(async move {
            let mut words = 0;
            while !asked.load(Ordering::Relaxed) {
                let sealed = words.to_string();
                let exchange = async {
                    ann.say(2, &sealed).await;
                    let expected = ServerMessage::Message {
                        from: id(1),
                        sealed: sealed.clone(),
                    };
                    assert_eq!(bob.next().await, Some(expected));
                    bob.say(1, &sealed).await;
                    let expected = ServerMessage::Message {
                        from: id(2),
                        sealed: sealed.clone(),
                    };
                    assert_eq!(ann.next().await, Some(expected));
                };
                timeout(WORD_LIMIT, exchange)
                    .await
                    .expect("a word arrives in time");
                words += 1;
                sleep(Duration::from_millis(50)).await;
            }
            words
        });
        Self { stop, talking }
    }

    async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let words = self.talking.join_next().await.expect("they talk");
        words.expect("nothing they said was lost")
    }
}

/// The server as a process of its own; killed when dropped.
struct Program {
    process: Child,
    address: SocketAddr,
}

impl Program {
    fn start() -> Self {
        let rooms = MOST_ROOMS.to_string();
        let mut process = Command::new(env!("CARGO_BIN_EXE_nonstop-server"))
            .args(["--listen", "127.0.0.1:0", "--max-rooms", &rooms])
            // Everybody comes from one address here.
            .args(["--max-arrivals-per-address", "1000000"])
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = process.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(log).lines();
        let line = lines
            .next()
            .expect("it says where it listens")
            .expect("in text");
        let (_, address) = line.split_once("http://").expect("an address");
        let address = address.trim().parse().expect("an address");
        // Whatever else it says is read, so that it never waits for us.
        std::thread::spawn(move || for _ in lines.map_while(Result::ok) {});
        Self { process, address }
    }

    /// Returns a figure of the program's memory: `VmRSS` is the present one, `VmHWM` the largest.
    fn memory_kb(&self, figure: &str) -> usize {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(figure));
        let number = line.expect("Linux tells").trim_start_matches(':').trim();
        let number = number.trim_end_matches("kB").trim();
        number.parse().expect("a number of kB")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
