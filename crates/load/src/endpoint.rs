//! The media side of one participant: str0m, its socket, what it sends, and what it counts.
//!
//! ```text
//! socket ─▶ str0m ─▶ Reception of each stream ─▶ counts
//!            ▲ └─▶ requests for keyframes and repair ─▶ Player
//!            └──── packets that are due ◀────────────────┘
//! ```

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc,
    media::{KeyframeRequestKind, Mid, Pt},
    net::{Protocol, Receive},
    rtp::{ExtensionValues, RawPacket, RtpPacket, RtpWrite, SeqNo, Ssrc, rtcp::Rtcp},
};
use tokio::time::sleep_until;

use crate::{
    clock,
    histogram::Histogram,
    packets::{begins_keyframe, stamp},
    player::{Outgoing, Player},
    reception::{Counts, Packet, Reception},
    socket::Socket,
};

/// Longest wait for anything.
const IDLE: Duration = Duration::from_secs(1);
/// Packets taken from the socket in one turn, in batches.
const TURNS: usize = 4;
const RTP_HEADER: usize = 12;

/// Something that happened to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    /// It is up: media may flow.
    Connected,
    /// It is no more.
    Lost,
}

/// Where what is sent goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlet {
    pub(crate) mid: Mid,
    pub(crate) ssrc: Ssrc,
    pub(crate) payload_type: Pt,
}

/// What is expected under an SSRC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// The media section it belongs to.
    pub(crate) mid: Mid,
    /// The SSRC of its repair.
    pub(crate) repair: Option<u32>,
    /// Whether it is sound.
    pub(crate) sound: bool,
    /// Whether str0m has to be told of it yet.
    pub(crate) declare: bool,
}

/// What a participant counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) pictures: Counts,
    pub(crate) sound: Counts,
    /// From sending to the arrival at the receiver's socket.
    pub(crate) delay: Histogram,
    pub(crate) sent_packets: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) sent_again: u64,
    pub(crate) asked_for_keyframes: u64,
    pub(crate) refused: u64,
}

impl Tally {
    /// Adds what another participant counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.pictures.add(&other.pictures);
        self.sound.add(&other.sound);
        self.delay.add(&other.delay);
        self.sent_packets += other.sent_packets;
        self.sent_bytes += other.sent_bytes;
        self.sent_again += other.sent_again;
        self.asked_for_keyframes += other.asked_for_keyframes;
        self.refused += other.refused;
    }
}

/// A participant's connection.
pub(crate) struct Endpoint {
    pub(crate) rtc: Rtc,
    pub(crate) socket: Socket,
    /// What is sent, if anything.
    pub(crate) player: Option<Player>,
    /// Where sound goes.
    pub(crate) sound: Option<Outlet>,
    /// Where layers go.
    pub(crate) layers: Vec<Outlet>,
    /// Asks for keyframes a thousand times a second.
    pub(crate) nags: bool,
    /// The payload types of sound, where nothing else tells what a stream is.
    pub(crate) sound_types: Vec<u8>,
    /// What is expected, by SSRC, the repairs' included.
    expected: HashMap<u32, Expected>,
    /// The SSRC of what means nothing.
    padding: Option<u32>,
    streams: HashMap<u32, Reception>,
    tally: Tally,
    deadline: Instant,
    /// Time never goes back for str0m.
    latest: Instant,
    happenings: Vec<Happening>,
    outgoing: Vec<Outgoing>,
    arrived: Vec<(RtpPacket, bool)>,
    resend: Vec<(usize, u16)>,
    /// The last moment something arrived.
    pub(crate) heard: Option<Instant>,
}

impl Endpoint {
    /// Makes an endpoint that sends and receives at `address`.
    pub(crate) fn new(mut rtc: Rtc, address: IpAddr) -> anyhow::Result<Self> {
        let socket = Socket::bind(address)?;
        rtc.add_local_candidate(Candidate::host(socket.local(), Protocol::Udp)?);
        let now = clock::now();
        Ok(Self {
            rtc,
            socket,
            player: None,
            sound: None,
            layers: Vec::new(),
            nags: false,
            sound_types: Vec::new(),
            expected: HashMap::new(),
            padding: None,
            streams: HashMap::new(),
            tally: Tally::default(),
            deadline: now,
            latest: now,
            happenings: Vec::new(),
            outgoing: Vec::new(),
            arrived: Vec::new(),
            resend: Vec::new(),
            heard: None,
        })
    }

    /// Takes in what means nothing under an SSRC: it counts for feedback only.
    pub(crate) fn expect_padding(&mut self, ssrc: u32, mid: Mid) {
        let mut api = self.rtc.direct_api();
        api.expect_stream_rx(ssrc.into(), None, mid, None);
        self.padding = Some(ssrc);
    }

    /// Expects a stream under this SSRC; str0m is told when the first packet of it comes.
    pub(crate) fn expect(&mut self, ssrc: u32, expected: Expected) {
        self.expected.insert(ssrc, expected);
        if let Some(repair) = expected.repair {
            self.expected.insert(repair, expected);
        }
    }

    /// Returns what is counted of a stream of pictures.
    pub(crate) fn pictures(&mut self, ssrc: u32) -> &mut Reception {
        self.streams.entry(ssrc).or_default()
    }

    /// Begins to count anew; returns what was counted so far.
    pub(crate) fn begin_counting(&mut self, now: Instant) -> Tally {
        let before = self.tally(now);
        for stream in self.streams.values_mut() {
            stream.begin_counting();
        }
        self.socket.refused = 0;
        before
    }

    /// Ends the counting.
    pub(crate) fn tally(&mut self, now: Instant) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        for stream in self.streams.values_mut() {
            stream.finish(now);
            let counts = std::mem::take(&mut stream.counts);
            match stream.is_sound() {
                true => tally.sound.add(&counts),
                false => tally.pictures.add(&counts),
            }
        }
        tally.refused = self.socket.refused;
        tally
    }

    /// Waits for the next packet or moment, and does what is due; returns when something happened, or
    /// now and then. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn step(&mut self) -> anyhow::Result<Option<Happening>> {
        if let Some(happening) = self.happenings.pop() {
            return Ok(Some(happening));
        }
        let now = clock::now();
        let due = self.player.as_ref().and_then(Player::due);
        // A nag is a thousand times a second.
        let longest = if self.nags {
            Duration::from_millis(1)
        } else {
            IDLE
        };
        let due = due
            .unwrap_or(self.deadline)
            .min(self.deadline)
            .min(now + longest);
        tokio::select! {
            readable = self.socket.readable() => {
                readable?;
                self.receive()?;
            }
            () = sleep_until(due.into()), if due > now => {}
            () = std::future::ready(()), if due <= now => {
                // What has arrived must not wait for ever.
                self.receive()?;
            }
        }
        self.run()?;
        Ok(self.happenings.pop())
    }

    /// Does what is due without waiting.
    pub(crate) fn run(&mut self) -> anyhow::Result<()> {
        let now = self.later(clock::now());
        if self.nags {
            self.nag(now);
        }
        if let Some(player) = &mut self.player {
            player.poll(now, clock::unix_time(), &mut self.outgoing);
        }
        let resend = std::mem::take(&mut self.resend);
        let again = !resend.is_empty();
        for (layer, sequence) in resend {
            let kept = self
                .player
                .as_ref()
                .and_then(|player| player.kept(layer, sequence));
            if let Some(packet) = kept.cloned() {
                self.tally.sent_again += 1;
                self.write(&packet, now);
            }
        }
        let outgoing = std::mem::take(&mut self.outgoing);
        let some = again || !outgoing.is_empty();
        for packet in &outgoing {
            self.tally.sent_packets += 1;
            self.tally.sent_bytes += packet.payload.len() as u64;
            self.write(packet, now);
        }
        self.outgoing = outgoing;
        self.outgoing.clear();
        if some || now >= self.deadline {
            self.rtc.handle_input(Input::Timeout(now))?;
            self.drain()?;
        }
        Ok(())
    }

    /// Asks for a keyframe of everything that arrives.
    fn nag(&mut self, now: Instant) {
        let mut api = self.rtc.direct_api();
        for (ssrc, stream) in &self.streams {
            if !stream.is_sound()
                && let Some(stream) = api.stream_rx(&Ssrc::from(*ssrc))
            {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
        self.deadline = now;
    }

    fn write(&mut self, packet: &Outgoing, now: Instant) {
        let outlet = match packet.layer {
            Some(layer) => self.layers.get(layer),
            None => self.sound.as_ref(),
        };
        let Some(outlet) = outlet.copied() else {
            return;
        };
        let mut values = ExtensionValues::default();
        if let Some(marking) = packet.marking {
            values.user_values.set(marking);
        }
        if let Some((level, voice)) = packet.level {
            values.audio_level = Some(level);
            values.voice_activity = Some(voice);
        }
        let write = RtpWrite::new(
            outlet.payload_type,
            SeqNo::from(packet.sequence),
            packet.timestamp,
            now,
            packet.payload.clone(),
        );
        let write = write.marker(packet.marker).ext_vals(values);
        if let Some(stream) = self.rtc.direct_api().stream_tx(&outlet.ssrc) {
            stream.write_rtp(write);
        }
    }

    fn receive(&mut self) -> anyhow::Result<()> {
        for _ in 0..TURNS {
            let unix_now = clock::unix_time();
            let now = clock::now();
            let mut failed = None;
            // The closure borrows everything but the socket.
            let Self {
                rtc,
                socket,
                expected,
                latest,
                arrived,
                happenings,
                resend,
                layers,
                player,
                deadline,
                tally,
                ..
            } = self;
            let mut out: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
            let local = socket.local();
            let mut delays = Vec::new();
            let any = socket.receive(|from, at, packet| {
                let waited = at.map_or(Duration::ZERO, |at| unix_now.saturating_sub(at));
                let at_instant = now.checked_sub(waited).unwrap_or(now).max(*latest);
                *latest = at_instant;
                let ssrc = ssrc_of(packet);
                let known = ssrc.and_then(|ssrc| Some((ssrc, expected.get_mut(&ssrc)?)));
                let repair =
                    (known.as_ref()).is_some_and(|(ssrc, expected)| expected.repair == Some(*ssrc));
                if let Some((ssrc, expected)) = known
                    && expected.declare
                    && !repair
                {
                    expected.declare = false;
                    declare(rtc, ssrc, *expected);
                }
                let Ok(receive) = Receive::new(Protocol::Udp, from, local, packet) else {
                    return;
                };
                let mut sink = Sink {
                    arrived,
                    happenings,
                    resend,
                    layers,
                    player: player.as_mut(),
                    tally,
                    repair,
                };
                let handled = rtc
                    .handle_input(Input::Receive(at_instant, receive))
                    .and_then(|()| sink.take(rtc, &mut |to, data| out.push((to, data))));
                match handled {
                    Ok(Some(next)) => *deadline = next,
                    // The deadline is asked for when all is read.
                    Ok(None) => *deadline = now,
                    Err(error) => failed = Some(error),
                }
                delays.push((sink.arrived.len(), at.unwrap_or(unix_now), at_instant));
            })?;
            for (to, packet) in out {
                self.socket.send(to, &packet);
            }
            self.count(&delays);
            if let Some(error) = failed {
                return Err(error.into());
            }
            if !any {
                break;
            }
        }
        Ok(())
    }

    /// Counts what arrived: `until` tells up to which of them each datagram brought, and when.
    fn count(&mut self, until: &[(usize, Duration, Instant)]) {
        let mut arrived = std::mem::take(&mut self.arrived);
        let mut packets = arrived.drain(..).enumerate();
        for (end, at, instant) in until {
            while packets.len() > 0 {
                let Some((index, (packet, repair))) = packets.next() else {
                    break;
                };
                self.heard = Some(*instant);
                self.count_one(&packet, repair, *at, *instant);
                if index + 1 == *end {
                    break;
                }
            }
        }
        drop(packets);
        self.arrived = arrived;
    }

    fn count_one(&mut self, packet: &RtpPacket, repair: bool, at: Duration, instant: Instant) {
        let ssrc = *packet.header.ssrc;
        if self.padding == Some(ssrc) {
            return;
        }
        let sound = (self.expected.get(&ssrc)).map_or_else(
            || (self.sound_types).contains(&packet.header.payload_type),
            |expected| expected.sound,
        );
        if let Some(sent) = stamp(&packet.payload)
            && !repair
        {
            self.tally.delay.note(at.saturating_sub(sent));
        }
        let stream = self.streams.entry(ssrc).or_insert_with(|| match sound {
            true => Reception::of_sound(),
            false => Reception::default(),
        });
        let piece = Packet {
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            keyframe: !sound && begins_keyframe(&packet.payload),
        };
        if stream.handle_packet(piece, packet.payload.len(), repair, instant)
            && let Some(stream) = self.rtc.direct_api().stream_rx(&packet.header.ssrc)
        {
            stream.request_keyframe(KeyframeRequestKind::Pli);
            self.deadline = instant;
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        let Self {
            rtc,
            socket,
            arrived,
            happenings,
            resend,
            layers,
            player,
            tally,
            ..
        } = self;
        let mut sink = Sink {
            arrived,
            happenings,
            resend,
            layers,
            player: player.as_mut(),
            tally,
            repair: false,
        };
        let next = sink.drain(rtc, &mut |to, data| socket.send(to, &data));
        self.deadline = next.map_err(io::Error::other)?;
        Ok(())
    }

    fn later(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.latest
    }
}

/// Where what str0m gives goes.
struct Sink<'a> {
    arrived: &'a mut Vec<(RtpPacket, bool)>,
    happenings: &'a mut Vec<Happening>,
    resend: &'a mut Vec<(usize, u16)>,
    layers: &'a [Outlet],
    player: Option<&'a mut Player>,
    tally: &'a mut Tally,
    repair: bool,
}

impl Sink<'_> {
    /// Takes everything that is ready; returns when str0m wants to be asked again.
    fn drain(
        &mut self,
        rtc: &mut Rtc,
        send: &mut dyn FnMut(SocketAddr, Vec<u8>),
    ) -> Result<Instant, str0m::RtcError> {
        loop {
            match rtc.poll_output()? {
                Output::Timeout(next) => return Ok(next),
                Output::Transmit(transmit) => send(transmit.destination, transmit.contents.into()),
                Output::Event(event) => self.event(event),
            }
        }
    }

    /// Takes what one datagram brought, which is one packet of media at most, and leaves the rest: to
    /// be asked costs str0m a look at every stream. Returns when it wants to be asked again, if it said.
    fn take(
        &mut self,
        rtc: &mut Rtc,
        send: &mut dyn FnMut(SocketAddr, Vec<u8>),
    ) -> Result<Option<Instant>, str0m::RtcError> {
        loop {
            match rtc.poll_output()? {
                Output::Timeout(next) => return Ok(Some(next)),
                Output::Transmit(transmit) => send(transmit.destination, transmit.contents.into()),
                Output::Event(event) => {
                    let media = matches!(event, Event::RtpPacket(_));
                    self.event(event);
                    if media {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::RtpPacket(packet) => self.arrived.push((packet, self.repair)),
            Event::Connected => self.happenings.push(Happening::Connected),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) | Event::Closed => {
                self.happenings.push(Happening::Lost);
            }
            Event::KeyframeRequest(request) => {
                self.tally.asked_for_keyframes += 1;
                let layer = self
                    .layers
                    .iter()
                    .position(|outlet| outlet.mid == request.mid);
                if let (Some(player), Some(layer)) = (&mut self.player, layer) {
                    player.request_keyframe(layer);
                }
            }
            Event::RawPacket(raw) => {
                if let RawPacket::RtcpRx(Rtcp::Nack(nack)) = *raw {
                    let layer = self
                        .layers
                        .iter()
                        .position(|outlet| outlet.ssrc == nack.ssrc);
                    let missing = nack.reports.iter().flat_map(|entry| {
                        let later = (0..16).filter(move |bit| entry.blp >> bit & 1 == 1);
                        (later.map(move |bit| entry.pid.wrapping_add(bit + 1))).chain([entry.pid])
                    });
                    if let Some(layer) = layer {
                        self.resend
                            .extend(missing.map(|sequence| (layer, sequence)));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Tells str0m of a stream whose first packet is here.
fn declare(rtc: &mut Rtc, ssrc: u32, expected: Expected) {
    let mut api = rtc.direct_api();
    let ssrc = Ssrc::from(ssrc);
    if api.stream_rx(&ssrc).is_none() {
        api.expect_stream_rx(ssrc, expected.repair.map(Ssrc::from), expected.mid, None);
    }
}

/// The SSRC of an RTP packet, which SRTP leaves readable; none for anything else (RFC 7983).
fn ssrc_of(packet: &[u8]) -> Option<u32> {
    let rtp = packet.len() >= RTP_HEADER
        && (128..192).contains(&packet[0])
        && !(192..224).contains(&packet[1]);
    rtp.then(|| u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]))
}
