//! The command line of `run`.

use crate::{
    command::{Step, load_schedule},
    model::{Cfg, apply},
};

/// How often figures are written unless told otherwise, in nanoseconds.
const USUAL_INTERVAL: u64 = 200_000_000;

/// What a link is made of.
pub(crate) struct Options {
    /// Namespace and device of each end: A, then B.
    pub(crate) ends: [(String, String); 2],
    pub(crate) up: Cfg,
    pub(crate) down: Cfg,
    pub(crate) schedule: Vec<Step>,
    /// After how many nanoseconds the schedule repeats; zero for never.
    pub(crate) period: u64,
    pub(crate) control: Option<String>,
    pub(crate) stats: Option<String>,
    pub(crate) packet_log: Option<String>,
    /// Nanoseconds between two lines of figures.
    pub(crate) interval: u64,
    pub(crate) seed: u64,
    pub(crate) priority: i32,
    /// Nanoseconds until the process ends.
    pub(crate) limit: u64,
}

impl Options {
    /// Reads pairs of an option and its value.
    pub(crate) fn parse(words: &[String]) -> Result<Options, String> {
        let mut options = Options {
            ends: Default::default(),
            up: Cfg::default(),
            down: Cfg::default(),
            schedule: Vec::new(),
            period: 0,
            control: None,
            stats: None,
            packet_log: None,
            interval: USUAL_INTERVAL,
            seed: 1,
            priority: 0,
            limit: u64::MAX,
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
        let text = || Some(value.to_owned());
        match option {
            "--a" => self.ends[0] = end(value)?,
            "--b" => self.ends[1] = end(value)?,
            "--up" => drop(apply(&mut self.up, value)?),
            "--down" => drop(apply(&mut self.down, value)?),
            "--both" => {
                apply(&mut self.up, value)?;
                apply(&mut self.down, value)?;
            }
            "--schedule" => self.schedule = load_schedule(value)?,
            "--loop" => self.period = (number()? * 1e9) as u64,
            "--ctl" => self.control = text(),
            "--stats" => self.stats = text(),
            "--pktlog" => self.packet_log = text(),
            "--interval" => self.interval = (number()? * 1e6).max(1e6) as u64,
            "--seed" => self.seed = number()? as u64,
            "--rt" => self.priority = number()? as i32,
            "--time" => self.limit = (number()? * 1e9) as u64,
            _ => return Err("unknown option".to_owned()),
        }
        Ok(())
    }
}

fn end(value: &str) -> Result<(String, String), String> {
    value
        .split_once('/')
        .map(|(namespace, device)| (namespace.to_owned(), device.to_owned()))
        .ok_or_else(|| "expected NS/DEV".to_owned())
}
