//! Whether each direction of a demo was good enough, and which stage was too slow if not.

use std::{fmt, time::Instant};

use serde::Serialize;

use super::{
    children::{SIZE, name},
    follow::LinkFigures,
};

/// Decoded pictures a second that a direction must deliver.
const LEAST_FPS: f64 = 20.0;
/// The largest share of sound that may be lost, or made up to hide a loss.
const MOST_AUDIO_LOST: f64 = 0.01;
/// Below this an encoder cannot be expected to hold the size and rate that are asked for
/// (640x360 at 20 pictures a second wants about 400 kb/s), so the network is what was slow.
const NEEDED_BPS: f64 = 350_000.0;
/// A stage that takes this long for each picture leaves no room for 30 of them a second.
const SLOW_MS: f64 = 25.0;
/// From here on loss is more than loopback ever shows of itself.
const LOSSY: f64 = 0.02;

/// The figures of one second, and when they were read.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) figures: LinkFigures,
}

/// One direction: what one participant sent and another received.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Direction {
    from: String,
    to: String,
    /// Decoded pictures of the size asked for, a second.
    decoded_fps: Option<f64>,
    /// Share of the packets of sound that never came in time.
    audio_lost: Option<f64>,
    /// Share of the played sound that was made up.
    audio_concealed: Option<f64>,
    /// What was too slow.
    too_slow: Option<Stage>,
}

/// A stage of the way of pictures and sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Capture,
    Encode,
    Network,
    Decode,
    Sound,
}

impl Direction {
    /// Judges by what the sender and the receiver measured of their link, a second each.
    pub(super) fn judge(
        from: usize,
        to: usize,
        sender: &[&LinkFigures],
        receiver: &[&LinkFigures],
    ) -> Self {
        let decoded_fps = mean(receiver, |figures| {
            let size = (figures.received_width?, figures.received_height?);
            let fps = figures.decoded_fps?;
            Some(if size == SIZE { fps } else { 0.0 })
        });
        let lost = grown(receiver, |figures| figures.audio_lost);
        let came = grown(receiver, |figures| figures.audio_packets);
        let concealed = grown(receiver, |figures| figures.audio_concealed_ms);
        let played = grown(receiver, |figures| figures.audio_played_ms);
        let share = |part: Option<f64>, whole: Option<f64>| {
            whole
                .filter(|whole| *whole > 0.0)
                .zip(part)
                .map(|(whole, part)| part / whole)
        };
        let audio_lost = share(lost, lost.zip(came).map(|(lost, came)| lost + came));
        let audio_concealed = share(concealed, played);
        let bad = |share: Option<f64>| share.is_none_or(|share| share > MOST_AUDIO_LOST);
        let too_slow = if decoded_fps.is_none_or(|fps| fps < LEAST_FPS) {
            Some(slow_picture_stage(sender, receiver))
        } else if bad(audio_lost) || bad(audio_concealed) {
            Some(slow_sound_stage(receiver))
        } else {
            None
        };
        Self {
            from: name(from),
            to: name(to),
            decoded_fps: decoded_fps.map(|fps| round(fps, 10.0)),
            audio_lost: audio_lost.map(|share| round(share, 10_000.0)),
            audio_concealed: audio_concealed.map(|share| round(share, 10_000.0)),
            too_slow,
        }
    }

    /// Tells whether it was good enough.
    pub(super) fn passed(&self) -> bool {
        self.too_slow.is_none()
    }
}

/// Says what was not good enough, if anything was not.
pub(super) fn complaint(directions: &[Direction]) -> Option<String> {
    let failed = directions.iter().filter(|direction| !direction.passed());
    let mut names = Vec::new();
    for stage in failed.clone().filter_map(|failed| failed.too_slow) {
        let name = stage.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let count = failed.count();
    if count == 0 {
        return None;
    }
    Some(format!(
        "{count} of {} directions were not good enough; too slow: {}",
        directions.len(),
        names.join(", ")
    ))
}

fn slow_picture_stage(sender: &[&LinkFigures], receiver: &[&LinkFigures]) -> Stage {
    let sent_fps = mean(sender, |figures| {
        let size = (figures.sent_width?, figures.sent_height?);
        let fps = figures.sent_fps?;
        Some(if size == SIZE { fps } else { 0.0 })
    });
    let over = |figure: Option<f64>, bound| figure.is_some_and(|figure| figure >= bound);
    if sent_fps.is_none_or(|fps| fps < LEAST_FPS) {
        let target = mean(sender, |figures| figures.target_bps.map(|bps| bps as f64));
        let encode = mean(sender, |figures| figures.encode_ms);
        let seconds = sender.len().max(1) as f64;
        let skipped = grown(sender, |figures| figures.encode_skipped);
        return if target.is_some_and(|target| target < NEEDED_BPS) {
            Stage::Network
        } else if over(encode, SLOW_MS) || over(skipped.map(|all| all / seconds), 1.0) {
            Stage::Encode
        } else {
            Stage::Capture
        };
    }
    let decode = mean(receiver, |figures| figures.decode_ms);
    let loss = mean(receiver, |figures| figures.loss_received);
    if over(loss, LOSSY) && !over(decode, SLOW_MS) {
        Stage::Network
    } else {
        Stage::Decode
    }
}

fn slow_sound_stage(receiver: &[&LinkFigures]) -> Stage {
    let loss = mean(receiver, |figures| figures.loss_received);
    if loss.is_some_and(|loss| loss >= LOSSY) {
        Stage::Network
    } else {
        Stage::Sound
    }
}

/// Returns the mean over the seconds that have the figure, if one has.
fn mean(of: &[&LinkFigures], figure: impl Fn(&LinkFigures) -> Option<f64>) -> Option<f64> {
    let known: Vec<f64> = of.iter().filter_map(|figures| figure(figures)).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

/// Returns by how much a figure that counts from the start grew, where it is known twice.
fn grown(of: &[&LinkFigures], figure: impl Fn(&LinkFigures) -> Option<u64>) -> Option<f64> {
    let mut known = of.iter().filter_map(|figures| figure(figures));
    let first = known.next()?;
    known.last().map(|last| last.saturating_sub(first) as f64)
}

fn round(figure: f64, parts: f64) -> f64 {
    (figure * parts).round() / parts
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capture => "capture",
            Self::Encode => "encode",
            Self::Network => "network",
            Self::Decode => "decode",
            Self::Sound => "sound",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fps = self.decoded_fps.unwrap_or(0.0);
        let percent = |share: Option<f64>| match share {
            Some(share) => format!("{:.2} %", share * 100.0),
            None => "an unknown share".to_owned(),
        };
        write!(
            f,
            "{} to {}: {fps:.1} pictures a second at {}x{}, {} of the sound lost, {} made up: ",
            self.from,
            self.to,
            SIZE.0,
            SIZE.1,
            percent(self.audio_lost),
            percent(self.audio_concealed),
        )?;
        match self.too_slow {
            None => f.write_str("good"),
            Some(stage) => write!(f, "not good enough, {stage} was too slow"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second in which all was well, the `second`th.
    fn fine(second: u64) -> LinkFigures {
        let text = format!(
            r#"{{"time_ms":{0}000,"peer":"00000000000000ab","target_bps":900000,
            "sent_width":640,"sent_height":360,"sent_fps":30.0,
            "received_width":640,"received_height":360,"decoded_fps":29.8,"loss_received":0.0,
            "audio_concealed_ms":0,"audio_played_ms":{0}000,"audio_packets":{1},"audio_lost":0,
            "encode_ms":2.0,"encode_skipped":0,"decode_ms":0.8}}"#,
            second,
            second * 50,
        );
        serde_json::from_str(&text).unwrap()
    }

    fn seconds(change: impl Fn(u64, &mut LinkFigures)) -> Vec<LinkFigures> {
        let second = |number| {
            let mut figures = fine(number);
            change(number, &mut figures);
            figures
        };
        (1..=10).map(second).collect()
    }

    fn judge(sender: &[LinkFigures], receiver: &[LinkFigures]) -> Direction {
        let sender: Vec<_> = sender.iter().collect();
        let receiver: Vec<_> = receiver.iter().collect();
        Direction::judge(0, 1, &sender, &receiver)
    }

    fn good() -> Vec<LinkFigures> {
        seconds(|_, _| ())
    }

    #[test]
    fn a_good_call_passes() {
        let direction = judge(&good(), &good());
        assert!(direction.passed(), "{direction}");
        assert_eq!(direction.decoded_fps, Some(29.8));
        assert_eq!(direction.audio_lost, Some(0.0));
        assert_eq!(complaint(&[direction]), None);
    }

    #[test]
    fn pictures_of_another_size_count_for_nothing() {
        let small = seconds(|_, figures| figures.received_width = Some(480));
        assert_eq!(judge(&good(), &small).decoded_fps, Some(0.0));
    }

    #[test]
    fn what_was_not_measured_does_not_pass() {
        assert!(!judge(&good(), &[]).passed());
        let deaf = seconds(|_, figures| figures.audio_packets = None);
        assert!(!judge(&good(), &deaf).passed());
    }

    #[test]
    fn the_stage_that_was_too_slow_is_named() {
        let slow = seconds(|_, figures| figures.decoded_fps = Some(9.0));
        let stage = |change: fn(u64, &mut LinkFigures)| {
            let sender = seconds(|second, figures| {
                figures.sent_fps = Some(9.0);
                change(second, figures);
            });
            judge(&sender, &slow).too_slow
        };
        assert_eq!(stage(|_, _| ()), Some(Stage::Capture));
        assert_eq!(stage(|_, f| f.encode_ms = Some(60.0)), Some(Stage::Encode));
        let skipping = |second, f: &mut LinkFigures| f.encode_skipped = Some(20 * second);
        assert_eq!(stage(skipping), Some(Stage::Encode));
        assert_eq!(
            stage(|_, f| f.target_bps = Some(90_000)),
            Some(Stage::Network)
        );
        assert_eq!(judge(&good(), &slow).too_slow, Some(Stage::Decode));
        let lossy = seconds(|_, figures| {
            figures.decoded_fps = Some(9.0);
            figures.loss_received = Some(0.2);
        });
        assert_eq!(judge(&good(), &lossy).too_slow, Some(Stage::Network));
    }

    #[test]
    fn more_than_one_part_in_a_hundred_of_lost_or_made_up_sound_fails() {
        let losing = |packets: u64| {
            seconds(move |second, figures| figures.audio_lost = Some(second * packets))
        };
        // One packet in 51 is nearly 2 %.
        assert!(!judge(&good(), &losing(1)).passed());
        let hidden = seconds(|second, figures| figures.audio_concealed_ms = Some(second * 12));
        assert_eq!(judge(&good(), &hidden).too_slow, Some(Stage::Sound));
        let little = seconds(|second, figures| figures.audio_concealed_ms = Some(second * 8));
        assert!(judge(&good(), &little).passed());
        let complaint = complaint(&[judge(&good(), &hidden), judge(&good(), &good())]);
        let expected = "1 of 2 directions were not good enough; too slow: sound";
        assert_eq!(complaint.as_deref(), Some(expected));
    }
}
