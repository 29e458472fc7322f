//! The figures as a table and as rows of `target/bench/relay.json`.

use std::{
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
};

/// One figure of a case: the median of the runs.
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) bound: f64,
    pub(crate) higher: bool,
    pub(crate) runs: usize,
}

pub(crate) fn print(rows: &[Row]) {
    let mut case = "";
    for row in rows {
        if row.case != case {
            case = row.case;
            println!("\n{case}, {} runs", row.runs);
        }
        let sign = if row.higher { "≥" } else { "≤" };
        println!(
            "  {:<32} {:>12.1} {}  {sign} {:<9} {}",
            row.figure,
            row.value,
            if row.reached() { '+' } else { '-' },
            row.bound,
            row.unit,
        );
    }
}

/// Writes the rows in place of older ones of the same cases; rows of others stay.
pub(crate) fn write(rows: &[Row]) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench"));
    let file = folder.join("relay.json");
    let written = match fs::read_to_string(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        old => update(&old.unwrap_or_default(), rows)
            .ok_or(io::Error::from(ErrorKind::InvalidData))
            .and_then(|text| {
                fs::create_dir_all(&folder)?;
                fs::write(&file, text)
            }),
    };
    if let Err(error) = written {
        eprintln!("target/bench/relay.json was not written: {error}");
    }
}

impl Row {
    fn reached(&self) -> bool {
        match self.higher {
            true => self.value >= self.bound,
            false => self.value <= self.bound,
        }
    }

    fn json(&self) -> String {
        format!(
            "{{\"case\":\"{}\",\"figure\":\"{}\",\"value\":{:.4},\"unit\":\"{}\",\"bound\":{:.4},\
             \"better\":\"{}\",\"runs\":{},\"peer\":null}}",
            self.case,
            self.figure,
            self.value,
            self.unit,
            self.bound,
            if self.higher { "higher" } else { "lower" },
            self.runs,
        )
    }
}

/// Returns the new text, or nothing where the old one is no array of objects.
fn update(old: &str, rows: &[Row]) -> Option<String> {
    let mut kept: Vec<String> = objects(old)?;
    kept.retain(|object| {
        let packed = object.replacen("\"case\": ", "\"case\":", 1);
        let same = |row: &Row| packed.contains(&format!("\"case\":\"{}\"", row.case));
        !rows.iter().any(same)
    });
    kept.extend(rows.iter().map(Row::json));
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
