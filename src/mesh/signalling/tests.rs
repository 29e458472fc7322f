//! Against a small WebSocket server that does what each test says.

use std::net::SocketAddr;

use nonstop_wire::DepartureReason;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::*;

const ME: ParticipantId = ParticipantId::from_bits(1);
const ANN: ParticipantId = ParticipantId::from_bits(2);
/// Long enough for any machine; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(30);

struct FakeServer(TcpListener);

struct Guest(WebSocketStream<TcpStream>);

impl FakeServer {
    async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    async fn start_at(address: SocketAddr) -> Self {
        Self(TcpListener::bind(address).await.unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Takes a connection and returns it with its `join`.
    async fn accept(&self) -> (Guest, ClientMessage) {
        let (stream, _) = timeout(LONG, self.0.accept()).await.unwrap().unwrap();
        let mut guest = Guest(accept_async(stream).await.unwrap());
        let join = guest.hear().await.expect("a join comes first");
        (guest, join)
    }

    /// Takes a connection and lets it in.
    async fn welcome(&self, token: u8, resumed: bool) -> (Guest, ClientMessage) {
        let (mut guest, join) = self.accept().await;
        guest
            .say(&ServerMessage::Welcome(welcome(token, resumed)))
            .await;
        (guest, join)
    }
}

impl Guest {
    async fn say(&mut self, message: &ServerMessage) {
        self.0.send(Message::text(message.encode())).await.unwrap();
    }

    /// Returns the next message, or none when the connection has ended.
    async fn hear(&mut self) -> Option<ClientMessage> {
        loop {
            match timeout(LONG, self.0.next()).await.unwrap()? {
                Ok(Message::Text(text)) => return Some(ClientMessage::decode(&text).unwrap()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

fn welcome(token: u8, resumed: bool) -> Welcome {
    Welcome {
        version: PROTOCOL_VERSION,
        resume: Token::from_bytes([token; 32]),
        resumed,
        participants: vec![ANN],
        ice_servers: vec![],
        mesh_limit: 5,
        topology: nonstop_wire::Topology::Mesh,
        relay: false,
    }
}

fn start(address: SocketAddr) -> Signalling {
    let patience = Patience {
        first: Duration::from_secs(1),
        silence: Duration::from_secs(2),
        ..Patience::default()
    };
    start_patiently(address, patience)
}

fn start_patiently(address: SocketAddr, patience: Patience) -> Signalling {
    let seat = Seat {
        url: format!("ws://{address}/signalling"),
        room: "room".parse().unwrap(),
        admission: Token::from_bytes([9; 32]),
        me: ME,
        proxies: Proxies::default(),
    };
    Signalling::start(seat, patience)
}

async fn next(signalling: &mut Signalling) -> News {
    timeout(LONG, signalling.next()).await.unwrap().unwrap()
}

fn message(number: usize) -> ClientMessage {
    ClientMessage::Send {
        to: ANN,
        sealed: number.to_string(),
    }
}

#[tokio::test]
async fn it_joins_with_what_it_was_given_and_passes_messages_both_ways() {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    let (mut guest, join) = server.welcome(1, false).await;
    let expected = ClientMessage::Join {
        version: PROTOCOL_VERSION,
        room: "room".parse().unwrap(),
        admission: Token::from_bytes([9; 32]),
        participant: ME,
        resume: None,
    };
    assert_eq!(join, expected);
    assert_eq!(
        next(&mut signalling).await,
        News::Connected(welcome(1, false))
    );

    let left = ServerMessage::Left {
        participant: ANN,
        reason: DepartureReason::Left,
    };
    guest
        .0
        .send(Message::text("{\"type\":\"news of a later version\"}"))
        .await
        .unwrap();
    guest.0.send(Message::text("nonsense")).await.unwrap();
    guest.say(&left).await;
    assert_eq!(
        next(&mut signalling).await,
        News::Received(ServerMessage::Unknown)
    );
    assert_eq!(next(&mut signalling).await, News::Received(left));

    assert!(signalling.send(message(1)));
    assert_eq!(guest.hear().await, Some(message(1)));
}

#[tokio::test]
async fn a_broken_connection_is_resumed_and_nothing_to_be_sent_is_lost() {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    let (guest, _) = server.welcome(1, false).await;
    next(&mut signalling).await;
    drop(guest);
    assert_eq!(next(&mut signalling).await, News::Disconnected);
    assert!(signalling.send(message(1)));
    assert!(signalling.send(message(2)));

    let (mut guest, join) = server.welcome(2, true).await;
    let ClientMessage::Join {
        resume,
        participant,
        ..
    } = join
    else {
        panic!("{join:?}");
    };
    assert_eq!(resume, Some(Token::from_bytes([1; 32])));
    assert_eq!(participant, ME, "the same participant");
    assert_eq!(
        next(&mut signalling).await,
        News::Connected(welcome(2, true))
    );
    assert_eq!(guest.hear().await, Some(message(1)));
    assert_eq!(guest.hear().await, Some(message(2)));
}

#[tokio::test]
async fn of_more_than_it_can_keep_the_oldest_is_lost() {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    let (guest, _) = server.welcome(1, false).await;
    next(&mut signalling).await;
    drop(guest);
    assert_eq!(next(&mut signalling).await, News::Disconnected);
    for number in 0..BACKLOG + 10 {
        while !signalling.send(message(number)) {
            sleep(Duration::from_millis(1)).await;
        }
    }
    let (mut guest, _) = server.welcome(2, true).await;
    assert_eq!(guest.hear().await, Some(message(10)));
}

#[tokio::test]
async fn a_refusal_ends_it() {
    for code in [
        ErrorCode::NotAdmitted,
        ErrorCode::RoomFull,
        ErrorCode::Version,
    ] {
        let server = FakeServer::start().await;
        let mut signalling = start(server.address());
        let (mut guest, _) = server.accept().await;
        guest
            .say(&ServerMessage::Error {
                code,
                message: String::new(),
            })
            .await;
        assert_eq!(next(&mut signalling).await, News::Ended(End::Refused(code)));
        assert_eq!(signalling.next().await, None);
    }
}

/// Joins, and is refused with `code` when it comes back.
async fn refused_in_a_call(code: ErrorCode) {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    drop(server.welcome(1, false).await);
    let (mut guest, _) = server.accept().await;
    let message = String::new();
    guest.say(&ServerMessage::Error { code, message }).await;
    next(&mut signalling).await;
    assert_eq!(next(&mut signalling).await, News::Disconnected);
    assert_eq!(next(&mut signalling).await, News::Refused(code));
    let (_guest, join) = server.welcome(2, false).await;
    let ClientMessage::Join { participant, .. } = join else {
        panic!("{join:?}");
    };
    assert_eq!(participant, ME, "the same participant");
    assert_eq!(
        next(&mut signalling).await,
        News::Connected(welcome(2, false))
    );
}

#[tokio::test]
async fn once_in_the_room_no_refusal_is_more_than_a_reason_to_try_again() {
    use ErrorCode::*;
    let codes = [
        NotAdmitted,
        RoomFull,
        ServerFull,
        IdTaken,
        Replaced,
        Version,
    ];
    let mut scenes = JoinSet::new();
    for code in codes {
        scenes.spawn(refused_in_a_call(code));
    }
    while let Some(scene) = scenes.join_next().await {
        scene.unwrap();
    }
}

#[tokio::test]
async fn once_in_the_room_garbage_and_closed_doors_are_waited_out() {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    drop(server.welcome(1, false).await);
    // No WebSocket at all, one that says nonsense, and one that closes at once.
    let (stream, _) = server.0.accept().await.unwrap();
    let _ = stream.try_write(b"220 mail.example.org ESMTP\r\n");
    drop(stream);
    let (mut guest, _) = server.accept().await;
    guest.0.send(Message::text("nonsense")).await.unwrap();
    guest.0.close(None).await.unwrap();
    drop(guest);
    let (_guest, _) = server.welcome(2, true).await;
    next(&mut signalling).await;
    assert_eq!(next(&mut signalling).await, News::Disconnected);
    assert!(matches!(next(&mut signalling).await, News::Connected(_)));
}

#[tokio::test]
async fn a_knock_finds_out_a_connection_that_is_dead() {
    let patience = Patience {
        silence: LONG * 2,
        answer: Duration::from_millis(300),
        ..Patience::default()
    };
    let server = FakeServer::start().await;
    let mut signalling = start_patiently(server.address(), patience);
    // Open, but nothing comes from it any more.
    let (_silent, _) = server.welcome(1, false).await;
    next(&mut signalling).await;
    signalling.knock();
    assert_eq!(next(&mut signalling).await, News::Disconnected);

    let (mut guest, _) = server.welcome(1, true).await;
    next(&mut signalling).await;
    signalling.knock();
    let alive = timeout(Duration::from_secs(1), guest.hear()).await;
    assert!(alive.is_err(), "one that answers is kept");
    assert!(
        timeout(Duration::from_millis(1), signalling.next())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_knock_ends_a_wait_and_an_attempt_that_hangs() {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    drop(server.welcome(1, false).await);
    next(&mut signalling).await;
    assert_eq!(next(&mut signalling).await, News::Disconnected);
    // The attempt that comes next is taken and never answered.
    let hung = timeout(LONG, server.0.accept()).await.unwrap().unwrap();
    signalling.knock();
    let again = timeout(Duration::from_secs(4), server.welcome(2, true)).await;
    assert!(again.is_ok(), "an attempt may take 8 s");
    assert!(matches!(next(&mut signalling).await, News::Connected(_)));
    drop(hung);
}

#[tokio::test]
async fn a_server_that_starts_late_is_found() {
    let address = FakeServer::start().await.address();
    let patience = Patience {
        first: LONG,
        ..Patience::default()
    };
    let mut signalling = start_patiently(address, patience);
    sleep(Duration::from_millis(300)).await;
    let server = FakeServer::start_at(address).await;
    let (_guest, _) = server.welcome(1, false).await;
    assert!(matches!(next(&mut signalling).await, News::Connected(_)));
}

#[tokio::test]
async fn a_server_that_is_not_there_ends_it_in_words() {
    let address = FakeServer::start().await.address();
    let mut signalling = start(address);
    let News::Ended(End::Unreachable(words)) = next(&mut signalling).await else {
        panic!("there is no server");
    };
    assert!(words.contains("could not be reached"), "{words}");
}

#[tokio::test]
async fn something_that_is_no_meeting_server_ends_it_in_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut signalling = start(listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.try_write(b"220 mail.example.org ESMTP\r\n");
        }
    });
    let News::Ended(End::Unreachable(words)) = next(&mut signalling).await else {
        panic!("that is no meeting server");
    };
    assert!(words.contains("could not be reached"), "{words}");
}

#[tokio::test]
async fn a_silent_server_is_left_for_a_new_connection() {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    let (_guest, _) = server.welcome(1, false).await;
    next(&mut signalling).await;
    assert_eq!(next(&mut signalling).await, News::Disconnected);
    server.welcome(2, true).await;
    assert!(matches!(next(&mut signalling).await, News::Connected(_)));
}

#[tokio::test]
async fn pings_are_answered_and_keep_the_connection() {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    let (mut guest, _) = server.welcome(1, false).await;
    next(&mut signalling).await;
    for _ in 0..8 {
        sleep(Duration::from_millis(500)).await;
        guest.0.send(Message::Ping("?".into())).await.unwrap();
        let pong = timeout(LONG, guest.0.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(pong, Message::Pong("?".into()));
    }
    assert!(
        timeout(Duration::from_millis(1), signalling.next())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn leaving_sends_what_is_left_to_say_and_goodbye() {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    let (mut guest, _) = server.welcome(1, false).await;
    next(&mut signalling).await;
    signalling.send(message(1));
    let leaving = signalling.leave();
    let hearing = async {
        assert_eq!(guest.hear().await, Some(message(1)));
        assert_eq!(guest.hear().await, Some(ClientMessage::Leave));
        assert_eq!(guest.hear().await, None);
    };
    tokio::join!(leaving, hearing);
}

#[tokio::test]
async fn leaving_while_the_server_talks_says_everything_all_the_same() {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    let (mut guest, _) = server.welcome(1, false).await;
    next(&mut signalling).await;
    // More than its queue of news holds, and nobody takes them out.
    for _ in 0..100 {
        guest.say(&ServerMessage::Away { participant: ANN }).await;
    }
    sleep(Duration::from_millis(50)).await;
    assert!(signalling.send(message(1)));
    let (_, heard) = tokio::join!(signalling.leave(), async {
        (guest.hear().await, guest.hear().await)
    });
    assert_eq!(heard, (Some(message(1)), Some(ClientMessage::Leave)));
}

#[tokio::test]
async fn leaving_does_not_wait_for_a_server_that_hangs_or_is_gone() {
    let server = FakeServer::start().await;
    let mut signalling = start(server.address());
    let (_guest, _) = server.welcome(1, false).await;
    next(&mut signalling).await;
    timeout(LONG, signalling.leave()).await.unwrap();

    let mut signalling = start(server.address());
    drop(server.welcome(1, false).await);
    next(&mut signalling).await;
    assert_eq!(next(&mut signalling).await, News::Disconnected);
    timeout(LONG, signalling.leave()).await.unwrap();
}
