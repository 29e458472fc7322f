//! The file where settings are remembered.
//!
//! It holds meeting links, and so their secrets: only its owner may read it. It is replaced as
//! a whole, so that a crash leaves the old or the new one, never half of one; a file that cannot
//! be understood is kept aside under another name, so that nothing a person wrote is lost.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use directories::ProjectDirs;

use super::Settings;

/// The environment variable that names another folder for the settings (for tests).
const FOLDER_VARIABLE: &str = "NONSTOP_CONFIG_DIR";

/// The file where settings are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsFile(PathBuf);

/// What came of reading the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The settings: those of the file, or the defaults.
    pub settings: Settings,
    /// Why the file's settings are not in force, if there is a file and they are not.
    pub trouble: Option<SettingsError>,
}

/// Why settings could not be read or saved, said so that a person can act on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file is there but the system does not let us read it.
    #[error(
        "Your settings could not be read ({0}). The usual ones are in force, and changes are not saved."
    )]
    Unreadable(String),
    /// The file is not settings; it was moved aside.
    #[error("Your settings could not be understood. The usual ones are in force; the old file is kept as {}.", .0.display())]
    Broken(PathBuf),
    /// The system does not let us write the file.
    #[error("Your settings could not be saved ({0}). They stay in force until you close Nonstop.")]
    Unsaved(String),
}

impl SettingsFile {
    /// Names the file.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Names the usual file of this person on this system; none where the system has no place
    /// for settings.
    pub fn usual() -> Option<Self> {
        let folder = match std::env::var_os(FOLDER_VARIABLE) {
            Some(folder) if !folder.is_empty() => PathBuf::from(folder),
            _ => ProjectDirs::from("", "", "nonstop")?
                .config_dir()
                .to_owned(),
        };
        Some(Self(folder.join("settings.toml")))
    }

    /// Returns where the file is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the settings. A missing file means the defaults; a broken one is moved aside.
    pub fn load(&self) -> Loaded {
        let defaults = |trouble| Loaded {
            settings: Settings::default(),
            trouble,
        };
        let bytes = match fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return defaults(None),
            Err(error) => return defaults(Some(SettingsError::Unreadable(error.to_string()))),
        };
        let parsed = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| toml::from_str(text).ok());
        match parsed {
            Some(settings) => Loaded {
                settings,
                trouble: None,
            },
            None => defaults(Some(self.put_aside())),
        }
    }

    /// Saves the settings in place of what the file held.
    ///
    /// # Errors
    /// Fails where the folder or the file cannot be written.
    pub fn save(&self, settings: &Settings) -> Result<(), SettingsError> {
        let unsaved = |error: &dyn std::fmt::Display| SettingsError::Unsaved(error.to_string());
        let text = toml::to_string_pretty(settings).map_err(|error| unsaved(&error))?;
        self.replace(text.as_bytes())
            .map_err(|error| unsaved(&error))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = self.beside(".new");
        let _ = fs::remove_file(&fresh);
        let written = write_private(&fresh, bytes).and_then(|()| fs::rename(&fresh, &self.0));
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    fn put_aside(&self) -> SettingsError {
        let mut aside = self.beside(".broken");
        for number in 2.. {
            if !aside.exists() {
                break;
            }
            aside = self.beside(&format!(".broken-{number}"));
        }
        match fs::rename(&self.0, &aside) {
            Ok(()) => SettingsError::Broken(aside),
            Err(error) => SettingsError::Unreadable(error.to_string()),
        }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.0.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RecentMeeting;

    fn file(folder: &tempfile::TempDir) -> SettingsFile {
        SettingsFile::at(folder.path().join("deep").join("settings.toml"))
    }

    fn settings() -> Settings {
        let mut settings = Settings {
            name: "Zoë \"Z\" O'Neil\n".into(),
            server: Some("https://meet.example.org".into()),
            hide_address: true,
            proxy: "http://ann:pass@proxy.example:3128".parse().unwrap(),
            camera_on: false,
            ..Settings::default()
        };
        settings.remember(RecentMeeting {
            room: "standup".into(),
            link: "https://meet.example.org/standup#AAAAAAAAAAAAAAAAAAAAAA".into(),
        });
        settings
    }

    #[test]
    fn settings_come_back_as_they_were_saved() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        file.save(&settings()).unwrap();
        file.save(&settings()).unwrap();
        let loaded = file.load();
        assert_eq!(loaded.settings, settings());
        assert_eq!(loaded.trouble, None);
        let left = fs::read_dir(file.path().parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing but the file itself stays behind");
    }

    #[test]
    fn without_a_file_the_usual_settings_are_in_force_and_nothing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let loaded = file(&folder).load();
        assert_eq!(loaded.settings, Settings::default());
        assert_eq!(loaded.trouble, None);
    }

    #[test]
    fn a_broken_file_is_kept_aside_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        for broken in ["name = 7", "not settings at all"] {
            fs::create_dir_all(file.path().parent().unwrap()).unwrap();
            fs::write(file.path(), broken).unwrap();
            let loaded = file.load();
            assert_eq!(loaded.settings, Settings::default());
            let Some(SettingsError::Broken(aside)) = loaded.trouble else {
                panic!("{:?}", loaded.trouble);
            };
            assert_eq!(fs::read_to_string(aside).unwrap(), broken);
            assert!(!file.path().exists());
        }
        file.save(&settings()).unwrap();
        assert_eq!(file.load().settings, settings());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_file_since_it_holds_secrets() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        fs::create_dir_all(file.path().parent().unwrap()).unwrap();
        fs::write(file.path(), "").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        file.save(&settings()).unwrap();
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let wall = folder.path().join("wall");
        fs::write(&wall, "").unwrap();
        let file = SettingsFile::at(wall.join("settings.toml"));
        assert!(matches!(
            file.save(&settings()),
            Err(SettingsError::Unsaved(_))
        ));
    }
}
