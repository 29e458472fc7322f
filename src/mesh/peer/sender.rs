//! Everything that leaves goes through here: our rate control behind webrtc-rs's slot for a pacer.
//!
//! ```text
//! link ─▶ Pacer ─ departs ─▶ numbered ─▶ Controller, History, Resend ─▶ SRTP ─▶ network
//!           ▲ probes, window        ▲ fates         ▲ asked for again
//! network ──┴──────── feedback ─────┴─────────── NACK
//! ```
//! A packet gets its transport-wide number when it leaves, and a packet of pictures its place in the
//! stream too, so that neither padding nor a dropped picture leaves a hole that the receiver would
//! wait for. All of it runs on the connection's own task: nothing is locked.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use nonstop_rate::{
    Bitrate, Class, Controller, DataSize, Departure, History, Limits, Pacer, ProbeId, copies,
    same_row,
};
use rtc::{
    interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket},
    rtcp::{
        self,
        transport_feedbacks::{
            transport_layer_cc::TransportLayerCc, transport_layer_nack::TransportLayerNack,
        },
    },
    rtp::{self, header::Header},
    sansio::Protocol,
    shared::{TransportContext, error::Error, marshal::MarshalSize},
};

use super::{
    OVERHEAD, codecs,
    feedback::Reader,
    flow::{Flow, MOST_STREAMS},
    padding::padding,
    resend::Resend,
};
use crate::mesh::link::depacketise::begins_keyframe;

/// What is known of a stream that we send.
#[derive(Debug, Clone, Copy)]
struct Stream {
    sound: bool,
    /// The number of the extension that carries transport-wide numbers.
    extension: Option<u8>,
    /// An extension's number that was not negotiated.
    free: Option<u8>,
    /// The number of the extension that marks frames: padding is part of none.
    marking: Option<u8>,
    /// The number of the extension by which sound tells the newest picture.
    newest_picture: Option<u8>,
}

/// A stream of pictures that has begun.
#[derive(Debug)]
struct Video {
    /// The time stamp of the newest picture that came from the link, and whether it needs no other.
    picture: Option<(u32, bool)>,
    /// The number of the next packet to leave.
    next: u16,
    /// The header of the last packet that left.
    last: Option<(Header, TransportContext)>,
    sent: Resend<rtp::Packet>,
}

/// A packet that waits to leave.
struct Waiting {
    packet: TaggedPacket,
    /// How often it leaves, one right after the other. All bear the same numbers: the receiver's replay
    /// protection takes out all but the first that comes (RFC 3711 section 3.3.2), and what it does not
    /// see it would report as lost.
    copies: usize,
}

/// The interceptor.
pub(super) struct Sender {
    controller: Controller,
    pacer: Pacer<Waiting>,
    history: History,
    reader: Reader,
    flow: Arc<Flow>,
    streams: HashMap<u32, Stream>,
    /// The SSRCs of the streams of pictures; their places are their numbers in the pacer.
    layers: Vec<u32>,
    videos: HashMap<u32, Video>,
    /// The stream of pictures of which something left last: padding is part of it.
    newest: Option<u32>,
    path_changes: u64,
    wanted: Option<Bitrate>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Sender {
    /// Makes a sender for streams of pictures with these SSRCs, and any others.
    pub(super) fn new(limits: Limits, flow: Arc<Flow>, layers: Vec<u32>) -> Self {
        let sender = Self {
            controller: Controller::new(limits),
            pacer: Pacer::new(),
            history: History::new(),
            reader: Reader::default(),
            streams: HashMap::new(),
            layers,
            videos: HashMap::new(),
            newest: None,
            path_changes: flow.path_changes(),
            wanted: None,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
            flow,
        };
        sender.publish();
        sender
    }

    /// Takes in what the link has said since the last time.
    fn listen(&mut self) {
        let path_changes = self.flow.path_changes();
        if std::mem::replace(&mut self.path_changes, path_changes) != path_changes {
            self.controller.path_changed();
            self.history.forget();
        }
        let wanted = self.flow.wanted();
        if let Some(rate) = wanted.filter(|_| self.wanted != wanted) {
            self.controller.set_wanted(rate);
        }
        self.wanted = wanted;
    }

    fn publish(&self) {
        let plan = self.controller.plan();
        self.flow.set_estimate(plan.estimate);
        self.flow.set_lasting(self.controller.sustained());
        self.flow.set_pace(plan.pace);
        self.flow.set_congested(plan.congested);
        self.flow.set_acknowledged(self.controller.acknowledged());
        self.flow.set_queue_delay(self.controller.queue_delay());
        self.flow.set_loss(self.controller.loss());
        self.flow.set_round_trip(self.controller.round_trip());
        self.flow.set_waiting(self.pacer.waiting());
        self.flow.set_has_room(self.pacer.has_room(&plan));
        self.flow.set_dropped(self.pacer.dropped());
        let broken = |stream| self.pacer.needs_keyframe(stream as u16);
        let broken: [bool; MOST_STREAMS] = std::array::from_fn(broken);
        self.flow.set_needs_keyframe(broken);
    }

    /// Lets go what may leave now.
    fn release(&mut self, now: Instant) {
        // Without a picture there is no stream that padding could belong to; probes wait.
        if self.newest.is_some()
            && let Some(probe) = self.controller.poll_probe(now)
        {
            tracing::debug!(id = probe.id.0, rate = %probe.rate, size = %probe.size, "probe");
            self.pacer.start_probe(probe);
            self.flow.add_probe();
        }
        while let Some(departure) = self.pacer.poll(now, &self.controller.plan()) {
            match departure {
                Departure::Packet {
                    packet,
                    size,
                    class,
                    probe,
                } => self.depart(now, packet, size, class, probe),
                Departure::Padding { size, probe } => self.pad(now, size, probe),
            }
        }
        self.publish();
    }

    fn depart(
        &mut self,
        now: Instant,
        waiting: Waiting,
        size: DataSize,
        class: Class,
        probe: Option<ProbeId>,
    ) {
        let Waiting { mut packet, copies } = waiting;
        packet.now = now;
        if let Packet::Rtp(rtp) = &mut packet.message.packet {
            self.number(now, rtp, size, probe);
            match (class, self.videos.get_mut(&rtp.header.ssrc)) {
                (Class::Video { .. }, Some(video)) => {
                    self.newest = Some(rtp.header.ssrc);
                    rtp.header.sequence_number = video.next;
                    video.next = video.next.wrapping_add(1);
                    video.last = Some((rtp.header.clone(), packet.transport));
                    (video.sent).push(now, rtp.header.sequence_number, rtp.clone(), size);
                }
                (Class::Retransmission, _) => {
                    self.flow.add_retransmitted(size.bytes());
                    for _ in 1..copies {
                        let message = AttributedPacket::new(Packet::Rtp(rtp.clone()));
                        self.writes.push_back(TaggedPacket {
                            now,
                            transport: packet.transport,
                            message,
                        });
                    }
                }
                _ => {}
            }
        }
        self.writes.push_back(packet);
    }

    fn pad(&mut self, now: Instant, size: DataSize, probe: ProbeId) {
        let Some(ssrc) = self.newest else { return };
        let Some(video) = self.videos.get_mut(&ssrc) else {
            return;
        };
        let Some((last, transport)) = &video.last else {
            return;
        };
        let transport = *transport;
        let stream = self.streams.get(&ssrc);
        let free = stream.and_then(|stream| stream.free);
        let marking = stream.and_then(|stream| stream.marking);
        let mut last = last.clone();
        last.extensions.retain(|it| Some(it.id) != marking);
        let mut packet = padding(&last, video.next, free, size);
        // Asked for again, it fills its place, and need not be large.
        let again = padding(&last, video.next, free, DataSize::ZERO);
        video.sent.push(now, video.next, again, size);
        video.next = video.next.wrapping_add(1);
        let size = size_of(&packet);
        self.number(now, &mut packet, size, Some(probe));
        self.writes.push_back(TaggedPacket {
            now,
            transport,
            message: AttributedPacket::new(Packet::Rtp(packet)),
        });
    }

    /// Gives a packet that leaves its transport-wide number, and counts it.
    fn number(
        &mut self,
        now: Instant,
        rtp: &mut rtp::Packet,
        size: DataSize,
        probe: Option<ProbeId>,
    ) {
        let stream = self.streams.get(&rtp.header.ssrc);
        // What carries no number is not reported on, and looks like nothing at all.
        let Some(extension) = stream.and_then(|stream| stream.extension) else {
            return;
        };
        let number = self.history.handle_sent(now, size, probe);
        set_number(&mut rtp.header, extension, number);
        self.controller.handle_sent(now, size);
    }

    /// Queues a packet of the link.
    fn queue(&mut self, mut packet: TaggedPacket) {
        let now = packet.now;
        let Packet::Rtp(rtp) = &mut packet.message.packet else {
            self.writes.push_back(packet);
            return;
        };
        let Some(stream) = self.streams.get(&rtp.header.ssrc).copied() else {
            self.writes.push_back(packet);
            return;
        };
        if let Some(extension) = stream.extension {
            // Only a place for the number, so that the size is known.
            set_number(&mut rtp.header, extension, 0);
        }
        // Sound leaves at once, before what waits.
        if let Some(extension) = stream.newest_picture.filter(|_| self.newest.is_some()) {
            set_numbers(&mut rtp.header, extension, &self.newest_pictures());
        }
        let size = size_of(rtp);
        let class = match stream.sound {
            true => Class::Audio,
            false => self.class(&packet),
        };
        self.listen();
        let plan = self.controller.plan();
        let waiting = Waiting { packet, copies: 1 };
        if !self.pacer.push(now, waiting, size, class, &plan) {
            tracing::trace!("a packet belongs to a picture that cannot be shown");
        }
        self.release(now);
    }

    /// Returns the number of the last packet that left of each layer, up to the last of which one did.
    /// Where none did, whatever stands there says nothing.
    fn newest_pictures(&self) -> Vec<u16> {
        let newest = self.layers.iter().map(|layer| {
            let video = self.videos.get(layer).filter(|it| it.last.is_some());
            video.map(|video| video.next.wrapping_sub(1))
        });
        let newest: Vec<_> = newest.collect();
        let end = newest
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |at| at + 1);
        (newest[..end].iter())
            .map(|number| number.unwrap_or_default())
            .collect()
    }

    fn class(&mut self, packet: &TaggedPacket) -> Class {
        let Packet::Rtp(rtp) = &packet.message.packet else {
            return Class::Audio;
        };
        let ssrc = rtp.header.ssrc;
        let video = self.videos.entry(ssrc).or_insert_with(|| Video {
            picture: None,
            next: rtp.header.sequence_number,
            last: None,
            sent: Resend::new(),
        });
        let stream = self.layers.iter().position(|layer| *layer == ssrc);
        let stream = stream.unwrap_or(0) as u16;
        let timestamp = rtp.header.timestamp;
        if let Some((_, keyframe)) = video.picture.filter(|(it, _)| *it == timestamp) {
            return Class::Video {
                stream,
                first: false,
                keyframe,
            };
        }
        let keyframe = begins_keyframe(&rtp.payload);
        video.picture = Some((timestamp, keyframe));
        Class::Video {
            stream,
            first: true,
            keyframe,
        }
    }

    fn handle_rtcp(&mut self, now: Instant, packets: &[Box<dyn rtcp::Packet>]) {
        let mut statuses = Vec::new();
        for packet in packets {
            let packet = packet.as_any();
            if let Some(feedback) = packet.downcast_ref::<TransportLayerCc>() {
                statuses.extend(self.reader.read(feedback));
                self.flow.add_feedback();
            } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                self.send_again(now, nack);
            }
        }
        if !statuses.is_empty() {
            self.listen();
            let results = self.history.handle_feedback(now, statuses);
            self.controller.handle_feedback(now, &results);
        }
        // The window may have opened, or something is to be sent again.
        self.release(now);
    }

    fn send_again(&mut self, now: Instant, nack: &TransportLayerNack) {
        let plan = self.controller.plan();
        let copies = copies(self.controller.loss(), &plan);
        let same_row = same_row(self.controller.round_trip());
        let Some(video) = self.videos.get_mut(&nack.media_ssrc) else {
            return;
        };
        let Some((_, transport)) = &video.last else {
            return;
        };
        let numbers = (nack.nacks.iter()).flat_map(|pair| {
            let bits = (0..16).filter(|bit| pair.lost_packets >> bit & 1 == 1);
            let others = bits.map(|bit| pair.packet_id.wrapping_add(bit + 1));
            std::iter::once(pair.packet_id).chain(others)
        });
        for number in numbers {
            let Some(packet) = video.sent.take(now, number, same_row) else {
                continue;
            };
            let size = |copies| DataSize::from_bytes(size_of(packet).bytes() * copies as u64);
            let affords = |copies: &usize| self.pacer.affords(now, size(*copies), &plan);
            let copies = (2..=copies).rev().find(affords).unwrap_or(1);
            let size = size(copies);
            let packet = TaggedPacket {
                now,
                transport: *transport,
                message: AttributedPacket::new(Packet::Rtp(packet.clone())),
            };
            let waiting = Waiting { packet, copies };
            match (self.pacer).push(now, waiting, size, Class::Retransmission, &plan) {
                true => tracing::trace!(ssrc = nack.media_ssrc, number, copies, "sent again"),
                false => tracing::debug!("too much is asked for again: a packet is not sent again"),
            }
        }
    }
}

fn size_of(rtp: &rtp::Packet) -> DataSize {
    DataSize::from_bytes(rtp.marshal_size() as u64) + OVERHEAD
}

fn set_number(header: &mut Header, extension: u8, number: u16) {
    set_numbers(header, extension, &[number]);
}

fn set_numbers(header: &mut Header, extension: u8, numbers: &[u16]) {
    let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
    if let Err(error) = header.set_extension(extension, bytes.collect()) {
        tracing::debug!(%error, "a packet goes without one of its numbers");
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Sender {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            self.handle_rtcp(message.now, packets);
        }
        self.reads.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.queue(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.listen();
        if self.controller.poll_timeout().is_some_and(|due| due <= now) {
            self.controller.handle_timeout(now);
        }
        self.release(now);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let due = [self.pacer.poll_timeout(), self.controller.poll_timeout()];
        due.into_iter().flatten().min()
    }
}

impl Interceptor for Sender {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        let used =
            |id: &u8| (info.rtp_header_extensions.iter()).any(|used| used.id == u16::from(*id));
        let stream = Stream {
            sound: info.mime_type.starts_with("audio/"),
            extension: codecs::transport_wide_extension(info),
            free: (1..=14).rev().find(|id| !used(id)),
            marking: codecs::number_of(info, codecs::FRAME_MARKING_URI),
            newest_picture: codecs::number_of(info, codecs::NEWEST_PICTURE_URI),
        };
        self.streams.insert(info.ssrc, stream);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.streams.remove(&info.ssrc);
    }

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

#[cfg(test)]
mod tests;
