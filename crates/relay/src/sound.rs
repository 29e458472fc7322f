//! Somebody's sound: it is passed on or withheld for all, and each receiver hears it or not.
//!
//! What is passed on is numbered once for all; a receiver's numbers differ from these by what was passed
//! on while it did not listen.

use std::time::Instant;

use nonstop_rate::Bitrate;

use crate::{
    Forward, Member, SoundPacket,
    meter::Meter,
    numbers::Numbers,
    window::{Place, Window},
};

/// The sound of one publisher.
#[derive(Debug)]
pub(crate) struct Sound {
    pub(crate) published: bool,
    window: Window,
    numbers: Numbers,
    meter: Meter,
    rate: Bitrate,
    /// By the receivers' seats.
    ears: Vec<Ear>,
}

/// How one receiver hears.
#[derive(Debug, Clone, Copy)]
struct Ear {
    to: Member,
    /// Whether it wants to hear.
    wants: bool,
    /// Whether its connection is too narrow for so many voices.
    muffled: bool,
    /// Whether it hears.
    hears: bool,
    /// Whether nothing was passed on since it began to listen.
    fresh: bool,
    /// The first of the common numbers that it hears, and its own number for that.
    since: u64,
    number: u64,
}

impl Default for Sound {
    fn default() -> Self {
        Self {
            published: false,
            window: Window::default(),
            numbers: Numbers::new(0),
            meter: Meter::default(),
            rate: Bitrate::ZERO,
            ears: Vec::new(),
        }
    }
}

impl Sound {
    /// Says whether a receiver wants to hear; one heard of for the first time is numbered from `first`.
    pub(crate) fn listen(&mut self, to: Member, seat: usize, wants: bool, first: u64) {
        if self.ears.len() <= seat {
            if !wants {
                return;
            }
            self.ears.resize(seat + 1, Ear::NOBODY);
        }
        let ear = &mut self.ears[seat];
        if ear.number == 0 {
            ear.number = first;
        }
        ear.to = to;
        ear.wants = wants;
        self.settle(seat);
    }

    /// Says whether the connection of a receiver who wants to hear is too narrow for this voice; a gap in
    /// what it hears is none in its numbers.
    pub(crate) fn muffle(&mut self, seat: usize, muffled: bool) {
        if let Some(ear) = self.ears.get_mut(seat) {
            ear.muffled = muffled;
            self.settle(seat);
        }
    }

    /// Tells whether a receiver wants to hear, and does not because its connection is too narrow.
    pub(crate) fn is_muffled(&self, seat: usize) -> bool {
        self.ears.get(seat).is_some_and(|ear| ear.muffled)
    }

    fn settle(&mut self, seat: usize) {
        let upcoming = self.upcoming();
        let ear = &mut self.ears[seat];
        let hears = ear.wants && !ear.muffled;
        match (ear.hears, hears) {
            (false, true) => {
                ear.since = upcoming;
                ear.fresh = true;
            }
            (true, false) => ear.number += upcoming.saturating_sub(ear.since),
            _ => {}
        }
        ear.hears = hears;
    }

    /// Forgets a receiver: its seat is numbered from the beginning again.
    pub(crate) fn remove(&mut self, seat: usize) {
        if let Some(ear) = self.ears.get_mut(seat) {
            *ear = Ear::NOBODY;
        }
    }

    /// Whether anybody hears it.
    pub(crate) fn heard(&self) -> bool {
        self.published && self.ears.iter().any(|ear| ear.wants)
    }

    /// Returns the seats of those who hear it.
    pub(crate) fn hearers(&self) -> impl Iterator<Item = usize> {
        let ears = self.ears.iter().enumerate();
        ears.filter(|(_, ear)| ear.hears).map(|(seat, _)| seat)
    }

    /// Returns what it takes to pass it on to a receiver; nothing if it is not heard there.
    pub(crate) fn rate_for(&self, seat: usize) -> Option<Bitrate> {
        let ear = self.ears.get(seat)?;
        (self.published && ear.hears).then_some(self.rate)
    }

    /// Returns what it takes to pass it on once.
    pub(crate) fn rate(&self) -> Option<Bitrate> {
        self.published.then_some(self.rate)
    }

    /// Returns what it would take to pass it on to a receiver who wants to hear.
    pub(crate) fn rate_wanted(&self, seat: usize) -> Option<Bitrate> {
        let ear = self.ears.get(seat)?;
        (self.published && ear.wants && self.rate > Bitrate::ZERO).then_some(self.rate)
    }

    /// Measures the rate.
    pub(crate) fn measure(&mut self, now: Instant) {
        self.rate = self.meter.rates(now).unwrap_or_default().all;
    }

    /// Says that what comes next is another stream of the sender.
    pub(crate) fn restart(&mut self) {
        self.numbers.close(self.window.next());
        self.window = Window::default();
    }

    /// Places a packet among those that came.
    pub(crate) fn place(&mut self, packet: &SoundPacket) -> Place {
        let before = self.window.next();
        let place = self.window.place(packet.sequence);
        if place == Place::Apart {
            self.numbers.close(before);
        }
        place
    }

    /// Takes in a packet that is not useless, and appends to `out` who gets it.
    pub(crate) fn pass(
        &mut self,
        packet: &SoundPacket,
        place: Place,
        admitted: bool,
        now: Instant,
        out: &mut Vec<Forward>,
    ) {
        let mut spurt = false;
        let number = match (place, admitted) {
            (Place::Late, _) => self.numbers.late(0, packet.sequence),
            (_, true) => {
                if !self.numbers.is_open() {
                    self.numbers.open(0, packet.sequence);
                    spurt = true;
                }
                self.numbers.number(packet.sequence)
            }
            (_, false) => {
                self.numbers.close(packet.sequence);
                None
            }
        };
        let Some(number) = number else {
            return;
        };
        self.meter.count(false, packet.size, false, now);
        for ear in &mut self.ears {
            if !ear.hears || number < ear.since {
                continue;
            }
            let restart = spurt || std::mem::take(&mut ear.fresh);
            ear.fresh = false;
            out.push(Forward {
                to: ear.to,
                sequence: ear.number + (number - ear.since),
                marker: packet.marker || restart,
                restart,
            });
        }
    }

    fn upcoming(&self) -> u64 {
        self.numbers.upcoming(self.window.next())
    }
}

impl Ear {
    const NOBODY: Self = Self {
        to: Member(0),
        wants: false,
        muffled: false,
        hears: false,
        fresh: false,
        since: 0,
        number: 0,
    };
}
