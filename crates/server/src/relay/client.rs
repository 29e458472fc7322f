//! One participant's connection: ICE, DTLS and SRTP by str0m, its streams in both directions, and
//! the places from which it comes.
//!
//! str0m promises no panic for what comes from the network, but not for every order of calls of the
//! kind that is used here (without session descriptions). A panic ends the one connection only.

mod passing;
mod setup;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_relay::Member;
use nonstop_wire::{ParticipantId, RelayOpen, RelayPayloadTypes};
use str0m::{
    Event, IceCreds, Input, Output, Rtc, RtcError,
    config::{CryptoProvider, DtlsCert},
    crypto::Sha1HmacProvider,
    media::{KeyframeRequest, KeyframeRequestKind},
    net::{Protocol, Receive},
};
use tracing::{debug, warn};

pub(super) use self::passing::Passing;
use self::{
    passing::Stream,
    setup::{begin, config, fingerprint_bytes},
};
use super::{
    downlink::Downlink,
    outlet::{Exit, Outlet},
    timeline::Timeline,
};
use crate::{bucket::Bucket, config::Rate, slab::Key};

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
/// How much later str0m may be asked after it has sent all that was let go: it wants to be asked again
/// at once after each packet, and has nothing more. Mostly the next packet comes first.
const RELAXED: Duration = Duration::from_millis(25);
/// How much later it may be asked what reports and feedback lead to: repairs and keyframes.
const SOON: Duration = Duration::from_millis(5);
/// How long it is asked whenever it wants after it has sent something again: more of it follows.
const INTENT: Duration = Duration::from_millis(100);
/// Most packets that leave at once; the rest is next in a millisecond.
const MOST_AT_ONCE: usize = 1024;

/// What all connections of a relay share.
pub(super) struct Ground {
    provider: Arc<CryptoProvider>,
    /// One certificate for all, so that a connection costs no new key.
    certificate: DtlsCert,
}

impl Ground {
    /// Makes a certificate; `None` if the system gives no random numbers.
    pub(super) fn new() -> Option<Self> {
        let provider = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = provider.dtls_provider.generate_certificate()?;
        Some(Self {
            provider,
            certificate,
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

/// A participant's connection.
pub(super) struct Client {
    pub(super) member: Member,
    pub(super) hall: Key,
    pub(super) participant: ParticipantId,
    pub(super) connection: u32,
    pub(super) ufrag: String,
    password: String,
    hmac: &'static dyn Sha1HmacProvider,
    /// The SSRC of the participant's sound, and those of the layers of its pictures.
    pub(super) sound: u32,
    pub(super) layers: Vec<u32>,
    /// Under which its media is passed on to others.
    pub(super) ssrcs: Ssrcs,
    payload_types: RelayPayloadTypes,
    rtc: Rtc,
    downlink: Downlink,
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
    pub(super) police: Bucket,
    pub(super) timeline: Timeline,
    streams: HashMap<u32, Stream>,
    /// Whose stream is which of a section's, pictures and sound together.
    slots: Vec<Option<Member>>,
    /// How many packets were let go and not sent yet.
    waiting: usize,
    /// Until when repairs are likely to follow each other.
    intent_until: Instant,
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
            hmac: ground.provider.sha1_hmac_provider,
            sound: open.sound,
            layers: open.layers.clone(),
            ssrcs,
            payload_types: open.payload_types,
            rtc,
            downlink: Downlink::new(now),
            dropped: 0,
            now,
            connected: false,
            opened: now,
            heard: now,
            over: None,
            places: Vec::new(),
            police: Bucket::new(police, now),
            timeline: Timeline::default(),
            streams: HashMap::new(),
            slots: Vec::new(),
            waiting: 0,
            intent_until: now,
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
        self.downlink.poll_timeout().map_or(due, |at| at.min(due))
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
        let (password, hmac) = (self.password.as_bytes(), self.hmac);
        let ours = str0m::ice::StunMessage::parse(datagram)
            .is_ok_and(|message| message.verify(password, |key, parts| hmac.sha1_hmac(key, parts)));
        if !ours {
            return false;
        }
        self.heard = now;
        match self.places.iter_mut().find(|(place, _)| *place == source) {
            Some(place) => place.1 = exit,
            None => self.places.insert(0, (source, exit)),
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
    }

    /// Returns a place that is one too many, no more to be taken for the participant's.
    pub(super) fn forget_place(&mut self) -> Option<SocketAddr> {
        if self.places.len() <= MOST_PLACES {
            return None;
        }
        self.places.pop().map(|(place, _)| place)
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let now = self.now;
        self.downlink.handle_timeout(now);
        self.release(now);
        self.guard(|rtc| rtc.handle_input(Input::Timeout(now)));
        if now >= self.deadline() {
            let silent = if self.connected {
                "silent"
            } else {
                "not connected in time"
            };
            self.over.get_or_insert(silent);
        }
    }

    /// Sends what is to be sent, and returns the next thing that happened.
    pub(super) fn poll(&mut self, now: Instant, outlet: &mut Outlet) -> Option<Event> {
        self.now = self.now.max(now);
        for _ in 0..MOST_AT_ONCE {
            if self.over.is_some() {
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
                    self.downlink.handle_drained();
                    if !self.rtc.is_alive() {
                        self.over.get_or_insert("closed");
                    }
                    return None;
                }
                Ok(Output::Transmit(transmit)) => {
                    let to = transmit.destination;
                    self.downlink.handle_departure(now, to, &transmit.contents);
                    if let Some((_, exit)) = self.places.iter().find(|(place, _)| *place == to) {
                        outlet.push(*exit, to, &transmit.contents);
                    }
                    if self.was_last(&transmit.contents) {
                        self.due = self.now + RELAXED;
                        self.downlink.handle_drained();
                        return None;
                    }
                }
                Ok(Output::Event(Event::Connected)) => self.connected = true,
                Ok(Output::Event(Event::RawPacket(packet))) => self.note(*packet),
                Ok(Output::Event(event)) => return Some(event),
                Err(cause) => {
                    debug!(%cause, "a connection to the relay failed");
                    self.over.get_or_insert("failed");
                }
            }
        }
        self.due = now + Duration::from_millis(1);
        None
    }

    /// Tells whether what was sent is the last of what was let go, and nothing else is on its way.
    fn was_last(&mut self, datagram: &[u8]) -> bool {
        let types = self.payload_types;
        let kind = datagram.get(1).map(|kind| kind & 0x7f);
        if kind == Some(types.repair) {
            self.intent_until = self.now + INTENT;
        }
        if self.waiting == 0 || (kind != Some(types.sound) && kind != Some(types.pictures)) {
            return false;
        }
        self.waiting -= 1;
        self.waiting == 0 && self.now >= self.intent_until
    }

    /// Returns of whom a keyframe is asked for.
    pub(super) fn whose(&self, request: &KeyframeRequest) -> Option<Member> {
        let slot: usize = request.rid?.parse().ok()?;
        *self.slots.get(slot)?
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
    }

    /// Says goodbye, so that the participant need not find out.
    pub(super) fn say_goodbye(&mut self, outlet: &mut Outlet) {
        if self.over.is_none() && self.connected {
            self.waiting = 0;
            self.guard(Rtc::close);
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
        match catch_unwind(AssertUnwindSafe(|| call(rtc))) {
            Ok(value) => Some(value),
            Err(_) => {
                warn!("a connection to the relay panicked and is closed");
                self.over = Some(PANICKED);
                None
            }
        }
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
