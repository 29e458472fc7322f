//! One direction of a link: the bottleneck with its queue, and the way behind it.

use std::{collections::VecDeque, time::Duration};

use crate::{
    Fate, Interval, Limit, Random, Record, SettingError, Settings, Tally, codel::Dropper,
    delay::Flight, loss::Loss, record::Waits,
};

/// Two full packets always fit, or a slow link would pass nothing.
const ALWAYS_FITS: usize = 3_000;

/// Carries packets `T`, each with a tag `K` that its record repeats.
#[derive(Debug)]
pub struct Link<T, K = ()> {
    settings: Settings,
    queue: VecDeque<Waiting<T, K>>,
    backlog: usize,
    service: Option<Service<T, K>>,
    dropper: Dropper,
    loss: Loss,
    flight: Flight<T>,
    cut_until: Duration,
    random: Random,
    interval: Tally,
    total: Tally,
    waits: Waits,
    /// Kept only where the log is wanted.
    records: Option<Vec<Record<K>>>,
}

#[derive(Debug)]
struct Waiting<T, K> {
    packet: T,
    bytes: usize,
    tag: K,
    since: Duration,
}

/// The packet on the bottleneck.
#[derive(Debug)]
struct Service<T, K> {
    next: Waiting<T, K>,
    waited: Duration,
    bits_left: f64,
    since: Duration,
}

impl<T: Clone, K: Copy> Link<T, K> {
    /// Makes an empty link; the same seed and packets give the same fates.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            queue: VecDeque::new(),
            backlog: 0,
            service: None,
            dropper: Dropper::default(),
            loss: Loss::default(),
            flight: Flight::new(),
            cut_until: Duration::ZERO,
            random: Random::new(seed),
            interval: Tally::default(),
            total: Tally::default(),
            waits: Waits::default(),
            records: None,
        }
    }

    /// Keeps a record of each packet from now on, for [`take_records`](Self::take_records).
    pub fn keep_records(&mut self) {
        self.records.get_or_insert_default();
    }

    /// Returns the records kept since the last call.
    pub fn take_records(&mut self) -> Vec<Record<K>> {
        self.records
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Returns the settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes in `key=value` words, a cut included.
    pub fn apply(&mut self, now: Duration, words: &str) -> Result<(), SettingError> {
        let mut settings = self.settings.clone();
        let cut = settings.apply(words)?;
        self.reconfigure(now, settings);
        if let Some(length) = cut {
            self.cut(now, length);
        }
        Ok(())
    }

    /// Takes new settings; the packet in service continues at the new rate.
    pub fn reconfigure(&mut self, now: Duration, settings: Settings) {
        self.serve(now);
        if let Some(service) = &mut self.service
            && settings.rate_bps != self.settings.rate_bps
        {
            let elapsed = now.saturating_sub(service.since).as_secs_f64();
            if self.settings.rate_bps.is_finite() {
                service.bits_left -= elapsed * self.settings.rate_bps;
            }
            service.bits_left = service.bits_left.max(0.0);
            service.since = now;
        }
        self.settings = settings;
    }

    /// Loses what waits, what is under way, and what comes for this long.
    pub fn cut(&mut self, now: Duration, length: Duration) {
        self.serve(now);
        let served = self.service.take().map(|service| service.next);
        let waiting: Vec<_> = served.into_iter().chain(self.queue.drain(..)).collect();
        for lost in &waiting {
            let waited = now.saturating_sub(lost.since);
            self.record(now, lost.bytes, waited, Fate::Cut, lost.tag);
        }
        self.interval.cut += (waiting.len() + self.flight.clear()) as u64;
        self.backlog = 0;
        self.cut_until = now + length;
    }

    /// Takes in a packet of `bytes`, the headers of IP and above counted.
    pub fn arrive(&mut self, now: Duration, packet: T, bytes: usize, tag: K) {
        self.serve(now);
        self.interval.packets_in += 1;
        self.interval.bytes_in += bytes as u64;
        if now < self.cut_until {
            self.interval.cut += 1;
            self.record(now, bytes, Duration::ZERO, Fate::Cut, tag);
            return;
        }
        if self.full(bytes) {
            self.interval.queue_full += 1;
            self.record(now, bytes, Duration::ZERO, Fate::QueueFull, tag);
            return;
        }
        self.backlog += bytes;
        self.queue.push_back(Waiting {
            packet,
            bytes,
            tag,
            since: now,
        });
        if self.service.is_none() {
            self.start(now);
        }
    }

    /// Returns the next packet that has come out at the far end by `now`. To be called until it
    /// returns nothing.
    pub fn poll(&mut self, now: Duration) -> Option<T> {
        self.serve(now);
        let (packet, bytes) = self.flight.pop(now)?;
        self.interval.packets_out += 1;
        self.interval.bytes_out += bytes as u64;
        Some(packet)
    }

    /// Returns when [`poll`](Self::poll) has something to do.
    pub fn next_event(&self) -> Option<Duration> {
        let due = [self.service_end(), self.flight.next_due()];
        due.into_iter().flatten().min()
    }

    /// Returns how long a packet that came now would wait, as far as the rate stays.
    pub fn queue_delay(&self, now: Duration) -> Duration {
        let bits = (self.backlog * 8) as f64;
        let queued = Duration::try_from_secs_f64(bits / self.settings.rate_bps);
        let service = self.service_end().map(|end| end.saturating_sub(now));
        queued
            .unwrap_or(Duration::MAX)
            .saturating_add(service.unwrap_or_default())
    }

    /// Returns what happened since the last call, and begins the next interval.
    pub fn take_interval(&mut self) -> Interval {
        let tally = std::mem::take(&mut self.interval);
        self.total += tally;
        let (mean_wait, high_wait, most_wait) = self.waits.take();
        Interval {
            tally,
            mean_wait,
            high_wait,
            most_wait,
            backlog_bytes: self.backlog,
            rate_bps: self.settings.rate_bps,
        }
    }

    /// Returns the counts since the beginning.
    pub fn total(&self) -> Tally {
        let mut total = self.total;
        total += self.interval;
        total
    }

    fn full(&self, bytes: usize) -> bool {
        let after = self.backlog + bytes;
        let rate = self.settings.rate_bps;
        rate.is_finite()
            && after > ALWAYS_FITS
            && match self.settings.queue {
                Limit::Time(limit) => after as f64 * 8.0 > limit.as_secs_f64() * rate,
                Limit::Bytes(limit) => after as f64 > limit,
                Limit::Packets(limit) => self.queue.len() as f64 + 1.0 > limit,
            }
    }

    /// Moves packets over the bottleneck up to `now`.
    fn serve(&mut self, now: Duration) {
        while let Some(end) = self.service_end().filter(|end| *end <= now) {
            let Some(done) = self.service.take() else {
                return;
            };
            let Waiting {
                packet, bytes, tag, ..
            } = done.next;
            if self.loss.next(&self.settings, &mut self.random) {
                self.interval.lost += 1;
                self.record(end, bytes, done.waited, Fate::Lost, tag);
            } else {
                self.record(end, bytes, done.waited, Fate::Delivered, tag);
                self.flight
                    .push(end, packet, bytes, &self.settings, &mut self.random);
            }
            self.start(end);
        }
    }

    /// Puts the next packet on the bottleneck; CoDel drops some first.
    fn start(&mut self, now: Duration) {
        while let Some(next) = self.queue.pop_front() {
            self.backlog -= next.bytes;
            let waited = now.saturating_sub(next.since);
            if let Some(codel) = self.settings.codel
                && self.dropper.drops(now, waited, self.backlog, codel)
            {
                self.interval.codel += 1;
                self.record(now, next.bytes, waited, Fate::Codel, next.tag);
                continue;
            }
            self.waits.push(waited);
            self.service = Some(Service {
                waited,
                bits_left: (next.bytes * 8) as f64,
                since: now,
                next,
            });
            return;
        }
    }

    /// When the packet on the bottleneck is through; never where the rate is zero.
    fn service_end(&self) -> Option<Duration> {
        let service = self.service.as_ref()?;
        let seconds = service.bits_left / self.settings.rate_bps;
        let time = Duration::try_from_secs_f64(seconds).ok()?;
        service.since.checked_add(time)
    }

    fn record(&mut self, at: Duration, bytes: usize, waited: Duration, fate: Fate, tag: K) {
        if let Some(records) = &mut self.records {
            records.push(Record {
                at,
                bytes,
                waited,
                fate,
                tag,
            });
        }
    }
}
