//! How large each person is shown, in the pixels of the screen: the call is told, so that nobody
//! sends more than is looked at.
//!
//! Told when it changes, at most twice a second, so that a window that is being resized does not
//! turn every encoder on the other side over; the size that it ends at is always told.

use std::{mem, time::Duration};

use crate::media::Size;

/// The least time between two tellings.
const PAUSE: Duration = Duration::from_millis(500);

/// What is shown, and what was told of it.
#[derive(Debug, Default)]
pub(super) struct Viewed {
    noted: Vec<(u64, Size)>,
    told: Option<(Vec<(u64, Size)>, Duration)>,
}

/// What follows from a paint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The call knows.
    Nothing,
    /// Tell the call.
    Tell(Vec<(u64, Size)>),
    /// Look again after this time.
    Wait(Duration),
}

impl Viewed {
    /// Notes that a person is shown that large in this paint.
    pub(super) fn note(&mut self, participant: u64, size: egui::Vec2, pixels_per_point: f32) {
        let pixels = |points: f32| (points * pixels_per_point).round().max(1.0) as u32;
        let size = Size::new(pixels(size.x), pixels(size.y));
        self.noted.push((participant, size));
    }

    /// Ends a paint at that time: who was not noted in it is not shown.
    pub(super) fn painted(&mut self, now: Duration) -> Outcome {
        let noted = mem::take(&mut self.noted);
        let told = match &self.told {
            Some((told, at)) => {
                if *told == noted {
                    return Outcome::Nothing;
                }
                Some(*at)
            }
            None if noted.is_empty() => return Outcome::Nothing,
            None => None,
        };
        let left = told.map_or(Duration::ZERO, |at| (at + PAUSE).saturating_sub(now));
        if left > Duration::ZERO {
            return Outcome::Wait(left);
        }
        self.told = Some((noted.clone(), now));
        Outcome::Tell(noted)
    }

    /// What was told last did not arrive: it is told again.
    pub(super) fn refused(&mut self) {
        self.told = None;
    }

    /// The window is hidden: nobody is shown. Returns whether the call is to be told.
    pub(super) fn hidden(&mut self, now: Duration) -> bool {
        match &mut self.told {
            Some((told, at)) if !told.is_empty() => {
                told.clear();
                *at = now;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use egui::{Vec2, vec2};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn paint(viewed: &mut Viewed, tiles: &[(u64, Vec2)], at: u32) -> Outcome {
        for (participant, size) in tiles {
            viewed.note(*participant, *size, 2.0);
        }
        viewed.painted(at * MS)
    }

    #[test]
    fn sizes_are_told_in_the_pixels_of_the_screen_and_once() {
        let mut viewed = Viewed::default();
        let tiles = [(7, vec2(640.0, 360.0)), (9, vec2(320.4, 180.2))];
        let expected = vec![(7, Size::new(1280, 720)), (9, Size::new(641, 360))];
        assert_eq!(paint(&mut viewed, &tiles, 0), Outcome::Tell(expected));
        for at in [16, 33, 5_000] {
            assert_eq!(paint(&mut viewed, &tiles, at), Outcome::Nothing);
        }
    }

    #[test]
    fn a_window_being_resized_tells_twice_a_second_and_where_it_ends() {
        let mut viewed = Viewed::default();
        let mut told = Vec::new();
        for at in (0..2_000).step_by(16) {
            let size = vec2(400.0 + at as f32 / 10.0, 225.0);
            if let Outcome::Tell(sizes) = paint(&mut viewed, &[(1, size)], at) {
                told.push(sizes);
            }
        }
        assert_eq!(told.len(), 4);
        let last = [(1, vec2(700.0, 225.0))];
        let Outcome::Wait(wait) = paint(&mut viewed, &last, 2_001) else {
            panic!("too soon");
        };
        let at = 2_001 + wait.as_millis() as u32;
        let end = vec![(1, Size::new(1400, 450))];
        assert_eq!(paint(&mut viewed, &last, at), Outcome::Tell(end));
    }

    #[test]
    fn a_hidden_window_shows_nobody_and_one_that_comes_back_does() {
        let mut viewed = Viewed::default();
        assert!(!viewed.hidden(Duration::ZERO), "nothing was told yet");
        let tiles = [(1, vec2(640.0, 360.0))];
        paint(&mut viewed, &tiles, 0);
        assert!(viewed.hidden(100 * MS));
        assert!(!viewed.hidden(200 * MS));
        let again = paint(&mut viewed, &tiles, 5_000);
        assert!(matches!(again, Outcome::Tell(sizes) if sizes.len() == 1));
    }

    #[test]
    fn who_left_is_told_as_not_shown() {
        let mut viewed = Viewed::default();
        assert_eq!(paint(&mut viewed, &[], 0), Outcome::Nothing);
        paint(&mut viewed, &[(1, vec2(640.0, 360.0))], 0);
        let gone = paint(&mut viewed, &[], 1_000);
        assert_eq!(gone, Outcome::Tell(Vec::new()));
    }
}
