//! What each key combination does. Every control's tooltip shows its own.

use egui::{Context, Key, KeyboardShortcut, Modifiers};

/// Something that a key combination does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortcut {
    /// Turns the microphone on or off.
    Microphone,
    /// Turns the camera on or off.
    Camera,
    /// In a call copies the link, in the lobby goes to the link's field.
    Link,
    /// Opens a new meeting.
    NewMeeting,
    /// Joins the meeting of the link in the field.
    Join,
    /// Leaves the call.
    Leave,
    /// Closes the window.
    Quit,
    /// Fills the screen, or stops doing so.
    FullScreen,
    /// Opens or closes the settings.
    Settings,
    /// Opens or closes the figures of all connections.
    Connections,
    /// Shows everybody alike, or whoever speaks large.
    Layout,
    /// Opens or closes the list of people.
    People,
    /// Shows the next page of people.
    NextPage,
    /// Shows the page before.
    PreviousPage,
    /// Closes what is open on top; stops joining; takes a pin off.
    Escape,
}

impl Shortcut {
    /// Returns the keys.
    pub(super) const fn keys(self) -> KeyboardShortcut {
        const fn command(key: Key) -> KeyboardShortcut {
            KeyboardShortcut::new(Modifiers::COMMAND, key)
        }
        match self {
            Self::Microphone => command(Key::D),
            Self::Camera => command(Key::E),
            Self::Link => command(Key::L),
            Self::NewMeeting => command(Key::N),
            Self::Join => command(Key::Enter),
            Self::Leave => command(Key::W),
            Self::Quit => command(Key::Q),
            Self::FullScreen => KeyboardShortcut::new(Modifiers::NONE, Key::F11),
            Self::Settings => command(Key::Comma),
            Self::Connections => {
                KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::D)
            }
            Self::Layout => command(Key::G),
            Self::People => command(Key::P),
            Self::NextPage => KeyboardShortcut::new(Modifiers::NONE, Key::PageDown),
            Self::PreviousPage => KeyboardShortcut::new(Modifiers::NONE, Key::PageUp),
            Self::Escape => KeyboardShortcut::new(Modifiers::NONE, Key::Escape),
        }
    }

    /// Tells whether it was pressed, and takes the key press away from everybody else.
    pub(super) fn pressed(self, context: &Context) -> bool {
        context.input_mut(|input| input.consume_shortcut(&self.keys()))
    }

    /// Returns the keys as this system writes them.
    pub(super) fn text(self, context: &Context) -> String {
        context.format_shortcut(&self.keys())
    }
}
