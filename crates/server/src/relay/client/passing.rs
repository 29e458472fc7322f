//! What is passed on to a participant: streams, when their packets leave, and what the way carries.

use std::{
    iter, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_rate::{Bitrate, Class, same_row};
use nonstop_relay::Member;
use str0m::rtp::{RawPacket, rtcp::Rtcp};
use tracing::warn;

use super::{
    super::{
        downlink::{Held, Leaving},
        hub::place,
        marking::marking,
        outlet::Outlet,
    },
    Client, PANICKED, Ssrcs,
};

/// The round trip that is assumed before one was measured.
const USUAL_ROUND_TRIP: Duration = Duration::from_millis(80);

/// A packet that is passed on.
pub(in crate::relay) struct Passing<'a> {
    pub(in crate::relay) packet: &'a str0m::rtp::RtpPacket,
    pub(in crate::relay) sequence: u64,
    pub(in crate::relay) marker: bool,
    /// When its media was taken.
    pub(in crate::relay) taken: Instant,
}

impl Client {
    /// Passes a packet of somebody's sound on to the participant.
    pub(in crate::relay) fn pass_sound(
        &mut self,
        of: Member,
        ssrcs: &Ssrcs,
        passing: &Passing<'_>,
    ) {
        self.pass(of, (ssrcs.sound, None), Class::Audio, passing);
    }

    /// Passes a packet of somebody's pictures on to the participant.
    pub(in crate::relay) fn pass_picture(
        &mut self,
        of: Member,
        ssrcs: &Ssrcs,
        passing: &Passing<'_>,
    ) {
        let marking = marking(&passing.packet.header.ext_vals);
        let class = Class::Video {
            stream: number(of),
            first: marking.is_some_and(|marking| marking.start),
            keyframe: marking.is_some_and(|marking| marking.independent),
        };
        self.pass(of, (ssrcs.pictures, Some(ssrcs.repair)), class, passing);
    }

    fn pass(
        &mut self,
        of: Member,
        (ssrc, repair): (u32, Option<u32>),
        class: Class,
        passing: &Passing<'_>,
    ) {
        if !self.connected {
            return;
        }
        let header = &passing.packet.header;
        let values = &header.ext_vals;
        let voice = u8::from(values.voice_activity.unwrap_or(false)) << 7;
        let level = values.audio_level.map(i8::unsigned_abs);
        let held = Held {
            ssrc,
            sequence: passing.sequence,
            timestamp: header.timestamp,
            marker: passing.marker,
            taken: passing.taken,
            level: level.map(|level| voice | level.min(127)),
            marking: values.frame_mark,
            payload: Arc::clone(&passing.packet.payload),
        };
        self.sending.use_stream(of, ssrc, repair, self.now);
        self.downlink.push(self.now, held, class);
    }

    /// Sends what may leave now.
    pub(super) fn release(&mut self, now: Instant, outlet: &mut Outlet) {
        let Some((to, exit)) = self.target.filter(|_| self.connected) else {
            return;
        };
        let Self {
            downlink,
            sending,
            uplink,
            ssrcs,
            ..
        } = self;
        downlink.probe(now);
        downlink.release(now, |leaving, number| {
            let datagram = match leaving {
                Leaving::Held(held) => sending.send(&held, number, now),
                Leaving::Padding { count, bytes } => {
                    sending.send_padding(ssrcs.padding, count, bytes, number)
                }
            }?;
            outlet.push(exit, to, datagram);
            Some(datagram.len())
        });
        for report in sending.report(now) {
            outlet.push(exit, to, &report);
        }
        let round_trip = downlink.round_trip().unwrap_or(USUAL_ROUND_TRIP);
        for (layer, missing) in uplink.ask(round_trip, now) {
            if let Some(request) = sending.request(ssrcs.padding, layer, &missing) {
                outlet.push(exit, to, &request);
            }
        }
    }

    /// Takes in what the participant reports; of the packets that str0m shows nothing else is of
    /// interest.
    pub(super) fn note(&mut self, packet: RawPacket, outlet: &mut Outlet) {
        let RawPacket::RtcpRx(report) = packet else {
            return;
        };
        match report {
            Rtcp::Twcc(feedback) => {
                let (now, downlink) = (self.now, &mut self.downlink);
                let noted =
                    catch_unwind(AssertUnwindSafe(|| downlink.handle_feedback(now, feedback)));
                if noted.is_err() {
                    warn!("feedback of a participant makes no sense, its connection is closed");
                    self.over = Some(PANICKED);
                }
            }
            Rtcp::Nack(nack) => {
                for entry in nack.reports.iter() {
                    let others = (0..16).filter(|bit| entry.blp >> bit & 1 == 1);
                    let others = others.map(|bit| entry.pid.wrapping_add(bit + 1));
                    for missing in iter::once(entry.pid).chain(others) {
                        self.repair(*nack.ssrc, missing, outlet);
                    }
                }
            }
            Rtcp::Pli(request) => self.want_keyframe(*request.ssrc),
            Rtcp::Fir(requests) => {
                for request in requests.reports.iter() {
                    self.want_keyframe(*request.ssrc);
                }
            }
            _ => {}
        }
    }

    fn repair(&mut self, ssrc: u32, missing: u16, outlet: &mut Outlet) {
        let Some((to, exit)) = self.target else {
            return;
        };
        let same_row = same_row(self.downlink.round_trip());
        if !(self.sending).is_repaired(ssrc, missing, same_row, self.now) {
            return;
        }
        for _ in 0..self.downlink.copies() {
            let number = self.downlink.next_number();
            let Some(datagram) = self.sending.send_again(ssrc, missing, number) else {
                return;
            };
            outlet.push(exit, to, datagram);
            self.downlink.handle_departure(self.now, datagram.len());
        }
    }

    fn want_keyframe(&mut self, ssrc: u32) {
        if let Some(of) = self.sending.whose(ssrc)
            && !self.wanted.contains(&of)
        {
            self.wanted.push(of);
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
        let pictures = self.sending.pictures();
        pictures
            .filter(|of| self.downlink.needs_keyframe(number(*of)))
            .collect()
    }

    /// Forgets the streams of somebody who is gone; what waits of them is dropped.
    pub(in crate::relay) fn forget(&mut self, of: Member) {
        self.sending.forget(of);
    }

    /// Forgets what is of no more use.
    pub(in crate::relay) fn tidy(&mut self, now: Instant) {
        self.sending.tidy(now);
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

/// Returns the number under which the pacer knows somebody's pictures.
fn number(of: Member) -> u16 {
    place(of) as u16
}
