//! What the two sides of a link tell each other beside the media: how large pictures are shown,
//! whether any are sent, and how all connections of each do together.
//!
//! ```text
//! shown size ─▶ Wish (still, seldom) ─▶ wanted ═▶ the other side ─▶ largest rung worth encoding
//! carried ─────────────────────────────▶ wanted ═▶ the other side ─▶ neither pictures nor sound
//! pause ──────────────────────────────▶ video  ═▶ the other side ─▶ a sentence in its tile
//! all our links ─▶ Strain (seldom) ───▶ strain ═▶ the other side ─▶ whose connection is slow
//! ```

use std::time::{Duration, Instant};

use nonstop_wire::{BesideMessage, MAX_SIDE, PauseReason, Strain};

use super::LinkEvent;
use crate::{
    latest::Reader,
    media::Size,
    mesh::peer::{Beside, BesideEvent},
};

/// A picture that is shown larger must stay so for this long: a window being dragged passes
/// through many sizes.
const STILL: Duration = Duration::from_millis(500);
/// The shortest pause between two changes: each may cost the other side a keyframe.
const PAUSE: Duration = Duration::from_secs(1);

/// The shortest pause between two words about our connections: they are judged once a second, and
/// nothing is said of them before 5 s.
const STRAIN_PAUSE: Duration = Duration::from_secs(2);

/// The conversation of one link.
#[derive(Debug)]
pub(super) struct Talk {
    shown: Reader<Size>,
    carried: Reader<bool>,
    strain: Reader<Strain>,
    wish: Wish,
    /// Whether the other side knows that its media comes in another way.
    told_carried: bool,
    told_strain: Option<(Strain, Instant)>,
    told_paused: bool,
    wanted: Option<Size>,
    deaf: bool,
    paused: Option<PauseReason>,
}

impl Talk {
    /// Begins; `shown` is how large the other side's pictures are shown here, `carried` whether its
    /// media comes in through the relay, `strain` how all our links do.
    pub(super) fn new(shown: Reader<Size>, carried: Reader<bool>, strain: Reader<Strain>) -> Self {
        Self {
            shown,
            carried,
            strain,
            wish: Wish::default(),
            told_carried: false,
            told_strain: None,
            told_paused: false,
            wanted: None,
            deaf: false,
            paused: None,
        }
    }

    /// The connection is a new one: nothing has been said on it. Returns what is no longer so.
    pub(super) fn restart(&mut self) -> Option<LinkEvent> {
        self.wish = Wish::default();
        self.told_carried = false;
        self.told_strain = None;
        self.told_paused = false;
        self.wanted = None;
        self.deaf = false;
        (self.paused.take()).map(|_| LinkEvent::PicturesResumed)
    }

    /// Returns how large the other side shows our pictures, if it said so; 0x0 if not at all.
    pub(super) fn wanted(&self) -> Option<Size> {
        self.wanted
    }

    /// Tells whether the other side wants no sound from us, because it comes through the relay.
    pub(super) fn deaf(&self) -> bool {
        self.deaf
    }

    /// Takes in what the other side says.
    pub(super) fn handle(&mut self, event: BesideEvent) -> Option<LinkEvent> {
        match event {
            BesideEvent::Said(BesideMessage::Wanted {
                width,
                height,
                paused,
                deaf,
            }) => {
                let size = match paused {
                    true => Size::new(0, 0),
                    false => Size::new(width, height),
                };
                tracing::debug!(%size, deaf, "the other side wants pictures of this size");
                self.wanted = Some(size);
                let news = std::mem::replace(&mut self.deaf, deaf) != deaf;
                news.then_some(LinkEvent::Carried(deaf))
            }
            BesideEvent::Said(BesideMessage::Video { paused, reason }) => {
                let reason = paused.then(|| reason.unwrap_or(PauseReason::Unknown));
                if reason == self.paused {
                    return None;
                }
                self.paused = reason;
                Some(reason.map_or(LinkEvent::PicturesResumed, LinkEvent::PicturesPaused))
            }
            BesideEvent::Said(BesideMessage::Strain(strain)) => Some(LinkEvent::Strain(strain)),
            BesideEvent::Said(BesideMessage::Envelope { to, from, sealed }) => {
                Some(LinkEvent::Envelope { to, from, sealed })
            }
            BesideEvent::Opened => Some(LinkEvent::BesideOpened),
            BesideEvent::Said(BesideMessage::Hello { .. } | BesideMessage::Unknown) => None,
        }
    }

    /// Says what is due; `paused` tells whether we send no pictures for want of bandwidth.
    pub(super) async fn tell(&mut self, beside: &Beside, paused: bool, now: Instant) {
        if let Some((size, carried)) = self.due_wish(now)
            && beside.say(wanted(size, carried)).await
        {
            self.wish.told(size, now);
            self.told_carried = carried;
        }
        if let Some(strain) = self.due_strain(now)
            && beside.say(BesideMessage::Strain(strain)).await
        {
            self.told_strain = Some((strain, now));
        }
        if paused != self.told_paused {
            let reason = paused.then_some(PauseReason::Bandwidth);
            if (beside.say(BesideMessage::Video { paused, reason })).await {
                self.told_paused = paused;
            }
        }
    }

    /// Returns the size that is wanted, and whether everything comes in another way, if it is time to
    /// tell. Where that way begins or ends nothing waits: both ways at once cost, and none is silence.
    fn due_wish(&mut self, now: Instant) -> Option<(Size, bool)> {
        let carried = self.carried.newest().unwrap_or_default();
        if carried {
            return (!self.told_carried).then_some((NOTHING, true));
        }
        if self.told_carried {
            self.wish = Wish::default();
        }
        let size = self.wish.due(self.shown.newest()?, now)?;
        Some((size, false))
    }

    /// Returns how our links do, if it is news to the other side and time to tell it.
    fn due_strain(&self, now: Instant) -> Option<Strain> {
        let strain = self.strain.newest()?;
        match self.told_strain {
            None => Some(strain),
            Some((told, at)) => {
                let due = now.saturating_duration_since(at) >= STRAIN_PAUSE;
                (due && strain != told).then_some(strain)
            }
        }
    }
}

/// The size of no picture at all.
const NOTHING: Size = Size::new(0, 0);

/// Returns the words for what is wanted.
fn wanted(size: Size, carried: bool) -> BesideMessage {
    let most = MAX_SIDE as u32;
    BesideMessage::Wanted {
        width: size.width.min(most),
        height: size.height.min(most),
        paused: is_nothing(size),
        deaf: carried,
    }
}

/// Tells whether that is no picture at all.
pub(in crate::mesh) fn is_nothing(size: Size) -> bool {
    size.pixels() == 0
}

/// The size that is shown here, told when it is worth telling.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Wish {
    shown: Option<(Size, Instant)>,
    told: Option<(Size, Instant)>,
}

impl Wish {
    /// Takes in what is shown now; returns it if it should be told.
    pub(in crate::mesh) fn due(&mut self, shown: Size, now: Instant) -> Option<Size> {
        let since = match self.shown {
            Some((same, since)) if same == shown => since,
            _ => now,
        };
        self.shown = Some((shown, since));
        let Some((told, at)) = self.told else {
            return Some(shown);
        };
        let still = now.duration_since(since) >= STILL;
        // What has just come into view is wanted at once, and so is less than before.
        let larger = shown.width > told.width || shown.height > told.height;
        let waits = larger && !is_nothing(told) && !still;
        (shown != told && !waits && now.duration_since(at) >= PAUSE).then_some(shown)
    }

    /// It was told.
    pub(in crate::mesh) fn told(&mut self, size: Size, now: Instant) {
        self.told = Some((size, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, latest::Latest};

    const LARGE: Size = Size::new(1280, 720);
    const SMALL: Size = Size::new(320, 180);
    const HIDDEN: Size = Size::new(0, 0);

    /// A wish in simulated time, in steps of 100 ms.
    struct Scene {
        wish: Wish,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                wish: Wish::default(),
                now: clock::now(),
            }
        }

        /// Shows a size for so many steps; returns what was told, and when.
        fn show(&mut self, size: Size, steps: u32) -> Vec<(Size, u32)> {
            let mut told = Vec::new();
            for step in 0..steps {
                if let Some(size) = self.wish.due(size, self.now) {
                    self.wish.told(size, self.now);
                    told.push((size, step));
                }
                self.now += Duration::from_millis(100);
            }
            told
        }
    }

    fn talk() -> Talk {
        let none = Latest::new().reader();
        Talk::new(Latest::new().reader(), none, Latest::new().reader())
    }

    #[test]
    fn the_first_size_and_a_smaller_one_are_told_at_once() {
        let mut scene = Scene::new();
        assert_eq!(scene.show(LARGE, 20), [(LARGE, 0)]);
        assert_eq!(scene.show(SMALL, 20), [(SMALL, 0)]);
        assert_eq!(scene.show(HIDDEN, 20), [(HIDDEN, 0)]);
        assert_eq!(scene.show(LARGE, 20), [(LARGE, 0)]);
    }

    #[test]
    fn a_larger_size_is_told_when_it_has_been_still() {
        let mut scene = Scene::new();
        scene.show(SMALL, 20);
        assert_eq!(scene.show(LARGE, 20), [(LARGE, 5)]);
    }

    #[test]
    fn a_window_that_is_dragged_changes_once_a_second_at_most() {
        let mut scene = Scene::new();
        scene.show(SMALL, 20);
        let mut told = 0;
        for step in 0..100 {
            // Larger and smaller in turns, new every 100 ms.
            let width = if step % 20 < 10 { 330 } else { 300 } + step;
            told += scene.show(Size::new(width, 180), 1).len();
        }
        assert!(told <= 10, "told {told} times in 10 s");
    }

    #[test]
    fn the_other_side_pauses_and_resumes_and_repeats_nothing() {
        let mut talk = talk();
        let video = |paused, reason| BesideEvent::Said(BesideMessage::Video { paused, reason });
        let bandwidth = Some(PauseReason::Bandwidth);
        assert!(talk.handle(video(false, None)).is_none());
        assert!(matches!(
            talk.handle(video(true, bandwidth)),
            Some(LinkEvent::PicturesPaused(PauseReason::Bandwidth))
        ));
        assert!(talk.handle(video(true, bandwidth)).is_none());
        assert!(matches!(talk.restart(), Some(LinkEvent::PicturesResumed)));
        assert!(talk.restart().is_none());
    }

    #[test]
    fn how_our_links_do_is_told_when_it_changes_and_at_most_every_two_seconds() {
        let strain = |up| Strain {
            links: 3,
            up,
            down: 0,
        };
        let ours = Latest::new();
        let none = Latest::new().reader();
        let mut talk = Talk::new(Latest::new().reader(), none, ours.reader());
        let start = clock::now();
        let mut told = Vec::new();
        for (second, up) in (0..).zip([0, 1, 2, 2, 2, 0, 0, 0]) {
            ours.set(strain(up));
            let now = start + Duration::from_secs(second);
            if let Some(strain) = talk.due_strain(now) {
                talk.told_strain = Some((strain, now));
                told.push((second, strain.up));
            }
        }
        assert_eq!(told, [(0, 0), (2, 2), (5, 0)]);
        talk.restart();
        assert!(talk.due_strain(start).is_some(), "a new connection");
    }

    #[test]
    fn a_wish_without_pictures_is_a_size_of_nothing() {
        let mut talk = talk();
        assert_eq!(talk.wanted(), None);
        talk.handle(BesideEvent::Said(BesideMessage::Wanted {
            width: 640,
            height: 360,
            paused: true,
            deaf: false,
        }));
        assert!(talk.wanted().is_some_and(is_nothing));
    }

    #[test]
    fn another_way_is_told_at_once_and_its_end_too() {
        let (shown, carried) = (Latest::with(LARGE), Latest::with(false));
        let mut talk = Talk::new(shown.reader(), carried.reader(), Latest::new().reader());
        let mut now = clock::now();
        let mut told = Vec::new();
        // Every 33 ms, as links do.
        for step in 0..90 {
            match step {
                10 => carried.set(true),
                20 => shown.set(SMALL),
                40 => carried.set(false),
                _ => {}
            }
            if let Some((size, carried)) = talk.due_wish(now) {
                talk.wish.told(size, now);
                talk.told_carried = carried;
                told.push((step, size, carried));
            }
            now += Duration::from_millis(33);
        }
        let all = [(0, LARGE, false), (10, HIDDEN, true), (40, SMALL, false)];
        assert_eq!(told, all);
    }

    #[test]
    fn the_other_side_is_deaf_until_it_says_otherwise_or_begins_anew() {
        let mut talk = talk();
        let said = |deaf| BesideEvent::Said(wanted(NOTHING, deaf));
        assert!(!talk.deaf());
        talk.handle(said(true));
        assert!(talk.deaf() && talk.wanted().is_some_and(is_nothing));
        talk.handle(said(false));
        assert!(!talk.deaf());
        talk.handle(said(true));
        talk.restart();
        assert!(!talk.deaf());
    }
}
