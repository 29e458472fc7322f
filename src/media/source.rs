//! What a person, or a command line, can choose as camera, microphone and speaker.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VideoSource {
    /// The system's first camera.
    #[default]
    Default,
    /// The camera with this name.
    Device(String),
    /// A y4m file that loops.
    File(PathBuf),
    /// A test card with a moving clock and a frame counter.
    TestCard,
    /// No pictures.
    None,
}

/// Where sound comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AudioSource {
    /// The system's default microphone.
    #[default]
    Default,
    /// The microphone with this name.
    Device(String),
    /// A wav file that loops.
    File(PathBuf),
    /// A tone.
    Tone,
    /// No sound.
    None,
}

/// Where sound goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AudioSink {
    /// The system's default speaker.
    #[default]
    Default,
    /// The speaker with this name.
    Device(String),
    /// Nowhere; everything else still runs in time.
    None,
}

/// What is wrong with a device, in terms that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceTrouble {
    /// There is none, or none with that name.
    #[error("not found")]
    Missing,
    /// Another application holds it.
    #[error("used by another application")]
    Busy,
    /// It was there and went away.
    #[error("unplugged")]
    Unplugged,
    /// It is there, but nothing comes from it.
    #[error("silent: nothing comes from it")]
    Silent,
    /// The system does not let this application use it.
    #[error("not permitted")]
    NotPermitted,
    /// A file that cannot be read or is not of the expected kind.
    #[error("file cannot be used: {0}")]
    BadFile(String),
    /// Anything else, in the system's words.
    #[error("{0}")]
    Other(String),
}

macro_rules! named {
    ($kind:ident { $($word:literal => $variant:ident),* } $(file $file:ident)?) => {
        impl FromStr for $kind {
            type Err = Infallible;

            fn from_str(text: &str) -> Result<Self, Infallible> {
                Ok(match text {
                    $($word => Self::$variant,)*
                    $(text if text.starts_with("file:") => {
                        Self::$file(PathBuf::from(&text["file:".len()..]))
                    })?
                    name => Self::Device(name.to_owned()),
                })
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($word),)*
                    $(Self::$file(path) => write!(f, "file:{}", path.display()),)?
                    Self::Device(name) => f.write_str(name),
                }
            }
        }
    };
}
named!(VideoSource { "default" => Default, "test-card" => TestCard, "none" => None } file File);
named!(AudioSource { "default" => Default, "tone" => Tone, "none" => None } file File);
named!(AudioSink { "default" => Default, "none" => None });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_command_line_come_back_as_they_were() {
        for word in ["default", "test-card", "none", "file:a b.y4m", "USB Camera"] {
            let source: VideoSource = word.parse().expect("cannot fail");
            assert_eq!(source.to_string(), word);
        }
        assert_eq!("tone".parse(), Ok(AudioSource::Tone));
        assert_eq!("tone".parse(), Ok(AudioSink::Device("tone".into())));
    }
}
