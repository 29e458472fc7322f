//! The agent of one link.

use std::{collections::VecDeque, fmt, net::SocketAddr, time::Instant};

use crate::{Base, Candidate, Credentials, Path, Progress};

/// What an agent is made with.
pub struct Config {
    /// Our credentials, to be told to the other side.
    pub local: Credentials,
    /// Whether we choose the path (RFC 8445 section 6.1.1).
    pub controlling: bool,
    /// Who yields if both sides want to choose: any random number.
    pub tie_breaker: u64,
    /// Source of random numbers, for transaction identifiers.
    pub random: Box<dyn FnMut() -> u128 + Send>,
}

/// A packet to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where it leaves.
    pub base: Base,
    /// Where it goes.
    pub to: SocketAddr,
    /// What it carries.
    pub packet: Vec<u8>,
}

/// What the driver must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Media goes this way from now on; `None`: nowhere.
    Selected(Option<Path>),
    /// This path would take over.
    Standby(Option<Path>),
    /// Packets that come from there belong to this link.
    Known {
        /// Where they arrive.
        base: Base,
        /// Where they come from.
        from: SocketAddr,
    },
    /// Whether the selected path has gone silent while the other side should be heard: then what
    /// matters is better sent on the standby too.
    Suspect(bool),
}

/// The agent of one link.
pub struct Agent {
    config: Config,
    events: VecDeque<Event>,
    transmits: VecDeque<Transmit>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

#[expect(unused_variables, reason = "the first shape")]
impl Agent {
    /// Makes an agent that knows no candidates yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            events: VecDeque::new(),
            transmits: VecDeque::new(),
        }
    }

    /// Returns our credentials, to be told to the other side.
    pub fn credentials(&self) -> &Credentials {
        &self.config.local
    }

    /// Returns whether we choose the path.
    pub fn controlling(&self) -> bool {
        self.config.controlling
    }

    /// Sets whether we choose the path.
    pub fn set_controlling(&mut self, controlling: bool) {
        self.config.controlling = controlling;
    }

    /// Takes a candidate of ours, whose packets leave at `base`.
    pub fn add_local(&mut self, now: Instant, base: Base, candidate: Candidate) {}

    /// An interface or a relay is gone.
    pub fn remove_base(&mut self, now: Instant, base: Base) {}

    /// Takes the credentials of the other side.
    pub fn set_remote(&mut self, now: Instant, credentials: Credentials, renomination: bool) {}

    /// Takes a candidate of the other side.
    pub fn add_remote(&mut self, now: Instant, candidate: Candidate) {}

    /// Starts anew with other credentials.
    pub fn restart(&mut self, now: Instant, local: Credentials) {}

    /// Takes a STUN packet; returns false if it is not for this agent, or not authentic.
    pub fn handle_stun(
        &mut self,
        now: Instant,
        base: Base,
        from: SocketAddr,
        packet: &[u8],
    ) -> bool {
        false
    }

    /// Any other packet of the link arrived this way.
    pub fn handle_data(&mut self, now: Instant, base: Base, from: SocketAddr) {}

    /// Checks everything again now.
    pub fn recheck(&mut self, now: Instant) {}

    /// Returns the next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {}

    /// Returns the path that carries media.
    pub fn selected(&self) -> Option<&Path> {
        None
    }

    /// Returns the path that would take over.
    pub fn standby(&self) -> Option<&Path> {
        None
    }

    /// Returns how far the checks have come.
    pub fn progress(&self) -> Progress {
        Progress::default()
    }

    /// Returns whether a request with this fragment of the user name (what stands before the
    /// colon) is for this agent.
    pub fn expects(&self, ufrag: &str) -> bool {
        self.config.local.ufrag == ufrag
    }
}
