//! `nonstop devices`: what there is to choose from, for people and for programs.

use std::io::{self, Write};

use crate::call::DeviceLists;

/// Writes the devices: one line of JSON, or a list to read.
///
/// # Errors
/// Fails where nothing can be written to `out`.
pub fn write(devices: &DeviceLists, out: &mut impl Write, json: bool) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, devices)?;
        return writeln!(out);
    }
    for (title, names) in [
        ("Cameras", &devices.cameras),
        ("Microphones", &devices.microphones),
        ("Speakers", &devices.speakers),
    ] {
        writeln!(out, "{title}")?;
        for name in names {
            writeln!(out, "  {name}")?;
        }
        if names.is_empty() {
            writeln!(out, "  none")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_reads_well_and_parses_well() {
        let devices = DeviceLists {
            cameras: vec!["USB \"Camera\"".into()],
            ..DeviceLists::default()
        };
        let mut text = Vec::new();
        write(&devices, &mut text, false).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text,
            "Cameras\n  USB \"Camera\"\nMicrophones\n  none\nSpeakers\n  none\n"
        );
        let mut json = Vec::new();
        write(&devices, &mut json, true).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["cameras"][0], "USB \"Camera\"");
        assert_eq!(value["speakers"], serde_json::json!([]));
    }
}
