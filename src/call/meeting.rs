//! New meetings: a room's name that people can say aloud, a secret, and a server to meet on.

use nonstop_wire::{LinkError, LinkSecret, MeetingLink, RoomName};

/// Why no new meeting link could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeetingError {
    /// The server's address is not one.
    #[error("{0} is not the address of a meeting server, such as https://meet.example.org")]
    Server(String),
    /// The server's address is public and not protected.
    #[error("{0} is not protected: http is accepted on your own network only")]
    NotProtected(String),
    /// The system has no random source, without which no secret can be made.
    #[error("this computer's source of randomness does not answer")]
    NoRandomness,
}

/// Makes the link of a new meeting on a server, which is named as a person would:
/// `https://meet.example.org`, or `meet.example.org`.
///
/// # Errors
/// Fails where the server's address cannot stand in a link.
pub fn new_meeting_link(server: &str) -> Result<MeetingLink, MeetingError> {
    let text = server.trim().trim_end_matches('/');
    let (protected, host) = match text.split_once("://") {
        Some(("https" | "nonstop", host)) => (true, host),
        Some(("http", host)) => (false, host),
        Some(_) => return Err(MeetingError::Server(server.to_owned())),
        None => (true, text),
    };
    if host.is_empty() || host.contains(['/', '#', '?', '@']) {
        return Err(MeetingError::Server(server.to_owned()));
    }
    meeting_link_on(host, protected)
}

/// Makes the link of a new meeting on the server of another one.
///
/// # Errors
/// Fails where this computer has no source of randomness.
pub fn meeting_beside(link: &MeetingLink) -> Result<MeetingLink, MeetingError> {
    meeting_link_on(link.host(), link.protected())
}

/// Makes the link of a new meeting on a host.
pub(super) fn meeting_link_on(host: &str, protected: bool) -> Result<MeetingLink, MeetingError> {
    let mut dice = [0; 4];
    getrandom::fill(&mut dice).map_err(|_| MeetingError::NoRandomness)?;
    let secret = LinkSecret::random().map_err(|_| MeetingError::NoRandomness)?;
    MeetingLink::new(host, protected, room_name(dice), secret).map_err(|error| match error {
        LinkError::NotProtected => MeetingError::NotProtected(host.to_owned()),
        _ => MeetingError::Server(host.to_owned()),
    })
}

/// Returns a readable name. It is no secret, and need not be unique: another meeting of the same
/// name has another secret, and the server keeps the two apart by refusing the second.
fn room_name(dice: [u8; 4]) -> RoomName {
    let adjective = ADJECTIVES[usize::from(dice[0]) % ADJECTIVES.len()];
    let noun = NOUNS[usize::from(dice[1]) % NOUNS.len()];
    let number = 10 + u16::from_be_bytes([dice[2], dice[3]]) % 990;
    format!("{adjective}-{noun}-{number}")
        .parse()
        .expect("two short words and a number are a room name")
}

const ADJECTIVES: [&str; 32] = [
    "amber", "bold", "brave", "bright", "calm", "clear", "cosy", "crisp", "early", "fair", "fresh",
    "gentle", "golden", "green", "happy", "keen", "kind", "light", "lively", "lucky", "mellow",
    "merry", "mild", "neat", "quick", "quiet", "silver", "sunny", "swift", "warm", "wide", "young",
];

const NOUNS: [&str; 32] = [
    "beach", "birch", "bridge", "brook", "cloud", "coast", "field", "forest", "garden", "grove",
    "harbour", "hill", "island", "lake", "lantern", "maple", "meadow", "moon", "morning", "oak",
    "orchard", "path", "pine", "pond", "river", "sail", "shore", "spring", "star", "stone",
    "summit", "valley",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_with_or_without_its_scheme() {
        for (server, begin) in [
            ("https://meet.example.org", "https://meet.example.org/"),
            (" meet.example.org/ ", "https://meet.example.org/"),
            ("http://127.0.0.1:4433", "http://127.0.0.1:4433/"),
        ] {
            let link = new_meeting_link(server).unwrap().reveal();
            assert!(link.starts_with(begin), "{link}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for server in [
            "",
            "https://",
            "ftp://meet.example.org",
            "meet.example.org/room",
        ] {
            let refused = new_meeting_link(server);
            assert!(matches!(refused, Err(MeetingError::Server(_))), "{server}");
        }
    }

    #[test]
    fn two_meetings_have_two_secrets() {
        let one = new_meeting_link("meet.example.org").unwrap();
        let two = new_meeting_link("meet.example.org").unwrap();
        assert_ne!(one.secret(), two.secret());
    }

    #[test]
    fn every_throw_of_the_dice_is_a_room() {
        for die in 0..=255 {
            let name = room_name([die, 255 - die, die, die]);
            assert_eq!(name.as_str().split('-').count(), 3);
        }
    }
}
