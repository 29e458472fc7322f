//! One participant's connection: ICE, DTLS and SRTP by str0m, its streams in both directions, and
//! the places from which it comes.
//!
//! str0m promises no panic for what comes from the network, but not for every order of calls of the
//! kind that is used here (without session descriptions). A panic ends the one connection only.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_rate::{Bitrate, Class};
use nonstop_relay::Member;
use nonstop_wire::{ParticipantId, RelayOpen, RelayPayloadTypes};
use str0m::{
    Candidate, Event, IceCreds, Input, Output, Rtc, RtcConfig, RtcError,
    config::{CryptoProvider, DtlsCert, Fingerprint},
    crypto::Sha1HmacProvider,
    format::{Codec, FormatParams},
    media::{Frequency, KeyframeRequest, KeyframeRequestKind, MediaKind, Mid, Rid},
    net::{Protocol, Receive},
    rtp::{Extension, RawPacket, RtpWrite, Ssrc, rtcp::Rtcp},
};
use tracing::{debug, warn};

use super::{
    downlink::{Downlink, Held, Leaving},
    marking::{Marking, URI, marking},
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
/// How far str0m's clock may be ahead: it spaces packets that leave at once by a microsecond.
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
/// How long packets of pictures are kept to be sent again: longer than the longest round trip on
/// which a picture that was repaired is still worth showing.
const REPAIR_AGE: Duration = Duration::from_millis(600);
/// Most packets that are kept for that. They are what a connection's memory goes to: half a kilobyte
/// for each, beside the payload, which all receivers share.
const REPAIR_PACKETS: usize = 256;
/// What part of a stream may be sent again: more than the losses under which a call works.
const REPAIR_RATIO: f32 = 0.3;
/// How long sound pauses until its stream is forgotten: streams that say nothing cost time.
const SOUND_IDLE: Duration = Duration::from_secs(2);
/// The section of all sound, and that of all pictures; and what tells the stream that means nothing
/// from the others there. None is ever sent.
const SOUND: &str = "sound";
const PICTURES: &str = "pictures";
const PADDING: &str = "padding";

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

/// A packet that is passed on.
pub(super) struct Passing<'a> {
    pub(super) packet: &'a str0m::rtp::RtpPacket,
    pub(super) sequence: u64,
    pub(super) marker: bool,
    /// When its media was taken.
    pub(super) taken: Instant,
}

/// A stream to the participant.
#[derive(Debug)]
struct Stream {
    /// Whose media it is.
    of: Member,
    /// What tells it from other streams of its section.
    slot: usize,
    pictures: bool,
    used: Instant,
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
    /// Place for what leaves now.
    leaving: Vec<Leaving>,
    /// The number of the next packet that means nothing; none was sent before the first.
    padded: Option<u64>,
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
            leaving: Vec::new(),
            padded: None,
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

    /// Passes a packet of somebody's sound on to the participant.
    pub(super) fn pass_sound(&mut self, of: Member, ssrcs: &Ssrcs, passing: &Passing<'_>) {
        let payload_type = self.payload_types.sound;
        self.pass(of, (ssrcs.sound, None), payload_type, passing);
    }

    /// Passes a packet of somebody's pictures on to the participant.
    pub(super) fn pass_picture(&mut self, of: Member, ssrcs: &Ssrcs, passing: &Passing<'_>) {
        let payload_type = self.payload_types.pictures;
        let ssrcs = (ssrcs.pictures, Some(ssrcs.repair));
        self.pass(of, ssrcs, payload_type, passing);
    }

    fn pass(
        &mut self,
        of: Member,
        (ssrc, repair): (u32, Option<u32>),
        payload_type: u8,
        passing: &Passing<'_>,
    ) {
        if !self.connected {
            return;
        }
        let now = self.now;
        let (slot, fresh) = match self.streams.get_mut(&ssrc) {
            Some(stream) => {
                stream.used = now;
                (stream.slot, None)
            }
            None => {
                let slot = self.add_stream(of, ssrc, repair.is_some());
                (slot, Some(slot))
            }
        };
        let Passing {
            packet,
            sequence,
            marker,
            taken,
        } = *passing;
        let ext_vals = str0m::rtp::ExtensionValues {
            audio_level: packet.header.ext_vals.audio_level,
            voice_activity: packet.header.ext_vals.voice_activity,
            frame_mark: packet.header.ext_vals.frame_mark,
            ..Default::default()
        };
        let write = RtpWrite::new(
            payload_type.into(),
            sequence.into(),
            packet.header.timestamp,
            taken,
            Arc::clone(&packet.payload),
        );
        let write = write
            .marker(marker)
            .nackable(repair.is_some())
            .ext_vals(ext_vals);
        let ssrc = Ssrc::from(ssrc);
        if let Some(slot) = fresh {
            self.guard(|rtc| {
                let mid = Mid::from(if repair.is_some() { PICTURES } else { SOUND });
                let repair = repair.map(Ssrc::from);
                let mut direct = rtc.direct_api();
                let stream = direct.declare_stream_tx(ssrc, repair, mid, Some(rid(slot)));
                match repair {
                    Some(_) => stream.set_rtx_cache(REPAIR_PACKETS, REPAIR_AGE, Some(REPAIR_RATIO)),
                    None => stream.set_rtx_cache(0, Duration::ZERO, None),
                }
            });
        }
        let class = match repair {
            None => Class::Audio,
            Some(_) => {
                let marking = marking(&packet.header.ext_vals);
                Class::Video {
                    stream: slot as u16,
                    first: marking.is_some_and(|marking| marking.start),
                    keyframe: marking.is_some_and(|marking| marking.independent),
                }
            }
        };
        let held = Held { ssrc, write };
        (self.downlink).push(now, held, packet.payload.len(), class);
    }

    /// Gives str0m what may leave now.
    fn release(&mut self, now: Instant) {
        if !self.connected {
            return;
        }
        if self.watches() {
            self.downlink.probe(now);
        }
        let mut leaving = std::mem::take(&mut self.leaving);
        self.downlink.release(now, |it| leaving.push(it));
        for it in leaving.drain(..) {
            let Held { ssrc, write } = match it {
                Leaving::Held(held) => held,
                Leaving::Padding(bytes) => self.pad(bytes, now),
            };
            let written = self.guard(|rtc| {
                let mut direct = rtc.direct_api();
                let stream = direct.stream_tx(&ssrc);
                stream.map(|stream| stream.write_rtp(write)).is_some()
            });
            self.waiting += usize::from(written == Some(true));
        }
        self.leaving = leaving;
    }

    /// Tells whether pictures are passed on: the way is worth probing for nothing else.
    fn watches(&self) -> bool {
        self.streams.values().any(|stream| stream.pictures)
    }

    /// Makes a packet that means nothing.
    fn pad(&mut self, bytes: Arc<[u8]>, now: Instant) -> Held {
        let ssrc = Ssrc::from(self.ssrcs.padding);
        if self.padded.is_none() {
            self.guard(|rtc| {
                let mut direct = rtc.direct_api();
                direct.declare_stream_tx(ssrc, None, Mid::from(PICTURES), Some(Rid::from(PADDING)));
            });
        }
        let sequence = self.padded.map_or(1, |last| last + 1);
        self.padded = Some(sequence);
        let payload_type = self.payload_types.pictures.into();
        let write = RtpWrite::new(payload_type, sequence.into(), 0, now, bytes);
        Held {
            ssrc,
            write: write.nackable(false),
        }
    }

    /// Takes in feedback; of the packets that str0m shows nothing else is of interest.
    fn note(&mut self, packet: RawPacket) {
        let RawPacket::RtcpRx(Rtcp::Twcc(feedback)) = packet else {
            return;
        };
        let (now, downlink) = (self.now, &mut self.downlink);
        let noted = catch_unwind(AssertUnwindSafe(|| downlink.handle_feedback(now, feedback)));
        if noted.is_err() {
            warn!("feedback of a participant makes no sense, its connection is closed");
            self.over = Some(PANICKED);
        }
    }

    /// Returns what the way down carries, if that is news.
    pub(super) fn estimate(&mut self) -> Option<Bitrate> {
        self.downlink.estimate(self.now)
    }

    /// Returns whose pictures are broken off because they waited too long, as far as it is not known.
    pub(super) fn broken_off(&mut self) -> Vec<Member> {
        let dropped = self.downlink.dropped();
        if std::mem::replace(&mut self.dropped, dropped) == dropped {
            return Vec::new();
        }
        let pictures = self.streams.values().filter(|stream| stream.pictures);
        pictures
            .filter(|stream| self.downlink.needs_keyframe(stream.slot as u16))
            .map(|stream| stream.of)
            .collect()
    }

    /// Finds a place for a stream, and returns it.
    fn add_stream(&mut self, of: Member, ssrc: u32, pictures: bool) -> usize {
        let slot = self.slots.iter().position(Option::is_none);
        let slot = slot.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(of);
        let used = self.now;
        let stream = Stream {
            of,
            slot,
            pictures,
            used,
        };
        self.streams.insert(ssrc, stream);
        slot
    }

    /// Forgets the streams of somebody who is gone.
    pub(super) fn forget(&mut self, of: Member) {
        self.remove_streams(|_, stream| stream.of == of);
    }

    /// Forgets the sound of those who have said nothing for a while. A stream of pictures is kept:
    /// its repairs could not go on where they ended.
    pub(super) fn tidy(&mut self, sound: impl Fn(u32, Member) -> bool) {
        let now = self.now;
        self.remove_streams(|ssrc, stream| {
            now.saturating_duration_since(stream.used) >= SOUND_IDLE && sound(ssrc, stream.of)
        });
    }

    fn remove_streams(&mut self, over: impl Fn(u32, &Stream) -> bool) {
        let over: Vec<_> = self
            .streams
            .extract_if(|ssrc, stream| over(*ssrc, stream))
            .collect();
        if over.is_empty() {
            return;
        }
        // What waits of them is dropped. Of the others, it goes out as if it were str0m's own.
        self.waiting = 0;
        for (ssrc, stream) in over {
            self.slots[stream.slot] = None;
            self.guard(|rtc| rtc.direct_api().remove_stream_tx(ssrc.into()));
        }
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

    /// Begins with what arrives at the participant on other ways, in bits a second, a little above it;
    /// returns what the way is believed to carry.
    pub(super) fn begin_at(&mut self, arriving: u64) -> Bitrate {
        self.downlink.begin_at(arriving)
    }

    /// Has the way to the participant probed up to a rate.
    pub(super) fn probe(&mut self, desired: Bitrate) {
        self.downlink.set_wanted(desired);
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

fn rid(slot: usize) -> Rid {
    Rid::from(format!("{slot}").as_str())
}

fn config(ground: &Ground, open: &RelayOpen, credentials: IceCreds) -> RtcConfig {
    let extensions = open.extensions;
    let mut config = RtcConfig::new()
        .set_crypto_provider(Arc::clone(&ground.provider))
        .set_dtls_cert(ground.certificate.clone())
        .set_local_ice_credentials(credentials)
        .set_ice_lite(true)
        .set_rtp_mode(true)
        // For the feedback among them.
        .enable_raw_packets(true)
        .clear_codecs()
        .clear_extension_map()
        .set_extension(extensions.audio_level, Extension::AudioLevel)
        .set_extension(extensions.transport_cc, Extension::TransportSequenceNumber)
        .set_extension(
            extensions.frame_marking,
            Extension::with_serializer(URI, Marking),
        )
        // A stream of sound is told apart from pictures by having no repair stream, and pictures
        // that come in have none either.
        .set_rtcp_report_interval_audio(Duration::from_secs(1))
        .set_send_buffer_audio(1)
        .set_send_buffer_video(REPAIR_PACKETS);
    let types = open.payload_types;
    config.codec_config().add_config(
        types.sound.into(),
        None,
        Codec::Opus,
        Frequency::FORTY_EIGHT_KHZ,
        Some(2),
        FormatParams::default(),
    );
    config.codec_config().add_config(
        types.pictures.into(),
        Some(types.repair.into()),
        Codec::H264,
        Frequency::NINETY_KHZ,
        None,
        FormatParams::default(),
    );
    config
}

/// Sets up what a session description would say.
fn begin(rtc: &mut Rtc, open: &RelayOpen, fingerprint: Vec<u8>) -> Result<(), RtcError> {
    for family in [
        SocketAddr::from(([0; 4], 0)),
        SocketAddr::from(([0; 16], 0)),
    ] {
        if let Ok(candidate) = Candidate::host(local_address(family), "udp") {
            rtc.add_local_candidate(candidate);
        }
    }
    let mut direct = rtc.direct_api();
    direct.set_ice_controlling(false);
    direct.set_remote_ice_credentials(IceCreds {
        ufrag: open.ufrag.clone(),
        pass: open.password.clone(),
    });
    direct.set_remote_fingerprint(Fingerprint {
        hash_func: "sha-256".to_owned(),
        bytes: fingerprint,
    });
    direct.start_dtls(false)?;
    direct.enable_twcc_feedback();
    let (sound, pictures) = (Mid::from(SOUND), Mid::from(PICTURES));
    direct.declare_media(sound, MediaKind::Audio);
    direct.declare_media(pictures, MediaKind::Video);
    // Sound that comes late is of no use; it is repaired by what the next packet carries of it.
    let stream = direct.expect_stream_rx(open.sound.into(), None, sound, None);
    stream.suppress_nack(true);
    for (number, layer) in open.layers.iter().enumerate() {
        direct.expect_stream_rx((*layer).into(), None, pictures, Some(rid(number)));
    }
    Ok(())
}

/// Reads 32 pairs of hexadecimal digits.
fn fingerprint_bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.split(':').map(|pair| {
        let digits = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(pair, 16).ok().filter(|_| digits)
    });
    let bytes = pairs.collect::<Option<Vec<_>>>()?;
    (bytes.len() == 32).then_some(bytes)
}
