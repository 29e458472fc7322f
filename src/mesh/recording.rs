//! The names of recordings: `DIR/NAME-ID.y4m` for pictures and `DIR/NAME-ID.wav` for sound.
//!
//! NAME is what the participant called themselves when their link was first set up, reduced to
//! letters, digits and single hyphens; without a name it is `ID` alone. A later link to the same
//! participant gets its own file of pictures, `NAME-ID-2.y4m` and so on; their sound goes on in
//! one file.

use std::path::{Path, PathBuf};

use nonstop_wire::ParticipantId;

/// Longest NAME, in characters.
const LONGEST_NAME: usize = 40;

/// Where one participant is recorded.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    directory: PathBuf,
    stem: String,
    links: u32,
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
            links: 0,
        }
    }

    /// Returns the file for their sound.
    pub(super) fn sound(&self) -> PathBuf {
        self.directory.join(format!("{}.wav", self.stem))
    }

    /// Returns the file for the pictures of their next link.
    pub(super) fn next_pictures(&mut self) -> PathBuf {
        self.links += 1;
        let file = match self.links {
            1 => format!("{}.y4m", self.stem),
            later => format!("{}-{later}.y4m", self.stem),
        };
        self.directory.join(file)
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
        }
    }

    #[test]
    fn every_link_has_its_own_file_of_pictures() {
        let mut recording = Recording::new(Path::new("d"), None, ID);
        assert!(recording.next_pictures().ends_with("00000000000000ab.y4m"));
        assert!(
            recording
                .next_pictures()
                .ends_with("00000000000000ab-2.y4m")
        );
    }
}
