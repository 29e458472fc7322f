//! The command language: `DIR key=value ...` lines, and schedules of them.

use std::fs;

use crate::model::{Cfg, Dir, apply};

/// The two directions of a link: `up` is from A to B.
pub(crate) type Link = [Dir; 2];

/// One entry of a schedule: `time_s,dir,key=value key=value...`
#[derive(Debug)]
pub(crate) struct Step {
    /// Nanoseconds since the schedule began.
    pub(crate) at: u64,
    pub(crate) line: String,
}

/// Reads a schedule; lines that are empty or begin with `#` or `time` are skipped.
pub(crate) fn load_schedule(path: &str) -> Result<Vec<Step>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    parse_schedule(&text).map_err(|error| format!("{path}:{error}"))
}

fn parse_schedule(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("time") {
            continue;
        }
        let mut fields = line.splitn(3, ',');
        let at = fields
            .next()
            .and_then(|time| time.trim().parse::<f64>().ok())
            .filter(|at| *at >= 0.0);
        let (Some(at), Some(dir), Some(settings)) = (at, fields.next(), fields.next()) else {
            return Err(format!("{}: expected time_s,dir,key=value ...", number + 1));
        };
        let line = format!("{} {}", dir.trim(), settings.trim());
        command(&mut scratch(), &line, 0).map_err(|error| format!("{}: {error}", number + 1))?;
        steps.push(Step {
            at: (at * 1e9) as u64,
            line,
        });
    }
    steps.sort_by_key(|step| step.at);
    Ok(steps)
}

/// A link that nothing runs over, to try a command on.
fn scratch() -> Link {
    [Dir::new(Cfg::default(), 1), Dir::new(Cfg::default(), 1)]
}

/// Applies `DIR key=value ...` to the directions that it names.
pub(crate) fn command(link: &mut Link, line: &str, now: u64) -> Result<(), String> {
    let (dir, settings) = line
        .trim()
        .split_once(' ')
        .ok_or("expected DIR key=value ...")?;
    let named: &[usize] = match dir {
        "up" | "ab" => &[0],
        "down" | "ba" => &[1],
        "both" => &[0, 1],
        _ => return Err(format!("unknown direction {dir:?}")),
    };
    for &index in named {
        let mut settled = link[index].cfg.clone();
        let cut = apply(&mut settled, settings)?;
        link[index].reconfigure(settled, now);
        if let Some(length) = cut {
            link[index].cut(now + length);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_sorted_and_its_comments_are_skipped() {
        let text = "# a link\ntime_s,dir,settings\n2,both,cut=1s\n0.5,up,rate=1mbit queue=300ms\n";
        let steps = parse_schedule(text).expect("it is well formed");
        let times: Vec<_> = steps.iter().map(|step| step.at).collect();
        assert_eq!(times, [500_000_000, 2_000_000_000]);
        assert_eq!(steps[0].line, "up rate=1mbit queue=300ms");
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        for (text, error) in [
            ("0,up,rate=1mbit\n1,up", "2: expected"),
            ("-1,up,rate=1mbit", "1: expected"),
            ("0,left,rate=1mbit", "1: unknown direction"),
            ("0,up,speed=1", "1: unknown or malformed key"),
            ("0,up,loss=101%", "1: share over 100%"),
        ] {
            let said = parse_schedule(text).expect_err(text);
            assert!(said.starts_with(error), "{said}");
        }
    }
}
