//! Packets that may have to be sent again.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::super::downlink::Held;

/// How long packets of pictures are kept to be sent again: longer than the longest round trip on
/// which a picture that was repaired is still worth showing, and enough for four tries in 80 ms each.
pub(super) const AGE: Duration = Duration::from_millis(400);
/// Most packets of a stream that are kept for that: 0.4 s of 6 Mb/s.
const PACKETS: usize = 256;
/// How much of a stream may be sent again: three tenths, which is more than the losses under which a
/// call works. So many bytes are there at first, and at most.
const TENTHS: usize = 3;
const FIRST: usize = 20_000;
const MOST: usize = 60_000;

/// What is kept of a stream, and the stream of what is sent again (RFC 4588).
#[derive(Debug)]
pub(super) struct Repair {
    ssrc: u32,
    /// The number of the next packet under that one.
    next: u64,
    /// By their numbers.
    kept: VecDeque<Kept>,
    /// How many bytes may be sent again.
    allowed: usize,
}

/// A packet that was sent.
#[derive(Debug)]
struct Kept {
    sent: Instant,
    /// When it was last sent again.
    again: Option<Instant>,
    sequence: u64,
    timestamp: u32,
    marker: bool,
    marking: Option<u32>,
    payload: Arc<[u8]>,
}

/// What is to be sent again, but for the payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Again {
    pub(super) ssrc: u32,
    /// Its number under that one, rollovers included.
    pub(super) index: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) marking: Option<u32>,
}

impl Repair {
    /// Keeps nothing yet; what is sent again has this SSRC.
    pub(super) fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            next: 1,
            kept: VecDeque::new(),
            allowed: FIRST,
        }
    }

    /// Keeps a packet that is sent.
    pub(super) fn keep(&mut self, held: &Held, now: Instant) {
        self.forget(now);
        if self.kept.len() >= PACKETS {
            self.kept.pop_front();
        }
        let more = held.payload.len() * TENTHS / 10;
        self.allowed = (self.allowed + more).min(MOST);
        let kept = Kept {
            sent: now,
            again: None,
            sequence: held.sequence,
            timestamp: held.timestamp,
            marker: held.marker,
            marking: held.marking,
            payload: Arc::clone(&held.payload),
        };
        // Mostly it is the newest.
        let earlier = |kept: &Kept| kept.sequence < held.sequence;
        let place = self.kept.iter().rposition(earlier);
        self.kept.insert(place.map_or(0, |place| place + 1), kept);
    }

    /// Tells whether the packet that had the number `missing` is to be sent again: it is kept, and was
    /// not for another request of the same row, those that come within `same_row`.
    pub(super) fn is_due(&mut self, missing: u16, same_row: Duration, now: Instant) -> bool {
        self.forget(now);
        let Some(place) = find(&self.kept, missing) else {
            return false;
        };
        let kept = &mut self.kept[place];
        let due = kept.again.is_none_or(|again| now >= again + same_row);
        if due {
            kept.again = Some(now);
        }
        due
    }

    /// Returns the packet that had the number `missing`, with its payload (RFC 4588 section 4: that
    /// number, and what it held) in `payload`; `None` if it is not kept, or too much was sent again.
    pub(super) fn again(&mut self, missing: u16, payload: &mut Vec<u8>) -> Option<Again> {
        let kept = self.kept.get(find(&self.kept, missing)?)?;
        self.allowed = self.allowed.checked_sub(kept.payload.len())?;
        let index = self.next;
        self.next += 1;
        payload.clear();
        payload.extend(missing.to_be_bytes());
        payload.extend_from_slice(&kept.payload);
        Some(Again {
            ssrc: self.ssrc,
            index,
            timestamp: kept.timestamp,
            marker: kept.marker,
            marking: kept.marking,
        })
    }

    /// Forgets what is too old to be of use, and takes no memory for nothing.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.forget(now);
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
    }

    fn forget(&mut self, now: Instant) {
        let old = |kept: &Kept| now.saturating_duration_since(kept.sent) > AGE;
        while self.kept.front().is_some_and(old) {
            self.kept.pop_front();
        }
    }
}

/// Returns where the packet with that number is, of the last 65,536; `kept` is in the order of numbers.
fn find(kept: &VecDeque<Kept>, number: u16) -> Option<usize> {
    let newest = kept.back()?.sequence;
    let before = (newest as u16).wrapping_sub(number);
    let sequence = newest.checked_sub(before.into())?;
    kept.binary_search_by_key(&sequence, |kept| kept.sequence)
        .ok()
}
