//! A running link: moves packets, obeys the control socket, writes what happened.

use std::{
    fs::{self, File},
    io::{BufWriter, Read, Write},
    os::unix::net::{SocketAddr, UnixDatagram},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    command::{Link, Step, command, load_schedule},
    model::Dir,
    options::Options,
    sys,
};

const DIRECTIONS: [&str; 2] = ["up", "down"];
const STATS_HEADER: &str = "time_s,unix_s,dir,in_bytes,out_bytes,in_pkts,out_pkts,drop_queue,drop_aqm,drop_loss,drop_cut,backlog_bytes,qdelay_mean_ms,qdelay_p95_ms,qdelay_max_ms,rate_bps";
const PACKETS_HEADER: &str = "time_s,dir,len,qdelay_us,fate,proto,sport,dport,pt,ssrc,seq";
/// How long `ctl` waits for an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(2);
/// Packets read from one device before the other is looked at again.
const BATCH: usize = 64;
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
    let Options { up, down, seed, .. } = &options;
    let mut running = Running {
        link: [
            Dir::new(up.clone(), *seed),
            Dir::new(down.clone(), seed ^ OTHER_SEED),
        ],
        devices: [open(&options.ends[0])?, open(&options.ends[1])?],
        control: options.control.as_deref().map(listen).transpose()?,
        stats: Output::create(options.stats.as_deref(), STATS_HEADER)?,
        packets: Output::create(options.packet_log.as_deref(), PACKETS_HEADER)?,
        schedule: options.schedule,
        began: 0,
        next_step: 0,
        period: options.period,
        interval: options.interval,
        next_stats: options.interval,
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

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
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

    fn wanted(&self) -> bool {
        self.0.is_some()
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
    link: Link,
    devices: [File; 2],
    control: Option<UnixDatagram>,
    stats: Output,
    packets: Output,
    schedule: Vec<Step>,
    /// When the schedule began, or began again.
    began: u64,
    next_step: usize,
    period: u64,
    interval: u64,
    next_stats: u64,
}

impl Running {
    /// The schedule, packets that are due, figures, waiting, arrivals, control: settings count
    /// before packets are moved, and packets before anything that can wait.
    fn turn(&mut self, clock: &Clock, limit: u64) {
        let now = clock.now();
        self.follow_schedule(now);
        self.deliver(now);
        self.write_stats(now, clock);
        let mut wake = self.next_stats.min(limit);
        for dir in &self.link {
            wake = wake.min(dir.next_event());
        }
        if let Some(step) = self.schedule.get(self.next_step) {
            wake = wake.min(self.began + step.at);
        }
        let timeout = wake.saturating_sub(clock.now());
        let ready = sys::wait(&self.devices, self.control.as_ref(), timeout);
        for (index, _) in ready[..2].iter().enumerate().filter(|(_, ready)| **ready) {
            self.take(index, clock);
        }
        if ready[2] {
            self.obey(clock);
        }
    }

    fn follow_schedule(&mut self, now: u64) {
        while let Some(step) = self.schedule.get(self.next_step) {
            let at = self.began + step.at;
            if at > now {
                break;
            }
            if let Err(error) = command(&mut self.link, &step.line, at) {
                eprintln!("wan: {error}");
            }
            self.next_step += 1;
            if self.next_step == self.schedule.len() && self.period > 0 {
                self.began += self.period;
                self.next_step = 0;
            }
        }
    }

    fn deliver(&mut self, now: u64) {
        for (index, dir) in self.link.iter_mut().enumerate() {
            let mut out = &self.devices[1 - index];
            dir.advance(now, self.packets.wanted(), |packet| {
                // A failed write (device down, queue full) is the same as a loss on the wire.
                let _ = out.write(packet);
            });
            for record in dir.log.drain(..) {
                let headers = &record.headers;
                let (payload_type, ssrc, sequence) = headers.rtp.map_or_else(
                    || (String::new(), String::new(), String::new()),
                    |(a, b, c)| (a.to_string(), b.to_string(), c.to_string()),
                );
                self.packets.line(format_args!(
                    "{:.6},{},{},{},{},{},{},{},{payload_type},{ssrc},{sequence}",
                    record.at as f64 / 1e9,
                    DIRECTIONS[index],
                    record.len,
                    record.qdelay / 1_000,
                    record.fate,
                    headers.protocol,
                    headers.source_port,
                    headers.destination_port,
                ));
            }
        }
    }

    fn write_stats(&mut self, now: u64, clock: &Clock) {
        if now < self.next_stats {
            return;
        }
        let time = self.next_stats as f64 / 1e9;
        let unix = clock.unix + time;
        for (dir, name) in self.link.iter_mut().zip(DIRECTIONS) {
            let figures = dir.stats_line();
            self.stats
                .line(format_args!("{time:.3},{unix:.3},{name},{figures}"));
        }
        self.stats.flush();
        self.next_stats += self.interval * ((now - self.next_stats) / self.interval + 1);
    }

    fn take(&mut self, index: usize, clock: &Clock) {
        let mut packet = [0; 65_536];
        for _ in 0..BATCH {
            match (&self.devices[index]).read(&mut packet) {
                Ok(length) if length > 0 => {
                    let log = self.packets.wanted();
                    self.link[index].arrive(clock.now(), &packet[..length], log);
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

    fn answer(&mut self, line: &str, now: u64) -> String {
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
                (self.schedule, self.began, self.next_step) = (schedule, now, 0);
            }),
            _ => command(&mut self.link, line, now),
        };
        match done {
            Ok(()) => format!("ok t={:.6}", now as f64 / 1e9),
            Err(error) => format!("error: {error}"),
        }
    }

    fn totals(&self) -> String {
        let [up, down] = &self.link;
        up.summary("up") + "\n" + &down.summary("down")
    }
}
