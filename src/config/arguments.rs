//! The command line. It is part of the product: scripts and tests rely on every word.
//!
//! Texts become types here, so that nothing behind this door checks them again.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand};
use nonstop_rate::Bitrate;
use nonstop_wire::{MAX_PERSON_NAME, MeetingLink};

use crate::{
    media::{AudioSink, AudioSource, Size, VideoSource},
    mesh::{PathPolicy, ProxyChoice},
};

/// Video calls that go straight from one computer to another.
///
/// Without a command, the window opens. Everything else is for scripts, tests and diagnosis.
#[derive(Debug, Parser)]
#[command(name = "nonstop", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// A meeting link to open the window with; joining waits for you
    pub link: Option<String>,
    /// What to do in place of opening the window.
    #[command(subcommand)]
    pub chosen: Option<Chosen>,
}

/// What to do in place of opening the window.
#[derive(Debug, Subcommand)]
pub enum Chosen {
    /// Print a new meeting link
    New {
        /// The meeting server, such as https://meet.example.org; without it, the one in your settings
        #[arg(long, value_name = "URL")]
        server: Option<String>,
    },
    /// Join a meeting without a window
    Call(Box<CallArguments>),
    /// Test the way to a meeting server, and what calls could use from here
    Check(CheckArguments),
    /// List cameras, microphones and speakers
    Devices {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Hold a real call on this computer: a server and several participants, each a process
    Demo(DemoArguments),
    /// Run a meeting server of the same kind that the window hosts
    #[command(hide = true)]
    Serve(ServeArguments),
}

/// How to join a meeting without a window.
#[derive(Debug, Args)]
pub struct CallArguments {
    /// The meeting link
    #[arg(value_parser = MeetingLink::from_str)]
    pub link: MeetingLink,
    /// Your name, as the others see it
    #[arg(long, default_value_t = user_name(), value_parser = parse_name)]
    pub name: String,
    /// Leave after this long in the meeting, such as 20s or 2m; otherwise on Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Append figures to this file: JSON lines, one a second for each link, one for each event
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// Write each participant's received pictures (y4m) and sound (wav) into this folder
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// The pictures to send: default, a camera's name, file:PATH (y4m, loops), test-card or none
    #[arg(long, value_name = "SOURCE", default_value = "default")]
    pub camera: VideoSource,
    /// The sound to send: default, a microphone's name, file:PATH (wav, loops), tone or none
    #[arg(long, value_name = "SOURCE", default_value = "default")]
    pub microphone: AudioSource,
    /// Where received sound goes: default, a speaker's name or none
    #[arg(long, value_name = "SINK", default_value = "default")]
    pub speaker: AudioSink,
    /// The only way that packets may take, for diagnosis: auto, direct, turn-udp, turn-tcp or turn-tls
    #[arg(long, default_value = "auto")]
    pub path: PathPolicy,
    /// Never let others learn your network address: everything goes through a relay
    #[arg(long)]
    pub hide_address: bool,
    /// The HTTP proxy on the way out, such as http://proxy.example:3128; none for no proxy at
    /// all; else what the environment names (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY)
    #[arg(
        long,
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub proxy: ProxyChoice,
    /// The most to send to each participant, in bits a second, such as 800k or 2.5M
    #[arg(long, value_name = "RATE", value_parser = parse_bitrate)]
    pub max_bitrate: Option<Bitrate>,
    /// The largest picture to send, such as 640x360
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = parse_size)]
    pub max_size: Size,
    /// Leave when standard input ends, so that a crashed parent leaves nobody behind.
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
}

/// How to test the way to a meeting server.
#[derive(Debug, Clone, Args)]
pub struct CheckArguments {
    /// A meeting link, whose server is tested; nobody in the meeting notices
    #[arg(value_parser = MeetingLink::from_str)]
    pub link: Option<MeetingLink>,
    /// The meeting server, such as https://meet.example.org; without it and a link, the one in your settings
    #[arg(long, value_name = "URL", conflicts_with = "link")]
    pub server: Option<String>,
    /// The HTTP proxy on the way out, as for a call
    #[arg(
        long,
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub proxy: ProxyChoice,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How to hold a call on this computer.
#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    /// How many take part
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=5))]
    pub people: u8,
    /// How long the call lasts, counted from when everybody is connected
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
}

/// How to run a meeting server.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Where it listens
    #[arg(long, value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Stop when standard input ends, so that a crashed parent leaves nothing behind.
    #[arg(long)]
    pub end_with_stdin: bool,
}

/// Returns the name under which a call begins where none is given: the one this person is
/// logged in with.
fn user_name() -> String {
    let known = ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(|variable| std::env::var(variable).ok())
        .and_then(|name| parse_name(&name).ok());
    known.unwrap_or_else(|| "Guest".to_owned())
}

fn parse_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    match name.chars().count() {
        0 => Err("a name has at least one character".to_owned()),
        1..=MAX_PERSON_NAME => Ok(name.to_owned()),
        _ => Err(format!("a name has at most {MAX_PERSON_NAME} characters")),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a time such as 20s, 2m or 1h 30m";
    match humantime::parse_duration(text) {
        Ok(duration) if duration > Duration::ZERO => Ok(duration),
        _ => Err(EXPECTED.to_owned()),
    }
}

fn parse_bitrate(text: &str) -> Result<Bitrate, String> {
    const EXPECTED: &str = "expected bits a second such as 800k or 2.5M, at least 24k";
    let (number, factor) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => match text.strip_suffix(['m', 'M']) {
            Some(number) => (number, 1e6),
            None => (text, 1.0),
        },
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let bps = number.parse::<f64>().ok().filter(|_| plain);
    match bps.map(|bps| bps * factor) {
        Some(bps) if (24e3..=1e9).contains(&bps) => Ok(Bitrate::from_bps(bps.round() as u64)),
        _ => Err(EXPECTED.to_owned()),
    }
}

fn parse_size(text: &str) -> Result<Size, String> {
    const EXPECTED: &str =
        "expected width and height such as 640x360, both even, from 64x64 to 3840x2160";
    let side = |text: &str, most: u32| {
        let side: u32 = text.parse().ok()?;
        (side.is_multiple_of(2) && (64..=most).contains(&side)).then_some(side)
    };
    text.split_once(['x', 'X'])
        .and_then(|(width, height)| Some(Size::new(side(width, 3840)?, side(height, 2160)?)))
        .ok_or_else(|| EXPECTED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::Path;
    use clap::{CommandFactory, error::ErrorKind};

    const LINK: &str = "http://127.0.0.1:4433/standup#AAAAAAAAAAAAAAAAAAAAAA";

    fn parse(words: &[&str]) -> Result<Arguments, ErrorKind> {
        Arguments::try_parse_from([&["nonstop"], words].concat()).map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_consistent_and_every_word_of_it_is_explained() {
        Arguments::command().debug_assert();
        for command in Arguments::command().get_subcommands() {
            for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{argument}");
            }
        }
    }

    #[test]
    fn no_words_open_the_window_and_a_link_opens_it_with_that_meeting() {
        let arguments = parse(&[]).unwrap();
        assert!(arguments.link.is_none() && arguments.chosen.is_none());
        assert_eq!(parse(&[LINK]).unwrap().link.as_deref(), Some(LINK));
    }

    #[test]
    fn every_option_of_a_call_is_understood() {
        let words = "--name Ada --for 1m --stats s --record r --camera test-card \
            --microphone tone --speaker none --path turn-tcp --hide-address --proxy none --max-bitrate 2.5M --max-size 640x360";
        let words: Vec<_> = ["call", LINK]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        let Some(Chosen::Call(call)) = parse(&words).unwrap().chosen else {
            panic!("not a call");
        };
        assert_eq!(call.link.reveal(), LINK);
        assert_eq!(call.name, "Ada");
        assert_eq!(call.duration, Some(Duration::from_secs(60)));
        assert_eq!(call.stats, Some("s".into()));
        assert_eq!(call.record, Some("r".into()));
        assert_eq!(call.camera, VideoSource::TestCard);
        assert_eq!(call.microphone, AudioSource::Tone);
        assert_eq!(call.speaker, AudioSink::None);
        assert_eq!(call.path, PathPolicy::Only(Path::TurnTcp));
        assert!(call.hide_address);
        assert_eq!(call.proxy, ProxyChoice::Never);
        assert_eq!(call.max_bitrate, Some(Bitrate::from_kbps(2_500)));
        assert_eq!(call.max_size, Size::new(640, 360));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_a_reason() {
        for words in [
            ["call", "standup"].as_slice(),
            &["call", "http://127.0.0.1/standup"],
            &["call", LINK, "--for", "20"],
            &["call", LINK, "--for", "0s"],
            &["call", LINK, "--max-size", "641x360"],
            &["call", LINK, "--max-size", "big"],
            &["call", LINK, "--max-bitrate", "10"],
            &["call", LINK, "--max-bitrate", "1e5"],
            &["call", LINK, "--name", " "],
            &["call", LINK, "--proxy", "socks5://proxy.example"],
        ] {
            assert_eq!(
                parse(words).unwrap_err(),
                ErrorKind::ValueValidation,
                "{words:?}"
            );
        }
        assert!(parse(&["call"]).is_err());
        assert!(parse(&["demo", "--people", "6"]).is_err());
        assert!(parse(&["devices", "--yaml"]).is_err());
    }

    #[test]
    fn rates_are_bits_a_second_with_or_without_a_factor() {
        assert_eq!(parse_bitrate("800k"), Ok(Bitrate::from_kbps(800)));
        assert_eq!(parse_bitrate("2.5M"), Ok(Bitrate::from_kbps(2_500)));
        assert_eq!(parse_bitrate("96000"), Ok(Bitrate::from_kbps(96)));
    }
}
