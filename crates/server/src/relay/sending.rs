//! What is sent to one participant: streams of RTP, what of them is sent again, and what is reported of
//! them. str0m has all of this as well, but looks at every stream of a connection for each packet.

mod repair;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use nonstop_relay::Member;
use nonstop_wire::{RelayExtensions, RelayPayloadTypes};

use self::repair::Repair;
use super::{
    downlink::Held,
    marking,
    media::{PICTURE_RATE, SOUND_RATE},
    packet::{Header, SENDER_REPORT_BYTES, SenderReport, nack},
    sealing::Sealer,
};

/// How long after a stream begins it is reported: with others that begin with it.
const FIRST_REPORT: Duration = Duration::from_millis(20);
/// How long until it is reported again, then twice as long each time, at most.
const REPORTS: Duration = Duration::from_millis(250);
const SLOWEST_REPORTS: Duration = Duration::from_secs(2);
/// Most streams in one datagram.
const REPORTED_AT_ONCE: usize = 1_100 / SENDER_REPORT_BYTES;
/// How long sound pauses until its stream is forgotten. A stream of pictures is kept: its repairs could
/// not go on where they ended, and SRTP must never see a number twice.
const SOUND_IDLE: Duration = Duration::from_secs(2);

/// What is sent under one SSRC.
#[derive(Debug)]
struct Stream {
    /// Whose media it is.
    of: Member,
    used: Instant,
    /// Packets that were sent, and the bytes of their payload; they wrap.
    packets: u32,
    bytes: u32,
    /// The timestamp of the newest packet, and when its media was taken.
    newest: Option<(u32, Instant)>,
    /// Pictures are sent again, sound never is.
    repair: Option<Repair>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sending {
    payload_types: RelayPayloadTypes,
    extensions: RelayExtensions,
    /// There is one once the connection is.
    sealer: Option<Sealer>,
    /// By their SSRCs.
    streams: HashMap<u32, Stream>,
    /// The number of the last packet of pictures that left, by whose they are.
    newest_pictures: HashMap<Member, u16>,
    /// When streams are reported next, and how long after that again.
    report: Option<Instant>,
    reports: Duration,
    reported: Option<Instant>,
    /// An instant, and the wall clock then, from 1970 on.
    clock: (Instant, Duration),
    /// Where a payload and a datagram are put together.
    payload: Vec<u8>,
    datagram: Vec<u8>,
}

impl Sending {
    /// Sends nothing yet. `clock` is an instant, and the wall clock then, from 1970 on.
    pub(super) fn new(
        payload_types: RelayPayloadTypes,
        extensions: RelayExtensions,
        clock: (Instant, Duration),
    ) -> Self {
        Self {
            payload_types,
            extensions,
            sealer: None,
            streams: HashMap::new(),
            newest_pictures: HashMap::new(),
            report: None,
            reports: REPORTS,
            reported: None,
            clock,
            payload: Vec::new(),
            datagram: Vec::new(),
        }
    }

    /// Encrypts with `sealer` from now on.
    pub(super) fn set_sealer(&mut self, sealer: Sealer) {
        self.sealer = Some(sealer);
    }

    /// Has a stream, new if need be; one of pictures with the SSRC of its repairs.
    pub(super) fn use_stream(&mut self, of: Member, ssrc: u32, repair: Option<u32>, now: Instant) {
        let stream = self.streams.entry(ssrc).or_insert_with(|| {
            let first = now + FIRST_REPORT;
            self.report = Some(self.report.map_or(first, |report| report.min(first)));
            self.reports = REPORTS;
            Stream {
                of,
                used: now,
                packets: 0,
                bytes: 0,
                newest: None,
                repair: repair.map(Repair::new),
            }
        });
        stream.used = now;
    }

    /// Returns of whom a stream is.
    pub(super) fn whose(&self, ssrc: u32) -> Option<Member> {
        Some(self.streams.get(&ssrc)?.of)
    }

    /// Returns whose pictures are sent.
    pub(super) fn pictures(&self) -> impl Iterator<Item = Member> {
        let streams = self.streams.values();
        streams
            .filter(|stream| stream.repair.is_some())
            .map(|stream| stream.of)
    }

    /// Forgets the streams of somebody who is gone.
    pub(super) fn forget(&mut self, of: Member) {
        self.streams.retain(|_, stream| stream.of != of);
        self.newest_pictures.remove(&of);
    }

    /// Forgets the sound of those who have said nothing for a while, and what is too old to be sent
    /// again.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.streams.retain(|_, stream| match &mut stream.repair {
            Some(repair) => {
                repair.tidy(now);
                true
            }
            None => now.saturating_duration_since(stream.used) < SOUND_IDLE,
        });
    }

    /// Returns a packet as it leaves, with its transport-wide number; `None` if its stream was
    /// forgotten meanwhile.
    pub(super) fn send(&mut self, held: &Held, number: u16, now: Instant) -> Option<&[u8]> {
        let stream = self.streams.get_mut(&held.ssrc)?;
        stream.packets = stream.packets.wrapping_add(1);
        stream.bytes = stream.bytes.wrapping_add(held.payload.len() as u32);
        stream.newest = Some((held.timestamp, held.taken));
        self.report.get_or_insert(now + self.reports);
        let pictures = stream.repair.is_some();
        if let Some(repair) = &mut stream.repair {
            repair.keep(held, now);
        }
        let header = Header {
            payload_type: match pictures {
                true => self.payload_types.pictures,
                false => self.payload_types.sound,
            },
            marker: held.marker,
            number: held.sequence as u16,
            timestamp: held.timestamp,
            ssrc: held.ssrc,
        };
        let note = match pictures {
            true => {
                self.newest_pictures.insert(stream.of, header.number);
                Note::Pictures(held.marking)
            }
            false => Note::Sound {
                level: held.level,
                newest_picture: (self.extensions.newest_picture)
                    .and_then(|_| self.newest_pictures.get(&stream.of).copied()),
            },
        };
        self.seal(&header, note, number, held.sequence, &held.payload)
    }

    /// Tells whether a packet of pictures is to be sent again: it is kept, and was not within `same_row`.
    pub(super) fn is_repaired(
        &mut self,
        ssrc: u32,
        missing: u16,
        same_row: Duration,
        now: Instant,
    ) -> bool {
        let stream = self.streams.get_mut(&ssrc);
        let repair = stream.and_then(|stream| stream.repair.as_mut());
        repair.is_some_and(|repair| repair.is_due(missing, same_row, now))
    }

    /// Returns a packet of pictures again, in the stream of repairs; `None` if it is not kept, or too
    /// much was sent again.
    pub(super) fn send_again(&mut self, ssrc: u32, missing: u16, number: u16) -> Option<&[u8]> {
        let repair = self.streams.get_mut(&ssrc)?.repair.as_mut()?;
        let again = repair.again(missing, &mut self.payload)?;
        let header = Header {
            payload_type: self.payload_types.repair,
            marker: again.marker,
            number: again.index as u16,
            timestamp: again.timestamp,
            ssrc: again.ssrc,
        };
        let payload = std::mem::take(&mut self.payload);
        let note = Note::Pictures(again.marking);
        let sealed = self.seal(&header, note, number, again.index, &payload);
        let sealed = sealed.is_some();
        self.payload = payload;
        sealed.then_some(&self.datagram)
    }

    /// Returns a packet that means nothing, the `count`th under its SSRC.
    pub(super) fn send_padding(
        &mut self,
        ssrc: u32,
        count: u64,
        bytes: usize,
        number: u16,
    ) -> Option<&[u8]> {
        let header = Header {
            payload_type: self.payload_types.pictures,
            marker: false,
            number: count as u16,
            timestamp: 0,
            ssrc,
        };
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        payload.resize(bytes, 0);
        let sealed = self.seal(&header, Note::Pictures(None), number, count, &payload);
        let sealed = sealed.is_some();
        self.payload = payload;
        sealed.then_some(&self.datagram)
    }

    fn seal(
        &mut self,
        header: &Header,
        note: Note,
        number: u16,
        index: u64,
        payload: &[u8],
    ) -> Option<&[u8]> {
        let number = number.to_be_bytes();
        let transport = (self.extensions.transport_cc, &number[..]);
        self.datagram.clear();
        match note {
            Note::Pictures(marking) => {
                let (bytes, length) = marking.map(marking::value).unwrap_or_default();
                let marking = (self.extensions.frame_marking, &bytes[..length]);
                header.write(&mut self.datagram, &[marking, transport]);
            }
            Note::Sound {
                level,
                newest_picture,
            } => {
                let level = level.as_slice();
                let newest = newest_picture.map(u16::to_be_bytes);
                let newest = newest.as_ref().map_or(&[][..], |bytes| &bytes[..]);
                let level = (self.extensions.audio_level, level);
                let newest = (self.extensions.newest_picture.unwrap_or_default(), newest);
                header.write(&mut self.datagram, &[level, transport, newest]);
            }
        }
        let sealer = self.sealer.as_mut()?;
        let sealed = sealer.seal_rtp(&mut self.datagram, payload, header.ssrc, index);
        sealed.then_some(&self.datagram)
    }

    /// Returns a request to send packets of a stream again (RFC 4585 section 6.2.1), on behalf of the SSRC
    /// `from`.
    pub(super) fn request(&mut self, from: u32, ssrc: u32, missing: &[u64]) -> Option<Vec<u8>> {
        self.sealer.as_mut()?.seal_rtcp(&nack(from, ssrc, missing))
    }

    /// Returns when streams are to be reported.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.report
    }

    /// Returns reports of the streams that sent something since the last ones, if it is time.
    pub(super) fn report(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if self.report.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let (origin, wall) = self.clock;
        let time = wall + now.saturating_duration_since(origin);
        let since = self.reported.replace(now);
        let sent = self.streams.iter().filter_map(|(ssrc, stream)| {
            let (timestamp, taken) = stream.newest?;
            let rate = match stream.repair {
                Some(_) => PICTURE_RATE,
                None => SOUND_RATE,
            };
            let age = now.saturating_duration_since(taken);
            let ticks = age.as_secs_f64() * f64::from(rate);
            (since.is_none_or(|since| stream.used >= since)).then_some(SenderReport {
                ssrc: *ssrc,
                time,
                timestamp: timestamp.wrapping_add(ticks as u32),
                packets: stream.packets,
                bytes: stream.bytes,
            })
        });
        let sent: Vec<_> = sent.collect();
        self.report = (!sent.is_empty()).then_some(now + self.reports);
        self.reports = (2 * self.reports).min(SLOWEST_REPORTS);
        let Some(sealer) = &mut self.sealer else {
            return Vec::new();
        };
        let compounds = sent.chunks(REPORTED_AT_ONCE).map(|reports| {
            let mut compound = Vec::with_capacity(reports.len() * SENDER_REPORT_BYTES);
            for report in reports {
                report.write(&mut compound);
            }
            compound
        });
        compounds
            .filter_map(|compound| sealer.seal_rtcp(&compound))
            .collect()
    }
}

/// What a packet says of its media besides.
enum Note {
    /// The frame marking.
    Pictures(Option<u32>),
    /// The audio level (RFC 6464), and the number of the last packet that left of the same participant's
    /// pictures.
    Sound {
        level: Option<u8>,
        newest_picture: Option<u16>,
    },
}
