//! What a link does to packets, and the words that say it: `rate=1mbit queue=300ms delay=20ms`.

use std::{error::Error, fmt, time::Duration};

/// How much may wait in front of the bottleneck.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// As long as this takes to send at the current rate: the limit in bytes follows the rate.
    Time(Duration),
    /// This many bytes.
    Bytes(f64),
    /// This many packets.
    Packets(f64),
}

/// The parameters of CoDel (RFC 8289).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codel {
    /// The delay that may stand.
    pub target: Duration,
    /// For how long it may stand above.
    pub interval: Duration,
}

/// Some packets take longer, and others overtake them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    /// The share of such packets, 0 to 1.
    pub share: f64,
    /// How much longer they take.
    pub extra: Duration,
}

/// Loss in bursts (Gilbert-Elliott): two states, each with its share of lost packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Probability a packet to turn from good to bad.
    pub begin: f64,
    /// Probability a packet to turn from bad to good.
    pub end: f64,
    /// The share lost in the bad state.
    pub bad: f64,
    /// The share lost in the good state.
    pub good: f64,
}

/// The settings of one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Bits a second, IP bytes counted; infinite means no bottleneck, 0 that packets wait.
    pub rate_bps: f64,
    /// How much may wait.
    pub queue: Limit,
    /// Active queue management; without it the queue drops what does not fit.
    pub codel: Option<Codel>,
    /// One-way propagation delay.
    pub delay: Duration,
    /// Variation of the delay: the largest, or the deviation where `normal` is set.
    pub jitter: Duration,
    /// Whether jitter is normally distributed (cut at three deviations) instead of evenly.
    pub normal: bool,
    /// Packets that others overtake.
    pub reorder: Option<Reorder>,
    /// The share lost independently, 0 to 1, after the bottleneck.
    pub loss: f64,
    /// Loss in bursts, besides.
    pub burst: Option<Burst>,
    /// The share that arrives twice, 0 to 1.
    pub duplicate: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rate_bps: f64::INFINITY,
            queue: Limit::Time(Duration::from_millis(200)),
            codel: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            normal: false,
            reorder: None,
            loss: 0.0,
            burst: None,
            duplicate: 0.0,
        }
    }
}

impl Settings {
    /// Makes settings from words; what they do not name is as in an open link.
    pub fn parse(words: &str) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        settings.apply(words)?;
        Ok(settings)
    }

    /// Takes in `key=value` words; returns the length of a cut, if one of them asks for it.
    /// What they do not name stays; after an error, so does everything.
    ///
    /// ```text
    /// rate=4mbit|500kbit|none    queue=200ms|64kB|100p    aqm=droptail|codel[:TARGET:INTERVAL]
    /// delay=20ms  jitter=5ms  dist=uniform|normal         reorder=2%,15ms|0
    /// loss=1%     ge=P,R[,BAD[,GOOD]]|off                 dup=1%        cut=5s
    /// ```
    pub fn apply(&mut self, words: &str) -> Result<Option<Duration>, SettingError> {
        let mut changed = self.clone();
        let mut cut = None;
        for word in words.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(|| wrong(word))?;
            if key == "cut" {
                cut = Some(time(value).map_err(|_| wrong(word))?);
            } else {
                changed.set(key, value).map_err(|_| wrong(word))?;
            }
        }
        *self = changed;
        Ok(cut)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        match key {
            "rate" => self.rate_bps = rate(value)?,
            "queue" => self.queue = limit(value)?,
            "aqm" => self.codel = codel(value)?,
            "delay" => self.delay = time(value)?,
            "jitter" => self.jitter = time(value)?,
            "dist" if matches!(value, "normal" | "uniform") => self.normal = value == "normal",
            "reorder" => self.reorder = reorder(value)?,
            "loss" => self.loss = share(value)?,
            "ge" => self.burst = burst(value)?,
            "dup" => self.duplicate = share(value)?,
            _ => return Err(wrong(key)),
        }
        Ok(())
    }
}

/// A word that is no setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    word: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a setting of a link: {:?}", self.word)
    }
}

impl Error for SettingError {}

fn wrong(word: &str) -> SettingError {
    SettingError {
        word: word.to_owned(),
    }
}

fn rate(value: &str) -> Result<f64, SettingError> {
    const UNITS: [(&str, f64); 5] = [
        ("", 1.0),
        ("bit", 1.0),
        ("kbit", 1e3),
        ("mbit", 1e6),
        ("gbit", 1e9),
    ];
    match value {
        "none" => Ok(f64::INFINITY),
        _ => number(value, &UNITS),
    }
}

fn limit(value: &str) -> Result<Limit, SettingError> {
    if value.ends_with('p') {
        return Ok(Limit::Packets(number(value, &[("p", 1.0)])?));
    }
    if value.ends_with(['B', 'b']) {
        let units = [("b", 1.0), ("kb", 1e3), ("mb", 1e6)];
        return Ok(Limit::Bytes(number(value, &units)?));
    }
    Ok(Limit::Time(time(value)?))
}

fn codel(value: &str) -> Result<Option<Codel>, SettingError> {
    let mut fields = value.split(':');
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some("droptail"), None, ..) => Ok(None),
        (Some("codel"), target, interval, None) => Ok(Some(Codel {
            target: time(target.unwrap_or("5"))?,
            interval: time(interval.unwrap_or("100"))?,
        })),
        _ => Err(wrong(value)),
    }
}

fn reorder(value: &str) -> Result<Option<Reorder>, SettingError> {
    if value == "0" {
        return Ok(None);
    }
    let (part, extra) = value.split_once(',').ok_or_else(|| wrong(value))?;
    Ok(Some(Reorder {
        share: share(part)?,
        extra: time(extra)?,
    }))
}

fn burst(value: &str) -> Result<Option<Burst>, SettingError> {
    if value == "off" {
        return Ok(None);
    }
    let fields: Vec<&str> = value.split(',').collect();
    if !(2..=4).contains(&fields.len()) {
        return Err(wrong(value));
    }
    let field = |index: usize, default| fields.get(index).map_or(Ok(default), |text| share(text));
    Ok(Some(Burst {
        begin: field(0, 0.0)?,
        end: field(1, 1.0)?,
        bad: field(2, 1.0)?,
        good: field(3, 0.0)?,
    }))
}

/// Milliseconds unless the unit says otherwise.
fn time(value: &str) -> Result<Duration, SettingError> {
    let units = [("", 1e-3), ("ms", 1e-3), ("us", 1e-6), ("s", 1.0)];
    Duration::try_from_secs_f64(number(value, &units)?).map_err(|_| wrong(value))
}

/// Percent, with or without the sign, as a part of one.
fn share(value: &str) -> Result<f64, SettingError> {
    let share = number(value, &[("", 0.01), ("%", 0.01)])?;
    (share <= 1.0).then_some(share).ok_or_else(|| wrong(value))
}

fn number(value: &str, units: &[(&str, f64)]) -> Result<f64, SettingError> {
    let end = value
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(value.len());
    let (digits, unit) = value.split_at(end);
    let number: f64 = digits.parse().map_err(|_| wrong(value))?;
    let factor = units
        .iter()
        .find(|(name, _)| unit.eq_ignore_ascii_case(name));
    factor
        .map(|(_, factor)| number * factor)
        .ok_or_else(|| wrong(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_settings_and_the_rest_stays() {
        let mut settings = Settings::parse(
            "rate=2.5mbit queue=64kB aqm=codel:10:200 delay=20ms jitter=5 dist=normal \
             reorder=2%,15ms loss=1% ge=1,25,80,0.1 dup=0.5%",
        )
        .unwrap();
        assert_eq!(settings.rate_bps, 2.5e6);
        assert_eq!(settings.queue, Limit::Bytes(64e3));
        assert_eq!(settings.codel.unwrap().interval.as_millis(), 200);
        assert_eq!(settings.burst.unwrap().end, 0.25);
        let before = settings.clone();
        let cut = settings.apply("rate=600kbit cut=5s").unwrap();
        assert_eq!(cut, Some(Duration::from_secs(5)));
        let expected = Settings {
            rate_bps: 600e3,
            ..before
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn what_can_be_set_can_be_unset() {
        let mut settings = Settings::parse("rate=1mbit aqm=codel ge=1,25 reorder=1,5").unwrap();
        settings
            .apply("rate=none aqm=droptail ge=off reorder=0")
            .unwrap();
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_wrong_word_is_named_and_changes_nothing() {
        let mut settings = Settings::default();
        for wrong in [
            "rate",
            "rate=",
            "rate=-1",
            "rate=1.2.3",
            "rate=1mbps",
            "speed=1",
            "loss=101",
            "ge=1",
            "aqm=red",
            "reorder=1",
            "delay=1h",
            "queue=p",
            "aqm=codel:1:2:3",
        ] {
            let error = settings.apply(&format!("delay=5ms {wrong}")).unwrap_err();
            let word = wrong.split('=').next_back().unwrap();
            assert!(error.to_string().contains(word), "{wrong}: {error}");
            assert_eq!(settings, Settings::default(), "{wrong}");
        }
    }
}
