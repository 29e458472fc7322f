//! The command line of `run`.

use std::{fs, time::Duration};

use nonstop_netem::{Schedule, Settings};

/// How often figures are written unless told otherwise.
const USUAL_INTERVAL: Duration = Duration::from_millis(200);
/// The shortest time between two lines of figures.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// What a link is made of.
pub(crate) struct Options {
    /// Namespace and device of each end: A, then B.
    pub(crate) ends: [(String, String); 2],
    pub(crate) up: Settings,
    pub(crate) down: Settings,
    pub(crate) schedule: Schedule,
    /// After how long the schedule repeats.
    pub(crate) period: Option<Duration>,
    pub(crate) control: Option<String>,
    pub(crate) stats: Option<String>,
    pub(crate) packet_log: Option<String>,
    /// Time between two lines of figures.
    pub(crate) interval: Duration,
    pub(crate) seed: u64,
    pub(crate) priority: i32,
    /// How long it sleeps at least before it looks for packets again.
    pub(crate) tick: Duration,
    /// How long the process lives.
    pub(crate) limit: Duration,
}

impl Options {
    /// Reads pairs of an option and its value.
    pub(crate) fn parse(words: &[String]) -> Result<Options, String> {
        let mut options = Options {
            ends: Default::default(),
            up: Settings::default(),
            down: Settings::default(),
            schedule: Schedule::default(),
            period: None,
            control: None,
            stats: None,
            packet_log: None,
            interval: USUAL_INTERVAL,
            seed: 1,
            priority: 0,
            tick: Duration::ZERO,
            limit: Duration::MAX,
        };
        for pair in words.chunks(2) {
            let [option, value] = pair else {
                return Err(format!("{} needs a value", pair[0]));
            };
            options
                .set(option, value)
                .map_err(|error| format!("{option}: {error}"))?;
        }
        if options.ends.iter().any(|(_, device)| device.is_empty()) {
            return Err("--a and --b are needed".to_owned());
        }
        Ok(options)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let number = || {
            let number = value.parse::<f64>().ok().filter(|number| *number >= 0.0);
            number.ok_or_else(|| format!("bad number {value:?}"))
        };
        let seconds = |factor: f64| {
            Duration::try_from_secs_f64(number()? * factor).map_err(|error| error.to_string())
        };
        let text = || Some(value.to_owned());
        match option {
            "--a" => self.ends[0] = end(value)?,
            "--b" => self.ends[1] = end(value)?,
            "--up" => apply(&mut self.up, value)?,
            "--down" => apply(&mut self.down, value)?,
            "--both" => {
                apply(&mut self.up, value)?;
                apply(&mut self.down, value)?;
            }
            "--schedule" => self.schedule = load_schedule(value)?,
            "--loop" => self.period = Some(seconds(1.0)?),
            "--ctl" => self.control = text(),
            "--stats" => self.stats = text(),
            "--pktlog" => self.packet_log = text(),
            "--interval" => self.interval = seconds(1e-3)?.max(SHORTEST_INTERVAL),
            "--seed" => self.seed = number()? as u64,
            "--rt" => self.priority = number()? as i32,
            "--tick" => self.tick = seconds(1e-3)?,
            "--time" => self.limit = seconds(1.0)?,
            _ => return Err("unknown option".to_owned()),
        }
        Ok(())
    }
}

/// Reads a schedule from a file.
pub(crate) fn load_schedule(path: &str) -> Result<Schedule, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    Schedule::parse(&text).map_err(|error| format!("{path}: {error}"))
}

/// Takes in settings; a cut before anything runs means nothing.
fn apply(settings: &mut Settings, words: &str) -> Result<(), String> {
    let applied = settings.apply(words).map(drop);
    applied.map_err(|error| error.to_string())
}

fn end(value: &str) -> Result<(String, String), String> {
    value
        .split_once('/')
        .map(|(namespace, device)| (namespace.to_owned(), device.to_owned()))
        .ok_or_else(|| "expected NS/DEV".to_owned())
}
