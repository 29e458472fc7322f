//! Which way somebody's media is taken in: straight from them, or through the relay. The new way
//! flows before the old one is let go.
//!
//! ```text
//!            relay wanted                    it flows
//! Direct ───────────────────▶ ToRelay ───────────────────▶ Relay
//!    ▲ ▲         no more wanted  │                           │ no more wanted, and there is a link
//!    │ └────────────────────────┘                           ▼
//!    └──────────────────────── it flows ◀──────────────── ToDirect
//! ```
//! In `ToRelay` and `ToDirect` both ways bring the same, and what comes twice is shown and heard once.
//! They do so for a moment longer than the new way needs to flow: it begins with keyframes, and what it
//! loses before it knows how to repair itself the old one has. Where the relay brings pictures and then
//! gives none for want of bandwidth, which it may at first not know enough of, the link goes on as well.
//! Only in `Relay` the other side is told to send nothing straight to us.

use std::time::{Duration, Instant};

/// Somebody who is silent is not passed on by the relay: after this long, nothing more is waited for.
const SILENCE: Duration = Duration::from_secs(2);
/// How long both ways go on once the new one flows.
const SETTLING: Duration = Duration::from_millis(800);
/// A relay that gives no more pictures for this long has not the bandwidth while both ways go on.
const WITHHELD: Duration = Duration::from_secs(6);
/// A link that brings sound and no picture within this long has none to bring.
const NO_PICTURE: Duration = Duration::from_secs(5);

/// What the choice depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outlook {
    /// Whether the relay has their media for us.
    pub(super) available: bool,
    /// Whether it should be taken from there.
    pub(super) wanted: bool,
    /// Whether media flows through the link to them.
    pub(super) link: bool,
    /// Whether their microphone is on.
    pub(super) sound: bool,
    /// Whether their camera is on, and its pictures are shown here.
    pub(super) picture: bool,
}

/// One of the two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mesh) enum Side {
    /// Straight from them.
    Link,
    /// Through the relay.
    Relay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    Direct,
    ToRelay,
    Relay,
    ToDirect,
}

/// The choice for one participant.
#[derive(Debug)]
pub(super) struct Carriage {
    intake: Intake,
    since: Instant,
    /// What came on the way that is being gone over to.
    sound: bool,
    picture: bool,
    /// Whether the relay gives no pictures of them for want of bandwidth.
    withheld: bool,
    /// Since when all that is waited for has come.
    flows: Option<Instant>,
    /// When something is to be decided anew by time passing.
    due: Option<Instant>,
}

impl Carriage {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            intake: Intake::Direct,
            since: now,
            sound: false,
            picture: false,
            withheld: false,
            flows: None,
            due: None,
        }
    }

    /// Tells whether their media is to be taken in through the relay.
    pub(super) fn taken(&self) -> bool {
        self.intake != Intake::Direct
    }

    /// Tells whether nothing need come straight from them.
    pub(super) fn carried(&self) -> bool {
        self.intake == Intake::Relay
    }

    /// Tells whether it is the relay that is relied on.
    pub(super) fn by_relay(&self) -> bool {
        matches!(self.intake, Intake::Relay | Intake::ToDirect)
    }

    /// Takes in that sound came on a way.
    pub(super) fn handle_sound(&mut self, side: Side) {
        self.sound |= self.target() == Some(side);
    }

    /// Takes in that a picture that came on a way was shown.
    pub(super) fn handle_picture(&mut self, side: Side) {
        self.picture |= self.target() == Some(side);
    }

    /// Learns whether the relay gives no pictures of them for want of bandwidth.
    pub(super) fn handle_withheld(&mut self, withheld: bool) {
        self.withheld = withheld;
    }

    /// Returns when [`update`](Self::update) has something to do by time passing.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Decides anew. Returns whether anything changed.
    pub(super) fn update(&mut self, outlook: &Outlook, now: Instant) -> bool {
        let before = self.intake;
        // Ends: only what is available can be wanted, so no state is entered twice.
        let wanted = outlook.wanted && outlook.available;
        let outlook = Outlook { wanted, ..*outlook };
        self.look(&outlook, now);
        while let Some(next) = self.next(&outlook, now) {
            self.intake = next;
            self.since = now;
            self.sound = false;
            self.picture = false;
            // Nothing is given any more, and nothing withheld.
            self.withheld &= next != Intake::Direct;
            self.flows = None;
            self.look(&outlook, now);
        }
        let settled = self.flows.map(|since| since + SETTLING);
        let waits = [SILENCE, NO_PICTURE, WITHHELD].map(|wait| self.since + wait);
        let waits = waits.into_iter().chain(settled);
        self.due = waits.filter(|due| *due > now).min();
        self.due = self.due.filter(|_| self.target().is_some());
        self.intake != before
    }

    /// Finds out whether the way that is being gone over to flows.
    fn look(&mut self, outlook: &Outlook, now: Instant) {
        let waited = now.saturating_duration_since(self.since);
        let sound = self.sound || !outlook.sound || waited >= SILENCE;
        let none = self.intake == Intake::ToDirect && waited >= NO_PICTURE;
        let stopped = self.intake == Intake::ToRelay && self.withheld && waited < WITHHELD;
        let picture = self.picture && !stopped || !outlook.picture || none;
        let flows = self.target().is_some() && sound && picture;
        self.flows = flows.then(|| self.flows.unwrap_or(now));
    }

    fn next(&self, outlook: &Outlook, now: Instant) -> Option<Intake> {
        let settled =
            (self.flows).is_some_and(|since| now.saturating_duration_since(since) >= SETTLING);
        match self.intake {
            Intake::Direct if outlook.wanted && outlook.link => Some(Intake::ToRelay),
            Intake::Direct if outlook.wanted => Some(Intake::Relay),
            Intake::Direct => None,
            Intake::ToRelay if !outlook.wanted => Some(Intake::Direct),
            // A link that works is not given up for a relay that brings no pictures.
            Intake::ToRelay if !outlook.link || settled => Some(Intake::Relay),
            Intake::ToRelay => None,
            Intake::Relay if !outlook.available => Some(Intake::Direct),
            Intake::Relay if !outlook.wanted && outlook.link => Some(Intake::ToDirect),
            Intake::Relay => None,
            Intake::ToDirect if !outlook.available => Some(Intake::Direct),
            Intake::ToDirect if outlook.wanted || !outlook.link => Some(Intake::Relay),
            Intake::ToDirect if settled => Some(Intake::Direct),
            Intake::ToDirect => None,
        }
    }

    /// The way that is being gone over to.
    fn target(&self) -> Option<Side> {
        match self.intake {
            Intake::ToRelay => Some(Side::Relay),
            Intake::ToDirect => Some(Side::Link),
            Intake::Direct | Intake::Relay => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MESH: Outlook = Outlook {
        available: true,
        wanted: false,
        link: true,
        sound: true,
        picture: true,
    };
    const RELAY: Outlook = Outlook {
        wanted: true,
        ..MESH
    };

    #[test]
    fn the_link_goes_on_until_sound_and_a_picture_came_through_the_relay() {
        let now = clock::now();
        let mut carriage = Carriage::new(now);
        assert!(!carriage.update(&MESH, now) && !carriage.taken());
        assert!(carriage.update(&RELAY, now));
        assert!(carriage.taken() && !carriage.carried() && !carriage.by_relay());
        carriage.handle_sound(Side::Relay);
        carriage.handle_picture(Side::Link);
        assert!(!carriage.update(&RELAY, now));
        carriage.handle_picture(Side::Relay);
        assert!(!carriage.update(&RELAY, now));
        assert_eq!(carriage.poll_timeout(), Some(now + SETTLING));
        let now = now + SETTLING;
        assert!(carriage.update(&RELAY, now));
        assert!(carriage.carried() && carriage.by_relay());

        // And back.
        assert!(carriage.update(&MESH, now));
        assert!(carriage.taken() && !carriage.carried() && carriage.by_relay());
        carriage.handle_sound(Side::Relay);
        carriage.handle_picture(Side::Relay);
        assert!(!carriage.update(&MESH, now));
        carriage.handle_sound(Side::Link);
        carriage.handle_picture(Side::Link);
        assert!(!carriage.update(&MESH, now));
        assert!(carriage.update(&MESH, now + SETTLING) && !carriage.taken());
    }

    #[test]
    fn who_is_silent_and_shows_nothing_is_waited_for_a_moment() {
        let now = clock::now();
        let mut carriage = Carriage::new(now);
        let silent = Outlook {
            picture: false,
            ..RELAY
        };
        carriage.update(&silent, now);
        assert_eq!(carriage.poll_timeout(), Some(now + SILENCE));
        assert!(!carriage.update(&silent, now + SILENCE));
        assert!(carriage.update(&silent, now + SILENCE + SETTLING) && carriage.carried());
    }

    #[test]
    fn a_relay_that_brings_no_pictures_does_not_end_a_link_that_does() {
        let now = clock::now();
        let mut carriage = Carriage::new(now);
        carriage.update(&RELAY, now);
        carriage.handle_sound(Side::Relay);
        assert!(!carriage.update(&RELAY, now + NO_PICTURE * 10));
        let lost = Outlook {
            link: false,
            ..RELAY
        };
        assert!(carriage.update(&lost, now + NO_PICTURE * 10) && carriage.carried());
    }

    #[test]
    fn a_relay_that_stops_to_bring_pictures_does_not_end_it_at_once_either() {
        let now = clock::now();
        let flowing = || {
            let mut carriage = Carriage::new(now);
            carriage.update(&RELAY, now);
            carriage.handle_sound(Side::Relay);
            carriage.handle_picture(Side::Relay);
            carriage.update(&RELAY, now);
            carriage.handle_withheld(true);
            assert!(!carriage.update(&RELAY, now + SETTLING));
            carriage
        };
        // They come again, and settle.
        let mut carriage = flowing();
        let again = now + SETTLING * 2;
        carriage.handle_withheld(false);
        assert!(!carriage.update(&RELAY, again));
        assert!(carriage.update(&RELAY, again + SETTLING) && carriage.carried());
        // Or both ways are too much.
        let mut carriage = flowing();
        assert_eq!(carriage.poll_timeout(), Some(now + SILENCE));
        assert!(!carriage.update(&RELAY, now + NO_PICTURE));
        assert_eq!(carriage.poll_timeout(), Some(now + WITHHELD));
        assert!(!carriage.update(&RELAY, now + WITHHELD));
        assert!(carriage.update(&RELAY, now + WITHHELD + SETTLING) && carriage.carried());
        // What another relay withheld says nothing of the next one.
        let mut carriage = flowing();
        let gone = Outlook {
            available: false,
            ..MESH
        };
        assert!(carriage.update(&gone, now + SETTLING));
        carriage.update(&RELAY, now + SETTLING);
        carriage.handle_sound(Side::Relay);
        carriage.handle_picture(Side::Relay);
        carriage.update(&RELAY, now + SETTLING);
        assert!(carriage.update(&RELAY, now + SETTLING * 2) && carriage.carried());
    }

    #[test]
    fn a_link_without_pictures_is_taken_back_all_the_same() {
        let now = clock::now();
        let mut carriage = Carriage::new(now);
        carriage.update(
            &Outlook {
                link: false,
                ..RELAY
            },
            now,
        );
        assert!(carriage.carried(), "there is no other way");
        assert!(carriage.update(&MESH, now));
        carriage.handle_sound(Side::Link);
        assert!(!carriage.update(&MESH, now + SILENCE));
        assert_eq!(carriage.poll_timeout(), Some(now + NO_PICTURE));
        assert!(!carriage.update(&MESH, now + NO_PICTURE));
        assert!(carriage.update(&MESH, now + NO_PICTURE + SETTLING) && !carriage.taken());
    }

    #[test]
    fn a_relay_that_is_gone_is_let_go_at_once() {
        let now = clock::now();
        let gone = Outlook {
            available: false,
            wanted: false,
            ..MESH
        };
        for until in [1, 2] {
            let mut carriage = Carriage::new(now);
            carriage.update(&RELAY, now);
            if until == 2 {
                carriage.handle_sound(Side::Relay);
                carriage.handle_picture(Side::Relay);
                carriage.update(&RELAY, now);
                assert!(carriage.update(&RELAY, now + SETTLING));
            }
            assert!(carriage.update(&gone, now) && !carriage.taken());
        }
    }

    #[test]
    fn a_door_that_swings_breaks_nothing() {
        let now = clock::now();
        let mut carriage = Carriage::new(now);
        carriage.update(&RELAY, now);
        assert!(carriage.update(&MESH, now) && !carriage.taken());
        carriage.update(&RELAY, now);
        carriage.handle_sound(Side::Relay);
        carriage.handle_picture(Side::Relay);
        carriage.update(&RELAY, now);
        let now = now + SETTLING;
        carriage.update(&RELAY, now);
        carriage.update(&MESH, now);
        assert!(
            carriage.update(&RELAY, now) && carriage.carried(),
            "it has flowed all the time"
        );
    }
}
