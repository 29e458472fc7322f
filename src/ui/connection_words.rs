//! What is said about a connection: plain words first, figures second.

use std::borrow::Cow;

use crate::call::{
    Cause, Obstacle, Participant, PauseReason, Protection, Quality, Side, Stage, Trying,
};

/// Returns somebody's name, or a word for it until they said it.
pub(super) fn name_of(participant: &Participant) -> &str {
    let name = participant.name.trim();
    if name.is_empty() { "Guest" } else { name }
}

/// Returns what a tile says while there is no connection yet, or none any more for long.
pub(super) fn attempt_words(participant: &Participant) -> Cow<'static, str> {
    let failed = participant.stage == Stage::Failed;
    let attempt = &participant.attempt;
    match (attempt.trying, attempt.obstacle) {
        (_, Some(obstacle)) if failed => obstacle_words(participant, obstacle).into(),
        _ if failed => "No connection. Still trying.".into(),
        (Some(Trying::Direct), _) => "Connecting directly…".into(),
        (Some(Trying::Relay), _) => "Trying a relay…".into(),
        (Some(Trying::RelayTls), _) => "Trying a relay over TLS…".into(),
        (None, _) => "Connecting…".into(),
    }
}

/// Says what is in the way, and by that what would help.
fn obstacle_words(participant: &Participant, obstacle: Obstacle) -> String {
    let why = match obstacle {
        Obstacle::NoRelay => "No direct way was found, and the meeting server offers no relay.",
        Obstacle::UdpBlockedNoRelay => {
            "This network blocks UDP, and the meeting server offers no relay."
        }
        Obstacle::OnlyTheWeb => {
            "This network lets nothing but the web through, and the meeting server offers no relay over TLS."
        }
        Obstacle::RelayNotReached => {
            "No direct way was found, and the meeting server's relay cannot be reached from here."
        }
    };
    format!("No way to {} yet. {why}", name_of(participant))
}

/// Returns how packets travel, in words.
pub(super) fn path_words(participant: &Participant) -> String {
    let name = name_of(participant);
    let way = match participant.path.as_str() {
        "" => format!("Connected to {name}"),
        "direct" => format!("Direct to {name}"),
        "turn-udp" => format!("To {name} through a relay over UDP"),
        "turn-tcp" => format!("To {name} through a relay over TCP"),
        "turn-tls" => format!("To {name} through a relay over TLS"),
        "relay" => format!("To {name} through the meeting server"),
        _ => format!("To {name} through a relay"),
    };
    match participant.round_trip {
        Some(time) => format!("{way}, {} ms", time.as_millis()),
        None => way,
    }
}

/// Returns from where to where what somebody sends is encrypted.
pub(super) fn protection_words(protection: Protection) -> &'static str {
    match protection {
        Protection::EndToEnd => {
            "Sound and pictures are encrypted from their computer to yours: nobody on the way can see or hear."
        }
        Protection::ToTheServer => {
            "Sound and pictures are encrypted on the way to the meeting server and from it, not from end to end: the server could see and hear."
        }
    }
}

/// Returns why packets do not travel a better way, where that is known.
pub(super) fn why_not_better(participant: &Participant) -> Option<String> {
    match participant.attempt.udp_blocked {
        Side::Unknown => None,
        Side::Ours => Some("This network blocks UDP.".into()),
        Side::Theirs => Some(format!("{}'s network blocks UDP.", name_of(participant))),
    }
}

/// Returns how good a connection is, in a word.
pub(super) fn quality_word(quality: Quality) -> &'static str {
    match quality {
        Quality::Unknown => "not known yet",
        Quality::Good => "good",
        Quality::Fair => "slow",
        Quality::Poor => "poor",
    }
}

/// Returns how a connection is and why, in a few words: "Weak: their connection is slow".
pub(super) fn verdict(participant: &Participant) -> String {
    let weak = match (participant.stage, participant.quality) {
        (Stage::Connecting | Stage::Failed, _) => return attempt_words(participant).into(),
        (Stage::Reconnecting { .. }, _) => return "Reconnecting…".into(),
        (Stage::Connected, Quality::Unknown) => return "Not known yet".into(),
        (Stage::Connected, Quality::Good) => return "Good".into(),
        (Stage::Connected, Quality::Fair) => "Weak",
        (Stage::Connected, Quality::Poor) => "Very weak",
    };
    let because = match (participant.side, participant.cause) {
        (_, Some(Cause::Stutter)) => "their picture stutters",
        (Side::Ours, _) => "your connection is slow",
        (Side::Theirs, _) => "their connection is slow",
        (Side::Unknown, Some(Cause::Paused)) => "too slow for pictures",
        (Side::Unknown, Some(Cause::Upload)) => "little gets through to them",
        (Side::Unknown, Some(Cause::Download)) => "little gets through from them",
        (Side::Unknown, Some(Cause::Loss)) => "parts get lost on the way",
        (Side::Unknown, Some(Cause::Queue)) => "something else fills the connection",
        (Side::Unknown, Some(Cause::Delay)) => "everything takes long",
        (Side::Unknown, None) => return weak.into(),
    };
    format!("{weak}: {because}")
}

/// Returns in one sentence how a connection is, and what it means where it is not good.
pub(super) fn reason(participant: &Participant) -> String {
    if participant.quality == Quality::Unknown {
        return "How well it works is not known yet.".into();
    }
    let Some(cause) = participant.cause else {
        return "The connection is good.".into();
    };
    let whose = match participant.side {
        Side::Unknown => "The connection".to_owned(),
        Side::Ours => "Your connection".into(),
        Side::Theirs => format!("{}'s connection", name_of(participant)),
    };
    match cause {
        Cause::Paused => format!("{whose} is too slow for pictures; sound goes on."),
        Cause::Upload => format!("{whose} is slow, so your picture is sent smaller."),
        Cause::Download => format!("{whose} is slow, so their picture is smaller."),
        Cause::Loss => {
            format!("{whose} loses parts of what is sent, so pictures and words may break up.")
        }
        Cause::Queue => {
            format!("{whose} is filled by something else, so everything comes late.")
        }
        Cause::Delay => {
            format!("{whose} takes long, so you may talk into each other's words.")
        }
        Cause::Stutter => {
            "Their picture stutters, though nothing is wrong on the way: their computer or camera is slow.".into()
        }
    }
}

/// Returns what a tile says while pictures are paused on purpose.
pub(super) fn paused_words(participant: &Participant) -> Option<&'static str> {
    let PauseReason::SlowConnection = participant.video_paused?;
    Some(match participant.side {
        Side::Unknown => "Picture paused: the connection is too slow",
        Side::Ours => "Picture paused: your connection is too slow",
        Side::Theirs => "Picture paused: their connection is too slow",
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::{Attempt, History};

    const CAUSES: [Cause; 7] = [
        Cause::Paused,
        Cause::Upload,
        Cause::Download,
        Cause::Loss,
        Cause::Queue,
        Cause::Delay,
        Cause::Stutter,
    ];

    fn ada() -> Participant {
        Participant {
            id: 1,
            name: "Ada".into(),
            picture: None,
            microphone: true,
            camera: true,
            level: 0.0,
            speaking: false,
            spoke_at: None,
            stage: Stage::Connected,
            attempt: Attempt::default(),
            path: "direct".into(),
            protection: Protection::EndToEnd,
            quality: Quality::Good,
            cause: None,
            side: Side::Unknown,
            video_paused: None,
            round_trip: Some(Duration::from_millis(18)),
            received: None,
            history: History::default(),
        }
    }

    #[test]
    fn the_path_is_said_in_words() {
        let mut participant = ada();
        assert_eq!(path_words(&participant), "Direct to Ada, 18 ms");
        participant.path = "turn-udp".into();
        assert_eq!(
            path_words(&participant),
            "To Ada through a relay over UDP, 18 ms"
        );
        participant.path = "turn-tcp".into();
        participant.name = "  ".into();
        participant.round_trip = None;
        assert_eq!(
            path_words(&participant),
            "To Guest through a relay over TCP"
        );
    }

    #[test]
    fn a_good_connection_needs_few_words() {
        assert_eq!(verdict(&ada()), "Good");
        assert_eq!(reason(&ada()), "The connection is good.");
        assert_eq!(paused_words(&ada()), None);
    }

    #[test]
    fn every_cause_is_one_sentence_that_says_whose_side_it_is() {
        for cause in CAUSES {
            for side in [Side::Unknown, Side::Ours, Side::Theirs] {
                let participant = Participant {
                    quality: Quality::Fair,
                    cause: Some(cause),
                    side,
                    ..ada()
                };
                let sentence = reason(&participant);
                assert_eq!(sentence.matches('.').count(), 1, "{sentence}");
                let named = sentence.contains("Ada's") == (side == Side::Theirs);
                assert!(named || cause == Cause::Stutter, "{sentence}");
                assert!(verdict(&participant).starts_with("Weak: "));
            }
        }
    }

    #[test]
    fn what_is_not_up_is_said_before_what_is_not_good() {
        let failed = Participant {
            stage: Stage::Failed,
            quality: Quality::Poor,
            cause: Some(Cause::Loss),
            ..ada()
        };
        assert_eq!(verdict(&failed), "No connection. Still trying.");
    }

    #[test]
    fn while_it_connects_it_says_what_is_tried_and_then_what_is_in_the_way() {
        let tried = |stage, trying, obstacle| {
            let participant = Participant {
                stage,
                attempt: Attempt {
                    trying,
                    obstacle,
                    udp_blocked: Side::Unknown,
                },
                ..ada()
            };
            attempt_words(&participant).into_owned()
        };
        let connecting = |trying| tried(Stage::Connecting, trying, Some(Obstacle::NoRelay));
        assert_eq!(connecting(None), "Connecting…");
        assert_eq!(connecting(Some(Trying::Direct)), "Connecting directly…");
        assert_eq!(connecting(Some(Trying::Relay)), "Trying a relay…");
        assert_eq!(
            connecting(Some(Trying::RelayTls)),
            "Trying a relay over TLS…"
        );
        let failed = |obstacle| tried(Stage::Failed, Some(Trying::Direct), obstacle);
        assert_eq!(failed(None), "No connection. Still trying.");
        assert_eq!(
            failed(Some(Obstacle::OnlyTheWeb)),
            "No way to Ada yet. This network lets nothing but the web through, and the meeting server offers no relay over TLS."
        );
        for obstacle in [
            Obstacle::NoRelay,
            Obstacle::UdpBlockedNoRelay,
            Obstacle::RelayNotReached,
        ] {
            let words = failed(Some(obstacle));
            assert!(words.starts_with("No way to Ada yet. "), "{words}");
            assert!(words.contains("relay"), "{words}");
        }
    }

    #[test]
    fn whose_network_blocks_udp_is_named_on_the_card() {
        let blocked = |side| {
            why_not_better(&Participant {
                path: "turn-tcp".into(),
                attempt: Attempt {
                    udp_blocked: side,
                    ..Attempt::default()
                },
                ..ada()
            })
        };
        assert_eq!(blocked(Side::Unknown), None);
        assert_eq!(
            blocked(Side::Ours).as_deref(),
            Some("This network blocks UDP.")
        );
        assert_eq!(
            blocked(Side::Theirs).as_deref(),
            Some("Ada's network blocks UDP.")
        );
    }

    #[test]
    fn a_pause_says_why_and_whose_side_it_is() {
        let paused = Participant {
            video_paused: Some(PauseReason::SlowConnection),
            side: Side::Theirs,
            ..ada()
        };
        assert_eq!(
            paused_words(&paused),
            Some("Picture paused: their connection is too slow")
        );
    }
}
