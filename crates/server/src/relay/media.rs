//! The way of a packet from one participant to the others.

use std::time::Instant;

use nonstop_relay::{PicturePacket, SoundPacket};
use str0m::rtp::RtpPacket;

use super::{client::Passing, hub::Hub, marking::marking};

/// The RTP clock of sound (RFC 7587 section 4.1), and of pictures (RFC 6184 section 8.1).
pub(super) const SOUND_RATE: u32 = 48_000;
pub(super) const PICTURE_RATE: u32 = 90_000;

impl Hub {
    /// Passes a participant's packet on to those who are to have it.
    pub(super) fn pass_on(&mut self, number: u32, packet: &RtpPacket, now: Instant) {
        let Some(client) = self.clients.at(number) else {
            return;
        };
        let (from, key, ssrcs) = (client.member, client.hall, client.ssrcs);
        let ssrc = *packet.header.ssrc;
        let layer = client.layers.iter().position(|layer| *layer == ssrc);
        let sound = ssrc == client.sound;
        let rate = if sound { SOUND_RATE } else { PICTURE_RATE };
        let report = packet.last_sender_info.as_ref();
        let timestamp = packet.header.timestamp;
        let taken = client.timeline.taken(report, timestamp, rate, now);
        let Some(hall) = self.halls.get_mut(key) else {
            return;
        };

        let size = packet.header.header_len + packet.payload.len();
        let values = &packet.header.ext_vals;
        let mut forwards = std::mem::take(&mut self.forwards);
        match (sound, layer) {
            (true, _) => {
                let level = values.audio_level.map(i8::unsigned_abs);
                let sound = SoundPacket {
                    sequence: *packet.seq_no,
                    timestamp,
                    marker: packet.header.marker,
                    size,
                    level: level.map(|level| level.min(127)),
                    voice: values.voice_activity.unwrap_or(false),
                };
                hall.room.handle_sound(from, &sound, now, &mut forwards);
            }
            (false, Some(layer)) => {
                let picture = PicturePacket {
                    sequence: *packet.seq_no,
                    timestamp,
                    marker: packet.header.marker,
                    size,
                    marking: marking(values),
                };
                let layer = layer as u8;
                hall.room
                    .handle_picture(from, layer, &picture, now, &mut forwards);
            }
            // What was not opened is not passed on.
            (false, None) => {}
        }
        self.touch_hall(key);
        for forward in forwards.drain(..) {
            let passing = Passing {
                packet,
                sequence: forward.sequence,
                marker: forward.marker,
                taken,
            };
            let Some(client) = self.client(forward.to) else {
                continue;
            };
            match sound {
                true => client.pass_sound(from, &ssrcs, &passing),
                false => client.pass_picture(from, &ssrcs, &passing),
            }
            self.touch(forward.to);
        }
        self.forwards = forwards;
    }
}
