//! The sequence numbers of a stream on its way out: what is passed on is numbered without gaps, and what
//! is lost on the way in leaves the gap that belongs to it.
//!
//! ```text
//! in    100 101 102 103 104 105 106 107 108      103, 104 are dropped, 106 is late
//! out    40  41  42   .   .  43 (44) 45  46      44 waits for 106
//! spans [100..103 → 40]     [105.. → 43]
//! ```

use std::collections::VecDeque;

/// How many spans are remembered: where every other of 30 pictures a second is dropped, 4 s.
const SPANS: usize = 64;

/// Maps the sequence numbers that come in to those that go out. A span is a run that is passed on.
#[derive(Debug)]
pub(crate) struct Numbers {
    next: u64,
    open: Option<Span>,
    closed: VecDeque<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    layer: u8,
    first: u64,
    end: u64,
    number: u64,
}

impl Numbers {
    /// Numbers from `first`.
    pub(crate) fn new(first: u64) -> Self {
        Self {
            next: first,
            open: None,
            closed: VecDeque::new(),
        }
    }

    /// Whether packets are being passed on.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Passes on from `first` of a layer.
    pub(crate) fn open(&mut self, layer: u8, first: u64) {
        debug_assert!(self.open.is_none(), "one span at a time");
        self.open = Some(Span {
            layer,
            first,
            end: u64::MAX,
            number: self.next,
        });
    }

    /// Passes on no more from `end` on; numbers for what is before it stay reserved.
    pub(crate) fn close(&mut self, end: u64) {
        let Some(mut span) = self.open.take() else {
            return;
        };
        span.end = end.max(span.first);
        self.next = span.number + (span.end - span.first);
        self.remember(span);
    }

    /// Returns the number of a packet of the open span, which is not before it.
    pub(crate) fn number(&self, sequence: u64) -> Option<u64> {
        let span = self.open.as_ref()?;
        Some(span.number + sequence.checked_sub(span.first)?)
    }

    /// Leaves a number for one packet of a layer outside of the open span.
    pub(crate) fn leave_one(&mut self, layer: u8, sequence: u64) {
        debug_assert!(self.open.is_none(), "numbers follow each other");
        self.remember(Span {
            layer,
            first: sequence,
            end: sequence.saturating_add(1),
            number: self.next,
        });
        self.next += 1;
    }

    /// Returns the number that was left for a late packet; none if it was not to be passed on, or too
    /// long ago.
    pub(crate) fn late(&self, layer: u8, sequence: u64) -> Option<u64> {
        let spans = self.open.iter().chain(self.closed.iter().rev());
        let mut spans = spans.filter(|span| span.layer == layer);
        let span = spans.find(|span| (span.first..span.end).contains(&sequence))?;
        Some(span.number + (sequence - span.first))
    }

    /// Returns the number of whatever comes at `sequence`, the next one that comes in.
    pub(crate) fn upcoming(&self, sequence: u64) -> u64 {
        self.number(sequence).unwrap_or(self.next)
    }

    /// Forgets what was passed on before, and so late packets of it.
    pub(crate) fn forget(&mut self) {
        self.closed = VecDeque::new();
    }

    fn remember(&mut self, span: Span) {
        if span.first >= span.end {
            return;
        }
        if self.closed.len() >= SPANS {
            self.closed.pop_front();
        }
        self.closed.push_back(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_leave_no_gap_and_losses_leave_theirs() {
        let mut numbers = Numbers::new(40);
        numbers.open(0, 100);
        assert_eq!(numbers.number(100), Some(40));
        assert_eq!(numbers.number(102), Some(42));
        numbers.close(103);
        numbers.open(0, 105);
        assert_eq!(numbers.number(105), Some(43));
        assert_eq!(numbers.number(107), Some(45));
        assert_eq!(numbers.late(0, 106), Some(44));
        assert_eq!(numbers.late(0, 101), Some(41));
        assert_eq!(numbers.late(0, 104), None);
        assert_eq!(numbers.late(1, 101), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut numbers = Numbers::new(1);
        for picture in 0..1000 {
            numbers.open(0, picture * 2);
            numbers.close(picture * 2 + 1);
        }
        assert_eq!(numbers.closed.len(), SPANS);
        assert_eq!(numbers.late(0, 0), None);
        assert_eq!(numbers.late(0, 1998), Some(1000));
        assert_eq!(numbers.upcoming(5000), 1001);
    }
}
