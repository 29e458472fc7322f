//! `nonstop-wan`: a network link in user space between two network namespaces.
//!
//! The process opens one TUN device in each of two namespaces and moves IP packets between
//! them. Each direction has its own bottleneck (rate, drop-tail or CoDel queue), then loss,
//! delay and jitter; `nonstop-netem` is the model:
//!
//! ```text
//! arrival ─ queue ─ bottleneck ─ loss ─ delay + jitter ─ delivery
//! ```
//!
//! It needs no support of the kernel but TUN, and it writes one line for each packet: the
//! ground truth of a measurement. `docs/lab.md` tells how it is used.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod packet;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod sys;

#[cfg(target_os = "linux")]
const USAGE: &str = "\
nonstop-wan - a network link between two network namespaces

  nonstop-wan run --a NS/DEV --b NS/DEV [options]   runs a link (A to B is `up`, B to A is `down`)
  nonstop-wan ctl SOCKET 'DIR key=value ...'        changes a running link, prints its answer
  nonstop-wan ctl SOCKET stats|flush|'schedule FILE'|quit

options
  --up|--down|--both 'key=value ...'   impairments of a direction (see below)
  --schedule FILE      impairments that vary with time; starts at once
  --loop SECONDS       repeats the schedule with this period
  --ctl SOCKET         control socket (UNIX datagram)
  --stats FILE         one line an interval and direction      --interval MS   (default 200)
  --pktlog FILE        one line a packet
  --seed N             random seed (default 1)
  --rt PRIO            real-time priority (recommended: 50)
  --tick MS            sleeps so long before it looks for packets again: less work, and each comes late
                       by half of it on average, twice (default 0)
  --time SECONDS       ends after this time

keys
  rate=4mbit|500kbit|none   bottleneck, IP bytes; 0 stalls (packets wait)
  queue=200ms|64kB|100p     limit of the queue: time at the current rate, bytes, packets
  aqm=droptail|codel        codel[:TARGET_MS:INTERVAL_MS] (default 5:100)
  delay=20ms                one-way propagation delay
  jitter=5ms  dist=uniform|normal   uniform: +-jitter; normal: sigma, cut at 3 sigma
  reorder=2%,15ms           this share of packets gets that much more delay, out of order
  loss=1%                   independent random loss, after the queue
  ge=P,R[,BAD[,GOOD]]       Gilbert-Elliott: good->bad, bad->good, loss in bad (100%), in good (0%)
  dup=1%                    duplication
  cut=5s                    blackhole for this time (queue and flight are lost too)
";

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.first().map(String::as_str) {
        Some("ctl") if words.len() >= 3 => run::ask(&words[1], &words[2..].join(" ")),
        Some("run") => options::Options::parse(&words[1..]).and_then(run::run),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(said) => {
            println!("{said}");
            ExitCode::from(u8::from(said.starts_with("error")))
        }
        Err(error) => {
            eprintln!("wan: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("wan: links between namespaces need Linux");
    ExitCode::from(2)
}
