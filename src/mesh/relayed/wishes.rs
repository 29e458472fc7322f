//! What we want to take in, told the server when it is worth telling.
//!
//! Less is told at once, more when it has been still for a moment, as on a link; and all that changes
//! within a tenth of a second is told together. Pure: time is an argument.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use nonstop_rate::Bitrate;
use nonstop_wire::{MAX_SIDE, ParticipantId, Watch, Watched};

use crate::{
    media::Size,
    mesh::link::talk::{Wish, is_nothing},
};

/// The shortest pause between two messages.
const TOGETHER: Duration = Duration::from_millis(100);

/// What is wanted now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Whose pictures, and how large.
    pub(super) pictures: Vec<(ParticipantId, Size)>,
    /// Whose sound not, of those who have some.
    pub(super) deaf_to: Vec<ParticipantId>,
    /// Whether no sound at all.
    pub(super) deaf: bool,
    /// What comes straight from the others.
    pub(super) arriving: Option<Bitrate>,
    /// Whether packets from the relay are lost.
    pub(super) loses: bool,
}

/// What is wanted and what the server knows of it.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    sizes: HashMap<ParticipantId, (Wish, Size)>,
    told: Option<Watch>,
    told_at: Option<Instant>,
    /// When to look again although nothing changed.
    look_at: Option<Instant>,
}

impl Wishes {
    /// The server knows nothing of it (any more).
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Returns what the server is to be told now.
    pub(super) fn due(&mut self, wanted: &Wanted, now: Instant) -> Option<Watch> {
        self.look_at = None;
        if let Some(at) = self.told_at
            && now.saturating_duration_since(at) < TOGETHER
        {
            self.look_at = Some(at + TOGETHER);
            return None;
        }
        let is_wanted = |id: &ParticipantId| wanted.pictures.iter().any(|(it, _)| it == id);
        self.sizes.retain(|id, _| is_wanted(id));
        let mut pictures = Vec::new();
        let mut waits = false;
        for (id, size) in &wanted.pictures {
            if is_nothing(*size) {
                self.sizes.remove(id);
                continue;
            }
            let (wish, told) =
                (self.sizes.entry(*id)).or_insert_with(|| (Wish::default(), Size::new(0, 0)));
            if let Some(due) = wish.due(*size, now) {
                wish.told(due, now);
                *told = due;
            }
            waits |= told != size;
            pictures.push(Watched {
                participant: *id,
                width: told.width.min(MAX_SIDE as u32),
                height: told.height.min(MAX_SIDE as u32),
            });
        }
        if waits {
            self.look_at = Some(now + TOGETHER);
        }
        let watch = Watch {
            pictures,
            deaf_to: wanted.deaf_to.clone(),
            deaf: wanted.deaf,
            arriving: None,
            loses: wanted.loses,
        };
        if self.told.as_ref() == Some(&watch) {
            return None;
        }
        // What is known of the way counts where pictures begin to come on it.
        let before = self.told.replace(watch.clone());
        let begins = before.is_none_or(|before| before.pictures.is_empty());
        let arriving = (wanted.arriving).filter(|_| begins && !watch.pictures.is_empty());
        self.told_at = Some(now);
        Some(Watch {
            arriving: arriving.map(Bitrate::bps),
            ..watch
        })
    }

    /// Returns when [`due`](Self::due) may have something although nothing changed.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SMALL: Size = Size::new(320, 180);
    const LARGE: Size = Size::new(1280, 720);

    fn wanted(sizes: &[(u64, Size)]) -> Wanted {
        let id = |(id, size): &(u64, Size)| (ParticipantId::from_bits(*id), *size);
        Wanted {
            pictures: sizes.iter().map(id).collect(),
            ..Wanted::default()
        }
    }

    /// Wants this for so long; returns what is told, and after how many milliseconds.
    fn want(wishes: &mut Wishes, wanted: &Wanted, now: &mut Instant, millis: u64) -> Vec<String> {
        let mut told = Vec::new();
        for step in 0..millis / 50 {
            if let Some(watch) = wishes.due(wanted, *now) {
                let sizes = watch.pictures.iter().map(|it| it.width.to_string());
                told.push(format!(
                    "{}: {}",
                    step * 50,
                    sizes.collect::<Vec<_>>().join(" ")
                ));
            }
            *now += Duration::from_millis(50);
        }
        told
    }

    #[test]
    fn who_comes_and_goes_is_told_at_once_and_who_is_larger_when_it_is_still() {
        let mut now = clock::now();
        let mut wishes = Wishes::default();
        let first = wanted(&[(1, SMALL)]);
        assert_eq!(want(&mut wishes, &first, &mut now, 2_000), ["0: 320"]);
        assert_eq!(wishes.poll_timeout(), None);
        let second = wanted(&[(1, LARGE), (2, SMALL)]);
        let told = want(&mut wishes, &second, &mut now, 2_000);
        assert_eq!(told, ["0: 320 320", "500: 1280 320"]);
        let less = wanted(&[(1, SMALL)]);
        assert_eq!(want(&mut wishes, &less, &mut now, 2_000), ["0: 320"]);
        let none = wanted(&[(1, Size::new(0, 0))]);
        assert_eq!(want(&mut wishes, &none, &mut now, 2_000), ["0: "]);
        wishes.forget();
        assert_eq!(want(&mut wishes, &none, &mut now, 200), ["0: "]);
    }

    #[test]
    fn what_changes_at_once_is_told_together() {
        let mut now = clock::now();
        let mut wishes = Wishes::default();
        let mut told = Vec::new();
        for count in 1..10 {
            let people: Vec<_> = (0..count).map(|id| (id, SMALL)).collect();
            told.extend(want(&mut wishes, &wanted(&people), &mut now, 50));
        }
        assert_eq!(told.len(), 5, "{told:?}");
    }
}
