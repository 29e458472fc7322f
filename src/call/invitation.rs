//! What a pasted link says about the meeting it leads to, for the window to show before anybody joins.

use nonstop_wire::{LinkError, MeetingLink};

/// A meeting that a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The room's name.
    pub room: String,
    /// The server's name or address.
    pub host: String,
}

impl Invitation {
    /// Reads a link.
    ///
    /// # Errors
    /// Says, in words that a person can act on, why the text is not a whole meeting link.
    pub fn read(link: &str) -> Result<Self, LinkError> {
        let link: MeetingLink = link.parse()?;
        Ok(Self {
            room: link.room().to_string(),
            host: link.host().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_where_it_leads() {
        let read = Invitation::read("https://meet.example.org/standup#AAAAAAAAAAAAAAAAAAAAAA");
        let expected = Invitation {
            room: "standup".into(),
            host: "meet.example.org".into(),
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn a_link_without_its_secret_is_named_as_such() {
        let read = Invitation::read("https://meet.example.org/standup");
        assert_eq!(read, Err(LinkError::NoSecret));
    }
}
