//! What a person is told: what happened, what it means, what to do. Plain and short, no codes.

use nonstop_wire::{ErrorCode, LinkError, ParticipantId};

use super::{
    NoticeAction, NoticeKind, NoticeLevel, notices::Words, quality::Suffering, slowness::Slow,
};
use crate::{
    config::SettingsError,
    media::DeviceTrouble,
    mesh::{Path, Suspicion},
};

use NoticeAction::{GoOn, OpenSettings, TryAgain};

fn words(
    level: NoticeLevel,
    kind: NoticeKind,
    text: impl Into<String>,
    actions: &[NoticeAction],
) -> Words {
    Words {
        level,
        kind,
        text: text.into(),
        actions: actions.to_vec(),
    }
}

/// Says what is wrong with the camera.
pub(super) fn camera(trouble: &DeviceTrouble) -> Words {
    let (text, actions) = match trouble {
        DeviceTrouble::Missing => (
            "No camera was found. Plug one in, choose another, or go on without video.".into(),
            [TryAgain, OpenSettings, GoOn].as_slice(),
        ),
        DeviceTrouble::Busy => (
            "Your camera is used by another application. Close it there, or go on without video."
                .into(),
            [TryAgain, GoOn].as_slice(),
        ),
        DeviceTrouble::Unplugged => (
            "Your camera was unplugged. Plug it in again, or go on without video.".into(),
            [TryAgain, OpenSettings, GoOn].as_slice(),
        ),
        DeviceTrouble::Silent => (
            "Your camera is on, but no picture comes from it. Unplug it and plug it in again, or go on without video."
                .into(),
            [TryAgain, GoOn].as_slice(),
        ),
        DeviceTrouble::NotPermitted => (
            "Nonstop is not allowed to use your camera. Allow it in your system's settings, or go on without video."
                .into(),
            [TryAgain, GoOn].as_slice(),
        ),
        DeviceTrouble::BadFile(why) => (
            format!("The file chosen as camera cannot be used: {why}. Choose another."),
            [OpenSettings, GoOn].as_slice(),
        ),
        DeviceTrouble::Other(why) => (
            format!("Your camera could not be opened ({why}). Try again, or go on without video."),
            [TryAgain, OpenSettings, GoOn].as_slice(),
        ),
    };
    words(NoticeLevel::Warning, NoticeKind::Camera, text, actions)
}

/// Says what is wrong with the microphone.
pub(super) fn microphone(trouble: &DeviceTrouble) -> Words {
    let text = match trouble {
        DeviceTrouble::Missing => {
            "No microphone was found, so the others cannot hear you. Plug one in, or choose another."
                .into()
        }
        DeviceTrouble::Busy => {
            "Your microphone is used by another application. Close it there, and try again.".into()
        }
        DeviceTrouble::Unplugged => {
            "Your microphone was unplugged, so the others cannot hear you. Plug it in again, or choose another."
                .into()
        }
        DeviceTrouble::Silent => {
            "Nothing comes from your microphone. It may be switched off, or another one may be the right one."
                .into()
        }
        DeviceTrouble::NotPermitted => {
            "Nonstop is not allowed to use your microphone. Allow it in your system's settings, and try again."
                .into()
        }
        DeviceTrouble::BadFile(why) => {
            format!("The file chosen as microphone cannot be used: {why}. Choose another.")
        }
        DeviceTrouble::Other(why) => {
            format!("Your microphone could not be opened ({why}), so the others cannot hear you.")
        }
    };
    words(
        NoticeLevel::Warning,
        NoticeKind::Microphone,
        text,
        &[TryAgain, OpenSettings],
    )
}

/// Says what is wrong with the speaker.
pub(super) fn speaker(trouble: &DeviceTrouble) -> Words {
    let text = match trouble {
        DeviceTrouble::Missing => {
            "No speaker was found, so you cannot hear the others. Plug one in, or choose another.".into()
        }
        DeviceTrouble::Busy => {
            "Your speaker is used by another application. Close it there, and try again.".into()
        }
        DeviceTrouble::Unplugged => {
            "Your speaker was unplugged, so you cannot hear the others. Plug it in again, or choose another."
                .into()
        }
        DeviceTrouble::Silent => {
            "Your speaker does not play. Unplug it and plug it in again, or choose another.".into()
        }
        DeviceTrouble::NotPermitted => {
            "Nonstop is not allowed to use your speaker. Allow it in your system's settings, and try again."
                .into()
        }
        DeviceTrouble::BadFile(why) | DeviceTrouble::Other(why) => {
            format!("Your speaker could not be opened ({why}), so you cannot hear the others.")
        }
    };
    words(
        NoticeLevel::Warning,
        NoticeKind::Speaker,
        text,
        &[TryAgain, OpenSettings],
    )
}

/// Says what is wrong with a link.
pub(super) fn link(error: &LinkError) -> Words {
    words(NoticeLevel::Error, NoticeKind::Link, error.to_string(), &[])
}

/// Says why the server refused.
pub(super) fn refused(code: ErrorCode) -> Words {
    let (text, actions): (_, &[_]) = match code {
        ErrorCode::NotAdmitted => (
            "This link does not open the meeting: a meeting of the same name is already going on with another link. Ask for the link again.",
            &[],
        ),
        ErrorCode::RoomFull => (
            "The meeting is full. Try again when somebody has left.",
            &[TryAgain],
        ),
        ErrorCode::ServerFull => (
            "The meeting server is full. Try again later, or use another server.",
            &[TryAgain],
        ),
        ErrorCode::Version => (
            "The meeting server speaks another version of Nonstop. Update Nonstop, or ask who runs the server to update it.",
            &[],
        ),
        ErrorCode::TooFast => (
            "The meeting server asked us to slow down. Wait a moment, and try again.",
            &[TryAgain],
        ),
        ErrorCode::Replaced => (
            "Another connection of yours took your place in this meeting. Join again to come back.",
            &[TryAgain],
        ),
        ErrorCode::IdTaken => (
            "The meeting server still holds your old seat. Try again.",
            &[TryAgain],
        ),
        ErrorCode::Malformed
        | ErrorCode::TooLong
        | ErrorCode::NotJoined
        | ErrorCode::NoSuchParticipant
        | ErrorCode::Unknown => (
            "The meeting server did not let you in, and the reason is not one this version of Nonstop knows. Try again, or update Nonstop.",
            &[TryAgain],
        ),
    };
    words(NoticeLevel::Error, NoticeKind::Meeting, text, actions)
}

/// Says that the server does not take us back into a call that goes on.
pub(super) fn refused_again(code: ErrorCode) -> Words {
    let why = match code {
        ErrorCode::NotAdmitted => "a meeting of the same name is going on there with another link",
        ErrorCode::RoomFull => "it says that the meeting is full",
        ErrorCode::ServerFull => "it says that it is full",
        ErrorCode::Version => "it speaks another version of Nonstop now",
        ErrorCode::TooFast => "it asks us to slow down",
        ErrorCode::Replaced | ErrorCode::IdTaken => "it still holds our old seat",
        ErrorCode::Malformed
        | ErrorCode::TooLong
        | ErrorCode::NotJoined
        | ErrorCode::NoSuchParticipant
        | ErrorCode::Unknown => "it does not say why",
    };
    let text = format!(
        "The meeting server does not take you back: {why}. Your call goes on; nobody can join you until it does. Nonstop keeps trying."
    );
    words(NoticeLevel::Warning, NoticeKind::Meeting, text, &[])
}

/// Says that the server of a meeting could not be reached.
pub(super) fn unreachable(host: &str) -> Words {
    let text = format!(
        "The meeting server {host} cannot be reached. Check your connection, or ask whether the meeting is still on."
    );
    words(NoticeLevel::Error, NoticeKind::Meeting, text, &[TryAgain])
}

/// Says why a new meeting could not be opened.
pub(super) fn not_opened(why: &str) -> Words {
    words(
        NoticeLevel::Error,
        NoticeKind::Meeting,
        format!("A new meeting could not be opened: {why}."),
        &[TryAgain, OpenSettings],
    )
}

/// Says why the connection could not be tested.
pub(super) fn not_tested(why: &str) -> Words {
    words(
        NoticeLevel::Error,
        NoticeKind::Meeting,
        format!("The connection could not be tested: {why}."),
        &[OpenSettings],
    )
}

/// Says that a meeting hosted on this computer can be joined from this computer only.
pub(super) fn nobody_else_can_reach() -> Words {
    words(
        NoticeLevel::Warning,
        NoticeKind::Meeting,
        "This computer is on no network, so only people at this computer can join. Connect to a network, or choose a meeting server in the settings.",
        &[OpenSettings],
    )
}

/// Says that no camera is chosen.
pub(super) fn no_camera_chosen() -> Words {
    words(
        NoticeLevel::Information,
        NoticeKind::Camera,
        "No camera is chosen. Choose one in the settings.",
        &[OpenSettings],
    )
}

/// Says what happened to the settings.
pub(super) fn settings(error: &SettingsError) -> Words {
    words(
        NoticeLevel::Warning,
        NoticeKind::Settings,
        error.to_string(),
        &[],
    )
}

/// Says that somebody came.
pub(super) fn joined(name: &str) -> Words {
    words(
        NoticeLevel::Information,
        NoticeKind::Presence,
        format!("{name} joined."),
        &[],
    )
}

/// Says that somebody is gone.
pub(super) fn left(name: &str, lost: bool) -> Words {
    let text = if lost {
        format!("{name}'s connection was lost.")
    } else {
        format!("{name} left.")
    };
    words(NoticeLevel::Information, NoticeKind::Presence, text, &[])
}

/// Says whose connection is slow, and what it means. `ours` is in which directions, where it is
/// ours; `name` is what the other is called here.
pub(super) fn slow(slow: Slow, ours: Suffering, name: &str) -> Words {
    let text = match slow {
        Slow::Ours if !ours.down => {
            "Your upload is slow. Your picture is sent smaller; your voice goes first.".into()
        }
        Slow::Ours if !ours.up => {
            "Your download is slow. The others' pictures are smaller for it; sound goes first."
                .into()
        }
        Slow::Ours => {
            "Your connection is slow. Pictures are smaller for it; sound goes first.".into()
        }
        Slow::Everybodys => {
            "All connections of this call are slow. Pictures are smaller for it; sound goes first."
                .into()
        }
        Slow::Theirs(_) => {
            format!("{name}'s connection is slow. Pictures are smaller for it; sound goes first.")
        }
        Slow::Between(_) => format!(
            "The connection to {name} is slow. Pictures are smaller for it; sound goes first."
        ),
    };
    words(NoticeLevel::Warning, NoticeKind::Connection, text, &[])
}

/// Says that this network blocks UDP, and what is used in its place.
pub(super) fn udp_blocked(path: Path) -> Words {
    let through = match path {
        Path::TurnTls => "TLS",
        _ => "TCP",
    };
    words(
        NoticeLevel::Warning,
        NoticeKind::Network,
        format!("This network blocks UDP: connected through {through}. Expect less quality."),
        &[],
    )
}

/// Says that a large call will cost more here than elsewhere.
pub(super) fn relay_unreachable() -> Words {
    words(
        NoticeLevel::Warning,
        NoticeKind::Relay,
        "Your network has no way to the relay: if more than five people join, you keep a connection to each of them, and pictures get smaller. Another network may help.",
        &[],
    )
}

/// Says what an honest server does not do, what it means and what to do. `name` is what the
/// participant in question is called here.
pub(super) fn suspicion(suspicion: &Suspicion, name: &str) -> Words {
    let (level, text) = match suspicion {
        Suspicion::Forged(_) => (
            NoticeLevel::Warning,
            format!(
                "A message said to be from {name} was not written with this meeting's link. It was thrown away, and nothing of yours was shown. If it happens again, make a new meeting."
            ),
        ),
        Suspicion::Replayed(_) => (
            NoticeLevel::Warning,
            format!(
                "An old message from {name} was delivered a second time, and was ignored. The meeting server may be faulty. If it happens again, use another server."
            ),
        ),
        Suspicion::Stranger(_) => (
            NoticeLevel::Warning,
            "Somebody is in the room without this meeting's link. They cannot see or hear you. If you do not trust the meeting server, use another one."
                .into(),
        ),
        Suspicion::Hidden(_) => (
            NoticeLevel::Warning,
            "The meeting server does not show you somebody whom the others see. Leave and join again; if it stays so, use another server."
                .into(),
        ),
        Suspicion::WrongParty(_) => (
            NoticeLevel::Error,
            format!(
                "The connection to {name} led to somebody else and was refused. Nothing of yours was sent there. Somebody may be trying to listen: use another meeting server."
            ),
        ),
    };
    words(level, NoticeKind::Security, text, &[])
}

/// Returns whom a suspicion is about.
pub(super) fn suspect(suspicion: &Suspicion) -> ParticipantId {
    match suspicion {
        Suspicion::Forged(id)
        | Suspicion::Replayed(id)
        | Suspicion::Stranger(id)
        | Suspicion::Hidden(id)
        | Suspicion::WrongParty(id) => *id,
    }
}
