//! What a process costs, as the kernel counts it.

use std::{fs, time::Duration};

/// What a process used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU time of all its threads, user and system.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) memory: u64,
}

/// Returns what a process used; none where there is no such process, or this is not Linux.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread may end between being named and being read.
        let spent = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let spent = spent
            .split_whitespace()
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        nanos += spent.unwrap_or_default();
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = (status.lines())
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .unwrap_or_default();
    Some(Usage {
        cpu: Duration::from_nanos(nanos),
        memory: kilobytes * 1024,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_runs_uses_something() {
        let usage = super::usage(std::process::id()).expect("we run");
        assert!(usage.memory > 1 << 20);
    }
}
