//! When an uplink is too narrow for a mesh: a pure decision with patience in both directions.

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;

/// What a link of a mesh needs at least.
const NEED: Bitrate = Bitrate::from_kbps(200);
/// For so long the links must have less, on average.
const PATIENCE: Duration = Duration::from_secs(5);
/// What must be there beyond the need before a mesh is tried again: it is not for nothing.
const SPARE: f64 = 1.25;
/// For so long it must be there.
const TRUST: Duration = Duration::from_secs(30);
/// A mesh that starved again so soon after it was tried doubles the wait for the next try.
const SOON: Duration = Duration::from_secs(60);
const LONGEST_TRUST: Duration = Duration::from_secs(600);

/// The state of the uplink.
#[derive(Debug)]
pub(super) struct Starvation {
    starving: bool,
    /// Since when the other state would be right.
    turning: Option<Instant>,
    trust: Duration,
    /// When a mesh was tried again last.
    tried: Option<Instant>,
}

impl Default for Starvation {
    fn default() -> Self {
        Self {
            starving: false,
            turning: None,
            trust: TRUST,
            tried: None,
        }
    }
}

impl Starvation {
    /// Takes in what those of the `links` may send that share a full uplink, and what the connection to
    /// the relay is believed to carry. Returns whether the uplink cannot feed a mesh.
    pub(super) fn update(
        &mut self,
        now: Instant,
        links: usize,
        shares: &[Bitrate],
        relay: Option<Bitrate>,
    ) -> bool {
        if links < 2 {
            // One link needs what a publication needs.
            *self = Self::default();
            return false;
        }
        let turns = match self.starving {
            false => {
                let sum: u64 = shares.iter().map(|share| share.bps()).sum();
                shares.len() >= 2 && sum < NEED.bps() * shares.len() as u64
            }
            true => {
                let need = NEED.scale(links as f64 * SPARE);
                relay.is_some_and(|relay| relay >= need)
            }
        };
        if !turns {
            self.turning = None;
            return self.starving;
        }
        let since = *self.turning.get_or_insert(now);
        let wait = if self.starving { self.trust } else { PATIENCE };
        if now.saturating_duration_since(since) >= wait {
            self.turning = None;
            self.turn(now);
        }
        self.starving
    }

    fn turn(&mut self, now: Instant) {
        self.starving = !self.starving;
        if !self.starving {
            self.tried = Some(now);
            return;
        }
        let soon = |tried: Instant| now.saturating_duration_since(tried) < SOON;
        self.trust = match self.tried.is_some_and(soon) {
            true => (self.trust * 2).min(LONGEST_TRUST),
            false => TRUST,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// Lets so many seconds pass, and returns after how many of them it first was as `wanted`.
    fn pass(
        starvation: &mut Starvation,
        now: &mut Instant,
        seconds: u32,
        (share, relay): (Option<u64>, Option<u64>),
        wanted: bool,
    ) -> Option<u32> {
        let shares = share.map_or(Vec::new(), |share| vec![Bitrate::from_kbps(share); 4]);
        let relay = relay.map(Bitrate::from_kbps);
        let mut at = None;
        for second in 0..seconds {
            if starvation.update(*now, 4, &shares, relay) == wanted && at.is_none() {
                at = Some(second);
            }
            *now += Duration::from_secs(1);
        }
        at
    }

    #[test]
    fn five_seconds_of_too_little_and_half_a_minute_of_enough() {
        let mut uplink = Starvation::default();
        let mut now = clock::now();
        assert_eq!(
            pass(&mut uplink, &mut now, 60, (Some(210), None), true),
            None
        );
        assert_eq!(
            pass(&mut uplink, &mut now, 4, (Some(150), None), true),
            None
        );
        assert_eq!(pass(&mut uplink, &mut now, 1, (None, None), true), None);
        let at = pass(&mut uplink, &mut now, 60, (Some(150), None), true);
        assert_eq!(at, Some(5));
        assert_eq!(
            pass(&mut uplink, &mut now, 300, (None, Some(990)), false),
            None
        );
        let at = pass(&mut uplink, &mut now, 31, (None, Some(1_000)), false);
        assert_eq!(at, Some(30));
        // It starves again at once: the next try comes later.
        let at = pass(&mut uplink, &mut now, 7, (Some(150), None), true);
        assert_eq!(at, Some(5));
        let at = pass(&mut uplink, &mut now, 61, (None, Some(1_000)), false);
        assert_eq!(at, Some(60));
        pass(&mut uplink, &mut now, 300, (None, None), false);
        pass(&mut uplink, &mut now, 10, (Some(150), None), true);
        let at = pass(&mut uplink, &mut now, 61, (None, Some(1_000)), false);
        assert_eq!(at, Some(30), "it was well for long");
    }

    #[test]
    fn between_two_nothing_is_gained() {
        let mut uplink = Starvation::default();
        let now = clock::now();
        let share = [Bitrate::from_kbps(50)];
        for second in 0..60 {
            let now = now + Duration::from_secs(second);
            assert!(!uplink.update(now, 1, &share, None));
        }
    }
}
