//! Which packets are lost on the way: each on its own, or in bursts (Gilbert-Elliott).

use crate::{Random, Settings};

/// The state that bursts need.
#[derive(Debug, Default)]
pub(crate) struct Loss {
    bad: bool,
}

impl Loss {
    /// Tells whether the next packet is lost.
    pub(crate) fn next(&mut self, settings: &Settings, random: &mut Random) -> bool {
        if let Some(burst) = settings.burst {
            let turn = if self.bad { burst.end } else { burst.begin };
            self.bad ^= random.uniform() < turn;
            let share = if self.bad { burst.bad } else { burst.good };
            if random.uniform() < share {
                return true;
            }
        }
        random.chance(settings.loss)
    }
}
