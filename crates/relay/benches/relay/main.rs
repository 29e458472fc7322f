//! What deciding costs: packets passed on a CPU second, in calls as large as they may be. Prints a table
//! and writes rows of `target/bench/relay.json`.
//!
//! ```text
//! cargo bench -p nonstop-relay --bench relay
//! ```
//! Everything is counted: taking in packets, numbering, measuring, allotting, events. A server also
//! decrypts, encrypts and sends. The bound is a hundredth of a core for 50,000 packets a second.

mod call;
mod table;

use std::{fs, time::Duration};

use call::{CALLS, Call};
use table::Row;

/// Of each call.
const TIME: Duration = Duration::from_secs(20);
const RUNS: usize = 3;

fn main() {
    let mut rows = Vec::new();
    for call in CALLS {
        let mut runs: Vec<Figures> = (0..RUNS).map(|_| measure(call)).collect();
        runs.sort_by(|a, b| a.a_second.total_cmp(&b.a_second));
        let median = &runs[RUNS / 2];
        let memory = runs.iter().map(|run| run.memory).fold(0.0, f64::max);
        rows.push(Row {
            case: call.what,
            figure: "packets passed on a CPU second",
            value: median.a_second,
            unit: "packets/s",
            bound: call.bound,
            higher: true,
            runs: RUNS,
        });
        rows.push(Row {
            case: call.what,
            figure: "CPU at this load",
            value: median.cpu * 100.0,
            unit: "% of a core",
            bound: 5.0,
            higher: false,
            runs: RUNS,
        });
        println!(
            "{}: {:.0} packets/s are passed on, {:.0} ns each, {:.1} kB a member",
            call.what,
            median.load,
            1e9 / median.a_second,
            memory / 1000.0,
        );
    }
    table::print(&rows);
    table::write(&rows);
}

struct Figures {
    /// Packets passed on a CPU second, and a second of the call.
    a_second: f64,
    load: f64,
    /// CPU seconds a second of the call.
    cpu: f64,
    /// Bytes a member.
    memory: f64,
}

fn measure(plan: &Call) -> Figures {
    let before = resident();
    let mut call = plan.begin();
    // Layers settle before anything is counted.
    call.run(Duration::from_secs(5));
    let begun = cpu_time();
    let passed = call.run(TIME);
    let cpu = (cpu_time() - begun).as_secs_f64();
    Figures {
        a_second: passed as f64 / cpu,
        load: passed as f64 / TIME.as_secs_f64(),
        cpu: cpu / TIME.as_secs_f64(),
        memory: resident().saturating_sub(before) as f64 / plan.members as f64,
    }
}

/// The time this thread has had a core, unlike the time that passed on a busy computer.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells CPU times");
    let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.expect("the first word is a number"))
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").expect("Linux tells sizes");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse::<u64>().ok());
    pages.expect("the second word is a number") * 4096
}
