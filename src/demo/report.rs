//! What a demo prints: for people, or as JSON lines for programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use super::{children::name, follow::LinkFigures, verdict::Direction};

/// Prints as it goes.
#[derive(Debug)]
pub(super) struct Report {
    json: bool,
}

#[derive(Debug, Serialize)]
struct LinkLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    at: String,
    with: String,
    #[serde(flatten)]
    figures: &'a LinkFigures,
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    measured_ms: u128,
    directions: &'a [Direction],
    passed: bool,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints the last second of the link that `at` has with `with`.
    pub(super) fn link(&mut self, at: usize, with: usize, figures: &LinkFigures) {
        if self.json {
            self.json(&LinkLine {
                kind: "link",
                at: name(at),
                with: name(with),
                figures,
            });
            return;
        }
        let figure = |value: Option<f64>, unit: &str| match value {
            Some(value) => format!("{value:.1}{unit}"),
            None => "?".to_owned(),
        };
        let kbps = |bps: Option<u64>| figure(bps.map(|bps| bps as f64 / 1e3), " kb/s");
        let size = match (figures.received_width, figures.received_height) {
            (Some(width), Some(height)) => format!("{width}x{height}"),
            _ => "no picture".to_owned(),
        };
        print(&format!(
            "{} from {}: {size} at {} fps, {}; sends {} fps, {}; path {}, round trip {}, loss {}",
            name(at),
            name(with),
            figure(figures.decoded_fps, ""),
            kbps(figures.video_received_bps),
            figure(figures.sent_fps, ""),
            kbps(figures.video_sent_bps),
            figures.path.as_deref().unwrap_or("?"),
            figure(figures.rtt_ms, " ms"),
            figure(figures.loss_received.map(|loss| loss * 100.0), " %"),
        ));
    }

    /// Prints what each direction was like.
    pub(super) fn summary(&mut self, directions: &[Direction], measured: Duration) {
        let passed = directions.iter().all(Direction::passed);
        if self.json {
            self.json(&Summary {
                kind: "summary",
                measured_ms: measured.as_millis(),
                directions,
                passed,
            });
            return;
        }
        print(&format!("\nOver {:.0} seconds:", measured.as_secs_f64()));
        for direction in directions {
            print(&direction.to_string());
        }
    }

    fn json(&self, line: &impl Serialize) {
        print(&serde_json::to_string(line).expect("numbers and texts can be written as JSON"));
    }
}

/// Whoever closed our output does not want to read it: the call goes on.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
