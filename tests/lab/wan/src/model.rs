//! The link model: bottleneck queue -> loss -> delay line, one `Dir` per direction.
//! Times are nanoseconds since the process started.

use crate::packet::Headers;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

const MS: f64 = 1e6;
const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, PartialEq)]
enum Limit {
    Time(f64),
    Bytes(f64),
    Packets(f64),
}

/// Impairments of one direction.
#[derive(Clone)]
pub(crate) struct Cfg {
    /// Bits per second; infinite means no bottleneck, 0 means stalled.
    rate: f64,
    queue: Limit,
    codel: Option<(f64, f64)>,
    delay: f64,
    jitter: f64,
    normal: bool,
    reorder: (f64, f64),
    loss: f64,
    dup: f64,
    /// good->bad, bad->good, loss in bad, loss in good
    ge: Option<[f64; 4]>,
}

impl Default for Cfg {
    fn default() -> Self {
        Cfg {
            rate: f64::INFINITY,
            queue: Limit::Time(200.0 * MS),
            codel: None,
            delay: 0.0,
            jitter: 0.0,
            normal: false,
            reorder: (0.0, 0.0),
            loss: 0.0,
            dup: 0.0,
            ge: None,
        }
    }
}

fn number(s: &str, units: &[(&str, f64)]) -> Result<f64, String> {
    let cut = s
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(s.len());
    let x: f64 = s[..cut].parse().map_err(|_| format!("bad number {s:?}"))?;
    let unit = s[cut..].to_ascii_lowercase();
    units
        .iter()
        .find(|u| u.0 == unit)
        .map(|u| x * u.1)
        .ok_or(format!("bad unit in {s:?}"))
}

fn time(s: &str) -> Result<f64, String> {
    number(s, &[("", MS), ("ms", MS), ("us", 1e3), ("s", 1e9)])
}

fn share(s: &str) -> Result<f64, String> {
    let x = number(s, &[("", 0.01), ("%", 0.01)])?;
    if x <= 1.0 {
        Ok(x)
    } else {
        Err(format!("share over 100%: {s:?}"))
    }
}

/// Applies `key=value` words to `cfg`; returns the length of a requested cut.
pub(crate) fn apply(cfg: &mut Cfg, words: &str) -> Result<Option<u64>, String> {
    let mut cut = None;
    for w in words.split_whitespace() {
        let (k, v) = w
            .split_once('=')
            .ok_or(format!("expected key=value, got {w:?}"))?;
        let list: Vec<&str> = v.split(',').collect();
        match k {
            "rate" if v == "none" => cfg.rate = f64::INFINITY,
            "rate" => {
                cfg.rate = number(
                    v,
                    &[
                        ("", 1.0),
                        ("bit", 1.0),
                        ("kbit", 1e3),
                        ("mbit", 1e6),
                        ("gbit", 1e9),
                    ],
                )?;
            }
            "queue" if v.ends_with('p') => cfg.queue = Limit::Packets(number(v, &[("p", 1.0)])?),
            "queue" if v.ends_with(['B', 'b']) => {
                cfg.queue = Limit::Bytes(number(v, &[("b", 1.0), ("kb", 1e3), ("mb", 1e6)])?);
            }
            "queue" => cfg.queue = Limit::Time(time(v)?),
            "aqm" => {
                let f: Vec<&str> = v.split(':').collect();
                cfg.codel = match f[0] {
                    "droptail" => None,
                    "codel" => Some((
                        time(f.get(1).unwrap_or(&"5"))?,
                        time(f.get(2).unwrap_or(&"100"))?,
                    )),
                    _ => return Err(format!("unknown aqm {v:?}")),
                }
            }
            "delay" => cfg.delay = time(v)?,
            "jitter" => cfg.jitter = time(v)?,
            "dist" => {
                cfg.normal = match v {
                    "normal" => true,
                    "uniform" => false,
                    _ => return Err(format!("unknown dist {v:?}")),
                }
            }
            "loss" => cfg.loss = share(v)?,
            "dup" => cfg.dup = share(v)?,
            "reorder" if v == "0" => cfg.reorder = (0.0, 0.0),
            "reorder" if list.len() == 2 => cfg.reorder = (share(list[0])?, time(list[1])?),
            "ge" if v == "off" => cfg.ge = None,
            "ge" if list.len() >= 2 => {
                let mut g = [0.0, 0.0, 1.0, 0.0];
                for (d, s) in g.iter_mut().zip(&list) {
                    *d = share(s)?;
                }
                cfg.ge = Some(g);
            }
            "cut" => cut = Some(time(v)? as u64),
            _ => return Err(format!("unknown or malformed key {w:?}")),
        }
    }
    Ok(cut)
}

/// What happened to one packet, for the per-packet log.
pub(crate) struct Record {
    pub(crate) at: u64,
    pub(crate) len: usize,
    pub(crate) qdelay: u64,
    pub(crate) fate: &'static str,
    pub(crate) headers: Headers,
}

struct Pkt {
    at: u64,
    data: Vec<u8>,
}

#[derive(Default, Clone)]
struct Count {
    in_bytes: u64,
    out_bytes: u64,
    in_pkts: u64,
    out_pkts: u64,
    drop_queue: u64,
    drop_aqm: u64,
    drop_loss: u64,
    drop_cut: u64,
}

#[derive(Default)]
struct Codel {
    first_above: u64,
    drop_next: u64,
    count: u32,
    last_count: u32,
    dropping: bool,
}

pub(crate) struct Dir {
    pub(crate) cfg: Cfg,
    pub(crate) log: Vec<Record>,
    queue: VecDeque<Pkt>,
    backlog: usize,
    /// The packet on the bottleneck: its queueing delay, bits left and since when.
    head: Option<(Pkt, u64)>,
    bits_left: f64,
    since: u64,
    flight: BinaryHeap<Reverse<(u64, u64, Vec<u8>)>>,
    seq: u64,
    last_due: u64,
    cut_until: u64,
    bad: bool,
    codel: Codel,
    rng: u64,
    tick: Count,
    total: Count,
    waits: Vec<u64>,
}

impl Dir {
    pub(crate) fn new(cfg: Cfg, seed: u64) -> Dir {
        Dir {
            cfg,
            log: Vec::new(),
            queue: VecDeque::new(),
            backlog: 0,
            head: None,
            bits_left: 0.0,
            since: 0,
            flight: BinaryHeap::new(),
            seq: 0,
            last_due: 0,
            cut_until: 0,
            bad: false,
            codel: Codel::default(),
            rng: seed.wrapping_mul(2).wrapping_add(0x1234_5678_9abc_def1),
            tick: Count::default(),
            total: Count::default(),
            waits: Vec::new(),
        }
    }

    /// Uniform in [0, 1) (splitmix64).
    fn random(&mut self) -> f64 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.rng;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Takes new parameters; the packet in service continues at the new rate.
    pub(crate) fn reconfigure(&mut self, cfg: Cfg, now: u64) {
        if self.head.is_some() && cfg.rate != self.cfg.rate {
            if self.cfg.rate.is_finite() {
                self.bits_left -= now.saturating_sub(self.since) as f64 * self.cfg.rate / 1e9;
            }
            self.bits_left = self.bits_left.max(0.0);
            self.since = now;
        }
        self.cfg = cfg;
    }

    /// Blackholes the direction until `until`; what is queued or in flight is lost.
    pub(crate) fn cut(&mut self, until: u64) {
        self.tick.drop_cut +=
            (self.queue.len() + self.flight.len() + self.head.is_some() as usize) as u64;
        self.queue.clear();
        self.flight.clear();
        (self.head, self.backlog, self.cut_until) = (None, 0, until);
    }

    fn record(&mut self, at: u64, p: &[u8], qdelay: u64, fate: &'static str) {
        self.log.push(Record {
            at,
            len: p.len(),
            qdelay,
            fate,
            headers: Headers::read(p),
        });
    }

    pub(crate) fn arrive(&mut self, now: u64, data: &[u8], log: bool) {
        self.tick.in_bytes += data.len() as u64;
        self.tick.in_pkts += 1;
        if now < self.cut_until {
            self.tick.drop_cut += 1;
            if log {
                self.record(now, data, 0, "cut");
            }
            return;
        }
        let after = (self.backlog + data.len()) as f64;
        // At least two full packets always fit, or a slow link would pass nothing.
        let full = self.cfg.rate.is_finite()
            && after > 3000.0
            && match self.cfg.queue {
                Limit::Time(ns) => after * 8e9 > ns * self.cfg.rate,
                Limit::Bytes(b) => after > b,
                Limit::Packets(n) => self.queue.len() as f64 + 1.0 > n,
            };
        if full {
            self.tick.drop_queue += 1;
            if log {
                self.record(now, data, 0, "queue");
            }
            return;
        }
        self.backlog += data.len();
        self.queue.push_back(Pkt {
            at: now,
            data: data.to_vec(),
        });
        if self.head.is_none() {
            self.start(now, log);
        }
    }

    /// Puts the next packet on the bottleneck, letting CoDel drop some first (RFC 8289).
    fn start(&mut self, now: u64, log: bool) {
        while let Some(p) = self.queue.pop_front() {
            self.backlog -= p.data.len();
            let wait = now.saturating_sub(p.at);
            if self.codel_drops(now, wait) {
                self.tick.drop_aqm += 1;
                if log {
                    self.record(now, &p.data, wait, "codel");
                }
                continue;
            }
            self.waits.push(wait);
            self.bits_left = p.data.len() as f64 * 8.0;
            self.since = now;
            self.head = Some((p, wait));
            return;
        }
    }

    fn codel_drops(&mut self, now: u64, wait: u64) -> bool {
        let Some((target, interval)) = self.cfg.codel else {
            return false;
        };
        let (target, c) = (target as u64, &mut self.codel);
        let next = |t: u64, n: u32| t + (interval / (n.max(1) as f64).sqrt()) as u64;
        let mut ok_to_drop = false;
        if wait < target || self.backlog <= 1500 {
            c.first_above = 0;
        } else if c.first_above == 0 {
            c.first_above = now + interval as u64;
        } else {
            ok_to_drop = now >= c.first_above;
        }
        if c.dropping {
            if !ok_to_drop {
                c.dropping = false;
            } else if now >= c.drop_next {
                c.count += 1;
                c.drop_next = next(c.drop_next, c.count);
                return true;
            }
        } else if ok_to_drop {
            c.dropping = true;
            let delta = c.count.saturating_sub(c.last_count);
            c.count = if delta > 1 && now.saturating_sub(c.drop_next) < 16 * interval as u64 {
                delta
            } else {
                1
            };
            c.last_count = c.count;
            c.drop_next = next(now, c.count);
            return true;
        }
        false
    }

    fn service_end(&self) -> u64 {
        match &self.head {
            None => NEVER,
            Some(_) if self.cfg.rate == 0.0 => NEVER,
            Some(_) if self.cfg.rate.is_infinite() => self.since,
            Some(_) => self.since + (self.bits_left * 1e9 / self.cfg.rate) as u64,
        }
    }

    pub(crate) fn next_event(&self) -> u64 {
        self.service_end()
            .min(self.flight.peek().map_or(NEVER, |f| f.0.0))
    }

    /// Moves packets through the model up to `now` and hands the due ones to `out`.
    pub(crate) fn advance(&mut self, now: u64, log: bool, mut out: impl FnMut(&[u8])) {
        loop {
            let end = self.service_end();
            if end > now {
                break;
            }
            let (p, wait) = self.head.take().unwrap();
            self.propagate(end, p.data, wait, log);
            self.start(end, log);
        }
        while self.flight.peek().is_some_and(|f| f.0.0 <= now) {
            let Reverse((_, _, data)) = self.flight.pop().unwrap();
            self.tick.out_bytes += data.len() as u64;
            self.tick.out_pkts += 1;
            out(&data);
        }
    }

    fn lost(&mut self) -> bool {
        if let Some([p, r, in_bad, in_good]) = self.cfg.ge {
            let turn = self.random() < if self.bad { r } else { p };
            self.bad ^= turn;
            if self.random() < if self.bad { in_bad } else { in_good } {
                return true;
            }
        }
        self.cfg.loss > 0.0 && self.random() < self.cfg.loss
    }

    fn propagate(&mut self, at: u64, data: Vec<u8>, wait: u64, log: bool) {
        let lost = self.lost();
        if log {
            self.record(at, &data, wait, if lost { "loss" } else { "ok" });
        }
        if lost {
            self.tick.drop_loss += 1;
            return;
        }
        let mut delay = self.cfg.delay;
        if self.cfg.jitter > 0.0 {
            let z = if self.cfg.normal {
                let (u, v) = (1.0 - self.random(), self.random());
                ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).clamp(-3.0, 3.0)
            } else {
                2.0 * self.random() - 1.0
            };
            delay = (delay + z * self.cfg.jitter).max(0.0);
        }
        let mut due = at + delay as u64;
        if self.cfg.reorder.0 > 0.0 && self.random() < self.cfg.reorder.0 {
            due += self.cfg.reorder.1 as u64; // late, and others may overtake it
        } else {
            due = due.max(self.last_due); // jitter alone never reorders
            self.last_due = due;
        }
        if self.cfg.dup > 0.0 && self.random() < self.cfg.dup {
            self.flight.push(Reverse((due, self.seq, data.clone())));
            self.seq += 1;
        }
        self.flight.push(Reverse((due, self.seq, data)));
        self.seq += 1;
    }

    /// CSV fields of the interval that just ended; starts the next one.
    pub(crate) fn stats_line(&mut self) -> String {
        let (c, t) = (std::mem::take(&mut self.tick), &mut self.total);
        for (d, s) in [
            (&mut t.in_bytes, c.in_bytes),
            (&mut t.out_bytes, c.out_bytes),
            (&mut t.in_pkts, c.in_pkts),
            (&mut t.out_pkts, c.out_pkts),
            (&mut t.drop_queue, c.drop_queue),
            (&mut t.drop_aqm, c.drop_aqm),
            (&mut t.drop_loss, c.drop_loss),
            (&mut t.drop_cut, c.drop_cut),
        ] {
            *d += s;
        }
        let mut w = std::mem::take(&mut self.waits);
        w.sort_unstable();
        let ms = |x: u64| x as f64 / MS;
        let mean = if w.is_empty() {
            0.0
        } else {
            w.iter().map(|x| ms(*x)).sum::<f64>() / w.len() as f64
        };
        let p95 = w.get(w.len() * 95 / 100).map_or(0.0, |x| ms(*x));
        let max = w.last().map_or(0.0, |x| ms(*x));
        format!(
            "{},{},{},{},{},{},{},{},{},{mean:.3},{p95:.3},{max:.3},{:.0}",
            c.in_bytes,
            c.out_bytes,
            c.in_pkts,
            c.out_pkts,
            c.drop_queue,
            c.drop_aqm,
            c.drop_loss,
            c.drop_cut,
            self.backlog,
            self.cfg.rate
        )
    }

    pub(crate) fn summary(&self, name: &str) -> String {
        let (a, b) = (&self.total, &self.tick);
        format!(
            "{name}: in {} pkts {} bytes, out {} pkts {} bytes, dropped queue {} aqm {} loss {} cut {}",
            a.in_pkts + b.in_pkts,
            a.in_bytes + b.in_bytes,
            a.out_pkts + b.out_pkts,
            a.out_bytes + b.out_bytes,
            a.drop_queue + b.drop_queue,
            a.drop_aqm + b.drop_aqm,
            a.drop_loss + b.drop_loss,
            a.drop_cut + b.drop_cut
        )
    }
}
