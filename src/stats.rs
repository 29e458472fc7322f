//! The lines that `--stats` writes: one a second for each link, one for each event, as JSON.
//!
//! Scripts rely on every name in here. What is not known is null, never zero.

use std::time::{Duration, Instant};

use nonstop_wire::{ParticipantId, PauseReason, Topology};
use serde::Serialize;

use crate::{
    call::{Entry, Happening, NoticeLevel},
    media::Size,
    mesh::{End, LinkNews, LinkStats, RelayState, Suspicion},
};

/// Returns the line for an entry, without its end. `start` is when the process began.
pub fn line(entry: &Entry, start: Instant) -> String {
    let time = entry.at.saturating_duration_since(start);
    let line = match &entry.happening {
        Happening::Link {
            id,
            news: LinkNews::Stats(stats),
        } => serde_json::to_string(&link(*id, stats, time)),
        happening => serde_json::to_string(&EventLine {
            kind: "event",
            time_ms: millis(time),
            event: event(happening, time),
        }),
    };
    line.expect("numbers and texts can always be written as JSON")
}

/// The figures of one link over the last second.
#[derive(Debug, Serialize)]
struct LinkLine {
    #[serde(rename = "type")]
    kind: &'static str,
    time_ms: u64,
    peer: ParticipantId,
    path: Option<String>,
    protocol: Option<&'static str>,
    rtt_ms: Option<f64>,
    estimate_bps: Option<u64>,
    target_bps: Option<u64>,
    video_sent_bps: Option<u64>,
    audio_sent_bps: Option<u64>,
    retransmitted_bps: Option<u64>,
    sent_width: Option<u32>,
    sent_height: Option<u32>,
    sent_fps: Option<f64>,
    encoder_id: Option<u64>,
    video_received_bps: Option<u64>,
    audio_received_bps: Option<u64>,
    received_width: Option<u32>,
    received_height: Option<u32>,
    decoded_fps: Option<f64>,
    frames_decoded: Option<u64>,
    freeze_count: Option<u64>,
    freeze_ms: Option<u64>,
    loss_sent: Option<f64>,
    loss_received: Option<f64>,
    queue_delay_ms: Option<f64>,
    audio_concealed_ms: Option<u64>,
    capture_to_display_ms: Option<f64>,
    // Beyond the stable names: what tells which stage was too slow.
    longest_picture_gap_ms: Option<u64>,
    audio_played_ms: Option<u64>,
    audio_packets: Option<u64>,
    audio_recovered: Option<u64>,
    audio_lost: Option<u64>,
    encode_ms: Option<f64>,
    encode_skipped: Option<u64>,
    decode_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct EventLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    time_ms: u64,
    #[serde(flatten)]
    event: Event<'a>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    Joined {
        me: ParticipantId,
        others: usize,
        after_ms: u64,
        since_start_ms: u64,
    },
    ParticipantJoined {
        peer: ParticipantId,
    },
    ParticipantDescribed {
        peer: ParticipantId,
        name: &'a str,
        microphone: bool,
        camera: bool,
    },
    ParticipantLeft {
        peer: ParticipantId,
        lost: bool,
    },
    LinkConnected {
        peer: ParticipantId,
        path: String,
        since_join_ms: u64,
        since_start_ms: u64,
    },
    LinkInterrupted {
        peer: ParticipantId,
    },
    PathChanged {
        peer: ParticipantId,
        path: String,
    },
    FirstVideoFrame {
        peer: ParticipantId,
        since_join_ms: u64,
        since_start_ms: u64,
    },
    FirstAudio {
        peer: ParticipantId,
        since_join_ms: u64,
        since_start_ms: u64,
    },
    VideoPaused {
        peer: ParticipantId,
        reason: &'static str,
    },
    VideoResumed {
        peer: ParticipantId,
    },
    PicturesPaused {
        peer: ParticipantId,
        reason: &'static str,
    },
    PicturesResumed {
        peer: ParticipantId,
    },
    /// What somebody says of all their links: how many suffer.
    Strain {
        peer: ParticipantId,
        links: u32,
        up: u32,
        down: u32,
    },
    /// What a link tries, and what the network lets through: whether UDP works, and relays over
    /// UDP, TCP and TLS.
    Ways {
        peer: ParticipantId,
        checking: Vec<String>,
        udp: Option<bool>,
        relays: [&'static str; 3],
    },
    /// Figures are lines of their own; this stands for none.
    #[serde(skip)]
    Figures,
    Reconnecting,
    Reconnected {
        resumed: bool,
    },
    TopologyChanged {
        topology: &'static str,
    },
    Suspicion {
        kind: &'static str,
        text: String,
    },
    Notice {
        level: &'static str,
        about: String,
        text: &'a str,
    },
    Left {
        reason: &'static str,
    },
}

fn event(happening: &Happening, time: Duration) -> Event<'_> {
    let since_start_ms = millis(time);
    match happening {
        Happening::Joined { me, others, after } => Event::Joined {
            me: *me,
            others: *others,
            after_ms: millis(*after),
            since_start_ms,
        },
        Happening::ParticipantJoined { id } => Event::ParticipantJoined { peer: *id },
        Happening::ParticipantDescribed {
            id,
            name,
            microphone,
            camera,
        } => Event::ParticipantDescribed {
            peer: *id,
            name,
            microphone: *microphone,
            camera: *camera,
        },
        Happening::ParticipantLeft { id, lost, .. } => Event::ParticipantLeft {
            peer: *id,
            lost: *lost,
        },
        Happening::Link { id, news } => link_event(*id, news, since_start_ms),
        Happening::Reconnecting => Event::Reconnecting,
        Happening::Reconnected { resumed } => Event::Reconnected { resumed: *resumed },
        Happening::TopologyChanged(topology) => Event::TopologyChanged {
            topology: match topology {
                Topology::Mesh => "mesh",
                Topology::Relay => "relay",
                Topology::Unknown => "unknown",
            },
        },
        Happening::Suspicion(suspicion) => Event::Suspicion {
            kind: suspicion_kind(suspicion),
            text: suspicion.to_string(),
        },
        Happening::Notice(notice) => Event::Notice {
            level: match notice.level {
                NoticeLevel::Information => "information",
                NoticeLevel::Warning => "warning",
                NoticeLevel::Error => "error",
            },
            about: format!("{:?}", notice.kind).to_lowercase(),
            text: &notice.text,
        },
        Happening::Ended(end) => Event::Left {
            reason: match end {
                End::Left => "left",
                End::Refused(_) => "refused",
                End::Unreachable(_) => "unreachable",
            },
        },
    }
}

fn link_event(peer: ParticipantId, news: &LinkNews, since_start_ms: u64) -> Event<'_> {
    match news {
        LinkNews::Connected { path, after } => Event::LinkConnected {
            peer,
            path: path.to_string(),
            since_join_ms: millis(*after),
            since_start_ms,
        },
        LinkNews::PathChanged(path) => Event::PathChanged {
            peer,
            path: path.to_string(),
        },
        LinkNews::Interrupted => Event::LinkInterrupted { peer },
        LinkNews::FirstVideoFrame { after } => Event::FirstVideoFrame {
            peer,
            since_join_ms: millis(*after),
            since_start_ms,
        },
        LinkNews::FirstAudio { after } => Event::FirstAudio {
            peer,
            since_join_ms: millis(*after),
            since_start_ms,
        },
        LinkNews::VideoPaused => Event::VideoPaused {
            peer,
            reason: reason(PauseReason::Bandwidth),
        },
        LinkNews::VideoResumed => Event::VideoResumed { peer },
        LinkNews::PicturesPaused(why) => Event::PicturesPaused {
            peer,
            reason: reason(*why),
        },
        LinkNews::PicturesResumed => Event::PicturesResumed { peer },
        LinkNews::Strain(strain) => Event::Strain {
            peer,
            links: strain.links,
            up: strain.up,
            down: strain.down,
        },
        LinkNews::Ways(ways) => Event::Ways {
            peer,
            checking: ways.checking.iter().map(ToString::to_string).collect(),
            udp: ways.reach.udp,
            relays: ways.reach.relays.map(relay_state),
        },
        LinkNews::Stats(_) => Event::Figures,
    }
}

fn relay_state(state: RelayState) -> &'static str {
    match state {
        RelayState::NotOffered => "not_offered",
        RelayState::Failed => "failed",
        RelayState::Idle => "idle",
        RelayState::Trying => "trying",
        RelayState::Works => "works",
    }
}

fn reason(why: PauseReason) -> &'static str {
    match why {
        PauseReason::Bandwidth => "bandwidth",
        PauseReason::Unknown => "unknown",
    }
}

fn suspicion_kind(suspicion: &Suspicion) -> &'static str {
    match suspicion {
        Suspicion::Forged(_) => "forged",
        Suspicion::Replayed(_) => "replayed",
        Suspicion::Stranger(_) => "stranger",
        Suspicion::Hidden(_) => "hidden",
        Suspicion::WrongParty(_) => "wrong_party",
    }
}

fn link(peer: ParticipantId, stats: &LinkStats, time: Duration) -> LinkLine {
    let width = |size: Option<Size>| size.map(|size| size.width);
    let height = |size: Option<Size>| size.map(|size| size.height);
    let bps = |rate: Option<nonstop_rate::Bitrate>| rate.map(nonstop_rate::Bitrate::bps);
    LinkLine {
        kind: "link",
        time_ms: millis(time),
        peer,
        path: stats.path.map(|path| path.to_string()),
        protocol: stats.protocol,
        rtt_ms: exact_millis(stats.round_trip_time),
        estimate_bps: bps(stats.estimate),
        target_bps: bps(stats.target),
        video_sent_bps: bps(stats.video_sent),
        audio_sent_bps: bps(stats.audio_sent),
        retransmitted_bps: bps(stats.retransmitted),
        sent_width: width(stats.sent_size),
        sent_height: height(stats.sent_size),
        sent_fps: rounded(stats.sent_fps, 10.0),
        encoder_id: stats.encoder_id,
        video_received_bps: bps(stats.video_received),
        audio_received_bps: bps(stats.audio_received),
        received_width: width(stats.received_size),
        received_height: height(stats.received_size),
        decoded_fps: rounded(stats.decoded_fps, 10.0),
        frames_decoded: stats.frames_decoded,
        freeze_count: stats.freeze_count,
        freeze_ms: stats.freeze_time.map(millis),
        loss_sent: rounded(stats.loss_sent, 10_000.0),
        loss_received: rounded(stats.loss_received, 10_000.0),
        queue_delay_ms: exact_millis(stats.queue_delay),
        audio_concealed_ms: stats.audio_concealed.map(millis),
        capture_to_display_ms: exact_millis(stats.capture_to_display),
        longest_picture_gap_ms: stats.longest_picture_gap.map(millis),
        audio_played_ms: stats.audio_played.map(millis),
        audio_packets: stats.audio_packets,
        audio_recovered: stats.audio_recovered,
        audio_lost: stats.audio_lost,
        encode_ms: exact_millis(stats.encode_time),
        encode_skipped: stats.encode_skipped,
        decode_ms: exact_millis(stats.decode_time),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds to a hundredth.
fn exact_millis(time: Option<Duration>) -> Option<f64> {
    time.map(|time| (time.as_secs_f64() * 100_000.0).round() / 100.0)
}

/// A figure to `parts` parts of one; none where it is not a number.
fn rounded(figure: Option<f32>, parts: f64) -> Option<f64> {
    let figure = figure.map(f64::from).filter(|figure| figure.is_finite())?;
    Some((figure * parts).round() / parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, mesh::Path};
    use nonstop_rate::Bitrate;

    fn written(happening: Happening) -> String {
        let start = clock::now();
        let at = start + Duration::from_millis(1_234);
        line(&Entry { at, happening }, start)
    }

    fn figures(stats: LinkStats) -> String {
        written(Happening::Link {
            id: ParticipantId::from_bits(0xab),
            news: LinkNews::Stats(Box::new(stats)),
        })
    }

    #[test]
    fn a_link_that_knows_nothing_writes_null_under_every_stable_name() {
        let expected = concat!(
            r#"{"type":"link","time_ms":1234,"peer":"00000000000000ab","path":null,"#,
            r#""protocol":null,"rtt_ms":null,"estimate_bps":null,"target_bps":null,"#,
            r#""video_sent_bps":null,"audio_sent_bps":null,"retransmitted_bps":null,"#,
            r#""sent_width":null,"sent_height":null,"sent_fps":null,"encoder_id":null,"#,
            r#""video_received_bps":null,"audio_received_bps":null,"received_width":null,"#,
            r#""received_height":null,"decoded_fps":null,"frames_decoded":null,"#,
            r#""freeze_count":null,"freeze_ms":null,"loss_sent":null,"loss_received":null,"#,
            r#""queue_delay_ms":null,"audio_concealed_ms":null,"capture_to_display_ms":null,"#,
        );
        let line = figures(LinkStats::default());
        assert!(line.starts_with(expected), "{line}");
    }

    #[test]
    fn figures_stand_in_the_units_of_their_names() {
        let line = figures(LinkStats {
            path: Some(Path::TurnTcp),
            protocol: Some("tcp"),
            round_trip_time: Some(Duration::from_micros(12_345)),
            target: Some(Bitrate::from_kbps(800)),
            sent_size: Some(Size::new(640, 360)),
            decoded_fps: Some(29.96),
            loss_sent: Some(0.012_34),
            freeze_time: Some(Duration::from_millis(1_500)),
            ..LinkStats::default()
        });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["path"], "turn-tcp");
        assert_eq!(value["rtt_ms"], 12.35);
        assert_eq!(value["target_bps"], 800_000);
        assert_eq!(
            (&value["sent_width"], &value["sent_height"]),
            (&640.into(), &360.into())
        );
        assert_eq!(value["decoded_fps"], 30.0);
        assert_eq!(value["loss_sent"], 0.0123);
        assert_eq!(value["freeze_ms"], 1_500);
    }

    #[test]
    fn events_carry_their_name_and_their_times() {
        let id = ParticipantId::from_bits(1);
        let connected = LinkNews::Connected {
            path: Path::Direct,
            after: Duration::from_millis(321),
        };
        assert_eq!(
            written(Happening::Link {
                id,
                news: connected
            }),
            r#"{"type":"event","time_ms":1234,"event":"link_connected","peer":"0000000000000001","path":"direct","since_join_ms":321,"since_start_ms":1234}"#
        );
        assert_eq!(
            written(Happening::Ended(End::Left)),
            r#"{"type":"event","time_ms":1234,"event":"left","reason":"left"}"#
        );
        let lost = true;
        let name = String::new();
        assert_eq!(
            written(Happening::ParticipantLeft { id, name, lost }),
            r#"{"type":"event","time_ms":1234,"event":"participant_left","peer":"0000000000000001","lost":true}"#
        );
    }
}
