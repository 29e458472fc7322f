//! What a link may send, shared between sound and pictures, with the application's rules.

use std::time::Duration;

use nonstop_rate::Bitrate;

/// What sound may have, and from which rate on.
const SOUND: [(Bitrate, Bitrate); 3] = [
    (Bitrate::from_kbps(16), Bitrate::ZERO),
    (Bitrate::from_kbps(24), Bitrate::from_kbps(130)),
    (Bitrate::from_kbps(32), Bitrate::from_kbps(300)),
];
const SOUND_HEADERS: Bitrate = Bitrate::from_kbps(24);
const SOUND_HEADROOM: f64 = 1.2;
const SOUND_PAUSE: Duration = Duration::from_secs(3);
/// The share of the rest that is not headers.
pub(crate) const PAYLOAD_SHARE: f64 = 0.93;
const LEAST_VIDEO: Bitrate = Bitrate::from_kbps(30);
/// Pictures pause below the first, after a while, and come back above the second.
const PAUSE: (Bitrate, Duration) = (Bitrate::from_kbps(80), Duration::from_millis(1_500));
const RESUME: (Bitrate, Duration) = (Bitrate::from_kbps(110), Duration::from_secs(2));

/// Shares out what may be sent.
#[derive(Debug)]
pub(crate) struct Budget {
    sound: usize,
    sound_since: Option<Duration>,
    pub(crate) paused: bool,
    turning: Option<Duration>,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            sound: SOUND.len() - 1,
            sound_since: None,
            paused: false,
            turning: None,
        }
    }

    /// Returns the rate of sound and of pictures.
    pub(crate) fn share(&mut self, allowed: Bitrate, now: Duration) -> (Bitrate, Bitrate) {
        let (turns, after) = match self.paused {
            false => (allowed < PAUSE.0, PAUSE.1),
            true => (allowed >= RESUME.0, RESUME.1),
        };
        let since = turns.then(|| self.turning.unwrap_or(now));
        let due = since.is_some_and(|since| now - since >= after);
        self.paused ^= due;
        self.turning = since.filter(|_| !due);
        self.choose_sound(allowed, now);
        let sound = SOUND[self.sound].0;
        let rest = (allowed - sound - SOUND_HEADERS).scale(PAYLOAD_SHARE);
        (sound, rest.max(LEAST_VIDEO))
    }

    /// Down at once, up a step at a time.
    fn choose_sound(&mut self, allowed: Bitrate, now: Duration) {
        while allowed < SOUND[self.sound].1 {
            self.sound -= 1;
        }
        let next = SOUND.get(self.sound + 1);
        if next.is_none_or(|(_, from)| allowed < from.scale(SOUND_HEADROOM)) {
            self.sound_since = None;
            return;
        }
        let since = *self.sound_since.get_or_insert(now);
        if now - since >= SOUND_PAUSE {
            self.sound += 1;
            self.sound_since = None;
        }
    }
}
