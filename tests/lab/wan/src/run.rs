//! A running link: moves packets, obeys the control socket, writes what happened.

use std::{
    fs::{self, File},
    io::{BufWriter, Read, Write},
    os::unix::net::{SocketAddr, UnixDatagram},
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nonstop_netem::{Direction, Interval, Link, Player, Tally};

use crate::{
    options::{Options, load_schedule},
    packet::Headers,
    sys,
};

/// One direction of the link, with what the log tells of each packet.
type OneWay = Link<Vec<u8>, Headers>;

const DIRECTIONS: [&str; 2] = ["up", "down"];
const STATS_HEADER: &str = "time_s,unix_s,dir,in_bytes,out_bytes,in_pkts,out_pkts,drop_queue,drop_aqm,drop_loss,drop_cut,backlog_bytes,qdelay_mean_ms,qdelay_p95_ms,qdelay_max_ms,rate_bps";
const PACKETS_HEADER: &str =
    "time_s,dir,len,qdelay_us,fate,proto,src,sport,dst,dport,head,pt,ssrc,seq";
/// How long `ctl` waits for an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(2);
/// Packets read from one device before the other is looked at again.
const BATCH: usize = 64;
/// The longest packet of IP.
const LONGEST_PACKET: usize = 65_536;
/// Makes the random numbers of the way down differ from those of the way up.
const OTHER_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Sends one line to a running link and returns its answer.
pub(crate) fn ask(socket: &str, line: &str) -> Result<String, String> {
    let own = format!("{socket}.client.{}", std::process::id());
    let talk = || -> std::io::Result<String> {
        let end = UnixDatagram::bind(&own)?;
        end.set_read_timeout(Some(LONGEST_ANSWER))?;
        end.send_to(line.as_bytes(), socket)?;
        let mut answer = [0; 8192];
        let length = end.recv(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    let answer = talk();
    // Nothing depends on whether the socket's name could be removed.
    let _ = fs::remove_file(&own);
    answer.map_err(|error| format!("{socket}: {error}"))
}

/// Runs a link until it is told to end; returns its totals.
pub(crate) fn run(options: Options) -> Result<String, String> {
    let mut link = [
        OneWay::new(options.up, options.seed),
        OneWay::new(options.down, options.seed ^ OTHER_SEED),
    ];
    if options.packet_log.is_some() {
        link.iter_mut().for_each(OneWay::keep_records);
    }
    let mut running = Running {
        link,
        devices: [open(&options.ends[0])?, open(&options.ends[1])?],
        control: options.control.as_deref().map(listen).transpose()?,
        stats: Output::create(options.stats.as_deref(), STATS_HEADER)?,
        packets: Output::create(options.packet_log.as_deref(), PACKETS_HEADER)?,
        schedule: options.schedule.play(Duration::ZERO, options.period),
        interval: options.interval,
        next_stats: options.interval,
        tick: options.tick,
        packet: vec![0; LONGEST_PACKET],
    };
    sys::tune(options.priority);
    println!("ready");
    let clock = Clock::start();
    while !sys::stopped() && clock.now() < options.limit {
        running.turn(&clock, options.limit);
    }
    running.packets.flush();
    if let Some(path) = &options.control {
        // Nothing depends on whether the socket's name could be removed.
        let _ = fs::remove_file(path);
    }
    Ok(running.totals())
}

fn open((namespace, device): &(String, String)) -> Result<File, String> {
    sys::open_tun(namespace, device).map_err(|error| format!("{namespace}/{device}: {error}"))
}

fn listen(path: &str) -> Result<UnixDatagram, String> {
    // Only a name that an earlier process left behind can be there.
    let _ = fs::remove_file(path);
    let bound = UnixDatagram::bind(Path::new(path)).and_then(|socket| {
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    bound.map_err(|error| format!("{path}: {error}"))
}

struct Clock {
    start: Instant,
    /// Seconds since 1970 at the start.
    unix: f64,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this program has no other clock, and reads it only here"
    )]
    fn start() -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock {
            start: Instant::now(),
            unix: unix.map_or(0.0, |since| since.as_secs_f64()),
        }
    }

    /// Time since the start.
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A file that lines go to, or nothing.
struct Output(Option<BufWriter<File>>);

impl Output {
    fn create(path: Option<&str>, header: &str) -> Result<Output, String> {
        let Some(path) = path else {
            return Ok(Output(None));
        };
        let file = File::create(path).map_err(|error| format!("{path}: {error}"))?;
        let mut output = Output(Some(BufWriter::new(file)));
        output.line(format_args!("{header}"));
        Ok(output)
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let Some(file) = &mut self.0 else { return };
        if let Err(error) = writeln!(file, "{line}") {
            eprintln!("wan: a log ends here: {error}");
            self.0 = None;
        }
    }

    fn flush(&mut self) {
        if let Some(Err(error)) = self.0.as_mut().map(Write::flush) {
            eprintln!("wan: the end of a log is missing: {error}");
        }
    }
}

struct Running {
    /// From A to B, and from B to A.
    link: [OneWay; 2],
    devices: [File; 2],
    control: Option<UnixDatagram>,
    stats: Output,
    packets: Output,
    schedule: Player,
    interval: Duration,
    next_stats: Duration,
    tick: Duration,
    /// Where a packet is read to.
    packet: Vec<u8>,
}

impl Running {
    /// The schedule, packets that are due, figures, waiting, arrivals, control: settings count
    /// before packets are moved, and packets before anything that can wait.
    fn turn(&mut self, clock: &Clock, limit: Duration) {
        let now = clock.now();
        self.follow_schedule(now);
        self.deliver(now);
        self.write_stats(now, clock);
        let events = self.link.iter().map(OneWay::next_event);
        let wake = events
            .chain([self.schedule.next_event()])
            .flatten()
            .fold(self.next_stats.min(limit), Duration::min);
        if !self.tick.is_zero() {
            thread::sleep(self.tick);
        }
        let timeout = wake.saturating_sub(clock.now());
        let ready = sys::wait(&self.devices, self.control.as_ref(), timeout);
        let [a, b, control] = ready;
        for (index, arrived) in [a, b].into_iter().enumerate() {
            if arrived {
                self.take(index, clock);
            }
        }
        if control {
            self.obey(clock);
        }
    }

    fn follow_schedule(&mut self, now: Duration) {
        while let Some((at, step)) = self.schedule.poll(now) {
            if let Err(error) = self.apply(at, step.direction, &step.words) {
                eprintln!("wan: {error}");
            }
        }
    }

    fn apply(&mut self, now: Duration, direction: Direction, words: &str) -> Result<(), String> {
        let meant = [direction.up(), direction.down()];
        for (link, _) in self.link.iter_mut().zip(meant).filter(|(_, meant)| *meant) {
            link.apply(now, words).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn deliver(&mut self, now: Duration) {
        for (index, link) in self.link.iter_mut().enumerate() {
            let mut out = &self.devices[1 - index];
            while let Some(packet) = link.poll(now) {
                // A failed write (device down, queue full) is the same as a loss on the wire.
                let _ = out.write(&packet);
            }
            for record in link.take_records() {
                let headers = &record.tag;
                let rtp = headers.rtp.map_or_else(
                    || ",,".to_owned(),
                    |(payload_type, ssrc, sequence)| format!("{payload_type},{ssrc},{sequence}"),
                );
                self.packets.line(format_args!(
                    "{:.6},{},{},{},{},{},{},{},{},{},{},{rtp}",
                    record.at.as_secs_f64(),
                    DIRECTIONS[index],
                    record.bytes,
                    record.waited.as_micros(),
                    record.fate.word(),
                    headers.protocol,
                    text(headers.source),
                    headers.source_port,
                    text(headers.destination),
                    headers.destination_port,
                    text(
                        headers
                            .head
                            .map(|head| format!("{:08x}", u32::from_be_bytes(head)))
                    ),
                ));
            }
        }
    }

    fn write_stats(&mut self, now: Duration, clock: &Clock) {
        if now < self.next_stats {
            return;
        }
        let time = self.next_stats.as_secs_f64();
        let unix = clock.unix + time;
        for (link, name) in self.link.iter_mut().zip(DIRECTIONS) {
            let figures = figures(&link.take_interval());
            self.stats
                .line(format_args!("{time:.3},{unix:.3},{name},{figures}"));
        }
        self.stats.flush();
        while self.next_stats <= now {
            self.next_stats += self.interval;
        }
    }

    fn take(&mut self, index: usize, clock: &Clock) {
        for _ in 0..BATCH {
            match (&self.devices[index]).read(&mut self.packet) {
                Ok(length) if length > 0 => {
                    let packet = &self.packet[..length];
                    let headers = Headers::read(packet);
                    self.link[index].arrive(clock.now(), packet.to_vec(), length, headers);
                }
                // Nothing is left, or the device is gone.
                _ => break,
            }
        }
    }

    fn obey(&mut self, clock: &Clock) {
        let mut message = [0; 4096];
        while let Some((length, from)) = self.message(&mut message) {
            let line = String::from_utf8_lossy(&message[..length]);
            let answer = self.answer(line.trim(), clock.now());
            if let (Some(path), Some(control)) = (from.as_pathname(), &self.control) {
                // Whoever asked may be gone.
                let _ = control.send_to(answer.as_bytes(), path);
            }
        }
    }

    fn message(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.control.as_ref()?.recv_from(buffer).ok()
    }

    fn answer(&mut self, line: &str, now: Duration) -> String {
        let done = match line.split_once(' ') {
            None if line == "stats" => return self.totals(),
            None if line == "quit" => {
                sys::stop();
                Ok(())
            }
            None if line == "flush" => {
                self.packets.flush();
                Ok(())
            }
            Some(("schedule", path)) => load_schedule(path.trim()).map(|schedule| {
                self.schedule = schedule.play(now, None);
            }),
            Some((word, words)) => Direction::parse(word)
                .ok_or_else(|| format!("unknown direction {word:?}"))
                .and_then(|direction| self.apply(now, direction, words)),
            None => Err("expected DIR key=value ...".to_owned()),
        };
        match done {
            Ok(()) => format!("ok t={:.6}", now.as_secs_f64()),
            Err(error) => format!("error: {error}"),
        }
    }

    fn totals(&self) -> String {
        let [up, down] = [0, 1].map(|index| {
            let tally = self.link[index].total();
            total(DIRECTIONS[index], &tally)
        });
        format!("{up}\n{down}")
    }
}

/// A field of a log: what is not known is empty.
fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn figures(interval: &Interval) -> String {
    let tally = &interval.tally;
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    format!(
        "{},{},{},{},{},{},{},{},{},{:.3},{:.3},{:.3},{:.0}",
        tally.bytes_in,
        tally.bytes_out,
        tally.packets_in,
        tally.packets_out,
        tally.queue_full,
        tally.codel,
        tally.lost,
        tally.cut,
        interval.backlog_bytes,
        millis(interval.mean_wait),
        millis(interval.high_wait),
        millis(interval.most_wait),
        interval.rate_bps,
    )
}

fn total(name: &str, tally: &Tally) -> String {
    format!(
        "{name}: in {} pkts {} bytes, out {} pkts {} bytes, dropped queue {} aqm {} loss {} cut {}",
        tally.packets_in,
        tally.bytes_in,
        tally.packets_out,
        tally.bytes_out,
        tally.queue_full,
        tally.codel,
        tally.lost,
        tally.cut,
    )
}
