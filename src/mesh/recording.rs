//! The names of recordings: `DIR/NAME-ID.y4m` for pictures and `DIR/NAME-ID.wav` for sound.
//!
//! NAME is what the participant called themselves when their link was first set up, reduced to
//! letters, digits and single hyphens; without a name it is `ID` alone. Whichever way pictures and
//! sound come, and however many links there are, they go on in the same two files.

use std::path::{Path, PathBuf};

use nonstop_wire::ParticipantId;

/// Longest NAME, in characters.
const LONGEST_NAME: usize = 40;

/// Where one participant is recorded.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    directory: PathBuf,
    stem: String,
}

impl Recording {
    /// Names the recording of somebody.
    pub(super) fn new(directory: &Path, name: Option<&str>, id: ParticipantId) -> Self {
        let name = plain(name.unwrap_or_default());
        let stem = if name.is_empty() {
            id.to_string()
        } else {
            format!("{name}-{id}")
        };
        Self {
            directory: directory.to_owned(),
            stem,
        }
    }

    /// Returns the file for their sound.
    pub(super) fn sound(&self) -> PathBuf {
        self.directory.join(format!("{}.wav", self.stem))
    }

    /// Returns the file for their pictures.
    pub(super) fn pictures(&self) -> PathBuf {
        self.directory.join(format!("{}.y4m", self.stem))
    }
}

/// Reduces a name to what any file system takes, and no shell or person trips over.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for c in name.chars() {
        if plain.chars().count() == LONGEST_NAME {
            break;
        }
        if c.is_alphanumeric() {
            plain.push(c);
        } else if !plain.is_empty() && !plain.ends_with('-') {
            plain.push('-');
        }
    }
    plain.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ParticipantId = ParticipantId::from_bits(0xab);

    #[test]
    fn names_become_plain_and_stay_apart() {
        for (name, stem) in [
            ("Ann", "Ann-00000000000000ab"),
            ("../../etc/passwd", "etc-passwd-00000000000000ab"),
            ("Zoë  (work) ", "Zoë-work-00000000000000ab"),
            ("\u{202e}//", "00000000000000ab"),
            ("", "00000000000000ab"),
        ] {
            let recording = Recording::new(Path::new("d"), Some(name), ID);
            let expected = Path::new("d").join(format!("{stem}.wav"));
            assert_eq!(recording.sound(), expected, "{name}");
            assert_eq!(recording.pictures(), expected.with_extension("y4m"));
        }
    }
}
