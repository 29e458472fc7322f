//! What comes straight from the other side again, after it came through the relay for a while.

use super::LinkEvent;

/// Tells of the first sound and the first picture since they were wanted here.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    carried: bool,
    sound: bool,
    picture: bool,
    /// Pictures that were there before.
    before: u64,
}

impl Fresh {
    /// Takes in whether everything comes in another way, and how many pictures were decoded so far.
    pub(super) fn look(&mut self, carried: bool, pictures: u64) {
        if std::mem::replace(&mut self.carried, carried) && !carried {
            self.sound = false;
            self.picture = false;
            self.before = pictures;
        }
    }

    /// Takes in that sound came.
    pub(super) fn sound(&mut self) -> Option<LinkEvent> {
        let first = !self.carried && !std::mem::replace(&mut self.sound, true);
        first.then_some(LinkEvent::Sound)
    }

    /// Takes in how many pictures were decoded so far.
    pub(super) fn pictures(&mut self, pictures: u64) -> Option<LinkEvent> {
        let new = !self.carried && pictures > self.before;
        let first = new && !std::mem::replace(&mut self.picture, true);
        first.then_some(LinkEvent::Picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_is_told_and_again_after_another_way() {
        let mut fresh = Fresh::default();
        assert!(fresh.pictures(0).is_none());
        assert!(matches!(fresh.sound(), Some(LinkEvent::Sound)));
        assert!(matches!(fresh.pictures(3), Some(LinkEvent::Picture)));
        assert!(fresh.sound().is_none() && fresh.pictures(4).is_none());
        fresh.look(true, 4);
        assert!(fresh.sound().is_none() && fresh.pictures(5).is_none());
        fresh.look(false, 5);
        assert!(fresh.pictures(5).is_none(), "it is an old one");
        assert!(matches!(fresh.pictures(6), Some(LinkEvent::Picture)));
        assert!(matches!(fresh.sound(), Some(LinkEvent::Sound)));
    }
}
