//! `nonstop check`: the connection test without a window, for people and for programs.

use std::io::{self, Write};

use nonstop_wire::MeetingLink;

use crate::{
    call::{Mark, Trial, TrialReport},
    config::ProxyChoice,
    mesh::{Trial as Running, TrialConfig, TrialNews},
};

/// Tests the way to the server of `link`, which leads to a room that nobody uses, and writes what
/// is found to `out`: a line for each thing as it comes in, or at the end one line of JSON. Must be
/// called within a tokio runtime.
///
/// # Errors
/// Fails where nothing can be written to `out`.
pub async fn check(
    link: MeetingLink,
    proxy: ProxyChoice,
    out: &mut impl Write,
    json: bool,
) -> io::Result<TrialReport> {
    let mut trial = Trial::new(link.host());
    let mut running = Running::start(TrialConfig { link, proxy });
    if !json {
        writeln!(out, "{}", trial.view().summary)?;
    }
    let mut written = Vec::new();
    while trial.running() {
        trial.handle(running.next().await.unwrap_or(TrialNews::Over));
        let steps = trial.view().steps;
        let settled = steps.into_iter().filter(|step| step.mark != Mark::Waiting);
        for step in settled.filter(|_| !json) {
            if !written.contains(&step.title) {
                writeln!(out, "  {}: {}", step.title, step.words)?;
                written.push(step.title);
            }
        }
    }
    let report = trial.report();
    if json {
        serde_json::to_writer(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", report.summary)?;
        if let Some(note) = trial.view().note {
            writeln!(out, "{note}")?;
        }
    }
    Ok(report)
}
