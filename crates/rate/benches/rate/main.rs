//! The controller in simulated calls: many seeds of each case, on both cores, against what must be
//! reached. Prints a table and writes `target/bench/rate.json`.
//!
//! ```text
//! cargo bench -p nonstop-rate --bench rate                        every case
//! cargo bench -p nonstop-rate --bench rate -- CASE...             some; also a part of a name
//!     --runs N        seeds a case
//!     --seed N        one run of this seed
//!     --feedback MS   pause between two feedback messages
//!     --trace         with a seed: a time series of each flow as CSV, every 50 ms
//! ```

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/sim/mod.rs"]
mod sim;
mod table;

use std::{
    env,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use sim::{
    cases::{CASES, Case, Run},
    figures::Figure,
};
use table::Row;

const USAGE: &str = "rate [CASE...] [--runs N] [--seed N] [--feedback MS] [--trace]";
const RUNS: u64 = 20;

struct Options {
    cases: Vec<&'static Case>,
    runs: u64,
    seed: Option<u64>,
    feedback_gap: Duration,
    trace: bool,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}\ncases:");
        for case in CASES {
            eprintln!("  {:<10} {}", case.name, case.what);
        }
        return ExitCode::FAILURE;
    };
    let seeds = match options.seed {
        Some(seed) => seed..seed + 1,
        None => 1..options.runs + 1,
    };
    let mut rows: Vec<Row> = Vec::new();
    for case in &options.cases {
        let runs = all(case, seeds.clone(), &options);
        if options.trace {
            continue;
        }
        let new = table::rows(case.what, &runs);
        table::print(case, &new);
        rows.extend(new);
    }
    if options.seed.is_none() && !rows.is_empty() {
        table::write(&rows);
    }
    ExitCode::SUCCESS
}

/// Cargo adds `--bench` to what the user said.
fn options() -> Option<Options> {
    let mut options = Options {
        cases: Vec::new(),
        runs: RUNS,
        seed: None,
        feedback_gap: Duration::from_millis(25),
        trace: false,
    };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next()?.parse::<u64>().ok();
        match word.as_str() {
            "--bench" => {}
            "--runs" => options.runs = number()?.max(1),
            "--seed" => options.seed = Some(number()?),
            "--feedback" => options.feedback_gap = Duration::from_millis(number()?.max(1)),
            "--trace" => options.trace = true,
            name => {
                let exact = CASES.iter().filter(|case| case.name == name);
                let alike = CASES.iter().filter(|case| case.name.contains(name));
                let exact: Vec<_> = exact.collect();
                let found = if exact.is_empty() {
                    alike.collect()
                } else {
                    exact
                };
                if found.is_empty() {
                    return None;
                }
                options.cases.extend(found);
            }
        }
    }
    if options.cases.is_empty() {
        options.cases = CASES.iter().collect();
    }
    if options.trace {
        options.seed.get_or_insert(1);
    }
    Some(options)
}

/// Runs a case with each seed, on as many threads as there are cores.
fn all(case: &Case, seeds: std::ops::Range<u64>, options: &Options) -> Vec<Vec<Figure>> {
    let seeds: Vec<u64> = seeds.collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads.min(seeds.len()) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Relaxed)) {
                    let figures = (case.run)(Run {
                        seed: *seed,
                        feedback_gap: options.feedback_gap,
                        trace: options.trace,
                    });
                    done.lock().expect("no run panics").push((*seed, figures));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no run panics");
    done.sort_by_key(|(seed, _)| *seed);
    done.into_iter().map(|(_, figures)| figures).collect()
}
