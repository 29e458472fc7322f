//! The icons in use, by meaning: code points of `assets/fonts/lucide.ttf`.

/// An icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Icon {
    Microphone,
    MicrophoneOff,
    Camera,
    CameraOff,
    Speaker,
    Link,
    Check,
    Settings,
    Leave,
    Down,
    Right,
    Lock,
    FullScreen,
    SmallScreen,
    Close,
    Information,
    Warning,
    Error,
    Recent,
    Unreachable,
    Direct,
    Relay,
    Plus,
    Person,
}

impl Icon {
    /// Returns the character that shows the icon.
    pub(super) const fn glyph(self) -> char {
        match self {
            Self::Microphone => '\u{e118}',
            Self::MicrophoneOff => '\u{e119}',
            Self::Camera => '\u{e1a5}',
            Self::CameraOff => '\u{e1a6}',
            Self::Speaker => '\u{e1ab}',
            Self::Link => '\u{e102}',
            Self::Check => '\u{e06c}',
            Self::Settings => '\u{e154}',
            Self::Leave => '\u{e138}',
            Self::Down => '\u{e06d}',
            Self::Right => '\u{e06f}',
            Self::Lock => '\u{e10b}',
            Self::FullScreen => '\u{e112}',
            Self::SmallScreen => '\u{e11a}',
            Self::Close => '\u{e1b2}',
            Self::Information => '\u{e0f9}',
            Self::Warning => '\u{e193}',
            Self::Error => '\u{e077}',
            Self::Recent => '\u{e087}',
            Self::Unreachable => '\u{e1af}',
            Self::Direct => '\u{e04d}',
            Self::Relay => '\u{e546}',
            Self::Person => '\u{e19f}',
            Self::Plus => '\u{e13d}',
        }
    }
}
