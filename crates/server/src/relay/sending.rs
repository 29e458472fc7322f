//! What is sent to one participant: streams of RTP, what of them is sent again, and what is reported of
//! them. str0m has all of this as well, but looks at every stream of a connection for each packet.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_relay::Member;
use nonstop_wire::{RelayExtensions, RelayPayloadTypes};

use super::{
    downlink::Held,
    marking,
    media::{PICTURE_RATE, SOUND_RATE},
    packet::{Header, SENDER_REPORT_BYTES, SenderReport},
    sealing::Sealer,
};

/// How long packets of pictures are kept to be sent again: longer than the longest round trip on
/// which a picture that was repaired is still worth showing, and enough for four tries in 80 ms each.
const REPAIR_AGE: Duration = Duration::from_millis(400);
/// Most packets of a stream that are kept for that: 0.4 s of 6 Mb/s.
const REPAIR_PACKETS: usize = 256;
/// How much of a stream may be sent again: three tenths, which is more than the losses under which a
/// call works. So many bytes are there at first, and at most.
const REPAIR_TENTHS: usize = 3;
const REPAIR_FIRST: usize = 10_000;
const REPAIR_MOST: usize = 60_000;
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

#[derive(Debug)]
struct Repair {
    ssrc: u32,
    /// The number of the next packet under that one.
    next: u64,
    kept: VecDeque<Kept>,
    /// How many bytes may be sent again.
    allowed: usize,
}

/// A packet that was sent.
#[derive(Debug)]
struct Kept {
    sent: Instant,
    sequence: u64,
    timestamp: u32,
    marker: bool,
    marking: Option<u32>,
    payload: Arc<[u8]>,
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
                repair: repair.map(|ssrc| Repair {
                    ssrc,
                    next: 1,
                    kept: VecDeque::new(),
                    allowed: REPAIR_FIRST,
                }),
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
    }

    /// Forgets the sound of those who have said nothing for a while, and what is too old to be sent
    /// again.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.streams.retain(|_, stream| match &mut stream.repair {
            Some(repair) => {
                repair.forget(now);
                if repair.kept.is_empty() {
                    repair.kept = VecDeque::new();
                }
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
            true => held.marking.map(Note::Marking),
            false => held.level.map(Note::Level),
        };
        self.seal(&header, note, number, held.sequence, &held.payload)
    }

    /// Returns a packet of pictures again, in the stream of repairs; `None` if it is not kept, or too
    /// much was sent again.
    pub(super) fn send_again(
        &mut self,
        ssrc: u32,
        missing: u16,
        number: u16,
        now: Instant,
    ) -> Option<&[u8]> {
        let repair = self.streams.get_mut(&ssrc)?.repair.as_mut()?;
        repair.forget(now);
        // Mostly it is one of the newest.
        let mut kept = repair.kept.iter().rev();
        let kept = kept.find(|kept| kept.sequence as u16 == missing)?;
        repair.allowed = repair.allowed.checked_sub(kept.payload.len())?;
        let index = repair.next;
        repair.next += 1;
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        // RFC 4588 section 4: the number that it had comes first.
        payload.extend(missing.to_be_bytes());
        payload.extend_from_slice(&kept.payload);
        let header = Header {
            payload_type: self.payload_types.repair,
            marker: kept.marker,
            number: index as u16,
            timestamp: kept.timestamp,
            ssrc: repair.ssrc,
        };
        let note = kept.marking.map(Note::Marking);
        let sealed = self.seal(&header, note, number, index, &payload).is_some();
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
        let sealed = self.seal(&header, None, number, count, &payload).is_some();
        self.payload = payload;
        sealed.then_some(&self.datagram)
    }

    fn seal(
        &mut self,
        header: &Header,
        note: Option<Note>,
        number: u16,
        index: u64,
        payload: &[u8],
    ) -> Option<&[u8]> {
        let number = number.to_be_bytes();
        let transport = (self.extensions.transport_cc, &number[..]);
        self.datagram.clear();
        match note {
            None => header.write(&mut self.datagram, &[transport]),
            Some(Note::Level(level)) => {
                let level = (self.extensions.audio_level, &[level][..]);
                header.write(&mut self.datagram, &[level, transport]);
            }
            Some(Note::Marking(marking)) => {
                let (bytes, length) = marking::value(marking);
                let marking = (self.extensions.frame_marking, &bytes[..length]);
                header.write(&mut self.datagram, &[marking, transport]);
            }
        }
        let sealer = self.sealer.as_mut()?;
        let sealed = sealer.seal_rtp(&mut self.datagram, payload, header.ssrc, index);
        sealed.then_some(&self.datagram)
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
    /// RFC 6464.
    Level(u8),
    Marking(u32),
}

impl Repair {
    /// Keeps a packet that is sent.
    fn keep(&mut self, held: &Held, now: Instant) {
        self.forget(now);
        if self.kept.len() >= REPAIR_PACKETS {
            self.kept.pop_front();
        }
        let more = held.payload.len() * REPAIR_TENTHS / 10;
        self.allowed = (self.allowed + more).min(REPAIR_MOST);
        self.kept.push_back(Kept {
            sent: now,
            sequence: held.sequence,
            timestamp: held.timestamp,
            marker: held.marker,
            marking: held.marking,
            payload: Arc::clone(&held.payload),
        });
    }

    /// Forgets what is too old to be of use.
    fn forget(&mut self, now: Instant) {
        let old = |kept: &Kept| now.saturating_duration_since(kept.sent) > REPAIR_AGE;
        while self.kept.front().is_some_and(old) {
            self.kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use rtc::srtp::context::Context;

    use super::*;
    use crate::{clock, relay::sealing::tests::pair};

    const ANN: Member = Member(1);
    const BOB: Member = Member(2);
    const SOUND: u32 = 11;
    const PICTURES: u32 = 12;
    const REPAIR: u32 = 13;
    const AGE: Duration = Duration::from_millis(300);

    fn sending(now: Instant) -> (Sending, Context) {
        let types = RelayPayloadTypes {
            sound: 111,
            pictures: 96,
            repair: 97,
        };
        let extensions = RelayExtensions {
            audio_level: 5,
            transport_cc: 6,
            frame_marking: 7,
        };
        let (sealer, opener) = pair();
        // 1.5 s after 1970.
        let mut sending = Sending::new(types, extensions, (now, Duration::from_millis(1_500)));
        sending.set_sealer(sealer);
        sending.use_stream(ANN, SOUND, None, now);
        sending.use_stream(BOB, PICTURES, Some(REPAIR), now);
        (sending, opener)
    }

    fn held(ssrc: u32, sequence: u64, taken: Instant) -> Held {
        Held {
            ssrc,
            sequence,
            timestamp: 1_000,
            marker: true,
            taken,
            level: Some(0x80 | 30),
            marking: Some(u32::from_be_bytes([3, 0xd9, 0, 7])),
            payload: vec![sequence as u8; 500].into(),
        }
    }

    #[test]
    fn packets_say_what_those_that_came_said() {
        let now = clock::now();
        let (mut sending, mut opener) = sending(now);
        let sound = sending
            .send(&held(SOUND, 3, now), 0x0102, now)
            .expect("sound");
        let opened = opener.decrypt_rtp(sound).expect("authentic");
        assert_eq!(opened[..4], [0x90, 0x80 | 111, 0, 3]);
        assert_eq!(
            opened[12..24],
            [0xbe, 0xde, 0, 2, 0x50, 0x80 | 30, 0x61, 1, 2, 0, 0, 0]
        );
        assert_eq!(opened[24..], [3; 500]);
        let picture = sending.send(&held(PICTURES, 4, now), 0x0103, now);
        let opened = opener
            .decrypt_rtp(picture.expect("a picture"))
            .expect("authentic");
        assert_eq!(opened[..4], [0x90, 0x80 | 96, 0, 4]);
        assert_eq!(
            opened[12..24],
            [0xbe, 0xde, 0, 2, 0x72, 0xd9, 0, 7, 0x61, 1, 3, 0]
        );
        // Nobody's.
        assert!(sending.send(&held(99, 4, now), 0, now).is_none());
        assert_eq!((sending.whose(SOUND), sending.whose(99)), (Some(ANN), None));
        assert_eq!(sending.pictures().collect::<Vec<_>>(), [BOB]);
        sending.forget(BOB);
        assert!(sending.send(&held(PICTURES, 5, now), 0, now).is_none());
    }

    #[test]
    fn pictures_are_sent_again_while_that_is_of_use() {
        let now = clock::now();
        let (mut sending, mut opener) = sending(now);
        for sequence in 1..=20 {
            sending
                .send(&held(PICTURES, sequence, now), 0, now)
                .expect("sent");
        }
        sending.send(&held(SOUND, 1, now), 0, now).expect("sent");
        let again = sending.send_again(PICTURES, 5, 0x0104, now).expect("kept");
        let opened = opener.decrypt_rtp(again).expect("authentic");
        // RFC 4588: the first of its own stream, and the number that it had.
        assert_eq!(opened[..4], [0x90, 0x80 | 97, 0, 1]);
        assert_eq!(opened[8..12], REPAIR.to_be_bytes());
        assert_eq!(opened[24..28], [0, 5, 5, 5]);
        assert!(
            sending.send_again(PICTURES, 77, 0, now).is_none(),
            "never sent"
        );
        assert!(sending.send_again(SOUND, 1, 0, now).is_none(), "of no use");
        // 10,000 bytes, and three tenths of what was sent.
        let more = (0..100).filter(|_| sending.send_again(PICTURES, 5, 0, now).is_some());
        assert_eq!(more.count(), 25);
        let late = now + REPAIR_AGE + Duration::from_millis(1);
        sending
            .send(&held(PICTURES, 21, now), 0, late)
            .expect("sent");
        assert!(
            sending.send_again(PICTURES, 20, 0, late).is_none(),
            "too late"
        );
        let after = late + REPAIR_AGE + Duration::from_millis(1);
        sending.tidy(after);
        assert!(
            sending.send(&held(PICTURES, 22, now), 0, after).is_some(),
            "goes on"
        );
        assert!(sending.send(&held(SOUND, 2, now), 0, after).is_some());
        sending.tidy(after + SOUND_IDLE);
        assert!(
            sending.send(&held(SOUND, 3, now), 0, after).is_none(),
            "forgotten"
        );
    }

    #[test]
    fn reports_say_when_media_was_taken_and_end_with_it() {
        let now = clock::now();
        let (mut sending, mut opener) = sending(now);
        let taken = now + Duration::from_millis(700);
        assert!(sending.report(now + FIRST_REPORT / 2).is_empty());
        let mut at = taken + AGE;
        for sequence in 1..=2 {
            sending
                .send(&held(PICTURES, sequence, taken), 0, at)
                .expect("sent");
        }
        let reports = sending.report(at);
        assert_eq!(reports.len(), 1);
        let report = opener.decrypt_rtcp(&reports[0]).expect("authentic");
        let words = report
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().expect("4")));
        let words: Vec<_> = words.collect();
        // One second later than the clock said, and 0.3 s at 90 kHz after the picture; of the sound
        // nothing was sent.
        assert_eq!(
            words,
            [
                0x80c8_0006,
                PICTURES,
                2_208_988_802,
                1 << 31,
                1_000 + 27_000,
                2,
                1_000
            ]
        );
        // Less and less often, and not while nothing is sent.
        for wait in [250, 500, 1_000, 2_000, 2_000].map(Duration::from_millis) {
            sending.use_stream(BOB, PICTURES, Some(REPAIR), at);
            assert!(
                sending
                    .report(at + wait - Duration::from_millis(1))
                    .is_empty()
            );
            at += wait;
            assert_eq!(sending.report(at).len(), 1, "{wait:?}");
        }
        at += SLOWEST_REPORTS;
        assert!(sending.report(at).is_empty());
        assert_eq!(sending.poll_timeout(), None);
        sending
            .send(&held(PICTURES, 3, taken), 0, at)
            .expect("sent");
        assert_eq!(sending.poll_timeout(), Some(at + SLOWEST_REPORTS));
    }

    #[test]
    fn nothing_is_sent_before_there_are_keys() {
        let now = clock::now();
        let (sending, _) = sending(now);
        let mut sending = Sending {
            sealer: None,
            ..sending
        };
        assert!(sending.send(&held(SOUND, 1, now), 0, now).is_none());
        assert!(sending.send_padding(9, 1, 100, 0).is_none());
        assert!(sending.report(now + FIRST_REPORT).is_empty());
    }
}
