//! A participant with a connection to the relay, on str0m as ordinary WebRTC programs use it: a
//! task of its own that says what it is told to say and writes down what it hears.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nonstop_relay::FrameMarking;
use nonstop_wire::{
    ClientMessage, LayerSize, Publish, Published, RelayExtensions, RelayOpen, RelayOpened,
    RelayPayloadTypes, ServerMessage, Token, Watch, Watched,
};
use str0m::{
    Candidate, Event, IceConnectionState, IceCreds, Input, Output, Rtc, RtcConfig,
    config::Fingerprint,
    format::{Codec, FormatParams},
    media::{Frequency, KeyframeRequestKind, MediaKind, Mid},
    net::{Protocol, Receive},
    rtp::{Extension, ExtensionValues, RawPacket, RtpWrite, Ssrc, rtcp::Rtcp},
};
use tokio::{net::UdpSocket, sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    client::{Client, PATIENCE, id, join},
    handshake::Handshake,
    marked::{Marked, NewestPictures, Telling},
    record::{Packet, Record},
    withheld::{Withheld, Written},
};

const TYPES: RelayPayloadTypes = RelayPayloadTypes {
    sound: 111,
    pictures: 96,
    repair: 97,
};
/// Other numbers than anybody has by default.
const EXTENSIONS: RelayExtensions = RelayExtensions {
    audio_level: 5,
    transport_cc: 6,
    frame_marking: 7,
    newest_picture: Some(TELLING),
};
const TELLING: u8 = 8;
pub(crate) const SIZES: [(u32, u32); 3] = [(320, 180), (640, 360), (1280, 720)];
/// Packets of a picture in each layer, of 1000 bytes: 0.2, 0.6 and 1.6 Mb/s.
const PACKETS: [u32; 3] = [1, 3, 8];
const PICTURE: Duration = Duration::from_millis(40);
const SOUND: Duration = Duration::from_millis(20);

/// What a participant is told to do.
#[derive(Debug)]
pub(crate) enum Order {
    Say(ClientMessage),
    /// Sends sound and pictures, wanted or not.
    Send {
        sound: bool,
        layers: usize,
    },
    /// Lets through this many bits a second of what comes.
    Squeeze(u64),
    /// Loses one in so many packets of pictures that come.
    Lose(usize),
    /// Keeps one in so many packets of pictures back until it was asked for three times.
    Withhold(u64),
    /// Breaks the WebSocket and comes back.
    Resume,
    /// Loses one datagram of the handshake (DTLS): the one of this number that comes, or that leaves.
    LoseOfHandshake(Option<usize>, Option<usize>),
    /// Opens a connection to the relay.
    Open {
        connection: u32,
    },
    /// Takes this for where the relay is, from the next time on.
    GoVia(SocketAddr),
    /// Sends this from the place of its media.
    Raw(Vec<u8>),
    /// Asks for a keyframe of somebody's pictures.
    AskForKeyframe {
        of: u64,
    },
}

/// A participant.
pub(crate) struct Peer {
    pub(crate) id: u64,
    record: Arc<Mutex<Record>>,
    orders: mpsc::Sender<Order>,
    udp: Arc<UdpSocket>,
    _task: AbortOnDropHandle<()>,
}

impl Peer {
    /// Joins and opens a connection.
    pub(crate) async fn connect(server: SocketAddr, id: u64) -> Self {
        Self::connect_in("hall", server, id).await
    }

    /// The same in a room of that name.
    pub(crate) async fn connect_in(room: &str, server: SocketAddr, id: u64) -> Self {
        let peer = Self::join_in(room, server, id).await;
        peer.order(Order::Open { connection: 1 }).await;
        peer.wait("connected", |record| record.connected).await;
        peer
    }

    /// Joins.
    pub(crate) async fn join(server: SocketAddr, id: u64) -> Self {
        Self::join_in("hall", server, id).await
    }

    async fn join_in(room: &str, server: SocketAddr, id: u64) -> Self {
        let (client, welcome) = Client::join(server, room, id).await;
        let record = Arc::new(Mutex::new(Record {
            welcome: Some(welcome),
            ..Record::default()
        }));
        let (orders, taken) = mpsc::channel(64);
        let udp = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let task = Task {
            id,
            room: room.to_owned(),
            server,
            client,
            udp: Arc::clone(&udp),
            record: Arc::clone(&record),
            media: None,
            sending: (false, 0),
            squeeze: None,
            lose: None,
            arrived: 0,
            handshake: Handshake::default(),
            via: None,
            delayed: VecDeque::new(),
            free: now(),
        };
        let task = tokio::task::JoinSet::new().spawn_task(task.run(taken));
        Self {
            id,
            record,
            orders,
            udp,
            _task: task,
        }
    }

    pub(crate) async fn order(&self, order: Order) {
        self.orders.send(order).await.expect("the peer runs");
    }

    /// Offers sound and pictures, and sends them.
    pub(crate) async fn publish(&self, sound: bool, layers: usize) {
        let sizes = SIZES[..layers].iter();
        let publish = Publish {
            sound,
            layers: sizes
                .map(|&(width, height)| LayerSize { width, height })
                .collect(),
            preferred: false,
        };
        self.order(Order::Say(ClientMessage::Publish(publish)))
            .await;
        self.order(Order::Send { sound, layers }).await;
    }

    /// Watches somebody at a size.
    pub(crate) async fn watch(&self, whom: &[u64], (width, height): (u32, u32)) {
        let pictures = whom.iter().map(|of| Watched {
            participant: id(*of),
            width,
            height,
        });
        let watch = Watch {
            pictures: pictures.collect(),
            ..Watch::default()
        };
        self.order(Order::Say(ClientMessage::Watch(watch))).await;
    }

    /// Sends this from the place of its media, past everything.
    pub(crate) fn send_now(&self, bytes: &[u8], to: SocketAddr) {
        let _ = self.udp.try_send_to(bytes, to);
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what was heard is so.
    pub(crate) async fn wait(&self, what: &str, so: impl Fn(&Record) -> bool) {
        let waiting = async {
            while !so(&self.record()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        let record = self.record();
        let packets = record.streams.iter();
        let packets: Vec<_> = packets.map(|(ssrc, s)| (ssrc, s.packets.len())).collect();
        let messages = &record.messages;
        assert!(
            waited.is_ok(),
            "{}: never {what}; {packets:?}, {messages:#?}",
            self.id
        );
    }
}

trait SpawnTask {
    fn spawn_task(self, task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()>;
}

impl SpawnTask for tokio::task::JoinSet<()> {
    fn spawn_task(self, task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
        #[expect(clippy::disallowed_methods, reason = "the handle ends it")]
        AbortOnDropHandle::new(tokio::task::spawn(task))
    }
}

struct Task {
    id: u64,
    room: String,
    server: SocketAddr,
    client: Client,
    udp: Arc<UdpSocket>,
    record: Arc<Mutex<Record>>,
    media: Option<Media>,
    sending: (bool, usize),
    squeeze: Option<u64>,
    lose: Option<usize>,
    /// How many packets of pictures came.
    arrived: usize,
    handshake: Handshake,
    via: Option<SocketAddr>,
    /// What is still on its way through the narrow link.
    delayed: VecDeque<(Instant, SocketAddr, Vec<u8>)>,
    free: Instant,
}

struct Media {
    rtc: Rtc,
    connection: u32,
    sound_ssrc: u32,
    layers: Vec<u32>,
    due: Instant,
    sound: (u64, u32, Instant),
    pictures: (Vec<u64>, u32, Instant, u8),
    keyframe: [bool; 3],
    withheld: Withheld,
}

impl Task {
    fn heard(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut bytes = vec![0; 2048];
        loop {
            self.send_media();
            self.poll().await;
            let wait = Duration::from_millis(2);
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                message = self.client.next_or_never() => match message {
                    Some(message) => self.hear(message),
                    None => return,
                },
                received = self.udp.recv_from(&mut bytes) => {
                    if let Ok((length, from)) = received {
                        self.arrive(from, bytes[..length].to_vec());
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Say(message) => self.client.send(&message).await,
            Order::Send { sound, layers } => self.sending = (sound, layers),
            Order::GoVia(address) => self.via = Some(address),
            Order::Squeeze(rate) => self.squeeze = Some(rate),
            Order::LoseOfHandshake(comes, leaves) => self.handshake.lost = [comes, leaves],
            Order::Lose(one_in) => self.lose = Some(one_in),
            Order::Withhold(one_in) => {
                if let Some(media) = &mut self.media {
                    media.withheld.one_in = Some(one_in);
                }
            }
            Order::Raw(bytes) => {
                let to = self
                    .heard()
                    .opened
                    .as_ref()
                    .map(|opened| opened.addresses[0]);
                if let Some(to) = to {
                    let _ = self.udp.send_to(&bytes, to).await;
                }
            }
            Order::AskForKeyframe { of } => {
                let of = self.heard().published(of);
                if let (Some(media), Some(of)) = (&mut self.media, of) {
                    let mut direct = media.rtc.direct_api();
                    if let Some(stream) = direct.stream_rx(&of.pictures_ssrc.into()) {
                        stream.request_keyframe(KeyframeRequestKind::Pli);
                    }
                }
            }
            Order::Resume => {
                let resume: Option<Token> = self
                    .heard()
                    .welcome
                    .as_ref()
                    .map(|welcome| welcome.resume.clone());
                self.client = Client::connect(self.server).await;
                let welcome = self.client.enter(join(&self.room, self.id, resume)).await;
                self.heard().messages.clear();
                self.heard().welcome = Some(welcome);
            }
            Order::Open { connection } => {
                self.heard().connected = false;
                let media = Media::new(self.id, connection, self.udp.local_addr().unwrap());
                let open = media.1;
                self.media = Some(media.0);
                self.client.send(&ClientMessage::RelayOpen(open)).await;
            }
        }
    }

    fn hear(&mut self, message: ServerMessage) {
        if let Some(media) = &mut self.media {
            match &message {
                ServerMessage::RelayOpened(opened) if opened.connection == media.connection => {
                    media.opened(opened, self.via);
                    self.record
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .opened = Some(opened.clone());
                }
                ServerMessage::Published(published) => media.expect(published),
                _ => {}
            }
        }
        self.heard().messages.push(message);
    }

    fn arrive(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        let now = now();
        if self.handshake.loses(0, &bytes) {
            return;
        }
        if matches!(bytes[..], [128..=191, kind, ..] if !(192..=223).contains(&kind)) {
            self.heard().media += 1;
        }
        if matches!(bytes[..], [128..=191, kind, ..] if kind & 0x7f == TYPES.pictures) {
            self.arrived += 1;
            if (self.lose).is_some_and(|one_in| self.arrived.is_multiple_of(one_in)) {
                self.heard().dropped += 1;
                return;
            }
        }
        let at = match self.squeeze {
            None => now,
            Some(rate) => {
                let start = self.free.max(now);
                if start > now + Duration::from_millis(300) {
                    return;
                }
                let time = Duration::from_secs_f64(bytes.len() as f64 * 8.0 / rate as f64);
                self.free = start + time;
                self.free
            }
        };
        self.delayed.push_back((at, from, bytes));
    }

    async fn poll(&mut self) {
        let now = now();
        let own = self.udp.local_addr().unwrap();
        let Some(media) = &mut self.media else {
            self.delayed.clear();
            return;
        };
        while self.delayed.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, from, bytes)) = self.delayed.pop_front() else {
                break;
            };
            if let Ok(receive) = Receive::new(Protocol::Udp, from, own, &bytes) {
                let _ = media.rtc.handle_input(Input::Receive(now, receive));
                media
                    .drain(&self.udp, &mut self.handshake, &self.record, now)
                    .await;
            }
        }
        let _ = media.rtc.handle_input(Input::Timeout(now));
        media
            .drain(&self.udp, &mut self.handshake, &self.record, now)
            .await;
    }

    fn send_media(&mut self) {
        let now = now();
        let connected = self.heard().connected;
        let (sound, layers) = self.sending;
        if let Some(media) = self.media.as_mut().filter(|_| connected) {
            media.send(sound, layers, now);
        }
    }
}

impl Media {
    fn new(id: u64, connection: u32, own: SocketAddr) -> (Self, RelayOpen) {
        let mut config = RtcConfig::new()
            .set_rtp_mode(true)
            .enable_raw_packets(true)
            .clear_codecs()
            .clear_extension_map()
            .set_extension(EXTENSIONS.audio_level, Extension::AudioLevel)
            .set_extension(EXTENSIONS.transport_cc, Extension::TransportSequenceNumber)
            .set_extension(
                EXTENSIONS.frame_marking,
                Extension::with_serializer("urn:ietf:params:rtp-hdrext:framemarking", Marked),
            )
            .set_extension(
                TELLING,
                Extension::with_serializer("urn:nonstop:newest-picture", Telling),
            );
        let codecs = config.codec_config();
        let (sound, pictures) = (TYPES.sound.into(), TYPES.pictures.into());
        let plain = FormatParams::default;
        let opus = Frequency::FORTY_EIGHT_KHZ;
        codecs.add_config(sound, None, Codec::Opus, opus, Some(2), plain());
        let repair = Some(TYPES.repair.into());
        let h264 = Frequency::NINETY_KHZ;
        codecs.add_config(pictures, repair, Codec::H264, h264, None, plain());
        let mut rtc = config.build(now());
        rtc.add_local_candidate(Candidate::host(own, "udp").unwrap());
        let base = (id as u32) * 1000 + connection * 10;
        let (sound_ssrc, layers) = (base + 1, vec![base + 2, base + 3, base + 4]);
        let mut direct = rtc.direct_api();
        direct.set_ice_controlling(true);
        direct.enable_twcc_feedback();
        direct.declare_media(Mid::from("sound"), MediaKind::Audio);
        direct.declare_stream_tx(
            sound_ssrc.into(),
            None,
            Mid::from("sound"),
            Some("own".into()),
        );
        direct.declare_media(Mid::from("pictures"), MediaKind::Video);
        for (number, layer) in layers.iter().enumerate() {
            let rid = format!("own{number}");
            let mid = Mid::from("pictures");
            direct.declare_stream_tx((*layer).into(), None, mid, Some(rid.as_str().into()));
        }
        let IceCreds { ufrag, pass } = direct.local_ice_credentials();
        let pairs: Vec<_> = (direct.local_dtls_fingerprint().bytes.iter())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let open = RelayOpen {
            connection,
            ufrag,
            password: pass,
            fingerprint: pairs.join(":"),
            sound: sound_ssrc,
            layers: layers.clone(),
            payload_types: TYPES,
            extensions: EXTENSIONS,
        };
        let start = now();
        let media = Self {
            rtc,
            connection,
            sound_ssrc,
            layers,
            due: start,
            sound: (100, 960, start),
            pictures: (vec![1000; 3], 3600, start, 0),
            keyframe: [true; 3],
            withheld: Withheld::default(),
        };
        (media, open)
    }

    fn opened(&mut self, opened: &RelayOpened, via: Option<SocketAddr>) {
        let addresses = via.map_or(opened.addresses.clone(), |via| vec![via]);
        for address in &addresses {
            let candidate = Candidate::host(*address, "udp").unwrap();
            self.rtc.add_remote_candidate(candidate);
        }
        let bytes = opened.fingerprint.split(':');
        let bytes = bytes.map(|pair| u8::from_str_radix(pair, 16).unwrap());
        let mut direct = self.rtc.direct_api();
        direct.set_remote_ice_credentials(IceCreds {
            ufrag: opened.ufrag.clone(),
            pass: opened.password.clone(),
        });
        direct.set_remote_fingerprint(Fingerprint {
            hash_func: "sha-256".to_owned(),
            bytes: bytes.collect(),
        });
        direct.start_dtls(true).unwrap();
        let (pictures, rid) = (Mid::from("pictures"), Some("padding".into()));
        direct.expect_stream_rx(opened.padding_ssrc.into(), None, pictures, rid);
    }

    fn expect(&mut self, published: &Published) {
        let mut direct = self.rtc.direct_api();
        let rid = format!("of{}", published.pictures_ssrc % 1_000_000);
        let rid = Some(rid.as_str().into());
        let sound =
            direct.expect_stream_rx(published.sound_ssrc.into(), None, Mid::from("sound"), rid);
        sound.suppress_nack(true);
        direct.expect_stream_rx(
            published.pictures_ssrc.into(),
            Some(published.repair_ssrc.into()),
            Mid::from("pictures"),
            rid,
        );
    }

    fn send(&mut self, sound: bool, layers: usize, now: Instant) {
        while sound && self.sound.2 <= now {
            let (sequence, timestamp, at) = self.sound;
            self.sound = (sequence + 1, timestamp.wrapping_add(960), at + SOUND);
            let mut values = ExtensionValues {
                audio_level: Some(-30),
                voice_activity: Some(true),
                ..ExtensionValues::default()
            };
            let newest = self.pictures.0.iter().map(|next| (next - 1) as u16);
            let newest = NewestPictures(newest.take(layers).collect());
            values.user_values.set(newest);
            let payload = vec![0xf0; 80];
            let sound = Written {
                ssrc: self.sound_ssrc,
                sequence,
                timestamp,
                at,
                marker: false,
                values,
                payload,
            };
            self.write(TYPES.sound, sound);
        }
        while self.pictures.2 <= now {
            let (_, timestamp, at, tl0) = self.pictures.clone();
            let upper = (timestamp / 3600) % 2 == 1;
            let tl0 = if upper { tl0 } else { tl0.wrapping_add(1) };
            for (layer, packets) in PACKETS.into_iter().enumerate().take(layers) {
                let keyframe = !upper && std::mem::take(&mut self.keyframe[layer]);
                let count = packets * if keyframe { 3 } else { 1 };
                for part in 0..count {
                    let last = part + 1 == count;
                    let marking = FrameMarking {
                        start: part == 0,
                        end: last,
                        independent: keyframe,
                        discardable: upper,
                        base_sync: upper,
                        temporal: u8::from(upper),
                        tl0_picture: tl0,
                    };
                    let [a, b, c] = marking.write();
                    let values = ExtensionValues {
                        frame_mark: Some(u32::from_be_bytes([3, a, b, c])),
                        ..ExtensionValues::default()
                    };
                    let sequence = self.pictures.0[layer];
                    self.pictures.0[layer] += 1;
                    let (ssrc, payload) = (self.layers[layer], vec![layer as u8; 1000]);
                    let written = Written {
                        ssrc,
                        sequence,
                        timestamp,
                        at,
                        marker: last,
                        values,
                        payload,
                    };
                    if let Some(written) = self.withheld.keep(written) {
                        self.write(TYPES.pictures, written);
                    }
                }
            }
            self.pictures.1 = timestamp.wrapping_add(3600);
            self.pictures.2 = at + PICTURE;
            self.pictures.3 = tl0;
        }
    }

    fn write(&mut self, payload_type: u8, packet: Written) {
        let number = packet.sequence.into();
        let (timestamp, at) = (packet.timestamp, packet.at);
        let write = RtpWrite::new(payload_type.into(), number, timestamp, at, packet.payload);
        let write = write.marker(packet.marker).ext_vals(packet.values);
        let mut direct = self.rtc.direct_api();
        if let Some(stream) = direct.stream_tx(&Ssrc::from(packet.ssrc)) {
            stream.write_rtp(write);
        }
    }

    async fn drain(
        &mut self,
        udp: &UdpSocket,
        handshake: &mut Handshake,
        record: &Mutex<Record>,
        now: Instant,
    ) {
        loop {
            match self
                .rtc
                .poll_output()
                .expect("the peer's own side is sound")
            {
                Output::Timeout(due) => {
                    self.due = due;
                    return;
                }
                Output::Transmit(transmit) if handshake.loses(1, &transmit.contents) => {}
                Output::Transmit(transmit) => {
                    let _ = udp.send_to(&transmit.contents, transmit.destination).await;
                }
                Output::Event(event) => {
                    let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
                    match event {
                        Event::Connected => record.connected = true,
                        Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                            record.connected = false;
                        }
                        Event::KeyframeRequest(request) => {
                            record.keyframes_asked += 1;
                            let layer = request.rid.and_then(|rid| rid[3..].parse::<usize>().ok());
                            if let Some(layer) = layer {
                                self.keyframe[layer] = true;
                            }
                        }
                        Event::SenderFeedback(report) => {
                            *record.reports.entry(*report.sender_info.ssrc).or_default() += 1;
                        }
                        Event::RawPacket(raw) => {
                            if let RawPacket::RtcpRx(Rtcp::Nack(nack)) = *raw {
                                let (late, counts) = self.withheld.asked(&nack);
                                (record.withheld, record.sent_late) = counts;
                                late.into_iter()
                                    .for_each(|it| self.write(TYPES.pictures, it));
                            }
                        }
                        Event::RtpPacket(packet) => {
                            let stream = record.streams.entry(*packet.header.ssrc).or_default();
                            let values = &packet.header.ext_vals;
                            let marking = values.frame_mark.map(u32::to_be_bytes);
                            stream.packets.push(Packet {
                                sequence: *packet.seq_no,
                                timestamp: packet.header.timestamp,
                                marker: packet.header.marker,
                                marking: marking.and_then(|m| FrameMarking::read(&m[1..])),
                                level: values.audio_level,
                                newest_picture: (values.user_values.get::<NewestPictures>())
                                    .and_then(|newest| newest.0.first().copied()),
                                layer: packet.payload.first().copied().unwrap_or(255),
                                at: now,
                            });
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the peer lives in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
