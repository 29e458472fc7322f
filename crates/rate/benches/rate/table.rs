//! The figures of many runs as a table and as rows of `target/bench/rate.json`.

use std::{
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
};

use crate::sim::{
    cases::Case,
    figures::{Better, Figure},
};

/// Cases of the simulation begin with this; the file also holds rows of others.
const PREFIX: &str = "sim: ";

/// One figure over all runs of a case.
pub(crate) struct Row {
    case: &'static str,
    figure: Figure,
    /// The worst tenth of the runs is this or worse.
    worst: Option<f64>,
    runs: usize,
}

/// Sums up runs of a case: each figure's median and worst decile.
pub(crate) fn rows(case: &'static str, runs: &[Vec<Figure>]) -> Vec<Row> {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    let sum_up = |(index, figure): (usize, &Figure)| {
        let never = match figure.better {
            Better::Lower => f64::INFINITY,
            Better::Higher => f64::NEG_INFINITY,
        };
        let mut values: Vec<f64> = (runs.iter())
            .map(|run| run[index].value.unwrap_or(never))
            .collect();
        values.sort_by(f64::total_cmp);
        if figure.better == Better::Higher {
            values.reverse();
        }
        let at = |share: f64| {
            let last = values.len() - 1;
            Some(values[(last as f64 * share).round() as usize]).filter(|value| value.is_finite())
        };
        Row {
            case,
            figure: Figure {
                value: at(0.5),
                ..figure.clone()
            },
            worst: at(0.9),
            runs: runs.len(),
        }
    };
    first.iter().enumerate().map(sum_up).collect()
}

/// Prints the rows of a case.
pub(crate) fn print(case: &Case, rows: &[Row]) {
    let runs = rows.first().map_or(0, |row| row.runs);
    println!("\n{} ({}), {runs} runs", case.what, case.name);
    for row in rows {
        let number =
            |value: Option<f64>| value.map_or("never".into(), |value| format!("{value:.3}"));
        let bound = match (row.figure.bound, row.figure.better) {
            (None, _) => String::new(),
            (Some(bound), Better::Lower) => format!("≤ {bound}"),
            (Some(bound), Better::Higher) => format!("≥ {bound}"),
        };
        let mark = |value| match row.reached(value) {
            None => ' ',
            Some(true) => '+',
            Some(false) => '-',
        };
        println!(
            "  {:<28} {:>9} {}  worst tenth {:>9} {}  {:<9} {}",
            row.figure.name,
            number(row.figure.value),
            mark(row.figure.value),
            number(row.worst),
            mark(row.worst),
            bound,
            row.figure.unit,
        );
    }
}

impl Row {
    fn reached(&self, value: Option<f64>) -> Option<bool> {
        let bound = self.figure.bound?;
        Some(value.is_some_and(|value| match self.figure.better {
            Better::Lower => value <= bound + 1e-9,
            Better::Higher => value >= bound - 1e-9,
        }))
    }

    fn json(&self) -> String {
        let number =
            |value: Option<f64>| value.map_or("null".into(), |value| format!("{value:.4}"));
        let why = match self.figure.value {
            None => ",\"why\":\"did not come about in the median run\"",
            Some(_) => "",
        };
        format!(
            "{{\"case\":{},\"figure\":{},\"value\":{},\"unit\":{},\"bound\":{},\"better\":\"{}\",\
             \"runs\":{},\"peer\":null,\"worst_decile\":{}{why}}}",
            quoted(&format!("{PREFIX}{}", self.case)),
            quoted(self.figure.name),
            number(self.figure.value),
            quoted(self.figure.unit),
            number(self.figure.bound),
            match self.figure.better {
                Better::Lower => "lower",
                Better::Higher => "higher",
            },
            self.runs,
            number(self.worst),
        )
    }
}

/// Writes the rows to `target/bench/rate.json`, in place of older ones of the same cases; rows of
/// others stay.
pub(crate) fn write(rows: &[Row]) {
    let file = folder().join("rate.json");
    let written = match fs::read_to_string(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        old => update(&old.unwrap_or_default(), rows)
            .ok_or(io::Error::from(ErrorKind::InvalidData))
            .and_then(|text| {
                fs::create_dir_all(folder())?;
                fs::write(&file, text)
            }),
    };
    if let Err(error) = written {
        eprintln!("target/bench/rate.json was not written: {error}");
    }
}

/// The workspace's folder, where the other suites write too.
fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench"))
}

/// Returns the new text, or nothing where the old one is no array of objects.
fn update(old: &str, rows: &[Row]) -> Option<String> {
    let new: Vec<String> = rows.iter().map(Row::json).collect();
    let case = |row: &Row| format!("\"case\":{}", quoted(&format!("{PREFIX}{}", row.case)));
    let replaced: Vec<String> = rows.iter().map(case).collect();
    let mut kept: Vec<String> = (objects(old)?.into_iter())
        .filter(|object| {
            let packed = object.replacen("\"case\": ", "\"case\":", 1);
            !replaced.iter().any(|case| packed.contains(case.as_str()))
        })
        .collect();
    kept.extend(new);
    Some(format!("[\n{}\n]\n", kept.join(",\n")))
}

/// Cuts an array into its objects, which hold no other objects; no text is no array.
fn objects(text: &str) -> Option<Vec<String>> {
    let inner = match text.trim() {
        "" => return Some(Vec::new()),
        text => text.strip_prefix('[')?.strip_suffix(']')?,
    };
    let (mut found, mut current) = (Vec::new(), None::<String>);
    let (mut quoted, mut escaped) = (false, false);
    for letter in inner.chars() {
        if let Some(current) = &mut current {
            current.push(letter);
        }
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            '{' if !quoted => current = Some(letter.to_string()),
            '}' if !quoted => found.push(current.take()?),
            _ => {}
        }
    }
    (current.is_none() && !quoted).then_some(found)
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
