//! One participant's connection: ICE, DTLS and what comes in by str0m, what goes out, and the places from
//! which the participant comes.
//!
//! str0m promises no panic for what comes from the network, but not for every order of calls of the
//! kind that is used here (without session descriptions). A panic ends the one connection only.

mod passing;
mod setup;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_relay::Member;
use nonstop_wire::{ParticipantId, RelayOpen};
use str0m::{
    Event, IceCreds, Input, Output, Rtc, RtcError,
    config::{CryptoProvider, DtlsCert},
    media::KeyframeRequestKind,
    net::{Protocol, Receive},
    rtp::RtpPacket,
};
use tracing::{debug, warn};

pub(super) use self::passing::Passing;
use self::setup::{begin, config, fingerprint_bytes};
use super::{
    downlink::Downlink,
    exporter,
    newest_pictures::newest_pictures,
    outlet::{Exit, Outlet},
    sealing::Sealer,
    sending::Sending,
    timeline::Timeline,
    uplink::Uplink,
};
use crate::{bucket::Bucket, clock, config::Rate, slab::Key};

/// How long there may be no sign of life (RFC 7675 section 5.1 gives a sender 30 s; here the
/// participant's checks come every few seconds).
const SILENCE: Duration = Duration::from_secs(15);
/// How long ICE and DTLS may take, by way of a TURN server and with losses.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// From how many places packets of a participant are taken: each network of it and each TURN
/// server is one.
const MOST_PLACES: usize = 16;
/// What str0m wants so soon is done at once.
const AHEAD: Duration = Duration::from_micros(200);
/// How much later str0m may be asked what reports and feedback lead to: repairs and keyframes.
const SOON: Duration = Duration::from_millis(5);
/// Most packets that leave at once; the rest is next in a millisecond.
const MOST_AT_ONCE: usize = 1024;

/// What all connections of a relay share.
pub(super) struct Ground {
    provider: Arc<CryptoProvider>,
    /// One certificate for all, so that a connection costs no new key.
    certificate: DtlsCert,
    /// An instant, and the wall clock then, from 1970 on: what is reported to participants keeps its
    /// distance though somebody sets the clock.
    clock: (Instant, Duration),
}

impl Ground {
    /// Makes a certificate; `None` if the system gives no random numbers.
    pub(super) fn new() -> Option<Self> {
        let provider = exporter::showing(str0m::crypto::from_feature_flags());
        let certificate = provider.dtls_provider.generate_certificate()?;
        Some(Self {
            provider: Arc::new(provider),
            certificate,
            clock: (clock::now(), clock::unix_time()),
        })
    }
}

/// Under which SSRCs a participant's media is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ssrcs {
    pub(super) sound: u32,
    pub(super) pictures: u32,
    pub(super) repair: u32,
    /// What means nothing is sent to the participant under this one.
    pub(super) padding: u32,
}

/// What happened to a connection.
#[derive(Debug)]
pub(super) enum Happened {
    /// A packet of the participant's media came.
    Packet(Box<RtpPacket>),
    /// The participant has no use for pictures of a member but a keyframe.
    KeyframeWanted(Member),
}

/// A participant's connection.
pub(super) struct Client {
    pub(super) member: Member,
    pub(super) hall: Key,
    pub(super) participant: ParticipantId,
    pub(super) connection: u32,
    pub(super) ufrag: String,
    password: String,
    crypto: Arc<CryptoProvider>,
    /// The SSRC of the participant's sound, and those of the layers of its pictures.
    pub(super) sound: u32,
    pub(super) layers: Vec<u32>,
    /// Under which its media is passed on to others.
    pub(super) ssrcs: Ssrcs,
    rtc: Rtc,
    /// Whether str0m was told something, and not asked what follows from it.
    stirred: bool,
    downlink: Downlink,
    uplink: Uplink,
    sending: Sending,
    /// Of whom the participant asked for keyframes.
    wanted: Vec<Member>,
    /// How many packets the downlink had dropped when it was last asked whose.
    dropped: u64,
    /// What str0m was last told to be the time; never goes back.
    now: Instant,
    pub(super) connected: bool,
    opened: Instant,
    heard: Instant,
    /// Why it cannot go on.
    pub(super) over: Option<&'static str>,
    /// Where its packets come from, the newest first, and how it is reached there.
    pub(super) places: Vec<(SocketAddr, Exit)>,
    /// The one of them that the participant nominated (RFC 8445 section 7.3.1.5): where media goes.
    target: Option<(SocketAddr, Exit)>,
    pub(super) police: Bucket,
    pub(super) timeline: Timeline,
    /// When str0m wants to be asked next.
    due: Instant,
    /// The time for which this stands in the agenda.
    pub(super) listed: Option<Instant>,
    /// Whether it waits for its turn.
    pub(super) dirty: bool,
}

impl Client {
    /// Opens a connection, for whose half `credentials` were made; `None` if the participant's half
    /// is not one.
    pub(super) fn open(
        ground: &Ground,
        (member, hall, participant): (Member, Key, ParticipantId),
        open: &RelayOpen,
        credentials: IceCreds,
        ssrcs: Ssrcs,
        police: Rate,
        now: Instant,
    ) -> Option<Self> {
        let fingerprint = fingerprint_bytes(&open.fingerprint)?;
        if open.ufrag.is_empty() || open.password.is_empty() {
            return None;
        }
        let IceCreds { ufrag, pass } = credentials.clone();
        let rtc = catch_unwind(AssertUnwindSafe(|| {
            let config = config(ground, open, credentials);
            let mut rtc = config.build(now);
            begin(&mut rtc, open, fingerprint)?;
            Ok::<_, RtcError>(rtc)
        }));
        let rtc = rtc.ok()?.ok()?;
        Some(Self {
            member,
            hall,
            participant,
            connection: open.connection,
            ufrag,
            password: pass,
            crypto: Arc::clone(&ground.provider),
            sound: open.sound,
            layers: open.layers.clone(),
            ssrcs,
            rtc,
            stirred: true,
            downlink: Downlink::new(now),
            uplink: Uplink::new(&open.layers),
            sending: Sending::new(open.payload_types, open.extensions, ground.clock),
            wanted: Vec::new(),
            dropped: 0,
            now,
            connected: false,
            opened: now,
            heard: now,
            over: None,
            places: Vec::new(),
            target: None,
            police: Bucket::new(police, now),
            timeline: Timeline::default(),
            due: now,
            listed: None,
            dirty: false,
        })
    }

    /// Returns the fingerprint of the relay's certificate, as it is signalled.
    pub(super) fn own_fingerprint(&mut self) -> String {
        let direct = self.rtc.direct_api();
        let bytes = direct.local_dtls_fingerprint().bytes.iter();
        let pairs: Vec<_> = bytes.map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }

    /// Returns when this is to be looked at next.
    pub(super) fn due(&self) -> Instant {
        let due = self.due.min(self.deadline());
        // Whoever cannot be reached is asked for nothing: that must not be due for ever.
        let reached = self.connected && self.target.is_some();
        let asks = self.uplink.poll_timeout().filter(|_| reached);
        let sends = [
            self.downlink.poll_timeout(),
            self.sending.poll_timeout(),
            asks,
        ];
        sends.into_iter().flatten().fold(due, Instant::min)
    }

    fn deadline(&self) -> Instant {
        match self.connected {
            true => self.heard + SILENCE,
            false => self.opened + HANDSHAKE,
        }
    }

    /// Takes in a STUN message that names this connection. Returns whether it is the participant's.
    pub(super) fn receive_stun(
        &mut self,
        source: SocketAddr,
        exit: Exit,
        datagram: &[u8],
        now: Instant,
    ) -> bool {
        let (password, hmac) = (self.password.as_bytes(), self.crypto.sha1_hmac_provider);
        let message = str0m::ice::StunMessage::parse(datagram).ok();
        let message = message
            .filter(|message| message.verify(password, |key, parts| hmac.sha1_hmac(key, parts)));
        let Some(message) = message else {
            return false;
        };
        self.heard = now;
        match self.places.iter_mut().find(|(place, _)| *place == source) {
            Some(place) => place.1 = exit,
            None => self.places.insert(0, (source, exit)),
        }
        let targeted = self.target.is_some_and(|(target, _)| target == source);
        if targeted || message.use_candidate() {
            self.target = Some((source, exit));
            self.downlink.set_target(source);
        }
        self.receive(source, datagram, now);
        true
    }

    /// Has it looked at before long: what came in hurries nobody, and mostly something is sent soon.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.due = self.due.min(now + SOON);
    }

    /// Takes in a datagram from one of the participant's places.
    pub(super) fn receive(&mut self, source: SocketAddr, datagram: &[u8], now: Instant) {
        let destination = local_address(source);
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, datagram) else {
            return;
        };
        self.now = self.now.max(now);
        let now = self.now;
        // Malformed and foreign packets are errors too: anybody may send them from there, and the
        // connection goes on after them.
        self.guard(|rtc| rtc.handle_input(Input::Receive(now, receive)));
        self.stirred = true;
    }

    /// Returns a place that is one too many, no more to be taken for the participant's.
    pub(super) fn forget_place(&mut self) -> Option<SocketAddr> {
        if self.places.len() <= MOST_PLACES {
            return None;
        }
        self.places.pop().map(|(place, _)| place)
    }

    /// Lets time pass, and sends what may leave.
    pub(super) fn tick(&mut self, now: Instant, outlet: &mut Outlet) {
        self.now = self.now.max(now);
        let now = self.now;
        self.downlink.handle_timeout(now);
        self.release(now, outlet);
        if self.due <= now {
            self.guard(|rtc| rtc.handle_input(Input::Timeout(now)));
            self.stirred = true;
        }
        if now >= self.deadline() {
            let silent = if self.connected {
                "silent"
            } else {
                "not connected in time"
            };
            self.over.get_or_insert(silent);
        }
    }

    /// Sends what str0m wants to be sent, and returns the next thing that happened.
    pub(super) fn poll(&mut self, now: Instant, outlet: &mut Outlet) -> Option<Happened> {
        self.now = self.now.max(now);
        for _ in 0..MOST_AT_ONCE {
            if let Some(member) = self.wanted.pop() {
                return Some(Happened::KeyframeWanted(member));
            }
            if self.over.is_some() || !self.stirred {
                return None;
            }
            match self.guard(Rtc::poll_output)? {
                Ok(Output::Timeout(due)) if due <= now + AHEAD && self.rtc.is_alive() => {
                    self.now = self.now.max(due);
                    let now = self.now;
                    self.guard(|rtc| rtc.handle_input(Input::Timeout(now)));
                }
                Ok(Output::Timeout(due)) => {
                    self.due = due;
                    self.stirred = false;
                    if !self.rtc.is_alive() {
                        self.over.get_or_insert("closed");
                    }
                }
                Ok(Output::Transmit(transmit)) => {
                    let to = transmit.destination;
                    if let Some((_, exit)) = self.places.iter().find(|(place, _)| *place == to) {
                        outlet.push(*exit, to, &transmit.contents);
                    }
                }
                Ok(Output::Event(Event::Connected)) => self.connected = true,
                Ok(Output::Event(Event::RawPacket(packet))) => self.note(*packet, outlet),
                Ok(Output::Event(Event::RtpPacket(packet))) => {
                    (self.uplink).note(*packet.header.ssrc, *packet.seq_no, self.now);
                    if let Some(newest) = newest_pictures(&packet.header.ext_vals) {
                        self.uplink.expect(newest, self.now);
                    }
                    return Some(Happened::Packet(Box::new(packet)));
                }
                Ok(Output::Event(Event::Closed)) => {
                    self.over.get_or_insert("closed by the participant");
                }
                Ok(Output::Event(_)) => {}
                Err(cause) => {
                    debug!(%cause, "a connection to the relay failed");
                    self.over.get_or_insert("failed");
                }
            }
        }
        self.due = now + Duration::from_millis(1);
        None
    }

    /// Asks the participant for a keyframe of a layer.
    pub(super) fn request_keyframe(&mut self, layer: u8) {
        let Some(ssrc) = self.layers.get(usize::from(layer)).copied() else {
            return;
        };
        self.guard(|rtc| {
            if let Some(stream) = rtc.direct_api().stream_rx(&ssrc.into()) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        });
        self.due = self.now;
    }

    /// Says goodbye, so that the participant need not find out.
    pub(super) fn say_goodbye(&mut self, outlet: &mut Outlet) {
        if self.over.is_none() && self.connected {
            self.guard(Rtc::close);
            self.stirred = true;
            let now = self.now;
            while self.poll(now, outlet).is_some() {}
        }
    }

    /// Calls str0m; after a panic never again.
    fn guard<T>(&mut self, call: impl FnOnce(&mut Rtc) -> T) -> Option<T> {
        if self.over.is_some_and(|why| why == PANICKED) {
            return None;
        }
        let rtc = &mut self.rtc;
        let called = catch_unwind(AssertUnwindSafe(|| exporter::watch(|| call(rtc))));
        let Ok((value, exported)) = called else {
            warn!("a connection to the relay panicked and is closed");
            self.over = Some(PANICKED);
            return None;
        };
        if let Some(exported) = exported {
            match Sealer::new(&self.crypto, &exported) {
                Some(sealer) => self.sending.set_sealer(sealer),
                None => {
                    self.over
                        .get_or_insert("not protected in a way that is known");
                }
            }
        }
        Some(value)
    }
}

const PANICKED: &str = "panicked";

/// Where str0m believes the relay to be: the real address differs by participant and is of no
/// consequence, as an ICE-lite agent of one address a family only answers.
fn local_address(remote: SocketAddr) -> SocketAddr {
    match remote.is_ipv4() {
        true => (Ipv4Addr::new(192, 0, 2, 1), 9).into(),
        false => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into(),
    }
}
