//! The units of rate and size, so that kbit, bytes and milliseconds cannot be mixed up.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Div, Mul, Sub},
    time::Duration,
};

/// A rate of data, in bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bitrate(u64);

/// An amount of data, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DataSize(u64);

impl Bitrate {
    /// No data at all.
    pub const ZERO: Self = Self(0);

    /// Makes a rate from bits a second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// Makes a rate from thousands of bits a second.
    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps * 1_000)
    }

    /// Returns bits a second.
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// Returns bits a second as a floating-point number, for ratios.
    pub const fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// Returns this rate times `factor`; a negative or undefined product is zero.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor) as u64)
    }

    /// Returns the difference, or zero where `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl DataSize {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Makes a size from bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Returns bits.
    pub const fn bits(self) -> u64 {
        self.0.saturating_mul(8)
    }
}

impl Mul<Duration> for Bitrate {
    type Output = DataSize;

    fn mul(self, time: Duration) -> DataSize {
        let bits = u128::from(self.0) * time.as_micros() / 1_000_000;
        DataSize(u64::try_from(bits / 8).unwrap_or(u64::MAX))
    }
}

#[expect(
    clippy::suspicious_arithmetic_impl,
    reason = "bytes become bits on the way"
)]
impl Div<Duration> for DataSize {
    type Output = Bitrate;

    /// The rate that moves this much in `time`; zero where `time` is under a microsecond.
    fn div(self, time: Duration) -> Bitrate {
        let bits = u128::from(self.bits()) * 1_000_000;
        let bps = bits.checked_div(time.as_micros()).unwrap_or(0);
        Bitrate(u64::try_from(bps).unwrap_or(u64::MAX))
    }
}

#[expect(
    clippy::suspicious_arithmetic_impl,
    reason = "bytes become bits on the way"
)]
impl Div<Bitrate> for DataSize {
    type Output = Duration;

    /// How long this much takes at `rate`; [`Duration::MAX`] where the rate is zero.
    fn div(self, rate: Bitrate) -> Duration {
        let micros = (u128::from(self.bits()) * 1_000_000).checked_div(u128::from(rate.0));
        micros.map_or(Duration::MAX, |micros| {
            Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
        })
    }
}

macro_rules! sums {
    ($unit:ident) => {
        impl Add for $unit {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }
        impl AddAssign for $unit {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }
        impl Sub for $unit {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }
        impl Sum for $unit {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self(0), Add::add)
            }
        }
    };
}
sums!(Bitrate);
sums!(DataSize);

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bps if bps >= 1_000_000 => write!(f, "{:.2} Mb/s", bps as f64 / 1e6),
            bps if bps >= 1_000 => write!(f, "{:.0} kb/s", bps as f64 / 1e3),
            bps => write!(f, "{bps} b/s"),
        }
    }
}

impl fmt::Display for DataSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1_000_000 => write!(f, "{:.1} MB", bytes as f64 / 1e6),
            bytes if bytes >= 1_000 => write!(f, "{:.1} kB", bytes as f64 / 1e3),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_times_time_is_size_and_back() {
        let rate = Bitrate::from_kbps(800);
        let size = rate * Duration::from_millis(500);
        assert_eq!(size, DataSize::from_bytes(50_000));
        assert_eq!(size / Duration::from_millis(500), rate);
        assert_eq!(size / rate, Duration::from_millis(500));
    }

    #[test]
    fn nothing_overflows_or_divides_by_zero() {
        let most = Bitrate::from_bps(u64::MAX);
        assert_eq!(most + most, most);
        assert_eq!(DataSize::from_bytes(1) / Duration::ZERO, Bitrate::ZERO);
        assert_eq!(DataSize::from_bytes(1) / Bitrate::ZERO, Duration::MAX);
        assert_eq!(Bitrate::ZERO - most, Bitrate::ZERO);
    }
}
