//! From the network to the decoder and the speaker.
//!
//! ```text
//! packets ─ reorder ─ assembly ─ 8 units ═▶ decode thread ═▶ newest picture
//!              └▶ ask again        └▶ full: drop to the next keyframe, and ask for one
//! ```

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use nonstop_wire::ParticipantId;
use tokio::sync::{Notify, mpsc};

use super::{
    LinkConfig,
    assembly::Assembly,
    depacketise::begins_keyframe,
    recovery::Unpacker,
    remote_clock::RemoteClock,
    reorder::{Reorder, ReorderStats},
};
use crate::{
    latest::Reader,
    media::{
        Way,
        video::{AccessUnit, DecodeStats, DecodeThread, PictureSlot},
    },
    mesh::peer::{Kind, RtpIn, Stream},
};

/// Units that may wait for the decoder; full means dropping to the next keyframe.
const MOST_UNITS: usize = 8;
/// The shortest pause between two requests for a keyframe.
const KEYFRAME_PAUSE: Duration = Duration::from_millis(300);

/// The decode thread and the queue before it; lives as long as the link.
pub(in crate::mesh) struct Decoder {
    thread: DecodeThread,
    units: mpsc::Sender<AccessUnit>,
    /// Set by the decode thread when only a keyframe helps.
    needs_keyframe: Arc<AtomicBool>,
}

impl Decoder {
    /// Starts the thread for somebody's pictures that come one `way`; `wake` is notified when
    /// something of it needs attention.
    ///
    /// # Errors
    /// Fails if the system gives no thread.
    pub(in crate::mesh) fn start(
        of: ParticipantId,
        way: Way,
        slot: &PictureSlot,
        wake: &Arc<Notify>,
    ) -> io::Result<Self> {
        let (units, input) = mpsc::channel(MOST_UNITS);
        let needs_keyframe = Arc::new(AtomicBool::new(false));
        let (flag, notify) = (Arc::clone(&needs_keyframe), Arc::clone(wake));
        let thread = DecodeThread::start(
            &of.to_string(),
            input,
            way,
            slot.clone(),
            Arc::new(move || {
                flag.store(true, Relaxed);
                notify.notify_one();
            }),
        )?;
        let notify = Arc::clone(wake);
        thread
            .stats()
            .on_change(Arc::new(move || notify.notify_one()));
        Ok(Self {
            thread,
            units,
            needs_keyframe,
        })
    }

    /// Returns a reader of what the decoder has done.
    pub(in crate::mesh) fn stats(&self) -> Reader<DecodeStats> {
        self.thread.stats()
    }
}

/// What came in so far, counted from the start of the connection.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::mesh) struct InboundStats {
    pub(in crate::mesh) video_bytes: u64,
    pub(in crate::mesh) audio_bytes: u64,
}

/// Received media of one connection.
pub(in crate::mesh) struct Inbound {
    ssrc: Option<u32>,
    reorder: Reorder<RtpIn>,
    assembly: Assembly,
    clock: RemoteClock,
    /// The decoder's queue was full: everything up to the next keyframe is dropped.
    overrun: bool,
    keyframe_wanted: bool,
    keyframe_asked: Option<Instant>,
    /// Once it is known.
    round_trip: Option<Duration>,
    stats: InboundStats,
    sound: Unpacker,
    heard_sound: bool,
}

impl Inbound {
    pub(in crate::mesh) fn new() -> Self {
        Self {
            ssrc: None,
            reorder: Reorder::new(),
            assembly: Assembly::new(),
            clock: RemoteClock::new(90_000),
            overrun: false,
            keyframe_wanted: false,
            keyframe_asked: None,
            round_trip: None,
            stats: InboundStats::default(),
            sound: Unpacker::default(),
            heard_sound: false,
        }
    }

    /// Takes in a packet of pictures.
    pub(in crate::mesh) fn handle_video(&mut self, packet: RtpIn, decoder: &Decoder, now: Instant) {
        if self.ssrc != Some(packet.ssrc) {
            self.ssrc = Some(packet.ssrc);
            self.reorder = Reorder::new();
            if let Some(round_trip) = self.round_trip {
                self.reorder.set_round_trip(round_trip);
            }
            self.assembly = Assembly::new();
            // A stream begins with a keyframe: there is time to see whether it comes whole.
            self.keyframe_asked = Some(now);
        }
        self.stats.video_bytes += packet.payload.len() as u64;
        self.reorder.push(packet.sequence, packet, now);
        self.reorder.skip_to_whole(
            |packet| begins_keyframe(&packet.payload),
            |packet| packet.marker,
        );
        self.advance(decoder, now);
    }

    /// Learns that a packet of pictures with this number left before something that came.
    pub(in crate::mesh) fn expect(&mut self, sequence: u16, now: Instant) {
        self.reorder.expect(sequence, now);
    }

    /// Takes in a packet of sound; returns true for the first. `stream` is ours: both sides number
    /// payload types alike.
    pub(in crate::mesh) fn handle_audio(
        &mut self,
        packet: RtpIn,
        stream: &Stream,
        config: &LinkConfig,
    ) -> bool {
        if let Some(sequence) = packet.newest_picture {
            self.expect(sequence, packet.arrived);
        }
        self.stats.audio_bytes += packet.payload.len() as u64;
        if stream.redundant() == Some(packet.payload_type) {
            let opus = stream.payload_type();
            match self.sound.redundant(&packet, opus, Way::Direct) {
                Ok(sounds) => sounds.into_iter().for_each(|it| config.voice.push(it)),
                Err(error) => {
                    tracing::debug!(%error, "not redundant audio data");
                    return false;
                }
            }
        } else {
            config.voice.push(self.sound.plain(packet, Way::Direct));
        }
        !std::mem::replace(&mut self.heard_sound, true)
    }

    /// Takes in how the other side's clock and time stamps belong together.
    pub(in crate::mesh) fn handle_report(
        &mut self,
        kind: Kind,
        ntp: u64,
        timestamp: u32,
        arrived: Instant,
    ) {
        if kind == Kind::Video {
            self.clock.handle_report(ntp, timestamp, arrived);
        }
    }

    /// Tells how long the way there and back is.
    pub(in crate::mesh) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = Some(round_trip);
        self.reorder.set_round_trip(round_trip);
        self.clock.set_round_trip(round_trip);
    }

    /// Hands on what has become ready by time passing.
    pub(in crate::mesh) fn advance(&mut self, decoder: &Decoder, now: Instant) {
        while let Some(next) = self.reorder.pop(now) {
            for unit in self.assembly.push(next).into_iter().flatten() {
                self.hand_on(unit, decoder, now);
            }
        }
        let asked_for = decoder.needs_keyframe.swap(false, Relaxed);
        self.keyframe_wanted |=
            asked_for || (self.ssrc.is_some() && self.assembly.needs_keyframe());
    }

    fn hand_on(&mut self, mut unit: AccessUnit, decoder: &Decoder, now: Instant) {
        if unit.keyframe {
            self.overrun = false;
            self.keyframe_wanted = false;
        } else if self.overrun {
            return;
        }
        unit.captured = self.clock.captured(unit.timestamp, now);
        if decoder.units.try_send(unit).is_err() {
            tracing::debug!("the decoder does not keep up");
            self.overrun = true;
            self.keyframe_wanted = true;
        }
    }

    /// Returns the stream and its packets to be asked for now.
    pub(in crate::mesh) fn ask(&mut self, now: Instant) -> Option<(u32, Vec<u16>)> {
        let missing = self.reorder.ask(now);
        let asked = Some((self.ssrc?, missing)).filter(|(_, missing)| !missing.is_empty())?;
        tracing::trace!(ssrc = asked.0, missing = ?asked.1, "asked for again");
        Some(asked)
    }

    /// Returns the stream of which a keyframe is to be asked for now.
    pub(in crate::mesh) fn ask_keyframe(&mut self, now: Instant) -> Option<u32> {
        if !self.keyframe_wanted || self.keyframe_due().is_some_and(|due| now < due) {
            return None;
        }
        self.keyframe_asked = Some(now);
        self.ssrc
    }

    fn keyframe_due(&self) -> Option<Instant> {
        let pause = KEYFRAME_PAUSE.max(self.round_trip.unwrap_or_default() * 2);
        self.keyframe_asked.map(|asked| asked + pause)
    }

    /// Returns when something becomes due by time passing.
    pub(in crate::mesh) fn poll_timeout(&self) -> Option<Instant> {
        let keyframe = self.keyframe_wanted.then(|| self.keyframe_due()).flatten();
        [self.reorder.poll_timeout(), keyframe]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns what came in so far.
    pub(in crate::mesh) fn stats(&self) -> (InboundStats, ReorderStats) {
        (self.stats, self.reorder.stats())
    }
}
