//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use nonstop_wire::MeetingLink;

/// What a participant may do to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Misuse {
    /// Sends 100 Mb/s of pictures.
    Flood,
    /// Asks for keyframes 1000 times a second.
    Keyframes,
}

/// Joins synthetic participants to a meeting and counts what each receives.
///
/// They send recorded pictures in layers and recorded speech, as far as anybody wants it, watch a page
/// of the others, and leave after a while. All on one machine share one clock, so the delay of every
/// packet is known.
#[derive(Debug, Clone, Parser)]
#[command(name = "nonstop-load", version)]
pub(crate) struct Options {
    /// The meeting's link
    #[arg(required_unless_present = "janus")]
    pub(crate) link: Option<MeetingLink>,
    /// Joins a video room of Janus at this WebSocket address instead
    #[arg(long, value_name = "URL", conflicts_with = "link")]
    pub(crate) janus: Option<String>,
    /// How many join
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) people: usize,
    /// How many of them have cameras [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) cameras: Option<usize>,
    /// How many of them have microphones [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) microphones: Option<usize>,
    /// How many watch [default: all]; the last ones do
    #[arg(long, value_name = "N")]
    pub(crate) watchers: Option<usize>,
    /// How many tiles each shows
    #[arg(long, default_value_t = 9, value_name = "N")]
    pub(crate) page: usize,
    /// How large a tile is, in pixels
    #[arg(long, default_value = "426x240", value_name = "WxH", value_parser = size)]
    pub(crate) tile: (u32, u32),
    /// Turns to the next page this often
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) flip: Option<Duration>,
    /// How many layers those with cameras publish
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub(crate) layers: u8,
    /// Publishes this layer alone, from 0; with Janus, which has no layers here, always
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) only_layer: Option<u8>,
    /// How many speak at once
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) voices: usize,
    /// How long is counted, after all are connected and have settled
    #[arg(long = "for", default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub(crate) lasting: Duration,
    /// Spreads the arrivals over this
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = duration)]
    pub(crate) join_over: Duration,
    /// Waits this long between the last connection and counting
    #[arg(long, default_value = "4s", value_name = "DURATION", value_parser = duration)]
    pub(crate) settle: Duration,
    /// Leaves the time of sending out of the payloads: pictures can be decoded, delays are not known
    #[arg(long)]
    pub(crate) clean: bool,
    /// Tells everybody a name, as applications do, so that these show it
    #[arg(long)]
    pub(crate) introduce: bool,
    /// The server's process, to tell what it costs
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
    /// Threads to run on
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: u8,
    /// The name of the first; the others count on
    #[arg(long, default_value = "Load", value_name = "NAME")]
    pub(crate) name: String,
    /// Watches and hears only those whom this program brought
    #[arg(long)]
    pub(crate) among_themselves: bool,
    /// What the first participant does to the others
    #[arg(long, value_name = "KIND")]
    pub(crate) misuse: Option<Misuse>,
    /// The recording to send instead of the one that comes along
    #[arg(long, value_name = "FILE")]
    pub(crate) recording: Option<PathBuf>,
    /// Writes what was counted to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    /// Returns how many have cameras.
    pub(crate) fn cameras(&self) -> usize {
        self.cameras.unwrap_or(self.people).min(self.people)
    }

    /// Returns how many have microphones.
    pub(crate) fn microphones(&self) -> usize {
        self.microphones.unwrap_or(self.people).min(self.people)
    }

    /// Tells whether somebody watches.
    pub(crate) fn watches(&self, index: usize) -> bool {
        index + self.watchers.unwrap_or(self.people).min(self.people) >= self.people
    }
}

/// Reads a duration such as `30s`, `500ms` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits
        .parse()
        .map_err(|_| format!("{text} is no duration"))?;
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{text} is no duration: ms, s or m")),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|_| format!("{text} is no duration"))
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let (width, height) = text.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
    let side = |text: &str| {
        text.parse()
            .map_err(|_| format!("{text} is no number of pixels"))
    };
    Ok((side(width)?, side(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert!(duration("soon").is_err() && duration("-1s").is_err());
        assert_eq!(size("426x240"), Ok((426, 240)));
        assert!(size("426").is_err());
    }

    #[test]
    fn the_last_ones_watch() {
        let words = [
            "nonstop-load",
            "http://127.0.0.1/a#AAAAAAAAAAAAAAAAAAAAAA",
            "--people",
            "5",
            "--watchers",
            "2",
        ];
        let options = Options::parse_from(words);
        let watch: Vec<_> = (0..5).map(|index| options.watches(index)).collect();
        assert_eq!(watch, [false, false, false, true, true]);
    }
}
