//! The last minute of a link's figures, for graphs: one sample a second, the oldest goes first.
//!
//! A history is part of every view, twenty times a second at most, and is copied by its count
//! only; the samples themselves are copied when a new one comes while a view still holds the old.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use nonstop_rate::Bitrate;

use crate::{
    media::Size,
    mesh::{LinkStats, Path},
};

/// How far back a history reaches: what went wrong just before one thought of looking.
pub const HISTORY_SPAN: Duration = Duration::from_secs(60);
/// The most samples there are: one a second, with both ends of the minute. A link that told its
/// figures more often would be remembered for a shorter time, not in more memory.
const MOST: usize = 61;

/// A link's figures in one second. What is not known is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When they were taken.
    pub at: Instant,
    /// What the network is believed to carry, from us to them.
    pub estimate: Option<Bitrate>,
    /// What our encoder is told for them.
    pub target: Option<Bitrate>,
    /// Pictures sent.
    pub video_sent: Option<Bitrate>,
    /// Sound sent.
    pub audio_sent: Option<Bitrate>,
    /// Pictures received.
    pub video_received: Option<Bitrate>,
    /// Sound received.
    pub audio_received: Option<Bitrate>,
    /// From here to there and back.
    pub round_trip: Option<Duration>,
    /// How long packets wait on their way to them, beyond the shortest delay seen.
    pub queue_delay: Option<Duration>,
    /// Share of our packets that were lost, 0.0 to 1.0.
    pub loss_sent: Option<f32>,
    /// Share of their packets that were lost, 0.0 to 1.0.
    pub loss_received: Option<f32>,
    /// How packets travel.
    pub path: Option<Path>,
    /// What carries them: "udp" or "tcp".
    pub protocol: Option<&'static str>,
    /// Size of the picture sent.
    pub sent_size: Option<Size>,
    /// Pictures a second sent.
    pub sent_fps: Option<f32>,
    /// Size of the picture received.
    pub received_size: Option<Size>,
    /// Pictures a second shown.
    pub received_fps: Option<f32>,
    /// Which encoder makes what is sent: links with the same number share it.
    pub encoder_id: Option<u64>,
}

impl Sample {
    /// Makes a sample in which nothing is known.
    pub fn unknown(at: Instant) -> Self {
        Self {
            at,
            estimate: None,
            target: None,
            video_sent: None,
            audio_sent: None,
            video_received: None,
            audio_received: None,
            round_trip: None,
            queue_delay: None,
            loss_sent: None,
            loss_received: None,
            path: None,
            protocol: None,
            sent_size: None,
            sent_fps: None,
            received_size: None,
            received_fps: None,
            encoder_id: None,
        }
    }

    /// Takes what is shown of a link's figures.
    pub(super) fn of(stats: &LinkStats, at: Instant) -> Self {
        Self {
            at,
            estimate: stats.estimate,
            target: stats.target,
            video_sent: stats.video_sent,
            audio_sent: stats.audio_sent,
            video_received: stats.video_received,
            audio_received: stats.audio_received,
            round_trip: stats.round_trip_time,
            queue_delay: stats.queue_delay,
            loss_sent: stats.loss_sent,
            loss_received: stats.loss_received,
            path: stats.path,
            protocol: stats.protocol,
            sent_size: stats.sent_size,
            sent_fps: stats.sent_fps,
            received_size: stats.received_size,
            received_fps: stats.decoded_fps,
            encoder_id: stats.encoder_id,
        }
    }

    /// Returns all that is sent, where any of it is known.
    pub fn sent(&self) -> Option<Bitrate> {
        sum(self.video_sent, self.audio_sent)
    }

    /// Returns all that is received, where any of it is known.
    pub fn received(&self) -> Option<Bitrate> {
        sum(self.video_received, self.audio_received)
    }
}

fn sum(video: Option<Bitrate>, audio: Option<Bitrate>) -> Option<Bitrate> {
    match (video, audio) {
        (Some(video), Some(audio)) => Some(video + audio),
        (one, other) => one.or(other),
    }
}

/// The samples of the last minute, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History(Arc<VecDeque<Sample>>);

impl History {
    /// Adds the newest sample; what is a minute older goes.
    pub fn push(&mut self, sample: Sample) {
        let samples = Arc::make_mut(&mut self.0);
        samples.push_back(sample);
        let too_old = |first: &Sample| sample.at.saturating_duration_since(first.at) > HISTORY_SPAN;
        while samples.len() > MOST || samples.front().is_some_and(too_old) {
            samples.pop_front();
        }
    }

    /// Returns the samples, oldest first.
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> + Clone {
        self.0.iter()
    }

    /// Returns the newest sample.
    pub fn newest(&self) -> Option<&Sample> {
        self.0.back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn sample(at: Instant, kbps: u64) -> Sample {
        Sample {
            target: Some(Bitrate::from_kbps(kbps)),
            ..Sample::unknown(at)
        }
    }

    fn seconds(history: &History, now: Instant) -> Vec<u64> {
        let ago = |sample: &Sample| (now - sample.at).as_secs();
        history.samples().map(ago).collect()
    }

    #[test]
    fn a_history_is_the_last_minute_and_no_more() {
        let start = clock::now();
        let mut history = History::default();
        for second in 0..=200 {
            history.push(sample(start + second * SECOND, u64::from(second)));
        }
        let now = start + 200 * SECOND;
        assert_eq!(seconds(&history, now), (0..=60).rev().collect::<Vec<_>>());
        let newest = history.newest().expect("two hundred were pushed");
        assert_eq!(newest.target, Some(Bitrate::from_kbps(200)));
    }

    #[test]
    fn a_pause_leaves_a_gap_and_old_samples_still_go() {
        let start = clock::now();
        let mut history = History::default();
        for second in [0, 1, 2, 50, 62] {
            history.push(sample(start + second * SECOND, 1));
        }
        assert_eq!(seconds(&history, start + 62 * SECOND), [60, 12, 0]);
    }

    #[test]
    fn figures_that_come_too_often_take_no_more_room() {
        let start = clock::now();
        let mut history = History::default();
        for _ in 0..10_000 {
            history.push(sample(start, 1));
        }
        assert_eq!(history.samples().count(), MOST);
    }

    #[test]
    fn a_view_keeps_the_history_that_it_was_given() {
        let start = clock::now();
        let mut history = History::default();
        history.push(sample(start, 1));
        let view = history.clone();
        assert!(Arc::ptr_eq(&view.0, &history.0), "a view copies no samples");
        history.push(sample(start + SECOND, 2));
        assert_eq!(view.samples().count(), 1);
        assert_eq!(history.samples().count(), 2);
    }

    #[test]
    fn what_is_sent_is_sound_and_pictures_and_unknown_only_if_both_are() {
        let at = clock::now();
        let mut sample = Sample::unknown(at);
        assert_eq!(sample.sent(), None);
        sample.audio_sent = Some(Bitrate::from_kbps(32));
        assert_eq!(sample.sent(), Some(Bitrate::from_kbps(32)));
        sample.video_sent = Some(Bitrate::from_kbps(500));
        assert_eq!(sample.sent(), Some(Bitrate::from_kbps(532)));
    }
}
