//! Packets that a participant keeps back until they were asked for often enough.

use std::time::Instant;

use str0m::rtp::{ExtensionValues, rtcp::Nack};

/// How often one must be asked for.
const ENOUGH: u32 = 3;

/// A packet of pictures.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) ssrc: u32,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) at: Instant,
    pub(crate) marker: bool,
    pub(crate) values: ExtensionValues,
    pub(crate) payload: Vec<u8>,
}

/// What was kept back, and how often it was asked for.
#[derive(Default)]
pub(crate) struct Withheld {
    /// One in so many is.
    pub(crate) one_in: Option<u64>,
    kept: Vec<(Written, u32)>,
}

impl Withheld {
    /// Keeps a packet back; returns it if it is to be sent.
    pub(crate) fn keep(&mut self, written: Written) -> Option<Written> {
        let kept = |one_in| written.sequence.is_multiple_of(one_in);
        if !self.one_in.is_some_and(kept) {
            return Some(written);
        }
        self.kept.push((written, 0));
        None
    }

    /// Takes in a request to send packets again. Returns what is to be sent now; and how many were kept
    /// back, and how many of them sent, so far.
    pub(crate) fn asked(&mut self, nack: &Nack) -> (Vec<Written>, (usize, usize)) {
        let numbers = nack.reports.iter().flat_map(|entry| {
            let later = (0..16).filter(move |bit| entry.blp >> bit & 1 == 1);
            (later.map(move |bit| entry.pid.wrapping_add(bit + 1))).chain([entry.pid])
        });
        let mut late = Vec::new();
        for number in numbers {
            let asked_for =
                |written: &Written| written.ssrc == *nack.ssrc && written.sequence as u16 == number;
            let found = self.kept.iter_mut().find(|(it, _)| asked_for(it));
            let Some((written, asked)) = found else {
                continue;
            };
            *asked += 1;
            if *asked == ENOUGH {
                late.push(written.clone());
            }
        }
        let sent = self.kept.iter().filter(|(_, asked)| *asked >= ENOUGH);
        let counts = (self.kept.len(), sent.count());
        (late, counts)
    }
}
