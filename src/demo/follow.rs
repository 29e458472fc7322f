//! Reads a file of figures while another process writes it.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use nonstop_wire::ParticipantId;
use serde::{Deserialize, Serialize};

/// One line of figures.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line {
    Link(Box<LinkFigures>),
    Event(Event),
    #[serde(other)]
    Other,
}

/// The events that a demo waits for.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Joined {
        me: ParticipantId,
    },
    LinkConnected {
        peer: ParticipantId,
    },
    #[serde(other)]
    Other,
}

/// The figures of a link that a demo judges and shows, as [`stats`](crate::stats) names them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LinkFigures {
    pub(super) time_ms: u64,
    pub(super) peer: ParticipantId,
    pub(super) path: Option<String>,
    pub(super) rtt_ms: Option<f64>,
    pub(super) target_bps: Option<u64>,
    pub(super) video_sent_bps: Option<u64>,
    pub(super) sent_width: Option<u32>,
    pub(super) sent_height: Option<u32>,
    pub(super) sent_fps: Option<f64>,
    pub(super) video_received_bps: Option<u64>,
    pub(super) received_width: Option<u32>,
    pub(super) received_height: Option<u32>,
    pub(super) decoded_fps: Option<f64>,
    pub(super) loss_received: Option<f64>,
    pub(super) audio_concealed_ms: Option<u64>,
    pub(super) capture_to_display_ms: Option<f64>,
    pub(super) audio_played_ms: Option<u64>,
    pub(super) audio_packets: Option<u64>,
    pub(super) audio_lost: Option<u64>,
    pub(super) encode_ms: Option<f64>,
    pub(super) encode_skipped: Option<u64>,
    pub(super) decode_ms: Option<f64>,
}

/// A file that grows.
#[derive(Debug)]
pub(super) struct Follower {
    file: File,
    begun: Vec<u8>,
}

impl Follower {
    /// Opens a file that is there.
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            begun: Vec::new(),
        })
    }

    /// Returns the lines that were completed since the last time.
    pub(super) fn read(&mut self) -> io::Result<Vec<Line>> {
        self.file.read_to_end(&mut self.begun)?;
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let whole: Vec<u8> = self.begun.drain(..=end).collect();
        let lines = whole.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).map_err(io::Error::other))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        call::{Entry, Happening},
        clock,
        mesh::{LinkNews, LinkStats, Path},
        stats,
    };
    use std::{fs, io::Write, time::Duration};

    #[test]
    fn lines_come_when_they_are_whole_and_as_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures");
        fs::File::create(&path).unwrap();
        let mut follower = Follower::new(path.clone()).unwrap();
        assert!(follower.read().unwrap().is_empty());

        let (start, id) = (clock::now(), ParticipantId::from_bits(9));
        let write = |news| {
            let happening = Happening::Link { id, news };
            stats::line(
                &Entry {
                    at: start,
                    happening,
                },
                start,
            ) + "\n"
        };
        let connected = write(LinkNews::Connected {
            path: Path::Direct,
            after: Duration::ZERO,
        });
        let figures = write(LinkNews::Stats(Box::new(LinkStats {
            decoded_fps: Some(29.5),
            audio_lost: Some(3),
            ..LinkStats::default()
        })));
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        let (half, rest) = figures.split_at(40);
        write!(file, "{connected}{half}").unwrap();
        let lines = follower.read().unwrap();
        assert!(matches!(lines[..], [Line::Event(Event::LinkConnected { peer })] if peer == id));
        write!(file, "{rest}").unwrap();
        let lines = follower.read().unwrap();
        let [Line::Link(figures)] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(figures.peer, id);
        assert_eq!(
            (figures.decoded_fps, figures.audio_lost),
            (Some(29.5), Some(3))
        );
        assert_eq!(figures.encode_ms, None);
    }
}
