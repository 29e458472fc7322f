//! What is passed on to a participant: streams, when their packets leave, and what the way carries.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_rate::{Bitrate, Class};
use nonstop_relay::Member;
use str0m::{
    media::{Mid, Rid},
    rtp::{RawPacket, RtpWrite, Ssrc, rtcp::Rtcp},
};
use tracing::warn;

use super::{
    super::{
        downlink::{Held, Leaving},
        marking::marking,
    },
    Client, PANICKED, Ssrcs,
    setup::{PADDING, PICTURES, SOUND, rid},
};

/// How long packets of pictures are kept to be sent again: longer than the longest round trip on
/// which a picture that was repaired is still worth showing, and enough for four tries in 80 ms each.
const REPAIR_AGE: Duration = Duration::from_millis(400);
/// Most packets that are kept for that. They are what a connection's memory goes to: half a kilobyte
/// for each, beside the payload, which all receivers share.
pub(super) const REPAIR_PACKETS: usize = 256;
/// What part of a stream may be sent again: more than the losses under which a call works.
const REPAIR_RATIO: f32 = 0.3;
/// How long sound pauses until its stream is forgotten: streams that say nothing cost time.
const SOUND_IDLE: Duration = Duration::from_secs(2);

/// A packet that is passed on.
pub(in crate::relay) struct Passing<'a> {
    pub(in crate::relay) packet: &'a str0m::rtp::RtpPacket,
    pub(in crate::relay) sequence: u64,
    pub(in crate::relay) marker: bool,
    /// When its media was taken.
    pub(in crate::relay) taken: Instant,
}

/// A stream to the participant.
#[derive(Debug)]
pub(super) struct Stream {
    /// Whose media it is.
    pub(super) of: Member,
    /// What tells it from other streams of its section.
    pub(super) slot: usize,
    pub(super) pictures: bool,
    pub(super) used: Instant,
}

impl Client {
    /// Passes a packet of somebody's sound on to the participant.
    pub(in crate::relay) fn pass_sound(
        &mut self,
        of: Member,
        ssrcs: &Ssrcs,
        passing: &Passing<'_>,
    ) {
        let payload_type = self.payload_types.sound;
        self.pass(of, (ssrcs.sound, None), payload_type, passing);
    }

    /// Passes a packet of somebody's pictures on to the participant.
    pub(in crate::relay) fn pass_picture(
        &mut self,
        of: Member,
        ssrcs: &Ssrcs,
        passing: &Passing<'_>,
    ) {
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
        if let Some(slot) = fresh {
            self.guard(|rtc| {
                let mid = Mid::from(if repair.is_some() { PICTURES } else { SOUND });
                let (ssrc, repair) = (Ssrc::from(ssrc), repair.map(Ssrc::from));
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
        let values = &packet.header.ext_vals;
        let held = Held {
            ssrc,
            payload_type,
            sequence,
            timestamp: packet.header.timestamp,
            marker,
            taken,
            repaired: repair.is_some(),
            level: values.audio_level,
            voice: values.voice_activity,
            marking: values.frame_mark,
            payload: Arc::clone(&packet.payload),
        };
        self.downlink.push(now, held, class);
    }

    /// Gives str0m what may leave now.
    pub(super) fn release(&mut self, now: Instant) {
        if !self.connected || self.over == Some(PANICKED) {
            return;
        }
        let Self {
            downlink,
            rtc,
            waiting,
            ssrcs,
            payload_types,
            ..
        } = self;
        downlink.probe(now);
        let released = catch_unwind(AssertUnwindSafe(|| {
            downlink.release(now, |leaving| {
                let mut direct = rtc.direct_api();
                let (ssrc, write) = match leaving {
                    Leaving::Held(held) => (held.ssrc.into(), held.write()),
                    Leaving::Padding { number, bytes } => {
                        let ssrc = Ssrc::from(ssrcs.padding);
                        if number == 1 {
                            let (mid, rid) = (Mid::from(PICTURES), Rid::from(PADDING));
                            direct.declare_stream_tx(ssrc, None, mid, Some(rid));
                        }
                        let kind = payload_types.pictures.into();
                        let write = RtpWrite::new(kind, number.into(), 0, now, bytes);
                        (ssrc, write.nackable(false))
                    }
                };
                if let Some(stream) = direct.stream_tx(&ssrc) {
                    stream.write_rtp(write);
                    *waiting += 1;
                }
            });
        }));
        if released.is_err() {
            warn!("a connection to the relay panicked and is closed");
            self.over = Some(PANICKED);
        }
    }

    /// Takes in feedback; of the packets that str0m shows nothing else is of interest.
    pub(super) fn note(&mut self, packet: RawPacket) {
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
    pub(in crate::relay) fn estimate(&mut self) -> Option<Bitrate> {
        self.downlink.estimate(self.now)
    }

    /// Returns whose pictures are broken off because they waited too long, as far as it is not known.
    pub(in crate::relay) fn broken_off(&mut self) -> Vec<Member> {
        let dropped = self.downlink.dropped();
        if mem::replace(&mut self.dropped, dropped) == dropped {
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
    pub(in crate::relay) fn forget(&mut self, of: Member) {
        self.remove_streams(|_, stream| stream.of == of);
    }

    /// Forgets the sound of those who have said nothing for a while. A stream of pictures is kept:
    /// its repairs could not go on where they ended.
    pub(in crate::relay) fn tidy(&mut self, sound: impl Fn(u32, Member) -> bool) {
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

    /// Begins with what arrives at the participant on other ways, in bits a second, a little above it;
    /// returns what the way is believed to carry.
    pub(in crate::relay) fn begin_at(&mut self, arriving: u64) -> Bitrate {
        self.downlink.begin_at(arriving)
    }

    /// Has the way to the participant probed up to a rate.
    pub(in crate::relay) fn probe(&mut self, desired: Bitrate) {
        self.downlink.set_wanted(desired);
    }
}
