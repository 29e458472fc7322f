//! CoDel: drops packets at the head of a queue whose delay has stood too long (RFC 8289).

use std::time::Duration;

use crate::Codel;

/// A queue with no more than one full packet is never dropped from (RFC 8289 section 3.1).
const ONE_PACKET: usize = 1_500;

/// The state of the control law.
#[derive(Debug, Default)]
pub(crate) struct Dropper {
    first_above: Option<Duration>,
    drop_next: Duration,
    count: u32,
    last_count: u32,
    dropping: bool,
}

impl Dropper {
    /// Tells whether the packet at the head, which has waited for `waited`, is dropped;
    /// `behind_bytes` wait behind it.
    pub(crate) fn drops(
        &mut self,
        now: Duration,
        waited: Duration,
        behind_bytes: usize,
        codel: Codel,
    ) -> bool {
        let over = self.stood_over(now, waited, behind_bytes, codel);
        if self.dropping {
            if !over {
                self.dropping = false;
            } else if now >= self.drop_next {
                self.count += 1;
                self.drop_next = self.after(self.drop_next, codel);
                return true;
            }
            return false;
        }
        if over {
            self.dropping = true;
            // Soon after the last drops the rate at which they worked is taken up again.
            let lately = now.saturating_sub(self.drop_next) < codel.interval * 16;
            let delta = self.count.saturating_sub(self.last_count);
            self.count = if delta > 1 && lately { delta } else { 1 };
            self.last_count = self.count;
            self.drop_next = self.after(now, codel);
        }
        over
    }

    fn stood_over(
        &mut self,
        now: Duration,
        waited: Duration,
        behind_bytes: usize,
        codel: Codel,
    ) -> bool {
        if waited < codel.target || behind_bytes <= ONE_PACKET {
            self.first_above = None;
            return false;
        }
        let first = *self.first_above.get_or_insert(now + codel.interval);
        now >= first
    }

    fn after(&self, at: Duration, codel: Codel) -> Duration {
        at + codel.interval.div_f64(f64::from(self.count.max(1)).sqrt())
    }
}
