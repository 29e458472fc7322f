//! The agent of one link: finds the pairs of addresses that work, keeps them alive, and says which
//! one carries the media.
//!
//! ```text
//!  candidates ─▶ pairs ─ checks (pace) ─▶ pairs that work ─ choice ─▶ selected   ─ Event::Selected
//!                  ▲                        │    ▲                    standby    ─ Event::Standby
//!  requests ───────┘                        │    └─ keep-alive checks
//!  media (only that it came, and where) ────┴─ watch: silent? ─▶ the standby takes over
//! ```
//!
//! A restart begins a new [`Generation`]; the pairs of the one before are kept, and carry the media,
//! until a pair of the new one is selected.
//!
//! Differences from RFC 8445: pairs are formed of bases and remote addresses, so what a router makes
//! of a base needs no pair of its own, and no pair is frozen, because there is one stream of one
//! component. Choice never ends: a better pair is nominated whenever it turns up.

use std::{
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{Base, Candidate, Credentials, Path, Progress, stun};

mod checks;
mod choice;
mod generation;
mod pair;
mod pairing;
mod requests;
mod watch;

use generation::Generation;
use pair::{Pair, State};

/// At most this many candidates of ours.
const LOCALS: usize = 64;
/// At most this many packets wait to be sent; what goes beyond is lost, as on any network.
const TRANSMITS: usize = 256;
/// A generation is remembered for so long after a newer one has a path: the other side may still
/// check and send in it.
const AFTERLIFE: Duration = Duration::from_secs(5);

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
    /// Packets that come from there belong to this link: the pair works, or an authentic request
    /// came from there.
    Known {
        /// Where they arrive.
        base: Base,
        /// Where they come from.
        from: SocketAddr,
    },
    /// Whether the selected path has gone silent while the other side should be heard: then what
    /// matters is better sent on the standby too. Only told while there is another path.
    Suspect(bool),
}

struct Local {
    base: Base,
    candidate: Candidate,
}

/// The agent of one link.
pub struct Agent {
    config: Config,
    locals: Vec<Local>,
    /// The current one last; before it, the one that still carries the media, if that is another.
    generations: Vec<Generation>,
    /// Candidates of the other side for a generation that it has not told yet.
    early: Vec<Candidate>,
    pairs: Vec<Pair>,
    next_number: u32,
    // Pace of the checks.
    next_check: Option<Instant>,
    last_way: usize,
    // The choice.
    selected: Option<(u32, Path)>,
    selected_since: Option<Instant>,
    standby: Option<(u32, Path)>,
    length_hold: Duration,
    reconsider: Option<Instant>,
    /// Whether nothing is sent: then paths are checked as seldom as keeps them.
    idle: bool,
    // The watch over the selected path.
    suspect: Option<Instant>,
    foreign: Option<(u32, u32)>,

    wake: Option<Instant>,
    events: VecDeque<Event>,
    transmits: VecDeque<Transmit>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("controlling", &self.config.controlling)
            .field("pairs", &self.pairs.len())
            .field("selected", &self.selected)
            .field("standby", &self.standby)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// Makes an agent that knows no candidates yet.
    pub fn new(config: Config) -> Self {
        Self {
            generations: vec![Generation::new(0, config.local.clone())],
            config,
            locals: Vec::new(),
            early: Vec::new(),
            pairs: Vec::new(),
            next_number: 1,
            next_check: None,
            last_way: 3,
            selected: None,
            selected_since: None,
            standby: None,
            length_hold: choice::LENGTH_HOLD,
            reconsider: None,
            idle: false,
            suspect: None,
            foreign: None,
            wake: None,
            events: VecDeque::new(),
            transmits: VecDeque::new(),
        }
    }

    /// Returns our credentials, to be told to the other side.
    pub fn credentials(&self) -> &Credentials {
        &self.current().local
    }

    /// Returns whether we choose the path.
    pub fn controlling(&self) -> bool {
        self.config.controlling
    }

    /// Sets whether we choose the path, as was agreed when the link was set up. A conflict is
    /// settled by the agents themselves.
    pub fn set_controlling(&mut self, controlling: bool) {
        self.config.controlling = controlling;
        self.weigh();
    }

    /// Sets whether nothing is sent for now: then the selected path is checked once a second, and the
    /// others as often as routers need to remember them, for nobody notices that one is lost.
    pub fn set_idle(&mut self, now: Instant, idle: bool) {
        if std::mem::replace(&mut self.idle, idle) != idle {
            self.settle(now);
        }
    }

    /// Takes a candidate of ours, whose packets leave at `base`. Several may share a base (an
    /// address and what a router makes of it): they make one pair with each remote address.
    pub fn add_local(&mut self, now: Instant, base: Base, candidate: Candidate) {
        let known = self
            .locals
            .iter()
            .any(|local| local.base == base && local.candidate.address == candidate.address);
        if known || self.locals.len() >= LOCALS {
            return;
        }
        self.locals.push(Local { base, candidate });
        self.form_pairs(now);
        self.settle(now);
    }

    /// An interface or a relay is gone: its pairs die at once, and a standby takes over at once.
    pub fn remove_base(&mut self, now: Instant, base: Base) {
        self.locals.retain(|local| local.base != base);
        self.pairs.retain(|pair| pair.base != base);
        if let Some((_, path)) = &self.selected
            && path.base == base
        {
            let heir = self.heir(|_| true);
            tracing::debug!(?base, heir = heir.is_some(), "the base of the path is gone");
            self.select(now, heir);
        }
        // What took it away may have taken others too.
        for pair in &mut self.pairs {
            pair.urgent |= pair.works();
        }
        self.settle(now);
    }

    /// Takes the credentials of the other side, and whether it knows renomination
    /// (draft-thatcher-ice-renomination). New ones mean that the other side has started anew; our
    /// own new ones may come before or after, by [`Self::restart`]. Where a restart of ours was
    /// told but not answered and the other side's own crosses it, [`Self::credentials`] answer
    /// that one: another restart would begin yet another generation.
    pub fn set_remote(&mut self, now: Instant, credentials: Credentials, renomination: bool) {
        let known = self.current().other.as_ref().map(|it| &it.credentials);
        if known.is_some_and(|known| *known != credentials) {
            let local = self.current().local.clone();
            self.begin(local);
            self.current_mut().follows = true;
        }
        self.current_mut().set_other(credentials, renomination);
        for candidate in std::mem::take(&mut self.early) {
            self.take_remote(candidate);
        }
        self.form_pairs(now);
        self.settle(now);
    }

    /// Takes a candidate of the other side. One that was learned from a packet before is merged
    /// with it.
    pub fn add_remote(&mut self, now: Instant, candidate: Candidate) {
        self.take_remote(candidate);
        self.form_pairs(now);
        self.weigh();
        self.settle(now);
    }

    /// Starts anew with other credentials (RFC 8445 section 9). Media goes on where it goes until
    /// a pair of the new generation is selected.
    pub fn restart(&mut self, now: Instant, local: Credentials) {
        if self.current().follows {
            self.current_mut().set_local(local);
        } else {
            self.begin(local);
        }
        self.settle(now);
    }

    /// Network changed or the computer woke: checks everything again now, failed pairs included.
    pub fn recheck(&mut self, now: Instant) {
        for pair in &mut self.pairs {
            pair.renew(now);
        }
        self.settle(now);
    }

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
        self.wake
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.settle(now);
    }

    /// Returns the path that carries media.
    pub fn selected(&self) -> Option<&Path> {
        self.selected.as_ref().map(|(_, path)| path)
    }

    /// Returns the path that would take over.
    pub fn standby(&self) -> Option<&Path> {
        self.standby.as_ref().map(|(_, path)| path)
    }

    /// Returns when something of the other side came last, over whichever path.
    pub fn last_heard(&self) -> Option<Instant> {
        self.pairs.iter().filter_map(|pair| pair.heard).max()
    }

    /// Returns how far the checks of the current generation have come.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        let current = self.current().number;
        for pair in self.pairs.iter().filter(|it| it.generation == current) {
            let tally = progress.of_mut(pair.way);
            match pair.state {
                State::Waiting => tally.untried += 1,
                State::InProgress => tally.in_progress += 1,
                State::Succeeded => tally.succeeded += 1,
                State::Failed => tally.failed += 1,
            }
        }
        progress
    }

    /// Returns whether a request with this fragment of the user name (what stands before the
    /// colon) is for this agent.
    pub fn expects(&self, ufrag: &str) -> bool {
        self.generations.iter().any(|it| it.local.ufrag == ufrag)
    }

    fn current(&self) -> &Generation {
        self.generations.last().expect("there is always one")
    }

    fn current_mut(&mut self) -> &mut Generation {
        self.generations.last_mut().expect("there is always one")
    }

    fn generation(&self, number: u32) -> Option<&Generation> {
        self.generations.iter().find(|it| it.number == number)
    }

    fn generation_mut(&mut self, number: u32) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|it| it.number == number)
    }

    fn index_of(&self, id: u32) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.id == id)
    }

    fn selected_index(&self) -> Option<usize> {
        self.index_of(self.selected.as_ref()?.0)
    }

    fn number(&mut self) -> u32 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }

    /// Begins a generation. Of those before, only the one that carries the media is kept, or the
    /// last one if none does.
    fn begin(&mut self, local: Credentials) {
        let number = self.number();
        let carrying = self.selected_index().map(|at| self.pairs[at].generation);
        let kept = carrying.unwrap_or(self.current().number);
        self.generations.retain(|it| it.number == kept);
        self.pairs.retain(|pair| pair.generation == kept);
        self.generations.push(Generation::new(number, local));
    }

    /// After every fact: what is due is sent, what follows is decided.
    fn settle(&mut self, now: Instant) {
        self.forget(now);
        self.watch(now);
        self.choose(now);
        self.check(now);
        self.wake = self.next_wake(now);
    }

    fn forget(&mut self, now: Instant) {
        let over = |it: &Generation| it.ends.is_some_and(|ends| ends <= now);
        if self.generations.iter().any(over) {
            self.generations.retain(|it| !over(it));
            let known = |pair: &Pair| {
                self.generations
                    .iter()
                    .any(|it| it.number == pair.generation)
            };
            self.pairs.retain(known);
        }
    }

    fn transmit(&mut self, base: Base, to: SocketAddr, packet: Vec<u8>) {
        if self.transmits.len() < TRANSMITS {
            self.transmits.push_back(Transmit { base, to, packet });
        }
    }

    fn transaction(&mut self) -> stun::Transaction {
        stun::transaction((self.config.random)())
    }
}
