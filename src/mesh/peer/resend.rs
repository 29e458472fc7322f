//! Packets that left, kept in case they are asked for again.
//!
//! Bounded in packets, bytes and time: what falls out is not sent again, and the receiver gives up
//! on it and asks for a keyframe.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nonstop_rate::DataSize;

/// Most packets, 3 s at 3 Mb/s, and the most that they take.
const MOST_PACKETS: usize = 1_024;
const MOST_BYTES: u64 = 2_000_000;
/// A receiver has given up on what is older.
const OLDEST: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Kept<T> {
    packet: T,
    size: DataSize,
    left: Instant,
    again: Option<Instant>,
}

/// The packets of one stream, in the order of their consecutive numbers.
#[derive(Debug)]
pub(super) struct Resend<T> {
    /// The number after that of the newest.
    next: u16,
    kept: VecDeque<Kept<T>>,
    size: DataSize,
}

impl<T> Resend<T> {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            kept: VecDeque::new(),
            size: DataSize::ZERO,
        }
    }

    /// Keeps a packet that leaves. Numbers that do not follow each other begin anew.
    pub(super) fn push(&mut self, now: Instant, number: u16, packet: T, size: DataSize) {
        if number != self.next {
            self.kept.clear();
            self.size = DataSize::ZERO;
        }
        self.next = number.wrapping_add(1);
        self.size += size;
        self.kept.push_back(Kept {
            packet,
            size,
            left: now,
            again: None,
        });
        while self.kept.len() > MOST_PACKETS
            || self.size.bytes() > MOST_BYTES
            || (self.kept.front())
                .is_some_and(|kept| now.saturating_duration_since(kept.left) > OLDEST)
        {
            let gone = self.kept.pop_front();
            self.size = self.size - gone.map_or(DataSize::ZERO, |gone| gone.size);
        }
    }

    /// Returns a packet to be sent again, once for a row of requests: those that come within `same_row`.
    pub(super) fn take(&mut self, now: Instant, number: u16, same_row: Duration) -> Option<&T> {
        let later = usize::from(self.next.wrapping_sub(1).wrapping_sub(number));
        let index = self.kept.len().checked_sub(1 + later)?;
        let kept = self.kept.get_mut(index)?;
        let due = kept.again.is_none_or(|again| now >= again + same_row);
        if !due || now.saturating_duration_since(kept.left) > OLDEST {
            return None;
        }
        kept.again = Some(now);
        Some(&kept.packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const PACKET: DataSize = DataSize::from_bytes(1_000);
    const SAME_ROW: Duration = Duration::from_millis(60);

    #[test]
    fn a_packet_is_sent_again_once_for_a_row_of_requests() {
        let start = clock::now();
        let mut resend = Resend::new();
        for number in [65_534, 65_535, 0, 1_u16] {
            resend.push(start, number, number, PACKET);
        }
        assert_eq!(resend.take(start, 65_535, SAME_ROW), Some(&65_535));
        assert_eq!(resend.take(start + SAME_ROW / 2, 65_535, SAME_ROW), None);
        assert_eq!(resend.take(start + SAME_ROW / 2, 0, SAME_ROW), Some(&0));
        assert_eq!(
            resend.take(start + SAME_ROW, 65_535, SAME_ROW),
            Some(&65_535)
        );
        for never_sent in [2, 65_533, 30_000] {
            assert_eq!(resend.take(start, never_sent, SAME_ROW), None);
        }
    }

    #[test]
    fn little_is_kept_and_not_for_long() {
        let start = clock::now();
        let mut resend = Resend::new();
        for number in 0..2_000 {
            resend.push(start, number, (), PACKET);
        }
        assert_eq!(resend.take(start, 975, SAME_ROW), None);
        assert_eq!(resend.take(start, 976, SAME_ROW), Some(&()));
        assert_eq!(
            resend.take(start + Duration::from_secs(3), 1_999, SAME_ROW),
            None
        );
        for number in 2_000..2_100 {
            resend.push(start, number, (), DataSize::from_bytes(100_000));
        }
        assert_eq!(resend.take(start, 2_079, SAME_ROW), None);
        assert_eq!(resend.take(start, 2_080, SAME_ROW), Some(&()));
        resend.push(start, 7, (), PACKET);
        assert_eq!(resend.take(start, 2_099, SAME_ROW), None);
        assert_eq!(resend.take(start, 7, SAME_ROW), Some(&()));
    }
}
