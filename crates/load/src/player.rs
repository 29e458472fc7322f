//! Plays the recording: which packets a participant sends, and when.
//!
//! All layers of a participant share one time base and one tick; each has a place in the loop of its
//! own, for a keyframe that somebody asks for is a jump to its beginning. Timestamps and sequence
//! numbers go on. Pure: the time is an argument.

use std::{
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    marking::Marking,
    packets::stamped,
    recording::{Picture, Recording},
};

const VIDEO_CLOCK: u64 = 90_000;
const SOUND_TICK: Duration = Duration::from_millis(20);
/// Samples of 20 ms at 48 kHz.
const SOUND_SAMPLES: u32 = 960;
/// How long somebody speaks.
const TURN: Duration = Duration::from_secs(4);
/// The payload type by which redundant audio data names Opus.
const OPUS: u8 = 111;
/// Between two packets of somebody who is silent, in ticks: as Opus has it (RFC 7587, section 3.1.3).
const SILENCE: u64 = 20;
/// How often somebody who is silent looks whether it is their turn, in ticks.
const LOOK_UP: u64 = 5;
/// 100 Mb/s.
const FLOOD_PAYLOAD: usize = 1100;
const FLOOD_EVERY: Duration = Duration::from_micros(88);
const FLOOD_MOST: Duration = Duration::from_millis(20);
const SPEECH_LEVEL: i8 = -25;
const SILENCE_LEVEL: i8 = -80;
/// As a pacer would: a keyframe does not leave at once.
const BURST: usize = 12;
const BURST_EVERY: Duration = Duration::from_millis(4);
/// Packets of a layer that can be sent again: over a second of the largest.
const KEPT: usize = 512;

/// Something to send.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// The layer; none for sound.
    pub(crate) layer: Option<usize>,
    /// The sequence number, extended.
    pub(crate) sequence: u64,
    /// The RTP timestamp.
    pub(crate) timestamp: u32,
    /// The RTP marker bit.
    pub(crate) marker: bool,
    /// For pictures.
    pub(crate) marking: Option<Marking>,
    /// For sound: its level in dBov, and whether somebody speaks.
    pub(crate) level: Option<(i8, bool)>,
    /// The payload.
    pub(crate) payload: Arc<[u8]>,
}

/// Who speaks when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    /// How many there are.
    pub(crate) people: usize,
    /// How many of them speak at once.
    pub(crate) voices: usize,
    /// Who this is, from 0.
    pub(crate) index: usize,
}

/// A participant's loop.
#[derive(Debug)]
pub(crate) struct Player {
    recording: Rc<Recording>,
    layers: Vec<LayerPlace>,
    start: Instant,
    /// Whether payloads end with the time they were sent at.
    stamps: bool,
    /// Whether sound has the form of redundant audio data.
    redundant: bool,
    tick: Duration,
    ticks: u64,
    base: u32,
    sound: bool,
    sound_ticks: u64,
    sound_sequence: u64,
    spoke: bool,
    turns: Turns,
    leaving: VecDeque<Piece>,
    next_burst: Instant,
    /// When more than anybody wants is sent next.
    flood: Option<Instant>,
}

#[derive(Debug)]
struct LayerPlace {
    wanted: bool,
    place: usize,
    restart: bool,
    sequence: u64,
    lowest: u8,
    kept: VecDeque<Outgoing>,
}

/// A packet of a picture that waits for its burst.
#[derive(Debug)]
struct Piece {
    layer: usize,
    picture: usize,
    payload: usize,
    timestamp: u32,
    lowest: u8,
}

impl Player {
    /// Begins at `start` with the first `layers` layers, of which none is wanted yet, and without
    /// sound. `base` is where timestamps begin.
    pub(crate) fn new(
        recording: Rc<Recording>,
        layers: usize,
        turns: Turns,
        stamps: bool,
        base: u32,
        start: Instant,
    ) -> Self {
        let tick = (recording.layers.first()).map_or(SOUND_TICK, |layer| layer.interval);
        let layers = recording.layers.len().min(layers);
        Self {
            layers: (0..layers)
                .map(|_| LayerPlace {
                    wanted: false,
                    place: 0,
                    restart: true,
                    sequence: 1,
                    lowest: 0,
                    kept: VecDeque::new(),
                })
                .collect(),
            recording,
            start,
            stamps,
            redundant: false,
            tick,
            ticks: 0,
            base,
            sound: false,
            sound_ticks: 0,
            sound_sequence: 1,
            spoke: false,
            turns,
            leaving: VecDeque::new(),
            next_burst: start,
            flood: None,
        }
    }

    /// Sends from now on what is wanted, and nothing else. A layer begins with a keyframe.
    pub(crate) fn set_wanted(&mut self, sound: bool, layers: &[bool]) {
        self.sound = sound;
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let wanted = layers.get(index).copied().unwrap_or(false);
            layer.restart |= wanted && !layer.wanted;
            layer.wanted = wanted;
        }
    }

    /// Sends 100 Mb/s of its largest layer from now on, whatever is wanted.
    pub(crate) fn flood(&mut self, now: Instant) {
        self.flood = Some(now);
    }

    /// Answers a request for a keyframe with the next picture.
    pub(crate) fn request_keyframe(&mut self, layer: usize) {
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.restart = true;
        }
    }

    /// Finds a packet that was sent before.
    pub(crate) fn kept(&self, layer: usize, sequence: u16) -> Option<&Outgoing> {
        let kept = &self.layers.get(layer)?.kept;
        (kept.iter().rev()).find(|packet| packet.sequence as u16 == sequence)
    }

    /// Returns when there is something to do; none while nothing is wanted.
    pub(crate) fn due(&self) -> Option<Instant> {
        let pictures = (self.layers.iter().any(|layer| layer.wanted))
            .then(|| self.start + time_of(self.ticks, self.tick));
        // Whoever is silent looks up rarely: hundreds of them are to cost little.
        let look = if self.spoke { 1 } else { LOOK_UP };
        let tick = self.sound_ticks.next_multiple_of(look);
        let sound = (self.sound).then(|| self.start + time_of(tick, SOUND_TICK));
        let burst = (!self.leaving.is_empty()).then_some(self.next_burst);
        let flood = self.flood.map(|last| last + Duration::from_millis(1));
        [pictures, sound, burst, flood].into_iter().flatten().min()
    }

    /// Gives what is to be sent now. `unix_time` is the same moment since the Unix epoch.
    pub(crate) fn poll(&mut self, now: Instant, unix_time: Duration, out: &mut Vec<Outgoing>) {
        let since = now.saturating_duration_since(self.start);
        self.sound_until(since, unix_time, out);
        self.pictures_until(since);
        self.flood_until(now, out);
        if now < self.next_burst || self.leaving.is_empty() {
            return;
        }
        for _ in 0..BURST {
            let Some(piece) = self.leaving.pop_front() else {
                break;
            };
            out.push(self.leave(&piece, unix_time));
        }
        self.next_burst = now + BURST_EVERY;
    }

    fn flood_until(&mut self, now: Instant, out: &mut Vec<Outgoing>) {
        let (Some(next), Some(layer)) = (self.flood, self.layers.len().checked_sub(1)) else {
            return;
        };
        let behind = now.saturating_duration_since(next).min(FLOOD_MOST);
        let packets = (behind.as_micros() / FLOOD_EVERY.as_micros()) as u64;
        if packets == 0 {
            return;
        }
        self.flood = Some(now);
        for _ in 0..packets {
            let place = &mut self.layers[layer];
            out.push(Outgoing {
                layer: Some(layer),
                sequence: place.sequence,
                timestamp: self.base,
                marker: false,
                marking: Some(Marking::new(false, false, false, false, place.lowest)),
                level: None,
                payload: vec![0; FLOOD_PAYLOAD].into(),
            });
            place.sequence += 1;
        }
    }

    fn sound_until(&mut self, since: Duration, unix_time: Duration, out: &mut Vec<Outgoing>) {
        let current = ticks_of(since, SOUND_TICK);
        // Whatever was not sent in time is not sent.
        self.sound_ticks = self.sound_ticks.max(current.saturating_sub(4));
        while self.sound_ticks <= current {
            let tick = self.sound_ticks;
            self.sound_ticks += 1;
            if !self.sound {
                self.spoke = false;
                continue;
            }
            let speaks = self.turns.speaks(unix_time);
            if !speaks && !tick.is_multiple_of(SILENCE) {
                self.spoke = false;
                continue;
            }
            let packets = &self.recording.sound;
            let payload = &packets[tick as usize % packets.len()];
            let payload = match self.redundant {
                // Sound is redundant audio data (RFC 2198) on its way through the relay; without any
                // redundancy that is one byte more.
                true => self.payload(&[&[OPUS], payload.as_slice()].concat(), unix_time),
                false => self.payload(payload, unix_time),
            };
            out.push(Outgoing {
                layer: None,
                sequence: self.sound_sequence,
                timestamp: (self.base).wrapping_add((tick as u32).wrapping_mul(SOUND_SAMPLES)),
                marker: speaks && !self.spoke,
                marking: None,
                level: Some((if speaks { SPEECH_LEVEL } else { SILENCE_LEVEL }, speaks)),
                payload,
            });
            self.sound_sequence += 1;
            self.spoke = speaks;
        }
    }

    fn pictures_until(&mut self, since: Duration) {
        let current = ticks_of(since, self.tick);
        if current < self.ticks {
            return;
        }
        // Whatever was not sent in time is not sent: a camera would not wait either.
        let ticks = current;
        self.ticks = current + 1;
        let timestamp =
            (time_of(ticks, self.tick).as_nanos() * u128::from(VIDEO_CLOCK) / 1_000_000_000) as u32;
        let timestamp = self.base.wrapping_add(timestamp);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            if !layer.wanted {
                continue;
            }
            let pictures = &self.recording.layers[index].pictures;
            if layer.restart {
                layer.restart = false;
                layer.place = 0;
            }
            let picture = &pictures[layer.place];
            if !picture.upper {
                layer.lowest = layer.lowest.wrapping_add(1);
            }
            (self.leaving).extend((0..picture.payloads.len()).map(|payload| Piece {
                layer: index,
                picture: layer.place,
                payload,
                timestamp,
                lowest: layer.lowest,
            }));
            layer.place = (layer.place + 1) % pictures.len();
        }
    }

    fn leave(&mut self, piece: &Piece, unix_time: Duration) -> Outgoing {
        let recording = Rc::clone(&self.recording);
        let picture: &Picture = &recording.layers[piece.layer].pictures[piece.picture];
        let (start, end) = (
            piece.payload == 0,
            piece.payload + 1 == picture.payloads.len(),
        );
        let payload = self.payload(&picture.payloads[piece.payload], unix_time);
        let layer = &mut self.layers[piece.layer];
        let packet = Outgoing {
            layer: Some(piece.layer),
            sequence: layer.sequence,
            timestamp: piece.timestamp,
            marker: end,
            marking: Some(Marking::new(
                start,
                end,
                picture.keyframe,
                picture.upper,
                piece.lowest,
            )),
            level: None,
            payload,
        };
        layer.sequence += 1;
        layer.kept.push_back(packet.clone());
        if layer.kept.len() > KEPT {
            layer.kept.pop_front();
        }
        packet
    }

    /// Gives sound the form of redundant audio data (RFC 2198), as a relay's participants do.
    pub(crate) fn redundant(self) -> Self {
        Self {
            redundant: true,
            ..self
        }
    }

    fn payload(&self, payload: &[u8], unix_time: Duration) -> Arc<[u8]> {
        match self.stamps {
            true => stamped(payload, unix_time),
            false => payload.into(),
        }
    }
}

impl Turns {
    /// Whether it is this one's turn.
    fn speaks(self, unix_time: Duration) -> bool {
        let turn = (unix_time.as_secs() / TURN.as_secs()) as usize;
        let people = self.people.max(1);
        (0..self.voices.min(people))
            .any(|voice| (turn * self.voices + voice) % people == self.index)
    }
}

fn ticks_of(time: Duration, tick: Duration) -> u64 {
    u64::try_from(time.as_nanos() / tick.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn time_of(ticks: u64, tick: Duration) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_begins_with_a_keyframe_and_jumps_to_one_on_request() {
        let (mut player, mut now) = player();
        player.set_wanted(false, &[true, false, false]);

        let first = play(&mut player, &mut now, 300);
        player.request_keyframe(0);
        let later = play(&mut player, &mut now, 300);

        let keyframes = |packets: &[Outgoing]| {
            let starts =
                (packets.iter()).filter(|packet| packet.marking.unwrap().0[0] & 0xa0 == 0xa0);
            starts.count()
        };
        assert_eq!((keyframes(&first), keyframes(&later)), (1, 1));
        assert!(first.iter().all(|packet| packet.layer == Some(0)));
        let sequences: Vec<_> = first
            .iter()
            .chain(&later)
            .map(|packet| packet.sequence)
            .collect();
        assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert!(player.kept(0, 1).is_some() && player.kept(0, 9999).is_none());
    }

    #[test]
    fn everybody_speaks_in_turn_and_is_nearly_still_meanwhile() {
        let (mut player, mut now) = player();
        player.set_wanted(true, &[]);

        let packets = play(&mut player, &mut now, 12_000);

        let spoken = packets
            .iter()
            .filter(|packet| packet.level.unwrap().1)
            .count();
        let silent = packets.len() - spoken;
        assert!((150..=250).contains(&spoken), "{spoken} of 200");
        assert!((10..=30).contains(&silent), "{silent} of 20");
        assert_eq!(packets.iter().filter(|packet| packet.marker).count(), 1);
    }

    fn player() -> (Player, Instant) {
        let now = crate::clock::now();
        let turns = Turns {
            people: 3,
            voices: 1,
            index: 1,
        };
        let recording = Rc::new(Recording::own().unwrap());
        (Player::new(recording, 3, turns, true, 7, now), now)
    }

    fn play(player: &mut Player, now: &mut Instant, millis: u64) -> Vec<Outgoing> {
        let mut out = Vec::new();
        let began = *now;
        for milli in 0..millis {
            *now = began + Duration::from_millis(milli);
            let since = *now - player.start;
            player.poll(*now, since, &mut out);
        }
        out
    }
}
