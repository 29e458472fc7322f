//! What waits to enter a stream: sound and control first, and no picture that has become stale.
//!
//! A stream delivers everything in order, so what is late makes everything behind it late. What is
//! dropped must therefore be dropped here, whole, before its first byte enters the stream.
//!
//! ```text
//! sound, control ─▶ [ 256 ] ─┐ first
//!                            ├─▶ stream (at most 4 kB not sent yet)
//! pictures ───────▶ [ 512 ] ─┘ dropped after 150 ms, or when the stream would need more than
//!                              200 ms for what waits
//! ```

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Class, RelayFigures};

/// How old a picture's packet may be when it enters the stream.
const VIDEO_LIFE: Duration = Duration::from_millis(150);
/// How old a sound's packet may be: beyond it the other side has played silence.
const AUDIO_LIFE: Duration = Duration::from_millis(400);
/// How much may wait, in time at the rate at which the stream drains.
const VIDEO_WORTH: Duration = Duration::from_millis(200);
/// How much may always wait, whatever was measured: a picture or two, in bytes.
const ALWAYS: usize = 16 * 1024;
/// How many packets of sound and control may wait. Full: sound drops its oldest, control is
/// refused, for whoever sent it repeats it.
const MOST_FIRST: usize = 256;
/// How many packets of pictures may wait. Full: the oldest goes.
const MOST_VIDEO: usize = 512;
/// Over what time the drain rate is measured.
const MEASURED_OVER: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Waiting {
    since: Instant,
    class: Class,
    frame: Vec<u8>,
}

/// How fast the stream takes what waits, in bytes a second; known only while something waits.
#[derive(Debug, Default)]
struct Drain {
    rate: Option<f64>,
    since: Option<Instant>,
    bytes: usize,
}

impl Drain {
    fn taken(&mut self, bytes: usize, now: Instant) {
        let since = *self.since.get_or_insert(now);
        self.bytes += bytes;
        let passed = now.saturating_duration_since(since);
        if passed >= MEASURED_OVER {
            let rate = self.bytes as f64 / passed.as_secs_f64();
            self.rate = Some(self.rate.map_or(rate, |before| (before + rate) / 2.0));
            self.since = Some(now);
            self.bytes = 0;
        }
    }

    /// An empty queue says nothing about the stream.
    fn idle(&mut self) {
        self.since = None;
        self.bytes = 0;
        self.rate = None;
    }

    fn worth(&self, time: Duration) -> usize {
        let bytes = self.rate.map(|rate| (rate * time.as_secs_f64()) as usize);
        bytes.map_or(usize::MAX, |bytes| bytes.max(ALWAYS))
    }
}

/// The packets that wait to enter one stream.
#[derive(Debug, Default)]
pub(super) struct Queue {
    first: VecDeque<Waiting>,
    video: VecDeque<Waiting>,
    video_bytes: usize,
    drain: Drain,
    figures: RelayFigures,
}

impl Queue {
    /// Puts a frame into the queue. Returns whether there was room.
    pub(super) fn push(&mut self, class: Class, frame: Vec<u8>, now: Instant) -> bool {
        let waiting = Waiting {
            since: now,
            class,
            frame,
        };
        if class == Class::Video {
            self.video_bytes += waiting.frame.len();
            self.video.push_back(waiting);
            self.drop_stale(now);
            return true;
        }
        if self.first.len() >= MOST_FIRST {
            let oldest = self
                .first
                .iter()
                .position(|other| other.class == Class::Audio);
            match oldest {
                Some(place) if class == Class::Audio => {
                    self.first.remove(place);
                    self.figures.audio_dropped += 1;
                }
                _ => {
                    self.figures.count_dropped(class);
                    return false;
                }
            }
        }
        self.first.push_back(waiting);
        true
    }

    /// Puts a request of our own into the queue, however full it is: there are few.
    pub(super) fn push_request(&mut self, frame: Vec<u8>, now: Instant) {
        self.first.push_back(Waiting {
            since: now,
            class: Class::Control,
            frame,
        });
    }

    /// Returns the frame that enters the stream next.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.drop_stale(now);
        let next = self.first.pop_front().or_else(|| {
            let next = self.video.pop_front()?;
            self.video_bytes -= next.frame.len();
            Some(next)
        })?;
        self.drain.taken(next.frame.len(), now);
        self.figures.sent += 1;
        if self.first.is_empty() && self.video.is_empty() {
            self.drain.idle();
        }
        Some(next.frame)
    }

    /// Forgets everything that waits: the stream is gone.
    pub(super) fn clear(&mut self) {
        for waiting in self.first.drain(..).chain(self.video.drain(..)) {
            self.figures.count_dropped(waiting.class);
        }
        self.video_bytes = 0;
        self.drain = Drain::default();
    }

    /// Returns what went and was dropped, and how long the oldest has waited.
    pub(super) fn figures(&self, now: Instant) -> RelayFigures {
        let oldest = [self.first.front(), self.video.front()];
        let oldest = oldest.into_iter().flatten().map(|waiting| waiting.since);
        let delay = oldest
            .min()
            .map(|since| now.saturating_duration_since(since));
        RelayFigures {
            queue_delay: delay.unwrap_or_default(),
            ..self.figures
        }
    }

    fn drop_stale(&mut self, now: Instant) {
        let room = self.drain.worth(VIDEO_WORTH);
        while let Some(oldest) = self.video.front() {
            let stale = now.saturating_duration_since(oldest.since) > VIDEO_LIFE;
            if !stale && self.video_bytes <= room && self.video.len() <= MOST_VIDEO {
                break;
            }
            self.video_bytes -= oldest.frame.len();
            self.video.pop_front();
            self.figures.video_dropped += 1;
        }
        let before = self.first.len();
        self.first.retain(|waiting| {
            waiting.class != Class::Audio
                || now.saturating_duration_since(waiting.since) <= AUDIO_LIFE
        });
        self.figures.audio_dropped += (before - self.first.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn sound_and_control_pass_pictures_that_came_before() {
        let now = clock::now();
        let mut queue = Queue::default();
        assert!(queue.push(Class::Video, vec![1], now));
        assert!(queue.push(Class::Audio, vec![2], now));
        assert!(queue.push(Class::Control, vec![3], now));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(now)).flatten().collect();
        assert_eq!(order, [2, 3, 1]);
        assert_eq!(queue.figures(now).sent, 3);
    }

    #[test]
    fn what_has_become_stale_never_enters_the_stream() {
        let start = clock::now();
        let mut queue = Queue::default();
        for class in [Class::Video, Class::Audio, Class::Control] {
            queue.push(class, vec![class as u8], start);
        }
        let later = after(start, 151);
        assert_eq!(queue.figures(later).queue_delay, Duration::from_millis(151));
        assert_eq!(queue.pop(later), Some(vec![Class::Audio as u8]));
        queue.push(Class::Audio, vec![9], start);
        let much_later = after(start, 401);
        assert_eq!(queue.pop(much_later), Some(vec![Class::Control as u8]));
        assert_eq!(queue.pop(much_later), None);
        let figures = queue.figures(much_later);
        assert_eq!((figures.video_dropped, figures.audio_dropped), (1, 1));
        assert_eq!(figures.queue_delay, Duration::ZERO);
    }

    #[test]
    fn pictures_wait_for_no_more_than_the_stream_takes_in_200_ms() {
        let start = clock::now();
        let mut queue = Queue::default();
        // 200 packets of 1 kB, of which the stream takes one every 5 ms: 200 kB a second.
        for _ in 0..200 {
            queue.push(Class::Video, vec![0; 1000], start);
        }
        for step in 0..=20 {
            queue.pop(after(start, 5 * step));
        }
        let room = 200_000 * 200 / 1000;
        let waiting = queue.video_bytes;
        queue.push(Class::Video, vec![0; 1000], after(start, 100));
        assert!(
            waiting > room / 2 && queue.video_bytes <= room * 11 / 10,
            "{waiting}"
        );
        assert!(queue.figures(after(start, 100)).video_dropped > 100);
    }

    #[test]
    fn a_full_queue_keeps_the_newest_sound_and_refuses_control() {
        let now = clock::now();
        let mut queue = Queue::default();
        for number in 0..MOST_FIRST {
            assert!(queue.push(Class::Audio, vec![(number % 256) as u8], now));
        }
        assert!(queue.push(Class::Audio, vec![7], now));
        assert!(!queue.push(Class::Control, vec![8], now));
        queue.push_request(vec![9], now);
        assert_eq!(queue.pop(now), Some(vec![1]));
        let figures = queue.figures(now);
        assert_eq!((figures.audio_dropped, figures.control_dropped), (1, 1));
    }
}
